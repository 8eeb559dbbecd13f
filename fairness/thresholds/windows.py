"""The best choice of one point for each group such that groups' rates lie within a gap of each other: exact, and fast.

Points of a group stand in the order of their thresholds, so their rates ascend, and those with rates in [r, r + gap]
follow each other: their best is a maximum over a range, which a table of maxima answers at once. What remains is the
search for r (for two rates, of a pair): blocks of neighbouring r are bounded from above by the wider range that all of
them lie in, and only blocks that may beat the best found so far are cut further.

>>> import numpy as np
>>> rates = [np.array([[0.0, 0.5, 1.0]]), np.array([[0.0, 0.4, 1.0]])]
>>> windows = Windows(rates, gains=[np.array([0.0, 3.0, 1.0]), np.array([0.0, 1.0, 4.0])])
>>> windows.best(1.0), windows.best(0.2)
(Choice(value=7.0, gap=0.5, points=(1, 2)), Choice(value=5.0, gap=0.0, points=(2, 2)))
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = NDArray[np.int64]

_SAME = 1e-13  # rates so near are equal: what sums of floats may differ by
_BLOCKS = 32
_CHUNK = 1 << 18


class Choice(NamedTuple):
    """One point of each group: their summed gains, the largest difference of a rate, and which they are."""

    value: float
    gap: float
    points: tuple[int, ...]


class Windows:
    """Points of groups, and the best of them within a gap."""

    def __init__(self, rates: Sequence[Floats], gains: Sequence[Floats]) -> None:
        """Prepares the points.

        Args:
            rates: for each group [rates, points], ascending along points; one or two rates.
            gains: for each group [points].
        """
        self.rates, self.gains = list(rates), list(gains)
        self._starts = [np.unique(np.concatenate([of[d] for of in rates])) for d in range(len(rates[0]))]
        self._first = [
            [np.searchsorted(of[d], start - _SAME) for d, start in enumerate(self._starts)] for of in self.rates
        ]
        self._tables = [_places_of_largest(gain) for gain in self.gains]
        size = max(abs(gain).max() for gain in self.gains)
        self._tie = 1e-13 * max(float(size), 1e-300) * len(self.gains)

    def best(self, gap: float, known: Choice | None = None) -> Choice:
        """Returns a best choice with rates within a gap, of all such choices one of least gap.

        A gap of 0 has a choice where each group has a point at the same rates, such as nobody.

        Args:
            gap: the largest difference of a rate that is allowed.
            known: what `best` returned for a smaller gap, which the answer is at least as good as.
        """
        found = self._within(gap, -np.inf if known is None else known.value + self._tie)
        if found is None:
            if known is None:
                raise ValueError("no choice has so small a gap")
            return known
        below = -1.0
        while (nearer := self._within(found.gap - 2 * _SAME, found.value - self._tie)) is not None:
            found = nearer
            middle = (max(below, 0.0) + found.gap) / 2
            if (nearer := self._within(middle, found.value - self._tie)) is None:
                below = middle
            else:
                found = nearer
        return found

    def _within(self, gap: float, beat: float) -> Choice | None:
        """Returns a best choice within a gap, whatever others are as good; None where it does not beat a value."""
        if gap < 0:
            return None
        block = 1 << max(int(np.ceil(np.log2(max(len(s) for s in self._starts) / _BLOCKS))), 0)
        places = [np.arange(0, len(s), block) for s in self._starts]
        corners = np.stack([axis.ravel() for axis in np.meshgrid(*places, indexing="ij")])
        best, at = beat, None
        while True:
            own = self._values(corners, corners, gap)
            if len(own) and own.max() > best:
                best, at = float(own.max()), corners[:, int(own.argmax())][:, None]
            if block == 1:
                break
            last = np.stack([np.minimum(c + block, len(s)) - 1 for c, s in zip(corners, self._starts, strict=True)])
            bound = self._values(corners, last, gap)
            corners, block = _split(corners[:, bound > best + self._tie], block, [len(s) for s in self._starts])
        if at is None:
            return None
        points = tuple(int(p[0]) for p in self._points(at, at, gap)[0])
        return Choice(best, self._gap(points), points)

    def _gap(self, points: tuple[int, ...]) -> float:
        chosen = np.stack([of[:, p] for of, p in zip(self.rates, points, strict=True)])
        return float((chosen.max(0) - chosen.min(0)).max())

    def _values(self, first: Places, last: Places, gap: float) -> Floats:
        """Returns the summed best gains between the lower edge at `first` and the upper one at `last`, [blocks]."""
        values = np.empty(first.shape[1])
        for start in range(0, len(values), _CHUNK):
            part = slice(start, start + _CHUNK)
            points, empty = self._points(first[:, part], last[:, part], gap)
            total = sum(gain[p] for gain, p in zip(self.gains, points, strict=True))
            values[part] = np.where(empty, -np.inf, total)
        return values

    def _points(self, first: Places, last: Places, gap: float) -> tuple[list[Places], NDArray[np.bool_]]:
        """Returns each group's best points, and where some group has none."""
        empty = np.zeros(first.shape[1], dtype=bool)
        found = []
        for rates, gain, starts, table in zip(self.rates, self.gains, self._first, self._tables, strict=True):
            low = np.max([own[f] for own, f in zip(starts, first, strict=True)], axis=0)
            ends = [
                np.searchsorted(own, start[end] + gap + _SAME, side="right")
                for own, start, end in zip(rates, self._starts, last, strict=True)
            ]
            high = np.min(ends, axis=0)
            none = low >= high
            empty |= none
            low = np.where(none, 0, low)
            found.append(_largest(gain, table, low, np.where(none, 1, high)))
        return found, empty


def every_point(windows: Windows) -> Iterator[Choice]:
    """Yields the choices that no other beats in both gap and gain, from the best gain down to the least gap."""
    found = windows.best(np.inf)
    while True:
        yield found
        if found.gap <= 2 * _SAME:
            return
        found = windows.best(found.gap - 2 * _SAME)


def _split(corners: Places, block: int, sizes: Sequence[int]) -> tuple[Places, int]:
    """Halves blocks along every rate until they are small."""
    half = block // 2
    steps = np.array(list(itertools.product((0, half), repeat=len(sizes)))).T
    parts = (corners[:, :, None] + steps[:, None, :]).reshape(len(sizes), -1)
    return parts[:, (parts < np.array(sizes)[:, None]).all(0)], half


def _places_of_largest(gain: Floats) -> NDArray[np.int32]:
    """Returns the place of the first largest of 1, 2, 4, ... values from each place on, [levels, values]."""
    levels = [np.arange(len(gain), dtype=np.int32)]
    while 1 << len(levels) <= len(gain):
        half = 1 << (len(levels) - 1)
        left, right = levels[-1], np.append(levels[-1][half:], levels[-1][:half])
        levels.append(np.where(gain[left] >= gain[right], left, right))
    return np.stack(levels)


def _largest(gain: Floats, table: NDArray[np.int32], low: Places, high: Places) -> Places:
    """Returns the place of the first largest value in [low, high)."""
    level = np.frexp((high - low).astype(np.float64))[1] - 1
    left, right = table[level, low], table[level, high - (1 << level)]
    return np.where(gain[left] >= gain[right], left, right).astype(np.int64)
