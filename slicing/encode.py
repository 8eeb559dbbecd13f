"""Rows to slices: a code for each row and dimension, and the values that the codes stand for."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.errors import ColumnError, ConfigError, DataError, listing, nearest
from evalkit.slicing.conditions import looks_beyond
from evalkit.slicing.spec import OTHER, Dimension, Expression, SliceSet, edge_text

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

DEFAULT_LIMIT = 10_000


@dataclass(frozen=True)
class Coded:
    """One dimension of the rows.

    Attributes:
        codes: [members] int32, index into `values`; -1 for rows in no slice.
        values: what is written in a slice key for each code; None for null.
        rows: [members] int64, the row of each member, where a row may be in several slices; None: one each.
        partial: whether any code is -1.
    """

    codes: NDArray[np.int32]
    values: tuple[str | None, ...]
    rows: NDArray[np.int64] | None = None
    partial: bool = False


def columns_of(slice_sets: Sequence[SliceSet]) -> list[str]:
    """Returns the columns that slice sets read."""
    names: dict[str, None] = {}
    for dimension in (d for s in slice_sets for d in s.dimensions):
        if dimension.form == "where":
            names.update(dict.fromkeys(_expression(dimension).meta.root_names()))
        else:
            names[dimension.name] = None
    return list(names)


def freeze(slice_sets: Sequence[SliceSet], frame: pl.DataFrame) -> list[SliceSet]:
    """Replaces what depends on the data (quantile bins, the most frequent values) by edges and values found in it."""
    return [SliceSet(tuple(_freeze(d, frame) for d in s.dimensions)) for s in slice_sets]


def _freeze(dimension: Dimension, frame: pl.DataFrame) -> Dimension:
    if dimension.form not in ("quantiles", "top"):
        return dimension
    column = _column(frame, dimension.name)
    if dimension.form == "top":
        if column.dtype.is_nested():
            raise ConfigError(f'top(...) is not for the list column "{dimension.name}".')
        return most_frequent(dimension, column.drop_nulls().value_counts())
    held = numbers(column)
    held = held[np.isfinite(held)]
    if not len(held):
        raise DataError(f'"{dimension.name}" has no numbers to make quantile bins of.')
    inner = np.arange(1, dimension.argument) / dimension.argument
    return at_quantiles(dimension, np.quantile(held, inner, method="higher"), held.min())


def most_frequent(dimension: Dimension, counts: pl.DataFrame) -> Dimension:
    """Freezes `top(n)`: its values are the most frequent ones, of equally frequent ones the first in order.

    Args:
        dimension: of the form `top`.
        counts: the distinct values of the column, and `count`.
    """
    ordered = counts.sort("count", dimension.name, descending=[True, False]).head(dimension.argument)
    return replace(dimension, argument=(dimension.argument, tuple(sorted(ordered[dimension.name].to_list()))))


def at_quantiles(dimension: Dimension, quantiles: NDArray[np.float64], least: float) -> Dimension:
    """Freezes `quantiles(n)`: edges where the inner quantiles are, without those that leave nothing below."""
    edges = np.unique(quantiles)
    return Dimension(dimension.name, "edges", tuple(float(edge) for edge in edges[edges > least]))


Dictionaries = Mapping[str, Sequence[Any]]


def encode(
    slice_sets: Sequence[SliceSet],
    frame: pl.DataFrame,
    limit: int = DEFAULT_LIMIT,
    *,
    dictionaries: Dictionaries | None = None,
    part: bool = False,
) -> dict[Dimension, Coded]:
    """Returns the codes of every dimension of frozen slice sets.

    Args:
        slice_sets: from `freeze`.
        frame: the columns that they read.
        limit: the most values a column may have.
        dictionaries: the values of columns that the frame holds as codes already, -1 for null.
        part: whether the frame is a part of the rows, which need not hold each value that was asked for.

    Raises:
        ColumnError: a column is not there.
        DataError: a column has more values than `limit`, or they cannot be sliced by.
    """
    dimensions = list(dict.fromkeys(d for s in slice_sets for d in s.dimensions))
    known = dictionaries or {}
    if part:
        return {d: _encode(d, frame, limit, known, part=True) for d in dimensions}
    with ThreadPoolExecutor() as pool:
        return dict(zip(dimensions, pool.map(lambda d: _encode(d, frame, limit, known), dimensions), strict=True))


def by_code(dimension: Dimension) -> bool:
    """Returns whether codes of a column's values are enough to slice by it, whatever the values are."""
    return dimension.form == "column"


