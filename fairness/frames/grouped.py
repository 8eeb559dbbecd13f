"""Values of known metrics in every group at once, of the rows and of bootstrap samples of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit import score_keys
from evalkit.collect import Options, Rows, collect
from evalkit.compilation import scoped
from evalkit.errors import DataError
from evalkit.estimate import field_values
from evalkit.fairness.frames.known import Known, require, rows_of
from evalkit.needs import Need
from evalkit.padding import pad
from evalkit.score_values import arrays_of, score_values, values_of
from evalkit.slicing.cubes import Cube, RollUp
from evalkit.statistic import Batch, Statistic
from evalkit.sums import FieldSums, ScoreSums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_EXACT = Options(budget_bytes=1 << 62)
_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Cells:
    """The groups that hold rows, and the strata whose parts they are.

    Attributes:
        codes: [rows] int32, the group of each row.
        strata: [groups] int32, the stratum of each group: a level of the control features, or 0.
        n_strata: how many strata there are.
    """

    codes: NDArray[np.int32]
    strata: NDArray[np.int32]
    n_strata: int

    @property
    def slices(self) -> int:
        """How many strata and groups there are together: strata come first."""
        return self.n_strata + len(self.strata)

    def cube(self) -> Cube:
        """Returns the cells whose sums strata and groups are."""
        groups = len(self.strata)
        whole = RollUp(0, tuple((("stratum", str(k)),) for k in range(self.n_strata)), self.strata)
        each = RollUp(1, tuple((("group", str(k)),) for k in range(groups)), np.arange(groups, dtype=np.int32))
        return Cube(self.codes, groups, (whole, each))

    def both(self, totals: Floats) -> Floats:
        """Returns the totals of strata and groups, from those of groups: [..., groups, k] to [..., slices, k]."""
        whole = np.zeros((*totals.shape[:-2], self.n_strata, totals.shape[-1]), totals.dtype)
        for stratum in range(self.n_strata):
            whole[..., stratum, :] = totals[..., self.strata == stratum, :].sum(axis=-2)
        return np.concatenate([whole, totals], axis=-2)


@dataclass(frozen=True)
class Reading:
    """Metrics that read the same rows.

    Attributes:
        places: of each among all metrics.
        asked: the metrics.
        rows: what they read.
        kept: [rows] int64, the rows with a positive weight; None where all are.
    """

    places: tuple[int, ...]
    asked: tuple[Known, ...]
    rows: Rows
    kept: NDArray[np.int64] | None

    @property
    def statistic(self) -> Statistic:
        """What they are functions of."""
        return self.asked[0].metric.statistic


def readings(
    asked: Sequence[Known], weights: Sequence[NDArray[Any] | None], truth: NDArray[Any], prediction: NDArray[Any]
) -> list[Reading]:
    """Returns the metrics by what they read.

    Args:
        asked: the metrics.
        weights: of each metric [rows], or None.
        truth: y_true, [rows].
        prediction: y_pred, [rows].

    Raises:
        DataError: the rows are not what a metric reads.
    """
    alike: dict[Any, list[int]] = {}
    for place, (one, weight) in enumerate(zip(asked, weights, strict=True)):
        alike.setdefault((*_read(one), one.metric.statistic.identity, id(weight)), []).append(place)
    made: dict[Any, tuple[Rows, Any]] = {}
    found = []
    for (*read, _, weight_id), places in alike.items():
        for reads in {asked[place].reads: asked[place] for place in places}.values():
            require(reads, truth, prediction)
        key = (*read, weight_id)
        if key not in made:
            made[key] = _rows(asked[places[0]], truth, prediction, weights[places[0]])
        found.append(Reading(tuple(places), tuple(asked[place] for place in places), *made[key]))
    return found


def _read(asked: Known) -> tuple[str, Any]:
    """Returns what tells apart the rows that metrics read."""
    if asked.reads in ("decisions", "rates"):
        return "labels", 1 if asked.positive is None else asked.positive
    return asked.reads, asked.positive


def _rows(asked: Known, truth: NDArray[Any], prediction: NDArray[Any], weight: Any) -> tuple[Rows, Any]:
    if weight is None or asked.reads == "rows":
        return rows_of(asked, truth, prediction, None), None
    weights = np.asarray(weight)
    weights = weights.reshape(-1) if weights.size == 1 else weights.squeeze()
    if weights.dtype.kind not in "biuf" or not np.isfinite(weights).all() or (weights < 0).any():
        raise DataError("sample_weight must hold finite numbers that are not negative.")
    if weights.shape != truth.shape:
        raise DataError(f"sample_weight has the shape {weights.shape}, but y_true has {len(truth):,} rows.")
    weights = weights.astype(np.float64)
    kept = None if (weights > 0).all() else np.flatnonzero(weights > 0)
    if kept is None:
        return rows_of(asked, truth, prediction, weights), None
    return rows_of(asked, truth[kept], prediction[kept], weights[kept]), kept


def group_values(found: Sequence[Reading], cells: Cells, metrics: int) -> Floats:
    """Returns the value of every metric in every stratum and group, [slices, metrics]; NaN where it is undefined.

    Args:
        found: of `readings`.
        cells: the groups.
        metrics: how many metrics there are, known or not.
    """
    values = np.full((cells.slices, metrics), np.nan)
    for reading in found:
        own = cells if reading.kept is None else replace(cells, codes=cells.codes[reading.kept])
        offsets = [0, cells.n_strata, cells.slices]
        [sums] = collect([Need(reading.statistic)], reading.rows, [own.cube()], offsets, _EXACT).values()
        of_metrics = [one.metric for one in reading.asked]
        if isinstance(sums, ScoreSums):
            made = values_of(of_metrics, sums, gradients=False).value
        else:
            made = _field_values(of_metrics, sums)
        for place, one, value in zip(reading.places, reading.asked, made, strict=True):
            values[:, place] = one.finished(value)
    return values


def _field_values(metrics: Sequence[Any], sums: FieldSums) -> Floats:
    rows = sums.count.reshape(len(sums.count), -1).sum(1).astype(np.float64)
    return field_values(metrics, sums.total, rows)


# --- bootstrap samples ---


def sample_values(found: Sequence[Reading], cells: Cells, metrics: int, samples: NDArray[np.uint32]) -> Floats:
    """Returns the values of samples of the rows with replacement, [samples, slices, metrics].

    Args:
        found: of `readings`.
        cells: the groups.
        metrics: how many metrics there are.
        samples: the seed of each sample; seeds give the rows that fairlearn draws.
    """
    values = np.full((len(samples), cells.slices, metrics), np.nan)
    counters = [_counter(reading, cells) for reading in found]
    step = max(1, _AT_ONCE // max(1, sum(counter.size for counter in counters)))
    for start in range(0, len(samples), step):
        drawn = [drawn_rows(seed, len(cells.codes)) for seed in samples[start : start + step]]
        for reading, counter in zip(found, counters, strict=True):
            made = counter.values(np.stack([counter.totals(rows) for rows in drawn]))
            for place, one, value in zip(reading.places, reading.asked, made, strict=True):
                values[start : start + step, :, place] = one.finished(value)
    return values


def drawn_rows(seed: int, rows: int) -> NDArray[np.int64]:
    """Returns the rows of one sample, as pandas' `sample(frac=1, replace=True, random_state=seed)` draws them."""
    return np.random.RandomState(seed).choice(rows, size=rows, replace=True)


