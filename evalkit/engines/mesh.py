"""Sums over several devices, and over several hosts, as `evalkit.kernels` collects them on one.

Rows are spread over a mesh of one axis; every device adds its own, and the sums are added over the devices. Each
function here takes what its namesake in `evalkit.kernels` takes, and a mesh, so that either module can be the one that
collects. The engine that evaluates with them is `evalkit.engines.devices.mesh`.

Several hosts: after `jax.distributed.initialize(...)` each process evaluates its own share of the parts (`mine`) on its
own devices, and the sums of all processes are added at the end (`add_over_hosts`).

>>> mine(["a.parquet", "b.parquet"]), add_over_hosts({"rows": np.array([2**40])})["rows"].tolist()
(['a.parquet', 'b.parquet'], [1099511627776])
"""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from evalkit import kernels
from evalkit.add_at import Method
from evalkit.compilation import compiled_once, has_float64, platform, scoped
from evalkit.kernels import Asked, accumulate
from evalkit.padding import CHUNK_ROWS, pad, padded
from evalkit.score_counts import count_scores, zeros
from evalkit.statistic import Statistic

if TYPE_CHECKING:
    from jax.sharding import Mesh
    from numpy.typing import NDArray

T = TypeVar("T")
AXIS = "rows"
_LEAST = 1 << 10
_QUEUED = 2
_MAKING = threading.Lock()
_STARTING = threading.Lock()


def local_mesh(devices: int | None = None) -> Mesh:
    """Returns the mesh of this process's devices.

    Args:
        devices: how many of them; None for all.
    """
    import jax
    from jax.sharding import Mesh

    return Mesh(np.array(jax.local_devices(backend=platform())[:devices]), (AXIS,))


def field_sums_on(devices: int) -> Callable[..., dict[str, NDArray[Any]]]:
    """Returns the `field_sums` for so many devices of this process."""
    return kernels.field_sums if devices == 1 else functools.partial(field_sums, mesh=local_mesh(devices))


def score_counts_on(devices: int) -> Callable[..., kernels.ScoreCounts]:
    """Returns what makes a `ScoreCounts` on so many devices of this process."""
    return kernels.ScoreCounts if devices == 1 else functools.partial(ScoreCounts, mesh=local_mesh(devices))


def _flat(mesh: Mesh | None) -> Mesh:
    """Returns a mesh of one axis, of the same devices."""
    from jax.sharding import Mesh

    return local_mesh() if mesh is None else Mesh(mesh.devices.ravel(), (AXIS,))


def field_sums(
    statistic: Statistic,
    arrays: Mapping[str, Any],
    codes: NDArray[Any],
    cells: int,
    weight: NDArray[np.float64] | None,
    *,
    products: tuple[tuple[int, int], ...] | None,
    largest: tuple[int, ...],
    pivot: NDArray[np.float64],
    chunk_rows: int = CHUNK_ROWS,
    method: Method | None = None,
    wide: bool | None = None,
    mesh: Mesh | None = None,
) -> dict[str, NDArray[Any]]:
    """Returns the sums of a statistic in each cell; arguments as of `evalkit.kernels.field_sums`.

    Counts equal those of one device exactly; other sums differ by rounding.

    Args:
        statistic: of the form `sums` or `cells`.
        arrays: what a `Batch` holds, [rows] each.
        codes: [rows] integers, the cell of each row.
        cells: the number of cells.
        weight: [rows] float64, or None.
        products: the pairs of fields whose products to sum; None or empty for none.
        largest: the fields whose largest size to keep.
        pivot: [cells] subtracted from the values of a cell's rows first.
        chunk_rows: the rows of one pass of one device.
        method: how rows are added; None chooses by the device.
        wide: whether to add float64; None where the device has it.
        mesh: the devices; None for all of this process.
    """
    mesh = _flat(mesh)
    asked = Asked.of(statistic, weight is not None, products, largest)
    size = padded(cells)
    with _MAKING:
        kernel = _field_kernel(asked, size, method, mesh)
    needed = {role: array for role, array in arrays.items() if array is not None}
    answers: deque[Any] = deque()
    sums: dict[str, list[NDArray[Any]]] = {}
    with scoped(has_float64() if wide is None else wide):
        everywhere = _everywhere(pad(pivot, size), mesh)
        for rows, width in _chunks(len(codes), chunk_rows, mesh.size):
            part = _spread((needed, codes, weight), rows, width, mesh)
            valid = _valid(rows.stop - rows.start, width, mesh.size)
            with _STARTING:  # devices wait for each other in a pass: all must get passes in one order
                answers.append(kernel(*part, valid, everywhere))
            if len(answers) > _QUEUED:
                accumulate(sums, answers.popleft())
        for answer in answers:
            accumulate(sums, answer)
    return asked.unpack(sums, cells)


