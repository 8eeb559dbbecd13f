"""Adding values up by place, the way that each kind of device does fast.

- `scatter`, on CPUs: one scatter for two columns of floats, as complex numbers, which takes hardly longer than one for
  one; its accumulators stay in the first cache.
- `copies`, on GPUs: a scatter into several copies of the accumulators, so that atomic additions seldom meet.
- `sorted`: sums over segments of the rows sorted by place.
- `matrix`, on TPUs: products of one-hot matrices with the values' parts, in blocks.

Floats are added as float64. Where JAX has none (under `jax.enable_x64(False)`), and by `matrix`, a value is split into
whole numbers of 8 bits on a scale common to its column; those add exactly, whatever the order.

>>> import jax.numpy as jnp
>>> places, ones = jnp.array([0, 1, 0, 2], "int32"), jnp.ones(4, "int32")
>>> count, total = add_at(2, places, (ones, jnp.array([0.5, 0.25, 1.0, 9.0], "float32")))
>>> count.tolist(), as_wide(total).tolist()
([2, 1], [1.5, 0.25])
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from jax import Array
    from numpy.typing import NDArray

Method = Literal["scatter", "copies", "sorted", "matrix"]
Columns = tuple[Any, ...]

_BITS = 8
_PARTS = 8
_MOST_COPIES = 1 << 8
_COPIED_PLACES = 1 << 18
_MATRIX_PLACES = 1 << 12
_ONE_HOT = 1 << 24
_MOST_EXACT = 1 << 17
_LOW = 12


def add_at(
    size: int, places: Any, values: Sequence[Any], *, method: Method | None = None, axis: str | None = None
) -> Columns:
    """Returns the sum of each column of values at each place.

    Args:
        size: the number of places.
        places: [rows] int32; rows with a place outside [0, size) are left out.
        values: columns of [rows], int32 of at most 8 bits or floats; at most 2^23 rows.
        method: how; None chooses by the device that the computation is compiled for.
        axis: the name of a mesh's axis over which rows are spread; sums are then over all of its devices.

    Returns:
        For each column [size] int32 or float64; without float64, a float's sum is [2, size] float32, two numbers that
        `as_wide` adds. A place with a NaN or an infinity is NaN or infinite.
    """
    import jax

    places = _dropping(size, places)
    if method is not None:
        return _added(method, size, axis, places, tuple(values))
    by = functools.partial(functools.partial, _added)
    return jax.lax.platform_dependent(
        places,
        tuple(values),
        tpu=by("matrix", size, axis),
        cuda=by("copies", size, axis),
        rocm=by("copies", size, axis),
        default=by("scatter", size, axis),
    )


def largest_at(
    size: int, places: Any, values: Sequence[Any], *, method: Method | None = None, axis: str | None = None
) -> Columns:
    """Returns the largest of each column's sizes at each place, [size] of the column's dtype; 0 without rows.

    Args:
        size: the number of places.
        places: [rows] int32; rows with a place outside [0, size) are left out.
        values: columns of [rows] floats.
        method: how; None chooses by the device that the computation is compiled for.
        axis: the name of a mesh's axis over which rows are spread.
    """
    import jax

    places, sizes = _dropping(size, places), tuple(abs(column) for column in values)
    one = functools.partial(_copies, size, largest=True, copies=1)
    many = functools.partial(_copies, size, largest=True)
    if method is None:
        found: Columns = jax.lax.platform_dependent(places, sizes, cuda=many, rocm=many, default=one)
    else:
        found = (many if method == "copies" else one)(places, sizes)
    return _over(jax.lax.pmax, found, axis)


def as_wide(sums: Any) -> NDArray[Any]:
    """Returns sums of `add_at` as NumPy's int64 or float64; [2, size] float32 are added up."""
    array = np.asarray(sums)
    if array.dtype.kind in "iu":
        return array.astype(np.int64)
    return array.astype(np.float64).sum(0) if array.ndim == 2 else array.astype(np.float64)


def has_wide() -> bool:
    """Returns whether JAX has float64 here."""
    import jax

    config: Any = jax.config
    return bool(config.jax_enable_x64)


