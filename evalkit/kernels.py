"""The passes over rows that run in XLA: every statistic's sums by cell, in chunks of a few fixed sizes.

Counts are integers and sums are float64 under a scoped `jax.enable_x64`; no global setting of JAX's is changed. Needs
JAX and NumPy alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit import score_keys
from evalkit.compilation import scoped
from evalkit.statistic import Batch, Statistic

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK_ROWS = 1 << 18
_LEAST = 1 << 10


def padded(n: int, least: int = 8) -> int:
    """Returns the power of two that n things are padded to.

    >>> padded(561), padded(3)
    (1024, 8)
    """
    return max(least, 1 << max(n - 1, 0).bit_length())


def padded_entries(n: int) -> int:
    """Returns the size that n entries of a histogram are padded to: a power of two, or one and a half of one.

    >>> padded_entries(5000), padded_entries(7000)
    (6144, 8192)
    """
    size = padded(n, _LEAST)
    return size * 3 // 4 if size > 2 * _LEAST and n <= size * 3 // 4 else size


def chunks(n: int, chunk_rows: int) -> Iterator[tuple[slice, int]]:
    """Yields the rows of each chunk and the size that it is padded to."""
    for start in range(0, n, chunk_rows):
        stop = min(start + chunk_rows, n)
        yield slice(start, stop), min(padded(stop - start, _LEAST), padded(chunk_rows, _LEAST))


def pad(array: NDArray[Any], size: int) -> NDArray[Any]:
    """Returns the array with zeros after it."""
    if len(array) == size:
        return array
    result = np.zeros((size, *array.shape[1:]), dtype=array.dtype)
    result[: len(array)] = array
    return result


def field_sums(
    statistic: Statistic,
    arrays: Mapping[str, Any],
    codes: NDArray[np.int32],
    cells: int,
    weight: NDArray[np.float64] | None,
    *,
    squares: bool,
    pivot: NDArray[np.float64],
    chunk_rows: int,
) -> dict[str, NDArray[Any]]:
    """Returns the sums of a statistic in each cell.

    Args:
        statistic: of the form `sums` or `cells`.
        arrays: what a `Batch` holds, [rows] each.
        codes: [rows] int32, the cell of each row.
        cells: the number of cells.
        weight: [rows] float64, or None.
        squares: whether to sum products of fields as well.
        pivot: [cells] subtracted from the values of a cell's rows first, by statistics that ask for it.
        chunk_rows: the rows of one pass.

    Returns:
        `count` [cells, places] int64, `total` [cells, fields]; with `squares` also `square`, for sums [cells, fields,
        fields] and for cells [cells, fields]; for sums also `largest` [cells, fields].
    """
    import jax

    size = padded(cells)
    kernel = _kernel(statistic, size, weight is not None, squares)
    needed = {role: array for role, array in arrays.items() if array is not None}
    sums: dict[str, NDArray[Any]] = {}
    with scoped():
        for rows, width in chunks(len(codes), chunk_rows):
            part = jax.tree.map(lambda array, rows=rows, width=width: pad(array[rows], width), needed)
            weights = None if weight is None else pad(weight[rows], width)
            answer = kernel(part, pad(codes[rows], width), weights, rows.stop - rows.start, pad(pivot, size))
            _accumulate(sums, {name: np.asarray(value)[:cells] for name, value in answer.items()})
    return _unpack(statistic, sums)


def _accumulate(sums: dict[str, NDArray[Any]], new: dict[str, NDArray[Any]]) -> None:
    for name, value in new.items():
        wide = value.astype(np.int64 if value.dtype.kind == "i" else np.float64)
        if name not in sums:
            sums[name] = wide
        else:
            sums[name] = np.maximum(sums[name], wide) if name == "largest" else sums[name] + wide


def _unpack(statistic: Statistic, sums: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Gives counts their float copies, and packed products their full matrices."""
    if statistic.form == "cells":
        counted = sums["count"].astype(np.float64)
        return {"count": sums["count"], "total": sums.get("total", counted), "square": sums.get("square", counted)}
    if "square" in sums:
        n = sums["total"].shape[1]
        upper = np.triu_indices(n)
        full = np.zeros((len(sums["square"]), n, n))
        full[:, upper[0], upper[1]] = sums["square"]
        full[:, upper[1], upper[0]] = sums["square"]
        sums["square"] = full
    return sums


