"""Paired tests agree with published numbers, with their definitions and each other, and err as often as promised."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, get_args

import numpy as np
import pytest
import simulate
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import optimize, special, stats
from statsmodels.stats import contingency_tables

from evalkit.errors import ConfigError, DataError
from evalkit.significance import (
    Alternative,
    DeLong,
    Method,
    Side,
    conditional_interval,
    conditional_mid_p,
    corrected_resampled_t,
    delong,
    five_by_two_cv_f,
    mcnemar,
    tango_interval,
    tango_z,
)

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Scores = NDArray[np.floating]
Z = float(special.ndtri(0.975))

counts = st.integers(0, 40)
alphas = st.floats(-12, -0.4).map(lambda power: 10.0**power)


# McNemar


@pytest.mark.parametrize(("method", "p"), [("exact", 4.43445e-06), ("mid-p", 3.26665e-06)])
def test_mcnemar_gives_the_known_p_values(method: Method, p: float) -> None:
    assert mcnemar(121, 59, method).p_value == pytest.approx(p, rel=2e-6)


@pytest.mark.parametrize(("method", "chi_square"), [("asymptotic", 21.355556), ("corrected", 20.672222)])
def test_mcnemar_gives_the_known_chi_squares(method: Method, chi_square: float) -> None:
    assert mcnemar(121, 59, method).statistic == pytest.approx(chi_square, abs=5e-7)


@pytest.mark.parametrize("method", ["exact", "asymptotic", "corrected"])
@given(lost=counts, gained=counts)
def test_mcnemar_equals_statsmodels(method: Method, lost: int, gained: int) -> None:
    assume(lost != gained)  # statsmodels corrects a difference of 0 to 1
    table = np.array([[5, lost], [gained, 5]])
    theirs: Any = contingency_tables.mcnemar(table, exact=method == "exact", correction=method == "corrected")
    ours = mcnemar(lost, gained, method)
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-10)
    assert ours.statistic == pytest.approx(theirs.statistic, rel=1e-12)


@given(lost=counts, gained=counts)
def test_the_mid_p_counts_the_observed_number_half(lost: int, gained: int) -> None:
    total = lost + gained
    assume(total > 0)
    chances = stats.binom.pmf(np.arange(total + 1), total, 0.5)
    better = chances[gained + 1 :].sum() + chances[gained] / 2
    worse = chances[:gained].sum() + chances[gained] / 2
    assert mcnemar(lost, gained, alternative="better").p_value == pytest.approx(better, rel=1e-10)
    assert mcnemar(lost, gained, alternative="worse").p_value == pytest.approx(worse, rel=1e-10)
    assert mcnemar(lost, gained).p_value == pytest.approx(2 * min(better, worse), rel=1e-10)


@pytest.mark.parametrize("method", get_args(Method))
@given(lost=counts, gained=counts)
def test_better_for_one_model_is_worse_for_the_other(method: Method, lost: int, gained: int) -> None:
    one, other = mcnemar(lost, gained, method, "better"), mcnemar(gained, lost, method, "worse")
    assert one.p_value == other.p_value


@pytest.mark.parametrize("method", get_args(Method))
@given(lost=counts, gained=counts)
def test_a_two_sided_p_value_is_twice_the_smaller_one_sided(method: Method, lost: int, gained: int) -> None:
    sides: list[Alternative] = ["better", "worse"]
    smaller = min(float(mcnemar(lost, gained, method, side).p_value) for side in sides)
    expected = min(1.0, 2 * smaller) if lost != gained else 1.0
    assert mcnemar(lost, gained, method).p_value == pytest.approx(expected)


@pytest.mark.parametrize("method", get_args(Method))
@pytest.mark.parametrize("alternative", get_args(Alternative))
def test_no_discordant_row_is_no_evidence(method: Method, alternative: Alternative) -> None:
    assert mcnemar(0, 0, method, alternative).p_value == 1.0


def test_mcnemar_of_arrays_is_that_of_each_pair() -> None:
    lost, gained = np.array([[0], [3], [12]]), np.array([0, 5, 9, 30])
    for method in get_args(Method):
        together = mcnemar(lost, gained, method)
        assert together.p_value.shape == together.statistic.shape == (3, 4)
        for i, j in product(range(3), range(4)):
            assert together.p_value[i, j] == mcnemar(int(lost[i, 0]), int(gained[j]), method).p_value


def test_a_chi_square_without_discordant_rows_is_undefined() -> None:
    assert np.isnan(mcnemar(0, 0, "asymptotic").statistic)


# The difference of two proportions


def likeliest_z(n: int, lost: int, gained: int, bound: float) -> float:
    """Tango's statistic with the likeliest shares found by search instead of a formula."""

    def surprise(share: float) -> float:
        chances = (share + bound, share, 1 - 2 * share - bound)
        seen = (gained, lost, n - lost - gained)
        return -sum(float(special.xlogy(k, p)) for k, p in zip(seen, chances, strict=True))

    ends = max(0.0, -bound), (1 - bound) / 2
    share = optimize.minimize_scalar(surprise, bounds=ends, method="bounded", options={"xatol": 1e-13}).x
    return float((gained - lost - n * bound) / np.sqrt(n * (2 * share + bound - bound**2)))


