"""Which crosses to compute so that every slice set is a roll-up of one of them, and each row is touched seldom.

A cube holds the cells of a cross of dimensions. Small slice sets share one: with `sex`, `race` and their cross, each
row falls in one cell of sex x race, and all three sets are sums of cells.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evalkit.slicing.encode import Coded, within
from evalkit.slicing.spec import Dimension, SliceKey, SliceSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_SHARED_CELLS = 4096
_MOST_DENSE_CELLS = 1 << 24
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
    shared: list[tuple[list[Dimension], list[int]]] = []
    alone: list[int] = []
    order = sorted(range(len(slice_sets)), key=lambda i: -_cells(slice_sets[i].dimensions, coded))
    for index in order:
        dimensions = slice_sets[index].dimensions
        if any(coded[d].rows is not None for d in dimensions):
            alone.append(index)
            continue
        for together, members in shared:
            union = list(dict.fromkeys([*together, *dimensions]))
            if set(union) == set(together) or _cells(union, coded) <= MOST_SHARED_CELLS:
                together[:] = union
                members.append(index)
                break
        else:
            shared.append((list(dimensions), [index]))
    groups = [*shared, *((list(slice_sets[i].dimensions), [i]) for i in alone)]
    return [_cube(dimensions, members, slice_sets, coded, n, limit) for dimensions, members in groups]


def _cells(dimensions: Sequence[Dimension], coded: Mapping[Dimension, Coded]) -> int:
    return math.prod(_size(coded[d]) for d in dimensions)


def _size(part: Coded) -> int:
    return len(part.values) + part.partial


def _cube(
    dimensions: list[Dimension],
    members: list[int],
    slice_sets: Sequence[SliceSet],
    coded: Mapping[Dimension, Coded],
    n: int,
    limit: int,
) -> Cube:
    codes, rows = _codes([coded[d] for d in dimensions], n)
    size = _cells(dimensions, coded)
    if size <= _MOST_DENSE_CELLS:
        present = _present(codes, size)
        cell_codes, cell_indices = codes.astype(np.int32, copy=False), np.arange(size, dtype=np.int64)
    else:
        cell_indices, inverse = np.unique(codes.astype(np.int64), return_inverse=True)
        cell_codes, present = inverse.astype(np.int32), np.ones(len(cell_indices), dtype=bool)
    roll_ups = tuple(
        _roll_up(index, slice_sets[index], dimensions, coded, cell_indices, present, limit) for index in members
    )
    return Cube(cell_codes, len(cell_indices), roll_ups, rows)


def _present(codes: NDArray[np.integer], size: int) -> NDArray[np.bool_]:
    """Tells which cells hold a row; in blocks, since NumPy widens indices as it goes."""
    present = np.zeros(size, dtype=bool)
    for start in range(0, len(codes), _BLOCK):
        present[codes[start : start + _BLOCK]] = True
        if present.all():
            break
    return present


def _codes(parts: Sequence[Coded], n: int) -> tuple[NDArray[np.integer], NDArray[np.int64] | None]:
    """Returns the cell of each member; a row outside a dimension takes that dimension's last place."""
    wide = np.int64 if math.prod(_size(p) for p in parts) > np.iinfo(np.int32).max else np.int32
    codes: NDArray[np.integer] | None = None
    rows: NDArray[np.int64] | None = None
    for part in parts:
        own = np.where(part.codes < 0, len(part.values), part.codes) if part.partial else part.codes
        if part.rows is not None:
            rows, codes, own = _members(rows, codes, part.rows, own, n)
        elif rows is not None:
            own = own[rows]
        codes = own.astype(wide, copy=False) if codes is None else codes * wide(_size(part)) + own
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
    places, rest = {}, cell_indices
    for dimension in reversed(dimensions):
        rest, places[dimension] = np.divmod(rest, _size(coded[dimension]))
    full = np.zeros(len(cell_indices), dtype=np.int64)
    inside = present.copy()
    for dimension in slice_set.dimensions:
        inside &= places[dimension] < len(coded[dimension].values)
        full = full * len(coded[dimension].values) + places[dimension]
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
