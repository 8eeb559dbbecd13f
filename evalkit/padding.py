"""Rows in chunks of a few sizes, so that few functions are compiled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

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
