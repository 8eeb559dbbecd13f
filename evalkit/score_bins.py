"""Bins of scores that hold about equally many rows each, whatever the scores' distribution.

Bins are found by halving ranges of keys (see `score_keys`) that share leading bits until none holds too many rows. So
the bins of two data sets, found apart, have most of their edges in common, and sums of both add at those.

>>> import numpy as np
>>> from evalkit.score_keys import keys
>>> values = np.random.default_rng(0).beta(2.0, 5.0, 10_000)
>>> bins = balanced(keys(values, True), 64, "float64", True)
>>> 64 < len(bins) <= 128, int(np.bincount(bins.of(keys(values, True))).max()) < 2 * 10_000 / 64
(True, True)
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from evalkit import score_keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Keys = NDArray[np.int64]
    Floats = NDArray[np.float64]

TABLE_SIZE = 1 << 17
_RUNS = 512
_LEAST_SPARING = 1 << 12
_MOST_LOST = 0.75e-4
_TOP_BINS = 64
_TOP_ROWS = 256
_TOP_CUTS = 4


@dataclass(frozen=True, eq=False)
class ScoreBins:
    """Bins of scores by their keys; every key has one.

    Attributes:
        starts: [bins] int64, ascending, the lowest key of each bin; the first is the lowest key there is.
        dtype: the scores' own, `float32` or `float64`.
        probabilities: how keys are made.
    """

    starts: Keys
    dtype: str
    probabilities: bool

    def __len__(self) -> int:
        return len(self.starts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ScoreBins):
            return NotImplemented
        alike = (self.dtype, self.probabilities) == (other.dtype, other.probabilities)
        return alike and (self.starts is other.starts or np.array_equal(self.starts, other.starts))

    __hash__ = None  # type: ignore[assignment]

    def of(self, keys: NDArray[Any]) -> NDArray[np.int64]:
        """Returns the bin of each key, [keys] int64."""
        return np.searchsorted(self.starts, keys, side="right") - 1

    def starts_at(self, key: int) -> bool:
        """Returns whether a bin starts with a key."""
        place = int(np.searchsorted(self.starts, key))
        return place < len(self) and int(self.starts[place]) == key

    def common(self, other: ScoreBins) -> ScoreBins:
        """Returns the bins whose edges both have; sums at either's bins roll up to them."""
        if self == other:
            return self
        if (self.dtype, self.probabilities) != (other.dtype, other.probabilities):
            raise ValueError("bins of scores of two kinds have nothing in common")
        return ScoreBins(np.intersect1d(self.starts, other.starts, assume_unique=True), self.dtype, self.probabilities)

    def edges(self) -> tuple[Floats, Floats]:
        """Returns the lowest and the highest score of each bin, [bins] each."""
        ends = np.append(self.starts[1:] - 1, highest_key(self.dtype, self.probabilities))
        least = -highest_key(self.dtype, False) - 1 if not self.probabilities else 0
        starts = np.maximum(self.starts, least)
        low, high = (score_keys.scores(key, self.dtype, self.probabilities) for key in (starts, ends))
        return low.astype(np.float64), high.astype(np.float64)

    @functools.cached_property
    def middles(self) -> Floats:
        """The score that stands for each bin, [bins]: its middle, or the inner edge of an endless one."""
        low, high = self.edges()
        middles = low / 2 + high / 2
        if not self.probabilities:
            middles[0] = high[0]
            middles[-1] = low[-1] if len(low) > 1 else 0.0
        return middles

    @functools.cached_property
    def _lookup(self) -> Lookup:
        inner = self.starts[1:]
        if not len(inner):
            return Lookup(np.zeros(1, dtype=np.int32), 1, 0, 0)
        bits = int(np.bitwise_or.reduce(inner))
        shift = (bits & -bits).bit_length() - 1 if bits else 1
        granules = inner >> shift
        gap = int(min(-granules[granules <= 0].max(initial=-1 << 62), granules[granules >= 0].min(initial=1 << 62)))
        gap = 0 if gap == 1 << 62 or granules[0] > 0 or granules[-1] < 0 else gap
        ends = folded(granules[[0, -1]], gap)
        lowest, size = int(ends[0]) - 1, int(ends[1] - ends[0]) + 2
        if size > TABLE_SIZE:
            raise ValueError("these bins are too fine for a table")
        table = self.of(_unfolded(lowest + np.arange(size, dtype=np.int64), gap) << shift)
        return Lookup(table.astype(np.int32), shift, lowest, gap)

    def lookup(self) -> Lookup:
        """Returns the table that tells each key's bin."""
        return self._lookup


