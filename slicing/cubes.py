"""Which crosses to compute so that every slice set is a roll-up of one of them, and each row is touched seldom.

A cube holds the cells of a cross of dimensions. Small slice sets share one: with `sex`, `race` and their cross, each
row falls in one cell of sex x race, and all three sets are sums of cells.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evalkit.slicing.encode import Coded, within
from evalkit.slicing.spec import Dimension, SliceKey, SliceSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_SHARED_CELLS = 4096
MOST_DENSE_CELLS = 1 << 24
_BLOCK = 1 << 18


@dataclass(frozen=True)
class RollUp:
    """How the cells of a cube add up to the slices of one set.

    Attributes:
        slice_set: the index of the set.
        keys: its slices that hold at least one row, in the order of their values.
        slices: [cells] int32, the slice of each cell; -1 for none.
    """

    slice_set: int
    keys: tuple[SliceKey, ...]
    slices: NDArray[np.int32]


@dataclass(frozen=True)
class Cube:
    """A cross of dimensions over the rows.

    Attributes:
        codes: [members] int32, the cell of each member.
        cells: the number of cells.
        roll_ups: the slice sets that are sums of its cells.
        rows: [members] int64, the row of each member, where a row may be in several cells; None: row i is member i.
    """

    codes: NDArray[np.int32]
    cells: int
    roll_ups: tuple[RollUp, ...]
    rows: NDArray[np.int64] | None = None


def cubes(slice_sets: Sequence[SliceSet], coded: Mapping[Dimension, Coded], n: int, limit: int) -> list[Cube]:
    """Returns the cubes that cover every slice set.

    Args:
        slice_sets: frozen slice sets.
        coded: their dimensions, from `encode`.
        n: the number of rows.
        limit: the most slices a set may have.
    """
    sizes = {dimension: places(part) for dimension, part in coded.items()}
    alone = {dimension for dimension, part in coded.items() if part.rows is not None}
    groups = together(slice_sets, sizes, alone)
    return [_cube(list(dimensions), list(members), slice_sets, coded, n, limit) for dimensions, members in groups]


def together(
    slice_sets: Sequence[SliceSet], sizes: Mapping[Dimension, int], alone: Collection[Dimension] = ()
) -> list[tuple[tuple[Dimension, ...], tuple[int, ...]]]:
    """Returns which slice sets share a cube: its dimensions, and the indices of the sets.

    A cube of at most 4,096 cells is cheaper than a pass for each of its sets; beyond, a set has cells of its own unless
    another's hold them.

    Args:
        slice_sets: frozen slice sets.
        sizes: the places of each dimension.
        alone: dimensions that may hold a row several times; their sets share nothing.
    """
    shared: list[tuple[list[Dimension], list[int]]] = []
    single: list[tuple[list[Dimension], list[int]]] = []

    def cells(dimensions: Iterable[Dimension]) -> int:
        return math.prod(sizes[dimension] for dimension in dimensions)

    for index in sorted(range(len(slice_sets)), key=lambda i: -cells(slice_sets[i].dimensions)):
        dimensions = slice_sets[index].dimensions
        if any(dimension in alone for dimension in dimensions):
            single.append((list(dimensions), [index]))
            continue
        for joined, members in shared:
            union = list(dict.fromkeys([*joined, *dimensions]))
            if set(union) == set(joined) or cells(union) <= MOST_SHARED_CELLS:
                joined[:] = union
                members.append(index)
                break
        else:
            shared.append((list(dimensions), [index]))
    return [(tuple(dimensions), tuple(members)) for dimensions, members in (*shared, *single)]


def places(part: Coded) -> int:
    """Returns the number of places of a dimension: its values, and one for rows in none of them."""
    return len(part.values) + part.partial


def _cube(
    dimensions: list[Dimension],
    members: list[int],
    slice_sets: Sequence[SliceSet],
    coded: Mapping[Dimension, Coded],
    n: int,
    limit: int,
) -> Cube:
    codes, rows = cell_codes([coded[d] for d in dimensions], n)
    size = math.prod(places(coded[d]) for d in dimensions)
    if size <= MOST_DENSE_CELLS:
        present = present_cells(codes, size)
        cells, indices = codes.astype(np.int32, copy=False), np.arange(size, dtype=np.int64)
    else:
        indices, inverse = np.unique(codes.astype(np.int64), return_inverse=True)
        cells, present = inverse.astype(np.int32), np.ones(len(indices), dtype=bool)
    roll_ups = tuple(
        _roll_up(index, slice_sets[index], dimensions, coded, indices, present, limit) for index in members
    )
    return Cube(cells, len(indices), roll_ups, rows)


def present_cells(codes: NDArray[np.integer], size: int) -> NDArray[np.bool_]:
    """Tells which cells hold a row; in blocks, since NumPy widens indices as it goes."""
    present = np.zeros(size, dtype=bool)
    for start in range(0, len(codes), _BLOCK):
        present[codes[start : start + _BLOCK]] = True
        if present.all():
            break
    return present


def cell_codes(parts: Sequence[Coded], n: int) -> tuple[NDArray[np.integer], NDArray[np.int64] | None]:
    """Returns the cell of each member among all that could be, and their rows where they are not row by row.

    Args:
        parts: the dimensions, the last one running fastest; a row outside one takes its last place.
        n: the number of rows.
    """
    wide = np.int64 if math.prod(places(p) for p in parts) > np.iinfo(np.int32).max else np.int32
    codes: NDArray[np.integer] | None = None
    rows: NDArray[np.int64] | None = None
    for part in parts:
        own = np.where(part.codes < 0, len(part.values), part.codes) if part.partial else part.codes
        if part.rows is not None:
            rows, codes, own = _members(rows, codes, part.rows, own, n)
        elif rows is not None:
            own = own[rows]
        codes = own.astype(wide, copy=False) if codes is None else codes * wide(places(part)) + own
    return (np.zeros(n, dtype=np.int32) if codes is None else codes), rows


def _members(
    rows: NDArray[np.int64] | None,
    codes: NDArray[np.integer] | None,
    new_rows: NDArray[np.int64],
    new_codes: NDArray[np.int32],
    n: int,
) -> tuple[NDArray[np.int64], NDArray[np.integer] | None, NDArray[np.int32]]:
    """Repeats each member so far for each slice that its row is in by a list column."""
    if rows is None:
        return new_rows, (None if codes is None else codes[new_rows]), new_codes
    order = np.argsort(new_rows, kind="stable")
    first = np.searchsorted(new_rows[order], np.arange(n + 1))
    times = np.diff(first)[rows]
    repeated = np.repeat(np.arange(len(rows)), times)
    offset = np.arange(len(repeated)) - np.repeat(np.cumsum(times) - times, times)
    taken = order[first[rows[repeated]] + offset]
    return rows[repeated], (None if codes is None else codes[repeated]), new_codes[taken]


def _roll_up(
    index: int,
    slice_set: SliceSet,
    dimensions: Sequence[Dimension],
    coded: Mapping[Dimension, Coded],
    cell_indices: NDArray[np.int64],
    present: NDArray[np.bool_],
    limit: int,
) -> RollUp:
    """Finds the slice of each cell: its places in the set's own dimensions, in the set's own order."""
    found, rest = {}, cell_indices
    for dimension in reversed(dimensions):
        rest, found[dimension] = np.divmod(rest, places(coded[dimension]))
    full = np.zeros(len(cell_indices), dtype=np.int64)
    inside = present.copy()
    for dimension in slice_set.dimensions:
        inside &= found[dimension] < len(coded[dimension].values)
        full = full * len(coded[dimension].values) + found[dimension]
    held = np.unique(full[inside])
    within(len(held), str(slice_set), limit)
    slices = np.where(inside, np.searchsorted(held, full), -1).astype(np.int32)
    return RollUp(index, tuple(_key(slice_set, coded, int(i)) for i in held), slices)


def _key(slice_set: SliceSet, coded: Mapping[Dimension, Coded], index: int) -> SliceKey:
    pairs: list[tuple[str, str | None]] = []
    for dimension in reversed(slice_set.dimensions):
        values = coded[dimension].values
        index, place = divmod(index, len(values))
        pairs.append((dimension.name, values[place]))
    return tuple(reversed(pairs))
