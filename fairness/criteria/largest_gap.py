"""The largest difference of groups' means, with bounds that hold for all pairs at once, from their covariance.

>>> import numpy as np
>>> found = largest_gap([0.30, 0.35, 0.52], np.diag([0.03, 0.03, 0.04]) ** 2)
>>> [round(v, 3) for v in (found.value, found.low, found.high)]
[0.22, 0.103, 0.337]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

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

    Bounds of independent groups are Tukey and Kramer's; where values are correlated, Sidak's over all pairs, which are
    wider. Source: Kramer (1956); Sidak (1967).
    """
    from scipy import special

    value, joint = np.asarray(values, np.float64), np.asarray(covariance, np.float64)
    held = np.flatnonzero(np.isfinite(value) & (np.diag(joint) > 0))
    if len(held) < 2:
        return LargestGap(np.nan, np.nan, np.nan, np.nan, -1, -1)
    value, joint = value[held], joint[np.ix_(held, held)]
    first, second = np.triu_indices(len(held), 1)
    difference = np.abs(value[first] - value[second])
    variance = np.diag(joint)
    reach = _critical(joint, len(first), level, degrees) * np.sqrt(
        np.maximum(variance[first] + variance[second] - 2 * joint[first, second], 0.0)
    )
    contrasts = value[1:] - value[0]
    matrix = np.hstack([-np.ones((len(held) - 1, 1)), np.eye(len(held) - 1)])
    wald = float(contrasts @ np.linalg.pinv(matrix @ joint @ matrix.T) @ contrasts)
    return LargestGap(
        value=float(value.max() - value.min()),
        low=float(np.maximum(difference - reach, 0.0).max()),
        high=float((difference + reach).max()),
        p_value=float(
            special.chdtrc(len(held) - 1, wald) if np.isinf(degrees) else _hotelling(wald, len(held), degrees)
        ),
        lowest=int(held[value.argmin()]),
        highest=int(held[value.argmax()]),
    )


def _hotelling(wald: float, groups: int, degrees: float) -> float:
    """The tail of Hotelling's T squared; 1 where there are too few degrees of freedom."""
    from scipy import special

    width = groups - 1
    left = degrees - width + 1
    return float(special.fdtrc(width, left, wald * left / (degrees * width))) if left > 0 else 1.0


def _critical(joint: Floats, pairs: int, level: float, degrees: float) -> float:
    from scipy import special, stats

    if np.isinf(degrees) and np.allclose(joint, np.diag(np.diag(joint)), atol=0, rtol=1e-9):
        return float(stats.studentized_range.ppf(level, len(joint), np.inf)) / 2**0.5
    alpha = sidak(1 - level, pairs) / 2
    return float(-special.ndtri(alpha) if np.isinf(degrees) else -special.stdtrit(degrees, alpha))


def sidak(alpha: float, questions: int) -> float:
    """Returns the error rate of each of so many questions that makes alpha that of any.

    >>> round(sidak(0.05, 10), 6)
    0.005116
    """
    return -float(np.expm1(np.log1p(-alpha) / max(questions, 1)))
