"""Order statistics of numbers too many to sort, by counting the leading bits of their keys, sixteen at a time.

>>> import numpy as np
>>> parts = [np.array([3.0, 1.0]), np.array([2.0, -5.0, np.nan])]
>>> numbers = Numbers(lambda: iter(parts))
>>> numbers.n, numbers.at([0, 3]).tolist()
(4, [-5.0, 3.0])
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from evalkit import score_keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BITS = 16
_SIGN = np.uint64(1 << 63)


class Numbers:
    """Finite numbers that are read again for each pass.

    Args:
        read: gives them in parts, [rows] float64 each, the same each time; what is not finite is skipped.
    """

    def __init__(self, read: Callable[[], Iterable[NDArray[np.float64]]]) -> None:
        self._read = read

    def _counts(self, prefixes: Iterable[int], depth: int) -> dict[int, NDArray[np.int64]]:
        """Counts, in one pass, the next bits of the keys that begin with each prefix."""
        shift = np.uint64(64 - _BITS * (depth + 1))
        counts = {prefix: np.zeros(1 << _BITS, dtype=np.int64) for prefix in prefixes}
        for part in self._read():
            keys = score_keys.keys(part[np.isfinite(part)], probabilities=False).view(np.uint64) ^ _SIGN
            digits = ((keys >> shift) & np.uint64((1 << _BITS) - 1)).astype(np.int64)
            for prefix, counted in counts.items():
                own = digits[keys >> (shift + np.uint64(_BITS)) == np.uint64(prefix)] if depth else digits
                counts[prefix] = counted + np.bincount(own, minlength=1 << _BITS)
        return counts

    @functools.cached_property
    def _first(self) -> dict[int, NDArray[np.int64]]:
        return self._counts([0], 0)

    @property
    def n(self) -> int:
        """How many numbers there are."""
        return int(self._first[0].sum())

    def at(self, ranks: Sequence[int]) -> NDArray[np.float64]:
        """Returns the numbers of these ranks, 0 the smallest, [ranks]."""
        targets = [(0, rank) for rank in ranks]
        for depth in range(64 // _BITS):
            counts = self._counts({prefix for prefix, _ in targets}, depth) if depth else self._first
            targets = [self._narrowed(counts[prefix], prefix, rank) for prefix, rank in targets]
        keys = np.array([prefix for prefix, _ in targets], dtype=np.uint64) ^ _SIGN
        return np.asarray(score_keys.scores(keys.view(np.int64), "float64", probabilities=False))

    @staticmethod
    def _narrowed(counts: NDArray[np.int64], prefix: int, rank: int) -> tuple[int, int]:
        below = np.cumsum(counts)
        digit = int(np.searchsorted(below, rank, side="right"))
        return (prefix << _BITS) | digit, rank - (int(below[digit - 1]) if digit else 0)
