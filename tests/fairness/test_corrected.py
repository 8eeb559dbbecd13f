"""What noise adds to the variance between groups and to their largest gap is taken off."""

import numpy as np
import pytest

import evalkit as ek
from evalkit.fairness.statistics.corrected import corrected_gap, corrected_variance

DRAWS = 300
ERRORS = np.where(np.arange(10) % 2, 0.03, 0.08)


def drawn(spread: float, groups: int = 10, draws: int = DRAWS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    true = np.linspace(-1, 1, groups) * spread
    errors = np.resize(ERRORS, groups)
    values = true + np.random.default_rng(groups).normal(size=(draws, groups)) * errors
    return true, values, np.broadcast_to(errors**2, values.shape)


@pytest.mark.parametrize("spread", [0.0, 0.05, 0.15])
@pytest.mark.parametrize("groups", [3, 10])
def test_the_corrected_variance_is_unbiased_and_its_interval_holds_the_true_one(spread: float, groups: int) -> None:
    true, values, variances = drawn(spread, groups)
    found = corrected_variance(values, variances, draws=200)
    variance = true.var(ddof=1)
    standard = found.value.std() / DRAWS**0.5
    assert abs(found.value.mean() - variance) < 4 * standard
    assert found.raw.mean() - variance > 0.8 * (ERRORS**2).mean() - 4 * standard
    assert np.mean((found.low <= variance + 1e-12) & (variance <= found.high)) > 0.90
    assert np.sqrt(np.mean(found.error**2)) == pytest.approx(found.value.std(), rel=0.45)
    if spread == 0:
        assert np.mean(found.low > 0) < 0.06


def test_the_error_is_that_of_a_quadratic_form() -> None:
    true = np.array([0.1, 0.3, 0.35, 0.8])
    errors = np.array([0.05, 0.1, 0.02, 0.08])
    values = true + np.random.default_rng(0).normal(size=(200_000, 4)) * errors
    found = corrected_variance(values[:2000], np.broadcast_to(errors**2, (2000, 4)), draws=2)
    assert np.mean(found.error**2) == pytest.approx(values.var(axis=1, ddof=1).var(), rel=0.05)


def test_percentiles_of_doubly_corrected_draws_lie_around_the_corrected_variance() -> None:
    true, values, variances = drawn(0.15)
    found = corrected_variance(values, variances, method="percentile", draws=400)
    assert np.mean((found.low <= true.var(ddof=1)) & (true.var(ddof=1) <= found.high)) > 0.93
    assert ((found.low <= found.value) & (found.value <= found.high)).mean() > 0.99


def test_rates_with_unbiased_variances_are_unbiased() -> None:
    rng = np.random.default_rng(1)
    rows, rates = np.array([5, 8, 12, 40]), np.array([0.2, 0.3, 0.3, 0.5])
    p = rng.binomial(rows, rates, (100_000, 4)) / rows
    raw = p.var(axis=1, ddof=1) - (p * (1 - p) / (rows - 1)).mean(1)
    found = corrected_variance(p[:50], (p * (1 - p) / (rows - 1))[:50], draws=2)
    np.testing.assert_allclose(found.value, raw[:50])
    assert raw.mean() == pytest.approx(rates.var(ddof=1), abs=4 * raw.std() / 100_000**0.5)


@pytest.mark.parametrize("spread", [0.0, 0.05, 0.15])
def test_the_corrected_gap_is_nearer_to_the_true_one(spread: float) -> None:
    true, values, variances = drawn(spread)
    found = corrected_gap(values, variances)
    bias, raw = (abs(of.mean() - np.ptp(true)) for of in (found.value, found.raw))
    assert bias < 0.045
    assert bias < 0.45 * raw
    np.testing.assert_allclose(found.raw - found.bias, found.value)


def test_the_expected_range_of_alike_groups_is_tippetts() -> None:
    found = corrected_gap([0.5] * 6, [0.01] * 6)
    assert found.bias == pytest.approx(0.1 * 2.53441, rel=1e-4)  # Tippett (1925)
    assert found.value == -found.bias


def test_certain_groups_need_no_correction_and_missing_ones_are_left_out() -> None:
    sure = corrected_gap([0.2, 0.9], [0.0, 0.0])
    assert sure.value == pytest.approx(0.7)
    assert corrected_variance([0.2, 0.9], [0.0, 0.0]).value == pytest.approx(0.245)
    values, variances = [[0.2, np.nan, 0.9, 0.4], [0.2, np.nan, np.nan, np.nan]], [[0.01, 0.01, 0.02, 0.01]] * 2
    kept = corrected_variance([0.2, 0.9, 0.4], [0.01, 0.02, 0.01], draws=4000)
    found = corrected_variance(values, variances, draws=4000)
    assert found.value[0] == pytest.approx(kept.value)
    assert found.error[0] == pytest.approx(kept.error)
    assert (found.low[0], found.high[0]) == pytest.approx((kept.low, kept.high), rel=0.2)
    assert corrected_gap(values, variances).value[0] == pytest.approx(
        corrected_gap([0.2, 0.9, 0.4], [0.01, 0.02, 0.01])[0]
    )
    assert np.isnan([of[1] for of in found]).all()
    assert np.isnan([of[1] for of in corrected_gap(values, variances)]).all()


def test_seeds_repeat_and_levels_nest() -> None:
    values, variances = [0.1, 0.5, 0.4], [0.01, 0.01, 0.02]
    for method in ("inverted", "percentile"):
        wide = corrected_variance(values, variances, level=0.99, method=method)
        narrow = corrected_variance(values, variances, level=0.8, method=method)
        assert corrected_variance(values, variances, level=0.8, method=method) == narrow
        assert wide.low <= narrow.low <= narrow.high <= wide.high


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(ek.EvalkitError, match="one of each a group"):
        corrected_variance([1, 2], [1])
    with pytest.raises(ek.EvalkitError, match="A variance is -1"):
        corrected_gap([1, 2], [1, -1])
    with pytest.raises(ek.EvalkitError, match="not 95"):
        corrected_variance([1, 2], [1, 1], level=95)
    with pytest.raises(ek.EvalkitError, match='"inverted" or "percentile"'):
        corrected_variance([1, 2], [1, 1], method="bca")  # type: ignore[arg-type]
