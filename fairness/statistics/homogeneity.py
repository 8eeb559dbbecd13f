"""Is there any difference between groups: one test of all groups at once, before any pair is looked at.

`chi_square` of rates, from counts; `wald` of any metric, from values and their joint covariance; `permutation_test` and
`permutation_test_auc` from rows, which need no large samples.

>>> print(f"{chi_square([30, 24, 9], [50, 50, 50]).p_value:.6f}")
0.000067
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from evalkit.errors import ConfigError, DataError
from evalkit.fairness.statistics.permutation import permutation_test
from evalkit.fairness.statistics.permutation_auc import permutation_test_auc
from evalkit.fairness.statistics.shuffling import Permutation
from evalkit.fairness.statistics.two_rates import counted

__all__ = ["Homogeneity", "Permutation", "chi_square", "permutation_test", "permutation_test_auc", "wald"]

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


class Homogeneity(NamedTuple):
    """A test that all groups have one value; arrays are [...].

    Attributes:
        statistic: chi-square where groups are alike; NaN where there is no test.
        degrees: its degrees of freedom, groups - 1 unless differences have no variance.
        p_value: NaN for fewer than two groups.
    """

    statistic: Floats
    degrees: NDArray[np.int64]
    p_value: Floats


def chi_square(hits: ArrayLike, rows: ArrayLike) -> Homogeneity:
    """Returns Pearson's test that groups have one rate.

    The sum over groups of (x - n p)^2 / (n p (1 - p)), p the rate of all rows. Where nobody or everybody is a hit the
    statistic is 0. Groups without rows are left out.

    Args:
        hits: [..., groups] rows of each group that count; need not be whole.
        rows: [..., groups] rows of the rate's denominator, or their effective number.

    Raises:
        DataError: counts are negative, not finite, more hits than rows, or of shapes that do not fit.

    Source: Pearson (1900).

    >>> chi_square([[10, 20], [5, 0]], [[40, 40], [9, 0]]).p_value.round(4).tolist()
    [0.0209, nan]
    """
    from scipy import special

    x, n = counted(hits, rows)
    rate = x.sum(-1, keepdims=True) / np.maximum(n.sum(-1, keepdims=True), 1e-300)
    spread = rate * (1 - rate)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(n > 0, (x - n * rate) ** 2 / (n * spread), 0.0)
    degrees = (n > 0).sum(-1) - 1
    statistic = np.where(degrees > 0, np.where(spread[..., 0] > 0, terms.sum(-1), 0.0), np.nan)
    p = special.chdtrc(np.maximum(degrees, 1), statistic)
    return Homogeneity(statistic[()], np.maximum(degrees, 0)[()], p[()])


def wald(values: ArrayLike, covariance: ArrayLike, *, error_degrees: ArrayLike = np.inf) -> Homogeneity:
    """Returns Wald's test that groups have one value of any metric.

    d' S^- d with d the values minus their mean and S the covariance of d, by a generalised inverse: the same as for any
    other choice of groups - 1 contrasts. Differences without variance are no evidence and take no degree of freedom: a
    rate of 0 or 1 needs a variance that is not 0. Groups whose value or variance is NaN are left out.

    Args:
        values: [..., groups] of a metric.
        covariance: [..., groups, groups] of the values; diagonal for independent groups.
        error_degrees: [...] degrees of freedom of the covariance, such as units - 1; finite ones give Hotelling's F
            test in place of chi-square.

    Raises:
        DataError: shapes that do not fit, or a negative variance.
        ConfigError: error degrees that are not positive.

    Source: Wald (1943); Hotelling (1931).

    >>> test = wald([0.60, 0.48, 0.18], np.diag([0.0048, 0.0050, 0.0030]))
    >>> print(f"{test.statistic:.2f}, {test.degrees} degrees, p {test.p_value:.6f}")
    25.42, 2 degrees, p 0.000003
    """
    v, S = np.asarray(values, np.float64), np.asarray(covariance, np.float64)
    if S.shape[-2:] != v.shape[-1:] * 2:
        raise DataError(f"Values have shape {v.shape} and their covariance {S.shape}; give one a pair of groups.")
    variance = np.diagonal(S, axis1=-2, axis2=-1)
    if (variance < 0).any():
        raise DataError(f"A variance is {variance[variance < 0].flat[0]:g}; it is 0 or more.")
    held = np.isfinite(v) & np.isfinite(variance)
    if (~np.isfinite(S) & held[..., :, None] & held[..., None, :]).any():
        raise DataError("The covariance of two groups that both have a variance is not finite.")
    statistic, degrees = _distance(np.where(held, v, 0.0), S, held)
    return Homogeneity(statistic[()], degrees[()], _p_value(statistic, degrees, error_degrees)[()])


def _distance(v: Floats, S: Floats, held: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.int64]]:
    pairs = held[..., :, None] & held[..., None, :]
    k = np.maximum(held.sum(-1), 1)[..., None, None]
    centre = np.where(pairs, np.eye(v.shape[-1]) - 1 / k, 0.0)
    d = (centre @ v[..., None])[..., 0]
    of_d = centre @ np.where(pairs, S, 0.0) @ centre
    sizes, axes = np.linalg.eigh((of_d + np.swapaxes(of_d, -1, -2)) / 2)
    kept = sizes > 1e-14 * v.shape[-1] * np.maximum(sizes.max(-1, keepdims=True, initial=0.0), 1e-300)
    along = (np.swapaxes(axes, -1, -2) @ d[..., None])[..., 0]
    statistic = np.where(kept, along**2 / np.where(kept, sizes, 1.0), 0.0).sum(-1)
    degrees = np.minimum(kept.sum(-1), np.maximum(held.sum(-1) - 1, 0))
    return np.where(degrees > 0, statistic, np.nan), degrees


def _p_value(statistic: Floats, degrees: NDArray[np.int64], error_degrees: ArrayLike) -> Floats:
    from scipy import special

    of_error = np.asarray(error_degrees, np.float64)
    if not (of_error > 0).all():
        raise ConfigError("Degrees of freedom of a covariance are positive.")
    left = of_error - degrees + 1
    usual = np.isinf(left) | (degrees == 0)
    safe = np.where(usual | (left <= 0), 1.0, left)
    scaled = statistic * safe / (np.where(usual, 1.0, of_error) * np.maximum(degrees, 1))
    exact = np.where(left > 0, special.fdtrc(np.maximum(degrees, 1), safe, scaled), np.nan)
    found: Floats = np.where(usual, special.chdtrc(np.maximum(degrees, 1), statistic), exact)
    return found
