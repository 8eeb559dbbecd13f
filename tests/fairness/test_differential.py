"""Differential fairness against its definition, and how often its credible interval holds the truth."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import evalkit as ek
from evalkit.errors import ConfigError, DataError
from evalkit.fairness.criteria.differential import differential_fairness, differential_fairness_measures, epsilon
from evalkit.fairness.families import families

counts = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30)), min_size=2, max_size=5)


def by_definition(of: Any, concentration: float) -> float:
    """The largest log ratio of any outcome's smoothed shares in two groups with rows."""
    held = [np.array(row, dtype=float) for row in of if sum(row)]
    shares = [(row + concentration / len(row)) / (row.sum() + concentration) for row in held]
    pairs = itertools.permutations(shares, 2)
    return max((float(np.log(a / b).max()) for a, b in pairs), default=np.nan)


@given(counts, st.sampled_from([0.5, 1.0, 3.0]))
def test_epsilon_is_the_largest_log_ratio_of_any_two_groups(drawn: Any, concentration: float) -> None:
    found = differential_fairness(drawn, concentration=concentration)
    assert found == pytest.approx(by_definition(drawn, concentration), abs=1e-12, nan_ok=True)


@given(counts)
def test_the_interval_holds_the_value_and_order_does_not_matter(drawn: Any) -> None:
    found = epsilon(drawn, draws=200)
    if sum(sum(row) > 0 for row in drawn) < 2:
        assert np.isnan(found.value)
        return
    assert 0 <= found.low <= found.value <= found.high
    assert differential_fairness(drawn[::-1]) == pytest.approx(found.value)


def test_without_smoothing_an_outcome_that_never_happens_in_a_group_is_infinite() -> None:
    assert differential_fairness([[10, 0], [5, 5]], concentration=0) == np.inf
    assert differential_fairness([[10, 0], [5, 0]], concentration=0) == 0
    with pytest.raises(ConfigError, match="above 0"):
        epsilon([[10, 0], [5, 5]], concentration=0)
    with pytest.raises(DataError, match="none negative"):
        differential_fairness([[-1, 2], [1, 1]])


def rows(n: int = 500) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    g, sex = rng.choice(["a", "b", "c"], n), rng.choice(["f", "m"], n)
    y = (rng.random(n) < np.where(g == "a", 0.5, 0.35)).astype(int)
    h = np.where(rng.random(n) < 0.8, y, g == "a").astype(int)
    return {"y": y, "h": h, "g": g, "sex": sex, "w": rng.uniform(0.5, 2, n), "u": rng.integers(0, 40, n)}


@pytest.mark.parametrize("more", [{}, {"weight": "w"}, {"unit": "u"}])
def test_measures_are_of_decisions_labels_and_their_difference(more: dict[str, Any]) -> None:
    data = rows()
    result = ek.evaluate(data, label="y", prediction="h", metrics=["accuracy"], slices=[["g", "sex"]], **more)
    [family] = families(result.evaluations[0], [["g", "sex"]])
    found = differential_fairness_measures(result.evaluations[0], family)
    w = data["w"] if "weight" in more else np.ones(len(data["y"]))

    def expected(of: Any) -> float:
        cells = [(data["g"] == a) & (data["sex"] == b) for a in "abc" for b in "fm"]
        return differential_fairness([[w[inside & (of == v)].sum() for v in (0, 1)] for inside in cells])

    values = [expected(data["h"]), expected(data["y"])]
    assert [m.value for m in found] == pytest.approx([*values, values[0] - values[1]])
    assert [m.metric for m in found] == [
        "differential_fairness",
        "differential_fairness@of=labels",
        "bias_amplification",
    ]
    assert all(m.low <= m.value <= m.high for m in found)


@pytest.mark.slow
def test_the_credible_interval_holds_the_truth_where_percentiles_of_epsilon_do_not() -> None:
    rng = np.random.default_rng(0)
    covered: dict[str, list[float]] = {}
    for rates, n in (([0.3] * 6, 50), ([0.3, 0.3, 0.3, 0.2, 0.4, 0.5], 100), ([0.05] * 4, 100)):
        p = np.array(rates)
        truth = differential_fairness(np.stack([1 - p, p], 1), concentration=0)
        inside, percentiles = [], []
        for seed in range(100):
            x = rng.binomial(n, p)
            of = np.stack([n - x, x], axis=1)
            found = epsilon(of, seed=seed, draws=1500)
            inside.append(found.low <= truth <= found.high)
            drawn = rng.standard_gamma(of + 0.5, size=(300, *of.shape))
            log = np.log(drawn / drawn.sum(-1, keepdims=True))
            ends = np.quantile((log.max(1) - log.min(1)).max(-1), [0.025, 0.975])
            percentiles.append(ends[0] <= truth <= ends[1])
        covered[str(rates)] = [float(np.mean(inside)), float(np.mean(percentiles))]
    assert all(of[0] > 0.89 for of in covered.values()), covered
    assert covered[str([0.3] * 6)][1] == 0
