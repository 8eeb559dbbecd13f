"""CSV, TSV and NDJSON: the types are inferred from the first 10,000 rows, and rows stream through Polars."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from evalkit.errors import DataError
from evalkit.sources.files import File
from evalkit.sources.lazy import LazyPart, reading
from evalkit.sources.part import MOST_ROWS, Batch, Ranges

if TYPE_CHECKING:
    import polars as pl

_INFER_ROWS = 10_000
_HEAD_BYTES = 32 << 20
_PLACES = 16
_FIRST_BYTES = 1 << 16


@dataclass(frozen=True)
class TextPart:
    """A file of text, and the columns that it is read as."""

    file: File
    columns: Mapping[str, pl.DataType]
    rows: int | None = None

    @property
    def name(self) -> str:
        """Returns what messages call it."""
        return self.file.name

    def fingerprint(self) -> str:
        """Returns what changes when the data change."""
        return self.file.fingerprint()

    def batches(
        self, columns: Sequence[str], coded: Collection[str] = (), most_rows: int = MOST_ROWS
    ) -> Iterator[Batch]:
        """Yields the columns in batches; see `Part`."""
        with _on_disk(self.file) as local:
            lazy = scan(local, self.columns)
            yield from LazyPart(self.name, lazy).batches(columns, coded, most_rows)

    def about(self) -> int | None:
        """Returns about how many rows there are, by the length of the first lines; None of files in stores."""
        size = None if self.file.url else self.file.size()
        if size is None:
            return None
        with self.file.open() as stream:
            beginning = stream.read(_FIRST_BYTES)
        return size * max(1, beginning.count(b"\n")) // max(len(beginning), 1)

    def ranges(self, columns: Sequence[str]) -> Ranges:  # noqa: ARG002
        """Returns nothing: nothing is known without reading."""
        return {}

    def sample(self, columns: Sequence[str], n: int) -> pl.DataFrame:
        """Returns whole lines found at evenly spaced places of the file, parsed as the file is."""
        import polars as pl

        size = self.file.size()
        with reading(self.name):
            if not size:
                return self._parsed(_head(self.file)).select(columns).head(n)
            try:
                return self._parsed(_some_lines(self.file, size, n)).select(columns)
            except pl.exceptions.PolarsError:  # a place within a quoted text of several lines
                return self._parsed(_head(self.file)).select(columns).head(n)

    def _parsed(self, content: bytes) -> pl.DataFrame:
        return scan(self.file, self.columns, content).collect()


def parts_of(file: File) -> tuple[list[TextPart], dict[str, pl.DataType]]:
    """Returns the one part of a file, and its columns."""
    with reading(file.name):
        lazy = scan(file, {}, _head(file)) if file.url else scan(file, {})
        columns = dict(lazy.collect_schema())
    return [TextPart(file, columns)], columns


def read_as(part: TextPart, columns: Mapping[str, pl.DataType]) -> TextPart:
    """Returns the part read with other types, such as those that hold the values of all files."""
    return replace(part, columns=dict(columns))


def scan(file: File, columns: Mapping[str, pl.DataType], content: bytes | None = None) -> pl.LazyFrame:
    """Returns the lines of a file, or of `content` in its place, with the types that are given."""
    import polars as pl

    source: Any = file.path if content is None else io.BytesIO(content)
    if file.format == "ndjson":
        return pl.scan_ndjson(source, infer_schema_length=_INFER_ROWS, schema_overrides=dict(columns))
    separator = "\t" if file.format == "tsv" else ","
    return pl.scan_csv(
        source,
        separator=separator,
        glob=False,
        infer_schema_length=_INFER_ROWS,
        schema_overrides=dict(columns),
    )


def _head(file: File) -> bytes:
    """Returns the first whole lines of a file."""
    with file.open() as stream:
        content: bytes = stream.read(_HEAD_BYTES)
    return content if len(content) < _HEAD_BYTES else content[: content.rfind(b"\n") + 1]


def _some_lines(file: File, size: int, n: int) -> bytes:
    """Returns the first line, and whole lines from evenly spaced places: some n in all, or the whole small file."""
    with file.open() as stream:
        first = stream.readline()
        start = stream.tell() if file.format != "ndjson" else 0
        stream.seek(start)
        beginning = stream.read(_FIRST_BYTES)
        line = max(1, len(beginning) // max(1, beginning.count(b"\n")))
        each = max(line, line * n // _PLACES)
        if size - start <= 2 * each * _PLACES:
            return first * (start > 0) + beginning + stream.read()
        chosen = [first] if start else []
        for k in range(_PLACES):
            stream.seek(start + k * (size - start - each) // _PLACES)
            if k:
                stream.readline()
            block = stream.read(each)
            chosen.append(block + stream.readline())
        return b"".join(part if part.endswith(b"\n") else part + b"\n" for part in chosen)


@contextmanager
def _on_disk(file: File) -> Iterator[File]:
    """Gives the file itself, or a copy of a store's object while it is read: Polars reads text from disk as it goes."""
    if not file.url:
        yield file
        return
    with tempfile.TemporaryDirectory(prefix="evalkit-") as folder:
        copy = Path(folder) / PurePosixPath(file.path.partition("?")[0]).name
        try:
            with file.open() as stream, copy.open("wb") as target:
                shutil.copyfileobj(stream, target, 1 << 22)
        except OSError as error:
            raise DataError(f"Cannot copy {file.name} to read it: {error}") from error
        yield File(str(copy))
