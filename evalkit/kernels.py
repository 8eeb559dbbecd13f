"""The passes over rows that run in XLA: every statistic's sums by cell, in chunks of a few fixed sizes.

Counts are integers and sums are float64 under a scoped `jax.enable_x64`; no global setting of JAX's is changed. Devices
without float64 are given 32 bits and add in parts (`add_at.py`). Several threads may call these functions at once.
Arrays may be narrow: codes of int8, int16 or int32, scores of bfloat16, which are widened on the device. Needs JAX and
NumPy alone.
"""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.add_at import Method, add_at, as_wide, has_wide, largest_at
from evalkit.compilation import compiled_once, has_float64, platform, scoped
from evalkit.padding import CHUNK_ROWS, chunks, pad, padded, padded_entries
from evalkit.score_counts import ScoreCounts
from evalkit.statistic import Batch, Statistic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pairs = tuple[tuple[int, int], ...]

__all__ = ["CHUNK_ROWS", "ScoreCounts", "chunks", "field_sums", "pad", "padded", "padded_entries", "score_bins"]

_QUEUED = 2
_BLOCK = 1 << 14
_BLOCKED_PLACES = 1 << 12
_MAKING = threading.Lock()


def field_sums(
    statistic: Statistic,
    arrays: Mapping[str, Any],
    codes: NDArray[Any],
    cells: int,
    weight: NDArray[np.float64] | None,
    *,
    products: Pairs | None,
    largest: tuple[int, ...],
    pivot: NDArray[np.float64],
    chunk_rows: int,
    method: Method | None = None,
    wide: bool | None = None,
) -> dict[str, NDArray[Any]]:
    """Returns the sums of a statistic in each cell.

    Args:
        statistic: of the form `sums` or `cells`.
        arrays: what a `Batch` holds, [rows] each.
        codes: [rows] integers, the cell of each row.
        cells: the number of cells.
        weight: [rows] float64, or None.
        products: the pairs of fields whose products to sum; None or empty for none. Field 0 is the weight.
        largest: the fields whose largest size to keep.
        pivot: [cells] subtracted from the values of a cell's rows first, by statistics that ask for it.
        chunk_rows: the rows of one pass.
        method: how rows are added, see `add_at`; None chooses by the device.
        wide: whether to add float64; None where the device has it.

    Returns:
        `count` [cells, places] int64, `total` [cells, fields]. For sums, where asked for, `square` [cells, fields,
        fields], symmetric, 0 at pairs not asked for, and `largest` [cells, fields], NaN at other fields. For cells
        `square` [cells, fields].
    """
    import jax

    asked = Asked.of(statistic, weight is not None, products, largest)
    size, needed = padded(cells), {role: array for role, array in arrays.items() if array is not None}
    with _MAKING:
        kernel = field_kernel(asked, size, method, platform() == "cpu")
    answers: deque[Any] = deque()
    sums: dict[str, list[NDArray[Any]]] = {}
    with scoped(has_float64() if wide is None else wide):
        for rows, width in chunks(len(codes), chunk_rows):
            part = jax.tree.map(lambda array, rows=rows, width=width: pad(array[rows], width), needed)
            weights = None if weight is None else pad(weight[rows], width)
            n = np.int32(rows.stop - rows.start)
            answers.append(kernel(part, pad(codes[rows], width), weights, n, pad(pivot, size)))
            if len(answers) > _QUEUED:
                accumulate(sums, answers.popleft())
        for answer in answers:
            accumulate(sums, answer)
    return asked.unpack(sums, cells)


