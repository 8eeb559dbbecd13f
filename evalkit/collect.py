"""From rows to the sums of every statistic in every slice.

Slices of all sets stand one after another, numbered through; each statistic is collected once, however many metrics
read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit import kernels, score_keys
from evalkit.slicing.cubes import Cube
from evalkit.statistic import Batch, Statistic
from evalkit.sums import AnySums, FieldSums, ScoreSums

if TYPE_CHECKING:
    from numpy.typing import NDArray

GROUPS = 256
BUDGET_BYTES = 512 * 2**20
_ENTRY_BYTES = 4 + 8 + 16
_MOST_BINNED_CELLS = 1 << 21
_WIDE_CELL = 1000


@dataclass(frozen=True)
class Rows:
    """The rows as arrays; rows of weight 0 are not among them.

    Attributes:
        n: the number of rows.
        label: [n] int8 for binary tasks, float64 for regression.
        score: [n] float32 or float64.
        prediction: [n] int8 or float64.
        columns: other numeric columns, [n] float64.
        weight: [n] float64; None where all are 1.
        group: [n] int32, the group of each row's unit; None where rows are independent.
        probabilities: whether all scores lie in [0, 1].
        square: [n] float64, what histograms add up in the place of squared weights; None for those.
    """

    n: int
    label: NDArray[Any] | None = None
    score: NDArray[Any] | None = None
    prediction: NDArray[Any] | None = None
    columns: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    weight: NDArray[np.float64] | None = None
    group: NDArray[np.int32] | None = None
    probabilities: bool = False
    square: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Options:
    """How sums are collected; none of them changes an exact sum.

    Attributes:
        budget_bytes: the memory that sums may take; beyond it, scores are binned.
        chunk_rows: the rows of one pass.
    """

    budget_bytes: int = BUDGET_BYTES
    chunk_rows: int = kernels.CHUNK_ROWS


def collect(
    statistics: Sequence[Statistic], rows: Rows, cubes: Sequence[Cube], offsets: Sequence[int], options: Options
) -> dict[str, AnySums]:
    """Returns the sums of each statistic by its identity.

    Args:
        statistics: each once.
        rows: the rows.
        cubes: the cells that slice sets are sums of.
        offsets: the number of the first slice of each slice set, and after the last the number of all slices.
        options: limits.
    """
    sums: dict[str, AnySums] = {}
    for statistic in statistics:
        if statistic.form == "scores":
            sums[statistic.identity] = _scores(_with_amounts(statistic, rows), cubes, offsets, options)
        else:
            sums[statistic.identity] = _fields(statistic, rows, cubes, offsets, options)
    return sums


def _fields(
    statistic: Statistic, rows: Rows, cubes: Sequence[Cube], offsets: Sequence[int], options: Options
) -> FieldSums:
    parts: dict[str, NDArray[Any]] = {}
    for cube in cubes:
        cells = _cell_sums(statistic, rows, cube, options)
        for roll_up in cube.roll_ups:
            start, size = offsets[roll_up.slice_set], len(roll_up.keys)
            for name, values in _at_slice_pivots(statistic, cells, roll_up.slices, size).items():
                if name not in parts:
                    parts[name] = np.zeros((offsets[-1], *values.shape[1:]), dtype=values.dtype)
                whole = parts[name][start : start + size]
                whole[...] = values if name == "pivot" else _rolled(values, roll_up.slices, size, name == "largest")
    square = None if rows.group is not None else parts["square"]
    largest = parts.get("largest")
    if largest is not None and largest.ndim == 3:
        largest = largest.max(axis=1)
    return FieldSums(parts["count"], parts["total"], square, largest, parts.get("pivot"))


def _at_slice_pivots(
    statistic: Statistic, cells: FieldSums, slices: NDArray[np.int32], size: int
) -> dict[str, NDArray[Any]]:
    """Moves the sums of cells to a pivot in the middle of their slice's, so that they add; returns the arrays."""
    pivot = None
    if cells.pivot is not None:
        rows = cells.count.reshape(len(slices), -1).sum(1).astype(np.float64)
        inside = slices >= 0
        total = np.bincount(slices[inside], weights=(cells.pivot * rows)[inside], minlength=size)
        pivot = _eight_bits(total / np.maximum(np.bincount(slices[inside], weights=rows[inside], minlength=size), 1))
        cells = cells.at_pivot(statistic, pivot[np.maximum(slices, 0)])
    arrays = {name: getattr(cells, name) for name in ("count", "total", "square", "largest")}
    return {name: array for name, array in {**arrays, "pivot": pivot}.items() if array is not None}


