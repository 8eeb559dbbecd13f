"""Bounds of the largest gap hold for all pairs at once, and flags seldom err."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep

import evalkit as ek
from evalkit.fairness.statistics.gaps import rate_gap

DRAWS, GROUPS, ROWS = 4000, 10, 50
ALLOWED = 0.05 + 2.576 * (0.05 * 0.95 / DRAWS) ** 0.5
pairs = st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda p: (min(p), max(p)))
counts = st.lists(pairs, min_size=2, max_size=6)


@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_two_groups_have_newcombes_interval(n: int, m: int, data: st.DataObject) -> None:
    x, y = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    found = rate_gap([x, y], [n, m])
    low, high = confint_proportions_2indep(x, n, y, m, method="newcomb", compare="diff")
    assert found.pair_low[0, 1] == pytest.approx(low, abs=1e-6)
    assert found.pair_high[0, 1] == pytest.approx(high, abs=1e-6)
    assert found.value == pytest.approx(abs(x / n - y / m))


@given(counts)
def test_the_test_of_equal_rates_is_pearsons(drawn: list[tuple[int, int]]) -> None:
    x, n = np.array(drawn).T
    found = rate_gap(x, n)
    held = n > 0
    if held.sum() < 2:
        assert np.isnan([found.value, found.low, found.high, found.p_value, found.detectable]).all()
        return
    table = np.stack([x[held], (n - x)[held]])
    if (table.sum(1) == 0).any():
        assert found.p_value == 1
    else:
        assert found.p_value == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue, rel=1e-9)


@given(counts)
def test_order_and_empty_groups_do_not_matter_and_bounds_enclose(drawn: list[tuple[int, int]]) -> None:
    x, n = np.array(drawn).T
    found = rate_gap(x, n)
    order = np.random.default_rng(0).permutation(len(x))
    again = rate_gap(np.append(x[order], 0), np.append(n[order], 0))
    for name in ("value", "low", "high", "p_value", "detectable"):
        np.testing.assert_allclose(getattr(again, name), getattr(found, name), rtol=1e-12, equal_nan=True)
    if np.isfinite(found.value):
        assert 0 <= found.low <= found.value <= found.high <= 1
        np.testing.assert_allclose(found.pair_low, -found.pair_high.T, equal_nan=True, atol=1e-15)


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_a_fair_model_is_seldom_flagged_and_the_bounds_hold_the_gap(rate: float) -> None:
    rng = np.random.default_rng(int(rate * 10))
    fair = rate_gap(rng.binomial(ROWS, rate, (DRAWS, GROUPS)), ROWS)
    held = np.mean(fair.low <= 0)
    assert held >= 0.93
    if rate >= 0.3:
        assert held <= 0.97
    assert fair.flagged.mean() <= ALLOWED
    assert not (fair.flagged & (fair.low <= 0)).any()
    for gap in (0.1, 0.2):
        for who in (np.arange(GROUPS) % 2, np.arange(GROUPS) == 0):
            unfair = rate_gap(rng.binomial(ROWS, rate + gap * who, (DRAWS, GROUPS)), ROWS)
            assert np.mean((unfair.low <= gap) & (gap <= unfair.high)) >= 0.93


def test_groups_of_different_sizes_keep_the_bounds() -> None:
    rng = np.random.default_rng(1)
    sizes = np.array([20, 40, 80, 400, 2000])
    rates = np.array([0.5, 0.5, 0.4, 0.45, 0.4])
    found = rate_gap(rng.binomial(sizes, rates, (DRAWS, 5)), sizes)
    true = rates[:, None] - rates[None, :]
    assert np.mean(((found.pair_low <= true) & (true <= found.pair_high)).all(axis=(1, 2))) >= 0.93
    assert np.mean((found.low <= 0.1) & (found.high >= 0.1)) >= 0.93


def test_the_detectable_gap_is_detected_in_four_of_five() -> None:
    rng = np.random.default_rng(2)
    for rows in (100, 1000):
        gap = float(rate_gap([0.5 * rows, 0.5 * rows], [rows, rows]).detectable)
        found = rate_gap(rng.binomial(rows, [0.5 - gap / 2, 0.5 + gap / 2], (DRAWS, 2)), rows)
        assert 0.75 < np.mean(found.low > 0) < 0.87


def test_few_rows_certify_nothing_and_many_do() -> None:
    assert not rate_gap([25] * 10, [50] * 10).certified(0.25)
    assert rate_gap([25] * 10, [50] * 10).certified(0.3)
    assert rate_gap([50_000] * 10, [100_000] * 10).certified(0.02)
    with pytest.raises(ek.EvalkitError, match="between 0 and 1, not 2"):
        rate_gap([1, 2], [3, 4]).certified(2)


def test_what_cannot_be_counted_is_said() -> None:
    for hits, rows in (([5, 1], [4, 4]), ([-1, 1], [4, 4]), ([np.nan, 1], [4, 4])):
        with pytest.raises(ek.EvalkitError, match="at most as many as rows"):
            rate_gap(hits, rows)
    with pytest.raises(ek.EvalkitError, match=r"level must lie between 0 and 1, not 95"):
        rate_gap([1, 2], [3, 4], level=95)