@dataclass(frozen=True)
class Asked:
    """Which sums of a statistic are asked for, so that nothing else is added up.

    Attributes:
        statistic: of the form `sums` or `cells`.
        weighted: whether rows have weights. Without, field 0 is 1 and its sums are counts and other sums.
        products: pairs of fields, the lower first, in order.
        largest: fields, in order.
    """

    statistic: Statistic
    weighted: bool
    products: Pairs = ()
    largest: tuple[int, ...] = ()

    @classmethod
    def of(cls, statistic: Statistic, weighted: bool, products: Pairs | None, largest: Sequence[int]) -> Asked:
        """Returns what is asked for, each once; of the form `cells` there are neither products nor sizes."""
        if statistic.form == "cells":
            return cls(statistic, weighted)
        pairs = {(min(i, j), max(i, j)) for i, j in products or ()}
        return cls(statistic, weighted, tuple(sorted(pairs)), tuple(sorted(set(largest))))

    def places(self, cells: int) -> int:
        """Returns the places that rows of so many cells are added at."""
        return cells * len(self.statistic.cell_names) if self.statistic.form == "cells" else cells

    @property
    def first(self) -> int:
        """The first field that is added up."""
        return 0 if self.weighted else 1

    def values(
        self, size: int, arrays: dict[str, Any], codes: Any, weight: Any, n: Any, pivot: Any
    ) -> tuple[Any, tuple[Any, ...]]:
        """Returns the place of each row, and the columns whose sums, products and sizes are asked for."""
        import jax.numpy as jnp

        batch = Batch(**{role: _widened(array) for role, array in arrays.items()})
        codes = codes.astype(jnp.int32)
        valid = jnp.arange(len(codes), dtype=jnp.int32) < n
        if self.statistic.form == "cells":
            places = len(self.statistic.cell_names)
            place = jnp.where(valid, codes * places + self.statistic.cell(batch), size * places)
            return place, (weight,) if self.weighted else ()
        wide = jnp.zeros(()).dtype
        fields = [field.astype(wide) for field in self.statistic.by_field(batch, pivot[codes])[self.first :]]
        scaled = [field * weight for field in fields] if self.weighted else fields
        return jnp.where(valid, codes, size), tuple(scaled)

    def sums(
        self, size: int, method: Method | None, axis: str | None, places: Any, columns: tuple[Any, ...]
    ) -> dict[str, tuple[Any, ...]]:
        """Returns `count`, `total`, `square` and `largest`, columns of [size * places] each."""
        import jax.numpy as jnp

        if self.statistic.form == "cells":
            size, pairs = self.places(size), [(0, 0)] * self.weighted
        else:
            pairs = [(i - self.first, j - self.first) for i, j in self.products if i >= self.first]
        ones = jnp.ones(len(places), jnp.int32)
        squares = tuple(columns[i] * columns[j] for i, j in pairs)
        added = add_at(size, places, (ones, *columns, *squares), method=method, axis=axis)
        sizes = tuple(columns[i - self.first] for i in self.largest if i >= self.first)
        most = largest_at(size, places, sizes, method=method, axis=axis)
        last = 1 + len(columns)
        return {"count": added[:1], "total": added[1:last], "square": added[last:], "largest": most}

    def unpack(self, sums: Mapping[str, Sequence[NDArray[Any]]], cells: int) -> dict[str, NDArray[Any]]:
        """Returns the sums of cells as `field_sums` does, from the columns of `accumulate`."""
        if self.statistic.form == "cells":
            return self._unpack_cells(sums, cells)
        fields = len(self.statistic.fields)
        count = _first(sums.get("count", ()), cells, np.int64)
        total = [count.astype(np.float64)] * self.first + list(sums.get("total", [np.zeros(cells)] * fields))
        result = {"count": count[:, None], "total": np.stack([t[:cells] for t in total[:fields]], axis=1)}
        if self.products:
            result["square"] = square = np.zeros((cells, fields, fields))
            added = iter(sums.get("square", ()))
            for i, j in self.products:
                product = result["total"][:, j] if i < self.first else next(added, np.zeros(cells))[:cells]
                square[:, i, j] = square[:, j, i] = product
        if self.largest:
            result["largest"] = most = np.full((cells, fields), np.nan)
            found = iter(sums.get("largest", ()))
            for i in self.largest:
                most[:, i] = count > 0 if i < self.first else next(found, np.zeros(cells))[:cells]
        return result

    def _unpack_cells(self, sums: Mapping[str, Sequence[NDArray[Any]]], cells: int) -> dict[str, NDArray[Any]]:
        places = len(self.statistic.cell_names)

        def shaped(name: str, dtype: Any) -> NDArray[Any]:
            return _first(sums.get(name, ()), cells * places, dtype).reshape(cells, places)

        count = shaped("count", np.int64)
        if not self.weighted:
            return {"count": count, "total": count.astype(np.float64), "square": count.astype(np.float64)}
        return {"count": count, "total": shaped("total", np.float64), "square": shaped("square", np.float64)}


def _first(columns: Sequence[NDArray[Any]], size: int, dtype: Any) -> NDArray[Any]:
    return columns[0][:size] if columns else np.zeros(size, dtype)


