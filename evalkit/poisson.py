"""Poisson counts as a pure function of (seed, key, replicate) and the mean, whatever stands beside them in an array.

A 64-bit hash gives a uniform, and the inverse of the Poisson law makes it a count. Up to a mean of 16 the inverse is
exact, by comparing with the law's table; above, it is the normal quantile with the corrections of Giles (2016) down to
1 / mean, whose distribution function is within 2e-5 of Poisson's, and closer the larger the mean.

>>> draws(0, np.array([7, 9], dtype=np.uint64), np.array([3.0, 1e6]), range(2)).shape
(2, 2)
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.compilation import scoped
from evalkit.hashing import mix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LARGEST_EXACT = 16.0
_TABLES = ((1.0, 18), (LARGEST_EXACT, 56))  # means up to here, and the largest count: P(more) < 1e-13
_BLOCK = 1024
_THREADS = os.cpu_count() or 1


def draws(seed: int, keys: NDArray[np.uint64], means: Floats, replicates: range) -> Floats:
    """Returns Poisson counts, [replicates, n] float64: of entry i in replicate b by seed, keys[i], b and mean alone.

    Args:
        seed: fixes the draws.
        keys: [n] hashes of what is drawn.
        means: [n] of at least 0; where it is 0, so is the count.
        replicates: the numbers b of the replicates.

    Source: Giles (2016), Algorithm 955, for means above 16.
    """
    numbers = _hashes(seed, replicates)
    result = np.zeros((len(replicates), len(keys)))

    def fill(block: tuple[NDArray[np.int64], int]) -> None:
        part, counts = block
        result[:, part] = _block(numbers, keys[part], means[part], counts)

    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(fill, _blocks(means)):
            pass
    return result


def _blocks(means: Floats) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Yields entries whose counts are drawn at once, and the length of their table; 0 for none."""
    least = 0.0
    for most, counts in (*_TABLES, (np.inf, 0)):
        chosen = np.flatnonzero((means > least) & (means <= most))
        for start in range(0, len(chosen), _BLOCK):
            yield chosen[start : start + _BLOCK], counts
        least = most


def _hashes(seed: int, replicates: range) -> NDArray[np.uint64]:
    """What each replicate adds to the key of an entry, [replicates]."""
    start = mix(np.array([seed], dtype=np.int64).view(np.uint64))
    return mix(start + np.array(replicates, dtype=np.uint64))


def _block(numbers: NDArray[np.uint64], keys: NDArray[np.uint64], means: Floats, counts: int) -> Floats:
    """Draws of at most a block of entries, all by the same inverse; padded so that few shapes are compiled."""
    n = len(keys)
    size = _BLOCK if n > 64 else 64
    keys = np.concatenate([keys, np.zeros(size - n, dtype=np.uint64)])
    means = np.concatenate([means, np.ones(size - n)])
    import jax

    with scoped(), jax.default_device(_cpu()):
        if counts:
            drawn = _compiled_table()(numbers, keys, _law(means, counts))
        else:
            drawn = _compiled_quantile()(numbers, keys, means)
        return np.asarray(drawn)[:, :n]


@functools.cache
def _cpu() -> Any:
    """The device that all draws are made on, since others may round otherwise; None where there are only others."""
    import jax

    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return None


def _law(means: Floats, most: int) -> Floats:
    """The distribution function at 0, 1, ..., most - 1, [most, n]."""
    steps = means / np.arange(1, most)[:, None]
    law: Floats = np.cumsum(np.cumprod(np.concatenate([np.exp(-means)[None], steps]), axis=0), axis=0, dtype=np.float64)
    return law


def _uniform(numbers: Any, keys: Any) -> Any:
    """Uniforms (h + 1/2) / 2^52 of the hashes' leading bits, [replicates, n], neither 0 nor 1."""
    import jax.numpy as jnp

    hashed: Any = mix(numbers[:, None] + keys[None, :])
    return ((hashed >> np.uint64(12)).astype(jnp.int64).astype(jnp.float64) + 0.5) * 2.0**-52


@functools.cache
def _compiled_table() -> Callable[..., Any]:
    import jax
    import jax.numpy as jnp

    @jax.jit
    def compiled(numbers: Any, keys: Any, law: Any) -> Any:
        uniform = _uniform(numbers, keys)
        count = jnp.zeros_like(uniform)
        for row in range(law.shape[0]):
            count = count + (uniform >= law[row][None, :]).astype(count.dtype)
        return count

    return compiled


@functools.cache
def _compiled_quantile() -> Callable[..., Any]:
    import jax
    import jax.numpy as jnp
    from jax.scipy.special import ndtri

    @jax.jit
    def compiled(numbers: Any, keys: Any, means: Any) -> Any:
        w = ndtri(_uniform(numbers, keys))
        mean = means[None, :]
        root = jnp.sqrt(mean)
        first = 1 / 3 + w**2 / 6
        second = -(w / 36 + w**3 / 72) / root
        third = (-8 / 405 + 7 * w**2 / 810 + w**4 / 270) / mean
        return jnp.maximum(jnp.floor(mean + (root * w + (first + second + third))), 0.0)

    return compiled
