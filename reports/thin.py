"""Fewer points of a curve that draw the same curve."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = NDArray[np.int64]

_CLOSE = 5e-4


def thinned(x: Floats, y: Floats, most: int) -> Places:
    """Returns the places of at most `most` points between which straight lines stay closest to the curve.

    Points are taken where the line drawn so far is farthest off, until it is off by less than a pixel would show
    (Ramer 1972; Douglas and Peucker 1973, largest error first).

    Args:
        x: [points] finite, in a unit range.
        y: [points] likewise.
        most: at least 2.

    >>> thinned(np.array([0, 0.1, 0.5, 0.9, 1]), np.array([0, 0.2, 1, 0.2, 0]), 3).tolist()
    [0, 2, 4]
    """
    if len(x) <= 2:
        return np.arange(len(x))
    places = _evenly(x, y, 20 * most)
    x, y = x[places], y[places]
    kept = {0, len(x) - 1}
    queue: list[tuple[float, int, int, int]] = []

    def ask(start: int, stop: int) -> None:
        if stop - start > 1:
            off = _distance(x[start : stop + 1], y[start : stop + 1])
            at = int(off.argmax())
            heapq.heappush(queue, (-float(off[at]), start, start + at, stop))

    ask(0, len(x) - 1)
    while queue and len(kept) < most:
        error, start, at, stop = heapq.heappop(queue)
        if -error < _CLOSE:
            break
        kept.add(at)
        ask(start, at)
        ask(at, stop)
    return places[sorted(kept)]


def spaced(rows: NDArray[Any], least: int) -> Places:
    """Returns places between which at least `least` rows lie, the first and the last among them.

    Args:
        rows: [points] rows up to and with each point, ascending.
        least: no step between two places holds fewer rows, unless all do.

    >>> spaced(np.array([0, 1, 2, 5, 6, 9]), 3).tolist()
    [0, 3, 5]
    """
    kept = [0]
    last = len(rows) - 1
    while rows[last] - rows[kept[-1]] >= 2 * least:
        following = int(np.searchsorted(rows, rows[kept[-1]] + least))
        if rows[last] - rows[following] < least:
            break
        kept.append(following)
    return np.array([*kept, last] if last else kept)


def _evenly(x: Floats, y: Floats, most: int) -> Places:
    """Returns places at even steps along the curve, where it has more points than the search should look at."""
    if len(x) <= most:
        return np.arange(len(x))
    way = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    found = np.searchsorted(way, np.linspace(0, way[-1], most)).clip(0, len(x) - 1)
    return np.unique(np.concatenate([[0], found, [len(x) - 1]]))


def _distance(x: Floats, y: Floats) -> Floats:
    """Returns how far points are from the line between the first and the last."""
    dx, dy = x[-1] - x[0], y[-1] - y[0]
    length = float(np.hypot(dx, dy))
    if length == 0:
        off: Floats = np.hypot(x - x[0], y - y[0])
    else:
        off = np.abs(dx * (y - y[0]) - dy * (x - x[0])) / length
    return off