def _widened(array: Any) -> Any:
    """Returns bfloat16 as float32."""
    import jax
    import jax.numpy as jnp

    return jax.tree.map(lambda a: a.astype(jnp.float32) if a.dtype == jnp.bfloat16 else a, array)


def accumulate(sums: dict[str, list[NDArray[Any]]], answer: Mapping[str, Sequence[Any]]) -> None:
    """Adds what a pass answered, in 64 bits."""
    for name, columns in answer.items():
        wide = [as_wide(column) for column in columns]
        if name not in sums:
            sums[name] = wide
        else:
            add = np.maximum if name == "largest" else np.add
            sums[name] = [add(old, new) for old, new in zip(sums[name], wide, strict=True)]


@functools.lru_cache(maxsize=512)
def field_kernel(asked: Asked, size: int, method: Method | None, on_cpu: bool) -> Callable[..., dict[str, Any]]:
    """Compiles the pass for a number of cells; rows are padded to few sizes, each a trace.

    On CPUs the values of rows are written down before they are added: XLA would else compute a row's logarithms anew
    for each of the products that they are part of.
    """
    import jax

    values = functools.partial(asked.values, size)
    sums = functools.partial(asked.sums, size, method, None)
    if not on_cpu:
        return compiled_once(jax.jit(lambda *rows: sums(*values(*rows))))
    if method in (None, "scatter") and asked.places(size) <= _BLOCKED_PLACES:
        return compiled_once(jax.jit(functools.partial(_in_blocks, asked, size)))
    first, second = compiled_once(jax.jit(values)), compiled_once(jax.jit(sums))
    return lambda *rows: second(*first(*rows))


def _in_blocks(
    asked: Asked, size: int, arrays: dict[str, Any], codes: Any, weight: Any, n: Any, pivot: Any
) -> dict[str, tuple[Any, ...]]:
    """Adds block after block of rows, whose values stay in the second cache."""
    import jax
    import jax.numpy as jnp

    def values(part: Any, left: Any) -> Any:
        arrays, codes, weight = part
        return asked.values(size, arrays, codes, weight, left, pivot)

    def sums(rows: Any) -> Any:
        return asked.sums(size, "scatter", None, *rows)

    block, whole = min(_BLOCK, len(codes)), (arrays, codes, weight)
    if not has_wide() or len(codes) % block:
        return sums(values(whole, n))
    parts = jax.tree.map(lambda array: array.reshape(-1, block), whole)

    def added(place: Any) -> Any:
        part = jax.tree.map(lambda array: jax.lax.dynamic_index_in_dim(array, place, keepdims=False), parts)
        return sums(values(part, n - place * block))

    def step(place: Any, total: Any) -> Any:
        new = added(place)
        return {
            name: jax.tree.map(jnp.maximum if name == "largest" else jnp.add, total[name], new[name]) for name in total
        }

    none = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), jax.eval_shape(added, 0))
    return jax.lax.fori_loop(0, (n + block - 1) // block, step, none)


def score_bins(
    scores: NDArray[Any],
    labels: NDArray[np.int8],
    codes: NDArray[Any],
    cells: int,
    weight: NDArray[np.float64] | None,
    *,
    table: NDArray[np.int32] | None = None,
    shift: int,
    lowest: int,
    bins: int,
    probabilities: bool,
    chunk_rows: int,
    gap: int = 0,
) -> dict[str, NDArray[Any]]:
    """Returns the histogram of scores and labels in each cell, scores binned by their leading bits.

    Args:
        scores: [rows] float32, float64 or bfloat16.
        labels: [rows] int8, 0 or 1.
        codes: [rows] integers, the cell of each row.
        cells: the number of cells.
        weight: [rows] float64, or None.
        table: int32, the bin of each leading part of a key; None where those are the bins.
        shift: the low bits of a key that are dropped.
        lowest: the key, without those bits, that stands first in the table.
        bins: the number of bins.
        probabilities: how keys are made.
        chunk_rows: the rows of one pass.
        gap: granules of keys on either side of 0 that are one.

    Returns:
        `count` [cells, bins, 2] of integers; with weights also `total` and `square`, float64.
    """
    counts = ScoreCounts(
        bins=bins,
        table=table,
        shift=shift,
        lowest=lowest,
        probabilities=probabilities,
        weighted=weight is not None,
        chunk_rows=chunk_rows,
        gap=gap,
    )
    counts.add(scores, labels, codes, weight, cells)
    return counts.arrays()
