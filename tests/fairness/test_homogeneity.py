"""Tests of any difference between groups: invariant, with the right degrees of freedom, and seldom wrong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import evalkit as ek
from evalkit.fairness.statistics.homogeneity import chi_square, permutation_test, permutation_test_auc, wald
from evalkit.fairness.statistics.permutation_auc import group_areas
from evalkit.significance import delong

ALLOWED = {n: 0.05 + 2.576 * (0.05 * 0.95 / n) ** 0.5 for n in (120, 2000)}


def covariance(seed: int, groups: int) -> np.ndarray:
    half = np.random.default_rng(seed).normal(size=(groups, groups + 2))
    return half @ half.T


@given(st.integers(0, 1000), st.integers(2, 6))
def test_walds_test_is_that_of_any_contrasts(seed: int, groups: int) -> None:
    S, v = covariance(seed, groups), np.random.default_rng(seed + 1).normal(size=groups)
    contrasts = np.eye(groups)[1:] - np.eye(groups)[:1]
    d = contrasts @ v
    expected = d @ np.linalg.solve(contrasts @ S @ contrasts.T, d)
    found = wald(v, S)
    assert found.statistic == pytest.approx(expected, rel=1e-6)
    assert found.degrees == groups - 1
    assert found.p_value == pytest.approx(stats.chi2.sf(expected, groups - 1), rel=1e-6)


def test_groups_without_value_are_left_out_and_arrays_go_along() -> None:
    S, v = covariance(0, 4), np.array([0.1, np.nan, 0.9, 0.5])
    kept = np.array([0, 2, 3])
    alone = wald(v[kept], S[np.ix_(kept, kept)])
    many = wald(np.stack([v, np.array([1.0, np.nan, np.nan, np.nan])]), S)
    assert many.statistic[0] == pytest.approx(alone.statistic)
    assert many.degrees.tolist() == [2, 0]
    assert np.isnan([many.statistic[1], many.p_value[1]]).all()
    S[1] = S[:, 1] = np.nan
    assert wald(v, S).statistic == pytest.approx(alone.statistic)


def test_differences_without_variance_are_no_evidence() -> None:
    found = wald([0.0, 0.0, 0.5], np.diag([0.0, 0.0, 0.01]))
    assert found.degrees == 1
    assert np.isnan(wald([0.0, 1.0], np.zeros((2, 2))).p_value)


def test_few_units_make_hotellings_test() -> None:
    S, v = covariance(3, 3), np.array([1.0, 2.0, 4.0])
    plain, few = wald(v, S), wald(v, S, error_degrees=20)
    assert few.p_value == pytest.approx(stats.f.sf(few.statistic * 19 / (20 * 2), 2, 19))
    assert few.p_value > plain.p_value
    assert wald(v, S, error_degrees=1e9).p_value == pytest.approx(plain.p_value, rel=1e-5)
    assert np.isnan(wald(v, S, error_degrees=1).p_value)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=2, max_size=5))
def test_pearsons_test_leaves_groups_without_rows_out(drawn: list[tuple[int, int]]) -> None:
    x, more = np.array(drawn).T
    found = chi_square(x, x + more)
    again = chi_square(np.append(x, 0), np.append(x + more, 0))
    np.testing.assert_allclose(again, found)
    assert found.degrees == len(x) - 1


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(ek.EvalkitError, match="a pair of groups"):
        wald([1, 2], np.eye(3))
    with pytest.raises(ek.EvalkitError, match="A variance is -1"):
        wald([1, 2], -np.eye(2))
    with pytest.raises(ek.EvalkitError, match="not finite"):
        wald([1, 2], [[1, np.nan], [np.nan, 1]])
    with pytest.raises(ek.EvalkitError, match="positive"):
        wald([1, 2], np.eye(2), error_degrees=0)


def test_counts_and_shuffled_rows_are_one_test() -> None:
    rng = np.random.default_rng(0)
    groups, strata = rng.integers(0, 3, 120), rng.integers(0, 2, 120)
    hits = rng.random(120) < 0.3 + 0.1 * groups + 0.2 * strata
    fast = permutation_test(hits, groups, strata=strata, permutations=2000)
    slow = permutation_test(hits, groups, strata=strata, weights=np.full(120, 2.0), permutations=2000)
    assert slow.statistic == pytest.approx(fast.statistic)
    assert slow.p_value == pytest.approx(fast.p_value, abs=0.015)
    assert fast.p_value == pytest.approx(stats.chi2.sf(fast.statistic, 2), abs=0.03)


def test_the_law_of_two_groups_is_fishers() -> None:
    hits, groups = np.repeat([1, 0, 1, 0], [7, 3, 3, 7]), np.repeat([0, 1], 10)
    found = permutation_test(hits, groups, permutations=20_000)
    assert found.p_value == pytest.approx(stats.fisher_exact(np.array([[7, 3], [3, 7]])).pvalue, abs=0.01)


def test_seeds_and_the_order_of_rows() -> None:
    rng = np.random.default_rng(1)
    values, groups = rng.normal(size=50), rng.choice(["a", "b"], 50)
    once = permutation_test(values, groups, permutations=400, seed=3)
    assert permutation_test(values, groups, permutations=400, seed=3) == once
    order = rng.permutation(50)
    again = permutation_test(values[order], groups[order], permutations=400, seed=4)
    assert again.statistic == pytest.approx(once.statistic)
    assert again.p_value == pytest.approx(once.p_value, abs=0.1)


def test_one_group_has_no_test_and_equal_values_no_evidence() -> None:
    assert np.isnan(permutation_test([1, 0], [0, 0]).p_value)
    assert permutation_test([1, 1, 1], [0, 1, 1]).p_value == 1
    assert permutation_test([2.0, 2.0, 2.0], [0, 1, 1], units=[1, 2, 3]).p_value == 1
    assert np.isnan(permutation_test_auc([1, 2, 3], [0, 1, 1], [0, 0, 1]).p_value)


def test_rows_of_a_unit_count_once() -> None:
    rng = np.random.default_rng(2)
    values, groups = rng.normal(size=30), np.repeat([0, 1, 2], 10)
    alone = permutation_test(values, groups, permutations=500)
    repeated = permutation_test(
        np.repeat(values, 4), np.repeat(groups, 4), units=np.repeat(np.arange(30), 4), permutations=500
    )
    assert repeated.statistic == pytest.approx(alone.statistic)
    assert repeated.p_value == pytest.approx(alone.p_value, abs=0.06)


def test_a_unit_in_several_strata_is_shuffled_among_units_in_the_same() -> None:
    rng = np.random.default_rng(5)
    unit = np.repeat(np.arange(40), 3)
    group, stratum = unit % 2, (np.arange(120) % 3 > 0) & (unit >= 20)
    values = stratum * 5.0 + rng.normal(size=120)
    found = permutation_test(values, group, strata=stratum, units=unit, permutations=200)
    assert found.p_value > 0.05
    shifted = permutation_test(values + 2.0 * group, group, strata=stratum, units=unit, permutations=200)
    assert shifted.p_value == pytest.approx(1 / 201)


def test_areas_within_groups_are_delongs() -> None:
    rng = np.random.default_rng(3)
    groups, labels, scores = rng.integers(0, 3, 200), rng.integers(0, 2, 200), rng.integers(0, 12, 200)
    order = np.argsort(scores, kind="stable")
    tie = np.unique(scores[order], return_inverse=True)[1]
    found = group_areas(groups[order], np.arange(200), labels[order] == 1, tie, 3)
    for which in range(3):
        own = groups == which
        peer = delong(labels[own], scores[own], scores[own])
        assert found.area[which] == pytest.approx(peer.aucs[0])
        assert found.variance[which] == pytest.approx(peer.variances[0], rel=0.1)


def test_unequal_areas_are_found_and_doubled_rows_of_units_change_nothing() -> None:
    rng = np.random.default_rng(4)
    groups, labels = np.repeat([0, 1], 150), rng.integers(0, 2, 300)
    scores = rng.normal(size=300) + np.where(groups == 0, 2.0, 0.3) * labels
    alone = permutation_test_auc(scores, labels, groups, permutations=200)
    assert alone.p_value < 0.01
    twice = [np.repeat(a, 2) for a in (scores, labels, groups, np.arange(300))]
    again = permutation_test_auc(*twice[:3], units=twice[3], permutations=200)
    assert again.statistic == pytest.approx(alone.statistic, rel=0.02)


def test_rows_that_do_not_fit_are_said() -> None:
    with pytest.raises(ek.EvalkitError, match='"values" has shape'):
        permutation_test([1, 2, 3], [0, 1])
    with pytest.raises(ek.EvalkitError, match="not finite in 1 of 2"):
        permutation_test([1, np.nan], [0, 1])
    with pytest.raises(ek.EvalkitError, match="A weight is -1"):
        permutation_test([1, 2], [0, 1], weights=[1, -1])
    with pytest.raises(ek.EvalkitError, match='"units" has shape'):
        permutation_test([1, 2], [0, 1], units=[1])
    with pytest.raises(ek.EvalkitError, match="at least 1"):
        permutation_test([1, 2], [0, 1], permutations=0)
    with pytest.raises(ek.EvalkitError, match="labels are 0 or 1"):
        permutation_test_auc([1, 2], [0, 2], [0, 1])


def over_all_rows(rng: np.random.Generator, hit: np.ndarray, held: np.ndarray, groups: np.ndarray) -> float:
    """The test that is wrong: labels are shuffled over all rows, with those outside the denominator."""

    def gap(of: np.ndarray) -> float:
        rates = [hit[held & (of == g)].mean() for g in (0, 1)]
        return abs(rates[0] - rates[1])

    seen = gap(groups)
    return (1 + sum(gap(rng.permutation(groups)) >= seen for _ in range(99))) / 100


@pytest.mark.slow
def test_within_the_denominator_a_fair_rate_is_rejected_in_5_percent_and_over_all_rows_in_more() -> None:
    groups = np.repeat([0, 1], [100, 400])
    within, over = [], []
    for seed in range(2000):
        rng = np.random.default_rng(seed)
        negative = rng.random(500) >= np.where(groups == 0, 0.7, 0.2)
        hit = rng.random(500) < 0.2
        within.append(permutation_test(hit[negative], groups[negative], permutations=99, seed=seed).p_value)
        if seed < 250:
            over.append(over_all_rows(rng, hit, negative, groups))
    assert np.mean(np.array(within) <= 0.05) <= ALLOWED[2000]
    assert np.mean(np.array(over) <= 0.05) > 0.08


@pytest.mark.slow
def test_within_classes_equal_areas_are_rejected_in_5_percent() -> None:
    found = []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        groups = np.repeat([0, 1], [60, 140])
        labels = (rng.random(200) < np.where(groups == 0, 0.15, 0.5)).astype(int)
        scores = labels + rng.normal(size=200) + 2.0 * groups
        found.append(permutation_test_auc(scores, labels, groups, permutations=99, seed=seed).p_value)
    assert np.mean(np.array(found) <= 0.05) <= ALLOWED[120]
