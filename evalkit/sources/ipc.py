"""Arrow IPC and Feather files: record batches, memory mapped."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evalkit.sources.files import File
from evalkit.sources.part import (
    MOST_ROWS,
    Batch,
    Ranges,
    batch_of_table,
    is_text,
    polars_frame,
    polars_schema,
    unreadable,
)

if TYPE_CHECKING:
    import polars as pl

PART_ROWS = 4_000_000


@dataclass(frozen=True)
class IpcPart:
    """Some record batches of a file, from `first` up to `last` exclusive; `whole` where these are all."""

    file: File
    first: int
    last: int
    rows: int
    whole: bool

    @property
    def name(self) -> str:
        """Returns what messages call it."""
        return self.file.name if self.whole else f"{self.file.name}, record batches {self.first} to {self.last - 1}"

    def fingerprint(self) -> str:
        """Returns what changes when the data change."""
        return self.file.fingerprint()

    def batches(
        self, columns: Sequence[str], coded: Collection[str] = (), most_rows: int = MOST_ROWS
    ) -> Iterator[Batch]:
        """Yields the columns in batches; see `Part`."""
        chosen = list(dict.fromkeys(columns))
        start = 0
        with _opened(self.file, chosen) as file:
            schema = polars_schema(file.schema)
            text = [name for name in chosen if name in coded and is_text(schema[name])]
            for table in _gathered(self._records(file), most_rows):
                yield batch_of_table(table, chosen, text, start)
                start += table.num_rows

    def _records(self, file: Any) -> Iterator[Any]:
        for k in range(self.first, self.last):
            yield _record(file, k, self.file.name)

    def ranges(self, columns: Sequence[str]) -> Ranges:  # noqa: ARG002
        """Returns nothing: Arrow files hold no statistics."""
        return {}

    def sample(self, columns: Sequence[str], n: int) -> pl.DataFrame:
        """Returns every k-th row; of a mapped file little else is read."""
        import polars as pl

        step = max(1, self.rows // max(n, 1))
        with _opened(self.file, columns) as file:
            parts, before = [polars_frame(file.schema.empty_table()).select(columns)], 0
            for table in _gathered(self._records(file), MOST_ROWS):
                parts.append(polars_frame(table).select(columns).gather_every(step, -before % step))
                before += table.num_rows
            return pl.concat(parts)


def _gathered(records: Iterator[Any], most_rows: int) -> Iterator[Any]:
    """Yields tables of several small record batches, or of pieces of large ones."""
    import pyarrow as pa

    held: list[Any] = []
    rows = 0
    for record in records:
        if held and rows + record.num_rows > most_rows:
            yield pa.Table.from_batches(held)
            held, rows = [], 0
        if record.num_rows > most_rows:
            for offset in range(0, record.num_rows, most_rows):
                yield pa.Table.from_batches([record.slice(offset, most_rows)])
        elif record.num_rows:
            held.append(record)
            rows += record.num_rows
    if held:
        yield pa.Table.from_batches(held)


@contextmanager
def _opened(file: File, columns: Sequence[str] | None = None) -> Iterator[Any]:
    import pyarrow as pa

    handle = None
    try:
        handle = file.open() if file.url else pa.memory_map(file.path)
        reader = pa.ipc.open_file(handle)
        if columns is not None:
            fields = [reader.schema.get_field_index(name) for name in columns]
            options = pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
            reader = pa.ipc.open_file(handle, options=options)
    except (pa.ArrowException, OSError) as error:
        if handle is not None:
            handle.close()
        raise unreadable(file.name, error) from error
    try:
        yield reader
    finally:
        handle.close()


def _record(file: Any, k: int, path: str) -> Any:
    import pyarrow as pa

    try:
        return file.get_batch(k)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(f"{path}, record batch {k}", error) from error


def parts_of(file: File) -> tuple[list[IpcPart], dict[str, pl.DataType]]:
    """Returns the parts of a file, one at least, and its columns."""
    with _opened(file) as reader:
        count = reader.num_record_batches
        sizes = [_record(reader, k, file.name).num_rows for k in range(count)]
        parts: list[IpcPart] = []
        first, rows = 0, 0
        for k, size in enumerate(sizes):
            if rows and rows + size > PART_ROWS:
                parts.append(IpcPart(file, first, k, rows, whole=False))
                first, rows = k, 0
            rows += size
        parts.append(IpcPart(file, first, count, rows, whole=not parts))
        return parts, polars_schema(reader.schema)