def _dropping(size: int, places: Any) -> Any:
    import jax.numpy as jnp

    return jnp.where(places < 0, size, places)


def _over(collect: Callable[..., Any], values: Any, axis: str | None) -> Any:
    return values if axis is None else collect(values, axis)


def _is_integer(column: Any) -> bool:
    return np.dtype(column.dtype).kind in "iu"


def _added(method: Method, size: int, axis: str | None, places: Any, values: Columns) -> Columns:
    import jax
    import jax.numpy as jnp

    adds = {"scatter": _scatter, "copies": _copies, "sorted": _sorted, "matrix": _scatter}
    dtype = jnp.zeros(()).dtype
    values = tuple(column if _is_integer(column) else column.astype(dtype) for column in values)
    if method == "matrix" or not has_wide():
        return _added_in_parts(adds[method], size, axis, places, values, method == "matrix")
    sums: Columns = adds[method](size, places, values)
    return _over(jax.lax.psum, sums, axis)


def _added_in_parts(
    add: Callable[..., Columns], size: int, axis: str | None, places: Any, values: Columns, by_matrix: bool
) -> Columns:
    """Adds integers, and floats as the integers that they are split into."""
    import jax
    import jax.numpy as jnp

    integers = [i for i, column in enumerate(values) if _is_integer(column)]
    floats = [i for i, column in enumerate(values) if not _is_integer(column)]
    columns = [values[i][None] for i in integers]
    scale = None
    if floats:
        parts, scale = split_in_parts(jnp.stack([values[i] for i in floats]), axis)
        columns.append(parts.reshape(-1, len(places)))
    rows = jnp.concatenate(columns)
    sums = _matrix(size, places, rows) if by_matrix and size <= _MATRIX_PLACES else _at_once(add, size, places, rows)
    sums = _over(jax.lax.psum, sums, axis)
    found = dict(zip(integers, sums, strict=False))
    if floats:
        joined = join_parts(sums[len(integers) :].reshape(-1, len(floats), size), scale)
        found |= dict(zip(floats, joined, strict=True))
    return tuple(found[i] for i in range(len(values)))


def _at_once(add: Callable[..., Columns], size: int, places: Any, rows: Any) -> Any:
    """Adds many columns [columns, rows] as one long one: each has its own places."""
    import jax.numpy as jnp

    n = len(rows)
    own = places[None, :] + size * jnp.arange(n, dtype=places.dtype)[:, None]
    own = jnp.where(places[None, :] < size, own, n * size)
    return add(n * size, own.reshape(-1), (rows.reshape(-1),))[0].reshape(n, size)


def _scatter(size: int, places: Any, columns: Columns) -> Columns:
    import jax
    import jax.numpy as jnp

    floats = [i for i, column in enumerate(columns) if not _is_integer(column)]
    pairs = list(zip(floats[::2], floats[1::2], strict=False))
    paired = {i for pair in pairs for i in pair}
    sums: dict[int, Any] = {}
    for i, j in pairs:
        both = _scattered(size, places, jax.lax.complex(columns[i], columns[j]))
        sums |= {i: jnp.real(both), j: jnp.imag(both)}
    for i in range(len(columns)):
        if i not in paired:
            sums[i] = _scattered(size, places, columns[i])
    return tuple(sums[i] for i in range(len(columns)))


def _scattered(size: int, places: Any, column: Any) -> Any:
    import jax.numpy as jnp

    return jnp.zeros(size, column.dtype).at[places].add(column, mode="drop")


