"""From dense histograms of cells to those of slices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
_NARROW = 1024
_SMALL = 1 << 18
_SPARSE = 1 / 4

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
    """Returns the histogram of every slice from the dense histograms of each cube's cells; a table if large and full.

    Args:
        of_cubes: for each cube its arrays by name, `count` [cells, bins, 2] and with weights `total` and `square`, and
            how cells add up to slices. Cells beyond those of the roll-ups must hold nothing.
        bins: of the scores.
        offsets: the number of the first slice of each slice set, and after the last the number of all slices.
    """
    table: dict[str, NDArray[Any]] = {}
    for dense, roll_ups in of_cubes:
        for name, array in dense.items():
            if name not in table:
                table[name] = np.zeros((offsets[-1], len(bins), 2), dtype=array.dtype)
            elif array.dtype != table[name].dtype:
                table[name] = table[name].astype(np.promote_types(array.dtype, table[name].dtype))
            for roll_up in roll_ups:
                first = offsets[roll_up.slice_set]
                _add_cells(array, roll_up, table[name][first : first + len(roll_up.keys)])
    sums = ScoreSums.of_table(table, bins)
    size = offsets[-1] * len(bins)
    return sums if size > _SMALL and sums.entries > size * _SPARSE else sums.laid_out()


def _add_cells(array: NDArray[Any], roll_up: RollUp, slices: NDArray[Any]) -> None:
    """Adds cells [cells, bins, 2] up to slices [slices, bins, 2]; where each stands alone there is nothing to add."""
    inside = np.flatnonzero(roll_up.slices >= 0)
    order = inside[np.argsort(roll_up.slices[inside], kind="stable")]
    edges = np.searchsorted(roll_up.slices[order], np.arange(len(roll_up.keys) + 1))
    if (np.diff(edges) == 1).all():
        array.take(order, axis=0, out=slices, mode="clip")
    elif array[0].size < _NARROW:
        held = np.flatnonzero(np.diff(edges))
        slices[held] = np.add.reduceat(array[order], edges[held], axis=0, dtype=array.dtype)
    else:
        for place, (low, high) in enumerate(pairwise(edges)):
            for cell in order[low:high]:
                slices[place] += array[cell]