def sample_seeds(random_state: Any, samples: int) -> NDArray[np.uint32]:
    """Returns a seed for each sample, those that fairlearn takes."""
    most = np.iinfo(np.uint32).max
    if isinstance(random_state, np.random.RandomState):
        return random_state.randint(low=0, high=most, size=samples, dtype=np.uint32)
    if random_state is not None and not isinstance(random_state, int | np.integer):
        raise DataError(f"random_state must be a whole number, a RandomState or None, not {random_state!r}.")
    generator = np.random.default_rng(None if random_state is None else int(random_state))
    return generator.integers(low=0, high=most, size=samples, dtype=np.uint32)


@dataclass
class _Counter:
    """Counts samples: `totals` of the rows of one, and `values` [metrics, samples, slices] of many totals."""

    reading: Reading
    cells: Cells
    places: NDArray[np.int64]
    size: int
    columns: tuple[Floats | None, ...]

    def totals(self, rows: NDArray[np.int64]) -> Floats:
        """Returns [size, columns] sums of the rows of a sample."""
        places = self.places[rows]
        held = places >= 0
        places = places[held]
        sums = []
        for column in self.columns:
            weights = None if column is None else column[rows][held]
            sums.append(np.bincount(places, weights=weights, minlength=self.size).astype(np.float64))
        return np.stack(sums, axis=1)

    def values(self, totals: Floats) -> Floats:
        metrics = [one.metric for one in self.reading.asked]
        groups, samples = len(self.cells.strata), len(totals)
        by_group = totals.reshape(samples, groups, -1)
        both = self.cells.both(by_group)
        of_cells = self.reading.statistic.form == "cells"
        rows, total = (both.sum(-1), both) if of_cells else (both[..., 0], both[..., 1:])
        flat = field_values(metrics, np.ascontiguousarray(total.reshape(-1, total.shape[-1])), rows.reshape(-1))
        return flat.reshape(len(metrics), samples, -1)


