"""Consistency against the published code's sums, and counterfactual flips against counts."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from evalkit.errors import DataError, MissingExtra
from evalkit.fairness.criteria.individual import (
    consistency,
    consistency_measures,
    flip_measures,
    flips,
    row_consistency,
)

RNG = np.random.default_rng(0)
FEATURES, DECISIONS = RNG.normal(size=(60, 3)), RNG.integers(0, 2, 60)


def by_brute_force(x: np.ndarray, p: np.ndarray, k: int, with_self: bool) -> float:
    distance = ((x[:, None] - x[None]) ** 2).sum(-1)
    if not with_self:
        np.fill_diagonal(distance, np.inf)
    near = np.argsort(distance, axis=1, kind="stable")[:, :k]
    return float(1 - np.abs(p - p[near].mean(1)).mean())


@pytest.mark.parametrize("with_self", [False, True])
@pytest.mark.parametrize("scale", [False, True])
def test_consistency_is_that_of_all_distances(with_self: bool, scale: bool) -> None:
    x = FEATURES * [1, 10, 100]
    found = consistency(x, DECISIONS, neighbours=4, with_self=with_self, scale=scale)
    assert found == pytest.approx(by_brute_force(x / x.std(0) if scale else x, DECISIONS, 4, with_self))


def test_equal_decisions_are_wholly_consistent_and_constant_features_do_no_harm() -> None:
    assert consistency(np.c_[FEATURES, np.ones(60)], np.ones(60)) == 1.0


def test_consistency_of_groups_is_the_mean_of_their_rows() -> None:
    group = RNG.choice(["a", "b"], 60)
    found = consistency_measures(FEATURES, DECISIONS, group, across="sex", neighbours=3)
    own = row_consistency(FEATURES, DECISIONS, neighbours=3)
    assert [m.value for m in found] == pytest.approx([own.mean(), own[group == "a"].mean(), own[group == "b"].mean()])
    assert all(np.isnan(m.low) and m.note == "no interval: rows share neighbours" for m in found)


def test_too_few_rows_and_bad_features_are_refused() -> None:
    with pytest.raises(DataError, match="5 rows do not have 5 neighbours each"):
        consistency(FEATURES[:5], DECISIONS[:5])
    with pytest.raises(DataError, match="lie in \\[0, 1\\]"):
        consistency(FEATURES, DECISIONS + 1)
    with pytest.raises(DataError, match="of shape \\[60\\]"):
        consistency(FEATURES[:, 0], DECISIONS)


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.neighbors", None)
    with pytest.raises(MissingExtra, match="pip install 'evalkit\\[demo\\]'"):
        consistency(FEATURES, DECISIONS)


pairs = st.lists(st.tuples(st.sampled_from([0.1, 0.5, 0.9]), st.sampled_from([0.1, 0.5, 0.9])), min_size=1, max_size=20)


@given(pairs, st.booleans())
def test_flips_are_counted_as_in_tensorflow_model_analysis(drawn: list[tuple[float, float]], strict: bool) -> None:
    p, c = np.array(drawn).T
    found = flips(p, c, strict=strict)
    before, after = (p > 0.5, c > 0.5) if strict else (p >= 0.5, c >= 0.5)
    assert found.positive_to_negative == sum(before & ~after)
    assert found.negative_to_positive == sum(~before & after)
    assert found.positive == before.sum()
    assert found.rate == pytest.approx((before != after).mean())


def test_flip_rates_have_wilsons_intervals_by_group() -> None:
    p, c, group = RNG.random(200), RNG.random(200), RNG.choice(["f", "m"], 200)
    found = {(m.metric, m.group): m for m in flip_measures(p, c, group, across="sex")}
    for key, inside in (((), np.ones(200, bool)), ((("sex", "f"),), group == "f")):
        own = flips(p[inside], c[inside])
        rate = found["counterfactual_flip_rate", key]
        assert rate.value == pytest.approx(own.rate)
        low, high = proportion_confint(round(own.rate * own.rows), own.rows, method="wilson")
        assert (rate.low, rate.high) == pytest.approx((low, high))
        lost = found["counterfactual_flip_rate_positive_to_negative", key]
        assert lost.value == pytest.approx(own.positive_to_negative / own.rows)
        assert found["counterfactual_flip_count", key].value == own.positive_to_negative + own.negative_to_positive
        shift = found["counterfactual_shift", key]
        assert shift.value == pytest.approx((own.negative_to_positive - own.positive_to_negative) / own.rows)
        assert 0 <= shift.p_value <= 1


def test_weights_and_units_change_values_and_intervals_as_they_should() -> None:
    p, c, w = RNG.random(200), RNG.random(200), RNG.integers(1, 4, 200)
    weighted = flip_measures(p, c, across="sex", weight=w)
    assert weighted[0].value == pytest.approx(flips(np.repeat(p, w), np.repeat(c, w)).rate)
    assert "no interval" in weighted[-1].note
    once = flip_measures(p, c, across="sex")[0]
    thrice = flip_measures(*(np.repeat(a, 3) for a in (p, c)), across="sex", unit=np.repeat(np.arange(200), 3))[0]
    assert thrice.high - thrice.low == pytest.approx(once.high - once.low, rel=0.1)


def test_unlike_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="must be of the same rows"):
        flips([0.1, 0.2], [0.1])
    with pytest.raises(DataError, match="but 1 of unit"):
        flip_measures([0.1, 0.2], [0.1, 0.6], across="sex", unit=[1])