def _chunks(n: int, chunk_rows: int, devices: int) -> Iterator[tuple[slice, int]]:
    """Yields the rows of each chunk and the size that it is padded to: as many rows for each device."""
    for start in range(0, n, chunk_rows * devices):
        rows = slice(start, min(start + chunk_rows * devices, n))
        yield rows, devices * padded(-(-(rows.stop - start) // devices), _LEAST)


def _valid(n: int, width: int, devices: int) -> NDArray[np.int32]:
    """Returns how many rows each device has that are not padding, [devices]."""
    share = width // devices
    return np.clip(n - share * np.arange(devices), 0, share).astype(np.int32)


def _spread(tree: Any, rows: slice, width: int, mesh: Mesh) -> Any:
    """Starts to copy a chunk to the devices and returns at once, so that copying overlaps with adding the last one."""
    import jax

    return jax.device_put(jax.tree.map(lambda array: pad(array[rows], width), tree), _placed(mesh, AXIS))


def _everywhere(tree: Any, mesh: Mesh) -> Any:
    import jax

    return jax.device_put(tree, _placed(mesh))


def _specs(*axes: str) -> Any:
    from jax.sharding import PartitionSpec

    made: Any = PartitionSpec
    return made(*axes)


def _placed(mesh: Mesh, *axes: str) -> Any:
    from jax.sharding import NamedSharding

    return NamedSharding(mesh, _specs(*axes))


@functools.lru_cache(maxsize=512)
def _field_kernel(asked: Asked, size: int, method: Method | None, mesh: Mesh) -> Callable[..., dict[str, Any]]:
    import jax

    def one(arrays: Any, codes: Any, weight: Any, n: Any, pivot: Any) -> dict[str, Any]:
        return asked.sums(size, method, AXIS, *asked.values(size, arrays, codes, weight, n[0], pivot))

    share, whole = _specs(AXIS), _specs()
    specs = (share, share, share, share, whole)
    return jax.jit(jax.shard_map(one, mesh=mesh, in_specs=specs, out_specs=whole, check_vma=False))


class ScoreCounts(kernels.ScoreCounts):
    """A growing histogram of scores of which every device holds its own, see `evalkit.kernels.ScoreCounts`.

    Args:
        mesh: the devices; None for all of this process.
        chunk_rows: the rows of one pass of one device.
        **settings: as of `evalkit.kernels.ScoreCounts`.
    """

    def __init__(self, *, mesh: Mesh | None = None, chunk_rows: int = CHUNK_ROWS, **settings: Any) -> None:
        super().__init__(chunk_rows=chunk_rows, **settings)
        self._mesh = _flat(mesh)

    def _chunks(self, n: int) -> Iterable[tuple[slice, int]]:
        return _chunks(n, self.chunk_rows, self._mesh.size)

    def _valid(self, n: int, width: int) -> Any:
        return _valid(n, width, self._mesh.size)

    def _pass(self, scores: Any, labels: Any, codes: Any, weights: tuple[Any, ...], n: int) -> None:
        width = len(scores)
        scores, labels, codes, weights = _spread((scores, labels, codes, weights), slice(0, width), width, self._mesh)
        super()._pass(scores, labels, codes, weights, n)

    def _compiled(self) -> Callable[..., tuple[dict[str, Any], Any]]:
        with _MAKING:
            return _score_kernel(self._capacity * self.bins * 2, self.shift, self.probabilities, self._mesh)

    def _zeros(self, size: int) -> dict[str, Any]:
        import jax

        def made() -> Any:
            one = zeros(size, self.weighted, self._wide)
            return jax.tree.map(lambda array: array[None].repeat(self._mesh.size, axis=0), one)

        return jax.jit(made, out_shardings=_placed(self._mesh, AXIS))()


@functools.lru_cache(maxsize=64)
def _score_kernel(size: int, shift: int, probabilities: bool, mesh: Mesh) -> Callable[..., tuple[dict[str, Any], Any]]:
    import jax

    count = count_scores(size, shift, probabilities)

    def one(sums: Any, rows: Any, n: Any, table: Any, bounds: Any, bins: Any) -> tuple[Any, Any]:
        added, done = count(jax.tree.map(lambda array: array[0], sums), rows, n[0], table, bounds, bins)
        return jax.tree.map(lambda array: array[None], added), done[None]

    share, whole = _specs(AXIS), _specs()
    specs = (share, share, share, whole, whole, whole)
    spread = jax.shard_map(one, mesh=mesh, in_specs=specs, out_specs=(share, share), check_vma=False)
    return compiled_once(jax.jit(spread, donate_argnums=0))


def score_bins(
    scores: NDArray[Any],
    labels: NDArray[np.int8],
    codes: NDArray[Any],
    cells: int,
    weight: NDArray[np.float64] | None,
    *,
    mesh: Mesh | None = None,
    **settings: Any,
) -> dict[str, NDArray[Any]]:
    """Returns the histogram of scores and labels in each cell; arguments as of `evalkit.kernels.score_bins`.

    Args:
        scores: [rows] float32, float64 or bfloat16.
        labels: [rows] int8, 0 or 1.
        codes: [rows] integers, the cell of each row.
        cells: the number of cells.
        weight: [rows] float64, or None.
        mesh: the devices; None for all of this process.
        **settings: as of `evalkit.kernels.score_bins`.
    """
    counts = ScoreCounts(mesh=mesh, weighted=weight is not None, **{"table": None, **settings})
    counts.add(scores, labels, codes, weight, cells)
    return counts.arrays()


def mine(parts: Sequence[T]) -> list[T]:
    """Returns the parts that this process is to read: every part falls to one process."""
    import jax

    return list(parts[jax.process_index() :: jax.process_count()])


def gathered(payload: bytes) -> list[bytes]:
    """Returns what every process gives, in their order; all processes must call it."""
    import jax
    from jax.experimental import multihost_utils

    if jax.process_count() == 1:
        return [payload]
    lengths = multihost_utils.process_allgather(np.array([len(payload)], np.int32)).ravel()
    given = pad(np.frombuffer(payload, np.uint8), int(lengths.max()))
    return [
        row[:length].tobytes() for row, length in zip(multihost_utils.process_allgather(given), lengths, strict=True)
    ]


def add_over_hosts(sums: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Returns arrays added over all processes, exact in int64 whatever JAX's settings; all processes must call it.

    Args:
        sums: arrays by name; of the same names, shapes and, but for how wide integers are, dtypes in every process.
    """
    names = sorted(sums)
    own = [np.ascontiguousarray(sums[name], np.int64 if sums[name].dtype.kind in "iu" else None) for name in names]
    added = [np.zeros_like(array) for array in own]
    for payload in gathered(b"".join(array.tobytes() for array in own)):
        start = 0
        for place, array in enumerate(own):
            added[place] += np.frombuffer(payload, array.dtype, array.size, start).reshape(array.shape)
            start += array.nbytes
    return dict(zip(names, added, strict=True))
