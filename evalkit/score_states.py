"""Histograms of scores that grow as rows stream by: every distinct score while there are few, balanced bins beyond.

Which of the two the answer is depends on all the rows together, not on how they were split: scores are kept apart
exactly where the entries of the whole fit the memory budget.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit import score_keys
from evalkit.collect import GROUPS, Rows, concatenated, entry_bytes
from evalkit.dense_scores import score_sums_of
from evalkit.engines import mesh
from evalkit.score_counts import ScoreCounts
from evalkit.score_sums import ScoreSums, regroup
from evalkit.slicing.cubes import Cube, RollUp

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evalkit.score_bins import ScoreBins

    Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Resolution:
    """How finely scores are kept apart; the same for every part of the data.

    Attributes:
        bins: where scores are cut once distinct ones take more memory than the budget.
        coarse: of clustered rows, where they are cut to tell groups apart.
        exact: whether distinct scores are kept until then.
        dtype: the scores' own, `float32` or `float64`.
        probabilities: how keys are made.
        budget_bytes: the memory that distinct scores may take.
    """

    bins: ScoreBins
    coarse: ScoreBins
    exact: bool
    dtype: str
    probabilities: bool
    budget_bytes: int


@dataclass
class ScoreState:
    """The histogram of one statistic in the cells of one cube.

    Attributes:
        resolution: how finely.
        sets: how many slice sets are sums of these cells.
        cells: how many cells there are so far.
        entries: distinct scores by cell, in parts that are not added up yet; None once they were too many.
        counts: rows by cell and bin.
        by_group: rows by cell and group, and coarse bin.
        devices: of this process, over which rows that are binned are spread.
    """

    resolution: Resolution
    sets: int
    cells: int = 0
    entries: list[ScoreSums] | None = None
    counts: ScoreCounts | None = None
    by_group: ScoreCounts | None = None
    devices: int = 1
    _settled: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        if self.resolution.exact and self.counts is None and self.entries is None:
            self.entries = []

    # --- adding rows ---

    def update(self, rows: Rows, cube: Cube) -> None:
        """Adds rows.

        Args:
            rows: with the amounts that are added up as weights.
            cube: their cells, of which there may be more than before.
        """
        self.cells = max(self.cells, cube.cells)
        taken = _members(rows, cube)
        if self.entries is not None:
            self.entries.append(self._distinct(taken, cube.codes))
            self._settle()
            return
        label, score, weight, square, group = taken
        counts, by_group = self._dense(weight is not None, group is not None)
        counts.add(score, label, cube.codes, weight, cube.cells, square)
        if by_group is not None:
            codes = cube.codes * np.int32(GROUPS) + group
            by_group.add(score, label, codes, weight, cube.cells * GROUPS, square)

    def _distinct(self, members: tuple[Any, ...], codes: NDArray[np.int32]) -> ScoreSums:
        label, score, weight, square, group = members
        each = np.stack([label == 0, label == 1], axis=1)
        keys = score_keys.keys(score, self.resolution.probabilities)
        return regroup(
            ScoreSums(
                slices=codes,
                keys=keys.astype(np.int64),
                groups=group,
                count=each.astype(np.int64),
                total=None if weight is None else each * weight[:, None],
                square=None if weight is None else each * (weight**2 if square is None else square)[:, None],
                bins=None,
                dtype=self.resolution.dtype,
                probabilities=self.resolution.probabilities,
                size=self.cells,
            ),
            ordered=False,
        )

    def _settle(self) -> None:
        """Adds up the parts once they are a third as many entries as there were; bins them where they do not fit."""
        if self.entries is None or len(self.entries) < 2:
            return
        held = sum(len(part.keys) for part in self.entries)
        if held < self._settled + max(self._settled // 3, 1 << 20):
            return
        if self.exact_bytes() > self.resolution.budget_bytes:
            self.bin()
        else:
            self._settled = len(self.entries[0].keys)

    def exact_bytes(self) -> float:
        """Returns the memory of distinct scores of all slice sets; infinite once they were too many.

        Every set has at most the entries of the cells.
        """
        if self.entries is None:
            return math.inf
        if not self.entries:
            return 0.0
        held = self._joined()
        each = entry_bytes(weighted=held.total is not None, grouped=held.clustered)
        return len(held.keys) * self.sets * each

    def bin(self) -> None:
        """Goes over from distinct scores to bins."""
        entries = self._joined() if self.entries else None
        self.entries = None
        if entries is not None:
            self._bin(entries)

    def _joined(self) -> ScoreSums:
        """Returns the distinct scores so far, and keeps them as one part; the parts are let go on the way."""
        parts, self.entries = self.entries or [], None
        whole = [replace(part, size=self.cells) for part in parts]
        parts.clear()
        if len(whole) > 1:
            unsorted = [concatenated(whole)]
            whole.clear()
            whole.append(regroup(unsorted.pop(), ordered=False))  # nobody else holds it: it is let go once sorted
        self.entries = whole
        return whole[0]

    def _dense(self, weighted: bool, clustered: bool) -> tuple[ScoreCounts, ScoreCounts | None]:
        """Returns the counters, made when they are first needed."""
        if self.counts is None:
            self.counts = self._counter(self.resolution.bins, weighted)
            self.by_group = self._counter(self.resolution.coarse, weighted) if clustered else None
        return self.counts, self.by_group

    def _counter(self, bins: ScoreBins, weighted: bool) -> ScoreCounts:
        return mesh.score_counts_on(self.devices)(
            bins=len(bins),
            **bins.lookup()._asdict(),
            probabilities=self.resolution.probabilities,
            weighted=weighted,
        )

    def _bin(self, entries: ScoreSums) -> None:
        """Counts distinct scores in their bins."""
        counts, by_group = self._dense(entries.total is not None, entries.clustered)
        fine = replace(entries, fine=None).margin() if entries.clustered else entries
        counts.merge(_arrays(fine.slices, fine, self.resolution.bins, self.cells), np.arange(self.cells))
        if by_group is not None and entries.groups is not None:
            cells = entries.slices.astype(np.int64) * GROUPS + entries.groups
            arrays = _arrays(cells, entries, self.resolution.coarse, self.cells * GROUPS)
            by_group.merge(arrays, np.arange(self.cells * GROUPS))

    # --- adding up ---

    def placed(self, cell_map: NDArray[np.int32], cells: int) -> ScoreState:
        """Returns the same sums with cell i moved to `cell_map[i]` among `cells`."""
        moved = ScoreState(self.resolution, self.sets, devices=self.devices)
        moved.merge(self, cell_map, cells)
        return moved

    def merge(self, other: ScoreState, cell_map: NDArray[np.int32], cells: int) -> None:
        """Adds the sums of another one.

        Args:
            other: of the same statistic, resolution and sets.
            cell_map: [other's cells] the cell here of each of them.
            cells: how many cells there are then.
        """
        self.cells = max(self.cells, cells)
        if self.entries is not None and other.entries is not None:
            self.entries += [part.place(cell_map.astype(np.int64)[: part.size], self.cells) for part in other.entries]
            self._settle()
            return
        self.bin()
        theirs = other
        if other.entries is not None:
            theirs = ScoreState(replace(self.resolution, exact=False), self.sets, other.cells)
            if other.entries:
                theirs._bin(other._joined())
        if theirs.counts is None:
            return
        self._dense(theirs.counts.weighted, theirs.by_group is not None)
        for mine_counts, their_counts, width in (
            (self.counts, theirs.counts, 1),
            (self.by_group, theirs.by_group, GROUPS),
        ):
            if mine_counts is not None and their_counts is not None:
                wide = (cell_map.astype(np.int64)[:, None] * width + np.arange(width)).reshape(-1)
                mine_counts.absorb(their_counts, wide)

    def occupied(self, cells: int) -> NDArray[np.bool_]:
        """Returns which cells hold rows, [cells]."""
        held = np.zeros(cells, dtype=bool)
        if self.counts is not None:
            count = self.counts.arrays()["count"]
            held[: len(count)] = count.any(axis=(1, 2))
        for part in self.entries or ():
            held[part.slices] = True
        return held

    def exact_sums(self, roll_ups: Sequence[RollUp], offsets: Sequence[int]) -> dict[int, ScoreSums]:
        """Returns the histograms of distinct scores of the slice sets that are sums of these cells, by set."""
        joined = self._joined()
        return {roll_up.slice_set: _rolled_up(joined, roll_up, offsets) for roll_up in roll_ups}

    # --- sending ---

    def __getstate__(self) -> dict[str, Any]:
        counters = {name: _packed(getattr(self, name)) for name in ("counts", "by_group")}
        return {**vars(self), **counters, "devices": 1}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        for name, bins in (("counts", self.resolution.bins), ("by_group", self.resolution.coarse)):
            packed = state[name]
            if packed is not None:
                counter = self._counter(bins, packed["weighted"])
                counter.merge(_unpacked(packed, len(bins)), np.arange(packed["cells"]))
                setattr(self, name, counter)


def slice_histograms(
    states: Sequence[ScoreState], roll_ups: Sequence[Sequence[RollUp]], offsets: Sequence[int]
) -> ScoreSums:
    """Returns the histogram of every slice from those of each cube's cells.

    Args:
        states: of one statistic, for each cube.
        roll_ups: how each cube's cells add up to slices.
        offsets: the number of the first slice of each slice set, and after the last the number of all slices.
    """
    resolution = states[0].resolution
    of_cubes = list(zip(states, roll_ups, strict=True))
    if sum(state.exact_bytes() for state in states) <= resolution.budget_bytes:
        exact = {k: sums for state, rolled in of_cubes for k, sums in state.exact_sums(rolled, offsets).items()}
        return concatenated([exact[number] for number in sorted(exact)])
    for state in states:
        state.bin()
    fine = score_sums_of([(_counted(s.counts), rolled) for s, rolled in of_cubes], resolution.bins, offsets)
    if states[0].by_group is None:
        return fine
    wide = ((_counted(s.by_group), [_by_group(r, GROUPS) for r in rolled]) for s, rolled in of_cubes)
    groups = score_sums_of(wide, resolution.coarse, [offset * GROUPS for offset in offsets])
    slices, group = np.divmod(groups.slices, np.int32(GROUPS))
    grouped = replace(groups, slices=slices, groups=group, size=offsets[-1], fine=fine)
    return regroup(grouped, ordered=False)


def _counted(counter: ScoreCounts | None) -> Arrays:
    if counter is None:
        raise ValueError("no rows were added")
    return counter.arrays()


def _by_group(roll_up: RollUp, groups: int) -> RollUp:
    """Returns how cells of groups add up to groups of slices."""
    own = roll_up.slices[:, None] * np.int32(groups) + np.arange(groups, dtype=np.int32)
    slices = np.where(roll_up.slices[:, None] >= 0, own, np.int32(-1)).reshape(-1)
    return RollUp(roll_up.slice_set, roll_up.keys * groups, slices)


def _members(rows: Rows, cube: Cube) -> tuple[Any, ...]:
    """Returns label, score, weight, square and group of each member."""
    arrays = (rows.label, rows.score, rows.weight, rows.square, rows.group)
    return tuple(a if a is None or cube.rows is None else a[cube.rows] for a in arrays)


def _rolled_up(entries: ScoreSums, roll_up: RollUp, offsets: Sequence[int]) -> ScoreSums:
    """Returns the histogram of the slices of a set from that of cells."""
    slices = roll_up.slices[entries.slices]
    inside = np.flatnonzero(slices >= 0)
    arrays: dict[str, Any] = {
        name: None if getattr(entries, name) is None else getattr(entries, name)[inside]
        for name in ("keys", "groups", "count", "total", "square")
    }
    moved = slices[inside] + np.int32(offsets[roll_up.slice_set])
    return regroup(replace(entries, slices=moved, size=offsets[-1], **arrays), ordered=False)


def _arrays(cells: NDArray[Any], entries: ScoreSums, bins: ScoreBins, size: int) -> Arrays:
    """Returns the entries by cell and bin, [size, bins, 2]."""
    place = cells.astype(np.int64) * len(bins) + bins.of(entries.keys)
    names = ("count",) if entries.total is None else ("count", "total", "square")
    found = {}
    for name in names:
        values = getattr(entries, name)
        flat = np.zeros((size * len(bins), 2), dtype=values.dtype)
        np.add.at(flat, place, values)
        found[name] = flat.reshape(size, len(bins), 2)
    return found


def _packed(counter: ScoreCounts | None) -> dict[str, Any] | None:
    """Returns what a counter holds, without what is 0."""
    if counter is None:
        return None
    arrays = counter.arrays()
    flat = {name: array.reshape(-1) for name, array in arrays.items()}
    place = np.flatnonzero(flat["count"])
    held = {name: array[place] for name, array in flat.items()}
    return {"weighted": counter.weighted, "cells": len(arrays["count"]), "place": place, "held": held}


def _unpacked(packed: dict[str, Any], bins: int) -> Arrays:
    arrays = {}
    for name, values in packed["held"].items():
        flat = np.zeros(packed["cells"] * bins * 2, dtype=values.dtype)
        flat[packed["place"]] = values
        arrays[name] = flat.reshape(packed["cells"], bins, 2)
    return arrays
