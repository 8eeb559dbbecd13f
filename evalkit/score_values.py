"""Values and gradients of metrics of scores, from histograms of any number of entries.

A few compiled functions of fixed sizes serve all: large histograms go through them a block of slices at a time, in two
threads, so that memory stays bounded.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from evalkit.compilation import scoped
from evalkit.histogram import Histogram
from evalkit.logarithm import log
from evalkit.metric import Metric
from evalkit.padding import pad, padded, padded_entries
from evalkit.score_bins import ScoreBins
from evalkit.score_sums import ScoreSums
from evalkit.score_table import histogram_of, padded_bins

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_SMALL = 1 << 16
_BLOCK = 1 << 18
_GRADED_BLOCK = 1 << 15
_TABLE_BLOCK = 1 << 16
_RUN = 64
_THREADS = 2


class HistogramArrays(NamedTuple):
    """A padded histogram, as compiled functions take it; one slice more than there are holds the padding.

    As `Histogram` takes them; `squares` are None where rows have no weights.
    """

    slices: Any
    starts: Any
    scores: Any
    squares: Any


class ScoreValues(NamedTuple):
    """What metrics are at a histogram: values and expectations [metrics, slices], gradients [metrics, entries, 2].

    `binning` is what `bounds` returns.
    """

    value: Floats
    expected: Floats
    binning: Floats
    gradient: Floats | None


def arrays_of(sums: ScoreSums, entries: int = 0, slices: int = 0) -> tuple[HistogramArrays, Floats]:
    """Returns the padded layout of a histogram without groups and its weights [entries, 2], padded.

    Args:
        sums: without groups.
        entries: the least size that entries are padded to.
        slices: likewise slices.
    """
    held = len(sums.keys)
    width, size = max(padded_entries(held), entries), max(padded(sums.size + 1), slices)
    of_entries = np.full(width, size - 1, dtype=np.int32)
    of_entries[:held] = sums.slices
    starts = np.minimum(np.searchsorted(of_entries, np.arange(size, dtype=np.int32)), width - 1).astype(np.int32)
    scores, squares = pad(sums.scores(), width), pad(sums.squares.sum(1), width)
    return HistogramArrays(of_entries, starts, scores, squares), pad(sums.weights, width)


def score_values(
    metrics: Sequence[Metric],
    arrays: HistogramArrays,
    weights: Any,
    gradients: bool = True,
) -> Any:
    """Returns values [metrics, slices], expectations, and gradients [metrics, entries, 2] of a padded histogram.

    Args:
        metrics: the metrics.
        arrays: its layout.
        weights: [entries, 2].
        gradients: whether gradients are wanted.
    """
    with scoped():
        return tuple(np.asarray(a) for a in _compiled(metrics, gradients)(arrays, weights))


_COMPILED: dict[Any, Callable[..., Any]] = {}


def _compiled(metrics: Sequence[Metric], gradients: bool) -> Callable[..., Any]:
    import jax

    key = gradients, tuple((m.name, m.function, m.statistic) for m in metrics)
    if key not in _COMPILED:
        _COMPILED[key] = jax.jit(functools.partial(_graded if gradients else _valued, tuple(metrics)))
    return _COMPILED[key]


def _histogram(arrays: HistogramArrays, weights: Any, **more: Any) -> Histogram:
    slices, starts, scores, squares = arrays
    negatives, positives = weights[:, 0], weights[:, 1]
    return Histogram(
        slices=slices, starts=starts, scores=scores, negatives=negatives, positives=positives, squares=squares, **more
    )


def _at(metric: Metric, h: Histogram) -> tuple[Any, Any]:
    """Returns a metric's value and expectation."""
    import jax.numpy as jnp

    value = metric.evaluate(h)
    if metric.baseline is None:
        return value, jnp.full_like(value, jnp.nan)
    own = {k: v for k, v in metric.parameters.items() if k not in ("threshold", "strict")}
    return value, metric.baseline(h, **own)


def _valued(metrics: Sequence[Metric], arrays: HistogramArrays, weights: Any) -> Any:
    return _all_at(metrics, _histogram(arrays, weights, shared=True, graded=False))


def _all_at(metrics: Sequence[Metric], h: Histogram) -> tuple[Any, Any]:
    """Returns values and expectations [metrics, slices]."""
    import jax.numpy as jnp

    found = [_at(metric, h) for metric in metrics]
    return jnp.stack([value for value, _ in found]), jnp.stack([expected for _, expected in found])


