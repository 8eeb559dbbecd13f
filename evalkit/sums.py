"""What evaluations add up to: the sums of each statistic in each slice.

Sums of other rows, days or machines are added with `add` once their slices are lined up by `place`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit import score_keys
from evalkit.errors import DataError
from evalkit.statistic import Statistic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]


@dataclass(frozen=True)
class FieldSums:
    """Sums of a statistic with a few fields; `groups` of units are a second axis where rows are clustered.

    Attributes:
        count: [slices, (groups,) cells] rows with a positive weight; one cell for the form `sums`.
        total: [slices, (groups,) fields] sums of weight times field.
        square: sums of squared weight times products of fields: [slices, fields, fields], for cells [slices, fields]
            (a row is in one cell alone); None where there are groups.
        largest: [slices, fields] largest size of a field in any row, for `sums`; NaN once rows were subtracted.
        pivot: [slices] what the values of a slice's rows had subtracted; None for statistics without a pivot.
    """

    count: Counts
    total: Floats
    square: Floats | None = None
    largest: Floats | None = None
    pivot: Floats | None = None

    @property
    def clustered(self) -> bool:
        """Whether the second axis is groups of units."""
        return self.total.ndim == 3

    def margin(self) -> FieldSums:
        """Returns the sums over groups."""
        if not self.clustered:
            return self
        return FieldSums(self.count.sum(1), self.total.sum(1), None, self.largest, self.pivot)

    def place(self, index: NDArray[np.int64], slices: int) -> FieldSums:
        """Returns the sums with slice i moved to `index[i]` among `slices`."""

        def moved(array: Any) -> Any:
            if array is None:
                return None
            result = np.zeros((slices, *array.shape[1:]), dtype=array.dtype)
            result[index] = array
            return result

        return replace(
            self,
            count=moved(self.count),
            total=moved(self.total),
            square=moved(self.square),
            largest=moved(self.largest),
            pivot=moved(self.pivot),
        )

    def take(self, index: NDArray[np.int64]) -> FieldSums:
        """Returns the sums of some slices."""
        names = ("count", "total", "square", "largest", "pivot")
        return replace(self, **_each(self, names, lambda array: array[index]))

    def at_pivot(self, statistic: Statistic, pivot: Floats | None) -> FieldSums:
        """Returns the sums as if `pivot` [slices] had been subtracted from the rows' values."""
        if statistic.shift is None or pivot is None or self.pivot is None or np.array_equal(pivot, self.pivot):
            return self
        matrix = _matrices(statistic.shift(self.pivot, pivot), len(pivot))
        square = None if self.square is None else matrix @ self.square @ matrix.swapaxes(1, 2)
        total = np.einsum("sij,s...j->s...i", matrix, self.total)
        noise = 1e-14 * np.einsum("sij,s...j->s...i", np.abs(matrix), np.abs(self.total))
        return replace(self, total=np.where(np.abs(total) <= noise, 0.0, total), square=square, pivot=pivot)

    def add(self, other: FieldSums, sign: int = 1) -> FieldSums:
        """Adds (or with sign -1 subtracts) sums of the same slices and pivot; what holds no rows is exactly 0."""
        count = self.count + sign * other.count
        total = self.total + sign * other.total
        square = None if self.square is None or other.square is None else self.square + sign * other.square
        largest = None
        if self.largest is not None and other.largest is not None:
            largest = np.maximum(self.largest, other.largest) if sign > 0 else np.full_like(self.largest, np.nan)
        return FieldSums(count, _held(total, count), _held(square, count), largest, self.pivot)


_ARRAYS = ("slices", "keys", "groups", "count", "total", "square")


def _matrices(rows: Sequence[Sequence[Any]], n: int) -> Floats:
    """Lays a matrix of numbers and [n] arrays out as [n, rows, columns]."""
    return np.stack([np.stack([np.broadcast_to(v, n) for v in row], axis=-1) for row in rows], axis=-2).astype(float)


def _each(sums: Any, names: tuple[str, ...], change: Callable[[Any], Any]) -> dict[str, Any]:
    """Changes the arrays of these names, those that there are."""
    arrays = {name: getattr(sums, name) for name in names}
    return {name: None if array is None else change(array) for name, array in arrays.items()}


def _held(array: Any, count: Counts) -> Any:
    """Sets sums to exactly 0 where no rows are left, so that rounding never passes for a denominator."""
    if array is None:
        return None
    empty = count == 0
    while empty.ndim < array.ndim:
        empty = empty[..., None]
    return np.where(empty, 0.0, array)


