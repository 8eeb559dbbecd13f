"""Distributions of a number in groups: how far apart they are, and how far chance alone would put them.

>>> held = Distribution.of_values(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0, 0, 1, 1]), 2)
>>> held.ks(0, 1), held.wasserstein(0, 1), held.mean.tolist()
(1.0, 2.0, [1.5, 3.5])
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from evalkit.collect import GROUPS
from evalkit.fairness.group_scores import GroupScores
from evalkit.fairness.scores.chance import DRAWS, Chance, reweighted, reweighted_units

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = NDArray[np.int64]

_MOST_CELLS = 1 << 24
_CHANCE_CELLS = 1024
_MOST_PERMUTED = 4096


class Units(NamedTuple):
    """Rows of clustered units, an entry for each that is told apart.

    Attributes:
        group: [entries] the group.
        place: [entries] the place of the value.
        unit: [entries] the group of units, under 256.
        weight: [entries].
    """

    group: Places
    place: Places
    unit: Places
    weight: Floats


@dataclass(frozen=True)
class Distribution:
    """A number in each group, at the distinct values of all of them.

    Attributes:
        values: [values] ascending; means of bins where values are binned.
        count: [groups, values] rows.
        weight: [groups, values] their summed weights.
        square: [groups, values] their summed squared weights.
        units: the same rows by groups of units, where rows are clustered.
        binned: whether values are binned.
        seed: fixes the draws behind p-values.
    """

    values: Floats
    count: NDArray[np.int64]
    weight: Floats
    square: Floats
    units: Units | None
    binned: bool
    seed: int = 0
    _departures: dict[int, tuple[Floats, Floats]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of_values(
        cls,
        values: Floats,
        group: Places,
        groups: int,
        *,
        weight: Floats | None = None,
        unit: Places | None = None,
        seed: int = 0,
    ) -> Distribution:
        """Returns the distribution of rows.

        Args:
            values: [rows].
            group: [rows] the group.
            groups: how many there are.
            weight: [rows] sampling weights.
            unit: [rows] the group of units, under 256, where rows are clustered.
            seed: fixes the draws behind p-values.
        """
        distinct, place = np.unique(values, return_inverse=True)
        binned = len(distinct) * groups > _MOST_CELLS
        if binned:
            cells = np.unique(np.linspace(0, len(values), _MOST_CELLS // groups, endpoint=False).astype(np.int64))
            edges = np.unique(np.sort(values)[cells])
            place = np.searchsorted(edges, values, side="right") - 1
            held = np.bincount(place, minlength=len(edges))
            distinct = np.bincount(place, weights=values, minlength=len(edges)) / held
        flat = group * len(distinct) + place

        def table(amount: Floats | None) -> Floats:
            found = np.bincount(flat, weights=amount, minlength=groups * len(distinct))
            return np.asarray(found, dtype=np.float64).reshape(groups, -1)

        count = table(None)
        total = count if weight is None else table(weight)
        square = total if weight is None else table(weight**2)
        units = None
        if unit is not None:
            units = Units(group, place, unit, np.ones(len(values)) if weight is None else weight)
        return cls(distinct, count.astype(np.int64), total, square, units, binned, seed)

    @classmethod
    def of_scores(cls, scores: GroupScores, label: int | None = None, seed: int = 0) -> Distribution:
        """Returns the distribution of scores, of rows of one label or of all."""

        def of(table: NDArray[np.generic]) -> NDArray[np.generic]:
            return table.sum(1) if label is None else table[:, label]

        entries = scores.entries
        units = None
        if entries is not None:
            weight = entries.weight.sum(1) if label is None else entries.weight[:, label]
            held = np.flatnonzero(weight > 0)
            units = Units(entries.group[held], entries.score[held], entries.unit[held], weight[held])
        count = np.asarray(of(scores.count), dtype=np.int64)
        weight, square = (np.asarray(of(table), dtype=np.float64) for table in (scores.weight, scores.square))
        return cls(scores.scores, count, weight, square, units, scores.binned, seed)

    @functools.cached_property
    def rows(self) -> NDArray[np.int64]:
        """Rows of each group."""
        return self.count.sum(1)

    @functools.cached_property
    def total(self) -> Floats:
        """Summed weights of each group."""
        return self.weight.sum(1)

    @functools.cached_property
    def below(self) -> Floats:
        """The share of each group at or under each value, [groups, values]; NaN for groups without rows."""
        with np.errstate(invalid="ignore"):
            return np.cumsum(self.weight, axis=1) / self.total[:, None]

    @functools.cached_property
    def mean(self) -> Floats:
        """The mean of each group; NaN for groups without rows."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.weight @ self.values / self.total)

    @functools.cached_property
    def groups_of_units(self) -> float:
        """How many groups of units hold rows; infinite where rows are independent."""
        return np.inf if self.units is None else float(len(np.unique(self.units.unit)))

    @functools.cached_property
    def covariance(self) -> Floats:
        """Joint covariance of the groups' means, [groups, groups]."""
        held = np.where(self.rows > 0, self.total, np.nan)
        from_mean = (self.values - self.mean[:, None]) / held[:, None]
        if self.units is None:
            factor = self.rows / np.maximum(self.rows - 1, 1)
            return np.asarray(np.diag(factor * (self.square * from_mean**2).sum(1)), dtype=np.float64)
        of, groups = self.units, len(self.total)
        told = of.weight * from_mean[of.group, of.place]
        by_unit = np.bincount(of.group * GROUPS + of.unit, weights=told, minlength=groups * GROUPS).reshape(groups, -1)
        units = self.groups_of_units
        return np.asarray(by_unit @ by_unit.T * units / max(units - 1, 1), dtype=np.float64)

    def ks(self, group: int, other: int) -> float:
        """Kolmogorov-Smirnov distance: the largest difference of two groups' shares under a value, in [0, 1].

        NaN where a group holds no rows. Source: SciPy `ks_2samp`.
        """
        return float(np.abs(self.below[group] - self.below[other]).max(initial=-np.inf))

    def wasserstein(self, group: int, other: int) -> float:
        """Wasserstein distance: the area between two groups' distribution functions, in the values' unit.

        How far the rows of one would have to move on average to be distributed as the other's. NaN where a group holds
        no rows. Source: SciPy `wasserstein_distance`.
        """
        apart = np.abs(self.below[group] - self.below[other])
        return float(apart[:-1] @ np.diff(self.values)) if self.rows[[group, other]].all() else float("nan")

    def chances(self, group: int, other: int) -> tuple[Chance, Chance, str]:
        """Returns what equal distributions lead to, of `ks` and of `wasserstein`, and how that was found.

        Independent rows without weights of up to 4,096 in a pair change groups. Else each row's, or group of units',
        weight is multiplied by an exponential variable, and the difference of what that does to both distributions is
        as large as the difference of equal ones. Both are of at most 1,024 cells of values.
        """
        pair = [group, other]
        plain = self.units is None and np.array_equal(self.weight[pair], self.count[pair])
        if plain and self.rows[pair].sum() <= _MOST_PERMUTED:
            moved, how = self._permuted(group, other), "permutation"
        else:
            (_, first), (_, second) = self._departed(group), self._departed(other)
            moved, how = np.abs(first - second), "Bayesian bootstrap under equality"
        below = self.below[:, self._ends]
        apart, step = np.abs(below[group] - below[other]), np.diff(self.values[self._ends])
        return (
            Chance.of(float(apart.max()), moved.max(1)),
            Chance.of(float(apart[:-1] @ step), moved[:, :-1] @ step),
            how,
        )

    @functools.cached_property
    def _starts(self) -> Places:
        """Where cells of values begin: each value alone while they are few."""
        if len(self.values) <= _CHANCE_CELLS:
            return np.arange(len(self.values))
        rank = self.below[self.rows > 0].mean(0)
        return np.flatnonzero(np.diff(np.ceil(rank * _CHANCE_CELLS), prepend=0.0) > 0)

    @functools.cached_property
    def _ends(self) -> Places:
        return np.append(self._starts[1:], len(self.values)) - 1

    def _permuted(self, group: int, other: int) -> Floats:
        """Returns distances between shares under each cell's end of rows that changed groups, [draws, cells]."""
        table = np.add.reduceat(self.count[[group, other]], self._starts, axis=1)
        rng = np.random.default_rng([self.seed, group, other])
        sizes, both = table.sum(1), table.sum(0)
        moved = np.cumsum(rng.multivariate_hypergeometric(both, sizes[0], DRAWS, method="marginals"), axis=1)
        return np.abs(moved / sizes[0] - (np.cumsum(both) - moved) / sizes[1])

    def _departed(self, group: int) -> tuple[Floats, Floats]:
        """Returns a group's shares under each cell's end, and how draws depart from them, [draws, cells]."""
        if group not in self._departures:
            starts = self._starts
            weight, square = (np.add.reduceat(of[group], starts) for of in (self.weight, self.square))
            if self.units is None:
                cells = reweighted(weight, square, DRAWS, np.random.default_rng([self.seed, group]))
            else:
                cells = self._by_unit(group, len(starts))
            upto = np.cumsum(cells, axis=1)
            own = np.cumsum(weight) / weight.sum()
            self._departures[group] = own, upto / upto[:, -1:] - own
        return self._departures[group]

    def _by_unit(self, group: int, cells: int) -> Floats:
        of = self.units
        if of is None:
            raise ValueError("rows are independent")
        own = np.flatnonzero(of.group == group)
        cell = np.searchsorted(self._starts, of.place[own], side="right") - 1
        times = np.random.default_rng(self.seed).standard_exponential((DRAWS, GROUPS))
        place, unit, weight = np.append(cell, cells - 1), np.append(of.unit[own], 0), np.append(of.weight[own], 0.0)
        return reweighted_units(place, unit, weight, times)
