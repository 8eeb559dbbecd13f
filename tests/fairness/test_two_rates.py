"""Intervals of two proportions hold what their tests do not reject, and are those of the papers."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.stats.proportion import confint_proportions_2indep

import evalkit as ek
from evalkit.fairness.statistics.two_rates import (
    Ends,
    difference_test,
    koopman,
    miettinen_nurminen,
    newcombe,
    ratio_test,
)

Z = 1.959963984540054
METHODS: list[Callable[..., Ends]] = [newcombe, miettinen_nurminen, koopman]
Counts = tuple[int, int, int, int]
group = st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
counts = st.tuples(group, group).map(lambda both: (*both[0], *both[1]))


@pytest.mark.parametrize(
    ("rows", "hybrid", "score"),
    [
        ((56, 70, 48, 80), (0.0524, 0.3339), (0.0528, 0.3382)),
        ((9, 10, 3, 10), (0.1705, 0.8090), (0.1700, 0.8406)),
        ((6, 7, 2, 7), (0.0582, 0.8062), (0.0342, 0.8534)),
        ((5, 56, 0, 29), (-0.0381, 0.1926), (-0.0326, 0.1933)),
        ((0, 10, 0, 20), (-0.1611, 0.2775), (-0.1658, 0.2844)),
        ((10, 10, 0, 20), (0.6791, 1.0), (0.7156, 1.0)),
    ],
)
def test_differences_are_those_of_newcombes_table(
    rows: Counts, hybrid: tuple[float, float], score: tuple[float, float]
) -> None:
    assert newcombe(*rows, Z) == pytest.approx(hybrid, abs=6e-5)
    assert miettinen_nurminen(*rows, Z) == pytest.approx(score, abs=6e-5)


@settings(max_examples=10)
@given(st.integers(2, 60), st.integers(2, 60), st.data())
def test_newcombe_and_koopman_are_those_of_statsmodels(n: int, m: int, data: st.DataObject) -> None:
    x, y = data.draw(st.integers(1, n - 1)), data.draw(st.integers(1, m - 1))
    peer = confint_proportions_2indep(x, n, y, m, method="newcomb", compare="diff")
    assert newcombe(x, n, y, m, Z) == pytest.approx(peer, abs=1e-9)
    for corrected in (False, True):
        try:
            peer = confint_proportions_2indep(x, n, y, m, method="score", compare="ratio", correction=corrected)
        except ValueError:  # its search starts too near for wide intervals
            continue
        assert koopman(x, n, y, m, Z, corrected=corrected) == pytest.approx(peer, rel=1e-6)


@given(counts, st.floats(-0.99, 0.99))
def test_the_score_of_a_difference_is_that_of_the_likeliest_proportions(rows: Counts, bound: float) -> None:
    x, n, y, m = rows
    low, high = max(bound, 0.0), min(1 + bound, 1.0)

    def unlikely(q: float) -> float:
        return -float(stats.binom.logpmf(x, n, q) + stats.binom.logpmf(y, m, np.clip(q - bound, 0, 1)))

    q = optimize.minimize_scalar(unlikely, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
    variance = (q * (1 - q) / n + (q - bound) * (1 - q + bound) / m) * (n + m) / (n + m - 1)
    away = x / n - y / m - bound
    assert difference_test(*rows, bound).z == pytest.approx(away / variance**0.5, rel=1e-3, abs=1e-3)


@given(counts, st.floats(0.05, 20.0))
def test_the_score_of_a_ratio_is_that_of_the_likeliest_proportions(rows: Counts, bound: float) -> None:
    x, n, y, m = rows

    def unlikely(q: float) -> float:
        return -float(stats.binom.logpmf(x, n, min(bound * q, 1.0)) + stats.binom.logpmf(y, m, q))

    most = min(1.0, 1 / bound)
    q = optimize.minimize_scalar(unlikely, bounds=(0, most), method="bounded", options={"xatol": 1e-13}).x
    variance = bound * q * (1 - bound * q) / n + bound**2 * q * (1 - q) / m
    expected = (x / n - bound * y / m) / variance**0.5 if x + y else 0.0
    assert ratio_test(*rows, bound).z == pytest.approx(expected, rel=1e-3, abs=1e-3)


@given(counts)
def test_equal_proportions_have_pearsons_test(rows: Counts) -> None:
    x, n, y, m = rows
    test = ratio_test(*rows, 1.0)
    if 0 < x + y < n + m:
        table = [[x, n - x], [y, m - y]]
        assert test.two_sided == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue, rel=1e-9)
        assert difference_test(*rows, 0.0).z ** 2 == pytest.approx(test.z**2 * (n + m - 1) / (n + m), rel=1e-9)
    else:
        assert test.z == 0
        assert test.two_sided == 1
    assert test.above + test.below == pytest.approx(1)


@settings(max_examples=10)
@given(counts, st.floats(0.1, 4.0))
def test_a_score_interval_ends_where_its_test_rejects(rows: Counts, z: float) -> None:
    step = 1e-6
    low, high = miettinen_nurminen(*rows, z)
    for end, side in ((low, -1), (high, 1)):
        beyond, within = end + side * step, end - side * step
        if abs(beyond) <= 1:
            assert abs(difference_test(*rows, beyond).z) > z
        assert abs(difference_test(*rows, np.clip(within, low, high)).z) <= z + 1e-4
    low, high = koopman(*rows, z)
    for end, side in ((low, -1), (high, 1)):
        if 0 < end < np.inf:
            assert abs(ratio_test(*rows, end * (1 + side * step)).z) > z
            assert abs(ratio_test(*rows, end * (1 - side * step)).z) <= z
    assert (low > 1) == (ratio_test(*rows, 1.0).z > z)
    assert (high < 1) == (ratio_test(*rows, 1.0).z < -z)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=12)
@given(rows=counts, z=st.floats(0.0, 4.0), more=st.floats(0.001, 2.0))
def test_intervals_hold_the_estimate_and_nest(method: Callable[..., Ends], rows: Counts, z: float, more: float) -> None:
    x, n, y, m = rows
    inner, outer = method(*rows, z), method(*rows, z + more)
    value = x / n - y / m if method is not koopman else (x * m / (n * y) if y else np.inf if x else 1.0)
    assert outer.low <= inner.low <= value * (1 + 1e-12) + 1e-12
    assert outer.high >= inner.high >= value * (1 - 1e-12) - 1e-12


@settings(max_examples=6)
@given(counts, st.floats(0.1, 4.0))
def test_exchanging_the_groups_mirrors_the_interval(rows: Counts, z: float) -> None:
    x, n, y, m = rows
    for method in (newcombe, miettinen_nurminen):
        low, high = method(*rows, z)
        assert method(y, m, x, n, z) == pytest.approx((-high, -low), abs=1e-12)
        assert method(n - x, n, m - y, m, z) == pytest.approx((-high, -low), abs=1e-8)
    with np.errstate(divide="ignore"):
        low, high = (1 / end for end in koopman(*rows, z))
    assert koopman(y, m, x, n, z) == pytest.approx((high, low), rel=1e-9)


def test_edges_follow_from_the_methods() -> None:
    assert koopman(0, 10, 0, 10, Z).low == 0
    assert koopman(0, 10, 0, 10, Z).high == np.inf
    assert koopman(3, 10, 0, 10, Z).high == np.inf
    assert koopman(3, 10, 0, 10, Z).low > 0
    assert koopman(0, 10, 3, 10, Z).low == 0
    assert koopman(0, 10, 3, 10, Z).high < np.inf
    for method in METHODS:
        assert np.isnan(method(0, 0, 3, 10, Z)).all()
        assert np.isnan(method(3, 10, 0, 0, Z)).all()
        assert np.isnan(method(3, 10, 3, 10, np.nan)).all()
    assert np.isnan(difference_test(0, 0, 3, 10)).all()
    assert np.isnan(ratio_test(3, 10, 0, 0, 0.8)).all()
    assert difference_test(0, 10, 10, 10, 1.0).z == -np.inf
    assert difference_test(10, 10, 0, 10, 1.0).z == 0


def test_arrays_critical_values_and_effective_numbers_broadcast() -> None:
    x, n = np.array([3.5, 0.2, 40.0]), np.array([10.5, 1.7, 80.25])
    for method in METHODS:
        found = method(x[:, None], n[:, None], x, n, np.array([[[1.96]], [[3.0]]]))
        assert found.low.shape == (2, 3, 3)
        one = method(3.5, 10.5, 40.0, 80.25, 3.0)
        assert (found.low[1, 0, 2], found.high[1, 0, 2]) == pytest.approx((one.low, one.high), abs=1e-12)
        assert np.isfinite(found.low).all()


def test_many_rows_and_rare_hits_keep_their_digits() -> None:
    low, high = koopman(8, 10**9, 5, 2 * 10**9, Z)
    poisson = koopman(8, 10**6, 5, 2 * 10**6, Z)
    assert (low, high) == pytest.approx(poisson, rel=1e-4)
    assert koopman(10**6, 10**9, 1, 10**9, Z).low == pytest.approx(1.8e5, rel=0.1)
    wide = miettinen_nurminen(8, 10**9, 5, 2 * 10**9, Z)
    assert wide.low * 1e9 == pytest.approx(miettinen_nurminen(8, 10**6, 5, 2 * 10**6, Z).low * 1e6, rel=1e-3)


def test_a_rate_of_thirty_against_fifty_is_seldom_below_four_fifths_by_chance() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.binomial(150, 0.4, 20_000), rng.binomial(300, 0.5, 20_000)
    assert np.mean(ratio_test(x, 150, y, 300, 0.8).below <= 0.05) == pytest.approx(0.05, abs=0.006)


def test_what_cannot_be_counted_is_said() -> None:
    for method in METHODS:
        with pytest.raises(ek.EvalkitError, match="at most as many as rows"):
            method(5, 4, 1, 4, Z)
        with pytest.raises(ek.EvalkitError, match="from 0 on"):
            method(1, 4, 1, 4, -1.0)
        with pytest.raises(ek.EvalkitError, match=r"shapes \(2,\), \(\) and \(3,\)"):
            method([1, 2], 4, 1, 4, [1.0, 2.0, 3.0])
    with pytest.raises(ek.EvalkitError, match="between -1 and 1, not 2"):
        difference_test(1, 4, 1, 4, 2.0)
    with pytest.raises(ek.EvalkitError, match="positive"):
        ratio_test(1, 4, 1, 4, 0.0)
    with pytest.raises(ek.EvalkitError, match="do not fit"):
        newcombe([1, 2], [4, 4, 4], 1, 4, Z)
