"""An interval and its p-values are two views of one test, for every kind of contrast."""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

import evalkit as ek
from evalkit.contrast import Contrast, mover, paired_proportions, replicated, share, student, total
from evalkit.deltas import Delta
from evalkit.interval import wilson
from evalkit.significance import mcnemar, tango_interval

Floats = NDArray[np.float64]
ALPHAS = (0.4, 0.1, 0.05, 0.025, 0.001)
NORMAL = np.array(np.inf)


def held_by_duality(contrast: Contrast, alphas: tuple[float, ...] = ALPHAS, reach: float = 4.0, steps: int = 9) -> int:
    """Checks that an end lies beyond a bound exactly where the p-value is at most alpha; returns how many were held.

    Bounds within rounding of an end are not asked about.
    """
    error = np.where(contrast.error > 0, contrast.error, 1.0)
    held = 0
    bounds = [contrast.value + step * error for step in np.linspace(-reach, reach, steps)]
    tests = [(bound, contrast.above(bound), contrast.below(bound)) for bound in bounds]
    for alpha in alphas:
        low, high = contrast.interval(alpha)
        assert np.array_equal(np.isfinite(low), contrast.testable)
        assert (low <= contrast.value)[contrast.testable].all()
        assert (contrast.value <= high)[contrast.testable].all()
        for bound, above, below in tests:
            assert np.array_equal(np.isfinite(above), contrast.testable)
            sure = contrast.testable & (np.abs(low - bound) > 1e-6 * error)
            np.testing.assert_array_equal((low >= bound)[sure], (above <= alpha)[sure], err_msg=f"{alpha}, {bound}")
            sure = contrast.testable & (np.abs(high - bound) > 1e-6 * error)
            np.testing.assert_array_equal((high <= bound)[sure], (below <= alpha)[sure], err_msg=f"{alpha}, {bound}")
            held += int(sure.sum())
    return held


def proportion(value: Floats, n: Floats) -> tuple[Floats, Any]:
    return value, lambda alpha: wilson(value, n, np.asarray(-stats.norm.ppf(alpha)))


def student_cases() -> Contrast:
    return student(np.array([0.1, -0.2, 0.0]), np.array([0.1, 0.05, 1.0]), np.array([9.0, np.inf, 1.0]), "t")


def mover_cases() -> Contrast:
    a, b, n = np.array([0.7, 0.2, 0.99, 0.5]), np.array([0.6, 0.3, 1.0, 0.5]), np.array([50.0, 30.0, 20.0, 400.0])
    of_a, of_b = a * (1 - a) / n, b * (1 - b) / n
    both = of_a + of_b - 1.2 * np.sqrt(of_a * of_b)
    return mover(proportion(a, n), proportion(b, n), (of_a, of_b, both), NORMAL)


def pairs() -> Contrast:
    return paired_proportions(
        np.array([100, 20, 8, 50, 5, 1000]), np.array([3, 0, 8, 12, 0, 40]), np.array([9, 6, 0, 12, 0, 90])
    )


def total_cases() -> Contrast:
    other = paired_proportions(
        np.array([40, 30, 8, 60, 9, 500]), np.array([5, 1, 1, 2, 0, 60]), np.array([2, 3, 1, 9, 1, 45])
    )
    return total(pairs(), other, 0.5)


def replicated_cases() -> Contrast:
    draws = np.random.default_rng(0).normal(0.1, 0.05, (999, 3)) * np.array([1.0, -1.0, 0.1])
    return replicated(draws.mean(0), draws)


@pytest.mark.parametrize(("make", "steps"), [(student_cases, 33), (mover_cases, 33), (pairs, 33), (total_cases, 5)])
def test_an_interval_excludes_a_bound_exactly_where_the_test_rejects_it(
    make: Callable[[], Contrast], steps: int
) -> None:
    assert held_by_duality(make(), steps=steps) > 100


def test_a_bootstraps_interval_and_test_agree_to_two_replicates() -> None:
    contrast = replicated_cases()
    for alpha in (0.1, 0.05, 0.025):
        low, high = contrast.interval(alpha)
        np.testing.assert_allclose(contrast.above(low), alpha, atol=2 / 1000)
        np.testing.assert_allclose(contrast.below(high), alpha, atol=2 / 1000)


