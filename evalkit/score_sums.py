"""The histogram of scores and labels in each slice: what every metric of scores is a function of.

Exact while it holds every score; else by the bins of `score_bins`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit import score_keys
from evalkit.errors import DataError
from evalkit.score_bins import ScoreBins, quantiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]

ARRAYS = ("slices", "keys", "groups", "count", "total", "square")
_MOST_SPREAD = 8
_CACHED_ENTRIES = 1 << 16
_THREADS = 2


@dataclass(frozen=True)
class ScoreSums:
    """The histogram of scores and labels in each slice, an entry for each that occurs, in order.

    Attributes:
        slices: [entries] int32, ascending.
        keys: [entries] int64, ascending within a slice; keys of scores, of bins their lowest.
        groups: [entries] int32, ascending within a key; None where rows are independent.
        count: [entries, 2] rows with label 0 and 1.
        total: [entries, 2] summed weights; None where there are none, then the counts.
        square: [entries, 2] summed squared weights; None likewise.
        bins: the scores' bins; None is exact.
        dtype: the scores' own, `float32` or `float64`.
        probabilities: how the keys were made.
        size: the number of slices.
        fine: where groups by finer bins would be too many, the histogram without groups, from which values come; the
            entries with groups tell variances alone.
        table: `count`, `total` and `square` of every slice and bin, [slices, bins, 2], where sums came so: entries are
            laid out when they are first asked for.
    """

    slices: NDArray[np.int32]
    keys: NDArray[np.int64]
    groups: NDArray[np.int32] | None
    count: Counts
    total: Floats | None
    square: Floats | None
    bins: ScoreBins | None
    dtype: str
    probabilities: bool
    size: int
    fine: ScoreSums | None = None
    table: Mapping[str, NDArray[Any]] | None = field(default=None, init=False)

    @classmethod
    def of_table(cls, table: Mapping[str, NDArray[Any]], bins: ScoreBins) -> ScoreSums:
        """Returns the sums of a table [slices, bins, 2]."""
        sums: ScoreSums = object.__new__(cls)
        known = {"dtype": bins.dtype, "probabilities": bins.probabilities, "size": len(table["count"])}
        vars(sums).update(known, table=table, bins=bins, groups=None, fine=None)
        return sums

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name not in ARRAYS or vars(self).get("table") is None:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            vars(self).update(_entries(self.table, self.bins))
            return vars(self)[name]

    @functools.cached_property
    def entries(self) -> int:
        """How many entries there are."""
        if self.table is None:
            return len(self.keys)
        return int(np.count_nonzero(self.table["count"][..., 0] | self.table["count"][..., 1]))

    def laid_out(self) -> ScoreSums:
        """Returns the sums as entries alone."""
        numbers = None if self.table is None else self.bin_numbers
        return self if numbers is None else replace(self).with_bins(numbers)

    @property
    def clustered(self) -> bool:
        """Whether entries are kept apart by groups of units."""
        return self.groups is not None

    @property
    def weighted(self) -> bool:
        """Whether rows have weights."""
        return (self.total is not None) if self.table is None else "total" in self.table

    @functools.cached_property
    def weights(self) -> Floats:
        """Summed weights [entries, 2]."""
        return self.count.astype(np.float64) if self.total is None else self.total

    @functools.cached_property
    def squares(self) -> Floats:
        """Summed squared weights [entries, 2]."""
        return self.weights if self.square is None else self.square

    @functools.cached_property
    def begin(self) -> Counts:
        """The first entry of each slice, and after the last the number of entries, [slices + 1]."""
        return np.searchsorted(self.slices, np.arange(self.size + 1, dtype=np.int32)).astype(np.int64)

    def totals(self, name: str) -> NDArray[Any]:
        """Returns `count`, or `total` or `square` where rows have weights, of each slice, [slices, 2]."""
        return self.by_slice(getattr(self, name)) if self.table is None else self._table_totals[name]

    @functools.cached_property
    def _table_totals(self) -> dict[str, NDArray[Any]]:
        return {name: _over_bins(array) for name, array in (self.table or {}).items()}

    def split_at(self, key: int) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        """Returns `count`, and where rows have weights `total` and `square`, of scores below a key and from it on.

        Args:
            key: of a score; where scores are binned, a bin starts with it.

        Returns:
            Two arrays [slices, 2] for each name.
        """
        names = ("count", "total", "square") if self.weighted else ("count",)
        if self.table is not None and self.bins is not None:
            place = int(np.searchsorted(self.bins.starts, key))
            count = _over_bins(self.table["count"][:, :place])
            others = [[_over_bins(self.table[n][:, part]) for part in np.s_[:place, place:]] for n in names[1:]]
            return [(count, self.totals("count") - count), *((below, above) for below, above in others)]
        inside = (self.keys >= key)[:, None]
        arrays = [getattr(self, name) for name in names]
        return [(self.by_slice(array * ~inside), self.by_slice(array * inside)) for array in arrays]

    def by_slice(self, values: NDArray[Any]) -> NDArray[Any]:
        """Sums values [entries, k] by slice."""
        result = np.zeros((self.size, values.shape[1]), dtype=values.dtype)
        held = np.flatnonzero(np.diff(self.begin))
        if len(held):
            for column in range(values.shape[1]):
                result[held, column] = np.add.reduceat(values[:, column], self.begin[held])
        return result

    @functools.cached_property
    def bin_numbers(self) -> NDArray[np.integer]:
        """The number of each entry's bin, [entries]."""
        if self.bins is None:
            raise ValueError("these scores are not binned")
        keys = self.keys  # of a table, laying entries out tells their bins
        known: NDArray[np.integer] | None = vars(self).get("bin_numbers")
        return self.bins.of(keys) if known is None else known

    def with_bins(self, numbers: NDArray[np.integer]) -> ScoreSums:
        """Tells the number of each entry's bin, so that it need not be looked for; returns the sums."""
        self.__dict__["bin_numbers"] = numbers
        return self

    @functools.cached_property
    def _places(self) -> Counts:
        """The place of each entry among all slices' bins, [entries]."""
        return self.slices.astype(np.int64) * len(self.bins or ()) + self.bin_numbers

    def scores(self) -> Floats:
        """Returns the score of each entry; the middle of its bin where scores are binned."""
        if self.bins is not None:
            return self.bins.middles[self.bin_numbers]
        return score_keys.scores(self.keys, self.dtype, self.probabilities).astype(np.float64)

    def margin(self) -> ScoreSums:
        """Returns the sums over groups, as finely as they are known."""
        return self.ungrouped() if self.fine is None else self.fine

    def ungrouped(self) -> ScoreSums:
        """Returns the sums over groups at the bins of the entries with groups, as variances see them."""
        return self if self.groups is None else regroup(replace(self, groups=None, fine=None))

    def place(self, index: NDArray[np.int64], slices: int) -> ScoreSums:
        """Returns the sums with slice i moved to `index[i]` among `slices`."""
        if slices == self.size and np.array_equal(index, np.arange(slices)):
            return self
        fine = None if self.fine is None else self.fine.place(index, slices)
        moved = replace(self, slices=index[self.slices].astype(np.int32), size=slices, fine=fine)
        return moved if (np.diff(index) > 0).all() else regroup(moved, ordered=False)

    def take(self, index: NDArray[np.int64]) -> ScoreSums:
        """Returns the sums of some slices."""
        place = np.full(self.size, -1, dtype=np.int64)
        place[index] = np.arange(len(index))
        kept = place[self.slices] >= 0
        fine = None if self.fine is None else self.fine.take(index)
        cut = replace(self, fine=fine, **_taken(self, np.flatnonzero(kept)))
        cut = replace(cut, slices=place[cut.slices].astype(np.int32), size=len(index))
        return cut if (np.diff(index) > 0).all() else regroup(cut, ordered=False)

    def between(self, start: int, stop: int) -> ScoreSums:
        """Returns the sums of neighbouring slices, without copies."""
        if (start, stop) == (0, self.size):
            return self
        if self.table is not None and self.bins is not None:
            return ScoreSums.of_table({name: array[start:stop] for name, array in self.table.items()}, self.bins)
        own = slice(int(self.begin[start]), int(self.begin[stop]))
        cut = replace(self, size=stop - start, fine=None, **_each(self, lambda array: array[own]))
        cut = replace(cut, slices=cut.slices - np.int32(start))
        return cut.with_bins(self.bin_numbers[own]) if "bin_numbers" in self.__dict__ else cut

    def blocks(self, entries: int, multiple: int = 1) -> Iterator[ScoreSums]:
        """Yields the sums of neighbouring slices that hold at most so many entries together, or are one slice.

        Of tables every bin of every slice counts.

        Args:
            entries: how many.
            multiple: to a multiple of this the entries of each slice are rounded up in that.
        """
        held = np.diff(self.begin) if self.table is None else np.full(self.size, len(self.bins or ()))
        ends = np.cumsum(-(-held // multiple) * multiple)
        start = 0
        while start < self.size:
            before = int(ends[start - 1]) if start else 0
            stop = max(int(np.searchsorted(ends, before + entries, side="right")), start + 1)
            yield self.between(start, stop)
            start = stop

    def binned(self, bins: ScoreBins) -> ScoreSums:
        """Returns the roll-up to bins, or to those that they have in common with these sums' own."""
        if self.bins is not None:
            bins = self.bins.common(bins)
        if bins is self.bins:
            return self
        numbers = bins.of(self.keys) if self.bins is None else bins.of(self.bins.starts)[self.bin_numbers]
        rolled = replace(self, keys=bins.starts[numbers], bins=bins).with_bins(numbers)
        return regroup(rolled, ordered=self.groups is None)

    def thinner(self, most: int) -> ScoreSums:
        """Returns the roll-up to about `most` bins that hold equally much over all slices, the same for each slice."""
        return self.binned(self.thinner_bins(most))

    def thinner_bins(self, most: int) -> ScoreBins:
        """Returns about `most` bins that hold equally much over all slices."""
        return quantiles(self.keys, np.abs(self.weights.sum(1)), most, self.dtype, self.probabilities)

    def thinned(self, most: int) -> ScoreSums:
        """Returns the sums with at most about 2 `most` scores in a slice, neighbours joined at one in their middle.

        Joined scores hold at most 1/most of a slice's negatives or positives together, or are one score. How a slice is
        thinned depends on its own entries alone; those that hold few are left as they are.
        """
        if self.table is not None:
            with ThreadPoolExecutor(_THREADS) as pool:
                return stacked(
                    list(pool.map(lambda block: block._thinned_table(most), self.blocks(2 * _CACHED_ENTRIES)))
                )
        if self.groups is None and self.entries > 2 * _CACHED_ENTRIES:
            with ThreadPoolExecutor(_THREADS) as pool:
                return stacked(list(pool.map(lambda block: block._thinned(most), self.blocks(_CACHED_ENTRIES))))
        return self._thinned(most)

    def _thinned(self, most: int) -> ScoreSums:
        first = first_of_keys(self)
        starts = np.flatnonzero(first)
        alone = self.groups is None
        slices, begin = (self.slices, self.begin) if alone else (self.slices[starts], None)
        if begin is None:
            begin = np.searchsorted(slices, np.arange(self.size + 1, dtype=np.int32))
        distinct = np.diff(begin)
        rank = np.zeros(len(starts))
        for column in self.weights.T:
            held = column if alone else np.add.reduceat(column, starts)
            below = np.concatenate([[0.0], np.cumsum(held)])
            total = below[begin[1:]] - below[begin[:-1]]
            share = np.divide(most, total, out=np.zeros_like(total), where=total > 0)
            inside = below[1:] - held / 2 - np.repeat(below[begin[:-1]], distinct)
            rank += inside * np.repeat(share, distinct)
        rank = np.floor(rank)
        new = np.repeat(distinct <= most, distinct)
        new[1:] |= rank[1:] > rank[:-1]
        new[begin[:-1][distinct > 0]] = True
        if new.all():
            return self
        runs = np.flatnonzero(new)
        middle = (runs + np.append(runs[1:], len(new)) - 1) // 2
        if alone:
            joined: dict[str, Any] = {n: np.add.reduceat(getattr(self, n), runs, axis=0) for n in _amounts(self)}
            return replace(self, slices=slices[runs], keys=self.keys[middle], **joined)
        keys = self.keys[starts][middle][np.cumsum(new) - 1]
        return regroup(replace(self, keys=keys[np.cumsum(first) - 1]), ordered=self.groups is None)

    def _thinned_table(self, most: int) -> ScoreSums:
        """Does what `_thinned` does, without laying out entries."""
        if self.table is None or self.bins is None:
            raise ValueError("there is no table")
        weights = self.table["total" if self.weighted else "count"]
        held = (self.table["count"][..., 0] | self.table["count"][..., 1]) != 0
        total = self.totals("total" if self.weighted else "count")
        shares = np.divide(most, total, out=np.zeros(total.shape), where=total > 0)
        amount = weights[..., 0] * shares[:, :1] + weights[..., 1] * shares[:, 1:]
        rank = np.where(held, np.floor(np.cumsum(amount, axis=1) - amount / 2), -1.0)
        new = held.copy()
        new[:, 1:] &= (rank[:, 1:] > np.maximum.accumulate(rank, axis=1)[:, :-1]) | (held.sum(1) <= most)[:, None]
        runs, entries = np.flatnonzero(new), np.flatnonzero(held)
        first = np.searchsorted(entries, runs)
        middle = (first + np.append(first[1:], len(entries)) - 1) // 2
        dtypes = {"count": np.int64, "total": np.float64, "square": np.float64}
        joined: dict[str, Any] = dict.fromkeys(dtypes)
        for name, table in self.table.items():
            joined[name] = np.add.reduceat(table.reshape(-1, 2), runs, axis=0, dtype=dtypes[name])
        return ScoreSums(
            slices=(runs // len(self.bins)).astype(np.int32),
            keys=self.bins.starts[entries[middle] % len(self.bins)],
            groups=None,
            bins=self.bins,
            dtype=self.dtype,
            probabilities=self.probabilities,
            size=self.size,
            **joined,
        )

    def add(self, other: ScoreSums, sign: int = 1) -> ScoreSums:
        """Adds (or with sign -1 subtracts) sums of the same slices, at the bins that both have."""
        left, right = _alike(self, other)
        mine, theirs = left, right
        if mine.total is not None or theirs.total is not None:
            mine, theirs = (replace(s, total=s.weights, square=s.squares) for s in (mine, theirs))
        added = _added_alike(mine, theirs, sign)
        if left.fine is not None and right.fine is not None:
            return replace(added, fine=left.fine.add(right.fine, sign))
        return added


def _over_bins(table: NDArray[Any]) -> NDArray[Any]:
    """Sums counts, or weights, [slices, bins, 2] over the bins."""
    dtype = np.int64 if table.dtype.kind == "i" else np.float64
    return np.stack([table[..., label].sum(axis=1, dtype=dtype) for label in (0, 1)], axis=1)


def _entries(table: Mapping[str, NDArray[Any]], bins: ScoreBins) -> dict[str, Any]:
    """Returns the entries of a table, and the number of each one's bin."""
    flat = {name: array.reshape(-1, 2) for name, array in table.items()}
    held = np.flatnonzero(flat["count"][:, 0] | flat["count"][:, 1])
    slices, numbers = np.divmod(held, len(bins))
    amounts: dict[str, Any] = {"count": np.int64, "total": np.float64, "square": np.float64}
    for name, dtype in amounts.items():
        amounts[name] = flat[name].take(held, axis=0).astype(dtype, copy=False) if name in flat else None
    return {"slices": slices.astype(np.int32), "keys": bins.starts.take(numbers), "bin_numbers": numbers, **amounts}


def stacked(parts: Sequence[ScoreSums]) -> ScoreSums:
    """Returns the sums of the slices of parts, one part's after another's."""
    first = np.cumsum([0, *(part.size for part in parts)]).tolist()
    joined = {
        name: None if array is None else np.concatenate([getattr(part, name) for part in parts])
        for name, array in _each(parts[0], lambda array: array).items()
    }
    shifted = [part.slices + np.int32(start) for part, start in zip(parts, first, strict=False)]
    return replace(parts[0], **{**joined, "slices": np.concatenate(shifted), "size": first[-1]})


def first_of_keys(sums: ScoreSums) -> NDArray[np.bool_]:
    """Marks the first entry of each slice and key, [entries]."""
    new = np.ones(len(sums.keys), dtype=bool)
    new[1:] = (np.diff(sums.slices) != 0) | (np.diff(sums.keys) != 0)
    return new


def _each(sums: ScoreSums, change: Callable[[Any], Any]) -> dict[str, Any]:
    """Changes the arrays that there are."""
    arrays = {name: getattr(sums, name) for name in ARRAYS}
    return {name: None if array is None else change(array) for name, array in arrays.items()}


def _taken(sums: ScoreSums, entries: NDArray[np.integer]) -> dict[str, Any]:
    """Returns the arrays of some entries."""
    return _each(sums, lambda array: array.take(entries, axis=0))


# --- adding ---


def _alike(left: ScoreSums, right: ScoreSums) -> tuple[ScoreSums, ScoreSums]:
    """Returns both with keys made alike, at the same bins, and with fine histograms both or neither."""
    if left.dtype != right.dtype:
        raise DataError(f"Scores are {left.dtype} in one evaluation and {right.dtype} in the other; they do not add.")
    if left.probabilities != right.probabilities:
        left, right = _ordered_bits(left), _ordered_bits(right)
    if left.fine is not None or right.fine is not None:
        left, right = (replace(s, fine=s.margin()) for s in (left, right))
    for bins in (left.bins, right.bins):
        if bins is not None:
            left, right = left.binned(bins), right.binned(bins)
    return left, right


def _ordered_bits(sums: ScoreSums) -> ScoreSums:
    if not sums.probabilities:
        return sums
    if sums.bins is not None:
        raise DataError("Binned scores in [0, 1] do not add to scores outside it.")
    scores = score_keys.scores(sums.keys, sums.dtype, probabilities=True)
    return replace(sums, keys=score_keys.keys(scores, probabilities=False).astype(np.int64), probabilities=False)


def _added_alike(left: ScoreSums, right: ScoreSums, sign: int) -> ScoreSums:
    if not len(right.keys) or (sign > 0 and not len(left.keys)):
        return left if not len(right.keys) else right
    if left.groups is None or right.groups is None:
        if np.array_equal(left.slices, right.slices) and np.array_equal(left.keys, right.keys):
            return _kept(_with(left, lambda name: getattr(left, name) + sign * getattr(right, name)), left)
        bins = left.bins
        if bins is not None and left.size * len(bins) <= _MOST_SPREAD * (len(left.keys) + len(right.keys)):
            return _added_densely(left, right, bins, sign)
    names = ("slices", "keys", "groups") if left.groups is not None and right.groups is not None else ("slices", "keys")
    joined: dict[str, Any] = {n: np.concatenate([getattr(left, n), getattr(right, n)]) for n in names}
    for name in _amounts(left):
        joined[name] = np.concatenate([getattr(left, name), sign * getattr(right, name)])
    return regroup(replace(left, **{"groups": None, **joined}), ordered=False)


def _amounts(sums: ScoreSums) -> tuple[str, ...]:
    return ("count",) if sums.total is None else ("count", "total", "square")


def _with(sums: ScoreSums, amount: Callable[[str], Any]) -> ScoreSums:
    """Returns the sums with other amounts, without the entries that hold no rows."""
    count = amount("count")
    kept = (count[:, 0] | count[:, 1]) != 0
    others: dict[str, Any] = {name: _held(amount(name), count) for name in _amounts(sums)[1:]}
    new = replace(sums, count=count, **others)
    return new if kept.all() else replace(new, **_taken(new, np.flatnonzero(kept)))


def _held(array: Floats, count: Counts) -> Floats:
    """Sets sums to exactly 0 where no rows are left."""
    return np.where(count == 0, 0.0, array)


def _added_densely(left: ScoreSums, right: ScoreSums, bins: ScoreBins, sign: int) -> ScoreSums:
    """Adds by way of arrays over every slice and bin."""
    width = len(bins)
    mine, theirs = left._places, right._places
    rank = np.full(left.size * width, -1, dtype=np.int32)
    rank[mine] = np.arange(len(mine), dtype=np.int32)
    among = rank[theirs]
    if (among >= 0).all():
        return _kept(_with(left, lambda name: _added_at(getattr(left, name), among, sign * getattr(right, name))), left)
    occupied = rank >= 0
    occupied[theirs] = True
    held = np.flatnonzero(occupied)
    slices, place = np.divmod(held, width)

    def amount(name: str) -> Any:
        values, more = getattr(left, name), getattr(right, name)
        result = np.empty((len(held), 2), dtype=values.dtype)
        for column in (0, 1):
            dense = np.zeros(len(occupied), dtype=values.dtype)
            dense[mine] = values[:, column]
            dense[theirs] += sign * more[:, column]
            result[:, column] = dense[held]
        return result

    laid = replace(left, slices=slices.astype(np.int32), keys=bins.starts[place]).with_bins(place)
    laid.__dict__["_places"] = held
    return _kept(_with(laid, amount), laid)


def _added_at(values: Any, places: Any, more: Any) -> Any:
    """Returns the values with more at distinct places; column by column, which NumPy does faster."""
    result = values.copy()
    for column in range(values.shape[1]):
        result[places, column] += more[:, column]
    return result


def _kept(sums: ScoreSums, before: ScoreSums) -> ScoreSums:
    """Hands on what is known of entries to sums of the same entries."""
    return _handed_on(sums, before) if sums.keys is before.keys else sums


def _handed_on(sums: ScoreSums, before: ScoreSums, entries: NDArray[np.integer] | None = None) -> ScoreSums:
    """Hands on what was found out about entries, or some of them."""
    for name in ("bin_numbers", "_places"):
        if name in before.__dict__:
            known = before.__dict__[name]
            sums.__dict__[name] = known if entries is None else known.take(entries)
    return sums


def regroup(sums: ScoreSums, ordered: bool = True) -> ScoreSums:
    """Adds up entries of the same slice, key and group and drops those without rows.

    Args:
        sums: entries in any order where `ordered` is False.
        ordered: whether equal entries already stand together in order.
    """
    if not ordered:
        last = (sums.groups,) if sums.groups is not None else ()
        order = np.lexsort((*last, sums.keys, sums.slices))
        sums = _handed_on(replace(sums, **_taken(sums, order)), sums, order)
        del order, last
    if not len(sums.keys):
        return sums
    new = first_of_keys(sums)
    if sums.groups is not None:
        new[1:] |= np.diff(sums.groups) != 0
    starts = np.flatnonzero(new)
    cut = _handed_on(replace(sums, **_taken(sums, starts)), sums, starts)
    return _kept(_with(cut, lambda name: np.add.reduceat(getattr(sums, name), starts, axis=0)), cut)
