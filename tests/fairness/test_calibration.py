"""Calibration in groups: statistics by hand, the laws of Brownian motion, and tests that err as often as they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import evalkit as ek
from evalkit.errors import ConfigError, DataError
from evalkit.fairness.criteria.brownian import MEAN_DISTANCE, MEAN_RANGE, distance_tail, range_tail
from evalkit.fairness.criteria.calibration import calibration_measures, cumulative_errors
from evalkit.fairness.criteria.multicalibration import binned_gaps, multicalibration_measures
from evalkit.fairness.families import families, slice_sets
from evalkit.fairness.group_scores import GroupScores
from evalkit.fairness.measure import Measure
from evalkit.metrics import find

RUNS = 40
WAYS: list[dict[str, Any]] = [{}, {"weight": "w"}, {"unit": "u"}]


# --- the laws ---


def test_both_series_of_each_law_agree_where_they_meet_and_have_the_known_means() -> None:
    for tail, mean in ((range_tail, MEAN_RANGE), (distance_tail, MEAN_DISTANCE)):
        assert tail(1.5 - 1e-9) == pytest.approx(float(tail(1.5 + 1e-9)), abs=1e-8)
        x = np.linspace(0, 12, 20_001)
        assert np.trapezoid(tail(x), x) == pytest.approx(mean, abs=1e-6)
        assert (np.diff(tail(x)) <= 1e-12).all()
    assert np.isnan(range_tail(np.nan))
    assert range_tail(10.0) == pytest.approx(8 * 7.619853e-24, rel=1e-5)


def test_the_law_of_the_range_is_that_of_the_metric_of_all_rows() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(300)
    y = (rng.random(300) < p**1.2).astype(int)
    evaluation = evaluated({"y": y, "p": p, "g": ["a"] * 300})
    scores = GroupScores.of(evaluation, families(evaluation, ["g"])[0])
    found = cumulative_errors(scores.scores, scores.weight[0])
    assert found.range == pytest.approx(find("cumulative_calibration_error")(y, p))
    assert found.range_p_value == pytest.approx(find("calibration_p_value")(y, p), abs=1e-9)


# --- statistics ---


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]), st.integers(0, 1)), min_size=1, max_size=15))
def test_distance_and_range_are_those_of_the_running_sum(drawn: list[tuple[float, int]]) -> None:
    s, y = np.array(drawn).T
    scores = np.unique(s)
    weight = np.array([[((s == v) & (y == label)).sum() for v in scores] for label in (0, 1)], dtype=float)
    path = np.array([0.0, *(((y - s) * (s <= v)).sum() / len(s) for v in scores)])
    found = cumulative_errors(scores, weight)
    assert found.distance == pytest.approx(np.abs(path).max(), abs=1e-12)
    assert found.range == pytest.approx(path.max() - path.min(), abs=1e-12)
    assert found.scale == pytest.approx((s * (1 - s)).sum() ** 0.5 / len(s))


def test_scores_that_are_no_probabilities_are_refused() -> None:
    with pytest.raises(DataError, match="these go from -1 to 2"):
        cumulative_errors([-1.0, 2.0], [[1.0, 1.0], [1.0, 1.0]])
    assert np.isnan(cumulative_errors([0.5], [[0.0], [0.0]]).range)


def evaluated(data: dict[str, Any], **more: Any) -> Any:
    return ek.evaluate(data, label="y", score="p", metrics=["roc_auc"], slices=["g"], **more).evaluations[0]


def rows(n: int = 1500) -> dict[str, Any]:
    """Group a is calibrated, the labels of b are rarer than its scores say."""
    rng = np.random.default_rng(0)
    p, g = np.round(rng.random(n), 3), rng.choice(["a", "b"], n)
    y = (rng.random(n) < np.where(g == "b", p**2, p)).astype(int)
    return {"y": y, "p": p, "g": g, "w": rng.integers(1, 4, n).astype(float), "u": rng.integers(0, 120, n)}


def measured(found: list[Measure], metric: str) -> list[Measure]:
    return [m for m in found if m.metric == metric]


@pytest.mark.parametrize("more", WAYS)
def test_the_group_that_is_miscalibrated_is_found(more: dict[str, Any]) -> None:
    data = rows()
    evaluation = evaluated(data, **more)
    found = calibration_measures(evaluation, families(evaluation, ["g"])[0])
    w = data["w"] if "weight" in more else np.ones(len(data["y"]))
    gaps = [np.average((data["y"] - data["p"])[data["g"] == k], weights=w[data["g"] == k]) for k in "ab"]
    assert [m.value for m in measured(found, "calibration_gap")] == pytest.approx(gaps)
    [between] = measured(found, "calibration_gap_between")
    assert between.value == pytest.approx(abs(gaps[0] - gaps[1]))
    assert 0 < between.low < between.value < between.high
    for metric in ("ecce_mad", "ecce_range"):
        a, b = measured(found, metric)
        assert b.p_value < 0.002 < 0.01 < a.p_value
        assert np.isnan([a.low, b.low]).all()
    gap = measured(found, "calibration_gap")
    assert gap[1].high < 0
    assert gap[0].low < 0 < gap[0].high


def test_few_units_have_no_test_of_calibration() -> None:
    data = rows()
    data["u"] = data["u"] % 6
    evaluation = evaluated(data, unit="u")
    found = calibration_measures(evaluation, families(evaluation, ["g"])[0])
    assert np.isnan(found[0].p_value)
    assert "fewer than 10 groups of units" in found[0].note


# --- bins ---


@pytest.mark.parametrize("more", WAYS)
def test_gaps_of_bins_are_those_of_rows(more: dict[str, Any]) -> None:
    data = rows()
    evaluation = evaluated(data, **more)
    scores = GroupScores.of(evaluation, families(evaluation, ["g"])[0])
    found = binned_gaps(scores, bins=4)
    w = data["w"] if "weight" in more else np.ones(len(data["y"]))
    for i, k in enumerate("ab"):
        for b, (low, high) in enumerate(found.edges):
            inside = (data["g"] == k) & (data["p"] >= low - 1e-9) & (data["p"] <= high + 1e-9)
            residual = (data["y"] - data["p"])[inside]
            assert found.rows[i, b] == inside.sum()
            assert found.value[i, b] == pytest.approx(np.average(residual, weights=w[inside]))
            if not more:
                assert found.error[i, b] == pytest.approx(residual.std() / inside.sum() ** 0.5, rel=0.25)


@pytest.mark.parametrize("more", WAYS)
def test_multicalibration_names_the_cell_and_sufficiency_the_pair(more: dict[str, Any]) -> None:
    evaluation = evaluated(rows(), **more)
    gap, pair = multicalibration_measures(evaluation, families(evaluation, ["g"])[0], bins=4)
    assert gap.note.startswith("largest in g=b, scores 0.")
    assert pair.note.startswith("largest of g=a and g=b, scores 0.")
    assert 0 < gap.low < gap.value < gap.high
    assert 0 < pair.low < pair.value < pair.high
    assert max(gap.p_value, pair.p_value) < 0.001


def test_cells_with_few_rows_are_left_out_and_counted() -> None:
    data = rows(60)
    evaluation = evaluated(data)
    gap, pair = multicalibration_measures(evaluation, families(evaluation, ["g"])[0], bins=20)
    assert np.isnan(gap.value)
    assert "cells with too few rows are left out" in gap.note
    assert pair.note.startswith("no bin holds two groups")
    with pytest.raises(ConfigError, match="bins must be a whole number above 0"):
        multicalibration_measures(evaluation, families(evaluation, ["g"])[0], bins=0)


# --- how often they err ---


def test_p_values_of_calibrated_scores_are_uniform() -> None:
    """At 2,000 rows; the walk's steps make them slightly too large."""
    rng = np.random.default_rng(0)
    s = np.sort(rng.beta(1, 2, 2000))
    y = (rng.random((2000, 2000)) < s).astype(float)
    found = cumulative_errors(s, np.stack([1 - y, y], axis=1))
    for p in (found.range_p_value, found.distance_p_value):
        for alpha in (0.01, 0.05, 0.2, 0.5):
            margin = 2.576 * (alpha * (1 - alpha) / len(p)) ** 0.5
            assert 0.75 * alpha - margin < (p <= alpha).mean() <= alpha + margin, alpha


