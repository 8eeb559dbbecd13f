"""What thresholds that equalize a criterion do on rows that they were not chosen on.

Rows are split in halves, by unit where there are units. Each half is decided by the thresholds that the other chooses,
with and without the criterion. The objective is a mean over both halves. The gap is taken in each half by itself and
then averaged: what one half's thresholds overshoot, the other's fall short by, so that rates of both halves together
would be equal whatever the thresholds.

>>> import numpy as np
>>> from evalkit.fairness.thresholds.group_rows import GroupRows
>>> rng = np.random.default_rng(0)
>>> group, label = rng.integers(0, 2, 2000), rng.integers(0, 2, 2000)
>>> rows = GroupRows(rng.normal(size=2000) + label * (1 + group), label, group, 2)
>>> found = held_out(*(half.scores() for half in rows.halves(seed=0)))
>>> found.gap.value > found.in_sample_gap, found.flattery > 0
(True, True)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.errors import DataError
from evalkit.fairness.families import Family
from evalkit.fairness.group_scores import GroupScores
from evalkit.fairness.thresholds.criterion import Criterion
from evalkit.fairness.thresholds.equalize import Equalized, equalize
from evalkit.fairness.thresholds.group_rows import GroupRows
from evalkit.fairness.thresholds.judged import Known, combined, gap, judged, loss
from evalkit.fairness.thresholds.objective import Name, Objective
from evalkit.money import Costs
from evalkit.results import Evaluation
from evalkit.slicing.spec import slice_text

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class HeldOut:
    """Equalizing thresholds, judged on the half of the rows that they were not chosen on.

    Attributes:
        halves: what each half chose, with its numbers on itself.
        value: the objective of the equalizing thresholds on the other half, over both.
        best_value: of the thresholds without the criterion.
        loss: how much worse the equalizing ones are.
        loss_to_current: how much worse than thresholds in use; None without.
        gap: mean over the halves of the largest difference of the criterion's rates. Its bounds hold together for all
            pairs of groups in both halves; it is the mean of the true gaps that they bound.
        best_gap: of the thresholds without the criterion.
        level: the confidence level.
    """

    halves: tuple[Equalized, Equalized]
    value: Known
    best_value: Known
    loss: Known
    loss_to_current: Known | None
    gap: Known
    best_gap: Known
    level: float

    @property
    def in_sample_value(self) -> float:
        """The mean of the objectives that each half's thresholds have on that half."""
        return float(np.mean([half.value.value for half in self.halves]))

    @property
    def in_sample_loss(self) -> float:
        """The mean of the losses likewise."""
        return float(np.mean([half.loss.value for half in self.halves]))

    @property
    def in_sample_gap(self) -> float:
        """The mean of the gaps likewise; 0 but for rounding where equality was asked for."""
        return float(np.mean([half.gap for half in self.halves]))

    @property
    def flattery(self) -> float:
        """By how much the objective looks better on the rows that thresholds were chosen on; above 0 it flatters."""
        better = 1.0 if self.halves[0].objective.higher else -1.0
        return better * (self.in_sample_value - self.value.value)

    def to_polars(self) -> pl.DataFrame:
        """Returns `what`, `in_sample`, and `held_out` with `low` and `high`: the objective, its best, loss and gap."""
        import polars as pl

        first, second = self.halves
        in_sample = {
            self.halves[0].objective.name: self.in_sample_value,
            "best": float(np.mean([first.best_value.value, second.best_value.value])),
            "loss": self.in_sample_loss,
            "gap": self.in_sample_gap,
            "best_gap": float(np.mean([first.best_gap, second.best_gap])),
        }
        known = [self.value, self.best_value, self.loss, self.gap, self.best_gap]
        return pl.DataFrame(
            {
                "what": list(in_sample),
                "in_sample": list(in_sample.values()),
                "held_out": [k.value for k in known],
                "low": [k.low for k in known],
                "high": [k.high for k in known],
            }
        )


def held_out(
    first: GroupScores,
    second: GroupScores,
    criterion: Criterion = "demographic_parity",
    objective: Name | Objective = "accuracy",
    *,
    costs: Costs | None = None,
    level: float = 0.95,
    **settings: Any,
) -> HeldOut:
    """Returns what each half's thresholds do on the other half.

    Args:
        first: the histogram of one half, the same groups in the same order.
        second: of the other; no unit is in both.
        criterion: as for `equalize`.
        objective: likewise.
        costs: likewise.
        level: the confidence level. Intervals are of the mean over both halves of what the thresholds that were chosen
            do on new rows. Losses are of few rows, and each half has a part in both losses: their standard errors add.
        **settings: more settings of `equalize`: within, current, randomized, names.

    Raises:
        ConfigError: a setting does not exist or cannot hold.
        DataError: a half does not hold the groups, or not both labels.
    """
    if first.groups != second.groups:
        raise DataError(f"The halves hold {first.groups} and {second.groups} groups: give the same groups of both.")
    for half in (first, second):
        if not half.count.sum((1, 2)).all():
            raise DataError("A group has no rows in one of the halves: pool small groups, or leave it out.")
    halves = tuple(
        equalize(half, criterion, objective, costs=costs, level=level, **settings) for half in (first, second)
    )
    others = list(zip(halves, (second, first), strict=True))
    weights = [float(other.weight.sum()) for _, other in others]
    of, used = halves[0].objective, halves[0].current

    def over(parts: list[Known], *, alike: bool = False) -> Known:
        return combined(parts, weights, level, alike=alike)

    return HeldOut(
        halves=(halves[0], halves[1]),
        value=over([judged(other, half.rule, of, level) for half, other in others]),
        best_value=over([judged(other, half.best, of, level) for half, other in others]),
        loss=over([loss(other, half.rule, half.best, of, level) for half, other in others], alike=True),
        loss_to_current=None
        if used is None
        else over([loss(other, half.rule, used, of, level) for half, other in others], alike=True),
        gap=_mean_gap([gap(other, half.rule, criterion, (1 + level) / 2) for half, other in others]),
        best_gap=_mean_gap([gap(other, half.best, criterion, (1 + level) / 2) for half, other in others]),
        level=level,
    )


def held_out_check(
    evaluation: Evaluation,
    family: Family,
    criterion: Criterion = "demographic_parity",
    objective: Name | Objective = "accuracy",
    *,
    seed: int = 0,
    **settings: Any,
) -> HeldOut:
    """Returns what thresholds that half of an evaluation's rows choose do on the other half.

    Args:
        evaluation: with scores, and with rows kept.
        family: its groups.
        criterion: as for `equalize`.
        objective: likewise.
        seed: fixes the halves: a hash of it and of the row's unit, else of its `id`, else of its number.
        **settings: more settings of `held_out` and `equalize`: costs, within, current, randomized, level.

    Raises:
        UsageError: no rows are kept, or a setting does not exist or cannot hold.
        DataError: a half does not hold the groups, or not both labels.
    """
    halves = [half.scores() for half in GroupRows.of(evaluation, family).halves(seed)]
    names: Sequence[str] = [slice_text(group) for group in family.groups]
    return held_out(halves[0], halves[1], criterion, objective, names=names, **settings)


def _mean_gap(parts: list[Known]) -> Known:
    """Returns the mean of both halves' gaps, with bounds that are the means of theirs."""
    value, low, high = (float(np.mean([getattr(k, end) for k in parts])) for end in ("value", "low", "high"))
    return Known(value, low, high, math.nan, sum(k.support for k in parts))