@dataclass
class _ScoreCounter(_Counter):
    """Counts samples by the entries of the histogram of all rows; each row is in its stratum's and its group's."""

    sums: ScoreSums

    def totals(self, rows: NDArray[np.int64]) -> Floats:
        weight = None if self.columns[0] is None else np.concatenate([self.columns[0][rows]] * 2)
        places = self.places[:, rows].reshape(-1)
        held = places >= 0
        counted = np.bincount(places[held], weights=None if weight is None else weight[held], minlength=self.size)
        return counted.astype(np.float64).reshape(-1, 2)

    def values(self, totals: Floats) -> Floats:
        metrics = [one.metric for one in self.reading.asked]
        arrays, weights = arrays_of(self.sums)
        found = []
        for total in totals:
            value, *_ = score_values(metrics, arrays, pad(total, len(weights)), gradients=False)
            found.append(value[:, : self.cells.slices])
        return np.stack(found, axis=1)


def _counter(reading: Reading, cells: Cells) -> _Counter:
    statistic, rows = reading.statistic, reading.rows
    codes = cells.codes if reading.kept is None else cells.codes[reading.kept]
    if statistic.form == "scores":
        return _score_counter(reading, cells, codes)
    batch = Batch(label=rows.label, score=rows.score, prediction=rows.prediction)
    with scoped():
        if statistic.form == "cells":
            width = len(statistic.cell_names)
            cell = np.zeros(rows.n, np.int64) if not statistic.needs else np.asarray(statistic.cell(batch), np.int64)
            places = _spread(codes.astype(np.int64) * width + cell, reading, cells)
            column = _all(reading, rows.weight, cells)
            return _Counter(reading, cells, places, len(cells.strata) * width, (column,))
        pivot = float(np.mean(rows.label)) if statistic.pivoted and rows.label is not None else 0.0
        fields = [np.asarray(field, np.float64) for field in statistic.by_field(batch, np.full(rows.n, pivot))]
    weight = np.ones(rows.n) if rows.weight is None else rows.weight
    columns = (None, *(_all(reading, field * weight, cells) for field in fields))
    return _Counter(reading, cells, _spread(codes.astype(np.int64), reading, cells), len(cells.strata), columns)


def _spread(places: NDArray[np.int64], reading: Reading, cells: Cells) -> NDArray[np.int64]:
    """Returns the place of each row of all, -1 where its weight is 0."""
    if reading.kept is None:
        return places
    spread = np.full((*places.shape[:-1], len(cells.codes)), -1, dtype=np.int64)
    spread[..., reading.kept] = places
    return spread


def _all(reading: Reading, column: Floats | None, cells: Cells) -> Floats | None:
    """Returns a column of the rows that are read for all rows."""
    if column is None or reading.kept is None:
        return column
    spread = np.zeros(len(cells.codes))
    spread[reading.kept] = column
    return spread


def _score_counter(reading: Reading, cells: Cells, codes: NDArray[np.int32]) -> _ScoreCounter:
    rows = reading.rows
    own = replace(cells, codes=codes)
    [sums] = collect([Need(reading.statistic)], rows, [own.cube()], [0, cells.n_strata, cells.slices], _EXACT).values()
    if not isinstance(sums, ScoreSums) or rows.score is None or rows.label is None:
        raise ValueError("a histogram of scores needs scores")
    keys = score_keys.keys(rows.score, rows.probabilities)
    places = np.empty((2, rows.n), dtype=np.int64)
    before = 0
    for row, slices in enumerate((cells.strata[codes], codes)):
        order = np.lexsort((keys, slices))
        new = np.ones(rows.n, dtype=bool)
        new[1:] = (np.diff(slices[order]) != 0) | (np.diff(keys[order]) != 0)
        places[row, order] = (np.cumsum(new) - 1 + before) * 2
        before += int(new.sum())
    places += rows.label
    columns = (_all(reading, rows.weight, cells),)
    return _ScoreCounter(reading, cells, _spread(places, reading, cells), 2 * before, columns, sums)