def _graded(metrics: Sequence[Metric], arrays: HistogramArrays, weights: Any) -> Any:
    import jax
    import jax.numpy as jnp

    def total(metric: Metric, weights: Any) -> tuple[Any, Any]:
        value, expected = _at(metric, _histogram(arrays, weights))
        return jnp.where(jnp.isnan(value), 0.0, value).sum(), (value, expected)

    values, expectations, slopes = [], [], []
    for metric in metrics:
        if metric.kind == "bootstrap":
            (_, (value, expected)), slope = total(metric, weights), jnp.zeros_like(weights)
        else:
            slope, (value, expected) = jax.grad(functools.partial(total, metric), has_aux=True)(weights)
        values.append(value)
        expectations.append(expected)
        slopes.append(slope)
    return jnp.stack(values), jnp.stack(expectations), jnp.stack(slopes)


# --- bounds ---

_SMALL_SHARE = 1 / 256


@functools.lru_cache(maxsize=2)
def _bounding(weighted: bool) -> Callable[..., Any]:
    import jax

    @jax.jit
    def compiled(arrays: HistogramArrays, weights: Any) -> Any:
        return _binning(_histogram(arrays, weights, shared=True, graded=False), 0.0 if weighted else 0.5)

    return compiled


def _binning(h: Histogram, half: float) -> Any:
    """Does what `bounds` says; of weighted rows `half` is 0."""
    import jax.numpy as jnp

    from evalkit.metric import ratio

    n, p = h.negatives, h.positives
    negatives, positives = h.total(n), h.total(p)
    alarms, hits = h.above(n), h.above(p)
    reached = hits + alarms
    printed = p * hits / jnp.where(reached > 0, reached, 1.0)
    best = p * hits / jnp.where(reached - n > 0, reached - n, 1.0)
    before = jnp.where(reached - p + half > 0, reached - p + half, 1.0)
    worst = p - alarms * log((before + p) / before)
    small = n + p <= h.spread((negatives + positives) * _SMALL_SHARE)
    up, down = best - printed, printed - worst
    halves = (jnp.where(small, part / 2, 0.0) for part in (up + down, up - down))
    large = (jnp.where(small, 0.0, part) for part in (up, down))
    ties, inside, shift, above, below = h.totals(n * p, *halves, *large)
    away = inside + jnp.maximum(above, below)
    moved = ratio(ties / 2, negatives * positives), ratio(away, positives), ratio(shift, positives)
    return jnp.nan_to_num(jnp.stack(moved))


def bounds(arrays: HistogramArrays, weights: Any, *, weighted: bool) -> Floats:
    """Returns what binning does to an area and an average precision, [3, slices].

    First how far it may have moved the area: half of the share of pairs in one bin at most. Then how far the average
    precision may be from its middle, and where that lies, from the value in which a bin's rows are tied.

    An average precision is largest where each bin's positives stand above its negatives, as one score:
    p (P + p) / (P + p + N) for p positives below P positives and N negatives. It is least where they stand below one
    after another: the sum over j to p of (P + j) / (P + j + N + n), or more simply, and no larger,
    p - (N + n) ln((P + p + N + n + 1/2) / (P + N + n + 1/2)); of weighted rows, which may be of any size, without the
    halves. Bins that hold much of a slice are likely one score, and ties: they are left out of the middle.
    """
    with scoped():
        return np.asarray(_bounding(weighted)(arrays, weights))


# --- blocks ---


def values_of(metrics: Sequence[Metric], sums: ScoreSums, *, gradients: bool, bounded: bool = False) -> ScoreValues:
    """Returns the metrics at a histogram without groups; without gradients faster and in less memory.

    Args:
        metrics: the metrics.
        sums: without groups, of any number of entries.
        gradients: whether gradients are wanted.
        bounded: whether what binning does is wanted; else that is 0.
    """
    bounded &= sums.bins is not None
    if sums.table is not None and sums.bins is not None and not gradients:
        blocks, one = _of_table(metrics, sums, sums.bins, bounded)
    elif len(sums.keys) <= _SMALL:
        return _small(metrics, sums, gradients, bounded)
    else:
        blocks, one = _of_entries(metrics, sums, gradients, bounded)
    if len(blocks) == 1:
        return one(blocks[0])
    first = one(blocks[0])  # compiles, once
    with ThreadPoolExecutor(_THREADS) as pool:
        found = [first, *pool.map(one, blocks[1:])]
    value, expected, binning = (
        np.concatenate([getattr(part, name) for part in found], axis=1) for name in ("value", "expected", "binning")
    )
    slopes = [part.gradient for part in found if part.gradient is not None]
    return ScoreValues(value, expected, binning, np.concatenate(slopes, axis=1) if gradients else None)


def _of_entries(
    metrics: Sequence[Metric], sums: ScoreSums, gradients: bool, bounded: bool
) -> tuple[list[ScoreSums], Callable[[ScoreSums], ScoreValues]]:
    """Returns blocks of slices, and what gives the values of one."""
    size = _GRADED_BLOCK if gradients else _BLOCK
    blocks = list(sums.blocks(size, _RUN))
    slices = padded(1 + max(block.size for block in blocks))
    runs = max(size, padded_entries(int(np.diff(sums.begin).max()))) // _RUN
    return blocks, lambda block: _block(metrics, block, gradients, bounded, runs, slices)