TABLES = [(100, 2, 6), (100, 6, 2), (50, 0, 4), (50, 4, 0), (21, 7, 1), (30, 14, 16), (300, 10, 25), (40, 0, 0)]


@pytest.mark.parametrize(("n", "lost", "gained"), TABLES)
@pytest.mark.parametrize("bound", [-0.6, -0.1, -0.02, 0.02, 0.1, 0.6])
def test_tangos_statistic_is_that_of_the_likeliest_shares(n: int, lost: int, gained: int, bound: float) -> None:
    assert tango_z(n, lost, gained, bound) == pytest.approx(likeliest_z(n, lost, gained, bound), rel=2e-5)


@pytest.mark.parametrize(("n", "lost", "gained"), TABLES)
def test_tangos_interval_is_where_the_searched_statistic_crosses(n: int, lost: int, gained: int) -> None:
    value = (gained - lost) / n

    def crossing(end: float, z: float) -> float:
        found: float = optimize.brentq(
            lambda bound: likeliest_z(n, lost, gained, bound) - z, end, value, xtol=1e-12, full_output=False
        )
        return found

    interval = tango_interval(n, lost, gained, Z)
    assert interval.low == pytest.approx(crossing(-0.9999, Z), abs=2e-6)
    assert interval.high == pytest.approx(crossing(0.9999, -Z), abs=2e-6)


def test_tangos_interval_of_a_published_table() -> None:
    """Airway reactivity of 21 children, 1 and 7 discordant; Fagerland, Lydersen and Laake (2014)."""
    assert tango_interval(21, 7, 1, Z) == pytest.approx((-0.517, -0.026), abs=5e-4)


@given(lost=counts, gained=counts)
def test_at_no_difference_tangos_statistic_is_mcnemars(lost: int, gained: int) -> None:
    z = float(tango_z(100, lost, gained, 0.0))
    assert z == pytest.approx((gained - lost) / np.sqrt(max(lost + gained, 1)))
    assert 2 * special.ndtr(-abs(z)) == pytest.approx(float(mcnemar(lost, gained, "asymptotic").p_value))


@given(lost=counts, gained=counts, more=st.integers(0, 200), z=st.floats(0.1, 7))
def test_tangos_interval_holds_the_bounds_that_are_not_rejected(lost: int, gained: int, more: int, z: float) -> None:
    n = max(lost + gained + more, 1)
    low, high = (float(end) for end in tango_interval(n, lost, gained, z))
    bounds = np.concatenate([np.linspace(-1, 1, 81), [0.0]])
    bounds = bounds[(np.abs(bounds - low) > 1e-12) & (np.abs(bounds - high) > 1e-12)]
    kept = np.abs(tango_z(n, lost, gained, bounds)) <= z
    assert (kept == ((low <= bounds) & (bounds <= high))).all()