@functools.lru_cache(maxsize=512)
def _kernel(statistic: Statistic, size: int, weighted: bool, squares: bool) -> Callable[..., dict[str, Any]]:
    """Compiles the pass of one statistic for a number of cells; rows are padded to few sizes, each a trace."""
    import jax
    import jax.numpy as jnp

    names = statistic.cell_names

    def cells(batch: Batch, codes: Any, weight: Any, valid: Any) -> dict[str, Any]:
        places = jnp.where(valid, codes * len(names) + statistic.cell(batch), size * len(names))

        def add(values: Any) -> Any:
            empty = jnp.zeros(size * len(names), values.dtype)
            return empty.at[places].add(values, mode="drop").reshape(size, len(names))

        sums = {"count": add(jnp.ones(codes.shape, jnp.int32))}
        if weighted:
            sums |= {"total": add(weight), "square": add(weight**2)}
        return sums

    def values(batch: Batch, codes: Any, weight: Any, valid: Any, pivot: Any) -> dict[str, Any]:
        rows = statistic.rows(batch, pivot[codes]).astype(jnp.float64)
        places = jnp.where(valid, codes, size)
        scaled = rows * weight[:, None] if weighted else rows
        upper = np.triu_indices(rows.shape[1])

        def add(array: Any) -> Any:
            return jnp.zeros((size, *array.shape[1:]), array.dtype).at[places].add(array, mode="drop")

        sums = {"count": add(jnp.ones((len(codes), 1), jnp.int32)), "total": add(scaled)}
        if squares:
            sums["square"] = add(scaled[:, upper[0]] * scaled[:, upper[1]])
        largest = jnp.zeros((size, rows.shape[1])).at[places].max(jnp.abs(scaled), mode="drop")
        return sums | {"largest": largest}

    @jax.jit
    def kernel(arrays: dict[str, Any], codes: Any, weight: Any, n: Any, pivot: Any) -> dict[str, Any]:
        batch = Batch(**arrays)
        valid = jnp.arange(len(codes), dtype=jnp.int32) < n
        if statistic.form == "cells":
            return cells(batch, codes, weight, valid)
        return values(batch, codes, weight, valid, pivot)

    return kernel


def score_bins(
    scores: NDArray[Any],
    labels: NDArray[np.int8],
    codes: NDArray[np.int32],
    cells: int,
    weight: NDArray[np.float64] | None,
    *,
    shift: int,
    lowest: int,
    bins: int,
    probabilities: bool,
    chunk_rows: int,
) -> dict[str, NDArray[Any]]:
    """Returns the histogram of scores and labels in each cell, scores binned by their leading bits.

    Args:
        scores: [rows] float32 or float64.
        labels: [rows] int8, 0 or 1.
        codes: [rows] int32, the cell of each row.
        cells: the number of cells.
        weight: [rows] float64, or None.
        shift: the low bits of a key that are dropped.
        lowest: the key, without those bits, of the first bin.
        bins: the number of bins.
        probabilities: how keys are made.
        chunk_rows: the rows of one pass.

    Returns:
        `count` [cells, bins, 2] int32, int64 from 2^31 rows; with weights also `total` and `square`, float64.
    """
    import jax

    size = padded(cells, 1) * padded(bins) * 2
    kernel = _score_kernel(size, shift, probabilities, weight is not None)
    with scoped():
        sums = {"count": jax.numpy.zeros(size, "int32" if len(scores) < 2**31 else "int64")}
        if weight is not None:
            sums |= {name: jax.numpy.zeros(size, "float64") for name in ("total", "square")}
        for rows, width in chunks(len(scores), chunk_rows):
            weights = None if weight is None else pad(weight[rows], width)
            arrays = (pad(scores[rows], width), pad(labels[rows], width), pad(codes[rows], width))
            sums = kernel(sums, *arrays, weights, rows.stop - rows.start, lowest, bins)
        return {name: np.asarray(value)[: cells * bins * 2].reshape(cells, bins, 2) for name, value in sums.items()}


@functools.lru_cache(maxsize=64)
def _score_kernel(size: int, shift: int, probabilities: bool, weighted: bool) -> Callable[..., dict[str, Any]]:
    import jax
    import jax.numpy as jnp

    @functools.partial(jax.jit, donate_argnums=0)
    def kernel(
        sums: dict[str, Any], scores: Any, labels: Any, codes: Any, weight: Any, n: Any, lowest: Any, bins: Any
    ) -> dict[str, Any]:
        key = (score_keys.keys(scores, probabilities) >> shift) - lowest.astype(f"int{scores.dtype.itemsize * 8}")
        places = (codes * bins.astype(jnp.int32) + key.astype(jnp.int32)) * 2 + labels.astype(jnp.int32)
        places = jnp.where(jnp.arange(len(codes), dtype=jnp.int32) < n, places, size)
        one = jnp.ones(len(codes), sums["count"].dtype)
        added = {"count": sums["count"].at[places].add(one, mode="drop")}
        if weighted:
            added["total"] = sums["total"].at[places].add(weight, mode="drop")
            added["square"] = sums["square"].at[places].add(weight**2, mode="drop")
        return added

    return kernel
