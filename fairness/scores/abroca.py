"""ABROCA: the area between two groups' ROC curves, and what it is expected to be where the curves are equal.

>>> first = np.array([[3.0, 1.0], [1.0, 3.0]])  # weights by label and score
>>> round(area_between(first, first[::-1]), 12)
0.5
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evalkit.collect import GROUPS
from evalkit.fairness.group_scores import GroupScores
from evalkit.fairness.scores.chance import DRAWS, Chance, reweighted, reweighted_units

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_CELLS = 256
_MOST_PERMUTED = 4096


def area_between(first: Floats, second: Floats) -> float:
    """Returns the area between two ROC curves, exactly: both are linear between the scores.

    NaN where a group lacks a label. Never negative, so above 0 even for equal curves: see `Chances`.

    Source: Gardner, Brooks and Baker (2019), Evaluating the fairness of predictive student models through slicing
    analysis.

    Args:
        first: [2, scores] weights of one group by label at ascending scores.
        second: likewise of the other; its scores may be other ones.
    """
    if not (first.sum(1).all() and second.sum(1).all()):
        return float("nan")
    return float(_areas(*(_curves(of[:, of.any(0)][None]) for of in (first, second)))[0])


class Chances:
    """What the area between two groups' curves is expected to be were they equal, for any pair of groups.

    Independent rows without weights of up to 4,096 in a pair: rows change groups within labels. Scores are aligned
    before, as the mean of their ranks among both labels of their own group, which leaves each ROC curve as it is, since
    equal curves do not need equal scores. Source: Venkatraman (2000), A permutation test to compare receiver operating
    characteristic curves.

    Else: each row's, or group of units', weight is multiplied by an exponential variable, and the difference of what
    that does to both curves is as large as the difference of equal curves.
    """

    def __init__(self, scores: GroupScores, seed: int, draws: int = DRAWS) -> None:
        self.scores = scores
        self.draws = draws
        self.seed = seed
        self._moved: dict[int, tuple[Floats, Floats]] = {}
        self._aligned = [_aligned(scores.weight[g]) for g in range(scores.groups)]

    def of(self, group: int, other: int) -> tuple[Chance, str]:
        """Returns what equality makes of the area between two groups' curves, and how that was found."""
        rows = self.scores.count[[group, other]].sum()
        if self.scores.entries is None and rows <= _MOST_PERMUTED and self._plain([group, other]):
            return self._permuted(group, other), "permutation within labels"
        return self._reweighted(group, other), "Bayesian bootstrap under equality"

    def _plain(self, pair: list[int]) -> bool:
        return bool(np.array_equal(self.scores.weight[pair], self.scores.count[pair]))

    def _permuted(self, group: int, other: int) -> Chance:
        held = [self._aligned[g] > 0 for g in (group, other)]
        ranks = [self._aligned[g][own] for g, own in zip((group, other), held, strict=True)]
        place = _cells(np.concatenate(ranks))
        width = int(place.max(initial=-1)) + 1
        tables = np.zeros((2, 2, width), dtype=np.int64)
        for table, g, own, at in zip(tables, (group, other), held, np.split(place, [len(ranks[0])]), strict=True):
            for label in (0, 1):
                np.add.at(table[label], at, self.scores.count[g, label, own])
        rng = np.random.default_rng([self.seed, group, other])
        both = tables.sum(0)
        moved = np.stack(
            [
                rng.multivariate_hypergeometric(both[label], tables[0, label].sum(), self.draws, method="marginals")
                for label in (0, 1)
            ],
            axis=1,
        ).astype(np.float64)
        drawn = _areas(_curves(moved), _curves(both - moved))
        return Chance.of(float(_areas(*(_curves(table[None].astype(float)) for table in tables))[0]), drawn)

    def _reweighted(self, group: int, other: int) -> Chance:
        (first, moved_first), (second, moved_second) = self._at_grid(group), self._at_grid(other)
        drawn = np.abs(moved_first - moved_second).mean(1)
        return Chance.of(float(np.abs(first - second).mean()), drawn)

    def _at_grid(self, group: int) -> tuple[Floats, Floats]:
        """Returns a group's curve on a grid of false positive rates, and how draws depart from it."""
        if group not in self._moved:
            weight, moved = self._tables(group)
            grid = (np.arange(_CELLS) + 0.5) / _CELLS
            own = np.interp(grid, *(axis[0] for axis in _curves(weight[None])))
            drawn = np.stack([np.interp(grid, x, y) for x, y in zip(*_curves(moved), strict=True)])
            self._moved[group] = own, drawn - own
        return self._moved[group]

    def _tables(self, group: int) -> tuple[Floats, Floats]:
        """Returns a group's weights by label and cell, and draws of them."""
        rank = self._aligned[group]
        place = np.full(len(rank), -1)
        place[rank > 0] = _cells(rank[rank > 0])
        held, width = np.flatnonzero(rank > 0), int(place.max(initial=-1)) + 1

        def binned(of: Floats) -> Floats:
            columns = [np.bincount(place[held], weights=column[held], minlength=width) for column in of[group]]
            return np.stack(columns).astype(np.float64)

        weight = binned(self.scores.weight)
        of = self.scores.entries
        if of is None:
            rng = np.random.default_rng([self.seed, group])
            return weight, reweighted(weight, binned(self.scores.square), self.draws, rng)
        own = np.flatnonzero((of.group == group) & (place[of.score] >= 0))
        cell = np.concatenate([label * width + place[of.score[own]] for label in (0, 1)] + [[2 * width - 1]])
        unit, amount = np.append(np.tile(of.unit[own], 2), 0), np.append(of.weight[own].T.ravel(), 0.0)
        times = np.random.default_rng(self.seed).standard_exponential((self.draws, GROUPS))
        return weight, reweighted_units(cell, unit, amount, times).reshape(self.draws, 2, width)


