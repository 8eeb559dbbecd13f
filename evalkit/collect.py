"""From rows to the sums of every statistic in every slice.

Slices of all sets stand one after another, numbered through; each statistic is collected once, however many metrics
read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit import kernels, score_keys
from evalkit.compilation import scoped
from evalkit.dense_scores import resolution, score_sums_of
from evalkit.engines import mesh
from evalkit.needs import Need, first_called
from evalkit.score_bins import ScoreBins, keys_in_order, sampled
from evalkit.slicing.cubes import Cube, RollUp
from evalkit.statistic import Batch, Statistic
from evalkit.sums import AnySums, FieldSums, ScoreSums

if TYPE_CHECKING:
    from numpy.typing import NDArray

GROUPS = 256
BUDGET_BYTES = 512 * 2**20
_ENTRY_BYTES = 4 + 8 + 16
_LEAST_GROUPED = 64
SAMPLE_ROWS = 1 << 19
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
        devices: of this process, over which rows that are read part by part are spread.
    """

    budget_bytes: int = BUDGET_BYTES
    chunk_rows: int = kernels.CHUNK_ROWS
    devices: int = 1


def collect(
    needs: Sequence[Need], rows: Rows, cubes: Sequence[Cube], offsets: Sequence[int], options: Options
) -> dict[str, AnySums]:
    """Returns the sums of each statistic by its identity.

    Args:
        needs: each statistic once.
        rows: the rows.
        cubes: the cells that slice sets are sums of.
        offsets: the number of the first slice of each slice set, and after the last the number of all slices.
        options: limits.
    """
    sums: dict[str, AnySums] = {}
    for need in needs:
        statistic = need.statistic
        if need.cells is not None:
            continue
        if statistic.form == "scores":
            sums[statistic.identity] = _scores(with_amounts(statistic, rows), cubes, offsets, options)
        else:
            cells = ((cell_sums(need, rows, cube, options), cube.roll_ups) for cube in cubes)
            sums[statistic.identity] = slice_sums(statistic, cells, offsets)
    return in_order(needs, sums)


def in_order(needs: Sequence[Need], sums: dict[str, AnySums]) -> dict[str, AnySums]:
    """Returns the sums of all needs in their order, those that follow from counts made of them."""
    of_statistic = {need.statistic.identity: need for need in needs}

    def made(need: Need) -> AnySums:
        if need.cells is None:
            return sums[need.statistic.identity]
        counts = made(of_statistic[need.cells.identity])
        return from_cells(need, counts) if isinstance(counts, FieldSums) else from_scores(need, counts)

    return {identity: made(need) for identity, need in of_statistic.items()}


def from_scores(need: Need, scores: ScoreSums) -> FieldSums:
    """Returns the counts of decisions at a threshold from the histogram of scores, of rows without units.

    Args:
        need: the counts; their threshold is an edge of the bins, where scores are binned.
        scores: of each slice.
    """
    first = first_called(need.statistic, scores.dtype, scores.probabilities)
    if first is None:
        raise ValueError("these decisions do not follow from scores")
    count, *weighted = (
        np.stack([below[:, 0], above[:, 0], below[:, 1], above[:, 1]], axis=1)
        for below, above in scores.split_at(first)
    )
    total, square = weighted or (count.astype(np.float64), count.astype(np.float64))
    return FieldSums(count, total, square)


def from_cells(need: Need, counts: FieldSums) -> FieldSums:
    """Returns the sums of a statistic whose rows all add the same in a cell, from the counts of the cells.

    Args:
        need: the statistic; it has one cell, or reads label and decision alone.
        counts: by label and decision, of rows without weights unless the statistic has one cell.
    """
    rows = counts.count.sum(-1, keepdims=True)
    if need.statistic.form == "cells":
        square = None if counts.square is None else counts.square.sum(-1, keepdims=True)
        return FieldSums(rows, counts.total.sum(-1, keepdims=True), square)
    ways = np.array([0, 0, 1, 1], dtype=np.int8), np.array([0, 1, 0, 1], dtype=np.int8)
    with scoped():
        alone = need.statistic.bind(threshold=None)
        values = np.asarray(alone.rows(Batch(label=ways[0], prediction=ways[1])), dtype=np.float64)
    square = largest = None
    if not counts.clustered:
        square = np.zeros((len(rows), values.shape[1], values.shape[1]))
        for i, j in need.products:
            square[:, i, j] = square[:, j, i] = counts.total @ (values[:, i] * values[:, j])
    if need.largest:
        held = counts.margin().count > 0
        largest = np.full((len(rows), values.shape[1]), np.nan)
        for i in need.largest:
            largest[:, i] = np.where(held, np.abs(values[:, i]), 0.0).max(axis=1)
    return FieldSums(rows, counts.total @ values, square, largest)