@given(st.integers(1, 200), st.data())
def test_paired_proportions_are_dual_at_any_counts(rows: int, data: st.DataObject) -> None:
    lost = data.draw(st.integers(0, rows))
    gained = data.draw(st.integers(0, rows - lost))
    held_by_duality(paired_proportions(np.array([rows]), np.array([lost]), np.array([gained])), (0.2, 0.025))


@given(st.integers(0, 60), st.integers(0, 60))
def test_of_no_difference_the_test_is_mcnemars_mid_p_or_tangos_if_that_is_larger(lost: int, gained: int) -> None:
    contrast = paired_proportions(np.array([150]), np.array([lost]), np.array([gained]))
    score = 2 * stats.norm.sf(abs(gained - lost) / np.sqrt(max(lost + gained, 1)))
    expected = max(mcnemar(lost, gained).p_value, score)
    assert contrast.two_sided()[0] == pytest.approx(min(1.0, expected), abs=1e-9)


def test_an_interval_of_paired_proportions_is_never_inside_tangos() -> None:
    contrast = pairs()
    low, high = contrast.interval(0.025)
    counts = np.array([100, 20, 8, 50, 5, 1000]), np.array([3, 0, 8, 12, 0, 40]), np.array([9, 6, 0, 12, 0, 90])
    score = tango_interval(*counts, 1.959964)
    assert (low <= score.low + 1e-6).all()
    assert (high >= score.high - 1e-6).all()


@given(
    st.floats(0.02, 0.98),
    st.floats(0.02, 0.98),
    st.integers(15, 2000),
    st.floats(-0.3, 0.95),
    st.sampled_from([1.0, 0.7, 1.4]),
)
def test_differences_of_proportions_are_dual_at_any_correlation(
    a: float, b: float, n: int, rho: float, factor: float
) -> None:
    of_a, of_b = np.array([a * (1 - a) / n]), np.array([b * (1 - b) / n])
    both = of_a + of_b - 2 * rho * np.sqrt(of_a * of_b)
    size = np.array([float(n)])
    made = mover(
        proportion(np.array([a]), size), proportion(np.array([b]), size), (of_a, of_b, both), NORMAL, np.array([factor])
    )
    held_by_duality(made, (0.2, 0.025))


def test_a_standard_error_of_zero_is_no_evidence() -> None:
    made = student(np.array([0.3, np.nan, 0.3]), np.array([0.0, 1.0, 1.0]), np.array([9.0] * 3), "t")
    assert made.why == ("the rows do not vary", "undefined", "")
    assert np.isnan(made.two_sided()[:2]).all()
    assert np.isnan(made.interval(0.025)[0][:2]).all()


def test_rows_that_all_flip_are_not_beyond_doubt() -> None:
    made = paired_proportions(np.array([8]), np.array([8]), np.array([0]))
    assert made.two_sided()[0] == pytest.approx(2 * stats.norm.sf(np.sqrt(8)))
    low, high = (end[0] for end in made.interval(0.025))
    assert (low, made.value[0]) == (-1.0, -1.0)
    assert -0.9 < high < 0


def test_without_changed_rows_nothing_is_significant_and_the_interval_has_a_width() -> None:
    made = paired_proportions(np.array([50]), np.array([0]), np.array([0]))
    low, high = (end[0] for end in made.interval(0.025))
    assert made.two_sided()[0] == 1.0
    assert low < -0.01
    assert high > 0.01


def test_what_is_detectable_is_shown_with_eighty_percent_power() -> None:
    error, alpha = 0.02, 0.025
    made = student(np.array([0.03]), np.array([error]), np.array([np.inf]), "t")
    effect = float(made.detectable(alpha)[0])
    power = stats.norm.sf(-stats.norm.ppf(alpha) - effect / error)
    assert power == pytest.approx(0.8)
    rows = made.rows_needed(0.0, alpha, np.array([100.0]))[0]
    assert error * np.sqrt(100 / rows) * effect / error == pytest.approx(0.03, rel=0.01)


# --- shares of the baseline ---


