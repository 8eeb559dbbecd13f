"""Grouping features, of any kind of table, as codes and the levels that pandas' group-by would give.

>>> import numpy as np
>>> [sex] = features("sensitive_feature_", np.array(["m", "f", "m"]), 3)
>>> sex.name, sex.codes.tolist(), sex.levels.tolist()
('sensitive_feature_0', [1, 0, 1], ['f', 'm'])
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.errors import DataError, MissingExtra

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Feature:
    """One grouping feature.

    Attributes:
        name: as it stands in an index.
        codes: [rows] int64, the level of each row.
        levels: its distinct values, in order.
    """

    name: str
    codes: NDArray[np.int64]
    levels: pd.Index


def pandas() -> Any:
    """Returns pandas, which frames answer in.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingExtra("pandas", "fairness") from error
    return pd


def features(base_name: str, given: Any, rows: int) -> list[Feature]:
    """Returns the features of a table, a column, a mapping of columns, a list or an array of one or two dimensions.

    Args:
        base_name: what names a column without a name, followed by its number.
        given: the columns; names of pandas, Polars and Arrow columns are kept.
        rows: how many rows there must be.

    Raises:
        DataError: a column has another length, missing values, or a name that is no text.
    """
    return [_feature(name, values, rows) for name, values in _columns(base_name, given)]


def _columns(base_name: str, given: Any) -> Iterator[tuple[str, Any]]:
    """Yields name and values of each column."""
    if isinstance(given, Mapping):
        yield from given.items()
    elif hasattr(given, "columns") and hasattr(given, "shape"):  # a frame of pandas or Polars, an Arrow table
        names = getattr(given, "column_names", None) or list(given.columns)
        of_pandas = hasattr(given, "iloc")
        for number, name in enumerate(names):
            yield name, given.iloc[:, number] if of_pandas else given[name]
    elif hasattr(given, "to_numpy") and not isinstance(given, np.ndarray):  # a column of pandas, Polars or Arrow
        name = getattr(given, "name", None)
        yield f"{base_name}0" if name in (None, "") else name, given
    else:
        yield from _of_array(base_name, given)


def _of_array(base_name: str, given: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(given, Iterable) and not isinstance(given, np.ndarray | str):
        given = list(given)
        if any(np.ndim(item) for item in given):
            raise DataError("A list of groups must hold one scalar for each row; name several features in a dict.")
        given = np.fromiter(given, dtype=object, count=len(given))
    array: NDArray[Any] = np.asarray(given)
    array = array.reshape(1) if array.size == 1 else array.squeeze()
    if array.ndim > 2:
        raise DataError(f"Groups have {array.ndim} dimensions; give one column for each feature.")
    for number, column in enumerate([array] if array.ndim == 1 else array.T):
        yield f"{base_name}{number}", column


def _feature(name: Any, values: Any, rows: int) -> Feature:
    pd = pandas()
    if not isinstance(name, str):
        raise DataError(f"The name of a feature must be text, not {name!r} ({type(name).__name__}).")
    codes, distinct = _coded(values)
    if len(codes) != rows:
        raise DataError(f"{name} has {len(codes):,} rows, but y_true has {rows:,}.")
    if (codes < 0).any():
        raise DataError(f"{name} has {int((codes < 0).sum()):,} missing values; name them, or leave those rows out.")
    plain = pd.Index(np.asarray(distinct, dtype=object).tolist(), name=name)
    order, levels = pd.factorize(plain, sort=True)
    return Feature(name, order.astype(np.int64)[codes], pd.Index(levels, name=name))


def _coded(values: Any) -> tuple[NDArray[np.int64], Any]:
    """Returns the code of each value, -1 where it is missing, and the distinct values."""
    pd = pandas()
    import pyarrow as pa

    if hasattr(values, "to_arrow"):  # Polars
        values = values.to_arrow()
    if isinstance(values, pa.Array | pa.ChunkedArray):
        whole = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        whole = whole if pa.types.is_dictionary(whole.type) else whole.dictionary_encode()
        codes = whole.indices.to_pandas().fillna(-1).to_numpy().astype(np.int64)
        return _recoded(codes, whole.dictionary.to_pylist())
    series = values if isinstance(values, pd.Series) else pd.Series(np.asarray(values))
    codes, distinct = pd.factorize(series)
    return codes.astype(np.int64), list(distinct)


def _recoded(codes: NDArray[np.int64], dictionary: list[Any]) -> tuple[NDArray[np.int64], list[Any]]:
    """Drops what no row holds; missing values may stand in a dictionary too."""
    held = np.bincount(codes[codes >= 0], minlength=len(dictionary)) > 0
    known = held & np.array([value is not None and value == value for value in dictionary], dtype=bool)
    new = np.append(np.where(known, np.cumsum(known) - 1, -1), -1)
    return new[codes], [value for value, kept in zip(dictionary, known, strict=True) if kept]
