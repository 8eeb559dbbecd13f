"""Hashes that are the same on every machine, in every version and for every engine.

>>> group_of(["ann", "bob", "ann"], 256).tolist() == group_of(["ann", "bob", "ann"], 256).tolist()
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FNV_START, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scrambles 64-bit integers one to one. Source: the finalizer of SplitMix64, Steele et al. (2014)."""
    z = values + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return result


def hash64(values: Any) -> NDArray[np.uint64]:
    """Returns a 64-bit hash of each value; whole floats hash as the integer, text by its UTF-8 bytes.

    Args:
        values: [rows] integers, floats, booleans or text.
    """
    array = np.asarray(values)
    if array.dtype.kind in "biu":
        return mix(array.astype(np.int64).view(np.uint64))
    if array.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            whole = array.astype(np.int64)
        exact = whole == array
        bits = np.ascontiguousarray(array.astype(np.float64)).view(np.uint64)
        return mix(np.where(exact, whole.view(np.uint64), bits))
    distinct, inverse = np.unique(array.astype(np.str_), return_inverse=True)
    return _hash_text(distinct)[inverse]


def _hash_text(texts: NDArray[np.str_]) -> NDArray[np.uint64]:
    """Hashes text byte by byte, all texts at once. Source: FNV-1a, Fowler, Noll and Vo."""
    encoded = np.char.encode(texts, "utf-8")
    lengths = np.char.str_len(encoded)
    width = max(int(lengths.max(initial=0)), 1)
    table = np.zeros((len(encoded), width), dtype=np.uint8)
    flat = encoded.astype(f"S{width}").view(np.uint8).reshape(len(encoded), width)
    table[:] = flat
    state = np.full(len(encoded), _FNV_START)
    for place in range(width):
        state = np.where(place < lengths, (state ^ table[:, place].astype(np.uint64)) * _FNV_PRIME, state)
    return mix(state)


def group_of(units: Any, groups: int) -> NDArray[np.int32]:
    """Returns the group of each unit, [rows] int32 in [0, groups)."""
    return (hash64(units) % np.uint64(groups)).astype(np.int32)


def poisson_weights(seed: int, replicates: int, groups: int) -> NDArray[np.float64]:
    """Returns a Poisson(1) weight for each replicate and group, [replicates, groups], from their hash alone."""
    b = np.arange(replicates, dtype=np.uint64)[:, None]
    g = np.arange(groups, dtype=np.uint64)[None, :]
    start = mix(np.array([seed], dtype=np.int64).view(np.uint64))
    uniform = (mix(mix(start + b) + g) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    terms = np.cumprod(np.concatenate([[1.0], 1.0 / np.arange(1, 20)])) / np.e
    return np.searchsorted(np.cumsum(terms), uniform, side="right").astype(np.float64)
