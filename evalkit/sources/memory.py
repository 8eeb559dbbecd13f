"""Data in memory: frames, Arrow and pandas tables, mappings of arrays, and batches that come one after another."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from evalkit.errors import DataError, listing
from evalkit.sources.part import (
    MOST_ROWS,
    Batch,
    Ranges,
    batch_of_frame,
    check_columns,
    evenly,
    first_line,
    is_text,
    slices_of_frame,
)

if TYPE_CHECKING:
    import polars as pl

PART_ROWS = 4_000_000
HEAD_ROWS = 1_000_000


@dataclass(frozen=True)
class FramePart:
    """A slice of a frame in memory."""

    name: str
    frame: pl.DataFrame

    @property
    def rows(self) -> int:
        """Returns the number of rows, where it is known."""
        return self.frame.height

    def fingerprint(self) -> str:
        """Returns a digest of the columns and of the hashes of at most 1,000 of its rows."""
        some = self.frame.gather_every(max(1, self.rows // 1000))
        try:
            content = some.hash_rows(seed=0).to_numpy().tobytes()
        except BaseException as error:
            if not _is_polars_error(error):
                raise
            content = repr(some).encode()
        about = f"{self.rows} {dict(self.frame.schema)}".encode()
        return hashlib.sha256(about + content).hexdigest()[:32]

    def batches(
        self, columns: Sequence[str], coded: Collection[str] = (), most_rows: int = MOST_ROWS
    ) -> Iterator[Batch]:
        """Yields the columns in batches; see `Part`."""
        start = 0
        for frame in slices_of_frame(self.frame, most_rows):
            yield batch_of_frame(frame, columns, coded, start)
            start += frame.height

    def ranges(self, columns: Sequence[str]) -> Ranges:  # noqa: ARG002
        """Returns nothing: nothing is known without reading."""
        return {}

    def sample(self, columns: Sequence[str], n: int) -> pl.DataFrame:
        """Returns about `n` rows, evenly spread."""
        return self.frame.select(columns).gather_every(max(1, self.rows // max(n, 1)))


def _is_polars_error(error: BaseException) -> bool:
    import polars as pl

    return isinstance(error, pl.exceptions.PolarsError | pl.exceptions.PanicException)


def frame_parts(frame: pl.DataFrame, name: str) -> list[FramePart]:
    """Returns slices of a frame, one at least."""
    if frame.height <= PART_ROWS:
        return [FramePart(name, frame)]
    return [
        FramePart(f"{name}, rows {k * PART_ROWS:,} to {k * PART_ROWS + part.height - 1:,}", part)
        for k, part in enumerate(slices_of_frame(frame, PART_ROWS))
    ]


def no_rows(columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Returns a frame of the columns, without rows."""
    import polars as pl

    return pl.DataFrame(schema=dict(columns))


@dataclass
class OncePart:
    """Batches that come one after another and are read once; the first ones are kept for schema and sample."""

    name: str
    rest: Iterator[pl.DataFrame]
    head: list[pl.DataFrame]
    schema: Mapping[str, pl.DataType]
    rows: int | None = None
    _read: bool = False
    _digest: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fingerprint(self) -> str:
        """Returns a digest of what is known: of the first batches."""
        import polars as pl

        if not self._digest:
            self._digest = FramePart(self.name, pl.concat(self.head, how="vertical_relaxed")).fingerprint()
        return self._digest

    def batches(
        self, columns: Sequence[str], coded: Collection[str] = (), most_rows: int = MOST_ROWS
    ) -> Iterator[Batch]:
        """Yields the columns in batches; see `Part`."""
        with self._lock:
            if self._read:
                raise DataError("An iterator of batches is read once; give files or a list to read it again.")
            self._read = True
        return self._batches(columns, coded, most_rows)

    def _batches(self, columns: Sequence[str], coded: Collection[str], most_rows: int) -> Iterator[Batch]:
        start = 0
        head, self.head = self.head, [frame.clear() for frame in self.head[:1]]
        held = len(head)
        head.reverse()
        frames = itertools.chain((head.pop() for _ in range(held)), self.rest)
        for number, whole in enumerate(frames):
            frame = self._alike(whole, columns, number)
            for piece in slices_of_frame(frame, most_rows):
                yield batch_of_frame(piece, columns, coded, start)
                start += piece.height

    def _alike(self, frame: pl.DataFrame, columns: Sequence[str], number: int) -> pl.DataFrame:
        """Returns the columns of a batch, refusing what does not fit the first batches."""
        import polars as pl

        check_columns(columns, frame.columns, f"batch {number + 1} of {self.name}")
        frame = frame.select(list(dict.fromkeys(columns)))
        for name in frame.columns:
            found, first = frame.schema[name], self.schema[name]
            if found != first and (found == pl.Null or same_kind(found, first)) and wider(name, found, first) == first:
                frame = frame.with_columns(pl.col(name).cast(first))
            elif first != pl.Null and not same_kind(found, first):
                raise DataError(
                    f'"{name}" is {found} in batch {number + 1} of {self.name} and {first} in those before; make them '
                    "alike."
                )
        return frame

    def ranges(self, columns: Sequence[str]) -> Ranges:  # noqa: ARG002
        """Returns nothing: nothing is known without reading."""
        return {}

    def sample(self, columns: Sequence[str], n: int) -> pl.DataFrame:
        """Returns rows of the first batches, which are all that can be read twice."""
        import polars as pl

        if self._read:
            raise DataError("An iterator of batches is read once; take the sample before its batches.")
        found = evenly((frame.select(columns) for frame in self.head), n)
        return pl.DataFrame(schema=dict(self.schema)).select(columns) if found is None else found

    def __getstate__(self) -> Any:
        raise DataError("An iterator of batches cannot be sent to other processes; give files, or use one process.")


