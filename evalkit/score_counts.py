"""A dense histogram of scores that grows while rows stream past.

>>> import numpy as np
>>> from evalkit import score_keys
>>> scores, labels = np.array([0.1, 0.9, 0.9], "float32"), np.array([0, 1, 1], "int8")
>>> low, high = (int(key) >> 20 for key in score_keys.keys(scores[:2], probabilities=True))
>>> counts = ScoreCounts(
...     bins=2, table=np.arange(high - low + 1) * 2 // (high - low + 1), shift=20, lowest=low, probabilities=True,
...     weighted=False)
>>> counts.add(scores, labels, np.zeros(3, "int32"), None, cells=1)
>>> counts.arrays()["count"].tolist()
[[[1, 0], [0, 2]]]
"""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit import score_keys
from evalkit.add_at import join_parts, split_in_parts, two_sum
from evalkit.compilation import compiled_once, has_float64, scoped
from evalkit.padding import CHUNK_ROWS, chunks, pad, padded
from evalkit.score_bins import folded

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_ROWS = (1 << 31) - 1
_QUEUED = 2
_MAKING = threading.Lock()


class ScoreCounts:
    """Counts of rows by cell, bin of score and label; it belongs to one thread.

    The bin of a score is `table[clip(folded(key >> shift, gap) - lowest, 0, len(table) - 1)]`, where granules of keys
    from -gap to gap are one (see `score_bins.Lookup`). On the device counts are int32, updated in place; they move to
    int64 on the host before 2^31 rows.

    Args:
        bins: the number of bins.
        table: int32, the bin of each leading part of a key; None where those are the bins.
        shift: the low bits of a key that are dropped.
        lowest: the key, without those bits, that stands first in the table.
        probabilities: how keys are made.
        weighted: whether weights and their squares are added up as well.
        chunk_rows: the rows of one pass.
        wide: whether to add float64; None where the device has it.
        most_rows: the rows after which the device's counts move to the host.
        gap: granules on either side of 0 that are one.
    """

    def __init__(
        self,
        *,
        bins: int,
        table: NDArray[np.int32] | None,
        shift: int,
        lowest: int,
        probabilities: bool,
        weighted: bool,
        chunk_rows: int = CHUNK_ROWS,
        wide: bool | None = None,
        most_rows: int = _MOST_ROWS,
        gap: int = 0,
    ) -> None:
        self.bins, self.shift, self.lowest, self.probabilities = bins, shift, lowest, probabilities
        self.weighted, self.chunk_rows, self.gap = weighted, chunk_rows, gap
        self.cells = 0
        self._wide = has_float64() if wide is None else wide
        self._most_rows = most_rows
        self._last = (bins if table is None else len(table)) - 1
        self._table = None if table is None else pad(np.asarray(table, np.int32), padded(len(table)))
        self._rows = 0
        self._capacity = 0
        self._device: dict[str, Any] = {}
        self._host: dict[str, NDArray[Any]] = {}
        self._queue: deque[Any] = deque()

    def add(
        self,
        scores: NDArray[Any],
        labels: NDArray[Any],
        codes: NDArray[Any],
        weight: NDArray[np.float64] | None,
        cells: int,
        square: NDArray[np.float64] | None = None,
    ) -> None:
        """Adds rows; the arrays must not be written to afterwards.

        Args:
            scores: [rows] float32, float64 or bfloat16.
            labels: [rows] int8, 0 or 1.
            codes: [rows] integers, the cell of each row.
            weight: [rows] float64; None where all are 1.
            cells: the number of cells so far.
            square: [rows] float64, what is added up in the place of squared weights; None for those.
        """
        self._grow(cells)
        for rows, width in self._chunks(len(scores)):
            n = rows.stop - rows.start
            if self._rows + n > self._most_rows:
                self._flush()
            self._rows += n
            weights = self._weights(weight, square, rows, width)
            given = self._binned(scores[rows])
            with scoped(self._wide):
                self._pass(pad(given, width), pad(labels[rows], width), pad(codes[rows], width), weights, n)

    def _weights(self, weight: Any, square: Any, rows: slice, width: int) -> tuple[Any, ...]:
        if not self.weighted:
            return ()
        weight = np.ones(rows.stop - rows.start) if weight is None else weight[rows]
        return (pad(weight, width),) if square is None else (pad(weight, width), pad(square[rows], width))

    def _chunks(self, n: int) -> Iterable[tuple[slice, int]]:
        return chunks(n, self.chunk_rows)

    def _pass(self, scores: Any, labels: Any, codes: Any, weights: tuple[Any, ...], n: int) -> None:
        bounds = np.array([self.lowest, self._last, self.gap], np.int64 if scores.dtype.itemsize == 8 else np.int32)
        self._device, done = self._compiled()(
            self._device, (scores, labels, codes, weights), self._valid(n, len(scores)), self._table, bounds,
            np.int32(self.bins),
        )  # fmt: skip
        self._queue.append(done)
        if len(self._queue) > _QUEUED:
            self._queue.popleft().block_until_ready()

    def _compiled(self) -> Callable[..., tuple[dict[str, Any], Any]]:
        with _MAKING:
            return _kernel(self._capacity * self.bins * 2, self.shift, self.probabilities)

    def _valid(self, n: int, width: int) -> Any:  # noqa: ARG002 (a mesh needs the width)
        return np.int32(n)

    def _zeros(self, size: int) -> dict[str, Any]:
        return zeros(size, self.weighted, self._wide)

    def _binned(self, scores: NDArray[Any]) -> NDArray[Any]:
        """Turns float64 scores into bins here, for devices that lack 64 bits."""
        if self._wide or scores.dtype != np.float64:
            return scores
        key = folded(score_keys.keys(scores, self.probabilities) >> self.shift, self.gap) - self.lowest
        index = np.clip(key, 0, self._last).astype(np.int32)
        return index if self._table is None else self._table[index]

    def _grow(self, cells: int) -> None:
        self.cells = max(self.cells, cells)
        capacity = padded(self.cells, 1)
        if capacity <= self._capacity:
            return
        size = capacity * self.bins * 2
        if size > _MOST_ROWS:
            raise ValueError(f"{self.cells:,} cells of {self.bins:,} bins pass 2^31 counts; use fewer bins.")
        import jax.numpy as jnp

        with scoped(self._wide):
            if not self._device:
                self._device = self._zeros(size)
            else:
                self._device = {name: jnp.pad(array, _after(array, size)) for name, array in self._device.items()}
        self._capacity = capacity

    def _flush(self) -> None:
        """Moves the device's sums to the host."""
        if not self._device:
            return
        wide = {"count": np.int64, "total": np.float64, "square": np.float64}
        host = {name: array.astype(wide[name]) for name, array in self._summed().items()}
        self._host, self._device, self._rows, self._capacity = host, {}, 0, 0
        self._grow(self.cells)

    def _read(self, array: Any) -> NDArray[Any]:
        host = np.asarray(array)
        if host.ndim > 1:
            host = host.reshape(-1, host.shape[-1]).sum(0, dtype=np.int64 if host.dtype.kind == "i" else np.float64)
        return host.reshape(-1, self.bins, 2)[: self.cells]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns `count` [cells, bins, 2] of integers, with weights also `total` and `square`, float64."""
        if not self._device:
            self._grow(self.cells)
        return self._summed()

    def _summed(self) -> dict[str, NDArray[Any]]:
        """Adds what is on the device to what is on the host; without the latter nothing is copied."""
        sums = {}
        for name, array in self._device.items():
            here, host = self._read(array), self._host.get(name)
            if host is None:
                sums[name] = here
                continue
            sums[name] = here.astype(host.dtype)
            sums[name][: len(host)] += host
        return sums

    def absorb(self, other: ScoreCounts, cell_map: NDArray[Any]) -> None:
        """Adds the counts of another counter of the same bins, on the device where its cells are numbered as here.

        Args:
            other: is not to be used afterwards.
            cell_map: [other cells] the cell that each of them is here.
        """
        cells = other.cells
        self._grow(max(cells, int(cell_map.max(initial=-1)) + 1))
        other._grow(self.cells)
        alike = type(self) is type(other) and np.array_equal(cell_map[:cells], np.arange(cells))
        here = self._wide and bool(self._device and other._device) and not other._host
        fits = self._capacity == other._capacity and self._rows + other._rows <= self._most_rows
        if not (alike and here and fits):
            self.merge({name: array[:cells] for name, array in other.arrays().items()}, cell_map[:cells])
            return
        with scoped(self._wide):
            self._device = _added()(self._device, other._device)
        self._rows += other._rows

    def merge(self, other: Mapping[str, NDArray[Any]], cell_map: NDArray[Any]) -> None:
        """Adds other counts, as `arrays` returns them.

        Args:
            other: arrays of [other cells, bins, 2].
            cell_map: [other cells] the cell that each of them is here, each at most once; new ones are made.
        """
        cells = int(cell_map.max(initial=-1)) + 1
        self._grow(cells)
        for name in _names(self.weighted):
            mine = self._host.get(name)
            added = other.get(name, other["count"])
            if mine is None or len(mine) < self.cells:
                grown = np.zeros((self.cells, self.bins, 2), np.int64 if name == "count" else np.float64)
                grown[: 0 if mine is None else len(mine)] = 0 if mine is None else mine
                mine = self._host[name] = grown
            mine[cell_map] += added


@functools.cache
def _added() -> Callable[..., dict[str, Any]]:
    """Compiles the sum of two sums, which takes the first one's place."""
    import jax

    return jax.jit(lambda mine, theirs: {name: array + theirs[name] for name, array in mine.items()}, donate_argnums=0)


