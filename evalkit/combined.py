"""A sum of estimates, some of them taken away, with an interval made of their own: MOVER.

>>> found = combined([0.5, 0.3], [0.4, 0.2], [0.6, 0.42], [1, -1])
>>> [round(float(v), 3) for v in found]
[0.2, 0.044, 0.341]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


class Combined(NamedTuple):
    """A sum and its interval; arrays are [...]."""

    value: Floats
    low: Floats
    high: Floats


def combined(
    values: ArrayLike,
    lows: ArrayLike,
    highs: ArrayLike,
    factors: ArrayLike,
    covariance: ArrayLike | None = None,
) -> Combined:
    """Returns sum(factor * value) with an interval of the parts' intervals.

    The distance to each end is the root of v' R v, where v are the factors times the distances of the parts to those of
    their ends that lead there, and R the parts' correlations. An interval of proportions so inherits what Wilson's does
    near 0 and 1.

    Args:
        values: [..., parts] estimates.
        lows: [..., parts] lower ends of their intervals.
        highs: [..., parts] upper ends.
        factors: [..., parts] what each counts, negative to take it away.
        covariance: [..., parts, parts] of the estimates, or their correlations; None: they are independent.

    Source: Zou and Donner (2008), Construction of confidence limits about effect measures (MOVER).
    """
    of, down, up, by = (np.asarray(a, dtype=np.float64) for a in (values, lows, highs, factors))
    joint = np.eye(of.shape[-1]) if covariance is None else correlations(covariance)
    value = (by * of).sum(-1)

    def reach(to_low: Floats, to_high: Floats) -> Floats:
        v = by * np.where(by > 0, to_low, to_high)
        return np.sqrt(np.maximum((v[..., None, :] @ joint @ v[..., :, None])[..., 0, 0], 0.0))

    return Combined(value, value - reach(of - down, up - of), value + reach(up - of, of - down))


def correlations(covariance: ArrayLike) -> Floats:
    """Returns the correlations of a covariance [..., n, n]; 0 where something does not vary."""
    joint = np.asarray(covariance, dtype=np.float64)
    spread = np.sqrt(np.maximum(np.einsum("...ii->...i", joint), 0.0))
    scale = spread[..., :, None] * spread[..., None, :]
    found = np.divide(joint, scale, out=np.zeros_like(joint), where=scale > 0)
    np.einsum("...ii->...i", found)[...] = 1.0
    return np.clip(found, -1.0, 1.0)
