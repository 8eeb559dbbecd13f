"""Bootstrap replicates from sums, without touching rows again.

Groups of units are resampled where there are groups; else each cell's or score's rows are, for their number in a
bootstrap sample is Poisson with their count. A group's weight depends on the seed, the group and the replicate alone; a
count on the seed, its slice, its cell or score, the replicate and its mean. So replicates of a slice are the same
beside any other slices, and from shards in any order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from evalkit import poisson
from evalkit.errors import ConfigError
from evalkit.estimate import field_values
from evalkit.hashing import hash64, mix, poisson_weights
from evalkit.metric import Metric
from evalkit.padding import pad
from evalkit.score_sums import ScoreSums, first_of_keys, regroup
from evalkit.score_values import arrays_of, score_values, values_of
from evalkit.slicing.spec import SliceKey, slice_text
from evalkit.sums import AnySums, FieldSums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Hashes = NDArray[np.uint64]

DEFAULT_REPLICATES = 400
_BLOCK_ROWS = 1 << 16
_BLOCK_DRAWS = 1 << 23
_LEAST_ENTRIES = 64
_AT_ONCE = 16
_THREADS = os.cpu_count() or 1


def replicates(metrics: Sequence[Metric], sums: AnySums, n: int, seed: int, keys: Sequence[SliceKey]) -> Floats:
    """Returns bootstrap values of metrics that read the same statistic, [metrics, replicates, slices].

    Args:
        metrics: the metrics.
        sums: the sums they read.
        n: the number of replicates.
        seed: fixes the draws.
        keys: the slices of the sums.
    """
    hashes = hash64([slice_text(key) for key in keys])
    if isinstance(sums, ScoreSums):
        return _of_scores(metrics, sums, n, seed, hashes)
    return _of_fields(metrics, sums, n, seed, hashes)


def _parts(n: int, step: int) -> Iterator[range]:
    """Yields the replicates of each block."""
    for start in range(0, n, max(step, 1)):
        yield range(start, min(start + max(step, 1), n))


# --- statistics of a few fields ---


def _of_fields(metrics: Sequence[Metric], sums: FieldSums, n: int, seed: int, hashes: Hashes) -> Floats:
    slices, fields = sums.total.shape[0], sums.total.shape[-1]
    draw = _group_draws(sums, n, seed) if sums.clustered else _cell_draws(sums, seed, hashes)
    result = np.empty((len(metrics), n, slices))
    for part in _parts(n, _BLOCK_ROWS // max(slices, 1)):
        total, rows = draw(part)
        values = field_values(metrics, total.reshape(-1, fields), rows.reshape(-1))
        result[:, part.start : part.stop] = values.reshape(len(metrics), len(part), slices)
    return result


def _group_draws(sums: FieldSums, n: int, seed: int) -> Callable[[range], tuple[Floats, Floats]]:
    """Returns a function from replicates to totals [replicates, slices, fields] and rows [replicates, slices]."""
    slices, groups, fields = sums.total.shape
    weights = poisson_weights(seed, n, groups)
    total = np.ascontiguousarray(sums.total.swapaxes(0, 1)).reshape(groups, -1)
    rows = sums.count.sum(-1).T.astype(np.float64)

    def draw(part: range) -> tuple[Floats, Floats]:
        block = weights[part.start : part.stop]
        return (block @ total).reshape(len(part), slices, fields), block @ rows

    return draw


def _cell_draws(sums: FieldSums, seed: int, hashes: Hashes) -> Callable[[range], tuple[Floats, Floats]]:
    """Returns a function from replicates to totals and rows, cells Poisson in their effective number of rows."""
    if sums.square is None or sums.square.ndim != 2:
        raise ConfigError("A bootstrap of means needs groups of rows; evaluate with intervals=bootstrap(...).")
    slices, cells = sums.total.shape
    keys = mix(hashes[:, None] + np.arange(cells, dtype=np.uint64)[None, :])
    effective, each = _effective(sums.total, sums.square)

    def draw(part: range) -> tuple[Floats, Floats]:
        counts = poisson.draws(seed, keys.reshape(-1), effective.reshape(-1), part)
        total = counts.reshape(len(part), slices, cells) * each
        return total, total.sum(-1)

    return draw


def _effective(total: Floats, square: Floats) -> tuple[Floats, Floats]:
    """Returns effective numbers of rows, and the weight of each; the counts and 1 without weights."""
    effective = np.divide(total**2, square, out=np.zeros_like(total), where=square > 0)
    return effective, np.divide(square, total, out=np.zeros_like(total), where=total > 0)


# --- histograms of scores ---


def _of_scores(metrics: Sequence[Metric], sums: ScoreSums, n: int, seed: int, hashes: Hashes) -> Floats:
    exact = values_of(metrics, sums.margin(), gradients=False).value
    coarse = thinned(sums)
    coarse_margin = coarse.ungrouped()
    arrays, weights = arrays_of(coarse_margin)
    rough, *_ = score_values(metrics, arrays, weights, gradients=False)
    shift = exact[:, : sums.size] - rough[:, : sums.size]
    draws = _score_draws(coarse, coarse_margin, n, seed, hashes)

    def values(drawn: Floats) -> Floats:
        found, *_ = score_values(metrics, arrays, pad(drawn, len(weights)), gradients=False)
        return np.asarray(found[:, : sums.size] + shift)

    with ThreadPoolExecutor(_THREADS) as pool:
        blocks = iter(lambda: list(islice(draws, _AT_ONCE)), [])
        return np.stack([found for block in blocks for found in pool.map(values, block)], axis=1)


def _score_draws(sums: ScoreSums, margin: ScoreSums, n: int, seed: int, hashes: Hashes) -> Iterator[Floats]:
    """Yields the weights [entries, 2] of each replicate."""
    if sums.groups is not None:
        yield from _score_group_draws(sums, n, seed)
        return
    of_entry = mix(hashes[margin.slices] + hash64(margin.keys))
    keys = mix(of_entry[:, None] + np.arange(2, dtype=np.uint64)[None, :])
    effective, each = _effective(margin.weights, margin.squares)
    held = np.flatnonzero(effective.reshape(-1))
    for part in _parts(n, _BLOCK_DRAWS // max(len(held), 1)):
        counts = poisson.draws(seed, keys.reshape(-1)[held], effective.reshape(-1)[held], part)
        for count in counts * each.reshape(-1)[held]:
            drawn = np.zeros(effective.size)
            drawn[held] = count
            yield drawn.reshape(-1, 2)


def _score_group_draws(sums: ScoreSums, n: int, seed: int) -> Iterator[Floats]:
    if sums.groups is None:
        raise ValueError("no groups of units")
    group_weights = poisson_weights(seed, n, int(sums.groups.max(initial=0)) + 1)
    starts = np.flatnonzero(first_of_keys(sums))
    for of_replicate in group_weights:
        yield np.add.reduceat(sums.weights * of_replicate[sums.groups][:, None], starts, axis=0)


def thinned(sums: ScoreSums) -> ScoreSums:
    """Returns a histogram with at most 64 + 4 sqrt(rows) scores in a slice, neighbours joined at the lowest of them.

    Joined scores hold about equally many rows, at most half a standard error of the number above a score, so that
    joining them moves a replicate by less than they differ. How a slice is thinned depends on its own rows alone.
    """
    first = first_of_keys(sums)
    place = np.cumsum(first) - 1
    starts = np.flatnonzero(first)
    slices = sums.slices[starts]
    rows = np.add.reduceat(sums.count.sum(1), starts) if len(starts) else np.zeros(0, dtype=np.int64)
    below = np.cumsum(rows) - rows
    begin = np.searchsorted(slices, slices)
    total = np.bincount(slices, weights=rows, minlength=sums.size)[slices].astype(np.int64)
    most = (_LEAST_ENTRIES + 4 * np.sqrt(total)).astype(np.int64)
    entries = np.bincount(slices, minlength=sums.size)[slices]
    bins = (below - below[begin]) * most // np.maximum(total, 1)
    alone = entries <= most
    new = np.ones(len(starts), dtype=bool)
    new[1:] = (np.diff(bins) != 0) | (np.diff(slices) != 0) | alone[1:]
    if new.all():
        return sums
    joined = sums.keys[starts][new][np.cumsum(new) - 1]
    return regroup(replace(sums, keys=joined[place], fine=None), ordered=sums.groups is None)