@dataclass(frozen=True)
class ScoreSums:
    """The histogram of scores and labels in each slice, an entry for each that occurs, in order.

    Attributes:
        slices: [entries] int32, ascending.
        keys: [entries] int64, ascending within a slice; keys of scores without their last `shift` bits.
        groups: [entries] int32, ascending within a key; None where rows are independent.
        count: [entries, 2] rows with label 0 and 1.
        total: [entries, 2] summed weights; None where there are none, then the counts.
        square: [entries, 2] summed squared weights; None likewise.
        shift: how many low bits of the keys were dropped; 0 is exact.
        dtype: the scores' own, `float32` or `float64`.
        probabilities: how the keys were made.
        size: the number of slices.
    """

    slices: NDArray[np.int32]
    keys: NDArray[np.int64]
    groups: NDArray[np.int32] | None
    count: Counts
    total: Floats | None
    square: Floats | None
    shift: int
    dtype: str
    probabilities: bool
    size: int

    @property
    def clustered(self) -> bool:
        """Whether entries are kept apart by groups of units."""
        return self.groups is not None

    @functools.cached_property
    def weights(self) -> Floats:
        """Summed weights [entries, 2]."""
        return self.count.astype(np.float64) if self.total is None else self.total

    @functools.cached_property
    def squares(self) -> Floats:
        """Summed squared weights [entries, 2]."""
        return self.weights if self.square is None else self.square

    def scores(self) -> Floats:
        """Returns the score of each entry; the middle of its bin where bits were dropped."""
        low, high = score_keys.bin_edges(self.keys, self.shift, self.dtype, self.probabilities)
        if self.shift == 0:
            return low.astype(np.float64)
        return (low.astype(np.float64) + high.astype(np.float64)) / 2

    def margin(self) -> ScoreSums:
        """Returns the sums over groups."""
        return self if self.groups is None else regroup(replace(self, groups=None))

    def place(self, index: NDArray[np.int64], slices: int) -> ScoreSums:
        """Returns the sums with slice i moved to `index[i]` among `slices`."""
        return regroup(replace(self, slices=index[self.slices].astype(np.int32), size=slices), ordered=False)

    def take(self, index: NDArray[np.int64]) -> ScoreSums:
        """Returns the sums of some slices."""
        place = np.full(self.size, -1, dtype=np.int64)
        place[index] = np.arange(len(index))
        kept = place[self.slices] >= 0
        cut = replace(self, **_each(self, _ARRAYS, lambda array: array[kept]))
        return regroup(replace(cut, slices=place[cut.slices].astype(np.int32), size=len(index)), ordered=False)

    def coarser(self, shift: int) -> ScoreSums:
        """Returns the roll-up whose keys lack their last `shift` bits."""
        if shift <= self.shift:
            return self
        return regroup(replace(self, keys=self.keys >> (shift - self.shift), shift=shift), ordered=self.groups is None)

    def add(self, other: ScoreSums, sign: int = 1) -> ScoreSums:
        """Adds (or with sign -1 subtracts) sums of the same slices, at the coarser of the two resolutions."""
        mine, theirs = _alike(self, other)
        weighted = mine.total is not None or theirs.total is not None
        joined = replace(
            mine,
            slices=np.concatenate([mine.slices, theirs.slices]),
            keys=np.concatenate([mine.keys, theirs.keys]),
            groups=None
            if mine.groups is None or theirs.groups is None
            else np.concatenate([mine.groups, theirs.groups]),
            count=np.concatenate([mine.count, sign * theirs.count]),
            total=np.concatenate([mine.weights, sign * theirs.weights]) if weighted else None,
            square=np.concatenate([mine.squares, sign * theirs.squares]) if weighted else None,
        )
        return regroup(joined, ordered=False)


def _alike(left: ScoreSums, right: ScoreSums) -> tuple[ScoreSums, ScoreSums]:
    if left.dtype != right.dtype:
        raise DataError(f"Scores are {left.dtype} in one evaluation and {right.dtype} in the other; they do not add.")
    if left.probabilities != right.probabilities:
        left, right = _ordered_bits(left), _ordered_bits(right)
    shift = max(left.shift, right.shift)
    return left.coarser(shift), right.coarser(shift)


def _ordered_bits(sums: ScoreSums) -> ScoreSums:
    if not sums.probabilities:
        return sums
    if sums.shift:
        raise DataError("Binned scores in [0, 1] do not add to scores outside it.")
    scores = score_keys.scores(sums.keys, sums.dtype, probabilities=True)
    return replace(sums, keys=score_keys.keys(scores, probabilities=False).astype(np.int64), probabilities=False)


def regroup(sums: ScoreSums, ordered: bool = True) -> ScoreSums:
    """Adds up entries of the same slice, key and group and drops those without rows.

    Args:
        sums: entries in any order where `ordered` is False.
        ordered: whether equal entries already stand together in order.
    """
    if not ordered:
        last = (sums.groups,) if sums.groups is not None else ()
        order = np.lexsort((*last, sums.keys, sums.slices))
        sums = replace(sums, **_each(sums, _ARRAYS, lambda array: array[order]))
    if not len(sums.keys):
        return sums
    new = (np.diff(sums.slices) != 0) | (np.diff(sums.keys) != 0)
    if sums.groups is not None:
        new |= np.diff(sums.groups) != 0
    starts = np.concatenate([[0], np.flatnonzero(new) + 1])
    count = np.add.reduceat(sums.count, starts, axis=0)
    kept = count.any(axis=1)
    starts_kept = starts[kept]

    def added(array: Floats | None) -> Floats | None:
        return None if array is None else np.where(count == 0, 0.0, np.add.reduceat(array, starts, axis=0))[kept]

    return replace(
        sums,
        slices=sums.slices[starts_kept],
        keys=sums.keys[starts_kept],
        groups=None if sums.groups is None else sums.groups[starts_kept],
        count=count[kept],
        total=added(sums.total),
        square=added(sums.square),
    )


AnySums = FieldSums | ScoreSums
