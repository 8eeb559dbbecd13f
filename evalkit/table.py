"""Data in: files, frames, tables, arrays and batches become one Polars frame of the columns that are needed."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.errors import ColumnError, DataError, listing, nearest

if TYPE_CHECKING:
    import polars as pl

_FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".arrow": "ipc",
    ".feather": "ipc",
    ".ipc": "ipc",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
}


def read(data: Any, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Returns the columns of the data.

    Args:
        data: a path or glob (Parquet, CSV, Arrow, NDJSON), a list of paths, a Polars, pandas or Arrow table, a
            LazyFrame, a mapping of arrays, or an iterator of any of these.
        columns: the columns to keep; None: all.

    Raises:
        ColumnError: a column is not there.
        DataError: the data cannot be read, or there are none.
    """
    import polars as pl

    source = describe(data)
    lazy = scan(data, columns)
    try:
        names = lazy.collect_schema().names()
        if columns is not None:
            _check_columns(columns, names, source)
            lazy = lazy.select(list(dict.fromkeys(columns)))
        frame = lazy.collect()
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read {source}: {_first_line(error)}") from error
    if not frame.height:
        raise DataError(f"{source} holds no rows.")
    return frame


def describe(data: Any) -> str:
    """Names the data for messages."""
    if isinstance(data, str | Path):
        return str(data)
    return {"DataFrame": "the frame", "LazyFrame": "the frame", "Table": "the table", "dict": "the data"}.get(
        type(data).__name__, "the data"
    )


def _check_columns(columns: Sequence[str], names: Sequence[str], source: str) -> None:
    for column in columns:
        if column not in names:
            raise ColumnError(f'No column "{column}" in {source}.{nearest(column, names)} Columns: {listing(names)}.')


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def scan(data: Any, columns: Sequence[str] | None = None) -> pl.LazyFrame:
    """Returns the data as a lazy frame; of what must be converted, only the columns that are needed."""
    import polars as pl

    if isinstance(data, pl.LazyFrame):
        return data
    if isinstance(data, pl.DataFrame):
        return data.lazy()
    if isinstance(data, str | Path):
        return _scan(_files(str(data)))
    if isinstance(data, Mapping):
        return _from_arrays(data, columns).lazy()
    if isinstance(data, list | tuple) and data and all(isinstance(item, str | Path) for item in data):
        return _scan([file for item in data for file in _files(str(item))])
    module = type(data).__module__.split(".")[0]
    if module == "pandas":
        return _from_pandas(data, columns)
    if module == "pyarrow" or hasattr(data, "__arrow_c_stream__"):
        return pl.DataFrame(pl.from_arrow(data)).lazy()
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


def _from_arrays(data: Mapping[str, Any], columns: Sequence[str] | None) -> pl.DataFrame:
    import polars as pl

    if columns is not None:
        _check_columns(columns, list(data), "the data")
    chosen = {name: data[name] for name in (columns if columns is not None else data)}
    lengths = {name: len(values) for name, values in chosen.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"Columns differ in length: {listing(f'{name} has {n:,}' for name, n in lengths.items())}.")
    series = {}
    for name, values in chosen.items():
        try:
            series[name] = pl.Series(name, _plain(values), strict=True)
        except (TypeError, pl.exceptions.PolarsError, ValueError) as error:
            raise DataError(f'"{name}" holds mixed types or cannot be read: {_first_line(error)}') from error
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


def _from_pandas(data: Any, columns: Sequence[str] | None) -> pl.LazyFrame:
    import polars as pl

    if columns is not None:
        _check_columns(columns, [str(name) for name in data.columns], "the frame")
        data = data[list(dict.fromkeys(columns))]
    try:
        return pl.from_pandas(data, nan_to_null=False).lazy()
    except Exception as error:
        raise DataError(f"The pandas frame holds mixed types or cannot be read: {_first_line(error)}") from error


def _files(pattern: str) -> list[str]:
    if any(character in pattern for character in "*?["):
        found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - the pattern may be absolute
        if not found and not Path(pattern).exists():
            raise DataError(f'No file matches "{pattern}".')
        return found or [pattern]
    path = Path(pattern)
    if path.is_dir():
        found = sorted(str(file) for file in path.iterdir() if file.suffix in _FORMATS)
        if not found:
            raise DataError(f"The folder {pattern} holds no {listing(_FORMATS)} file.")
        return found
    if not path.exists():
        beside = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"There is no file {pattern}.{nearest(path.name, beside)}")
    return [pattern]


def _scan(files: list[str]) -> pl.LazyFrame:
    import polars as pl

    formats = {Path(file).suffix.lower() for file in files}
    kinds = {_FORMATS.get(suffix) for suffix in formats}
    if None in kinds or len(kinds) > 1:
        raise DataError(f"Cannot tell how to read {listing(files, 3)}; the endings known are {listing(_FORMATS)}.")
    kind = kinds.pop()
    if kind == "parquet":
        return pl.scan_parquet(files, glob=False)
    if kind == "ipc":
        return pl.scan_ipc(files, glob=False)
    if kind == "ndjson":
        return pl.scan_ndjson(files)
    return pl.scan_csv(files, separator="\t" if kind == "tsv" else ",", glob=False, infer_schema_length=10_000)
