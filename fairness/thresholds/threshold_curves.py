"""Every group's confusion counts at every threshold, from the histogram of scores alone.

>>> import evalkit as ek
>>> from evalkit.fairness.families import families
>>> from evalkit.fairness.group_scores import GroupScores
>>> data = {"y": [1, 0, 1, 0], "p": [0.9, 0.2, 0.4, 0.2], "sex": ["f", "f", "m", "m"]}
>>> evaluation = ek.evaluate(data, label="y", score="p", metrics=["roc_auc"], slices=["sex"]).evaluations[0]
>>> curves = ThresholdCurves.of(GroupScores.of(evaluation, families(evaluation, ["sex"])[0]))
>>> curves.thresholds.tolist(), curves.rate("true_positive_rate").tolist()
([inf, 0.9, 0.4, 0.2], [[0.0, 1.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evalkit.fairness.group_scores import GroupScores
from evalkit.fairness.thresholds.criterion import rates_of
from evalkit.fairness.thresholds.objective import Objective, objective
from evalkit.money import Costs

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ThresholdCurves:
    """Summed weights of decisions by group and threshold; scores of at least the threshold are decided positive.

    Attributes:
        thresholds: [thresholds] from the highest down; the first is infinite: nobody.
        tp: [groups, thresholds] true positives.
        fp: [groups, thresholds] false positives.
        own: [groups, thresholds] whether the group's decisions differ from those one threshold above.
        binned: whether scores are binned, so that thresholds are bins' middles.
    """

    thresholds: Floats
    tp: Floats
    fp: Floats
    own: NDArray[np.bool_]
    binned: bool

    @classmethod
    def of(cls, scores: GroupScores) -> ThresholdCurves:
        """Returns the curves of a histogram of groups."""
        down = scores.weight[:, :, ::-1].cumsum(2)
        nobody = np.zeros((scores.groups, 1))
        held = scores.count[:, :, ::-1].sum(1) > 0
        return cls(
            thresholds=np.append(np.inf, scores.scores[::-1]),
            tp=np.concatenate([nobody, down[:, 1]], axis=1),
            fp=np.concatenate([nobody, down[:, 0]], axis=1),
            own=np.concatenate([nobody == 0, held], axis=1),
            binned=scores.binned,
        )

    @property
    def positives(self) -> Floats:
        """Summed weights of positive labels, [groups]."""
        return self.tp[:, -1]

    @property
    def negatives(self) -> Floats:
        """Summed weights of negative labels, [groups]."""
        return self.fp[:, -1]

    def rate(self, name: str) -> Floats:
        """Returns `selection_rate`, `true_positive_rate` or `false_positive_rate`, [groups, thresholds].

        NaN where a group has no rows that the rate is a share of.
        """
        hits, rows = {
            "selection_rate": (self.tp + self.fp, self.positives + self.negatives),
            "true_positive_rate": (self.tp, self.positives),
            "false_positive_rate": (self.fp, self.negatives),
        }[name]
        return _share(hits, rows[:, None])

    @property
    def accuracy(self) -> Floats:
        """The share of rows decided as labelled, [groups, thresholds]."""
        return self.mean(objective("accuracy"))

    def cost(self, costs: Costs) -> Floats:
        """Returns the mean cost of a row, in the costs' unit, [groups, thresholds]; costs are constant amounts."""
        return self.mean(objective("cost", costs))

    def mean(self, of: Objective) -> Floats:
        """Returns an objective in each group by itself, [groups, thresholds]; NaN where a group has no rows for it."""
        positive, negative = self.amounts(of)
        p, n = self.positives[:, None], self.negatives[:, None]
        if of.by_class:
            return (_share(positive, p) + _share(negative, n)) / 2
        return _share(positive + negative, p + n)

    def overall(self, of: Objective) -> Floats:
        """Returns what each group adds to an objective of all rows together, [groups, thresholds]."""
        positive, negative = self.amounts(of)
        p, n = self.positives.sum(keepdims=True), self.negatives.sum(keepdims=True)
        if of.by_class:
            return (_share(positive, p) + _share(negative, n)) / 2
        return _share(positive + negative, p + n)

    def amounts(self, of: Objective) -> tuple[Floats, Floats]:
        """Returns the summed amounts of positive and of negative rows, [groups, thresholds] each."""
        tp, fp, fn, tn = of.amounts()
        p, n = self.positives[:, None], self.negatives[:, None]
        return self.tp * tp + (p - self.tp) * fn, self.fp * fp + (n - self.fp) * tn

    def disparity(self, criterion: str) -> Floats:
        """Returns the largest difference between groups where all share a threshold, [thresholds].

        For equalized odds the larger of the differences of both rates, as fairlearn has it. Groups without rows for a
        rate have none of it; NaN where fewer than two groups have one.
        """
        gaps = []
        for name in rates_of(criterion):
            rate = self.rate(name)
            rate = rate[~np.isnan(rate[:, 0])]
            gaps.append(rate.max(0) - rate.min(0) if len(rate) > 1 else np.full(rate.shape[1], np.nan))
        return np.max(gaps, axis=0)

    def to_polars(self, names: Sequence[str], costs: Costs | None = None) -> pl.DataFrame:
        """Returns a row for each group and each threshold of its own: rates, accuracy and cost.

        Args:
            names: of the groups.
            costs: adds the column `cost`.
        """
        import polars as pl

        group, place = np.nonzero(self.own)
        columns = {
            "threshold": self.thresholds[place],
            "selection_rate": self.rate("selection_rate")[group, place],
            "true_positive_rate": self.rate("true_positive_rate")[group, place],
            "false_positive_rate": self.rate("false_positive_rate")[group, place],
            "accuracy": self.accuracy[group, place],
        }
        if costs is not None:
            columns["cost"] = self.cost(costs)[group, place]
        return pl.DataFrame({"group": [names[g] for g in group.tolist()], **columns})


def _share(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