class Lookup(NamedTuple):
    """How a pass over rows finds bins: `table[clip(folded(key >> shift, gap) - lowest, 0, len(table) - 1)]`.

    Attributes:
        table: [granules] int32, at most 2^17 of them.
        shift: the low bits of a key that do not matter.
        lowest: the first granule, folded.
        gap: granules on either side of 0 that are one, where scores have both signs: numbers near 0 have as many
            floating-point numbers among them as all others.
    """

    table: NDArray[np.int32]
    shift: int
    lowest: int
    gap: int


def folded(granule: Any, gap: int) -> Any:
    """Returns granules [...] numbered so that those from -gap to gap - 1 are number 0; NumPy in, NumPy out.

    >>> folded(np.array([-5, -4, 0, 3, 4]), 4).tolist()
    [-1, 0, 0, 0, 1]
    """
    return granule - granule.clip(-gap, max(gap - 1, 0))


def _unfolded(number: Keys, gap: int) -> Keys:
    """Returns the first granule of each number."""
    return number + np.where(number > 0, max(gap - 1, 0), -gap)


def lowest_key(dtype: str, probabilities: bool) -> int:
    """Returns the lowest key of any score."""
    return 0 if probabilities else int(np.iinfo(score_keys.INTEGER[dtype]).min)


def highest_key(dtype: str, probabilities: bool) -> int:
    """Returns the highest key of any finite score."""
    largest = np.ones(1, dtype) if probabilities else np.array([np.finfo(dtype).max])
    return int(score_keys.keys(largest, probabilities)[0])


def balanced(
    keys: NDArray[Any],
    most: int,
    dtype: str,
    probabilities: bool,
    weights: NDArray[Any] | None = None,
    also: Sequence[int] = (),
) -> ScoreBins:
    """Returns bins none of which holds more than about 1/most of the rows; at most 2 most of them.

    Args:
        keys: [rows] of a sample, in any order.
        most: a power of two, say.
        dtype: the scores' own, `float32` or `float64`.
        probabilities: how keys were made.
        weights: [rows] how much each row counts; None: 1.
        also: further starts, rounded down to what a table of 2^17 entries can tell.
    """
    first = lowest_key(dtype, probabilities)
    if not len(keys):
        return ScoreBins(np.array([first]), dtype, probabilities)
    distinct, mass = _distinct(keys, weights)
    window = _window(distinct, mass, most, dtype, 0 if probabilities else 1)
    held = np.asarray(np.bincount(window.place(distinct >> window.shift), mass, window.size), dtype=np.float64)
    limit = 1.0 / most
    granules = _split(held, window, limit)
    while len(granules) >= 2 * most:
        limit *= 1.25
        granules = _split(held, window, limit)
    more = np.asarray([key >> window.shift for key in also], dtype=np.int64)
    granules = np.union1d(granules, more[window.tells(more)])
    starts = granules << window.shift
    return ScoreBins(np.append(first, starts[starts > first]).astype(np.int64), dtype, probabilities)


def quantiles(keys: Keys, counts: NDArray[Any], most: int, dtype: str, probabilities: bool) -> ScoreBins:
    """Returns about `most` bins that start at keys held, for sums that are only read; they need no table.

    Args:
        keys: [entries], in any order.
        counts: [entries], what each holds.
        most: how many bins; a key that holds more than 1/most has one of its own.
        dtype: the scores' own, `float32` or `float64`.
        probabilities: how keys were made.
    """
    if not len(keys):
        return ScoreBins(np.array([lowest_key(dtype, probabilities)]), dtype, probabilities)
    distinct, mass = _distinct(keys, counts)
    if len(distinct) > most:
        rank = np.floor((np.cumsum(mass) - mass / 2) * most)
        new = np.diff(rank, prepend=-1.0) > 0
        heavy = mass * most >= 1
        new |= heavy
        new[1:] |= heavy[:-1]
        distinct = distinct[new]
    starts = np.append(lowest_key(dtype, probabilities), distinct[1:])
    return ScoreBins(starts.astype(np.int64), dtype, probabilities)


def sampled(
    keys: NDArray[Any], labels: NDArray[Any], most: int, dtype: str, probabilities: bool, *, sparing: bool = False
) -> ScoreBins:
    """Returns balanced bins from a sample, weighted so that AUC and average precision lose little.

    Args:
        keys: [rows] of the sample, in ascending order (`keys_in_order`).
        labels: [rows], 0 or 1.
        most: as for `balanced`.
        dtype: the scores' own, `float32` or `float64`.
        probabilities: how keys were made.
        sparing: whether fewer bins are taken where those keep an AUC and an average precision of all rows within 1e-4.
    """
    weights = row_weights(labels)

    def of(most: int) -> ScoreBins:
        also = _between_top(keys) if most > _LEAST_SPARING else ()
        return balanced(keys, most, dtype, probabilities, _with_top(weights, most), also)

    if not sparing or most <= _LEAST_SPARING:
        return of(most)
    tried = of(_LEAST_SPARING)
    wanted = math.ceil(_LEAST_SPARING * _lost(tried, keys, labels) / _MOST_LOST)  # what is lost falls as bins grow
    return tried if wanted <= _LEAST_SPARING else of(min(most, wanted))


