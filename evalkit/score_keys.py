"""Scores as integers in the same order, whose leading bits are a coarser score.

A probability keeps as much resolution near 1 as near 0: its key is made of the bits of min(s, 1 - s), mirrored at one
half. Other scores take their own bits, made ordered. All bits are exact and can be turned back into the score.

>>> import numpy as np
>>> k = keys(np.array([0.1, 0.5, 1 - 1e-9, 1.0]), probabilities=True)
>>> bool((np.diff(k) > 0).all()), scores(k, "float64", probabilities=True)[2] == 1 - 1e-9
(True, np.True_)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HALF = {"float32": 0x3F000000, "float64": 0x3FE0000000000000}
INTEGER = {"float32": "int32", "float64": "int64"}


def keys(values: Any, probabilities: bool) -> Any:
    """Returns the ordered key of each score, int32 for float32 and int64 for float64; NumPy in, NumPy out.

    Args:
        values: [rows] float32 or float64, finite; a NumPy or JAX array.
        probabilities: whether all lie in [0, 1].
    """
    xp = _namespace(values)
    name = str(values.dtype)
    if not probabilities:
        bits = _bits(values + xp.zeros((), values.dtype), name)
        top = np.iinfo(INTEGER[name]).max
        return xp.where(bits < 0, bits ^ xp.asarray(top, bits.dtype), bits)
    low = values <= 0.5
    near = xp.where(low, values, 1 - values) + xp.zeros((), values.dtype)
    bits = _bits(near, name)
    return xp.where(low, bits, xp.asarray(2 * _HALF[name], bits.dtype) - bits)


def scores(key: NDArray[Any], dtype: str, probabilities: bool) -> NDArray[Any]:
    """Returns the score of each full key; the inverse of `keys`."""
    integers = key.astype(INTEGER[dtype])
    if not probabilities:
        top = np.iinfo(integers.dtype).max
        return np.where(integers < 0, integers ^ integers.dtype.type(top), integers).view(dtype)
    half = integers.dtype.type(_HALF[dtype])
    low = integers <= half
    near = np.where(low, integers, integers.dtype.type(2 * _HALF[dtype]) - integers).view(dtype)
    result: NDArray[Any] = np.where(low, near, 1 - near)
    return result


def _bits(values: Any, name: str) -> Any:
    if isinstance(values, np.ndarray | np.generic):
        return values.view(INTEGER[name])
    import jax

    return jax.lax.bitcast_convert_type(values, INTEGER[name])


def _namespace(values: Any) -> Any:
    if isinstance(values, np.ndarray | np.generic):
        return np
    import jax.numpy as jnp

    return jnp
