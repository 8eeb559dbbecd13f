"""Bounds of ratios are Koopman's, and hold for all pairs at once."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import evalkit as ek
from evalkit.fairness.audits.pair_ratios import pair_ratios
from evalkit.fairness.statistics.simultaneous import tukey_critical
from evalkit.fairness.statistics.two_rates import koopman

COUNTS = st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(st.lists(COUNTS, min_size=1, max_size=6))
def test_bounds_enclose_and_do_not_depend_on_the_order(drawn: list[tuple[int, int]]) -> None:
    x, n = np.array(drawn).T
    low = pair_ratios(x, n)
    assert (np.diag(low) == 1).all()
    rate = x / n
    assert (low * rate[None, :] <= rate[:, None] * (1 + 1e-9)).all()
    order = np.random.default_rng(0).permutation(len(x))
    again = pair_ratios(x[order], n[order])
    np.testing.assert_allclose(again, low[np.ix_(order, order)], rtol=1e-9)


def test_more_groups_and_more_confidence_widen_and_more_rows_narrow() -> None:
    widths = [pair_ratios([25, 20, *[22] * more], [50] * (2 + more))[0, 1] for more in (0, 3, 8)]
    assert all(first > second for first, second in pairwise(widths))
    assert pair_ratios([25, 20], [50, 50], level=0.99)[0, 1] < pair_ratios([25, 20], [50, 50])[0, 1]
    assert pair_ratios([250, 200], [500, 500])[0, 1] > pair_ratios([25, 20], [50, 50])[0, 1]


@pytest.mark.parametrize(("hits", "rows"), [([5, 1], [4, 4]), ([-1, 1], [4, 4]), ([0, 1], [0, 4])])
def test_what_cannot_be_counted_is_said(hits: list[int], rows: list[int]) -> None:
    with pytest.raises(ek.EvalkitError, match="must have rows"):
        pair_ratios(hits, rows)
    with pytest.raises(ek.EvalkitError, match="level must lie between 0 and 1, not 2"):
        pair_ratios([1, 2], [3, 4], level=2)


def _of_equal_groups(drawn: np.ndarray, rows: int) -> np.ndarray:
    """The same bounds, each pair of counts computed once."""
    counts = np.arange(rows + 1)
    table = koopman(counts[:, None], rows, counts[None, :], rows, tukey_critical(drawn.shape[1], 0.95)).low
    low = np.where(np.eye(drawn.shape[1], dtype=bool), 1.0, table[drawn[:, :, None], drawn[:, None, :]])
    np.testing.assert_allclose(low[:2], pair_ratios(drawn[:2], rows))
    return low


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rates", "rows"),
    [
        *[([rate] * 10, 50) for rate in (0.1, 0.3, 0.5, 0.7)],
        ([0.5, 0.4], 50),
        ([0.5] * 9 + [0.4], 50),
        ([0.5] + [0.4] * 9, 50),
        ([0.05, 0.04, 0.05, 0.03, 0.01], [2000, 20, 60, 400, 300]),
        ([0.5, 0.4, 0.5, 0.3, 0.1], [2000, 20, 60, 400, 30]),
    ],
)
def test_all_pairs_are_covered_at_once(rates: list[float], rows: int | list[int]) -> None:
    rate, size = np.broadcast_arrays(np.array(rates), np.array(rows))
    drawn = np.random.default_rng(1).binomial(size, rate, (4000 if isinstance(rows, int) else 1000, len(rate)))
    low = pair_ratios(drawn, size) if isinstance(rows, list) else _of_equal_groups(drawn, rows)
    true = rate[:, None] / rate[None, :]
    assert (low <= true * (1 + 1e-12)).all(axis=(1, 2)).mean() >= 0.93
    # The rate over the highest, whichever group that is: no group is shown under .8 that is not, nor the other way.
    under, over = 1 / low.max(axis=1) < 0.8, low.min(axis=2) >= 0.8
    truly = rate / rate.max()
    assert (under & (truly >= 0.8 - 1e-12)).any(axis=1).mean() <= 0.05
    assert (over & (truly < 0.8 - 1e-12)).any(axis=1).mean() <= 0.05
    held = (low.min(axis=2) <= truly + 1e-12) & (truly <= 1 / low.max(axis=1) + 1e-12)
    assert held.all(axis=1).mean() >= 0.93