def keys_in_order(keys: NDArray[Any], labels: NDArray[Any]) -> tuple[Keys, NDArray[np.int64]]:
    """Returns keys in ascending order, and their labels, of equal keys negatives first; in one sort where both fit."""
    if len(keys) and int(keys.min()) >= -(1 << 62) and int(keys.max()) < 1 << 62:
        both = np.sort(keys.astype(np.int64) * 2 + labels)
        return both >> 1, both & 1
    order = np.lexsort((labels, keys))
    return keys[order].astype(np.int64), labels[order].astype(np.int64)


def _lost(bins: ScoreBins, keys: NDArray[Any], labels: NDArray[Any]) -> float:
    """Returns what bins may lose of an AUC or an average precision, the larger; of keys in order, as `row_weights`."""
    edges = np.append(np.searchsorted(keys, bins.starts[1:]), len(keys))
    hits = np.concatenate([[0], np.cumsum(labels)])[edges]
    positives = np.diff(hits, prepend=0)
    negatives = np.diff(edges, prepend=0) - positives
    if not positives.sum() or not negatives.sum():
        return 0.0
    above = np.maximum(np.cumsum((positives + negatives)[::-1])[::-1], 1)
    precision = np.cumsum(positives[::-1])[::-1] / above
    area = (negatives * positives).sum() / negatives.sum() / 2
    order = positives * (negatives * precision + positives * (1 - precision) / 2) / above / 2
    return float(max(area, order.sum()) / positives.sum())


def row_weights(labels: NDArray[Any]) -> Floats:
    """Returns how much each row of a sample counts for balanced bins, so that AUC and average precision lose little.

    Where positives and negatives, as shares of all rows, have densities p and n, bins of width h lose at most
    h p n / (2 P N) of an AUC at each score, and about h p (n precision + p (1 - precision) / 2) / (2 P rank) of an
    average precision: P and N are the shares of both classes; precision and rank, a share of all rows, are those of the
    rows from that score up. The sum of both over all scores is least where bins are as dense as the root of what they
    lose. Densities are those of runs of equally many rows.

    Args:
        labels: [rows], 0 or 1, in ascending order of the scores.
    """
    rows = len(labels)
    if not rows:
        return np.zeros(0)
    ends = np.linspace(0, rows, min(_RUNS, rows) + 1).astype(np.int64)
    held = np.diff(ends)
    hits = np.add.reduceat(labels.astype(np.float64), ends[:-1])
    above = np.cumsum(held[::-1])[::-1] - held / 2
    precision = (np.cumsum(hits[::-1])[::-1] - hits / 2) / above
    p, n = hits + 0.5, held - hits + 0.5
    lost = p * n / (n.sum() * 2) + p * (n * precision + p * (1 - precision) / 2) / (above * 2)
    return np.repeat(np.sqrt(lost) / held, held)


def _with_top(weights: Floats, most: int) -> Floats:
    """Returns weights that leave the top rows, where one tie moves the average precision of a small slice, finer bins.

    About 64 wherever the rank doubles or triples, or where bins are few, fewer.

    Args:
        weights: [rows] in ascending order of the scores.
        most: as for `balanced`.
    """
    rank = np.arange(len(weights), 0, -1)
    share = np.minimum(min(_TOP_BINS, most / _TOP_BINS) / rank, 2.0) / most
    return np.maximum(weights, share * weights.sum())


