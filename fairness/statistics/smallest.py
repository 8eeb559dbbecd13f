"""The smallest gap between groups that their rows could show: what a test that finds nothing may still have missed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evalkit.errors import ConfigError, DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

POWER = 0.8


def smallest_difference(first: ArrayLike, second: ArrayLike, critical: ArrayLike, *, power: float = POWER) -> Floats:
    """Returns the true difference of two independent estimates that a test would show with probability `power`.

    (critical + Phi^-1(power)) sqrt(first^2 + second^2), in the unit of the estimates. For normal estimates; of rates it
    may pass 1, and then no difference could be shown.

    Args:
        first: standard error of one estimate; 0 or more.
        second: standard error of the other.
        critical: the critical value of the test, such as 1.96, or a simultaneous one. All three broadcast; NaN is NaN.
        power: the probability, between 0 and 1.

    Raises:
        ConfigError: a power that does not lie between 0 and 1.
        DataError: a standard error that is negative.

    Source: Cohen (1988), Statistical Power Analysis for the Behavioral Sciences.

    >>> print(f"{smallest_difference(0.03, 0.04, critical=1.96):.3f}")
    0.140
    """
    from scipy import special

    if not 0 < power < 1:
        raise ConfigError(f"power must lie between 0 and 1, not {power!r}.")
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if (a < 0).any() or (b < 0).any():
        raise DataError("A standard error is 0 or more.")
    found: Floats = (np.asarray(critical, np.float64) + special.ndtri(power)) * np.hypot(a, b)
    return found


def smallest_gaps(errors: ArrayLike, critical: ArrayLike, *, power: float = POWER) -> Floats:
    """Returns `smallest_difference` of all pairs of groups, [..., groups, groups]; NaN of a group with itself.

    Args:
        errors: [..., groups] standard errors of independent groups; NaN of groups that have no value.
        critical: [...] the critical value of each pair's test, such as that of Tukey's range.
        power: the probability, between 0 and 1.

    Raises:
        ConfigError: a power that does not lie between 0 and 1.
        DataError: a standard error that is negative.

    >>> smallest_gaps([0.03, 0.04, 0.12], critical=2.34).round(3).tolist()
    [[nan, 0.159, 0.394], [0.159, nan, 0.402], [0.394, 0.402, nan]]
    """
    held = np.asarray(errors, np.float64)
    wide = np.asarray(critical, np.float64)[..., None, None]
    found = smallest_difference(held[..., :, None], held[..., None, :], wide, power=power)
    return np.where(np.eye(held.shape[-1], dtype=bool), np.nan, found)