@given(lost=counts, gained=counts, z=st.floats(0.1, 7))
def test_tangos_interval_excludes_no_difference_exactly_when_its_test_does(lost: int, gained: int, z: float) -> None:
    interval, statistic = tango_interval(100, lost, gained, z), tango_z(100, lost, gained, 0.0)
    assert (interval.low > 0) == (statistic > z)
    assert (interval.high < 0) == (statistic < -z)


def test_intervals_and_tests_agree_on_no_difference_to_the_last_digit() -> None:
    lost, gained = np.triu_indices(80, 1)
    z, p = tango_z(200, lost, gained, 0.0), mcnemar(lost, gained, alternative="better").p_value
    assert (tango_interval(200, lost, gained, z).low <= 0).all()
    assert (tango_interval(200, lost, gained, np.nextafter(z, 0)).low > 0).all()
    assert (conditional_interval(200, lost, gained, p).low <= 0).all()
    assert (conditional_interval(200, lost, gained, np.nextafter(p, 1)).low > 0).all()


def test_tangos_interval_at_the_edges() -> None:
    none = tango_interval(50, 0, 0, Z)
    assert none.high == pytest.approx(Z**2 / (50 + Z**2))  # Wilson's upper end of 0 of 50
    assert none.low == -none.high
    every = tango_interval(10, 0, 10, Z)
    assert every.high == 1.0
    assert every.low == pytest.approx((10 - Z**2) / (10 + Z**2))  # where sqrt(n (1 - x) / (1 + x)) is Z
    assert np.isnan(tango_interval(0, 0, 0, Z)).all()


def test_bounds_of_one_are_certain_or_ruled_out() -> None:
    assert tango_z(10, [0, 0, 10], [9, 10, 0], 1.0).tolist() == [-np.inf, 0.0, -np.inf]
    assert tango_z(10, [0, 10, 9], [9, 0, 0], -1.0).tolist() == [np.inf, 0.0, np.inf]


@given(lost=counts, gained=counts)
def test_at_no_difference_the_conditional_mid_p_is_mcnemars(lost: int, gained: int) -> None:
    pairs: list[tuple[Side, Alternative]] = [("greater", "better"), ("less", "worse")]
    for side, alternative in pairs:
        p = conditional_mid_p(100, lost, gained, 0.0, side)
        assert p == mcnemar(lost, gained, alternative=alternative).p_value


@given(lost=counts, gained=counts, alpha=alphas)
def test_the_conditional_interval_excludes_no_difference_exactly_when_the_mid_p_rejects(
    lost: int, gained: int, alpha: float
) -> None:
    interval = conditional_interval(100, lost, gained, alpha)
    assert (interval.low > 0) == (mcnemar(lost, gained, alternative="better").p_value < alpha)
    assert (interval.high < 0) == (mcnemar(lost, gained, alternative="worse").p_value < alpha)


@given(lost=counts, gained=counts, alpha=alphas)
def test_the_conditional_mid_p_at_the_intervals_ends_is_alpha(lost: int, gained: int, alpha: float) -> None:
    low, high = conditional_interval(100, lost, gained, alpha)
    if gained:
        assert conditional_mid_p(100, lost, gained, low, "greater") == pytest.approx(alpha, rel=1e-6)
    elif lost:
        assert low == -lost / 100
    if lost:
        assert conditional_mid_p(100, lost, gained, high, "less") == pytest.approx(alpha, rel=1e-6)


def test_the_conditional_mid_p_is_the_sum_over_the_binomial() -> None:
    n, lost, gained, bound = 200, 6, 14, 0.03
    chances = stats.binom.pmf(np.arange(21), 20, (1 + bound * n / 20) / 2)
    assert conditional_mid_p(n, lost, gained, bound) == pytest.approx(chances[15:].sum() + chances[14] / 2, rel=1e-12)
    assert conditional_mid_p(n, lost, gained, bound, "less") == pytest.approx(chances[:14].sum() + chances[14] / 2)


