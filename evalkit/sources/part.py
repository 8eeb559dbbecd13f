"""A batch of rows, and a part of the data that gives batches of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from evalkit.errors import ColumnError, DataError, listing, nearest

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

MOST_ROWS = 1 << 20
Codes = tuple["NDArray[np.int32]", tuple[Any, ...]]
Ranges = dict[str, tuple[Any, Any, bool]]


@dataclass(frozen=True)
class Batch:
    """Some rows of a part.

    Attributes:
        frame: the columns asked for that are not in `coded`.
        coded: for text columns of which codes suffice, [rows] int32 indices into the values beside them (null: -1).
            Values may be there twice, and values may be there that no row has.
        start: index of the first row within its part.
        n: number of rows.
    """

    frame: pl.DataFrame
    coded: Mapping[str, Codes]
    start: int
    n: int


class Part(Protocol):
    """A file, or some row groups of one: the unit that one worker reads. It can be pickled."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def rows(self) -> int | None:
        """How many rows it has; None where that is not known without reading."""
        ...

    def batches(
        self, columns: Sequence[str], coded: Collection[str] = (), most_rows: int = MOST_ROWS
    ) -> Iterator[Batch]:
        """Yields the columns in batches of at most `most_rows` rows, in the order of the rows."""
        ...

    def fingerprint(self) -> str:
        """Returns what changes when the data change: size and modification time (ns), or a store's tag."""
        ...

    def ranges(self, columns: Sequence[str]) -> Ranges:
        """Returns (lowest, highest, has nulls) of the columns for which statistics say it; NaN is not spoken of."""
        ...

    def sample(self, columns: Sequence[str], n: int) -> pl.DataFrame:
        """Returns about `n` rows spread evenly, the same each time, and reads little where it can."""
        ...


def is_text(dtype: pl.DataType) -> bool:
    """Tells whether values are text, which codes can stand for."""
    import polars as pl

    return isinstance(dtype, pl.String | pl.Categorical | pl.Enum)


def codes_of(array: Any) -> Codes:
    """Returns the codes and values of an Arrow array (chunked or not) of text or of dictionaries of text."""
    import numpy as np
    import pyarrow as pa

    if isinstance(array, pa.ChunkedArray):
        array = _one(array if pa.types.is_dictionary(array.type) else array.dictionary_encode())
    elif not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    codes = array.indices
    if codes.null_count:
        codes = codes.cast("int64").fill_null(-1)
    numbers: NDArray[np.int32] = codes.to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
    values = tuple(array.dictionary.to_pylist())
    if None in values:
        numbers = np.asarray([-1 if value is None else k for k, value in enumerate(values)], np.int32)[numbers]
    return numbers, values


def _one(chunked: Any) -> Any:
    """Returns one dictionary array of chunks, whose dictionaries may differ."""
    import pyarrow as pa

    if chunked.num_chunks == 1:
        return chunked.chunk(0)
    joined = chunked.unify_dictionaries().combine_chunks()
    return joined.chunk(0) if isinstance(joined, pa.ChunkedArray) else joined


def batch_of_table(table: Any, columns: Sequence[str], text: Sequence[str], start: int) -> Batch:
    """Returns the columns of an Arrow table as a batch, those named in `text` as codes."""
    frame = polars_frame(table.select([name for name in columns if name not in text]))
    return Batch(frame, {name: codes_of(table.column(name)) for name in text}, start, table.num_rows)


def polars_frame(table: Any) -> pl.DataFrame:
    """Returns an Arrow table as a Polars frame."""
    import polars as pl

    return pl.DataFrame(pl.from_arrow(table))


def polars_schema(schema: Any) -> dict[str, pl.DataType]:
    """Returns an Arrow schema as Polars' types."""
    return dict(polars_frame(schema.empty_table()).schema)


def batch_of_frame(frame: pl.DataFrame, columns: Sequence[str], coded: Collection[str], start: int) -> Batch:
    """Returns the columns of a frame as a batch; of the coded ones, those that hold text become codes."""
    chosen = dict.fromkeys(columns)
    text = [name for name in chosen if name in coded and is_text(frame.schema[name])]
    return Batch(
        frame.select([name for name in chosen if name not in text]),
        {name: codes_of(frame[name].to_arrow()) for name in text},
        start,
        frame.height,
    )


def slices_of_frame(frame: pl.DataFrame, most_rows: int) -> Iterator[pl.DataFrame]:
    """Yields the rows of a frame in slices."""
    for start in range(0, frame.height, most_rows):
        yield frame.slice(start, most_rows)


def evenly(frames: Iterable[pl.DataFrame], n: int) -> pl.DataFrame | None:
    """Returns n to 2n evenly spaced rows of frames that follow each other, in one pass; None where there are none."""
    import polars as pl

    kept: list[pl.DataFrame] = []
    step, seen, held = 1, 0, 0
    for frame in frames:
        kept.append(frame.gather_every(step, -seen % step))
        seen += frame.height
        held += kept[-1].height
        while held > 2 * n:
            kept = [pl.concat(kept, how="vertical_relaxed").gather_every(2)]
            step, held = 2 * step, kept[0].height
    return pl.concat(kept, how="vertical_relaxed") if kept else None


def check_columns(columns: Iterable[str], names: Collection[str], source: str) -> None:
    """Raises ColumnError for a column that is not among the names."""
    for column in columns:
        if column not in names:
            raise ColumnError(f'No column "{column}" in {source}.{nearest(column, names)} Columns: {listing(names)}.')


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def unreadable(name: str, error: BaseException) -> DataError:
    """Returns the error for data that cannot be read."""
    return DataError(f"Cannot read {name}: {first_line(error)}")
