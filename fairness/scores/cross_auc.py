"""How often rows of one group and label score above rows of another: one matrix, from which every AUC of bias comes.

A side is a group's rows of one label. A matrix product of the sides' histograms with their cumulative ones gives the
probability that a row of one side scores above a row of another, for all pairs of sides at once. AUCs within and
between groups, and of groups against their background, are weighted means of its cells, so one covariance serves all.

>>> import evalkit as ek
>>> from evalkit.fairness.families import families
>>> data = {"y": [1, 0, 1, 0], "p": [0.9, 0.5, 0.4, 0.2], "sex": ["f", "f", "m", "m"]}
>>> evaluation = ek.evaluate(data, label="y", score="p", metrics=["roc_auc"], slices=["sex"]).evaluations[0]
>>> cross_auc(GroupScores.of(evaluation, families(evaluation, ["sex"])[0])).xauc.tolist()
[[1.0, 1.0], [0.0, 1.0]]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from evalkit.collect import GROUPS
from evalkit.errors import ConfigError
from evalkit.fairness.group_scores import Entries, GroupScores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_MOST_GROUPS = 40
_MOST_SCORES = 8192  # variances are of a roll-up to so many scores, which changes them by less than a thousandth
_WORK = 2e9
_BLOCK = 1 << 15


class MeanAuc(NamedTuple):
    """A weighted mean of cells of the matrix, with what it takes to know how well it is known.

    Attributes:
        value: between 0 and 1; NaN where a side holds no rows.
        by_cell: [sides, sides] its gradient by the matrix.
        by_weight: [sides] its gradient by the sides' summed weights.
        rarer: effective number of rows of the smaller of its two sides, at most their number.
    """

    value: float
    by_cell: Floats
    by_weight: Floats
    rarer: float


@dataclass(frozen=True)
class CrossAuc:
    """Probabilities that a row of one side scores above a row of another; ties count one half.

    Side 2 g + label holds the rows of group g with that label.

    Attributes:
        above: [sides, sides] of a row of the first scoring above a row of the second; NaN where one holds no rows.
        weight: [sides] summed weights.
        rows: [sides] how many rows.
        kish: [sides] their effective number under their weights.
        units: groups of units with rows, where rows are clustered; infinite where they are independent.
        binned: whether scores are binned.
        spread: what rows tell: [sides, sides + 1, sides + 1] second moments of each side's rows; or where rows are
            clustered [sides, sides + 1, groups of units] sums, centred.
    """

    above: Floats
    weight: Floats
    rows: NDArray[np.int64]
    kish: Floats
    units: float
    binned: bool
    spread: Floats

    @property
    def xauc(self) -> Floats:
        """The xAUC matrix: of a positive of the row's group above a negative of the column's, [groups, groups].

        Its diagonal holds the groups' own AUCs. Source: Kallus and Zhou (2019), The fairness of risk scores beyond
        classification.
        """
        return self.above[1::2, ::2]

    def mean(self, top: Floats, bottom: Floats) -> MeanAuc:
        """Returns the probability that a row of some sides scores above a row of others.

        Args:
            top: [sides] how often a row of each side counts, such as 1 for positives of the background.
            bottom: [sides] likewise for the rows that it should score above.
        """
        x, y = self.weight * top, self.weight * bottom
        pairs = x.sum() * y.sum()
        if pairs <= 0:
            nothing = np.zeros_like(self.above)
            return MeanAuc(float("nan"), nothing, nothing[0], 0.0)
        above = np.nan_to_num(self.above)
        value = float(np.clip(x @ above @ y / pairs, 0.0, 1.0))
        by_top = (above @ y / y.sum() - value) / x.sum()
        by_bottom = (x @ above / x.sum() - value) / y.sum()
        rarer = min(self._effective(top), self._effective(bottom))
        return MeanAuc(value, np.outer(x, y) / pairs, top * by_top + bottom * by_bottom, rarer)

    def _effective(self, times: Floats) -> float:
        """The effective number of rows of some sides: (sum w)^2 / sum w^2, at most as many as there are."""
        held = (times > 0) & (self.rows > 0)
        squares = (self.weight[held] * times[held]) ** 2 / self.kish[held]
        effective = float((self.weight[held] * times[held]).sum() ** 2 / squares.sum()) if held.any() else 0.0
        return min(effective, float(self.rows[held].sum()))

    def covariance(self, quantities: Sequence[MeanAuc]) -> Floats:
        """Returns the joint covariance of means of cells, [quantities, quantities].

        Rows, or groups of units, are taken as drawn at random: how many are of which group and label is part of it. Of
        one cell this is DeLong's variance.
        """
        sides = len(self.weight)
        told = np.zeros((len(quantities), sides, sides + 1))
        for own, of in zip(told, quantities, strict=True):
            cells = of.by_cell - of.by_cell.T
            own[:, :sides] = np.divide(cells, self.weight[:, None], out=np.zeros_like(cells), where=cells != 0)
            own[:, sides] = of.by_weight
        if np.isfinite(self.units):
            by_unit = np.einsum("qab,abu->qu", told, self.spread, optimize=True)
            return by_unit @ by_unit.T * self.units / max(self.units - 1, 1)
        halves = told.swapaxes(0, 1) @ self.spread
        return np.asarray((halves @ told.transpose(1, 2, 0)).sum(0))


def cross_auc(scores: GroupScores) -> CrossAuc:
    """Returns the probabilities that a row of one group and label scores above a row of another.

    Args:
        scores: of groups of which no row is in two; for means over the background, of groups that hold all rows.

    Raises:
        ConfigError: there are more than 40 groups.
    """
    if scores.groups > _MOST_GROUPS:
        raise ConfigError(
            f"AUCs between groups are for at most {_MOST_GROUPS} groups, and there are {scores.groups}; pool small "
            "ones, such as with top(20)."
        )
    weight, square = (of.reshape(2 * scores.groups, -1) for of in (scores.weight, scores.square))
    total = weight.sum(1)
    rows = scores.count.reshape(2 * scores.groups, -1).sum(1)
    kish = np.divide(total**2, square.sum(1), out=np.zeros_like(total), where=rows > 0)
    above, rank = _above(weight, total)
    starts = _runs(rank, int(np.clip(_WORK / len(rows) ** 3, 256, _MOST_SCORES)))
    if len(starts) < weight.shape[1]:
        weight, square = np.add.reduceat(weight, starts, axis=1), np.add.reduceat(square, starts, axis=1)
    below, centre = _below(weight, total), above if len(starts) == len(rank) else _above(weight, total)[0]
    above = np.where((rows > 0)[:, None] & (rows > 0), above, np.nan)
    if scores.entries is None:
        spread, units = _moments(below, centre, square, rows), np.inf
    else:
        place = np.searchsorted(starts, np.arange(len(scores.scores)), side="right") - 1
        spread, units = _by_unit(below, centre, scores.entries, place)
    return CrossAuc(above, total, rows, kish, units, scores.binned, spread)


def _below(weight: Floats, total: Floats, before: Floats | float = 0.0) -> Floats:
    """Returns the share of each side under each score, ties half, [sides, scores]."""
    below = np.cumsum(weight, axis=1)
    below -= weight / 2
    below += np.reshape(before, (-1, 1))
    below /= np.where(total > 0, total, 1.0)[:, None]
    return below


def _above(weight: Floats, total: Floats) -> tuple[Floats, Floats]:
    """Returns the matrix, 0 where a side holds no rows, and the mean share under each score of the sides with rows."""
    product, before = np.zeros((len(weight), len(weight))), np.zeros(len(weight))
    rank = np.zeros(weight.shape[1])
    for start in range(0, weight.shape[1], _BLOCK):
        part = weight[:, start : start + _BLOCK]
        below = _below(part, total, before)
        product += part @ below.T
        before += part.sum(1)
        rank[start : start + _BLOCK] = below[total > 0].mean(0) if (total > 0).any() else 0.0
    return np.clip(product / np.where(total > 0, total, 1.0)[:, None], 0.0, 1.0), rank


def _runs(rank: Floats, most: int) -> NDArray[np.int64]:
    """Returns where runs of scores begin that hold about 1 / `most` of all sides."""
    if len(rank) <= most:
        return np.arange(len(rank))
    return np.flatnonzero(np.diff(np.floor(rank * most), prepend=-1.0) > 0)


def _moments(below: Floats, centre: Floats, square: Floats, rows: NDArray[np.int64]) -> Floats:
    sides, width = square.shape
    spread = np.zeros((sides, sides + 1, sides + 1))
    for side in np.flatnonzero(rows):
        told = np.concatenate([below - centre[side][:, None], np.ones((1, width))])
        spread[side] = (told * square[side]) @ told.T * (rows[side] / max(rows[side] - 1, 1))
        spread[side, side], spread[side, :, side] = 0.0, 0.0
    return spread


def _by_unit(below: Floats, centre: Floats, of: Entries, place: NDArray[np.int64]) -> tuple[Floats, float]:
    sides = len(below)
    spread = np.zeros((sides, sides + 1, GROUPS))
    held = np.bincount(of.unit, minlength=GROUPS) > 0
    scores, cell = place[of.score], of.group * GROUPS + of.unit
    for label in (0, 1):
        weight = of.weight[:, label]
        whole = np.bincount(cell, weights=weight, minlength=sides // 2 * GROUPS).reshape(-1, GROUPS)
        spread[label::2, sides] = whole
        for side in range(sides):
            share = np.bincount(cell, weights=weight * below[side, scores], minlength=sides // 2 * GROUPS)
            spread[label::2, side] = share.reshape(-1, GROUPS) - centre[label::2, side][:, None] * whole
    units = int(held.sum())
    return np.where(held, spread - spread.sum(2, keepdims=True) / max(units, 1), 0.0), float(units)