@pytest.mark.parametrize("whole", [0.5, 2.0])
def test_a_share_excludes_a_bound_exactly_where_its_linear_contrast_is_rejected(whole: float) -> None:
    errors = np.array([0.02, 0.05, 0.03])
    value = np.array([0.1, -0.2, 0.0])

    def of(r: Floats) -> Contrast:
        spread = np.sqrt(errors**2 + (r * 0.04) ** 2)
        return student(value - r * whole, spread, np.full(3, 30.0), "t")

    made = share(of, value, np.full(3, whole))
    assert held_by_duality(made, (0.1, 0.025)) > 30


def _delta(name: str, shift: float) -> Delta:
    """Returns a delta of regression errors whose baseline is about `shift`."""
    rng = np.random.default_rng(1)
    label = rng.normal(size=300)
    error = rng.normal(size=(2, 300)) * 0.3
    frame = pl.DataFrame({"y": label, "a": label + shift + error[0], "b": label + 1.1 * shift + error[1] + 0.02})
    made = ek.compare(frame, label="y", baseline="a", candidate="b", task="regression", metrics=[name])
    return made.deltas()[name]


@pytest.mark.parametrize("shift", [0.4, -0.4])
def test_fiellers_interval_of_a_mean_is_the_formulas(shift: float) -> None:
    delta = _delta("mean_error", shift)
    d, c = float(delta.contrast.value[0]), float(delta.baseline.value[0])
    of_d, of_c, of_m = (float(v[0]) for v in (delta.variance, delta.baseline.variance, delta.candidate.variance))
    between = (of_m - of_d - of_c) / 2
    t = float(stats.t.isf(0.025, 299))
    # (d - r c)^2 = t^2 (V_d - 2 r C + r^2 V_c), and the share is of |c|
    roots = np.sort(np.roots([c**2 - t**2 * of_c, -2 * (d * c - t**2 * between), d**2 - t**2 * of_d]))
    expected = np.sort(roots * np.sign(c))
    low, high = (float(end[0]) for end in delta.relative().interval(0.025))
    assert delta.relative().value[0] == pytest.approx(d / abs(c))
    assert [low, high] == pytest.approx(expected.tolist(), rel=1e-6)


@pytest.mark.parametrize("shift", [0.4, -0.4])
def test_relative_deltas_are_dual_whatever_the_baselines_sign(shift: float) -> None:
    assert held_by_duality(_delta("mean_error", shift).relative(), (0.1, 0.025)) > 10


def test_a_relative_delta_has_the_sign_of_the_delta() -> None:
    for shift in (0.4, -0.4):
        delta = _delta("mean_error", shift)
        assert np.sign(delta.relative().value[0]) == np.sign(delta.contrast.value[0])
        assert (delta.relative().above(0.0) < 0.5)[0] == (delta.contrast.value > 0)[0]


def test_a_share_of_nothing_is_undefined() -> None:
    frame = {"y": [0, 1, 1, 0], "a": [0, 0, 0, 0], "b": [0, 1, 0, 0]}
    made = ek.compare(frame, label="y", baseline="a", candidate="b", metrics=["recall"]).deltas()["recall"].relative()
    assert np.isnan(made.value[0])
    assert np.isnan(made.two_sided()[0])
    assert np.isnan(made.interval(0.025)[0][0])
    assert made.why == ("undefined",)


def test_a_baseline_within_its_noise_has_an_unbounded_share() -> None:
    delta = _delta("mean_error", 0.001)
    low, high = (float(end[0]) for end in delta.relative().interval(0.025))
    assert np.isinf(low) or np.isinf(high)


@pytest.mark.parametrize("name", ["accuracy", "f1", "roc_auc", "log_loss", "precision"])
def test_relative_deltas_of_every_kind_are_dual(name: str) -> None:
    rng = np.random.default_rng(2)
    y = rng.integers(0, 2, 300)
    a, b = np.clip(0.3 + 0.3 * y + rng.normal(0, 0.25, (2, 300)), 0.01, 0.99)
    b = np.where(rng.random(300) < 0.5, a, b)
    made = ek.compare({"y": y, "a": a, "b": b}, label="y", baseline="a", candidate="b", metrics=[name])
    assert held_by_duality(made.deltas()[name].relative(), (0.1, 0.025), reach=3.0) > 10
