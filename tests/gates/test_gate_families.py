"""Error rates shared over many questions: Holm's procedure, and the largest statistic under a joint covariance."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

import evalkit as ek
from evalkit.adjust import holm
from evalkit.gates.families import Influence, by_holm, by_largest, correlations
from evalkit.gates.joint import influence
from evalkit.gates.questions import Run, of_metric
from evalkit.gates.rules import MetricRule

P = np.array([0.0001, 0.004, 0.02, np.nan, 0.3, 0.7])


def test_holm_gives_each_step_its_share_and_the_rest_what_is_left() -> None:
    levels = by_holm(P, 0.05)
    assert levels.alpha[:3].round(6).tolist() == [0.01, 0.0125, 0.016667]
    assert levels.alpha[4] == levels.alpha[5] == 0.05 / 3
    np.testing.assert_array_equal(levels.adjusted, holm(P))


def test_independent_questions_cost_what_sidak_says() -> None:
    levels = by_largest(np.full(20, 0.5), np.eye(20), 0.05)
    np.testing.assert_allclose(levels.alpha, 1 - 0.95 ** (1 / 20), rtol=0.1)


def test_questions_that_are_one_and_the_same_cost_nothing() -> None:
    levels = by_largest(np.full(20, 0.5), np.ones((20, 20)), 0.05)
    np.testing.assert_allclose(levels.alpha, 0.05, rtol=0.1)
    np.testing.assert_allclose(levels.adjusted, 0.5, rtol=0.05)


@pytest.mark.parametrize("seed", range(20))
def test_the_largest_statistic_is_never_stricter_than_holm_and_agrees_with_its_own_adjusted_p(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 30))
    mixing = rng.normal(size=(size, size + 3))
    correlation = np.corrcoef(mixing)
    p = rng.random(size) ** rng.integers(1, 6)
    p[rng.random(size) < 0.1] = np.nan
    levels, simple = by_largest(p, np.atleast_2d(correlation), 0.05), by_holm(p, 0.05)
    held = np.isfinite(p)
    assert (levels.alpha >= simple.alpha * (1 - 1e-12)).all()
    assert (levels.adjusted[held] <= simple.adjusted[held]).all()
    assert ((p <= levels.alpha)[held] == (levels.adjusted <= 0.05)[held]).all()


@pytest.mark.slow
@pytest.mark.parametrize("shared", [0.0, 0.5, 0.95])
def test_the_largest_statistic_errs_in_five_percent_whatever_the_correlation(shared: float) -> None:
    rng = np.random.default_rng(3)
    size, runs = 12, 600
    correlation = np.full((size, size), shared) + (1 - shared) * np.eye(size)
    z = rng.multivariate_normal(np.zeros(size), correlation, runs)
    wrong = [bool((by_largest(stats.norm.sf(row), correlation, 0.05).adjusted <= 0.05).any()) for row in z]
    low, high = (float(stats.binom.ppf(tail, runs, 0.05)) / runs for tail in (0.005, 0.995))
    assert low <= np.mean(wrong) <= high


def test_correlations_are_those_of_sums_over_shared_rows() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=400)
    rows = np.arange(400)
    nested = Influence(
        np.concatenate([rows, rows[:100]]), np.repeat([0, 1], [400, 100]), np.append(values, values[:100])
    )
    found = correlations([(nested, np.array([0, 1]), -1)])
    np.testing.assert_allclose(found[0, 1], np.sqrt((values[:100] ** 2).sum() / (values**2).sum()))
    turned = correlations([(nested, np.array([0]), -1), (nested, np.array([1]), 1)])
    np.testing.assert_allclose(turned[0, 1], -found[0, 1])


def _data(n: int = 600) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, n)
    columns: dict[str, Any] = {"y": y, "g": rng.choice(["a", "b", "c"], n), "unit": rng.integers(0, 90, n)}
    old = 1 / (1 + np.exp(-(y + rng.normal(size=n))))
    return pl.DataFrame({**columns, "old": old, "new": np.where(rng.random(n) < 0.2, rng.random(n), old)})


@pytest.mark.parametrize("unit", [None, "unit"])
@pytest.mark.parametrize("metric", ["accuracy", "roc_auc", "log_loss", "f1"])
@pytest.mark.parametrize("quantity", ["value", "delta", "relative_delta"])
def test_the_influences_of_a_question_add_up_to_its_variance(metric: str, quantity: str, unit: str | None) -> None:
    comparison = ek.compare(
        _data(), label="y", baseline="old", candidate="new", unit=unit, slices=["g"], metrics=[metric]
    )
    pair = comparison.pairs[0]
    run = Run(pair.candidate, pair, (metric,))
    rule = MetricRule.model_validate({"metric": metric, "slices": "all", quantity: {"min": -0.1}})
    asked = of_metric(rule, run)
    assert not isinstance(asked, str)
    [question] = asked
    told = influence(question, run)
    assert told is not None
    found = np.bincount(told.slices, weights=told.values**2, minlength=4)
    delta = comparison.deltas()[metric]
    mine, theirs, both = delta.candidate.variance, delta.baseline.variance, delta.variance
    factor = 1 - 0.1 * np.sign(delta.baseline.value)
    expected = {
        "value": mine,
        "delta": both,
        "relative_delta": mine + factor**2 * theirs - factor * (mine + theirs - both),
    }[quantity]
    np.testing.assert_allclose(found, expected, rtol=0.05)