def _copies(size: int, places: Any, columns: Columns, *, largest: bool = False, copies: int | None = None) -> Columns:
    """Neighbouring rows go to different copies."""
    import jax.numpy as jnp

    copies = copies or max(1, min(_MOST_COPIES, _COPIED_PLACES // size))
    if copies > 1:
        copy = jnp.arange(len(places), dtype=places.dtype) % copies
        places = jnp.where(places < size, places + copy * size, size * copies)

    def one(column: Any) -> Any:
        at = jnp.zeros(copies * size, column.dtype).at[places]
        sums = (at.max if largest else at.add)(column, mode="drop").reshape(copies, size)
        return sums.max(0) if largest else sums.sum(0, dtype=column.dtype)

    return tuple(one(column) for column in columns)


def _sorted(size: int, places: Any, columns: Columns) -> Columns:
    import jax
    import jax.numpy as jnp

    order = jnp.argsort(places)
    segments = places[order]
    return tuple(
        jax.ops.segment_sum(column[order], segments, size, indices_are_sorted=True, mode="drop") for column in columns
    )


def _matrix(size: int, places: Any, rows: Any) -> Any:
    """Whole numbers of 8 bits are exact in the bfloat16 of a TPU's products, and their sums in its float32."""
    import jax
    import jax.numpy as jnp

    block = min(max(_ONE_HOT // size, 1), _MOST_EXACT, len(places))
    missing = -len(places) % block
    by_block = jnp.pad(places, (0, missing), constant_values=size).reshape(-1, block)
    values = jnp.pad(rows, ((0, 0), (0, missing))).reshape(len(rows), -1, block).swapaxes(0, 1)
    all_places = jnp.arange(size, dtype=places.dtype)

    def step(sums: Any, rows: Any) -> Any:
        one_hot = (rows[0][:, None] == all_places[None, :]).astype(jnp.float32)
        return sums + (rows[1].astype(jnp.float32) @ one_hot).astype(jnp.int32), None

    empty = jnp.zeros((len(rows), size), jnp.int32) + 0 * places[0]
    return jax.lax.scan(step, empty, (by_block, values))[0]


def split_in_parts(columns: Any, axis: str | None = None) -> tuple[Any, Any]:
    """Splits floats into whole numbers of 8 bits on one scale for each column.

    Args:
        columns: [columns, rows] floats. What is below 2^-64 of the column's largest is lost.
        axis: the name of a mesh's axis, whose devices share the scale.

    Returns:
        [9, columns, rows] int32, leading parts first, the last of them 1 where a value was not finite (or within 2^8 of
        the largest float); and the scales, [columns] powers of 2.
    """
    import jax
    import jax.numpy as jnp

    one = jnp.ones((), columns.dtype)
    limit = np.finfo(columns.dtype).maxexp - 8
    finite = jnp.abs(columns) < jnp.ldexp(one, limit)
    rest = jnp.where(finite, columns, 0)
    top = jnp.max(jnp.abs(rest), axis=1)
    top = _over(jax.lax.pmax, top, axis)
    exponent = jnp.clip(jnp.frexp(top)[1], -limit, limit)
    rest = rest * jnp.ldexp(one, _BITS - 1 - exponent)[:, None]
    parts = []
    for _ in range(_PARTS):
        whole = jnp.round(rest)
        parts.append(whole.astype(jnp.int32))
        rest = (rest - whole) * 2**_BITS
    return jnp.stack([*parts, (~finite).astype(jnp.int32)]), jnp.ldexp(one, exponent)


def join_parts(sums: Any, scale: Any) -> Array:
    """Returns what sums of parts [9, columns, size] stand for: [columns, size] float64.

    Without float64 it is [columns, 2, size] float32, each two numbers that `as_wide` adds.
    """
    import jax.numpy as jnp

    units = [2.0 ** (1 - _BITS - _BITS * place) for place in range(_PARTS)]
    unknown = jnp.where(sums[-1] > 0, jnp.nan, 0.0).astype(scale.dtype)
    scale = scale[:, None]
    if has_wide():
        factors = jnp.array(units).reshape(-1, 1, 1)
        return jnp.asarray((sums[:-1].astype(jnp.float64) * factors).sum(0) * scale + unknown)
    high = low = jnp.zeros(unknown.shape, jnp.float32)
    for part, unit in zip(sums[:-1], units, strict=True):
        for half in ((part >> _LOW) << _LOW, part & (2**_LOW - 1)):
            high, low = two_sum(high, low, half.astype(jnp.float32) * unit)
    return jnp.stack([high * scale + unknown, low * scale], axis=1)


def two_sum(high: Any, low: Any, added: Any) -> tuple[Any, Any]:
    """Adds to a number kept as two floats; what rounding takes from the higher goes to the lower. Source: Knuth."""
    total = high + added
    virtual = total - high
    return total, low + ((high - (total - virtual)) + (added - virtual))
