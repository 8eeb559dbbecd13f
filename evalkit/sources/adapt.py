"""A part made to fit its source: columns that its folders say, types that all files share, rows that a filter keeps."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evalkit.sources.lazy import reading
from evalkit.sources.part import MOST_ROWS, Batch, Codes, Part, Ranges, batch_of_frame, evenly, is_text

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class FittedPart:
    """A part with the same columns as the others of its source.

    Attributes:
        part: what is read.
        own: its columns, as it gives them.
        casts: the types of those that the source has as another type.
        keys: the columns that its folders say: type and value of each.
    """

    part: Part
    own: tuple[str, ...]
    casts: Mapping[str, pl.DataType]
    keys: Mapping[str, tuple[pl.DataType, Any]]

    @property
    def name(self) -> str:
        """Returns what messages call it."""
        return self.part.name

    @property
    def rows(self) -> int | None:
        """Returns the number of rows, where it is known."""
        return self.part.rows

    def fingerprint(self) -> str:
        """Returns what changes when the data change."""
        return self.part.fingerprint()

    def batches(
        self, columns: Sequence[str], coded: Collection[str] = (), most_rows: int = MOST_ROWS
    ) -> Iterator[Batch]:
        """Yields the columns in batches; see `Part`."""
        text = [name for name in columns if name in coded and name in self.keys and is_text(self.keys[name][0])]
        for batch in self.part.batches(self._own(columns), coded, most_rows):
            frame = self._fitted(batch.frame, [name for name in columns if name not in text], batch.n, batch.coded)
            codes = {name: _constant(self.keys[name][1], batch.n) for name in text}
            coded_too = {name: found for name, found in batch.coded.items() if name in columns}
            yield Batch(frame, {**coded_too, **codes}, batch.start, batch.n)

    def _own(self, columns: Sequence[str]) -> list[str]:
        """Returns the columns to read: one at least, which counts the rows."""
        return [name for name in columns if name not in self.keys] or [
            next(name for name in self.own if name not in self.keys)
        ]

    def _fitted(self, frame: pl.DataFrame, columns: Sequence[str], rows: int, coded: Collection[str]) -> pl.DataFrame:
        import polars as pl

        with reading(self.name):
            frame = frame.cast({name: dtype for name, dtype in self.casts.items() if name in frame.columns})
        keys = {
            name: pl.Series(name, [value], dtype).new_from_index(0, rows)
            for name, (dtype, value) in self.keys.items()
            if name in columns
        }
        return pl.DataFrame(
            [keys[name] if name in keys else frame[name] for name in dict.fromkeys(columns) if name not in coded]
        )

    def ranges(self, columns: Sequence[str]) -> Ranges:
        """Returns (lowest, highest, has nulls) where statistics say it."""
        known = [name for name in columns if name not in self.keys and name not in self.casts]
        said = {name: (v, v, False) for name, (_, v) in self.keys.items() if name in columns and v is not None}
        return {**self.part.ranges(known), **said}

    def sample(self, columns: Sequence[str], n: int) -> pl.DataFrame:
        """Returns about `n` rows, evenly spread."""
        found = self.part.sample(self._own(columns), n)
        return self._fitted(found, columns, found.height, ())


def _constant(value: Any, rows: int) -> Codes:
    import numpy as np

    if value is None:
        return np.full(rows, -1, np.int32), ()
    return np.zeros(rows, np.int32), (value,)


@dataclass(frozen=True)
class FilteredPart:
    """The rows of a part for which a condition holds."""

    part: Part
    condition: pl.Expr
    rows: int | None = None

    @property
    def name(self) -> str:
        """Returns what messages call it."""
        return self.part.name

    def fingerprint(self) -> str:
        """Returns what changes when the data change."""
        return self.part.fingerprint()

    def batches(
        self, columns: Sequence[str], coded: Collection[str] = (), most_rows: int = MOST_ROWS
    ) -> Iterator[Batch]:
        """Yields the columns in batches; see `Part`."""
        asked = self.condition.meta.root_names()
        start = 0
        for batch in self.part.batches([*columns, *asked], [c for c in coded if c not in asked], most_rows):
            with reading(self.name):
                keep = batch.frame.select(self.condition.fill_null(value=False)).to_series()
            kept = batch_of_frame(batch.frame.filter(keep), [c for c in columns if c not in batch.coded], coded, start)
            rows = keep.to_numpy()
            codes = {name: (found[rows], values) for name, (found, values) in batch.coded.items()}
            n = int(keep.sum())
            if n:
                yield Batch(kept.frame, {**codes, **kept.coded}, start, n)
            start += n

    def ranges(self, columns: Sequence[str]) -> Ranges:
        """Returns (lowest, highest, has nulls) where statistics say it."""
        return self.part.ranges(columns)

    def sample(self, columns: Sequence[str], n: int) -> pl.DataFrame:
        """Returns what a sample of all rows keeps; where that is little, rows of one pass."""
        wanted = list(dict.fromkeys([*columns, *self.condition.meta.root_names()]))
        with reading(self.name):
            some = self.part.sample(wanted, 4 * n).filter(self.condition).select(columns)
        if some.height >= max(1, n // 4):
            return some.gather_every(max(1, some.height // max(n, 1)))
        found = evenly((batch.frame.select(columns) for batch in self.batches(columns)), n)
        return some if found is None else found