def slice_sums(
    statistic: Statistic, of_cubes: Iterable[tuple[FieldSums, Sequence[RollUp]]], offsets: Sequence[int]
) -> FieldSums:
    """Returns the sums of every slice from the sums of each cube's cells.

    Args:
        statistic: that was summed.
        of_cubes: for each cube the sums of its cells, and how they add up to slices.
        offsets: the number of the first slice of each slice set, and after the last the number of all slices.
    """
    parts: dict[str, NDArray[Any]] = {}
    for cells, roll_ups in of_cubes:
        for roll_up in roll_ups:
            start, size = offsets[roll_up.slice_set], len(roll_up.keys)
            for name, values in _at_slice_pivots(statistic, cells, roll_up.slices, size).items():
                if name not in parts:
                    parts[name] = np.zeros((offsets[-1], *values.shape[1:]), dtype=values.dtype)
                whole = parts[name][start : start + size]
                whole[...] = values if name == "pivot" else _rolled(values, roll_up.slices, size, name == "largest")
    names = ("count", "total", "square", "largest", "pivot")
    return FieldSums(*(parts.get(name) for name in names))  # type: ignore[arg-type]


def _at_slice_pivots(
    statistic: Statistic, cells: FieldSums, slices: NDArray[np.int32], size: int
) -> dict[str, NDArray[Any]]:
    """Moves the sums of cells to a pivot in the middle of their slice's, so that they add; returns the arrays."""
    pivot = None
    if cells.pivot is not None:
        rows = cells.count.reshape(len(slices), -1).sum(1).astype(np.float64)
        inside = slices >= 0
        total = np.bincount(slices[inside], weights=(cells.pivot * rows)[inside], minlength=size)
        pivot = _rounded(total / np.maximum(np.bincount(slices[inside], weights=rows[inside], minlength=size), 1))
        cells = cells.at_pivot(statistic, pivot[np.maximum(slices, 0)])
    arrays = {name: getattr(cells, name) for name in ("count", "total", "square", "largest")}
    return {name: array for name, array in {**arrays, "pivot": pivot}.items() if array is not None}


