"""The thresholds that equalize a criterion between groups, and what they cost.

An analysis: it says what equality would take on these rows, for the best of all thresholds. It flatters itself, since
it is chosen and judged on the same rows; `evalkit.fairness.thresholds.held_out` judges on others.

>>> import numpy as np
>>> from evalkit.fairness.thresholds.group_rows import GroupRows
>>> score, label = np.array([0.9, 0.6, 0.2, 0.8, 0.4, 0.3]), np.array([1, 0, 0, 1, 1, 0])
>>> rows = GroupRows(score, label, np.array([0, 0, 0, 1, 1, 1]), 2)
>>> found = equalize(rows.scores(), names=["sex=f", "sex=m"])
>>> found.rule.text(found.names), round(found.value.value, 3), round(found.loss.value, 3)
('sex=f from 0.9; sex=m from 0.8', 0.833, 0.167)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evalkit.errors import ConfigError
from evalkit.fairness.group_scores import GroupScores
from evalkit.fairness.thresholds.criterion import Criterion, rates_of
from evalkit.fairness.thresholds.judged import Known, judged, loss, of_group, part, rates
from evalkit.fairness.thresholds.mixtures import Mixtures
from evalkit.fairness.thresholds.objective import Name, Objective
from evalkit.fairness.thresholds.objective import objective as read_objective
from evalkit.fairness.thresholds.operating_points import OperatingPoints
from evalkit.fairness.thresholds.threshold_curves import ThresholdCurves
from evalkit.fairness.thresholds.threshold_rule import ThresholdRule
from evalkit.fairness.thresholds.tradeoffs import MOST_POINTS, note
from evalkit.fairness.thresholds.windows import Windows
from evalkit.money import Costs

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_UNLIMITED = 1 << 62


@dataclass(frozen=True)
class Equalized:
    """Thresholds that equalize a criterion, and what they cost on the rows that they were chosen on.

    Intervals are of the objective under these thresholds, taken as given: that they were chosen here is not in them.

    Attributes:
        criterion: what is equalized.
        objective: what the thresholds are best for.
        names: of the groups.
        within: the gap that was allowed.
        rule: the thresholds.
        best: those that are best for each group without the criterion.
        current: those in use, if they were given.
        gap: the largest difference of the criterion's rates between groups under `rule`.
        best_gap: under `best`.
        value: the objective under `rule`.
        best_value: under `best`.
        loss: how much worse `rule` is than `best`, never below 0.
        loss_to_current: how much worse than `current`; below 0 it is better. None without.
        scores: the rows.
        level: the confidence level.
        note: what a reader must know.
    """

    criterion: str
    objective: Objective
    names: tuple[str, ...]
    within: float
    rule: ThresholdRule
    best: ThresholdRule
    current: ThresholdRule | None
    gap: float
    best_gap: float
    value: Known
    best_value: Known
    loss: Known
    loss_to_current: Known | None
    scores: GroupScores
    level: float
    note: str

    @property
    def decides_alike(self) -> bool:
        """Whether all groups get nobody or everybody, so that equality is had by looking at nothing."""
        decided = self.rule.probability(self.scores.scores)
        held = self.scores.count.sum(1) > 0
        return bool(np.ptp(decided[held]) < 1e-12) if held.any() else True

    def to_polars(self) -> pl.DataFrame:
        """Returns a row for all rows and one for each group.

        `slice`, `rows`, `thresholds` and `shares` (lists; of all rows missing), the criterion's rates, the objective
        under its name, `best` (without the criterion), `loss`, `loss_low`, `loss_high`, and with thresholds in use
        `loss_to_current`, `loss_to_current_low`, `loss_to_current_high`. A group's numbers are of its rows alone.
        """
        import polars as pl

        reached = rates(self.scores, self.rule, self.criterion)
        table = [self._row("overall", self.scores, self.rule, self.best, self.current)]
        for g, name in enumerate(self.names):
            own = [None if rule is None else of_group(rule, g) for rule in (self.rule, self.best, self.current)]
            row = self._row(name, part(self.scores, g), own[0] or self.rule, own[1] or self.best, own[2])
            of_rates = zip(rates_of(self.criterion), reached[:, g].tolist(), strict=True)
            more = {"thresholds": self.rule.thresholds[g].tolist(), "shares": self.rule.shares[g].tolist()}
            table.append({**row, **more, **dict(of_rates)})
        return pl.DataFrame(table, infer_schema_length=None)

    def _row(
        self, name: str, scores: GroupScores, rule: ThresholdRule, best: ThresholdRule, current: ThresholdRule | None
    ) -> dict[str, object]:
        lost = loss(scores, rule, best, self.objective, self.level)
        row: dict[str, object] = {
            "slice": name,
            "rows": int(scores.count.sum()),
            "thresholds": None,
            "shares": None,
            **dict.fromkeys(rates_of(self.criterion), None),
            self.objective.name: judged(scores, rule, self.objective, self.level).value,
            "best": judged(scores, best, self.objective, self.level).value,
            "loss": lost.value,
            "loss_low": lost.low,
            "loss_high": lost.high,
        }
        if current is not None:
            to = loss(scores, rule, current, self.objective, self.level)
            row |= {"loss_to_current": to.value, "loss_to_current_low": to.low, "loss_to_current_high": to.high}
        return row


def equalize(
    scores: GroupScores,
    criterion: Criterion = "demographic_parity",
    objective: Name | Objective = "accuracy",
    *,
    within: float = 0.0,
    costs: Costs | None = None,
    current: float | Sequence[float] | ThresholdRule | None = None,
    randomized: bool = True,
    names: Sequence[str] | None = None,
    level: float = 0.95,
) -> Equalized:
    """Returns the best thresholds by group whose rates lie within a gap, and what they cost against the best of all.

    Args:
        scores: the histogram of groups.
        criterion: whose rates are equalized.
        objective: what is best: `accuracy`, `balanced_accuracy`, `cost` or `selection`.
        within: the gap that is allowed; 0 is equality on these rows, to rounding.
        costs: what each outcome costs, for `cost`.
        current: thresholds in use, to compare with: one for all groups, one for each, or a rule.
        randomized: whether thresholds of a group are mixed where that is better: two with one rate, up to four with
            two. Without, equality of two rates is in general only reached by deciding all rows alike.
        names: of the groups.
        level: the confidence level.

    Raises:
        ConfigError: a setting does not exist or cannot hold.
        DataError: fewer than two groups have the criterion's rates.

    Source: Hardt, Price and Srebro (2016), Equality of opportunity in supervised learning.
    """
    of = objective if isinstance(objective, Objective) else read_objective(objective, costs)
    if isinstance(within, bool) or not 0 <= within <= 1:
        raise ConfigError(f"within is a gap between rates, between 0 and 1, not {within!r}.")
    if not 0 < level < 1:
        raise ConfigError(f"level must lie between 0 and 1, such as 0.95; not {level!r}.")
    curves = ThresholdCurves.of(scores)
    most = _UNLIMITED if randomized else MOST_POINTS[len(rates_of(criterion))]
    points = OperatingPoints.of(curves, criterion, of, names, most)
    best = points.complete({})
    if points.gap(best) <= within:
        mixes = best
    elif randomized:
        mixes = Mixtures(points).best(within)
    else:
        choice = Windows([points.rates[g] for g in points.bound], [points.gains[g] for g in points.bound]).best(within)
        one = np.ones(1)
        mixes = points.complete({g: (np.array([p]), one) for g, p in zip(points.bound, choice.points, strict=True)})
    rule, free = points.rule(mixes), points.rule(best)
    used = _rule(current, len(points.names))
    return Equalized(
        criterion=criterion,
        objective=of,
        names=points.names,
        within=within,
        rule=rule,
        best=free,
        current=used,
        gap=points.gap(mixes),
        best_gap=points.gap(best),
        value=judged(scores, rule, of, level),
        best_value=judged(scores, free, of, level),
        loss=loss(scores, rule, free, of, level),
        loss_to_current=None if used is None else loss(scores, rule, used, of, level),
        scores=scores,
        level=level,
        note=note(points, curves),
    )


def _rule(current: float | Sequence[float] | ThresholdRule | None, groups: int) -> ThresholdRule | None:
    if current is None or isinstance(current, ThresholdRule):
        return current
    given = [float(current)] * groups if isinstance(current, int | float) else [float(t) for t in current]
    if len(given) != groups or any(np.isnan(t) for t in given):
        raise ConfigError(f"current is one threshold, or one for each of {groups} groups, not {current!r}.")
    return ThresholdRule.of(given)
