"""TFRecord files of tf.Example, plain or gzipped, read without TensorFlow.

A record is its length (8 bytes), a checksum of that, the message, and a checksum of that. A feature with one value is
a column of values, one with several a column of lists, and where it is absent the value is null.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evalkit.errors import DataError
from evalkit.sources.checksum import masked_crc32c
from evalkit.sources.example import BYTES, FLOAT, INT, Feature, MalformedError, features
from evalkit.sources.files import File
from evalkit.sources.part import MOST_ROWS, Batch, Ranges, batch_of_frame

if TYPE_CHECKING:
    import polars as pl

_INFER_RECORDS = 10_000
_BLOCK_BYTES = 8 << 20
_BLOCK_RECORDS = 1 << 16
_KINDS = {BYTES: "bytes", FLOAT: "floats", INT: "integers"}
_LONGEST = 1 << 31  # no protocol buffer is longer


@dataclass(frozen=True)
class TFRecordPart:
    """A file of records."""

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
        chosen = list(dict.fromkeys(columns))
        start = 0
        for frame in self._frames(chosen, min(most_rows, _BLOCK_RECORDS)):
            yield batch_of_frame(frame, chosen, coded, start)
            start += frame.height

    def _frames(self, columns: Sequence[str], most_rows: int, step: int = 1) -> Iterator[pl.DataFrame]:
        """Yields every `step`-th record as a row."""
        columns_of = {name.encode(): self.columns[name] for name in columns}
        for first, block in blocks(self.file, most_rows):
            numbers = range(first + -first % step, first + len(block), step)
            read = [read_example(self.file, n, block[n - first], columns_of) for n in numbers]
            yield self._frame(columns, read, numbers)

    def _frame(self, columns: Sequence[str], read: list[dict[bytes, Feature]], numbers: range) -> pl.DataFrame:
        import polars as pl

        return pl.DataFrame(
            [
                pl.Series(name, _Column(self.file, name, self.columns[name]).values(read, numbers), self.columns[name])
                for name in columns
            ]
        )

    def ranges(self, columns: Sequence[str]) -> Ranges:  # noqa: ARG002
        """Returns nothing: records have no statistics."""
        return {}

    def sample(self, columns: Sequence[str], n: int) -> pl.DataFrame:
        """Returns every k-th record: all are passed over, and few are parsed."""
        import polars as pl

        count = sum(len(block) for _, block in blocks(self.file, _BLOCK_RECORDS, check=False))
        step = max(1, count // max(n, 1))
        empty = pl.DataFrame(schema={name: self.columns[name] for name in columns})
        return pl.concat([empty, *self._frames(columns, _BLOCK_RECORDS, step)])


class _Column:
    """How the values of a feature become those of a column."""

    def __init__(self, file: File, name: str, dtype: Any) -> None:
        import polars as pl

        self.file, self.name = file, name
        self.several = isinstance(dtype, pl.List)
        inner = dtype.inner if self.several else dtype
        self.text = inner == pl.String
        self.kind = _kind(inner)

    def values(self, read: list[dict[bytes, Feature]], numbers: range) -> list[Any]:
        """Returns the value of each record."""
        key = self.name.encode()
        return [self._value(found[key], n) if key in found else None for n, found in zip(numbers, read, strict=True)]

    def _value(self, feature: Feature, number: int) -> Any:
        kind, values = feature
        if kind != self.kind and values:
            raise self._error(number, f"holds {_KINDS[kind]}, where records before hold {_KINDS[self.kind]}")
        if self.text:
            values = [self._text(value, number) for value in values]
        if self.several:
            return values
        if len(values) > 1:
            raise self._error(number, f"holds {len(values):,} values, where records before hold one")
        return values[0] if values else None

    def _text(self, value: Any, number: int) -> str:
        try:
            return str(value, "utf-8")
        except UnicodeDecodeError as error:
            raise self._error(number, "is no UTF-8 text, where records before are") from error

    def _error(self, number: int, what: str) -> DataError:
        return DataError(f'Cannot read {self.file.name}: "{self.name}" of record {number} {what}.')


def _kind(inner: Any) -> int:
    import polars as pl

    if inner == pl.Float32:
        return FLOAT
    return INT if inner == pl.Int64 else BYTES


def parts_of(file: File) -> tuple[list[TFRecordPart], dict[str, pl.DataType]]:
    """Returns the one part of a file, and its columns as the first 10,000 records have them.

    Raises:
        DataError: the file cannot be read, or a feature holds values of different kinds.
    """
    found: dict[bytes, _Seen] = {}
    for first, block in blocks(file, _INFER_RECORDS):
        for n, record in enumerate(block, first):
            for name, feature in read_example(file, n, record, None).items():
                found.setdefault(name, _Seen()).add(feature)
        break
    columns = {_name(file, name): seen.dtype() for name, seen in sorted(found.items())}
    return [TFRecordPart(file, columns)], columns


def _name(file: File, name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"Cannot read {file.name}: the name of the feature {name!r} is no UTF-8 text.") from error


class _Seen:
    """What the first records say of a feature."""

    def __init__(self) -> None:
        self.kind = BYTES
        self.several = False
        self.text = True

    def add(self, feature: Feature) -> None:
        kind, values = feature
        if not values:
            return
        self.kind = kind
        self.several |= len(values) > 1
        if kind == BYTES and self.text:
            self.text = all(_is_text(value) for value in values)

    def dtype(self) -> Any:
        import polars as pl

        text = pl.String() if self.text else pl.Binary()
        inner: Any = {BYTES: text, FLOAT: pl.Float32(), INT: pl.Int64()}[self.kind]
        return pl.List(inner) if self.several else inner


def _is_text(value: Any) -> bool:
    try:
        str(value, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def read_example(file: File, number: int, record: bytes, wanted: Collection[bytes] | None) -> dict[bytes, Feature]:
    """Returns the features of a record; an error names the file and the record's number, from 0."""
    try:
        return features(record, wanted)
    except MalformedError as error:
        raise DataError(f"Cannot read {file.name}: record {number} is no tf.Example: {error}.") from error