def _column(frame: pl.DataFrame, name: str) -> pl.Series:
    if name not in frame.columns:
        raise ColumnError(
            f'No column "{name}" to slice by.{nearest(name, frame.columns)} Columns: {listing(frame.columns)}.'
        )
    return frame[name]


def numbers(column: pl.Series) -> NDArray[np.float64]:
    """Returns a numeric column as float64, NaN where it is null; DataError for other columns."""
    import polars as pl

    if column.dtype == pl.Boolean or not column.dtype.is_numeric():
        raise DataError(f'"{column.name}" is {column.dtype}; bins need a numeric column.')
    result: NDArray[np.float64] = column.cast(pl.Float64).fill_null(math.nan).to_numpy()
    return result


def _encode(
    dimension: Dimension, frame: pl.DataFrame, limit: int, dictionaries: Dictionaries, *, part: bool = False
) -> Coded:
    if dimension.form == "where":
        return _encode_condition(dimension, frame, part=part)
    column = _column(frame, dimension.name)
    if dimension.name in dictionaries:
        return _encode_known(column, dictionaries[dimension.name])
    if dimension.form == "edges":
        return _encode_bins(column, dimension.argument)
    if column.dtype.is_nested():
        return _encode_list(dimension, column, limit, part=part)
    if dimension.form == "values":
        return _encode_chosen(column, dimension.argument, part=part)
    if dimension.form == "top":
        return _encode_top(column, dimension.argument[1])
    return _encode_values(column, limit)


def _expression(dimension: Dimension) -> pl.Expr:
    import polars as pl

    if isinstance(dimension.argument, Expression):
        return dimension.argument.expression
    try:
        return pl.sql_expr(str(dimension.argument))
    except pl.exceptions.PolarsError as error:
        raise ConfigError(f'The condition of "{dimension.name}" cannot be read: {error}.') from error


def _encode_condition(dimension: Dimension, frame: pl.DataFrame, *, part: bool = False) -> Coded:
    import polars as pl

    expression = _expression(dimension)
    if part and looks_beyond(expression):
        raise ConfigError(
            f'The condition of "{dimension.name}" depends on other rows (a mean, a rank, a window), and rows are read '
            "part by part: work that out before, as a column."
        )
    try:
        holds = frame.select(expression.alias("holds"))["holds"]
    except pl.exceptions.PolarsError as error:
        raise ConfigError(f'The condition of "{dimension.name}" fails on the data: {error}.') from error
    if holds.dtype != pl.Boolean or len(holds) != frame.height:
        raise ConfigError(f'The condition of "{dimension.name}" must be true or false for each row, not {holds.dtype}.')
    return Coded(np.where(holds.fill_null(value=False).to_numpy(), 0, -1).astype(np.int32), ("true",), partial=True)


def _encode_bins(column: pl.Series, edges: Sequence[float]) -> Coded:
    held = numbers(column)
    codes = np.searchsorted(np.asarray(edges), held, side="right").astype(np.int32)
    codes[np.isnan(held)] = len(edges) + 1
    bounds = [-math.inf, *edges, math.inf]
    names = [
        f"{'(' if low == -math.inf else '['}{edge_text(low)}, {edge_text(high)})" for low, high in pairwise(bounds)
    ]
    return Coded(codes, (*names, None))