@pytest.mark.slow
@pytest.mark.parametrize("more", WAYS)
def test_calibrated_groups_are_seldom_called_miscalibrated(more: dict[str, Any]) -> None:
    """Of three groups in a run, which share units; labels of a unit's rows are alike."""
    rng = np.random.default_rng(len(str(more)))
    errors: dict[str, list[bool]] = {}
    n = 1500 * RUNS
    run, g, u = np.repeat(np.arange(RUNS), 1500), rng.integers(0, 3, n), rng.integers(0, 100, n)
    p = rng.beta(2, 2, n).round(2)
    together = rng.random((RUNS, 100))[run, u]
    chance = np.where(rng.random(n) < 0.3, together, rng.random(n)) if "unit" in more else rng.random(n)
    data = {"y": (chance < p).astype(int), "p": p, "g": g, "u": u, "w": rng.choice([0.5, 1, 2], n), "run": run}
    sets = slice_sets(["g"], ["run"])
    evaluation = ek.evaluate(data, label="y", score="p", metrics=["roc_auc"], slices=sets, **more).evaluations[0]
    for family in families(evaluation, ["g"], ["run"]):
        found = [*calibration_measures(evaluation, family), *multicalibration_measures(evaluation, family, bins=5)]
        for m in found:
            if np.isfinite(m.p_value):
                errors.setdefault(m.metric.partition("@")[0], []).append(m.p_value <= 0.05)
    rates = {metric: float(np.mean(of)) for metric, of in errors.items()}
    assert len(rates) == 7
    assert max(rates.values()) <= 0.05 + 2.576 * (0.05 * 0.95 / RUNS) ** 0.5, rates
