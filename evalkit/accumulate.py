"""Sums that grow as rows stream by, in any number of workers: update, add, evaluation.

An engine needs nothing else: each worker makes an `Accumulator` of the same `Work`, updates it with the batches of its
parts of the data, and the accumulators are added. Slices are discovered on the way; the answer does not depend on how
the rows were split.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.collect import Options, Rows, cell_pivots, cell_sums, in_order, slice_sums, with_amounts
from evalkit.errors import DataError
from evalkit.metric import Metric
from evalkit.needs import Need, by_scores, needs
from evalkit.results import Evaluation, Plan, Settings, added
from evalkit.rows import Checked, Origin, check
from evalkit.score_states import Resolution, ScoreState, slice_histograms
from evalkit.slicing.cubes import Cube
from evalkit.slicing.discover import Discovered
from evalkit.slicing.encode import DEFAULT_LIMIT, by_code, columns_of, encode, require_held
from evalkit.slicing.spec import Dimension, SliceSet
from evalkit.sums import AnySums, FieldSums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evalkit.sources.source import Batch


@dataclass(frozen=True)
class Work:
    """What is summed, the same for every part of the data; it can be sent to other processes and machines.

    Attributes:
        model: the model's name.
        metrics: names and bound metrics.
        settings: how sums are read, and which columns are.
        slice_sets: frozen slice sets, all rows first.
        cubes: for each cube its dimensions, and the indices of the sets that are sums of its cells.
        found: the values and cells of a sample, numbered alike by every worker.
        expected: the slices of each set in a sample.
        labels: the positive and the negative label, for binary tasks.
        scores: how finely scores are kept apart; None without scores.
        tie_bound: how far ties within bins may move the AUC of all rows, told by a sample.
        numeric: the columns whose slices are ordered as numbers.
        drop_invalid: whether rows with missing values are dropped, and counted, instead of refused.
        skip_damaged: whether files that cannot be read are left out, and named, instead of ending the run.
        grouped: whether rows without units are hashed into groups.
        limit: the most slices of one set.
        options: limits of memory and chunks.
        source: what the data are called.
    """

    model: str
    metrics: tuple[tuple[str, Metric], ...]
    settings: Settings
    slice_sets: tuple[SliceSet, ...]
    cubes: tuple[tuple[tuple[Dimension, ...], tuple[int, ...]], ...]
    found: Discovered
    expected: tuple[int, ...] = ()
    labels: tuple[Any, Any] | None = None
    scores: Resolution | None = None
    tie_bound: float = 0.0
    numeric: frozenset[str] = frozenset()
    drop_invalid: bool = False
    skip_damaged: bool = False
    grouped: bool = False
    limit: int = DEFAULT_LIMIT
    options: Options = field(default_factory=Options)
    source: str = ""

    @property
    def clustered(self) -> bool:
        """Whether sums are kept apart by groups of units."""
        return self.settings.clustered or self.grouped

    @functools.cached_property
    def needs(self) -> tuple[Need, ...]:
        """What is summed for the metrics and their curves."""
        scores = self.settings.columns.score is not None
        found = needs([m for _, m in self.metrics], companions=scores, weighted=self.settings.weighted)
        if self.scores is None or self.clustered:
            return tuple(found)
        return tuple(by_scores(need, found, self.scores.bins) for need in found)

    @functools.cached_property
    def columns(self) -> list[str]:
        """The columns that are read."""
        return list(dict.fromkeys([*self.settings.columns.names(), *columns_of(self.slice_sets)]))

    @functools.cached_property
    def coded(self) -> frozenset[str]:
        """The columns of which codes are enough: those that are only sliced by, value by value."""
        dimensions = [d for s in self.slice_sets for d in s.dimensions]
        values: set[str] = set(self.settings.columns.names())
        for dimension in dimensions:
            if not by_code(dimension):
                values.update(columns_of([SliceSet((dimension,))]))
        return frozenset(d.name for d in dimensions if by_code(d) and d.name not in values)

    def __getstate__(self) -> dict[str, Any]:
        return {name: vars(self)[name] for name in self.__dataclass_fields__}


class Accumulator:
    """The sums of the rows so far.

    Attributes:
        rows: how many rows with a positive weight there were.
        dropped: how many rows were dropped as invalid.
        skipped: files that were left out, and why.
    """

    def __init__(self, work: Work) -> None:
        self.work = work
        self.rows = self.dropped = 0
        self.skipped: dict[str, str] = {}
        self.found = work.found.copy()
        self.fields: dict[tuple[str, int], FieldSums] = {}
        self.scores: dict[tuple[str, int], ScoreState] = {}

    def update(self, batch: Batch, name: str = "") -> None:
        """Adds the rows of a batch.

        Args:
            batch: the columns of the work.
            name: the file it is of, for messages.

        Raises:
            DataError: a row cannot be evaluated; nothing of the batch is added.
        """
        checked = self._checked(batch, name)
        if not checked.rows.n:
            self.dropped += checked.dropped
            return
        dictionaries = {column: values for column, (_, values) in batch.coded.items()}
        coded = encode(self.work.slice_sets, checked.frame, self.work.limit, dictionaries=dictionaries, part=True)
        members = self.found.cells(coded, checked.rows.n)
        for need in self.work.needs:
            if need.cells is not None:
                continue
            for index, (codes, of_rows) in enumerate(members):
                cube = Cube(codes, len(self.found.found[index]), (), of_rows)
                if need.statistic.form == "scores":
                    self._score_state(need, index).update(with_amounts(need.statistic, checked.rows), cube)
                else:
                    self._add_fields(need, index, checked.rows, cube)
        self.rows += checked.rows.n
        self.dropped += checked.dropped

    def _checked(self, batch: Batch, name: str) -> Checked:
        import polars as pl

        work, frame = self.work, batch.frame
        if batch.coded:
            codes = [pl.Series(column, codes) for column, (codes, _) in batch.coded.items()]
            frame = frame.hstack(codes) if frame.width else pl.DataFrame(codes)
        score, resolution = work.settings.columns.score, work.scores
        if score is not None and resolution is not None:
            wanted = getattr(pl, resolution.dtype.capitalize())
            if frame[score].dtype.is_numeric() and frame[score].dtype != wanted:
                frame = frame.with_columns(pl.col(score).cast(wanted))
        return check(
            frame,
            work.settings.columns,
            task=work.settings.task,  # type: ignore[arg-type]
            positive=work.settings.positive,
            drop_invalid=work.drop_invalid,
            grouped=work.grouped,
            origin=Origin(name, batch.start, work.labels, None if resolution is None else resolution.probabilities),
        )

    def _score_state(self, need: Need, index: int) -> ScoreState:
        key = (need.statistic.identity, index)
        if key not in self.scores:
            if self.work.scores is None:
                raise ValueError("a histogram of scores needs scores")
            sets = len(self.work.cubes[index][1])
            self.scores[key] = ScoreState(self.work.scores, sets, devices=self.work.options.devices)
        return self.scores[key]

    def _add_fields(self, need: Need, index: int, rows: Rows, cube: Cube) -> None:
        key = (need.statistic.identity, index)
        known = self.fields.get(key)
        pivot = None
        if need.statistic.pivoted:
            pivot = cell_pivots(rows, cube)
            if known is not None and known.pivot is not None:
                held = known.count.reshape(len(known.count), -1).sum(axis=1) > 0  # the pivot of no rows is free
                pivot[: len(held)][held] = known.pivot[held]
        new = cell_sums(need, rows, cube, self.work.options, pivot)
        if known is not None:
            new = replace(_grown(known, cube.cells), pivot=pivot).add(new)
        self.fields[key] = new

    def add(self, other: Accumulator) -> None:
        """Adds the sums of another one of the same work."""
        maps = self.found.merge(other.found)
        statistics = {need.statistic.identity: need.statistic for need in self.work.needs}
        for (identity, index), theirs in other.fields.items():
            cells = len(self.found.found[index])
            placed = theirs.place(maps[index].astype(np.int64), cells)
            known = self.fields.get((identity, index))
            if known is not None:
                placed = added(statistics[identity], _grown(known, cells), placed, 1)
            self.fields[identity, index] = placed
        for key, state in other.scores.items():
            if key in self.scores:
                self.scores[key].merge(state, maps[key[1]], len(self.found.found[key[1]]))
            else:
                self.scores[key] = state.placed(maps[key[1]], len(self.found.found[key[1]]))
        self.rows += other.rows
        self.dropped += other.dropped
        self.skipped |= other.skipped

    def evaluation(self, *, whole: bool = True) -> Evaluation:
        """Returns the evaluation of the rows so far.

        Args:
            whole: whether these are all rows, so that what does not occur in them does not occur.

        Raises:
            DataError: there is no row.
            ConfigError: a value that slices were asked for does not occur.
        """
        work = self.work
        if not self.rows:
            raise DataError("No valid rows are left." if self.dropped else f"{work.source} holds no rows.")
        roll_ups = self.found.roll_ups(work.numeric, [self._occupied(index) for index in range(len(work.cubes))])
        keys = {roll_up.slice_set: roll_up.keys for of_cube in roll_ups for roll_up in of_cube}
        if whole:
            self._require_chosen(keys)
        plan = Plan(work.slice_sets, tuple(keys[index] for index in range(len(work.slice_sets))))
        sums: dict[str, AnySums] = {}
        for need in work.needs:
            identity = need.statistic.identity
            if need.cells is not None:
                continue
            if need.statistic.form == "scores":
                states = [self.scores[identity, index] for index in range(len(roll_ups))]
                sums[identity] = slice_histograms(states, roll_ups, plan.offsets)
            else:
                cells = [
                    (_grown(self.fields[identity, index], len(self.found.found[index])), of_cube)
                    for index, of_cube in enumerate(roll_ups)
                ]
                sums[identity] = slice_sums(need.statistic, cells, plan.offsets)
        return Evaluation(
            model=work.model,
            metrics=work.metrics,
            plan=plan,
            sums=in_order(work.needs, sums),
            settings=work.settings,
            source=work.source,
            n=self.rows,
            dropped=self.dropped,
            skipped=tuple(sorted(self.skipped)),
        )

    def _occupied(self, index: int) -> NDArray[np.bool_]:
        """Tells which cells of a cube hold rows: those of the sample may stand in files that were left out."""
        cells = len(self.found.found[index])
        fields = next((sums for (_, cube), sums in self.fields.items() if cube == index), None)
        if fields is not None:
            return np.asarray(_grown(fields, cells).count.reshape(cells, -1).any(axis=1))
        return next(state for (_, cube), state in self.scores.items() if cube == index).occupied(cells)

    def _require_chosen(self, keys: Mapping[int, Sequence[Any]]) -> None:
        """Refuses chosen values that no row has, as where all rows are in memory."""
        for index, slice_set in enumerate(self.work.slice_sets):
            for place, dimension in enumerate(slice_set.dimensions):
                if dimension.form == "values" and len(slice_set.dimensions) == 1:
                    require_held(dimension, {key[place][1] for key in keys[index]})


def _grown(sums: FieldSums, cells: int) -> FieldSums:
    """Returns the sums with room for more cells."""
    missing = cells - len(sums.count)
    if not missing:
        return sums

    def grown(array: NDArray[Any] | None) -> Any:
        if array is None:
            return None
        return np.concatenate([array, np.zeros((missing, *array.shape[1:]), dtype=array.dtype)])

    names = ("count", "total", "square", "largest", "pivot")
    return FieldSums(*(grown(getattr(sums, name)) for name in names))