def test_bounds_beyond_the_discordant_rows_are_certain_or_ruled_out() -> None:
    assert conditional_mid_p(100, 2, 6, [-0.09, 0.09]).tolist() == [0.0, 1.0]
    assert conditional_mid_p(100, 2, 6, [-0.09, 0.09], "less").tolist() == [1.0, 0.0]


def test_the_share_of_discordant_rows_is_not_beyond_itself() -> None:
    gained = np.arange(1, 400)
    ends = conditional_interval(997, 0, gained, 0.025).high
    assert (ends == gained / 997).all()
    assert conditional_mid_p(997, 0, gained, ends, "less") == pytest.approx(0.5)


def test_without_discordant_rows_the_conditional_answers_only_at_no_difference() -> None:
    assert np.array_equal(conditional_mid_p(100, 0, 0, [0.0, 0.01]), [1.0, np.nan], equal_nan=True)
    assert np.isnan(conditional_interval(100, 0, 0, 0.025)).all()


def trinomial(n: int, lost: float, gained: float) -> tuple[Counts, Counts, Floats]:
    """Every pair of discordant counts of n rows, and its chance; pairs rarer than 1e-9 left out."""
    most = [int(stats.binom.ppf(1 - 1e-9, n, share)) for share in (lost, gained)]
    a, b = (grid.ravel() for grid in np.meshgrid(*(np.arange(top + 1) for top in most), indexing="ij"))
    a, b = a[a + b <= n], b[a + b <= n]
    logs = special.xlogy(a, lost) + special.xlogy(b, gained) + special.xlogy(n - a - b, 1 - lost - gained)
    ways = special.gammaln(n + 1) - special.gammaln(a + 1) - special.gammaln(b + 1) - special.gammaln(n - a - b + 1)
    return a, b, np.exp(logs + ways)


CASES = [(n, share) for n in (50, 300, 1000) for share in (0.05, 0.1)]


@pytest.mark.parametrize(("n", "discordant"), CASES)
@pytest.mark.parametrize("delta", [0.0, 0.02, -0.04])
def test_tangos_interval_covers_as_enumerated(n: int, discordant: float, delta: float) -> None:
    lost, gained, chance = trinomial(n, (discordant - delta) / 2, (discordant + delta) / 2)
    interval = tango_interval(n, lost, gained, Z)
    covered = float(chance[(interval.low <= delta) & (delta <= interval.high)].sum())
    assert (0.94 if n == 50 else 0.948) <= covered <= (0.98 if n == 50 else 0.953)


@pytest.mark.parametrize(("n", "discordant"), CASES)
def test_of_equal_models_mcnemar_rejects_in_about_five_percent_as_enumerated(n: int, discordant: float) -> None:
    lost, gained, chance = trinomial(n, discordant / 2, discordant / 2)
    rejected = {m: float(chance[mcnemar(lost, gained, m).p_value < 0.05].sum()) for m in get_args(Method)}
    assert max(rejected["exact"], rejected["corrected"]) <= 0.04
    assert max(rejected["mid-p"], rejected["asymptotic"]) <= 0.0525
    if n * discordant >= 25:
        assert min(rejected["mid-p"], rejected["asymptotic"]) >= 0.043


@pytest.mark.parametrize(("n", "discordant"), CASES)
def test_of_equal_models_the_conditional_interval_covers_or_is_absent(n: int, discordant: float) -> None:
    lost, gained, chance = trinomial(n, discordant / 2, discordant / 2)
    interval = conditional_interval(n, lost, gained, 0.025)
    assert float(chance[(interval.low > 0) | (interval.high < 0)].sum()) <= 0.05


# DeLong

LABELS = [1, 1, 1, 0, 0, 0, 0]
A = [0.9, 0.8, 0.4, 0.5, 0.3, 0.2, 0.1]
B = [0.6, 0.7, 0.65, 0.62, 0.1, 0.3, 0.66]


