"""What a user names as data: parts, their columns, and what is known of them before they are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.errors import ConfigError, DataError, listing
from evalkit.slicing.conditions import looks_beyond
from evalkit.sources import database, files, ipc, lazy, memory, parquet, text, tfrecord
from evalkit.sources.adapt import FilteredPart, FittedPart
from evalkit.sources.files import File
from evalkit.sources.part import Batch, Part, Ranges, check_columns, first_line

if TYPE_CHECKING:
    import polars as pl

_SAMPLERS = 4
_MOST_SAMPLED = 64

__all__ = ["Batch", "Part", "Source", "describe", "open_source"]


@dataclass(frozen=True)
class Source:
    """Data as parts.

    Attributes:
        name: what messages call it.
        parts: what is read; one at least.
        columns: the type of each column.
        rows: how many rows there are; None where that is not known without reading.
        bytes: size of the files; None where there are none or where a store does not tell.
        skip_damaged: whether samples leave out parts that cannot be read.
        damaged: files that are left out since they cannot be opened, and why.
    """

    name: str
    parts: tuple[Part, ...]
    columns: Mapping[str, pl.DataType]
    rows: int | None
    bytes: int | None
    skip_damaged: bool = False
    damaged: Mapping[str, str] = field(default_factory=dict)

    @property
    def rereadable(self) -> bool:
        """Whether the rows can be read more than once; batches of an iterator cannot."""
        return not any(isinstance(_innermost(part), memory.OncePart) for part in self.parts)

    def about(self) -> int | None:
        """Returns about how many rows there are; None where only reading tells."""
        if self.rows is not None:
            return self.rows
        rows = [part.about() if isinstance(part, text.TextPart) else part.rows for part in map(_unfitted, self.parts)]
        return None if None in rows else sum(n or 0 for n in rows)

    def ranges(self, columns: Sequence[str]) -> Ranges:
        """Returns (lowest, highest, has nulls) of columns, where the statistics of all parts say it.

        Only Parquet files have statistics. Those of floats leave NaN out, so that there may be NaN besides.

        Raises:
            ColumnError: a column is not there.
        """
        check_columns(columns, self.columns, self.name)
        joined: Ranges | None = None
        for part in self.parts:
            if part.rows == 0:
                continue
            found = part.ranges(columns)
            joined = found if joined is None else _joined(joined, found)
            if not joined:
                break
        return joined or {}

    def sample(self, columns: Sequence[str], n: int) -> pl.DataFrame:
        """Returns about `n` rows, evenly spread over the parts, the same each time.

        Of Parquet, Arrow and text files little is read; lazy frames and queries are passed over once; of an iterator
        of batches only the first ones count.

        Raises:
            ColumnError: a column is not there.
            DataError: the data cannot be read.
        """
        import polars as pl

        check_columns(columns, self.columns, self.name)
        names = list(dict.fromkeys(columns))
        chosen = [(part, n * share) for part, share in self._shares()]
        most = max(1, n)  # of very many parts every k-th gives rows
        step = -(-len(chosen) // min(most, _MOST_SAMPLED))

        def of_part(part: Part, rows: float) -> pl.DataFrame | DataError:
            try:
                return part.sample(names, max(1, round(rows * step)))
            except DataError as error:
                if not self.skip_damaged:
                    raise
                return error

        with ThreadPoolExecutor(_SAMPLERS) as pool:
            taken = list(pool.map(lambda share: of_part(*share), chosen[::step]))
        found = [frame for frame in taken if not isinstance(frame, DataError)]
        if not found:
            raise next(error for error in taken if isinstance(error, DataError))
        return pl.concat(found, how="vertical_relaxed")

    def _shares(self) -> list[tuple[Part, float]]:
        filled = [part for part in self.parts if part.rows != 0] or list(self.parts[:1])
        if any(part.rows is None for part in filled):
            return [(part, 1 / len(filled)) for part in filled]
        total = sum(part.rows or 0 for part in filled)
        return [(part, (part.rows or 0) / max(1, total)) for part in filled]


def _unfitted(part: Any) -> Any:
    return part.part if isinstance(part, FittedPart) else part


def _innermost(part: Any) -> Any:
    while isinstance(part, FilteredPart | FittedPart):
        part = part.part
    return part


def _joined(one: Ranges, other: Ranges) -> Ranges:
    return {
        name: (min(one[name][0], other[name][0]), max(one[name][1], other[name][1]), one[name][2] or other[name][2])
        for name in one
        if name in other
    }


def open_source(
    data: Any, *, sql: str | None = None, where: str | pl.Expr | None = None, skip_damaged: bool = False
) -> Source:
    """Returns what a user names as data, as parts that can be read in bounded memory.

    Args:
        data: a path, folder, glob or URL (Parquet, CSV, TSV, Arrow, NDJSON, TFRecord), a list of these, the URL of a
            database, a Polars, pandas or Arrow table, a LazyFrame, a mapping of arrays, a list or an iterator of these.
        sql: the query, where `data` is the URL of a database.
        where: rows for which this is not true are left out: SQL as `polars.sql_expr` takes it, or an expression.
        skip_damaged: whether files that cannot be opened are left out and named, unless none is left.

    Raises:
        ColumnError: the filter names a column that is not there.
        ConfigError: the filter is no SQL, or `sql` does not go with the data.
        DataError: there are no data, or they cannot be read.
        MissingExtra: a package for a store or a database is not installed.

    >>> source = open_source({"score": [0.1, 0.9], "label": [0, 1]}, where="score > 0.5")
    >>> [batch.frame["label"].to_list() for part in source.parts for batch in part.batches(["label"])]
    [[1]]
    """
    if database.is_database(data):
        source = _of_query(str(data), sql)
    elif sql is not None:
        known = ", ".join(f"{scheme}://" for scheme in database.SCHEMES)
        raise ConfigError(f"sql (--sql) goes with the URL of a database ({known}), not with {describe(data)}.")
    else:
        source = _source(data, skip_damaged=skip_damaged)
    return source if where is None else _filtered(source, _expression(where))


def describe(data: Any) -> str:
    """Names the data for messages, without passwords."""
    if isinstance(data, Source):
        return data.name
    if isinstance(data, str) and files.is_url(data):
        return files.without_secrets(data)
    if isinstance(data, str | Path):
        return str(data)
    return {"DataFrame": "the frame", "LazyFrame": "the frame", "Table": "the table", "dict": "the data"}.get(
        type(data).__name__, "the data"
    )


def _source(data: Any, named: str | None = None, *, skip_damaged: bool = False) -> Source:
    import polars as pl

    name = named or describe(data)
    if isinstance(data, Source):
        return data
    if isinstance(data, str | list | tuple) and not data:
        raise DataError("No data are named: give a path, a frame, a table or a mapping of arrays.")
    if isinstance(data, str | Path):
        return _of_files(name, files.find([data]), skip_damaged=skip_damaged)
    if isinstance(data, list | tuple) and data and all(isinstance(item, str | Path) for item in data):
        return _of_files(name, files.find(data), skip_damaged=skip_damaged)
    if isinstance(data, pl.LazyFrame):
        with lazy.reading(name):
            columns = dict(data.collect_schema())
        return Source(name, (lazy.LazyPart(name, data),), columns, None, None)
    frame = memory.frame_of(data)
    if frame is not None:
        return Source(name, tuple(memory.frame_parts(frame, name)), dict(frame.schema), frame.height, None)
    if isinstance(data, list | tuple) and data:
        items = [_source(item, f"item {k + 1} of {name}") for k, item in enumerate(data)]
        return _joined_sources(name, items)
    if isinstance(data, Iterable):
        part = memory.once(memory.batch_frames(data), name)
        return Source(name, (part,), part.schema, None, None)
    raise DataError(
        f"Data of type {type(data).__name__} cannot be read; give a path, a frame, a table or a mapping of arrays."
    )


def _of_query(url: str, sql: str | None) -> Source:
    if sql is None:
        raise ConfigError(f"{describe(url)} is a database: give the query as sql (--sql).")
    part, columns, _ = database.part_of(url, sql)
    return Source(describe(url), (part,), columns, None, None)


def _joined_sources(name: str, sources: Sequence[Source]) -> Source:
    parts = [(part, source.columns) for source in sources for part in source.parts]
    columns = memory.common_schema([(source.name, source.columns) for source in sources])
    rows = [source.rows for source in sources]
    total = None if None in rows else sum(r or 0 for r in rows)
    return Source(name, tuple(_fitted(part, own, columns, {}) for part, own in parts), columns, total, None)


def _of_files(name: str, named: Sequence[File], *, skip_damaged: bool) -> Source:
    """Returns the parts of files, all with the types that hold the values of all."""
    readers: dict[str, Any] = {"parquet": parquet, "ipc": ipc, "tfrecord": tfrecord}
    opened: list[Any] = []
    damaged: dict[str, str] = {}
    for file in named:
        try:
            opened.append((file, *readers.get(str(file.format), text).parts_of(file)))
        except DataError as error:
            if not skip_damaged or len(damaged) == len(named) - 1:
                raise
            damaged[file.name] = str(error)
    found = [file for file, _, _ in opened]
    columns = memory.common_schema([(file.name, own) for file, _, own in opened])
    keys = files.partition_columns(found)
    said = [{}] * len(found) if keys is None else [_typed(row, keys.schema) for row in keys.to_dicts()]
    whole = {**columns, **({} if keys is None else dict(keys.schema))}
    parts = [_fitted(part, own, columns, said[k]) for k, (_, several, own) in enumerate(opened) for part in several]
    rows = [part.rows for part in parts]
    sizes = [file.size() for file in found]
    return Source(
        name,
        tuple(parts),
        whole,
        None if None in rows else sum(r or 0 for r in rows),
        None if None in sizes else sum(s or 0 for s in sizes),
        skip_damaged,
        damaged,
    )


def _typed(row: Mapping[str, Any], schema: Mapping[str, pl.DataType]) -> dict[str, tuple[pl.DataType, Any]]:
    return {name: (schema[name], value) for name, value in row.items()}


def _fitted(
    part: Part,
    own: Mapping[str, pl.DataType],
    columns: Mapping[str, pl.DataType],
    keys: Mapping[str, tuple[pl.DataType, Any]],
) -> Part:
    if isinstance(part, text.TextPart):
        part, own = text.read_as(part, columns), columns
    casts = {name: dtype for name, dtype in columns.items() if own[name] != dtype and name not in keys}
    return FittedPart(part, tuple(own), casts, keys) if casts or keys else part


def _expression(where: str | pl.Expr) -> pl.Expr:
    import polars as pl

    if isinstance(where, pl.Expr):
        return where
    if not isinstance(where, str):
        raise ConfigError(f"A filter is SQL or a Polars expression, not of type {type(where).__name__}.")
    try:
        return pl.sql_expr(where)
    except pl.exceptions.PolarsError as error:
        raise ConfigError(f'The filter "{where}" is not an SQL condition: {first_line(error)}') from error


def _filtered(source: Source, condition: pl.Expr) -> Source:
    """Returns a source of the rows that satisfy the condition."""
    _require_of_rows(condition, source)
    parts = [kept for part in source.parts if (kept := _filtered_part(part, condition)) is not None]
    if not parts:
        parts = list(memory.frame_parts(memory.no_rows(source.columns), source.name))
    rows = [part.rows for part in parts]
    return replace(source, parts=tuple(parts), rows=None if None in rows else sum(r or 0 for r in rows))


def _require_of_rows(condition: pl.Expr, source: Source) -> None:
    """Raises ConfigError unless a condition is true or false for each row, whichever rows are read with it."""
    import polars as pl

    if condition.meta.has_multiple_outputs():
        raise ConfigError("The filter names several columns at once; write a condition of each.")
    check_columns(condition.meta.root_names(), source.columns, f"{source.name}, which the filter names")
    if looks_beyond(condition):
        raise ConfigError(
            "The filter depends on other rows (a mean, a rank, a window), and rows are read part by part: work that "
            "out before, as a column."
        )
    try:
        dtype = pl.DataFrame(schema=dict(source.columns)).select(condition).dtypes[0]
    except pl.exceptions.PolarsError as error:
        raise ConfigError(f"The filter does not fit the columns of {source.name}: {first_line(error)}") from error
    if dtype != pl.Boolean:
        raise ConfigError(f"The filter must be true or false for each row, not {dtype}.")


def _filtered_part(part: Part, condition: pl.Expr) -> Part | None:
    """Returns a part of the rows that satisfy the condition; None where it holds none, or another part has them."""
    keys = part.keys if isinstance(part, FittedPart) else {}
    if set(condition.meta.root_names()) <= set(keys):
        return part if _holds(condition, keys) else None
    if isinstance(part, lazy.LazyPart):
        return replace(part, lazy=part.lazy.filter(condition), rows=None)
    inner = _innermost(part)
    if isinstance(inner, parquet.ParquetPart) and not inner.file.url:
        if inner.first:
            return None  # the part of the first row groups reads the file
        return lazy.LazyPart(inner.file.name, _scanned(inner.file, part).filter(condition), inner.file)
    return FilteredPart(part, condition)


def _holds(condition: pl.Expr, keys: Mapping[str, tuple[pl.DataType, Any]]) -> bool:
    import polars as pl

    row = pl.DataFrame([pl.Series(name, [value], dtype) for name, (dtype, value) in keys.items()])
    try:
        return row.select(condition).item() is True
    except pl.exceptions.PolarsError as error:
        types = listing(f"{name} is {keys[name][0]}" for name in condition.meta.root_names())
        raise ConfigError(f"The filter does not fit the folders' columns ({types}): {first_line(error)}") from error


def _scanned(file: File, part: Part) -> pl.LazyFrame:
    """Returns a Parquet file as Polars scans it: row groups whose statistics rule a filter out are not read."""
    import polars as pl

    frame = pl.scan_parquet(file.path, glob=False)
    if not isinstance(part, FittedPart):
        return frame
    said = [pl.lit(value, dtype).alias(name) for name, (dtype, value) in part.keys.items()]
    return frame.cast(dict(part.casts)).with_columns(said)  # type: ignore[arg-type]