def _encode_known(column: pl.Series, values: Sequence[Any]) -> Coded:
    """Takes the codes that a file holds already."""
    codes = column.to_numpy()
    texts = tuple(None if value is None else _text(value) for value in values)
    if len(codes) and codes.min() < 0:
        return Coded(np.where(codes < 0, np.int32(len(texts)), codes), (*texts, None))
    return Coded(codes, texts)


def require_held(dimension: Dimension, held: Collection[str | None]) -> None:
    """Raises ConfigError where a value that was asked for does not occur."""
    for value in dimension.argument:
        text = None if value is None else _text(value)
        if text not in held:
            known = [v for v in held if v is not None]
            raise ConfigError(
                f'"{dimension.name}" holds no "{text}".{nearest(str(text), known)} Values: {listing(known)}.'
            )


def _encode_chosen(column: pl.Series, values: Sequence[Any], *, part: bool = False) -> Coded:
    coded = _encode_values(column, max(DEFAULT_LIMIT, column.n_unique()))
    wanted = [None if value is None else _text(value) for value in values]
    if not part:
        require_held(Dimension(column.name, "values", tuple(values)), coded.values)
    place = np.array([wanted.index(v) if v in wanted else -1 for v in coded.values], dtype=np.int32)
    return Coded(place[coded.codes], tuple(wanted), partial=True)


def _encode_top(column: pl.Series, kept: Sequence[Any]) -> Coded:
    coded = _encode_values(column, max(DEFAULT_LIMIT, column.n_unique()))
    names = [_text(value) for value in kept]
    other = OTHER if OTHER not in names else f"{OTHER} values"
    place = [len(names) + 1 if v is None else names.index(v) if v in names else len(names) for v in coded.values]
    return Coded(np.array(place, dtype=np.int32)[coded.codes], (*names, other, None))


def _encode_values(column: pl.Series, limit: int) -> Coded:
    """Codes of a column's values in ascending order, null last."""
    import polars as pl

    if column.dtype == pl.Object:
        raise DataError(f'"{column.name}" holds mixed types; make it text or numbers to slice by it.')
    if column.dtype == pl.Boolean:
        column = column.cast(pl.UInt8)
        words: Mapping[Any, str] | None = {0: "false", 1: "true"}
    else:
        words = None
    if column.dtype.is_float():
        column = column.fill_nan(None)
    if column.dtype.is_numeric() or column.dtype.is_temporal():
        return _encode_unique(column, limit, words)
    return _encode_text(column.cast(pl.String), limit)


_BLOCK = 1 << 18
_BUCKETS = 1 << 16


def _encode_text(column: pl.Series, limit: int) -> Coded:
    """Codes of text, by hash where that is quick; Arrow's dictionary where hashes share a bucket."""
    coded = _encode_by_hash(column, limit) if len(column) >= _BUCKETS else None
    if coded is not None:
        return coded
    array = column.to_arrow().dictionary_encode(null_encoding="encode")
    values = array.dictionary.to_pylist()
    within(len(values), column.name, limit)
    indices = array.indices
    codes = np.frombuffer(indices.buffers()[1], dtype=np.int32, count=len(indices), offset=4 * indices.offset)
    return _in_order(codes, values)