def _names(weighted: bool) -> tuple[str, ...]:
    return ("count", "total", "square") if weighted else ("count",)


def _after(array: Any, size: int) -> list[tuple[int, int]]:
    return [(0, 0)] * (array.ndim - 1) + [(0, size - array.shape[-1])]


def zeros(size: int, weighted: bool, wide: bool) -> dict[str, Any]:
    """Returns empty sums: floats are float64, or two float32 where there is none."""
    import jax.numpy as jnp

    shape, dtype = ((size,), "float64") if wide else ((2, size), "float32")
    return {name: jnp.zeros(size, "int32") if name == "count" else jnp.zeros(shape, dtype) for name in _names(weighted)}


@functools.lru_cache(maxsize=64)
def _kernel(size: int, shift: int, probabilities: bool) -> Callable[..., tuple[dict[str, Any], Any]]:
    import jax

    return compiled_once(jax.jit(count_scores(size, shift, probabilities), donate_argnums=0))


def count_scores(size: int, shift: int, probabilities: bool) -> Callable[..., tuple[dict[str, Any], Any]]:
    """Returns the function that adds rows to flat sums [size]; it answers the sums, and a scalar that tells the end."""
    import jax.numpy as jnp

    def kernel(
        sums: dict[str, Any], rows: tuple[Any, ...], n: Any, table: Any, bounds: Any, bins: Any
    ) -> tuple[dict[str, Any], Any]:
        scores, labels, codes, weights = rows
        index = _index(scores, shift, probabilities, bounds)
        bin_ = index if table is None else table[index]
        places = (codes.astype(jnp.int32) * bins + bin_) * 2 + labels.astype(jnp.int32)
        places = jnp.where(jnp.arange(len(codes), dtype=jnp.int32) < n, places, size)
        ones = jnp.ones(len(codes), jnp.int32)
        added = {"count": sums["count"].at[places].add(ones, mode="drop")}
        if weights:
            square = weights[1] if len(weights) == 2 else weights[0] ** 2
            added["total"] = _add_floats(sums["total"], places, weights[0])
            added["square"] = _add_floats(sums["square"], places, square)
        return added, places[0]

    return kernel