def test_delong_gives_the_known_numbers() -> None:
    test = delong(LABELS, baseline=B, candidate=A)
    assert test.aucs == pytest.approx((0.75, 0.916667), abs=5e-7)
    assert test.variances == pytest.approx((0.0462963, 0.0138889), abs=5e-8)
    assert test.covariance == pytest.approx(0.00231481, abs=5e-9)
    assert test.z == pytest.approx(0.7071068, abs=5e-8)
    assert test.p_value == pytest.approx(0.4795001, abs=5e-8)
    assert test.p_t == pytest.approx(2 * stats.t.sf(test.z, 2))


def by_pairs(labels: Counts, baseline: Scores, candidate: Scores) -> tuple[Floats, Floats]:
    """The two areas and their covariance from every pair of a positive and a negative."""
    means, by_positive, by_negative = [], [], []
    for score in (baseline, candidate):
        above, below = score[labels == 1][:, None], score[labels == 0][None, :]
        wins = (above > below) + 0.5 * (above == below)
        means.append(wins.mean())
        by_positive.append(wins.mean(axis=1))
        by_negative.append(wins.mean(axis=0))
    covariance = np.cov(by_positive) / len(by_positive[0]) + np.cov(by_negative) / len(by_negative[0])
    return np.array(means), covariance


@st.composite
def scored(draw: st.DrawFn) -> tuple[Counts, Floats, Floats]:
    """Labels with two rows of each class, and two models' scores with ties."""
    labels = [*draw(st.lists(st.integers(0, 1), max_size=40)), 0, 1, 0, 1]
    number = st.integers(0, 9).map(lambda k: k / 9) | st.floats(-1e6, 1e6, width=32)
    first, second = (draw(st.lists(number, min_size=len(labels), max_size=len(labels))) for _ in range(2))
    return np.array(labels), np.array(first), np.array(second)


@given(rows=scored(), dtype=st.sampled_from([np.float32, np.float64]))
def test_delong_equals_its_definition_over_all_pairs(
    rows: tuple[Counts, Floats, Floats], dtype: type[np.floating]
) -> None:
    labels, baseline, candidate = rows[0], rows[1].astype(dtype), rows[2].astype(dtype)
    test = delong(labels, baseline, candidate)
    areas, covariance = by_pairs(labels, baseline, candidate)
    assert test.aucs == pytest.approx(areas, abs=1e-12)
    assert test.variances == pytest.approx(np.diag(covariance), abs=1e-12)
    assert test.covariance == pytest.approx(covariance[0, 1], abs=1e-12)
    assert test.delta == pytest.approx(areas[1] - areas[0], abs=1e-12)
    assert test.se**2 == pytest.approx(np.array([-1, 1]) @ covariance @ np.array([-1, 1]), abs=1e-12)


def test_ties_are_decided_in_the_scores_own_dtype() -> None:
    wide = np.array([0.1 + 1e-12, 0.1, 0.7, 0.2])
    labels = [1, 0, 1, 0]
    assert delong(labels, wide.astype(np.float32), wide).aucs == (0.625, 0.75)
    assert delong(labels, np.array([2**53 + 1, 2**53, 2**60, 0]), wide).aucs[0] == 1.0


def test_models_that_rank_alike_leave_the_test_undefined() -> None:
    test = delong(LABELS, A, np.exp(A))
    assert (test.delta, test.se) == (0.0, 0.0)
    assert np.isnan([test.z, test.p_value, test.p_t]).all()


@pytest.mark.parametrize("size", [2, 3, 7, 10, 49, 1000])
def test_a_difference_without_variance_is_no_evidence(size: int) -> None:
    """Every positive rises past one negative: all placements move by the same share."""
    labels, rank = np.tile([1, 0], size), np.arange(2 * size)
    test = delong(labels, baseline=rank, candidate=rank ^ 1)
    assert (test.delta, test.se) == (1 / size, 0.0)
    assert np.isnan([test.z, test.p_value, test.p_t]).all()


