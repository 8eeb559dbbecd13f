"""Bounds of the ratios of groups' rates that hold for all pairs of groups at once.

>>> low = pair_ratios([30, 24, 9], [50, 50, 50])
>>> low.round(2).tolist()
[[1.0, 0.81, 1.65], [0.51, 1.0, 1.27], [0.14, 0.17, 1.0]]
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.errors import ConfigError, DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

_STEPS = 48
_WIDEST = 50.0  # ratios lie between e^-50 and e^50, or are 0 or infinite


def pair_ratios(hits: ArrayLike, rows: ArrayLike, *, level: float = 0.95) -> Floats:
    """Returns the lower bounds of each row group's rate over each column group's, [..., groups, groups].

    The upper bounds are one over the lower bounds of the reverse. Each pair has the score interval of a ratio of two
    proportions at the critical value of Tukey's range, so that all hold together. The diagonal is 1.

    Args:
        hits: [..., groups] rows of each group that count, such as those selected.
        rows: [..., groups] all rows of each group; independent of one another.
        level: the confidence that all bounds hold.

    Raises:
        DataError: counts are negative, not finite, or more hits than rows, or a group has no rows.
        ConfigError: the level does not lie between 0 and 1.

    Source: Koopman (1984), Confidence intervals for the ratio of two binomial proportions; Tukey and Kramer.
    """
    if not 0 < level < 1:
        raise ConfigError(f"level must lie between 0 and 1, not {level!r}.")
    x, n = np.broadcast_arrays(np.asarray(hits, np.float64), np.asarray(rows, np.float64))
    if not (np.isfinite(x).all() and np.isfinite(n).all() and (x >= 0).all() and (x <= n).all() and (n > 0).all()):
        raise DataError("Each group must have rows, at least 0 hits, and at most as many as rows.")
    groups = x.shape[-1]
    if groups < 2:
        return np.ones((*x.shape, groups))
    low = ratio_low(x[..., :, None], n[..., :, None], x[..., None, :], n[..., None, :], critical(groups, level))
    return np.where(np.eye(groups, dtype=bool), 1.0, low)


@functools.lru_cache(maxsize=64)
def critical(groups: int, level: float) -> float:
    """Returns the critical value of the largest of all pairs' standardised differences.

    >>> round(critical(2, 0.95), 2), round(critical(10, 0.95), 2)
    (1.96, 3.16)
    """
    from scipy import stats

    return float(stats.studentized_range.ppf(level, groups, np.inf)) / 2**0.5


def ratio_low(x1: Any, n1: Any, x2: Any, n2: Any, z: float) -> Floats:
    """Returns the lower end of the score interval of (x1 / n1) / (x2 / n2) at a critical value; all broadcast.

    It is the ratio at which the score statistic, with the rates that are most likely at that ratio, equals z; 0 where
    x1 is 0. The upper end is one over the lower end of the reverse, infinite where x2 is 0.

    Source: Koopman (1984); Miettinen and Nurminen (1985), without their factor N / (N - 1).

    >>> low = ratio_low(36, 40, 16, 80, 1.959964)
    >>> high = 1 / ratio_low(16, 80, 36, 40, 1.959964)
    >>> round(float(low), 3), round(float(high), 3)
    (2.94, 7.152)
    """
    x1, n1, x2, n2 = np.broadcast_arrays(*(np.asarray(value, np.float64) for value in (x1, n1, x2, n2)))
    low, high = np.full(x1.shape, -_WIDEST), np.full(x1.shape, _WIDEST)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        above = _score(np.exp(middle), x1, n1, x2, n2) > z  # the statistic falls as the ratio grows
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.where(x1 > 0, np.exp(low), 0.0)


def _score(ratio: Floats, x1: Floats, n1: Floats, x2: Floats, n2: Floats) -> Floats:
    """The score statistic of a ratio: the difference of rates it leaves, over its error at the likeliest such rates."""
    linear = ratio * (n1 + x2) + x1 + n2
    square = ratio * (n1 + n2)
    rest = x1 + x2
    second = 2 * rest / (linear + np.sqrt(np.maximum(linear**2 - 4 * square * rest, 0.0)))
    first = np.clip(ratio * second, 0.0, 1.0)
    variance = first * (1 - first) / n1 + ratio**2 * second * (1 - second) / n2
    difference = x1 / n1 - ratio * x2 / n2
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = difference / np.sqrt(variance)
    return np.where(np.isnan(statistic), 0.0, statistic)  # no difference, and no error