def same_kind(one: pl.DataType, other: pl.DataType) -> bool:
    """Tells whether columns of two types can follow each other: the same, both numbers, or both text."""
    if one == other or (is_text(one) and is_text(other)):
        return True
    return all(dtype.is_numeric() or dtype == _boolean() for dtype in (one, other))


def _boolean() -> Any:
    import polars as pl

    return pl.Boolean


def once(frames: Iterator[pl.DataFrame], name: str) -> OncePart:
    """Returns the part of batches that come one after another.

    Raises:
        DataError: there are none.
    """
    head: list[pl.DataFrame] = []
    rows = 0
    for frame in frames:
        head.append(frame)
        rows += frame.height
        if rows >= HEAD_ROWS:
            break
    if not head:
        raise DataError("The iterator of batches is empty.")
    schema = common_schema([(f"batch {k + 1}", dict(frame.schema)) for k, frame in enumerate(head)])
    return OncePart(name, frames, head, schema)


def common_schema(schemas: Sequence[tuple[str, Mapping[str, pl.DataType]]]) -> dict[str, pl.DataType]:
    """Returns the types that hold the columns of all, named for messages.

    Raises:
        ColumnError: a column of the first is not in another.
        DataError: the types of a column do not fit together.
    """
    import polars as pl

    first_name, first = schemas[0]
    common = dict(first)
    for name, schema in schemas[1:]:
        if schema == common:
            continue
        check_columns(common, schema, name)
        for column, dtype in common.items():
            other = schema[column]
            if pl.Null in (dtype, other):
                common[column] = other if dtype == pl.Null else dtype
            elif not same_kind(dtype, other):
                raise DataError(f'"{column}" is {dtype} in {first_name} and {other} in {name}; make them alike.')
            elif dtype != other:
                common[column] = wider(column, dtype, other)
    return common


def wider(column: str, one: pl.DataType, other: pl.DataType) -> pl.DataType:
    """Returns the type that holds the values of both."""
    import polars as pl

    frames = [pl.DataFrame(schema={column: dtype}) for dtype in (one, other)]
    return pl.concat(frames, how="vertical_relaxed").schema[column]


def frame_of(data: Any, columns: Sequence[str] | None = None) -> pl.DataFrame | None:
    """Returns a table or a mapping in memory as a frame, of what must be converted only the columns; else None."""
    import polars as pl

    if isinstance(data, pl.DataFrame):
        return data
    if isinstance(data, Mapping):
        return _from_arrays(data, columns)
    module = type(data).__module__.split(".")[0]
    if module == "pandas":
        return _from_pandas(data, columns)
    if module == "pyarrow" or hasattr(data, "__arrow_c_stream__"):
        try:
            return pl.DataFrame(pl.from_arrow(data))
        except TypeError as error:
            raise DataError(
                f"Data of type {type(data).__name__} cannot be read; give an Arrow table, or an iterator of record "
                "batches such as dataset.to_batches()."
            ) from error
    return None


def _from_arrays(data: Mapping[str, Any], columns: Sequence[str] | None) -> pl.DataFrame:
    import polars as pl

    if columns is not None:
        check_columns(columns, list(data), "the data")
    chosen = {name: data[name] for name in (columns if columns is not None else data)}
    lengths = {name: len(values) for name, values in chosen.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"Columns differ in length: {listing(f'{name} has {n:,}' for name, n in lengths.items())}.")
    series = {}
    for name, values in chosen.items():
        try:
            series[name] = pl.Series(name, _plain(values), strict=True)
        except (TypeError, pl.exceptions.PolarsError, ValueError) as error:
            raise DataError(f'"{name}" holds mixed types or cannot be read: {first_line(error)}') from error
    return pl.DataFrame(series)


def _plain(values: Any) -> Any:
    """Turns arrays that Polars does not know (JAX's, a pandas Series) into NumPy's or Polars'."""
    import numpy as np
    import polars as pl

    if type(values).__module__.split(".")[0] == "pandas":
        return pl.from_pandas(values)
    if hasattr(values, "__array__") and not isinstance(values, pl.Series | np.ndarray):
        return np.asarray(values)
    if isinstance(values, np.ndarray) and values.dtype.kind in "US":
        return values.astype(str).tolist()
    if isinstance(values, np.ndarray) and values.dtype == object:
        return values.tolist()
    return values


def _from_pandas(data: Any, columns: Sequence[str] | None) -> pl.DataFrame:
    import polars as pl

    if columns is not None:
        check_columns(columns, [str(name) for name in data.columns], "the frame")
        data = data[list(dict.fromkeys(columns))]
    try:
        return pl.from_pandas(data, nan_to_null=False)
    except Exception as error:
        raise DataError(f"The pandas frame holds mixed types or cannot be read: {first_line(error)}") from error


def batch_frames(items: Iterable[Any]) -> Iterator[pl.DataFrame]:
    """Yields the frames of an iterator of tables or mappings."""
    import polars as pl

    for number, item in enumerate(items):
        frame = item.collect() if isinstance(item, pl.LazyFrame) else frame_of(item)
        if frame is None:
            raise DataError(
                f"Batch {number + 1} is of type {type(item).__name__}; give frames, tables or mappings of arrays."
            )
        yield frame
