"""Decisions of groups: true and false negatives and positives, and covariances of whatever is a function of them.

>>> import evalkit as ek
>>> from evalkit.fairness.families import families
>>> data = {"y": [1, 0, 1, 0], "p": [0.9, 0.2, 0.4, 0.6], "sex": ["f", "f", "m", "m"]}
>>> evaluation = ek.evaluate(data, label="y", score="p", metrics=["recall@0.5"], slices=["sex"]).evaluations[0]
>>> GroupCells.of(evaluation, families(evaluation, ["sex"])[0].places).weight.tolist()
[[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]]
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.errors import ConfigError, listing
from evalkit.estimate import Estimate, estimate
from evalkit.interval import effective_rows, ends
from evalkit.metrics import find
from evalkit.results import Evaluation
from evalkit.statistic import Statistic
from evalkit.sums import FieldSums
from evalkit.tabulate import design_effect

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

TN, FP, FN, TP = range(4)


@dataclass(frozen=True)
class GroupCells:
    """Decisions of groups of rows that do not overlap; the last axis is tn, fp, fn, tp.

    Attributes:
        sums: their sums, a slice for each group.
        whole: the sums of all rows of the data.
        statistic: what was counted, with its threshold.
    """

    sums: FieldSums
    whole: FieldSums
    statistic: Statistic

    @classmethod
    def of(cls, evaluation: Evaluation, places: ArrayLike, threshold: float | None = None) -> GroupCells:
        """Returns the decisions in some slices.

        Args:
            evaluation: with a metric of decisions.
            places: [groups] the slices' places in the plan.
            threshold: which decisions, where metrics have several thresholds.

        Raises:
            ConfigError: no metric reads decisions, or several thresholds do, and none was chosen.
        """
        known = {m.statistic.identity: m.statistic for _, m in evaluation.metrics if m.statistic.name == "confusion"}
        held = {key: s for key, s in known.items() if isinstance(evaluation.sums.get(key), FieldSums)}
        if threshold is not None:
            held = {key: s for key, s in held.items() if s.parameters.get("threshold") == threshold}
        if len(held) != 1:
            there = listing(known) or "none"
            raise ConfigError(
                f"Several thresholds were evaluated ({there}): name one by threshold=."
                if held
                else f"No metric of decisions was evaluated at this threshold (there are: {there}): evaluate one, such "
                'as "recall@0.5".'
            )
        [(key, statistic)] = held.items()
        sums = evaluation.sums[key]
        if not isinstance(sums, FieldSums):
            raise TypeError(key)
        return cls(sums.take(np.asarray(places, dtype=np.int64)), sums.take(np.array([0])), statistic)

    @functools.cached_property
    def count(self) -> NDArray[np.int64]:
        """Rows, [groups, 4]."""
        return self.sums.margin().count

    @functools.cached_property
    def weight(self) -> Floats:
        """Summed weights, [groups, 4]."""
        return self.sums.margin().total

    @property
    def rows(self) -> NDArray[np.int64]:
        """Rows of each group, [groups]."""
        return self.count.sum(1)

    @property
    def degrees(self) -> float:
        """Degrees of freedom of variances: groups of units less 1, infinite where rows are independent."""
        if not self.sums.clustered:
            return float("inf")
        return float(max((self.sums.count.sum((0, 2)) > 0).sum() - 1, 1))

    def estimates(self, *metrics: str) -> list[Estimate]:
        """Returns metrics of these decisions by name, such as `recall`."""
        return estimate([find(name).bind(**self.statistic.parameters) for name in metrics], self.sums)

    def rows_of(self, e: Estimate) -> Floats:
        """Returns the effective number of rows behind a proportion, [groups]; 0 where there are none."""
        with np.errstate(all="ignore"):
            return np.nan_to_num(effective_rows(e, self._design_effect(e)))

    def ends(self, e: Estimate, level: float) -> tuple[Floats, Floats]:
        """Returns the ends of a metric's own interval in each group; NaN where rows are too few."""
        return ends(e, (1 - level) / 2, self._design_effect(e))

    def _design_effect(self, e: Estimate) -> float:
        return design_effect(estimate([e.metric], self.whole)[0]) if self.sums.clustered else 1.0

    def covariance(self, influence: Floats) -> Floats:
        """Returns the joint covariance of quantities from their gradients by `weight`.

        Rows are drawn from all groups together: sizes of groups are random too.

        Args:
            influence: [quantities, groups, 4] gradients of quantities that do not change when all weights are doubled.

        Returns:
            [quantities, quantities].
        """
        return self._joint(influence, self.weight if self.sums.square is None else self.sums.square)

    def smooth_covariance(self, influence: Floats, half: Floats) -> Floats:
        """Returns `covariance` as if each cell held half a row more, whose weight is `half` [groups]."""
        square = self.weight if self.sums.square is None else self.sums.square
        return self._joint(influence, square + 2 * half[:, None] ** 2)

    def _joint(self, influence: Floats, square: Floats) -> Floats:
        if self.sums.clustered:
            told = np.einsum("guc,qgc->qu", self.sums.total, influence)
            return between_units(told, self.sums.count.sum((0, 2)) > 0)
        return np.einsum("agc,gc,bgc->ab", influence, square, influence)


def between_units(told: Floats, held: Any) -> Floats:
    """Returns the joint covariance of totals over groups of units, [quantities, units] to [quantities, quantities]."""
    units = int(held.sum())
    centred = np.where(held, told - told.sum(1, keepdims=True) / max(units, 1), 0.0)
    return centred @ centred.T * units / max(units - 1, 1)


def half_rows(cells: GroupCells) -> Floats:
    """Returns the weight of half a row of each group, [groups]."""
    return np.where(cells.rows > 0, cells.weight.sum(1) / np.maximum(cells.rows, 1), 1.0) / 2
