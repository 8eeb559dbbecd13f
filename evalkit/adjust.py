"""Many tests at once: adjusted p-values, false discovery rates, and differences shrunk by how much is noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

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


def shrink(delta: Floats, variance: Floats) -> Floats:
    """Returns differences shrunk towards 0 by the share of their variance that is noise (empirical Bayes).

    The variance between slices is the one at which the squared differences are as large as expected. Source: Paule and
    Mandel (1982), with the mean held at 0.

    Args:
        delta: [slices]; NaN is left out.
        variance: [slices] squared standard errors.
    """
    held = np.isfinite(delta) & (variance > 0) & np.isfinite(variance)
    d, v = delta[held], variance[held]
    result = np.full(len(delta), np.nan)
    low, high = 0.0, float((d**2).max(initial=0.0))
    if not len(d) or (d**2 / v).sum() <= len(d):
        result[held] = 0.0
        return result
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if (d**2 / (v + middle)).sum() > len(d) else (low, middle)
    result[held] = d * high / (high + v)
    return result
