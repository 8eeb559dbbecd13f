"""Data in: files, frames, tables, arrays and batches become one Polars frame of the columns that are needed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.errors import DataError
from evalkit.sources import files, memory, text
from evalkit.sources.database import is_database
from evalkit.sources.files import File
from evalkit.sources.lazy import reading
from evalkit.sources.part import check_columns
from evalkit.sources.source import Source, describe, open_source

if TYPE_CHECKING:
    import polars as pl

__all__ = ["describe", "read", "scan"]


def read(data: Any, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Returns the columns of the data.

    Args:
        data: a path, folder, glob or URL (Parquet, CSV, Arrow, NDJSON, TFRecord), a list of paths, a Polars, pandas or
            Arrow table, a LazyFrame, a mapping of arrays, an iterator of any of these, or what `open_source` returns.
        columns: the columns to keep; None: all.

    Raises:
        ColumnError: a column is not there.
        DataError: the data cannot be read, or there are none.
    """
    import polars as pl

    try:
        return _read(data, scan(data, columns), columns)
    except DataError as error:  # part by part, unlike files are made alike, and a damaged one is named
        unlike = isinstance(error.__cause__, pl.exceptions.SchemaError)
        damaged = isinstance(error.__cause__, pl.exceptions.PolarsError | OSError) and _several_files(data)
        if isinstance(data, Source) or not (unlike or damaged):
            raise
        return _read(data, _collected(open_source(data), columns), columns)


def _several_files(data: Any) -> bool:
    paths = [data] if isinstance(data, str | Path) else data
    named = isinstance(paths, list | tuple) and all(isinstance(path, str | Path) for path in paths)
    return named and not is_database(data) and len(files.find(paths)) > 1


def _read(data: Any, lazy: pl.LazyFrame, columns: Sequence[str] | None) -> pl.DataFrame:
    source = describe(data)
    with reading(source):
        names = lazy.collect_schema().names()
        if columns is not None:
            check_columns(columns, names, source)
            lazy = lazy.select(list(dict.fromkeys(columns)))
        frame = lazy.collect()
    if not frame.height:
        raise DataError(f"{source} holds no rows.")
    return frame


def scan(data: Any, columns: Sequence[str] | None = None) -> pl.LazyFrame:
    """Returns the data as a lazy frame; of what must be converted, only the columns that are needed."""
    import polars as pl

    if isinstance(data, pl.LazyFrame):
        return data
    if isinstance(data, Source) or is_database(data):
        return _collected(open_source(data), columns)
    if isinstance(data, str | Path):
        return _scan(files.find([data]), data, columns)
    if isinstance(data, list | tuple) and data and all(isinstance(item, str | Path) for item in data):
        return _scan(files.find(data), data, columns)
    frame = memory.frame_of(data, columns)
    if frame is not None:
        return frame.lazy()
    if isinstance(data, Iterable):
        parts = [scan(part, columns) for part in data]
        if parts:
            return pl.concat(
                [part.select(columns) if columns is not None else part for part in parts], how="vertical_relaxed"
            )
        raise DataError("The iterator of batches is empty.")
    raise DataError(
        f"Data of type {type(data).__name__} cannot be read; give a path, a frame, a table or a mapping of arrays."
    )


def _collected(source: Source, columns: Sequence[str] | None) -> pl.LazyFrame:
    """Returns what Polars does not read itself: the batches of a source."""
    import polars as pl

    chosen = list(source.columns if columns is None else dict.fromkeys(columns))
    check_columns(chosen, source.columns, source.name)
    empty = pl.DataFrame(schema={name: source.columns[name] for name in chosen})
    batches = [batch.frame for part in source.parts for batch in part.batches(chosen)]
    return pl.concat([empty, *batches], how="vertical_relaxed").lazy()


def _scan(found: Sequence[File], data: Any, columns: Sequence[str] | None) -> pl.LazyFrame:
    import polars as pl

    if any(file.url or file.format == "tfrecord" for file in found):
        return _collected(open_source(data), columns)
    said = files.partition_columns(found)
    if said is None and found[0].format in ("parquet", "ipc"):
        return _read_by_polars([file.path for file in found], found[0].format)
    frames = _of_text(found) if found[0].format not in ("parquet", "ipc") else [_of_one(file) for file in found]
    if said is not None:
        frames = [
            frame.with_columns(pl.lit(said[name][k], said.schema[name]).alias(name) for name in said.columns)
            for k, frame in enumerate(frames)
        ]
    return pl.concat(frames, how="vertical_relaxed")


def _read_by_polars(paths: list[str], kind: str) -> pl.LazyFrame:
    import polars as pl

    return pl.scan_parquet(paths, glob=False) if kind == "parquet" else pl.scan_ipc(paths, glob=False)


def _of_one(file: File) -> pl.LazyFrame:
    return _read_by_polars([file.path], str(file.format))


def _of_text(found: Sequence[File]) -> list[pl.LazyFrame]:
    """Returns the files with the types that hold the values of all."""
    columns = memory.common_schema([(file.name, text.parts_of(file)[1]) for file in found])
    return [text.scan(file, columns).select(list(columns)) for file in found]
