"""How far a Brownian motion on [0, 1] strays: the laws of its range and of its largest distance from 0.

>>> [round(float(range_tail(x)), 4) for x in (1.0, 1.5958, 2.4977)]
[0.9366, 0.4308, 0.05]
>>> [round(float(distance_tail(x)), 4) for x in (1.0, 2.2414)]
[0.6292, 0.05]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

MEAN_RANGE = (8 / np.pi) ** 0.5
MEAN_DISTANCE = (np.pi / 2) ** 0.5
_TERMS = np.arange(1, 101, dtype=np.float64)


def range_tail(x: ArrayLike) -> Floats:
    """Returns the probability that highest minus lowest value is larger than x.

    By 8 sum (-1)^(k-1) k P(Z > k x), which is exact far out, and where x is small by its dual,
    1 - 8 sum (1 / x^2 + 1 / a^2) exp(-(a / x)^2 / 2) with a = pi, 3 pi, 5 pi, ...

    Args:
        x: [...] ranges; NaN stays NaN.

    Source: Feller (1951), The asymptotic distribution of the range of sums of independent random variables.
    """
    from scipy import special

    of = np.asarray(x, dtype=np.float64)
    wide = np.maximum(of, 1.0)[..., None]
    sign = np.where(_TERMS % 2 == 1, 1.0, -1.0)
    far = 8 * (sign * _TERMS * special.ndtr(-_TERMS * wide)).sum(-1)
    narrow = np.clip(of, 1e-3, 1.5)[..., None]
    odd = (2 * _TERMS - 1) * np.pi
    near = 1 - 8 * ((1 / narrow**2 + 1 / odd**2) * np.exp(-((odd / narrow) ** 2) / 2)).sum(-1)
    found = np.where(of > 1.5, far, near)
    return np.where(np.isnan(of), np.nan, np.clip(found, 0.0, 1.0))


def distance_tail(x: ArrayLike) -> Floats:
    """Returns the probability that the largest distance from 0 is larger than x.

    By 4 sum (-1)^k P(Z > (2 k + 1) x), and where x is small by 1 - 4 / pi sum (-1)^k / (2 k + 1)
    exp(-((2 k + 1) pi / x)^2 / 8).

    Args:
        x: [...] distances; NaN stays NaN.

    Source: Feller (1971), An introduction to probability theory II, X.5; Arrieta-Ibarra et al. (2022).
    """
    from scipy import special

    of = np.asarray(x, dtype=np.float64)
    odd, sign = 2 * _TERMS - 1, np.where(_TERMS % 2 == 1, 1.0, -1.0)
    far = 4 * (sign * special.ndtr(-odd * np.maximum(of, 1.0)[..., None])).sum(-1)
    narrow = np.clip(of, 1e-3, 1.5)[..., None]
    near = 1 - 4 / np.pi * (sign / odd * np.exp(-((odd * np.pi / narrow) ** 2) / 8)).sum(-1)
    found = np.where(of > 1.5, far, near)
    return np.where(np.isnan(of), np.nan, np.clip(found, 0.0, 1.0))