def _small(metrics: Sequence[Metric], sums: ScoreSums, gradients: bool, bounded: bool) -> ScoreValues:
    arrays, weights = arrays_of(sums)
    value, expected, *gradient = score_values(metrics, arrays, weights, gradients=gradients)
    binning = np.zeros((3, sums.size))
    if bounded:
        binning = bounds(arrays, weights, weighted=sums.weighted)[:, : sums.size]
    slopes = gradient[0][:, : len(sums.keys)] if gradients else None
    return ScoreValues(value[:, : sums.size], expected[:, : sums.size], binning, slopes)


def _block(
    metrics: Sequence[Metric], sums: ScoreSums, gradients: bool, bounded: bool, runs: int, slices: int
) -> ScoreValues:
    arrays, weights, place = _runs_of(sums, runs, slices)
    binning = np.zeros((3, sums.size))
    if bounded:
        binning = bounds(arrays, weights, weighted=sums.weighted)[:, : sums.size]
    if gradients:
        value, expected, gradient = score_values(metrics, arrays, weights)
        return ScoreValues(value[:, : sums.size], expected[:, : sums.size], binning, gradient[:, place])
    value, expected = score_values(metrics, arrays, weights, gradients=False)
    return ScoreValues(value[:, : sums.size], expected[:, : sums.size], binning, None)


def _of_table(
    metrics: Sequence[Metric], sums: ScoreSums, bins: ScoreBins, bounded: bool
) -> tuple[list[ScoreSums], Callable[[ScoreSums], ScoreValues]]:
    """Returns blocks of slices, and what gives the values of one; every slice has the same bins."""
    width = padded_bins(len(bins))
    step = max(1, _TABLE_BLOCK // width)
    middles = pad(bins.middles, width)
    names = ("total", "square") if sums.weighted else ("count",)
    compiled = _compiled_table(tuple(metrics), bounded)

    def one(block: ScoreSums) -> ScoreValues:
        table = block.table or {}
        own = []
        for name in names:
            own.append(np.zeros((step, width, 2), table[name].dtype))
            own[-1][: block.size, : len(bins)] = table[name]
        with scoped():
            value, expected, binning = (np.asarray(a)[:, : block.size] for a in compiled(middles, *own))
        return ScoreValues(value, expected, binning, None)

    return [sums.between(start, min(start + step, sums.size)) for start in range(0, sums.size, step)], one


_TABLES: dict[Any, Callable[..., Any]] = {}


def _compiled_table(metrics: tuple[Metric, ...], bounded: bool) -> Callable[..., Any]:
    import jax
    import jax.numpy as jnp

    key = bounded, tuple((m.name, m.function, m.statistic) for m in metrics)

    def values(middles: Any, weights: Any, squares: Any = None) -> Any:
        wide = weights.astype(middles.dtype)
        h = histogram_of(middles, wide, None if squares is None else squares.sum(-1))
        found = *_all_at(metrics, h), _binning(h, 0.5 if squares is None else 0.0)
        return found if bounded else (*found[:2], jnp.zeros_like(found[2]))

    if key not in _TABLES:
        _TABLES[key] = jax.jit(values)
    return _TABLES[key]


def _runs_of(sums: ScoreSums, runs: int, slices: int) -> tuple[HistogramArrays, Floats, NDArray[np.int64]]:
    """Returns a histogram laid out in runs of entries of one slice, its weights, and the place of each entry.

    Args:
        sums: without groups.
        runs: how many runs there are at least.
        slices: the number that slices are padded to.
    """
    held = np.diff(sums.begin)
    of_slice = -(-held // _RUN)
    runs = max(runs, int(of_slice.sum()))
    of_runs = np.full(runs, slices - 1, dtype=np.int32)
    of_runs[: of_slice.sum()] = np.repeat(np.arange(sums.size, dtype=np.int32), of_slice)
    starts = np.minimum(np.searchsorted(of_runs, np.arange(slices, dtype=np.int32)), runs - 1).astype(np.int32)
    moved = (np.cumsum(of_slice) - of_slice) * _RUN - sums.begin[:-1]
    entries = len(sums.keys)
    run, inside = np.divmod(np.repeat(moved, held) + np.arange(entries), _RUN)
    place = inside * runs + run
    entry = np.full(runs * _RUN, entries)  # the last of them is a zero
    entry[place] = np.arange(entries)

    def laid(values: Any) -> Any:
        return np.concatenate([values, np.zeros((1, *values.shape[1:]))]).take(entry, axis=0)

    squares = None if sums.square is None else laid(sums.square.sum(1))
    return (
        HistogramArrays(of_runs, starts, laid(sums.scores()), squares),
        laid(sums.weights),
        place,
    )
