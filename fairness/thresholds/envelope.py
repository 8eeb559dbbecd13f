"""What mixtures of two thresholds reach: the concave curve over the points of single ones.

>>> import numpy as np
>>> upper(np.array([0.0, 0.5, 1.0]), np.array([0.0, 0.2, 1.0])).tolist()
[0, 2]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = NDArray[np.int64]


class Curve(NamedTuple):
    """A piecewise linear curve through points with ascending x."""

    x: Floats
    y: Floats

    def at(self, x: Floats | float) -> Floats:
        """Returns the curve's values."""
        return np.asarray(np.interp(x, self.x, self.y))


def upper(x: Floats, y: Floats) -> Places:
    """Returns the places of the points on the concave curve over all of them; x ascends, and may repeat."""
    first = np.flatnonzero(np.append(True, np.diff(x) > 0))
    top = np.maximum.reduceat(y, first)
    stretch = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(x))))
    is_top = np.flatnonzero(y == top[stretch])
    highest = is_top[np.unique(stretch[is_top], return_index=True)[1]]
    kept: list[int] = []
    xs, ys = x[highest].tolist(), y[highest].tolist()
    for i in range(len(highest)):
        while len(kept) > 1:
            a, b = kept[-2], kept[-1]
            if (ys[b] - ys[a]) * (xs[i] - xs[a]) > (ys[i] - ys[a]) * (xs[b] - xs[a]):
                break
            kept.pop()
        kept.append(i)
    return highest[np.array(kept)]


def lowest(curves: list[Curve]) -> Curve:
    """Returns the lowest of several curves at every x, with the points where they cross."""
    result = curves[0]
    for other in curves[1:]:
        x = np.union1d(result.x, other.x)
        x = np.union1d(x, crossings(result, other, x))
        result = Curve(x, np.minimum(result.at(x), other.at(x)))
    return result


def highest(curves: list[Curve]) -> Curve:
    """Returns the highest of several curves at every x."""
    found = lowest([Curve(of.x, -of.y) for of in curves])
    return Curve(found.x, -found.y)


def crossings(one: Curve, other: Curve, x: Floats) -> Floats:
    """Returns where two curves cross between the points x, which hold the points of both."""
    above = one.at(x) - other.at(x)
    at = np.flatnonzero(above[:-1] * above[1:] < 0)
    share = above[at] / (above[at] - above[at + 1])
    return x[at] + share * (x[at + 1] - x[at])


def mixture(x: Floats, places: Places, wanted: float) -> tuple[Places, Floats]:
    """Returns the neighbouring points on a curve, and their shares, that reach an x together."""
    xs = x[places]
    right = int(np.clip(np.searchsorted(xs, wanted), 1, max(len(xs) - 1, 1))) if len(xs) > 1 else 0
    if not right:
        return places[:1], np.ones(1)
    share = float(np.clip((wanted - xs[right - 1]) / (xs[right] - xs[right - 1]), 0, 1))
    if share in (0.0, 1.0):
        return places[right - 1 + int(share) : right + int(share)], np.ones(1)
    return places[right - 1 : right + 1], np.array([1 - share, share])