def _rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rounds to whole numbers, below 256 to eight bits, so that subtracting a pivot, or moving to it, is exact."""
    mantissa, exponent = np.frexp(values)
    return np.where(np.abs(values) < 256, np.ldexp(np.round(mantissa * 256), exponent - 8), np.round(values))


def cell_pivots(rows: Rows, cube: Cube) -> NDArray[np.float64]:
    """Returns a value near the labels of each cell, so that moments of large numbers keep their precision."""
    sums = np.bincount(cube.codes, weights=_pick(rows.label, cube), minlength=cube.cells)
    return _rounded(sums / np.maximum(np.bincount(cube.codes, minlength=cube.cells), 1))


def cell_sums(
    need: Need, rows: Rows, cube: Cube, options: Options, pivot: NDArray[np.float64] | None = None
) -> FieldSums:
    """Returns the sums of each cell of a cube.

    Args:
        need: the statistic, of the form `sums` or `cells`.
        rows: the rows.
        cube: their cells.
        options: limits.
        pivot: [cells], for statistics that have one; by default near the labels of the cell.
    """
    statistic, codes, cells = need.statistic, cube.codes, cube.cells
    if not statistic.pivoted:
        pivot = np.zeros(cells)
    elif pivot is None:
        pivot = cell_pivots(rows, cube)
    repeated = pivot
    if rows.group is not None:
        codes, cells = codes * np.int32(GROUPS) + _pick(rows.group, cube), cells * GROUPS
        repeated = np.repeat(pivot, GROUPS)
    sums = mesh.field_sums_on(options.devices)(
        statistic,
        _taken(rows, cube),
        codes,
        cells,
        _pick(rows.weight, cube),
        products=need.products if rows.group is None else (),
        largest=need.largest,
        pivot=repeated,
        chunk_rows=options.chunk_rows,
    )
    if rows.group is not None:
        sums.pop("square", None)
        sums = {name: array.reshape(cube.cells, GROUPS, *array.shape[1:]) for name, array in sums.items()}
    largest = sums.get("largest")
    if largest is not None and largest.ndim == 3:
        largest = largest.max(axis=1)
    return FieldSums(sums["count"], sums["total"], sums.get("square"), largest, pivot if statistic.pivoted else None)


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


def with_amounts(statistic: Statistic, rows: Rows) -> Rows:
    """Returns the rows with the amounts that a histogram adds up, where it adds more than weights, in their place."""
    batch = Batch(rows.label, rows.score, rows.prediction, rows.columns)
    amounts = statistic.function(batch, **statistic.parameters)[2:]
    if not amounts:
        return rows
    weight = np.ones(rows.n) if rows.weight is None else rows.weight
    return replace(rows, weight=weight * amounts[0], square=weight**2 * amounts[1])


def entry_bytes(*, weighted: bool, grouped: bool) -> int:
    """Returns the memory that an entry of a histogram takes."""
    return _ENTRY_BYTES + (32 if weighted else 0) + (4 if grouped else 0)


def _scores(rows: Rows, cubes: Sequence[Cube], offsets: Sequence[int], options: Options) -> ScoreSums:
    members = sum(len(cube.codes) * len(cube.roll_ups) for cube in cubes)
    entry = entry_bytes(weighted=rows.weight is not None, grouped=rows.group is not None)
    if members * entry <= options.budget_bytes:
        return _sorted_scores(rows, cubes, offsets, None)
    if members * entry * _distinct_share(rows) <= options.budget_bytes:
        exact = _sorted_scores(rows, cubes, offsets, None)
        if len(exact.keys) * entry <= options.budget_bytes:
            return exact
    cells = max(cube.cells for cube in cubes)
    most = resolution(cells, weighted=rows.weight is not None, budget_bytes=options.budget_bytes)
    bins = sampled_bins(rows, most, sparing=True)
    dense = _sorted_scores if rows.square is not None else _binned_scores
    if rows.group is None:
        return dense(rows, cubes, offsets, bins, options)
    fine = dense(replace(rows, group=None), cubes, offsets, bins, options)
    most = grouped_resolution(offsets[-1], entry_bytes=entry, budget_bytes=options.budget_bytes)
    return replace(_sorted_scores(rows, cubes, offsets, sampled_bins(rows, most), options), fine=fine)


def _distinct_share(rows: Rows) -> float:
    """Returns how many scores of a thousandth of the rows, a thousand at least, are distinct, as a share."""
    score, _ = _scored(rows)
    some = score[:: max(1, min(1000, rows.n // 1000))]
    return len(np.unique(some)) / len(some)


def grouped_resolution(slices: int, *, entry_bytes: int, budget_bytes: int) -> int:
    """Returns how finely scores are binned where each bin holds groups of units: 64 to 256 bins that fit the memory.

    >>> grouped_resolution(1, entry_bytes=32, budget_bytes=1 << 29)
    256
    """
    most = 256
    while most > _LEAST_GROUPED and slices * GROUPS * most * entry_bytes > budget_bytes / 2:
        most //= 2
    return most


def sampled_bins(rows: Rows, most: int, *, sparing: bool = False) -> ScoreBins:
    """Returns bins from rows spread evenly over all; see `score_bins.sampled`."""
    score, label = _scored(rows)
    every = max(1, -(-rows.n // SAMPLE_ROWS))
    keys, labels = keys_in_order(score_keys.keys(score[::every], rows.probabilities), label[::every])
    return sampled(keys, labels, most, str(score.dtype), rows.probabilities, sparing=sparing)


def _scored(rows: Rows) -> tuple[NDArray[Any], NDArray[Any]]:
    if rows.score is None or rows.label is None:
        raise ValueError("a histogram of scores needs scores and labels")
    return rows.score, rows.label


def _sorted_scores(
    rows: Rows,
    cubes: Sequence[Cube],
    offsets: Sequence[int],
    bins: ScoreBins | None,
    options: Options | None = None,  # noqa: ARG001 - as for _binned_scores
) -> ScoreSums:
    """Sorts the rows by score once, then each slice set stably by slice: equal scores stand together."""
    score, label = _scored(rows)
    keys = score_keys.keys(score, rows.probabilities)
    if bins is not None:
        keys = bins.starts[bins.of(keys)]
    order = np.argsort(keys) if rows.group is None else np.lexsort((rows.group, keys))
    parts: dict[int, ScoreSums] = {}
    for cube in cubes:
        rank_order, of_rows = _member_order(cube, order)
        codes, key = cube.codes[rank_order], keys[of_rows]
        taken = (None if a is None else a[of_rows] for a in (label, rows.weight, rows.square, rows.group))
        columns = (key, *taken)
        for roll_up in cube.roll_ups:
            slices = roll_up.slices[codes]
            by_slice = _stable_order(slices, len(roll_up.keys))
            parts[roll_up.slice_set] = _entries(
                *(None if a is None else a if by_slice is None else a[by_slice] for a in (slices, *columns)),
                offset=offsets[roll_up.slice_set],
                rows=rows,
                bins=bins,
                size=offsets[-1],
            )
    return concatenated([parts[index] for index in sorted(parts)])


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
    bins: ScoreBins | None,
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
        bins=bins,
        dtype=str(rows.score.dtype),
        probabilities=rows.probabilities,
        size=size,
    )


def concatenated(parts: Sequence[ScoreSums]) -> ScoreSums:
    """Returns the entries of parts that are about slices one after another."""
    first = parts[0]
    if len(parts) == 1:
        return first
    names = ("slices", "keys", "groups", "count", "total", "square")
    joined: dict[str, Any] = {
        name: None if getattr(first, name) is None else np.concatenate([getattr(part, name) for part in parts])
        for name in names
    }
    return replace(first, **joined)


def _binned_scores(
    rows: Rows, cubes: Sequence[Cube], offsets: Sequence[int], bins: ScoreBins, options: Options
) -> ScoreSums:
    """Counts rows by cell and bin, a cube after another."""
    score, label = _scored(rows)
    how = bins.lookup()._asdict()

    def counted() -> Iterator[tuple[dict[str, NDArray[Any]], Sequence[RollUp]]]:
        for cube in cubes:
            given = (_pick(score, cube), _pick(label, cube), cube.codes, cube.cells, _pick(rows.weight, cube))
            dense = kernels.score_bins(
                *given, **how, bins=len(bins), probabilities=rows.probabilities, chunk_rows=options.chunk_rows
            )
            yield dense, cube.roll_ups

    return score_sums_of(counted(), bins, offsets)