def _between_top(keys: NDArray[Any]) -> list[int]:
    """Returns keys that cut what lies between the top rows of a sample, which says nothing of rows there.

    The first rows of a slice of some ten thousand lie there: a tie of its second and third moves its average precision
    by as much as all other bins do together.

    Args:
        keys: [rows] of the sample, in order.
    """
    top = np.unique(keys[-_TOP_ROWS:]).astype(np.int64)
    cuts = np.arange(1, _TOP_CUTS)
    found: list[int] = (top[:-1, None] + np.diff(top)[:, None] * cuts // _TOP_CUTS).ravel().tolist()
    return found


def _distinct(keys: NDArray[Any], weights: NDArray[Any] | None) -> tuple[Keys, Floats]:
    """Returns the distinct keys in order and the share of each."""
    if weights is None:
        held = np.sort(keys)
    else:
        held, weights = keys, weights.astype(np.float64)
        if (keys[1:] < keys[:-1]).any():
            order = np.argsort(keys, kind="stable")
            held, weights = keys[order], weights[order]
    starts = np.flatnonzero(np.concatenate([[True], held[1:] != held[:-1]]))
    mass = np.diff(np.append(starts, len(held))) if weights is None else np.add.reduceat(weights, starts)
    return held[starts].astype(np.int64), mass / mass.sum()


@dataclass(frozen=True)
class _Window:
    """What a table of at most 2^17 granules can tell apart; see `Lookup`."""

    shift: int
    low: int
    size: int
    gap: int = 0

    def place(self, granules: Keys) -> Keys:
        """Returns where granules lie in the table."""
        return (folded(granules, self.gap) - self.low).clip(0, self.size - 1)

    def before(self, granules: Keys) -> Keys:
        """Returns how much of the table lies below the first key of each granule."""
        return (folded(granules, self.gap) - self.low).clip(0, self.size)

    def tells(self, granules: Keys) -> NDArray[np.bool_]:
        """Returns whether a bin may start with each granule."""
        number = folded(granules, self.gap) - self.low
        return (number > 0) & (number < self.size) & ((granules <= -self.gap) | (granules >= self.gap))


def _window(distinct: Keys, mass: Floats, most: int, dtype: str, least_shift: int) -> _Window:
    """Returns the window that loses the fewest pairs.

    What lies outside falls in the end bins: a bin's worth of rows on either side, or where many rows share the lowest
    or highest score, what lies near it; likewise about 0.
    """
    below = np.cumsum(mass)
    last = len(distinct) - 1
    share = 0.5 / most
    lows = [0, *np.searchsorted(below, [share, below[0], below[0] + share])]
    highs = [last, *np.searchsorted(below, [1 - share, 1 - mass[-1] - 1e-9, 1 - mass[-1] - share])]
    best: tuple[float, _Window] | None = None
    for low in sorted({min(int(i), last) for i in lows}):
        for high in sorted({min(int(i), last) for i in highs if i >= low}):
            for near in {0, *_near_zero(distinct, mass, share, dtype)}:
                window = _fitting(int(distinct[low]), int(distinct[high]), near, least_shift)
                held = np.bincount(window.place(distinct >> window.shift), weights=mass)
                lost = float((np.maximum(held - share, 0.0) * held).sum())
                if best is None or lost < best[0] - 1e-12:
                    best = lost, window
    if best is None:
        raise ValueError("no keys")
    return best[1]


def _near_zero(distinct: Keys, mass: Floats, share: float, dtype: str) -> list[int]:
    """Returns the keys of powers of two below which scores hold about a bin's share of rows, with 0 and without."""
    if distinct[0] >= 0 or distinct[-1] <= 0:
        return []
    order = np.argsort(np.abs(distinct))
    sizes, held = np.abs(distinct)[order], mass[order]
    mantissa = np.finfo(dtype).nmant
    found = []
    for kept in (held, np.where(sizes == 0, 0.0, held)):
        reach = int(sizes[min(int(np.searchsorted(np.cumsum(kept), share)), len(sizes) - 1)])
        found.append(reach >> mantissa << mantissa)
    return found


def _fitting(low: int, high: int, near: int, least_shift: int) -> _Window:
    """Returns the finest window from one key to the other, where keys of sizes below `near` are one.

    One granule more on either side gives the lowest and highest keys bins of their own.
    """
    inner = low < -near and high > near
    shift = least_shift
    while True:
        gap = near >> shift if inner else 0
        first, last = (int(folded(np.int64(key >> shift), gap)) for key in (low, high))
        if last - first + 3 <= TABLE_SIZE:
            return _Window(shift, first - 1, last - first + 3, gap)
        shift += 1


def _split(held: Floats, window: _Window, limit: float) -> NDArray[np.int64]:
    """Returns the granules at which bins start, but for the first bin, from what each granule of the table holds."""
    below = np.concatenate([[0.0], np.cumsum(held)])
    first, last = _unfolded(np.array([window.low, window.low + window.size - 1]), window.gap).tolist()
    top = next(level for level in range(64) if (last >> level) - (first >> level) <= 1)
    nodes = np.arange(first >> top, (last >> top) + 1, dtype=np.int64)
    leaves = []
    for level in range(top, -1, -1):
        mass = below[window.before((nodes + 1) << level)] - below[window.before(nodes << level)]
        halved = (mass > limit) & (level > 0)
        leaves.append(np.stack([nodes[~halved] << level, (nodes[~halved] + 1) << level]))
        nodes = np.concatenate([nodes[halved] * 2, nodes[halved] * 2 + 1])
    spans = np.concatenate(leaves, axis=1)
    start, stop = spans[:, np.argsort(spans[0])]
    empty = below[window.before(stop)] - below[window.before(start)] <= limit * 1e-9
    kept = window.tells(start)
    kept[1:] &= ~(empty[1:] & empty[:-1])
    result: NDArray[np.int64] = start[kept]
    return result