def _encode_by_hash(column: pl.Series, limit: int) -> Coded | None:
    """Codes by the leading 16 bits of a 64-bit hash, which is quick; None where two hashes share them."""
    hashes, known = np.zeros(_BUCKETS, dtype=np.uint64), np.zeros(_BUCKETS, dtype=bool)
    first = np.zeros(_BUCKETS, dtype=np.int64)
    buckets = np.empty(len(column), dtype=np.uint16)
    for start in range(0, len(column), _BLOCK):
        block = column.slice(start, _BLOCK).hash().to_numpy()
        bucket = (block >> np.uint64(48)).astype(np.uint16)
        buckets[start : start + len(bucket)] = bucket
        if start and np.array_equal(hashes.take(bucket, mode="clip"), block):
            continue
        new = np.flatnonzero(~known[bucket])
        hashes[bucket[new]], first[bucket[new]], known[bucket[new]] = block[new], start + new, True
        if not np.array_equal(hashes[bucket], block):
            return None
    held = np.flatnonzero(known)
    within(len(held), column.name, limit)
    coded = _in_order(np.arange(len(held), dtype=np.int32), column.gather(first[held]).to_list())
    place = np.zeros(_BUCKETS, dtype=np.int32)
    place[held] = coded.codes
    codes = np.empty(len(buckets), dtype=np.int32)
    for start in range(0, len(buckets), _BLOCK):
        np.take(place, buckets[start : start + _BLOCK], out=codes[start : start + _BLOCK], mode="clip")
    return Coded(codes, coded.values)


def _encode_unique(column: pl.Series, limit: int, words: Mapping[Any, str] | None) -> Coded:
    import polars as pl

    distinct = column.unique().sort(nulls_last=True)
    within(len(distinct), column.name, limit)
    values = distinct.to_list()
    wide = isinstance(column.dtype, pl.Decimal) or column.dtype in (pl.Int128, pl.UInt128)
    if wide or (column.dtype == pl.UInt64 and max((v for v in values if v is not None), default=0) >= 1 << 63):
        places = (column.rank("dense") - 1).fill_null(distinct.drop_nulls().len())  # beyond NumPy's integers
        return Coded(places.to_numpy().astype(np.int32), tuple(None if v is None else _text(v) for v in values))
    texts = [None if v is None else words[v] if words else _text(v) for v in values]
    known = distinct.drop_nulls().to_physical().to_numpy()
    physical = column.to_physical()
    low = int(known[0]) if len(known) and known.dtype.kind in "iu" else 0
    span = int(known[-1]) - low + 1 if len(known) and known.dtype.kind in "iu" else math.inf
    filled = physical.fill_null(pl.lit(known[0] if len(known) else 0)).to_numpy()
    if span <= 65_536:
        table = np.zeros(int(span), dtype=np.int32)
        table[known.astype(np.int64) - low] = np.arange(len(known), dtype=np.int32)
        codes = table[filled.astype(np.int64) - low] if low else table[filled]
    else:
        codes = np.searchsorted(known, filled).astype(np.int32)
    if column.null_count():
        codes[column.is_null().to_numpy()] = len(known)
    return Coded(codes, tuple(texts))


def _in_order(codes: NDArray[np.int32], values: Sequence[str | None]) -> Coded:
    """Renumbers codes so that they follow the values' order, null last."""
    order = sorted(range(len(values)), key=lambda i: (values[i] is None, values[i] or ""))
    place = np.empty(len(order), dtype=np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    return Coded(place[codes], tuple(values[i] for i in order))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value)


def within(found: int, name: str, limit: int) -> None:
    """Raises DataError for more slices than the limit."""
    if found > limit:
        raise DataError(
            f'"{name}" has {found:,} distinct values, more than {limit:,} slices: '
            f'keep the most frequent ("{name}=top(20)") or, for numbers, make bins ("{name}=quantiles(4)").'
        )


def _encode_list(dimension: Dimension, column: pl.Series, limit: int, *, part: bool = False) -> Coded:
    import polars as pl

    if not isinstance(column.dtype, pl.List | pl.Array):
        raise DataError(f'"{column.name}" is {column.dtype}; slices need plain values or lists of them.')
    members = (
        pl.DataFrame({"value": column, "row": np.arange(len(column))})
        .explode("value", empty_as_null=False)
        .unique(maintain_order=True)
    )
    values = members["value"].alias(column.name)
    if dimension.form == "values":
        coded = _encode_chosen(values, dimension.argument, part=part)
    else:
        coded = _encode_values(values, limit)
    return Coded(coded.codes, coded.values, members["row"].to_numpy(), coded.partial)
