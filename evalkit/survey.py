"""The look at the data before they are summed: everything that depends on all of the rows is settled here, once.

What files say of themselves (types, ranges) and an even sample of the rows are enough for most. Columns of which more
must be known, for quantile bins, the most frequent values, labels in words, are read in a pass of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit import score_keys
from evalkit.errors import DataError
from evalkit.rows import Checked, Columns, Task, check, kept
from evalkit.score_bins import keys_in_order
from evalkit.slicing.cubes import places, together
from evalkit.slicing.discover import Discovered
from evalkit.slicing.encode import at_quantiles, columns_of, encode, freeze, most_frequent, numbers
from evalkit.slicing.order_statistics import Numbers
from evalkit.slicing.spec import Dimension, SliceSet

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from evalkit.sources.source import Source

SAMPLE_ROWS = 1 << 19
_ODD = np.uint64(0x9E3779B97F4A7C15)
_MOST_LABELS = 21


@dataclass(frozen=True)
class Survey:
    """What is known of the data before they are summed.

    Attributes:
        checked: a sample of the rows.
        labels: the positive and the negative label, for binary tasks.
        slice_sets: frozen, all rows first.
        cubes: for each cube its dimensions, and the indices of the sets that are sums of its cells.
        found: the values and cells in the sample.
        slices: the slices of each set in the sample.
        ordered: the sample's score keys in ascending order, and their labels; None without scores or labels.
        numeric: the columns whose slices are ordered as numbers.
        distinct_share: distinct (cell, score) pairs in the sample as a share of its rows, the largest of the cubes.
    """

    checked: Checked
    labels: tuple[Any, Any] | None
    slice_sets: tuple[SliceSet, ...]
    cubes: tuple[tuple[tuple[Dimension, ...], tuple[int, ...]], ...]
    found: Discovered
    slices: tuple[int, ...]
    ordered: tuple[NDArray[np.int64], NDArray[np.int64]] | None
    numeric: frozenset[str]
    distinct_share: float


def survey(
    source: Source,
    columns: Columns,
    slice_sets: Sequence[SliceSet],
    *,
    task: Task | None,
    positive: Any,
    limit: int,
    workers: int,
) -> Survey:
    """Returns what must be known of the data before they are summed.

    Args:
        source: the data.
        columns: their parts.
        slice_sets: what was asked for, overall not among them.
        task: None to tell by the data.
        positive: the positive label, where labels are not 0 and 1.
        limit: the most slices of one set.
        workers: how many parts are read at once.

    Raises:
        DataError: there are no rows, or they cannot be evaluated.
    """
    look = _Look(source, columns, workers)
    sliced = columns_of(slice_sets)
    frame = source.sample(list(dict.fromkeys([*columns.names(), *sliced])), SAMPLE_ROWS)
    if not frame.height:
        raise DataError(f"{source.name} holds no rows.")
    task = task or _task(look, frame, columns, positive)
    values = _labels(look, frame, columns, task)
    if values is not None and columns.label is not None:
        frame = _with_each_label(frame, columns.label, values)
    checked = check(frame, columns, task=task, positive=positive, drop_invalid=True)
    checked = replace(checked, rows=replace(checked.rows, probabilities=_probabilities(look, checked, columns)))
    frozen = (SliceSet(), *(_frozen(slice_set, look) for slice_set in slice_sets))
    coded = encode(frozen, checked.frame, limit, part=True)
    sizes = {dimension: places(part) for dimension, part in coded.items()}
    cubes = tuple(together(frozen, sizes, {d for d, part in coded.items() if part.rows is not None}))
    found = Discovered(frozen, cubes, limit)
    members = found.cells(coded, checked.rows.n)
    numeric = frozenset(name for name in sliced if source.columns[name].is_numeric())
    slices = {r.slice_set: len(r.keys) for of_cube in found.roll_ups(numeric) for r in of_cube}
    share, ordered = _told_by_scores(checked, members)
    return Survey(
        checked=checked,
        labels=_both(values, checked),
        slice_sets=frozen,
        cubes=cubes,
        found=found,
        slices=tuple(slices[index] for index in range(len(frozen))),
        ordered=ordered,
        numeric=numeric,
        distinct_share=share,
    )


def _told_by_scores(
    checked: Checked, members: Sequence[tuple[NDArray[np.int32], Any]]
) -> tuple[float, tuple[NDArray[np.int64], NDArray[np.int64]] | None]:
    """Returns the share of distinct scores, and keys and labels in order; two sorts, side by side."""
    rows = checked.rows
    if rows.score is None:
        return 0.0, None
    keys = score_keys.keys(rows.score, rows.probabilities)
    with ThreadPoolExecutor(1) as pool:
        share = pool.submit(_distinct_share, keys, members)
        ordered = None if rows.label is None else keys_in_order(keys, rows.label)
        return share.result(), ordered


def _distinct_share(keys: NDArray[Any], members: Sequence[tuple[NDArray[np.int32], Any]]) -> float:
    """Returns the share of distinct pairs of a cell and a key, told apart by a hash."""
    shares = []
    for cells, of_rows in members:
        key = keys if of_rows is None else keys[of_rows]
        pairs = key.astype(np.uint64) * _ODD + cells.astype(np.uint64)
        shares.append((1 + np.count_nonzero(np.diff(np.sort(pairs)))) / max(len(cells), 1))
    return max(shares)


@dataclass(frozen=True)
class _Look:
    """Reads whole columns, where ranges in the files do not answer."""

    source: Source
    columns: Columns
    workers: int

    def within_one(self, column: str) -> bool | None:
        """Returns whether all numbers of rows that are evaluated lie in [0, 1]; None where that cannot be told.

        The files' statistics answer where they can; they are of all rows, so that other numbers are looked for again.
        """
        known = self.source.ranges([column]).get(column)
        if known is not None and known[0] >= 0 and known[1] <= 1:
            return True
        if not self.source.rereadable:
            return None
        found = self.each(column, lambda s: bool(((s >= 0) & (s <= 1)).all()), kept_only=True)
        return all(found)

    def each(self, column: str, take: Callable[[pl.Series], Any], *, kept_only: bool = False) -> list[Any]:
        """Takes something of each batch of a column, several parts at once.

        Args:
            column: the column.
            take: from its values in a batch to what is taken.
            kept_only: whether rows that are not evaluated are left out.
        """
        names = list(dict.fromkeys([column, *self.columns.names()])) if kept_only else [column]

        def of_frame(frame: pl.DataFrame) -> Any:
            return take((kept(frame, self.columns) if kept_only else frame)[column])

        def of_part(part: Any) -> list[Any]:
            try:
                return [of_frame(batch.frame) for batch in part.batches(names)]
            except DataError:
                if not self.source.skip_damaged:
                    raise
                return []

        if not self.source.rereadable:
            return [of_frame(self.source.sample(names, SAMPLE_ROWS))]
        with ThreadPoolExecutor(self.workers) as pool:
            return [taken for of_one in pool.map(of_part, self.source.parts) for taken in of_one]

    def numbers(self, column: str) -> Iterator[NDArray[np.float64]]:
        """Yields the numbers of a column, of rows that are evaluated."""
        names = list(dict.fromkeys([column, *self.columns.names()]))
        if not self.source.rereadable:
            yield numbers(kept(self.source.sample(names, SAMPLE_ROWS), self.columns)[column])
            return
        for part in self.source.parts:
            found = (numbers(kept(batch.frame, self.columns)[column]) for batch in part.batches(names))
            yield from self._readable(found) if self.source.skip_damaged else found

    @staticmethod
    def _readable(found: Iterator[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
        """Returns the numbers of a part; none where some of it cannot be read."""
        try:
            return list(found)
        except DataError:
            return []


def _task(look: _Look, frame: pl.DataFrame, columns: Columns, positive: Any) -> Task:
    """Tells the task as for rows in memory: numbers other than 0 and 1 are regression."""
    if columns.label is None or columns.score is not None or positive is not None:
        return "binary"
    label = frame[columns.label]
    if not label.dtype.is_numeric():
        return "binary"
    sampled = kept(frame, columns)[columns.label]
    if not label.dtype.is_float():
        few = sampled.n_unique() <= 2
        two = few and (look.within_one(columns.label) or len(_distinct(look, columns.label)) <= 2)
        return "binary" if two else "regression"
    only = _zero_or_one(sampled) and all(look.each(columns.label, _zero_or_one, kept_only=True))
    return "binary" if only else "regression"


def _zero_or_one(values: pl.Series) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def _distinct(look: _Look, column: str) -> list[Any]:
    """Returns the distinct values of a column, up to a few; of rows that are evaluated where all hold too many."""
    found = _some_distinct(look, column, kept_only=False)
    return found if len(found) <= 2 else _some_distinct(look, column, kept_only=True)


def _some_distinct(look: _Look, column: str, *, kept_only: bool) -> list[Any]:
    found: set[Any] = set()
    for values in look.each(
        column, lambda s: s.drop_nulls().unique().head(_MOST_LABELS).to_list(), kept_only=kept_only
    ):
        found.update(values)
        if len(found) >= _MOST_LABELS:
            break
    return sorted(found)


def _labels(look: _Look, frame: pl.DataFrame, columns: Columns, task: Task) -> list[Any] | None:
    """Returns the labels that occur in any row; None where they are 0 and 1, true and false, or numbers."""
    import polars as pl

    if task != "binary" or columns.label is None:
        return None
    if frame[columns.label].dtype == pl.Boolean or frame[columns.label].dtype.is_nested():
        return None
    if frame[columns.label].dtype.is_numeric():
        sampled = set(frame[columns.label].drop_nulls().unique().head(_MOST_LABELS).to_list())
        if sampled <= {0, 1} and look.within_one(columns.label):
            return None
    return _distinct(look, columns.label)


def _with_each_label(frame: pl.DataFrame, label: str, values: Sequence[Any]) -> pl.DataFrame:
    """Returns the sample with a row of each label that it lacks, so that what is said of labels is said of all."""
    import polars as pl

    missing = [value for value in values if value not in set(frame[label].unique().to_list())]
    if not missing or not frame.height:
        return frame
    first = frame.filter(pl.all_horizontal(pl.all().is_not_null())).head(1)
    extra = [first.with_columns(pl.lit(value).cast(frame.schema[label]).alias(label)) for value in missing]
    return pl.concat([frame, *extra])


def _both(values: Sequence[Any] | None, checked: Checked) -> tuple[Any, Any] | None:
    if checked.task != "binary" or checked.rows.label is None:
        return None
    if values is None:
        return (True, False) if checked.positive is True else (1, 0)
    return checked.positive, next((value for value in values if value != checked.positive), None)


def _probabilities(look: _Look, checked: Checked, columns: Columns) -> bool:
    if columns.score is None or not checked.rows.probabilities:
        return False
    return look.within_one(columns.score) is not False


def _frozen(slice_set: SliceSet, look: _Look) -> SliceSet:
    return SliceSet(tuple(_frozen_dimension(dimension, look) for dimension in slice_set.dimensions))


def _frozen_dimension(dimension: Dimension, look: _Look) -> Dimension:
    import polars as pl

    if dimension.form == "top":
        if look.source.columns[dimension.name].is_nested():
            freeze([SliceSet((dimension,))], look.source.sample([dimension.name], 1))
        counts = look.each(dimension.name, lambda s: s.drop_nulls().value_counts(), kept_only=True)
        total = pl.concat(counts).group_by(dimension.name).agg(pl.col("count").sum())
        return most_frequent(dimension, total)
    if dimension.form != "quantiles":
        return dimension
    held = Numbers(lambda: look.numbers(dimension.name))
    if not held.n:
        raise DataError(f'"{dimension.name}" has no numbers to make quantile bins of.')
    inner = np.arange(1, dimension.argument) / dimension.argument
    ranks = np.ceil(inner * (held.n - 1)).astype(np.int64)
    found = held.at([0, *ranks.tolist()])
    return at_quantiles(dimension, found[1:], found[0])