def blocks(file: File, most: int, *, check: bool = True) -> Iterator[tuple[int, list[bytes]]]:
    """Yields records in blocks, with the number of the first: at most `most`, and few where they are large.

    Args:
        file: the file, gzipped where its name ends on .gz.
        most: the most records of a block.
        check: whether to compare the checksums.

    Raises:
        DataError: the file is cut short or damaged.
    """
    zipped = file.path.partition("?")[0].lower().endswith(".gz")
    with file.open() as raw, gzip.GzipFile(fileobj=raw) if zipped else nullcontext(raw) as stream:
        reader = _Reader(file.name, stream.read, check=check)
        while block := reader.block(most):
            yield reader.number - len(block), block


class _Reader:
    """Cuts a stream of bytes into records."""

    def __init__(self, name: str, read: Callable[[int], bytes], *, check: bool) -> None:
        self.name, self.read, self.check = name, read, check
        self.number = 0
        self.held = b""
        self.place = 0

    def block(self, most: int) -> list[bytes]:
        """Returns the next records; none at the end."""
        first = self.number
        found: list[bytes] = []
        sums: list[bytes] = []
        size = 0
        while len(found) < most and size < _BLOCK_BYTES:
            try:
                header = self._take(12, may_end=True)
                if not header:
                    break
                (length,) = struct.unpack_from("<Q", header)
                if length > _BLOCK_BYTES:
                    self._trust(header)
                content = self._take(length + 4)
            except DataError:
                self._compare(first, found, sums)  # what was damaged before comes first
                raise
            found.append(content[:-4])
            sums.append(header + content[-4:])
            size += length
            self.number += 1
        self._compare(first, found, sums)
        return found

    def _trust(self, header: bytes) -> None:
        """Raises for a length that its checksum does not confirm, or that no message has."""
        length, checksum = struct.unpack("<QI", header)
        if int(masked_crc32c([header[:8]])[0]) != checksum:
            raise self._damaged(self.number, "the checksum of its length is wrong")
        if length > _LONGEST:
            raise self._damaged(self.number, f"it claims {length:,} bytes")

    def _compare(self, first: int, records: list[bytes], sums: list[bytes]) -> None:
        import numpy as np

        if not (self.check and records):
            return
        said = np.asarray([struct.unpack("<8xII", one) for one in sums], np.uint32)
        lengths = masked_crc32c([one[:8] for one in sums]) != said[:, 0]
        contents = masked_crc32c(records) != said[:, 1]
        if (lengths | contents).any():
            k = int(np.argmax(lengths | contents))
            raise self._damaged(first + k, f"the checksum of its {'length' if lengths[k] else 'content'} is wrong")

    def _take(self, size: int, *, may_end: bool = False) -> bytes:
        """Returns the next bytes; nothing where the stream ends before them and may."""
        if len(self.held) - self.place < size:
            self._fill(size)
        taken = self.held[self.place : self.place + size]
        self.place += len(taken)
        if len(taken) < size and not (may_end and not taken):
            raise self._damaged(self.number, "the file ends within it")
        return taken

    def _fill(self, size: int) -> None:
        pieces = [self.held[self.place :]]
        held = len(pieces[0])
        try:
            while held < size:
                piece = self.read(1 << 20)
                if not piece:
                    break
                pieces.append(piece)
                held += len(piece)
        except (OSError, EOFError, zlib.error) as error:
            raise self._damaged(self.number, f"{error}") from error
        self.held, self.place = b"".join(pieces), 0

    def _damaged(self, number: int, what: str) -> DataError:
        return DataError(f"Cannot read {self.name}: record {number} is damaged: {what.removesuffix('.')}.")