def _aligned(weight: Floats) -> Floats:
    """Returns the mean of a score's ranks among both labels of its group, [scores]; 0 where it holds no rows."""
    total = weight.sum(1, keepdims=True)
    below = (np.cumsum(weight, axis=1) - weight / 2) / np.where(total > 0, total, 1.0)
    return np.where(weight.any(0), below.mean(0), 0.0)


def _cells(rank: Floats) -> NDArray[np.int64]:
    """Returns the cell of each rank: its own while ranks are few, else one of 256."""
    distinct, place = np.unique(np.round(rank, 12), return_inverse=True)
    if len(distinct) <= _CELLS:
        return np.asarray(place, dtype=np.int64)
    return np.unique(np.floor(rank * _CELLS), return_inverse=True)[1].astype(np.int64)


def _curves(weight: Floats) -> tuple[Floats, Floats]:
    """Returns false and true positive rates from the highest score down, each [curves, scores + 1]."""
    upto = np.cumsum(weight[:, :, ::-1], axis=2)
    rates = np.concatenate([np.zeros((*upto.shape[:2], 1)), upto / upto[:, :, -1:]], axis=2)
    return rates[:, 0], rates[:, 1]


def _areas(first: tuple[Floats, Floats], second: tuple[Floats, Floats]) -> Floats:
    """Returns the areas between curves, [curves]; a segment in which they cross is cut there."""
    x = np.sort(np.concatenate([first[0], second[0]], axis=1), axis=1)
    width = np.diff(x, axis=1)
    (a, b), (c, d) = (_along(curve, x) for curve in (first, second))
    left, right = a - c, b - d
    whole = np.abs(left) + np.abs(right)
    crossed = np.divide(left**2 + right**2, whole, out=np.zeros_like(whole), where=whole > 0)
    return np.asarray((np.where(left * right < 0, crossed, whole) * width).sum(1) / 2)


def _along(curve: tuple[Floats, Floats], x: Floats) -> tuple[Floats, Floats]:
    """Returns a curve just after the left and just before the right end of each segment between places x."""
    across, up = curve
    rows = 2.0 * np.arange(len(across))[:, None]
    after = np.searchsorted((across + rows).ravel(), (x[:, :-1] + rows).ravel(), side="right").reshape(x[:, :-1].shape)
    start = np.arange(len(across))[:, None] * across.shape[1]
    place = np.clip(after - 1 - start, 0, across.shape[1] - 2)
    x0, x1, y0, y1 = (np.take_along_axis(of, place + more, axis=1) for of in (across, up) for more in (0, 1))
    slope = np.divide(y1 - y0, x1 - x0, out=np.zeros_like(x0), where=x1 > x0)
    return y0 + (x[:, :-1] - x0) * slope, y0 + (x[:, 1:] - x0) * slope
