"""Many tests at once: adjusted p-values, false discovery rates, and differences shrunk by how much is noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def holm(p: Floats) -> Floats:
    """Returns Holm's adjusted p-values; NaN stays NaN and is no test. Source: Holm (1979).

    >>> holm(np.array([0.01, 0.04, 0.03])).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    return _stepwise(p, lambda n: np.arange(n, 0, -1.0), np.maximum.accumulate)


def benjamini_hochberg(p: Floats) -> Floats:
    """Returns q-values that hold the false discovery rate; NaN stays NaN. Source: Benjamini and Hochberg (1995).

    >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03])).round(3).tolist()
    [0.03, 0.04, 0.04]
    """
    return _stepwise(p, lambda n: n / np.arange(1.0, n + 1), lambda a: np.minimum.accumulate(a[::-1])[::-1])


def _stepwise(p: Floats, factors: Callable[[int], Floats], accumulate: Callable[[Floats], Floats]) -> Floats:
    result = np.full(len(p), np.nan)
    held = np.flatnonzero(np.isfinite(p))
    order = held[np.argsort(p[held], kind="stable")]
    result[order] = np.minimum(accumulate(p[order] * factors(len(order))), 1.0)
    return result


def shrink(delta: Floats, variance: Floats, *, to_mean: bool = False) -> Floats:
    """Returns differences shrunk by the share of their variance that is noise (empirical Bayes).

    The variance between slices is the one at which the squared differences are as large as expected. Source: Paule and
    Mandel (1982).

    Args:
        delta: [slices]; NaN is left out.
        variance: [slices] squared standard errors.
        to_mean: whether towards their weighted mean; else towards 0.
    """
    held = np.isfinite(delta) & (variance > 0) & np.isfinite(variance)
    d, v = delta[held], variance[held]
    result = np.full(len(delta), np.nan)
    if len(d):
        between, mean = _between(d, v, to_mean)
        result[held] = mean + (d - mean) * between / (between + v)
    return result


def _between(d: Floats, v: Floats, to_mean: bool) -> tuple[float, float]:
    """Returns the variance between true differences, and what they are shrunk to."""
    degrees = max(len(d) - to_mean, 1)

    def mean(between: float) -> float:
        return float((d / (v + between)).sum() / (1 / (v + between)).sum()) if to_mean else 0.0

    def excess(between: float) -> float:
        return float(((d - mean(between)) ** 2 / (v + between)).sum()) - degrees

    low, high = 0.0, float(((d - mean(0.0)) ** 2).max()) * (8 if to_mean else 1)
    if excess(0.0) <= 0:
        return 0.0, mean(0.0)
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return high, mean(high)


class Heterogeneity(NamedTuple):
    """Whether differences differ among slices by more than noise.

    Attributes:
        q: Cochran's Q, the weighted squared distances to their mean.
        degrees: slices - 1.
        p_value: of differences that are all alike; NaN for fewer than two slices.
        between: the standard deviation between true differences, in their unit.
    """

    q: float
    degrees: int
    p_value: float
    between: float


def heterogeneity(delta: Floats, variance: Floats) -> Heterogeneity:
    """Returns Cochran's Q of differences in disjoint slices. Source: Cochran (1954); Paule and Mandel (1982).

    >>> heterogeneity(np.array([0.1, 0.1, 0.1]), np.array([0.01, 0.02, 0.01])).q
    0.0
    """
    from scipy import special

    held = np.isfinite(delta) & (variance > 0) & np.isfinite(variance)
    d, v = delta[held], variance[held]
    if len(d) < 2:
        return Heterogeneity(float("nan"), max(len(d) - 1, 0), float("nan"), float("nan"))
    mean = (d / v).sum() / (1 / v).sum()
    q = float(((d - mean) ** 2 / v).sum())
    p = float(special.chdtrc(len(d) - 1, q))
    return Heterogeneity(q, len(d) - 1, p, float(np.sqrt(_between(d, v, to_mean=True)[0])))
