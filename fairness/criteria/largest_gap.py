"""The largest difference of groups' means, with bounds that hold for all pairs at once, from their covariance.

>>> import numpy as np
>>> found = largest_gap([0.30, 0.35, 0.52], np.diag([0.03, 0.03, 0.04]) ** 2)
>>> [round(v, 2) for v in (found.value, found.low, found.high)]
[0.22, 0.1, 0.34]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from evalkit.contrast import quantile
from evalkit.fairness.statistics.homogeneity import wald
from evalkit.fairness.statistics.simultaneous import Largest, all_pairs

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


class LargestGap(NamedTuple):
    """Highest minus lowest value; NaN without two groups.

    Attributes:
        value: the gap.
        low: lower bound of the true gap; 0 where no pair is shown to differ.
        high: upper bound.
        p_value: of all values being equal (Wald).
        lowest: place of the lowest group, -1 without.
        highest: place of the highest.
    """

    value: float
    low: float
    high: float
    p_value: float
    lowest: int
    highest: int


def largest_gap(
    values: ArrayLike, covariance: ArrayLike, *, level: float = 0.95, degrees: float = float("inf")
) -> LargestGap:
    """Returns the largest gap between values that are about normal.

    Args:
        values: [groups]; NaN where undefined, such groups are left out.
        covariance: [groups, groups].
        level: the confidence that all pairs' bounds hold.
        degrees: degrees of freedom of the covariance.

    Each pair's interval is by Student's t at the error rate that the law of the largest of all pairs' statistics gives
    it (`Largest`). Where the variance of a value is 0 there are no bounds, and the test leaves it out: that rows do not
    vary is no evidence. The p-value is NaN with fewer degrees of freedom than groups.

    Source: Hothorn, Bretz and Westfall (2008), Simultaneous inference in general parametric models.
    """
    value, joint = np.asarray(values, np.float64), np.asarray(covariance, np.float64)
    held = np.flatnonzero(np.isfinite(value))
    if len(held) < 2:
        return LargestGap(np.nan, np.nan, np.nan, np.nan, -1, -1)
    value, joint = value[held], joint[np.ix_(held, held)]
    first, second = np.triu_indices(len(held), 1)
    variance = np.diag(joint)
    apart = variance[first] + variance[second] - 2 * joint[first, second]
    each = Largest.of(joint, all_pairs(len(held))).each(1 - level)
    reach = quantile(each, np.array(degrees)) * np.sqrt(np.maximum(apart, 0.0))
    reach = np.where((variance > 0).all(), reach, np.nan)
    difference = np.abs(value[first] - value[second])
    test = wald(np.where(variance > 0, value, np.nan), joint, error_degrees=degrees)
    return LargestGap(
        value=float(np.ptp(value)),
        low=float(np.maximum(difference - reach, 0.0).max()),
        high=float((difference + reach).max()),
        p_value=float(test.p_value),
        lowest=int(held[value.argmin()]),
        highest=int(held[value.argmax()]),
    )
