"""Thresholds judged on rows that they were not chosen on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats
from threshold_rows import made

import evalkit as ek
from evalkit.errors import DataError, UsageError
from evalkit.fairness.families import families
from evalkit.fairness.group_scores import GroupScores
from evalkit.fairness.measure import table
from evalkit.fairness.thresholds.group_rows import GroupRows
from evalkit.fairness.thresholds.held_out import held_out, held_out_check
from evalkit.fairness.thresholds.threshold_rule import ThresholdRule
from evalkit.fairness.thresholds.tradeoff_measures import tradeoff_measures

_BASE, _APART, _SHIFT = np.array([0.3, 0.5]), np.array([1.5, 1.0]), np.array([0.0, 0.3])


def _data(n: int = 900, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    of = made(n, 3, seed, decimals=2)
    return {
        "y": of.label,
        "p": of.score.astype(np.float32),
        "g": np.array(["a", "b", "c"])[of.group],
        "u": rng.integers(0, 150, n),
        "w": rng.uniform(0.5, 2, n),
        "site": rng.integers(0, 2, n),
    }


@pytest.mark.parametrize("more", [{}, {"weight": "w"}, {"unit": "u"}, {"unit": "u", "weight": "w"}])
def test_the_histogram_of_kept_rows_is_that_of_the_evaluation(more: dict[str, str]) -> None:
    evaluation = ek.evaluate(
        _data(),
        label="y",
        score="p",
        metrics=["roc_auc"],
        slices=["site", ["site", "g"]],
        **more,  # type: ignore[arg-type]
    ).evaluations[0]
    for family in families(evaluation, ["g"], ["site"]):
        rows = GroupRows.of(evaluation, family)
        mine, theirs = rows.scores(), GroupScores.of(evaluation, family)
        kept = theirs.count.sum((0, 1)) > 0
        assert np.array_equal(mine.scores, theirs.scores[kept])
        assert np.array_equal(mine.count, theirs.count[..., kept])
        assert mine.weight == pytest.approx(theirs.weight[..., kept])
        influence = np.random.default_rng(0).normal(size=(2, *mine.count.shape))
        wide = np.zeros((2, *theirs.count.shape))
        wide[..., kept] = influence
        assert mine.covariance(influence) == pytest.approx(theirs.covariance(wide))


def test_halves_keep_units_together_and_do_not_depend_on_the_order_of_rows() -> None:
    data = _data()
    evaluation = ek.evaluate(data, label="y", score="p", metrics=["roc_auc"], slices=["g"], unit="u").evaluations[0]
    [family] = families(evaluation, ["g"])
    first, second = GroupRows.of(evaluation, family).halves(seed=1)
    assert not set(first.key.tolist()) & set(second.key.tolist())  # type: ignore[union-attr]
    assert len(first.score) + len(second.score) == 900
    backwards = {name: values[::-1] for name, values in data.items()}
    again = ek.evaluate(backwards, label="y", score="p", metrics=["roc_auc"], slices=["g"], unit="u").evaluations[0]
    assert np.array_equal(GroupRows.of(again, family).halves(seed=1)[0].scores().count, first.scores().count)


def test_each_half_is_decided_by_the_thresholds_of_the_other() -> None:
    first, second = made(500, 2, seed=1, decimals=3).halves(seed=0)
    found = held_out(first.scores(), second.scores(), "demographic_parity", randomized=False, within=0.02, current=0.6)
    right = [
        (rows.score >= np.array([t[0] for t in half.rule.thresholds])[rows.group]) == rows.label
        for half, rows in zip(found.halves, (second, first), strict=True)
    ]
    assert found.value.value == pytest.approx(np.concatenate(right).mean(), abs=1e-12)
    assert found.loss.value == pytest.approx(found.best_value.value - found.value.value, abs=1e-12)
    assert found.loss_to_current is not None
    assert found.in_sample_gap <= 0.02 < found.gap.value
    assert found.to_polars()["what"].to_list() == ["accuracy", "best", "loss", "gap", "best_gap"]


def test_rows_and_groups_that_are_missing_are_said() -> None:
    evaluation = ek.evaluate(
        _data(), label="y", score="p", metrics=["roc_auc"], slices=["g"], keep_rows=False
    ).evaluations[0]
    [family] = families(evaluation, ["g"])
    with pytest.raises(UsageError, match="no rows are kept"):
        held_out_check(evaluation, family)
    a, b = made(50, 2, seed=0), made(60, 3, seed=0)
    with pytest.raises(DataError, match="hold 2 and 3 groups"):
        held_out(a.scores(), b.scores())
    with pytest.raises(DataError, match="no rows in one of the halves"):
        held_out(b.scores(), b.take(b.group < 2).scores())


@pytest.mark.parametrize("more", [{}, {"weight": "w"}, {"unit": "u"}])
def test_measures_of_every_family_go_into_the_table(more: dict[str, str]) -> None:
    evaluation = ek.evaluate(
        _data(3000),
        label="y",
        score="p",
        metrics=["roc_auc"],
        slices=["site", ["site", "g"]],
        **more,  # type: ignore[arg-type]
    ).evaluations[0]
    found = tradeoff_measures(
        evaluation, ["g"], ["site"], criteria=["equalized_odds"], objective="cost", costs=ek.Costs()
    )
    frame = table(found, "mine")
    assert frame.height == 6
    assert frame["metric"][1] == "equality_loss_held_out@criterion=equalized_odds,objective=cost,across=g"
    assert frame["status"].unique().to_list() == ["ok"]
    assert (frame["low"].is_nan() == frame["metric"].str.starts_with("equality_loss@")).all()
    assert "g=a from" in frame["note"][0]


def test_measures_say_why_where_they_are_undefined() -> None:
    data = _data(120)
    data["y"] = np.where(data["g"] == "a", data["y"], 0)
    evaluation = ek.evaluate(
        data, label="y", score="p", metrics=["roc_auc"], slices=["g"], keep_rows=False
    ).evaluations[0]
    found = tradeoff_measures(evaluation, ["g"], criteria=["equal_opportunity", "demographic_parity"])
    assert [np.isnan(m.value) for m in found] == [True, False, True, True]
    assert found[0].note.startswith("Fewer than two groups hold rows for true_positive_rate")
    assert "no rows are kept" in found[2].note


def _draw(n: int, rng: np.random.Generator) -> GroupRows:
    group = rng.integers(0, 2, n)
    label = (rng.random(n) < _BASE[group]).astype(np.int64)
    return GroupRows(rng.normal(size=n) + label * _APART[group] + _SHIFT[group], label, group, 2)


def _truth(rule: ThresholdRule, criterion: str) -> tuple[float, float]:
    """Returns the accuracy and the gap of a rule in all of the population."""
    rates = np.array(
        [
            [shares @ stats.norm.sf(t - _SHIFT[g] - label * _APART[g]) for label in (1, 0)]
            for g, (t, shares) in enumerate(zip(rule.thresholds, rule.shares, strict=True))
        ]
    )
    accuracy = float(np.mean(_BASE * rates[:, 0] + (1 - _BASE) * (1 - rates[:, 1])))
    selected = _BASE * rates[:, 0] + (1 - _BASE) * rates[:, 1]
    return accuracy, float(np.ptp(selected) if criterion == "demographic_parity" else np.ptp(rates, axis=0).max())


@pytest.mark.slow
@pytest.mark.parametrize("criterion", ["demographic_parity", "equalized_odds"])
def test_held_out_intervals_hold_what_the_chosen_thresholds_do_on_new_rows(criterion: str) -> None:
    rng, held, flattery = np.random.default_rng(0), [], []
    for seed in range(120):
        first, second = _draw(500, rng).halves(seed)
        found = held_out(first.scores(), second.scores(), criterion)  # type: ignore[arg-type]
        true = np.mean([_truth(half.rule, criterion) for half in found.halves], axis=0)
        best = np.mean([_truth(half.best, criterion)[0] for half in found.halves])
        lost = np.isnan(found.loss.low) or found.loss.low <= best - true[0] <= found.loss.high
        held.append([found.value.low <= true[0] <= found.value.high, lost, found.gap.low <= true[1] <= found.gap.high])
        flattery.append(found.flattery)
    assert (np.mean(held, axis=0) >= 0.9).all(), np.mean(held, axis=0)
    assert np.mean(flattery) > 0.01