def _index(scores: Any, shift: int, probabilities: bool, bounds: Any) -> Any:
    """Returns where each score stands in the table; scores of integers are that already."""
    import jax.numpy as jnp

    if scores.dtype == jnp.int32:
        return scores
    if scores.dtype == jnp.bfloat16:
        scores = scores.astype(jnp.float32)
    key = score_keys.keys(scores, probabilities) >> shift
    lowest, last, gap = bounds.astype(key.dtype)
    key -= jnp.clip(key, -gap, jnp.maximum(gap - 1, 0))
    return (jnp.clip(key, lowest, lowest + last) - lowest).astype(jnp.int32)


def _add_floats(sums: Any, places: Any, values: Any) -> Any:
    """Adds values in place; to two float32, by parts that add exactly."""
    import jax
    import jax.numpy as jnp

    if sums.ndim == 1:
        return sums.at[places].add(values, mode="drop")
    parts, scale = split_in_parts(values[None])
    empty = jnp.zeros(sums.shape[1], jnp.int32)
    added = jax.lax.map(lambda part: empty.at[places].add(part, mode="drop"), parts[:, 0])
    high, low = join_parts(added[:, None], scale)[0]
    total, left = two_sum(sums[0], sums[1] + low, high)
    return jnp.stack([total, left])
