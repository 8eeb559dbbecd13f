"""A table of slices and bins of scores as a `Histogram`: every slice has the same bins, and no entry is looked up.

>>> import jax.numpy as jnp
>>> weights = jnp.array([[[3.0, 0.0], [1.0, 2.0]], [[0.0, 0.0], [0.0, 4.0]]])
>>> h = histogram_of(jnp.array([0.25, 0.75]), weights)
>>> h.total(h.positives).tolist(), h.total(h.weights * h.scores).tolist()
([2.0, 4.0], [3.0, 3.0])
"""

from __future__ import annotations

from typing import Any

from evalkit.histogram import Histogram
from evalkit.padding import padded

_LONGEST_RUN = 64


def padded_bins(bins: int) -> int:
    """Returns the next of eight widths in each octave, so that few functions are compiled.

    >>> padded_bins(12_083), padded_bins(300)
    (12288, 320)
    """
    unit = padded(bins, 1 << 8) // 16
    return -(-bins // unit) * unit


def histogram_of(scores: Any, weights: Any, squares: Any = None) -> Histogram:
    """Returns a table as a histogram in runs of bins, for values without gradients.

    Args:
        scores: [bins] the score of each bin.
        weights: [slices, bins, 2] summed weights of rows with label 0 and 1.
        squares: [slices, bins] summed squared weights; None where weights are counts.
    """
    import jax.numpy as jnp

    slices, bins, _ = weights.shape
    run = min(_LONGEST_RUN, bins & -bins)

    def laid(values: Any) -> Any:
        return jnp.broadcast_to(values, (slices, bins)).reshape(-1, run).T.reshape(-1)

    return Histogram(
        slices=jnp.repeat(jnp.arange(slices, dtype=jnp.int32), bins // run),
        starts=jnp.arange(slices, dtype=jnp.int32) * (bins // run),
        scores=laid(scores),
        negatives=laid(weights[..., 0]),
        positives=laid(weights[..., 1]),
        squares=None if squares is None else laid(squares),
        shared=True,
        graded=False,
        by_bin=(scores, laid),
    )