def test_one_row_of_a_class_has_an_area_and_no_variance() -> None:
    test = delong([1, 0, 0], [0.5, 0.2, 0.6], [0.7, 0.2, 0.6])
    assert test.aucs == (0.5, 1.0)
    assert np.isnan([*test.variances, test.covariance, test.se, test.z, test.p_value, test.p_t]).all()


@given(rows=scored())
def test_exchanging_the_models_turns_the_sign(rows: tuple[Counts, Floats, Floats]) -> None:
    labels, baseline, candidate = rows
    one, other = delong(labels, baseline, candidate), delong(labels, candidate, baseline)
    assert (one.delta, one.se) == (-other.delta, other.se)
    assert one.p_t == other.p_t or np.isnan([one.p_t, other.p_t]).all()


# Repeated training


def test_the_resampled_t_is_its_formula() -> None:
    differences = np.array([[0.02, 0.05, -0.01], [0.03, 0.01, 0.04]])
    test = corrected_resampled_t(differences, train_rows=200, test_rows=100)
    se = np.sqrt((1 / 6 + 100 / 200) * differences.var(ddof=1))
    assert (test.delta, test.se, test.degrees) == pytest.approx((differences.mean(), se, 5))
    assert test.p_value == pytest.approx(2 * stats.t.sf(differences.mean() / se, 5))


def test_without_test_rows_to_speak_of_the_resampled_t_is_students() -> None:
    differences = [0.02, 0.05, -0.01, 0.03]
    test = corrected_resampled_t(differences, train_rows=10**12, test_rows=1)
    assert test.p_value == pytest.approx(float(stats.ttest_1samp(differences, 0)[1]))


def test_the_five_by_two_f_is_its_formula() -> None:
    differences = np.array([[0.1, 0.3], [0.2, 0.2], [0.0, 0.4], [-0.1, 0.1], [0.3, 0.2]])
    spread = 0.02 + 0.0 + 0.08 + 0.02 + 0.005
    test = five_by_two_cv_f(differences)
    assert test.f == pytest.approx(0.49 / (2 * spread))
    assert test.p_value == pytest.approx(stats.f.sf(0.49 / (2 * spread), 10, 5))
    assert test.delta == pytest.approx(0.17)


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3])
def test_differences_that_do_not_vary_have_no_p_value(value: float) -> None:
    constant = np.full((5, 2), value)
    constant[0, 0] = (value + 1) - 1  # the rounding of a subtraction is no variation
    assert np.isnan(corrected_resampled_t(constant, 80, 20).p_value)
    assert np.isnan(five_by_two_cv_f(constant).p_value)


# Errors


