"""What Polars reads as it goes: lazy frames, CSV and NDJSON, and filtered Parquet and Arrow files."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evalkit.sources.files import File
from evalkit.sources.part import MOST_ROWS, Batch, Ranges, batch_of_frame, evenly, slices_of_frame, unreadable

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class LazyPart:
    """A lazy frame: Polars pushes filters and projections down, and streams.

    Attributes:
        name: what messages call it.
        lazy: the rows.
        file: the file that it reads, if it is one.
        rows: how many rows it has, where that is known.
    """

    name: str
    lazy: pl.LazyFrame
    file: File | None = None
    rows: int | None = None

    def fingerprint(self) -> str:
        """Returns what changes when the data change."""
        if self.file:
            return self.file.fingerprint()
        return hashlib.sha256(self.lazy.explain(optimized=False).encode()).hexdigest()[:32]

    def batches(
        self, columns: Sequence[str], coded: Collection[str] = (), most_rows: int = MOST_ROWS
    ) -> Iterator[Batch]:
        """Yields the columns in batches; see `Part`."""
        start = 0
        for frame in self._frames(columns, most_rows):
            yield batch_of_frame(frame, columns, coded, start)
            start += frame.height

    def _frames(self, columns: Sequence[str], most_rows: int) -> Iterator[pl.DataFrame]:
        chosen = self.lazy.select(list(dict.fromkeys(columns)))
        with reading(self.name):
            for frame in chosen.collect_batches(chunk_size=most_rows, engine="streaming"):
                yield from slices_of_frame(frame, most_rows)

    def ranges(self, columns: Sequence[str]) -> Ranges:  # noqa: ARG002
        """Returns nothing: nothing is known without reading."""
        return {}

    def sample(self, columns: Sequence[str], n: int) -> pl.DataFrame:
        """Returns rows of one pass over the columns: Polars cannot say where rows lie without reading them."""
        found = evenly(self._frames(columns, MOST_ROWS), n)
        return self.lazy.select(list(columns)).clear().collect() if found is None else found


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Inside, what Polars raises about data becomes one sentence."""
    import polars as pl

    try:
        yield
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        raise unreadable(name, error) from error
