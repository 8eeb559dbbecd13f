"""What evaluations add up to: the sums of each statistic in each slice.

Sums of other rows, days or machines are added with `add` once their slices are lined up by `place`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.score_sums import ScoreSums, regroup
from evalkit.statistic import Statistic

__all__ = ["AnySums", "FieldSums", "ScoreSums", "regroup"]

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


AnySums = FieldSums | ScoreSums