def _eight_bits(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rounds to eight bits, so that subtracting a value, and moving sums to another, is exact for whole numbers."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.round(mantissa * 256), exponent - 8)


def _cell_pivots(rows: Rows, cube: Cube) -> NDArray[np.float64]:
    """Returns a value near the labels of each cell, so that moments of large numbers keep their precision."""
    sums = np.bincount(cube.codes, weights=_pick(rows.label, cube), minlength=cube.cells)
    return _eight_bits(sums / np.maximum(np.bincount(cube.codes, minlength=cube.cells), 1))


def _cell_sums(statistic: Statistic, rows: Rows, cube: Cube, options: Options) -> FieldSums:
    codes, cells = cube.codes, cube.cells
    taken = _taken(rows, cube)
    pivot = _cell_pivots(rows, cube) if statistic.pivoted else np.zeros(cells)
    repeated = pivot
    if rows.group is not None:
        codes, cells = codes * np.int32(GROUPS) + _pick(rows.group, cube), cells * GROUPS
        repeated = np.repeat(pivot, GROUPS)
    squares = rows.group is None and statistic.form == "sums"
    sums = kernels.field_sums(
        statistic,
        taken,
        codes,
        cells,
        _pick(rows.weight, cube),
        squares=squares,
        pivot=repeated,
        chunk_rows=options.chunk_rows,
    )
    if rows.group is not None:
        sums = {name: array.reshape(cube.cells, GROUPS, *array.shape[1:]) for name, array in sums.items()}
    square, largest = sums.get("square"), sums.get("largest")
    return FieldSums(sums["count"], sums["total"], square, largest, pivot if statistic.pivoted else None)


def _pick(array: Any, cube: Cube) -> Any:
    return array if array is None or cube.rows is None else array[cube.rows]


def _taken(rows: Rows, cube: Cube) -> dict[str, Any]:
    columns = {name: _pick(values, cube) for name, values in rows.columns.items()}
    roles = {name: _pick(getattr(rows, name), cube) for name in ("label", "score", "prediction")}
    return {**roles, "columns": columns}


def _rolled(cells: NDArray[Any], slices: NDArray[np.int32], size: int, largest: bool) -> NDArray[Any]:
    """Adds cells up to slices, or takes the largest."""
    if not size:
        return np.zeros((0, *cells.shape[1:]), dtype=cells.dtype)
    if len(slices) == size and np.array_equal(slices, np.arange(size)):
        return cells
    if cells[0].size > _WIDE_CELL and not largest:
        result: NDArray[Any] = np.zeros((size, *cells.shape[1:]), dtype=cells.dtype)
        for cell in np.flatnonzero(slices >= 0):
            result[slices[cell]] += cells[cell]
        return result
    inside = np.flatnonzero(slices >= 0)
    order = inside[np.argsort(slices[inside], kind="stable")]
    starts = np.searchsorted(slices[order], np.arange(size))
    add = np.maximum if largest else np.add
    return np.asarray(add.reduceat(cells[order], starts, axis=0))


def _with_amounts(statistic: Statistic, rows: Rows) -> Rows:
    """Puts the amounts that a histogram adds up, where it adds more than weights, in the place of the weights."""
    batch = Batch(rows.label, rows.score, rows.prediction, rows.columns)
    amounts = statistic.function(batch, **statistic.parameters)[2:]
    if not amounts:
        return rows
    weight = np.ones(rows.n) if rows.weight is None else rows.weight
    return replace(rows, weight=weight * amounts[0], square=weight**2 * amounts[1])


def _scores(rows: Rows, cubes: Sequence[Cube], offsets: Sequence[int], options: Options) -> ScoreSums:
    members = sum(len(cube.codes) * len(cube.roll_ups) for cube in cubes)
    entry = _ENTRY_BYTES + (32 if rows.weight is not None else 0) + (4 if rows.group is not None else 0)
    if rows.score is None:
        raise ValueError("a histogram of scores needs scores")
    if members * entry <= options.budget_bytes:
        return _sorted_scores(rows, cubes, offsets, 0)
    lowest, highest = _key_range(rows)
    cells = max(cube.cells for cube in cubes) * 2
    bits = 8 * rows.score.dtype.itemsize
    shift = next(
        (s for s in range(bits) if ((highest >> s) - (lowest >> s) + 1) * cells <= _MOST_BINNED_CELLS), bits - 1
    )
    if rows.group is not None or rows.square is not None:
        return _sorted_scores(rows, cubes, offsets, shift)
    return _binned_scores(
        rows, cubes, offsets, shift, lowest >> shift, (highest >> shift) - (lowest >> shift) + 1, options
    )


def _key_range(rows: Rows) -> tuple[int, int]:
    if rows.score is None:
        raise ValueError("no scores")
    ends = np.array([rows.score.min(), rows.score.max()], dtype=rows.score.dtype)
    low, high = score_keys.keys(ends, rows.probabilities)
    return int(low), int(high)


def _sorted_scores(rows: Rows, cubes: Sequence[Cube], offsets: Sequence[int], shift: int) -> ScoreSums:
    """Sorts the rows by score once, then each slice set stably by slice: equal scores stand together."""
    if rows.score is None or rows.label is None:
        raise ValueError("a histogram of scores needs scores and labels")
    keys = score_keys.keys(rows.score, rows.probabilities)
    if shift:
        keys = keys >> shift
    order = np.argsort(keys) if rows.group is None else np.lexsort((rows.group, keys))
    parts: dict[int, ScoreSums] = {}
    for cube in cubes:
        rank_order, of_rows = _member_order(cube, order)
        codes, key, label = cube.codes[rank_order], keys[of_rows], rows.label[of_rows]
        weight = None if rows.weight is None else rows.weight[of_rows]
        square = None if rows.square is None else rows.square[of_rows]
        group = None if rows.group is None else rows.group[of_rows]
        for roll_up in cube.roll_ups:
            slices = roll_up.slices[codes]
            by_slice = _stable_order(slices, len(roll_up.keys))
            parts[roll_up.slice_set] = _entries(
                *(
                    None if a is None else a if by_slice is None else a[by_slice]
                    for a in (slices, key, label, weight, square, group)
                ),
                offset=offsets[roll_up.slice_set],
                rows=rows,
                shift=shift,
                size=offsets[-1],
            )
    return _concatenated([parts[index] for index in sorted(parts)])


def _member_order(cube: Cube, order: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the members of a cube in the order of their rows' scores, and those rows."""
    if cube.rows is None:
        return order, order
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    members = np.argsort(rank[cube.rows], kind="stable")
    return members, cube.rows[members]


def _stable_order(slices: NDArray[np.int32], size: int) -> NDArray[np.int64] | None:
    """Returns the stable order by slice, without the members of none; NumPy sorts 16 bits by radix."""
    if size == 1 and (not len(slices) or slices.min() == 0):
        return None
    narrow = slices.astype(np.int16) if size < 2**15 else slices
    order = np.argsort(narrow, kind="stable")
    outside = int(np.count_nonzero(slices < 0))
    return order[outside:]


def _entries(
    slices: Any,
    keys: Any,
    labels: Any,
    weight: Any,
    square: Any,
    groups: Any,
    *,
    offset: int,
    rows: Rows,
    shift: int,
    size: int,
) -> ScoreSums:
    """Counts equal neighbours; everything is sorted by slice, key and group."""
    n = len(keys)
    new = np.empty(n, dtype=bool)
    new[:1] = True
    new[1:] = (slices[1:] != slices[:-1]) | (keys[1:] != keys[:-1])
    if groups is not None:
        new[1:] |= groups[1:] != groups[:-1]
    starts = np.flatnonzero(new)

    def by_label(values: Any) -> NDArray[Any]:
        if not n:
            return np.zeros((0, 2), dtype=values.dtype)
        positive = np.add.reduceat(np.where(labels == 1, values, values.dtype.type(0)), starts)
        negative = np.add.reduceat(np.where(labels == 1, values.dtype.type(0), values), starts)
        return np.stack([negative, positive], axis=1)

    if n:
        positives = np.add.reduceat(labels, starts, dtype=np.int64)
        count = np.stack([np.diff(np.append(starts, n)) - positives, positives], axis=1)
    else:
        count = np.zeros((0, 2), dtype=np.int64)
    if rows.score is None:
        raise ValueError("no scores")
    return ScoreSums(
        slices=(slices[starts] + offset).astype(np.int32),
        keys=keys[starts].astype(np.int64),
        groups=None if groups is None else groups[starts],
        count=count,
        total=None if weight is None else by_label(weight),
        square=None if weight is None else by_label(weight**2 if square is None else square),
        shift=shift,
        dtype=str(rows.score.dtype),
        probabilities=rows.probabilities,
        size=size,
    )


def _concatenated(parts: Sequence[ScoreSums]) -> ScoreSums:
    first = parts[0]
    if len(parts) == 1:
        return first
    names = ("slices", "keys", "groups", "count", "total", "square")
    joined: dict[str, Any] = {
        name: None if getattr(first, name) is None else np.concatenate([getattr(part, name) for part in parts])
        for name in names
    }
    return ScoreSums(**joined, shift=first.shift, dtype=first.dtype, probabilities=first.probabilities, size=first.size)


def _binned_scores(
    rows: Rows, cubes: Sequence[Cube], offsets: Sequence[int], shift: int, lowest: int, bins: int, options: Options
) -> ScoreSums:
    parts: dict[int, ScoreSums] = {}
    if rows.score is None or rows.label is None:
        raise ValueError("a histogram of scores needs scores and labels")
    for cube in cubes:
        cells = kernels.score_bins(
            _pick(rows.score, cube),
            _pick(rows.label, cube),
            cube.codes,
            cube.cells,
            _pick(rows.weight, cube),
            shift=shift,
            lowest=lowest,
            bins=bins,
            probabilities=rows.probabilities,
            chunk_rows=options.chunk_rows,
        )
        for roll_up in cube.roll_ups:
            sums = {n: _rolled(a, roll_up.slices, len(roll_up.keys), largest=False) for n, a in cells.items()}
            flat = {name: array.reshape(-1, 2) for name, array in sums.items()}
            held = np.flatnonzero(flat["count"][:, 0] | flat["count"][:, 1])
            slices, keys = np.divmod(held.astype(np.int32), np.int32(bins))
            parts[roll_up.slice_set] = ScoreSums(
                slices=slices + np.int32(offsets[roll_up.slice_set]),
                keys=keys.astype(np.int64) + lowest,
                groups=None,
                count=flat["count"][held].astype(np.int64),
                total=flat["total"][held] if "total" in flat else None,
                square=flat["square"][held] if "square" in flat else None,
                shift=shift,
                dtype=str(rows.score.dtype),
                probabilities=rows.probabilities,
                size=offsets[-1],
            )
    return _concatenated([parts[index] for index in sorted(parts)])
