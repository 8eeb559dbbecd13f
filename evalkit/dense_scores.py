"""From dense histograms of cells to the entries of slices, a few slices at a time so that memory stays small."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.score_bins import ScoreBins
from evalkit.score_sums import ScoreSums
from evalkit.slicing.cubes import RollUp

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_BINS = 1 << 14
_LEAST_BINS = 16
_FINISHED_BYTES = 96
_WIDE = 512
_BLOCK = 1 << 18

Dense = Mapping[str, "NDArray[Any]"]


def resolution(cells: int, *, weighted: bool, budget_bytes: int) -> int:
    """Returns how finely scores are binned (`most` of `balanced`) so that dense histograms of cells fit the memory.

    At most 16,384; less where there are so many cells that finishing their entries would take more memory.

    Args:
        cells: the number of cells.
        weighted: whether weights and their squares are summed too.
        budget_bytes: the memory there is; half of it is used, for bins may be twice as many.

    >>> resolution(1, weighted=False, budget_bytes=1 << 29), resolution(500, weighted=True, budget_bytes=1 << 29)
    (16384, 11184)
    """
    bytes_of_bin = cells * max(2 * 2 * (20 if weighted else 4), _FINISHED_BYTES)
    return max(_LEAST_BINS, min(MOST_BINS, budget_bytes // max(bytes_of_bin, 1)))


def score_sums_of(
    of_cubes: Iterable[tuple[Dense, Sequence[RollUp]]], bins: ScoreBins, offsets: Sequence[int]
) -> ScoreSums:
    """Returns the histogram of every slice from the dense histograms of each cube's cells.

    Args:
        of_cubes: for each cube its arrays by name, `count` [cells, bins, 2] and with weights `total` and `square`, and
            how cells add up to slices. Cells beyond those of the roll-ups must hold nothing.
        bins: of the scores.
        offsets: the number of the first slice of each slice set, and after the last the number of all slices.
    """
    parts: dict[int, dict[str, NDArray[Any]]] = {}
    for dense, roll_ups in of_cubes:
        for run in runs(roll_ups):
            parts[run[0].slice_set] = _entries(dense, run, bins, offsets)
    joined: dict[str, Any] = {"total": None, "square": None}
    for name in list(parts[min(parts)]):
        arrays = [parts[index].pop(name) for index in sorted(parts)]
        joined[name] = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    numbers = joined.pop("numbers")
    sums = ScoreSums(
        **joined, groups=None, bins=bins, dtype=bins.dtype, probabilities=bins.probabilities, size=offsets[-1]
    )
    return sums.with_bins(numbers)


def runs(roll_ups: Sequence[RollUp]) -> list[list[RollUp]]:
    """Returns the roll-ups in order of their slice sets, those of sets that follow each other together."""
    runs: list[list[RollUp]] = []
    for roll_up in sorted(roll_ups, key=lambda r: r.slice_set):
        if runs and roll_up.slice_set == runs[-1][-1].slice_set + 1:
            runs[-1].append(roll_up)
        else:
            runs.append([roll_up])
    return runs


def _entries(
    dense: Dense, roll_ups: Sequence[RollUp], bins: ScoreBins, offsets: Sequence[int]
) -> dict[str, NDArray[Any]]:
    """Returns the entries of slice sets that follow each other; memory that is not written to is not taken."""
    most = sum(len(roll_up.keys) for roll_up in roll_ups) * len(bins)
    types = {"count": np.int64, "total": np.float64, "square": np.float64}
    found: dict[str, NDArray[Any]] = {name: np.empty((most, 2), dtype=types[name]) for name in dense}
    found |= {"slices": np.empty(most, dtype=np.int32), "keys": np.empty(most, dtype=np.int64)}
    found["numbers"] = np.empty(most, dtype=np.int32)
    filled = 0
    for roll_up in roll_ups:
        for first, rolled in _rolled(dense, roll_up.slices, len(roll_up.keys)):
            flat = {name: array.reshape(-1, 2) for name, array in rolled.items()}
            held = np.flatnonzero(flat["count"][:, 0] | flat["count"][:, 1])
            slices, place = np.divmod(held, len(bins))
            here = slice(filled, filled + len(held))
            found["slices"][here] = slices + (first + offsets[roll_up.slice_set])
            found["keys"][here] = bins.starts.take(place)
            found["numbers"][here] = place
            for name, array in flat.items():
                found[name][here] = array.take(held, axis=0)
            filled = here.stop
    return {name: array[:filled] for name, array in found.items()}


def _rolled(dense: Dense, slices: NDArray[np.int32], size: int) -> Iterator[tuple[int, dict[str, NDArray[Any]]]]:
    """Yields the first slice of each block and the block's arrays [slices, bins, 2]."""
    cells = len(slices)
    inside = np.flatnonzero(slices >= 0)
    order = inside[np.argsort(slices[inside], kind="stable")]
    starts = np.searchsorted(slices[order], np.arange(size + 1))
    width = next(iter(dense.values()))[0].size // 2
    step = max(1, _BLOCK * size // max(cells * width, 1)) if width < _WIDE else max(1, _BLOCK // width)
    for first in range(0, size, step):
        last = min(first + step, size)
        own = order[starts[first] : starts[last]]
        edges = starts[first : last + 1] - starts[first]
        yield first, {name: _added(array, own, edges) for name, array in dense.items()}


def _added(array: NDArray[Any], cells: NDArray[np.int64], edges: NDArray[np.int64]) -> NDArray[Any]:
    """Adds cells up between edges; where each stands alone there is nothing to add."""
    if (np.diff(edges) == 1).all():
        return array.take(cells, axis=0)
    wide = np.int64 if array.dtype.kind == "i" else np.float64
    if array[0].size < 2 * _WIDE:
        return np.add.reduceat(array[cells], edges[:-1], axis=0, dtype=wide)
    result = np.zeros((len(edges) - 1, *array.shape[1:]), dtype=wide)
    for place, (low, high) in enumerate(pairwise(edges)):
        for cell in cells[low:high]:
            result[place] += array[cell]
    return result
