"""Bootstrap replicates from sums, without touching rows again.

Groups of units are resampled where there are groups; else each cell's or score's rows are, for their number in a
bootstrap sample is Poisson with their count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from evalkit.errors import ConfigError
from evalkit.estimate import arrays_of, score_values, values_and_gradients
from evalkit.hashing import poisson_weights
from evalkit.kernels import pad
from evalkit.metric import Metric
from evalkit.sums import AnySums, FieldSums, ScoreSums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DEFAULT_REPLICATES = 400
_BLOCK = 1 << 16
_MOST_ENTRIES = 1 << 17


def replicates(metrics: Sequence[Metric], sums: AnySums, n: int, seed: int) -> Floats:
    """Returns bootstrap values of metrics that read the same statistic, [metrics, replicates, slices].

    Args:
        metrics: the metrics.
        sums: the sums they read.
        n: the number of replicates.
        seed: fixes the draws.
    """
    if isinstance(sums, ScoreSums):
        return _of_scores(metrics, sums, n, seed)
    return _of_fields(metrics, sums, n, seed)


def _of_fields(metrics: Sequence[Metric], sums: FieldSums, n: int, seed: int) -> Floats:
    slices, fields = sums.total.shape[0], sums.total.shape[-1]
    result = np.empty((len(metrics), n, slices))
    step = max(1, _BLOCK // max(slices, 1))
    weights = poisson_weights(seed, n, sums.total.shape[1]) if sums.clustered else None
    for start in range(0, n, step):
        part = range(start, min(start + step, n))
        if weights is not None:
            block = weights[part.start : part.stop]
            total = np.tensordot(block, sums.total, axes=(1, 1))
            rows = np.tensordot(block, sums.count.sum(-1).astype(np.float64), axes=(1, 1))
        else:
            total = np.stack([_drawn(sums.total, sums.square, seed, b) for b in part])
            rows = total.sum(-1)
        values, _ = values_and_gradients(metrics, total.reshape(-1, fields), rows.reshape(-1))
        result[:, part.start : part.stop] = values.reshape(len(metrics), len(part), slices)
    return result


def _drawn(total: Floats, square: Floats | None, seed: int, replicate: int) -> Floats:
    """Draws a bootstrap sample's sums of cells: Poisson in their effective number of rows."""
    if square is None or square.ndim != 2:
        raise ConfigError("A bootstrap of means needs groups of rows; evaluate with intervals=bootstrap(...).")
    effective = np.divide(total**2, square, out=np.zeros_like(total), where=square > 0)
    draws = np.random.Generator(np.random.Philox(key=[seed, replicate])).poisson(effective)
    return np.divide(total * draws, effective, out=np.zeros_like(total), where=effective > 0)


def _of_scores(metrics: Sequence[Metric], sums: ScoreSums, n: int, seed: int) -> Floats:
    margin = sums.margin()
    exact, *_ = score_values(metrics, *arrays_of(margin), gradients=False)
    shift, coarse, coarse_margin = sums.shift, sums, margin
    while len(coarse_margin.keys) > _MOST_ENTRIES and shift < 60:
        shift += 1
        coarse_margin = margin.coarser(shift)
    if shift != sums.shift:
        coarse = sums.coarser(shift)
    arrays, weights = arrays_of(coarse_margin)
    rough, *_ = score_values(metrics, arrays, weights, gradients=False)
    result = np.empty((len(metrics), n, sums.size))
    draws = _score_draws(coarse, coarse_margin, n, seed)
    for b in range(n):
        values, _ = score_values(metrics, arrays, pad(next(draws), len(weights)), gradients=False)
        result[:, b] = values[:, : sums.size]
    result += (exact - rough)[:, None, : sums.size]
    return result


def _score_draws(sums: ScoreSums, margin: ScoreSums, n: int, seed: int):  # type: ignore[no-untyped-def]
    """Yields the weights [entries, 2] of each replicate."""
    if sums.groups is None:
        for b in range(n):
            yield _drawn(margin.weights, margin.squares, seed, b)
        return
    group_weights = poisson_weights(seed, n, int(sums.groups.max(initial=0)) + 1)
    new = np.ones(len(sums.keys), dtype=bool)
    new[1:] = (np.diff(sums.slices) != 0) | (np.diff(sums.keys) != 0)
    starts = np.flatnonzero(new)
    for b in range(n):
        yield np.add.reduceat(sums.weights * group_weights[b][sums.groups][:, None], starts, axis=0)
