"""Bounds of the ratios of groups' rates that hold for all pairs of groups at once.

>>> low = pair_ratios([30, 24, 9], [50, 50, 50])
>>> low.round(2).tolist()
[[1.0, 0.81, 1.65], [0.51, 1.0, 1.27], [0.14, 0.17, 1.0]]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evalkit.errors import ConfigError, DataError
from evalkit.fairness.statistics.simultaneous import tukey_critical
from evalkit.fairness.statistics.two_rates import koopman

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


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
    z = tukey_critical(groups, level)
    low = koopman(x[..., :, None], n[..., :, None], x[..., None, :], n[..., None, :], z).low
    return np.where(np.eye(groups, dtype=bool), 1.0, low)