def unchecked(value: str) -> Any:
    """A string past the type checker, as from a user's script."""
    return value


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: mcnemar(-1, 3), DataError, '"lost" holds -1; a number of rows is 0 or more.'),
        (lambda: mcnemar(1, 3.5), DataError, '"gained" is float64; give whole numbers of rows.'),
        (lambda: mcnemar([1, 2], [1, 2, 3]), DataError, r'do not fit: "lost" \(2,\), "gained" \(3,\)'),
        (lambda: mcnemar(1, 3, unchecked("exakt")), ConfigError, '"method" is "exakt"; .* Did you mean "exact"?'),
        (
            lambda: mcnemar(1, 3, "exact", unchecked("bigger")),
            ConfigError,
            '"alternative" is "bigger"; it is one of two-sided',
        ),
        (lambda: tango_z(5, 3, 3, 0.0), DataError, '"lost" and "gained" are 6 rows together, of "n" 5'),
        (lambda: tango_z(9, 3, 3, 1.5), ConfigError, '"bound" is 1.5; it is between -1 and 1.'),
        (lambda: tango_interval(9, 3, 3, -1.0), ConfigError, '"z" is -1; it is a finite number from 0 on.'),
        (lambda: conditional_mid_p(9, 3, 3, np.nan), ConfigError, '"bound" is nan; it is between -1 and 1.'),
        (
            lambda: conditional_mid_p(9, 3, 3, 0, unchecked("up")),
            ConfigError,
            '"side" is "up"; it is one of greater, less.',
        ),
        (lambda: conditional_interval(9, 3, 3, 0.5), ConfigError, '"alpha" is 0.5; it is between 0 and 0.5.'),
        (lambda: delong([1, 1], [0, 1], [0, 1]), DataError, "needs rows of both labels; there are only label 1."),
        (lambda: delong([], [], []), DataError, "needs rows of both labels; there are no rows."),
        (lambda: delong([1, 2], [0, 1], [0, 1]), DataError, "A label is 2; labels are 0 or 1."),
        (lambda: delong([[1, 0]], [0, 1], [0, 1]), DataError, r"not an array of shape \(1, 2\)"),
        (lambda: delong([1, 0], [0, 1], [0]), DataError, r"candidate have shape \(1,\) and labels \(2,\)"),
        (lambda: delong([1, 0], ["a", "b"], [0, 1]), DataError, "Scores of the baseline are <U1; give numbers."),
        (lambda: delong([1, 0], [0, np.nan], [0, 1]), DataError, "baseline are NaN in 1 of 2 rows"),
        (lambda: corrected_resampled_t([0.1], 8, 2), DataError, "at least two differences, not 1."),
        (lambda: corrected_resampled_t([0.1, np.nan], 8, 2), DataError, "A difference is not finite"),
        (lambda: corrected_resampled_t([0.1, 0.2], 0, 2), ConfigError, '"train_rows" is 0; give the positive'),
        (lambda: five_by_two_cv_f([[0.1, 0.2]]), DataError, r"of shape \(5, 2\), not \(1, 2\)."),
    ],
)
def test_what_cannot_be_tested_is_said_in_a_sentence(
    call: Callable[[], object], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        call()


# Two models that are equally good

RUNS, ROWS, BASE, CHURN = 4000, 1000, 0.2, 0.1


def equal_models(redrawn: float, seed: int) -> tuple[NDArray[np.bool_], Floats, Floats]:
    """Labels and two models' scores, [runs, rows]: of a share of rows the candidate draws its score anew.

    Given the label both scores follow the same law and may be exchanged, so no metric of the two differs.
    """
    rng = np.random.default_rng(seed)
    labels = rng.random((RUNS, ROWS)) < BASE
    baseline, anew = (rng.standard_normal((RUNS, ROWS)) + labels for _ in range(2))
    return labels, baseline, np.where(rng.random((RUNS, ROWS)) < redrawn, anew, baseline)


def rejects(p: Floats) -> float:
    return float((p < 0.05).mean())


@pytest.mark.slow
@pytest.mark.parametrize("drawn", ["decisions changed", "scores drawn anew"])
def test_of_equal_models_mcnemar_rejects_as_often_as_promised(drawn: str) -> None:
    right = float(stats.norm.cdf(0.5))  # of either label, at the threshold halfway
    redrawn = CHURN / (2 * right * (1 - right)) if drawn == "decisions changed" else CHURN
    labels, baseline, candidate = equal_models(redrawn, seed=1)
    old, new = ((score > 0.5) == labels for score in (baseline, candidate))
    lost, gained = (old & ~new).sum(1), (new & ~old).sum(1)
    if drawn == "decisions changed":
        assert (lost + gained).mean() == pytest.approx(CHURN * ROWS, rel=0.01)
    for method in get_args(Method):
        least, most = (0.04, 0.06) if method in ("mid-p", "asymptotic") else (0.0, 0.05)
        share = rejects(mcnemar(lost, gained, method).p_value)
        assert simulate.within(share, least, most, RUNS), (method, share)


@pytest.mark.slow
def test_of_equal_models_delong_with_t_rejects_as_often_as_promised() -> None:
    tests: list[DeLong] = [delong(*run) for run in zip(*equal_models(CHURN, seed=2), strict=True)]
    share = rejects(np.array([test.p_t for test in tests]))
    assert simulate.within(share, 0.04, 0.06, RUNS), share
