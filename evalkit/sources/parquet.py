"""Parquet: a part is a run of row groups, so that one large file is read by many workers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from zlib import crc32

from evalkit.errors import DataError
from evalkit.sources.files import File
from evalkit.sources.part import (
    MOST_ROWS,
    Batch,
    Ranges,
    batch_of_table,
    first_line,
    is_text,
    polars_frame,
    polars_schema,
    unreadable,
)

if TYPE_CHECKING:
    import polars as pl

PART_ROWS = 4_000_000
_SPREAD = 4
_TEXT = ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")


@dataclass(frozen=True)
class ParquetPart:
    """Some row groups of a file, from `first` up to `last` exclusive; `whole` where these are all."""

    file: File
    first: int
    last: int
    rows: int
    whole: bool

    @property
    def name(self) -> str:
        """Returns what messages call it."""
        if self.whole:
            return self.file.name
        return f"{self.file.name}, row groups {self.first} to {self.last - 1}"

    def fingerprint(self) -> str:
        """Returns what changes when the data change."""
        return self.file.fingerprint()

    def batches(
        self, columns: Sequence[str], coded: Collection[str] = (), most_rows: int = MOST_ROWS
    ) -> Iterator[Batch]:
        """Yields the columns in batches; see `Part`."""
        chosen = list(dict.fromkeys(columns))
        start = 0
        with _opened(self.file) as plain:
            schema = polars_schema(plain.schema_arrow)
            text = [name for name in chosen if name in coded and is_text(schema[name])]
        with _opened(self.file, text) as file:
            for table in self._tables(file, chosen, most_rows):
                yield batch_of_table(table, chosen, text, start)
                start += table.num_rows

    def _tables(self, file: Any, columns: list[str], most_rows: int) -> Iterator[Any]:
        """Yields tables of whole row groups where several fit into a batch, else the pieces of each."""
        for first, last in _runs(file.metadata, self.first, self.last, most_rows):
            if last - first == 1 and file.metadata.row_group(first).num_rows > most_rows:
                yield from self._pieces(file, first, columns, most_rows)
            else:
                yield self._table(file, first, last, columns)

    def _table(self, file: Any, first: int, last: int, columns: list[str]) -> Any:
        import pyarrow as pa

        try:
            return file.read_row_groups(range(first, last), columns=columns, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(file, first, last, columns, error) from error

    def _damaged(self, file: Any, first: int, last: int, columns: list[str], error: BaseException) -> DataError:
        import pyarrow as pa

        for k in range(first, last):
            try:
                file.read_row_group(k, columns=columns, use_threads=False)
            except (pa.ArrowException, OSError) as found:
                return unreadable(f"{self.file.name}, row group {k}", found)
        return unreadable(self.file.name, error)

    def _pieces(self, file: Any, group: int, columns: list[str], most_rows: int) -> Iterator[Any]:
        import pyarrow as pa

        try:
            for piece in file.iter_batches(most_rows, row_groups=[group], columns=columns, use_threads=False):
                yield pa.Table.from_batches([piece])
        except (pa.ArrowException, OSError) as error:
            raise unreadable(f"{self.file.name}, row group {group}", error) from error

    def ranges(self, columns: Sequence[str]) -> Ranges:
        """Returns (lowest, highest, has nulls) where statistics say it."""
        with _opened(self.file) as file:
            return _ranges(file.metadata, range(self.first, self.last), columns)

    def sample(self, columns: Sequence[str], n: int) -> pl.DataFrame:
        """Returns rows from evenly spaced row groups: one for each 16,384 rows up to eight, more where they are small.

        Which ones, and where rows start, the name tells, so that files of the same or like order give different ones.
        """
        import polars as pl

        chosen = list(dict.fromkeys(columns))
        with _opened(self.file) as plain:
            schema = polars_schema(plain.schema_arrow)
            text = [name for name in chosen if schema[name] == pl.String]
        with _opened(self.file, text) as file:  # texts as codes: few of them are kept
            sizes = {k: file.metadata.row_group(k).num_rows for k in range(self.first, self.last)}
            needed = -(-n * len(sizes) // max(1, self.rows))
            groups = _spread([k for k, rows in sizes.items() if rows], max(1, min(8, n >> 14), needed), self._start())
            step = max(1, sum(sizes[k] for k in groups) // max(n, 1))
            frames = [polars_frame(self._table(file, k, k + 1, chosen)) for k in groups]
            empty = polars_frame(file.schema_arrow.empty_table()).select(chosen)
            rows = pl.concat([empty, *frames]).gather_every(step, self._start() % step)
            return rows.with_columns(pl.col(text).cast(pl.String))

    def _start(self) -> int:
        return crc32(f"{'/'.join(PurePath(self.file.path).parts[-2:])}:{self.first}".encode())


def _spread(items: Sequence[int], most: int, start: int = 0) -> list[int]:
    """Returns at most so many items, evenly spaced around a circle from some place on.

    >>> _spread(range(100), 4), _spread(range(100), 4, start=30)
    ([12, 37, 62, 87], [17, 42, 67, 92])
    """
    few = min(most, len(items))
    return sorted(items[((2 * k + 1) * len(items) // (2 * few) + start) % len(items)] for k in range(few))


def _runs(metadata: Any, first: int, last: int, most_rows: int) -> Iterator[tuple[int, int]]:
    """Yields runs of row groups of at most so many rows, or of a single row group that has more."""
    start, rows = first, 0
    for k in range(first, last):
        more = metadata.row_group(k).num_rows
        if start < k and rows + more > most_rows:
            yield start, k
            start, rows = k, 0
        rows += more
    if start < last:
        yield start, last


@contextmanager
def _opened(file: File, text: Sequence[str] = ()) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    handle: Any = file.open() if file.url else file.path
    try:
        parquet = pq.ParquetFile(handle, read_dictionary=list(text), pre_buffer=file.url)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(file.name, error) from error
    try:
        yield parquet
    finally:
        parquet.close()
        if file.url:
            handle.close()


def parts_of(file: File) -> tuple[list[ParquetPart], dict[str, pl.DataType]]:
    """Returns the parts of a file, one at least, and its columns."""
    with _opened(file) as parquet:
        metadata = parquet.metadata
        count = metadata.num_row_groups
        runs = list(_runs(metadata, 0, count, PART_ROWS)) or [(0, 0)]
        parts = [
            ParquetPart(file, first, last, _rows(metadata, first, last), last - first == count) for first, last in runs
        ]
        try:
            return parts, polars_schema(parquet.schema_arrow)
        except Exception as error:  # types that Polars does not have
            raise DataError(f"{file.name} has a column that cannot be read: {first_line(error)}") from error


def _rows(metadata: Any, first: int, last: int) -> int:
    return sum(metadata.row_group(k).num_rows for k in range(first, last))


def _ranges(metadata: Any, groups: range, columns: Sequence[str]) -> Ranges:
    """Returns the ranges that the statistics of all row groups with rows give; texts may be cut short in them."""
    places = {metadata.schema.column(k).path: k for k in range(metadata.num_columns)}
    filled = [metadata.row_group(k) for k in groups if metadata.row_group(k).num_rows]
    found: Ranges = {}
    for name in columns:
        if name not in places or not filled:
            continue
        statistics = [group.column(places[name]).statistics for group in filled]
        if any(s is None or not s.has_null_count or s.physical_type in _TEXT for s in statistics):
            continue
        bounded = [s for s in statistics if s.has_min_max]
        empty = [s for s in statistics if not s.has_min_max and s.num_values == 0]
        if bounded and len(bounded) + len(empty) == len(statistics):
            has_null = any(s.null_count > 0 for s in statistics)
            found[name] = (min(s.min for s in bounded), max(s.max for s in bounded), has_null)
    return found
