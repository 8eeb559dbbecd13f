"""Slices found while rows stream by: values and cells are numbered as they first come, and two countings are lined up.

>>> import numpy as np
>>> sex = Dimension("sex")
>>> found = Discovered([SliceSet(), SliceSet((sex,))], [((sex,), (0, 1))])
>>> found.cells({sex: Coded(np.array([1, 0, 1], np.int32), ("f", "m"))}, 3)[0][0].tolist()
[1, 0, 1]
>>> found.cells({sex: Coded(np.array([0, 0], np.int32), ("x",))}, 2)[0][0].tolist()
[2, 2]
>>> [roll_up.keys for roll_up in found.roll_ups(set())[0]]
[((),), ((('sex', 'f'),), (('sex', 'm'),), (('sex', 'x'),))]
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from evalkit.slicing.cubes import MOST_DENSE_CELLS, MOST_SHARED_CELLS, RollUp, cell_codes, places, present_cells
from evalkit.slicing.encode import DEFAULT_LIMIT, Coded, within
from evalkit.slicing.spec import Dimension, SliceKey, SliceSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Members = tuple[NDArray[np.int32], NDArray[np.int64] | None]
_OUTSIDE = -1


class _Numbered(dict):  # type: ignore[type-arg]
    """Things numbered in the order in which they were first asked for."""

    def __missing__(self, key: object) -> int:
        self[key] = len(self)
        return len(self) - 1


class Discovered:
    """The values of each dimension and the occupied cells of each cube, so far.

    Args:
        slice_sets: frozen slice sets.
        cubes: for each cube its dimensions, and the indices of the sets that are sums of its cells.
        limit: the most slices of one set.
    """

    def __init__(
        self,
        slice_sets: Sequence[SliceSet],
        cubes: Sequence[tuple[tuple[Dimension, ...], tuple[int, ...]]],
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        self.slice_sets, self.cubes, self.limit = list(slice_sets), list(cubes), limit
        self.values: dict[Dimension, _Numbered] = {d: _Numbered() for s in slice_sets for d in s.dimensions}
        self.found: list[_Numbered] = [_Numbered() for _ in cubes]

    @property
    def sizes(self) -> list[int]:
        """The number of occupied cells of each cube."""
        return [len(cells) for cells in self.found]

    def cells(self, coded: Mapping[Dimension, Coded], n: int) -> list[Members]:
        """Returns the cell of each member of each cube, and the members' rows where they are not row by row.

        Args:
            coded: the dimensions of these rows; their codes may mean other values than in the rows before.
            n: the number of rows.
        """
        numbers = {dimension: self._numbers(dimension, part.values) for dimension, part in coded.items()}
        return [self._members(index, coded, numbers, n) for index in range(len(self.cubes))]

    def _numbers(self, dimension: Dimension, values: Sequence[str | None]) -> list[int]:
        """Returns the numbers of values, and after them that of rows outside."""
        known = self.values[dimension]
        numbers = [known[value] for value in values]
        within(len(known), dimension.name, self.limit)
        return [*numbers, _OUTSIDE]

    def _members(
        self, index: int, coded: Mapping[Dimension, Coded], numbers: Mapping[Dimension, list[int]], n: int
    ) -> Members:
        dimensions = self.cubes[index][0]
        codes, rows = cell_codes([coded[d] for d in dimensions], n)
        size = math.prod(places(coded[d]) for d in dimensions)
        if size <= MOST_SHARED_CELLS:
            table = self._known(index, size, coded, numbers)
            if table is not None:
                same = np.array_equal(table, np.arange(size))
                return (codes.astype(np.int32, copy=False) if same else table.take(codes)), rows
        if size <= MOST_DENSE_CELLS and size <= max(4 * len(codes), 1 << 16):
            held = np.flatnonzero(present_cells(codes, size))
            table = np.zeros(size, dtype=np.int32)
            table[held] = self._numbered(index, held, coded, numbers)
        else:
            held, codes = np.unique(codes, return_inverse=True)
            table = self._numbered(index, held, coded, numbers)
        return table.take(codes), rows

    def _known(
        self, index: int, size: int, coded: Mapping[Dimension, Coded], numbers: Mapping[Dimension, list[int]]
    ) -> NDArray[np.int32] | None:
        """Returns the cell of each combination of places; None unless all of them were seen before."""
        cells = self.found[index]
        if len(cells) < size:
            return None
        found = [cells.get(key) for key in self._keys(index, np.arange(size), coded, numbers)]
        return None if None in found else np.array(found, dtype=np.int32)

    def _keys(
        self,
        index: int,
        held: NDArray[np.integer],
        coded: Mapping[Dimension, Coded],
        numbers: Mapping[Dimension, list[int]],
    ) -> Iterable[tuple[int, ...]]:
        """Returns the values' numbers of each combination of places."""
        rest, columns = held, []
        for dimension in reversed(self.cubes[index][0]):
            rest, place = np.divmod(rest, places(coded[dimension]))
            columns.append(np.asarray(numbers[dimension])[place].tolist())
        return zip(*reversed(columns), strict=True) if columns else [()] * len(held)

    def _numbered(
        self,
        index: int,
        held: NDArray[np.integer],
        coded: Mapping[Dimension, Coded],
        numbers: Mapping[Dimension, list[int]],
    ) -> NDArray[np.int32]:
        """Returns the cell of each combination of places that is held."""
        cells = self.found[index]
        before = len(cells)
        result = np.array([cells[key] for key in self._keys(index, held, coded, numbers)], dtype=np.int32)
        if len(cells) > max(before, self.limit):
            self._refuse_too_many(index)
        return result

    def _refuse_too_many(self, index: int) -> None:
        dimensions, members = self.cubes[index]
        for member in members:
            own = [dimensions.index(d) for d in self.slice_sets[member].dimensions]
            slices = {tuple(cell[place] for place in own) for cell in self.found[index]}
            within(len(slices), str(self.slice_sets[member]), self.limit)

    def merge(self, other: Discovered) -> list[NDArray[np.int32]]:
        """Takes in what another found, and returns for each cube the cell here of each of its cells.

        Args:
            other: of the same slice sets and cubes.
        """
        numbers = {d: self._numbers(d, tuple(known)) for d, known in other.values.items()}
        maps = []
        for index, (dimensions, _) in enumerate(self.cubes):
            own = [numbers[d] for d in dimensions]
            cells = self.found[index]
            keys = (tuple(of[place] for of, place in zip(own, cell, strict=True)) for cell in other.found[index])
            maps.append(np.array([cells[key] for key in keys], dtype=np.int32))
            if len(cells) > self.limit:
                self._refuse_too_many(index)
        return maps

    def copy(self) -> Discovered:
        """Returns one that has found the same, and goes on apart."""
        other = Discovered(self.slice_sets, self.cubes, self.limit)
        other.values = {dimension: _Numbered(known) for dimension, known in self.values.items()}
        other.found = [_Numbered(cells) for cells in self.found]
        return other

    def roll_ups(
        self, numeric: Collection[str], occupied: Sequence[NDArray[np.bool_]] | None = None
    ) -> list[list[RollUp]]:
        """Returns how the cells of each cube add up to slices, which stand in the order of their values.

        Args:
            numeric: the columns whose values are ordered as numbers.
            occupied: for each cube, which cells hold rows; None: all.
        """
        ranks = {d: self._ranks(d, numeric) for d in self.values}
        return [
            [self._roll_up(index, member, ranks, None if occupied is None else occupied[index]) for member in members]
            for index, (_, members) in enumerate(self.cubes)
        ]

    def _ranks(self, dimension: Dimension, numeric: Collection[str]) -> list[int]:
        """Returns the place of each value in the order of the values; null is last."""
        values = list(self.values[dimension])
        if dimension.form != "column":
            return list(range(len(values)))

        def order(place: int) -> tuple[bool, float, str]:
            value = values[place]
            number = float(value) if value is not None and dimension.name in numeric else 0.0
            return value is None, number, value or ""

        ranks = [0] * len(values)
        for rank, place in enumerate(sorted(range(len(values)), key=order)):
            ranks[place] = rank
        return ranks

    def _roll_up(
        self, index: int, member: int, ranks: Mapping[Dimension, list[int]], occupied: NDArray[np.bool_] | None
    ) -> RollUp:
        dimensions = self.slice_sets[member].dimensions
        own = [self.cubes[index][0].index(d) for d in dimensions]
        of_cells = [tuple(cell[place] for place in own) for cell in self.found[index]]
        held = of_cells if occupied is None else [key for key, any_ in zip(of_cells, occupied, strict=True) if any_]
        inside = {key for key in held if _OUTSIDE not in key}
        within(len(inside), str(self.slice_sets[member]), self.limit)
        ordered = sorted(inside, key=lambda key: [ranks[d][place] for d, place in zip(dimensions, key, strict=True)])
        number = {key: i for i, key in enumerate(ordered)}
        names = [list(self.values[d]) for d in dimensions]
        keys: list[SliceKey] = [
            tuple((d.name, of[place]) for d, of, place in zip(dimensions, names, key, strict=True)) for key in ordered
        ]
        slices = np.array([number.get(key, _OUTSIDE) for key in of_cells], dtype=np.int32)
        return RollUp(member, tuple(keys), slices)
