"""What accuracy, cost or selection comes with what disparity: the frontier over thresholds of the groups.

An analysis of decisions by thresholds, not a mitigation: it says what is reached at best, and what that would take.
Thresholds by group treat people by their group, which may be unlawful where the decision is about them.

>>> import numpy as np
>>> import evalkit as ek
>>> from evalkit.fairness.families import families
>>> from evalkit.fairness.group_scores import GroupScores
>>> data = {"y": [1, 0, 0, 1, 1, 0], "p": [0.9, 0.6, 0.2, 0.8, 0.4, 0.3], "sex": ["f", "f", "f", "m", "m", "m"]}
>>> evaluation = ek.evaluate(data, label="y", score="p", metrics=["roc_auc"], slices=["sex"]).evaluations[0]
>>> [family] = families(evaluation, ["sex"])
>>> found = frontier(GroupScores.of(evaluation, family), names=["f", "m"])
>>> found.to_polars().select("disparity", "accuracy", "threshold:f", "threshold:m").rows()[-1]
(0.333..., 1.0, 0.9, 0.4)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from evalkit.errors import ConfigError
from evalkit.fairness.group_scores import GroupScores
from evalkit.fairness.thresholds.criterion import Criterion, rates_of
from evalkit.fairness.thresholds.mixtures import Mixtures
from evalkit.fairness.thresholds.objective import Name, Objective
from evalkit.fairness.thresholds.objective import objective as read_objective
from evalkit.fairness.thresholds.operating_points import Mix, OperatingPoints
from evalkit.fairness.thresholds.threshold_curves import ThresholdCurves
from evalkit.fairness.thresholds.threshold_rule import ThresholdRule
from evalkit.fairness.thresholds.windows import Windows, every_point
from evalkit.money import Costs

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MOST_POINTS = {1: 1 << 20, 2: 1 << 12}
_SAME = 1e-12


@dataclass(frozen=True)
class Frontier:
    """Pairs of disparity and objective that nothing else improves in both.

    Attributes:
        criterion: what the disparity is of.
        objective: what is traded against it.
        names: of the groups.
        disparity: [points] largest difference of the criterion's rates between groups, ascending.
        value: [points] the objective, ever better.
        rules: [points] the thresholds that make each.
        alike: [points] whether the rule decides nobody, everybody or by the draw alone.
        note: what a reader must know; empty where there is nothing to say.
    """

    criterion: str
    objective: Objective
    names: tuple[str, ...]
    disparity: Floats
    value: Floats
    rules: tuple[ThresholdRule, ...]
    alike: NDArray[np.bool_]
    note: str = ""

    def at(self, gap: float) -> int:
        """Returns the place of the best point with a disparity of at most `gap`."""
        held = np.flatnonzero(self.disparity <= gap + _SAME)
        if not len(held):
            raise ConfigError(f"No point has a disparity of at most {gap}; the least is {self.disparity[0]:.4g}.")
        return int(held[-1])

    @property
    def smallest_gap(self) -> float:
        """The least disparity of rules that look at scores; NaN where none of these rules does."""
        told = self.disparity[~self.alike]
        return float(told[0]) if len(told) else float("nan")

    def to_polars(self) -> pl.DataFrame:
        """Returns `disparity`, the objective under its name, and `threshold:GROUP` of each group, a row for each point.

        Where thresholds are mixed, `threshold:GROUP` is a list, and `share:GROUP` how often each of them decides.
        """
        import polars as pl

        mixed = any(rule.mixed for rule in self.rules)
        columns: dict[str, pl.Series] = {
            "disparity": pl.Series(self.disparity),
            self.objective.name: pl.Series(self.value),
        }
        for g, name in enumerate(self.names):
            own = [rule.thresholds[g] for rule in self.rules]
            if mixed:
                columns[f"threshold:{name}"] = pl.Series([t.tolist() for t in own], dtype=pl.List(pl.Float64))
                shares = [rule.shares[g].tolist() for rule in self.rules]
                columns[f"share:{name}"] = pl.Series(shares, dtype=pl.List(pl.Float64))
            else:
                columns[f"threshold:{name}"] = pl.Series([float(t[0]) for t in own], dtype=pl.Float64)
        return pl.DataFrame(columns)


def frontier(
    scores: GroupScores,
    *,
    criterion: Criterion = "demographic_parity",
    objective: Name | Objective = "accuracy",
    costs: Costs | None = None,
    thresholds: Literal["by_group", "common"] = "by_group",
    randomized: bool = False,
    points: int | None = 200,
    names: Sequence[str] | None = None,
) -> Frontier:
    """Returns the points of disparity and objective that no thresholds improve in both.

    Every point is exact: with its disparity allowed no thresholds do better, and with less disparity none do as well.

    Args:
        scores: the histogram of groups.
        criterion: whose rates the disparity is the largest difference of; for equalized odds the larger of both.
        objective: `accuracy`, `balanced_accuracy`, `cost` (lower is better) or `selection`. Selecting everybody, or
            nobody, has no disparity: the frontier of `selection` is one point.
        costs: what each outcome costs, for `cost`.
        thresholds: whether each group has a threshold of its own, or all the same.
        randomized: whether a group's decisions may be drawn between thresholds.
        points: how many allowed disparities, evenly spaced, are tried; None: every point there is, which may be many.
            Of mixtures there are endlessly many, so a number is needed.
        names: of the groups.

    Groups that hold no rows for a rate (no positives, for equal opportunity) are in no disparity, and keep the
    threshold that is best for them.

    Raises:
        ConfigError: a setting does not exist or cannot hold.
        DataError: fewer than two groups have the criterion's rates.

    Source: Hardt, Price and Srebro (2016); that the best decisions are thresholds: Corbett-Davies et al. (2017).
    """
    of = objective if isinstance(objective, Objective) else read_objective(objective, costs)
    _check(thresholds, randomized, points)
    curves = ThresholdCurves.of(scores)
    most = MOST_POINTS[len(rates_of(criterion))]
    own = OperatingPoints.of(curves, criterion, of, names, most)
    if thresholds == "common":
        return _common(curves, criterion, of, own, points)
    mixes = _mixed(own, points or 200) if randomized else _single(own, points)
    gap, gain = np.array([own.gap(m) for m in mixes]), np.array([own.gain(m) for m in mixes])
    kept = _places_not_beaten(gap, gain)
    return Frontier(
        criterion=criterion,
        objective=of,
        names=own.names,
        disparity=gap[kept],
        value=gain[kept] if of.higher else -gain[kept],
        rules=tuple(own.rule(mixes[k]) for k in kept),
        alike=np.array([own.alike(mixes[k]) for k in kept]),
        note=note(own, curves),
    )


def _check(thresholds: str, randomized: bool, points: int | None) -> None:
    if thresholds not in ("by_group", "common"):
        raise ConfigError(f'thresholds must be "by_group" or "common", not {thresholds!r}.')
    if points is not None and (isinstance(points, bool) or points < 2):
        raise ConfigError(f"points must be at least 2, or None for every one there is, not {points!r}.")
    if randomized and (points is None or thresholds == "common"):
        raise ConfigError(
            "Mixtures of thresholds are of groups, and endless: give thresholds='by_group' and points=200."
        )


def _single(own: OperatingPoints, points: int | None) -> list[list[Mix]]:
    windows = Windows([own.rates[g] for g in own.bound], [own.gains[g] for g in own.bound])
    if points is None:
        found = list(every_point(windows))
    else:
        last = windows.best(np.inf)
        found = [windows.best(0.0)]
        for gap in np.linspace(0.0, last.gap, points)[1:-1]:
            found.append(windows.best(gap, found[-1]))
        found.append(last)
    one = np.ones(1)
    return [
        own.complete({g: (np.array([p]), one) for g, p in zip(own.bound, choice.points, strict=True)})
        for choice in found
    ]


def _mixed(own: OperatingPoints, points: int) -> list[list[Mix]]:
    mixtures = Mixtures(own)
    most = own.gap(mixtures.best(1.0))
    return [mixtures.best(gap) for gap in np.linspace(0.0, most, points)]


def _common(
    curves: ThresholdCurves, criterion: str, of: Objective, own: OperatingPoints, points: int | None
) -> Frontier:
    gap = curves.disparity(criterion)
    gain = curves.overall(of).sum(0) * (1 if of.higher else -1)
    kept = _places_not_beaten(gap, gain)
    if points is not None and len(kept) > points:
        allowed = np.linspace(0.0, gap[kept[-1]], points)
        kept = kept[np.unique(np.searchsorted(gap[kept], allowed + _SAME, side="right") - 1)]
    return Frontier(
        criterion=criterion,
        objective=of,
        names=own.names,
        disparity=gap[kept],
        value=gain[kept] if of.higher else -gain[kept],
        rules=tuple(ThresholdRule.of([float(curves.thresholds[t])] * len(own.names)) for t in kept),
        alike=np.isin(kept, [0, len(curves.thresholds) - 1]),
        note=note(own, curves),
    )


def _places_not_beaten(gap: Floats, gain: Floats) -> NDArray[np.int64]:
    """Returns the points that no other has less gap and as much gain as, by ascending gap."""
    order = np.lexsort([-gain, gap])
    before = np.append(-np.inf, np.maximum.accumulate(gain[order])[:-1])
    return order[gain[order] > before + _SAME * max(float(np.abs(gain).max()), 1e-300)]


def note(own: OperatingPoints, curves: ThresholdCurves) -> str:
    """Returns what a reader must know of points: who is not compared, what is approximate."""
    left_out = [name for name, free in zip(own.names, own.free, strict=True) if free]
    said = []
    if left_out:
        said.append(f"Not compared, for want of rows: {', '.join(left_out)}.")
    if curves.binned:
        said.append("Scores are binned: thresholds are bins' middles.")
    if own.thinned:
        said.append("Thresholds are too many: evenly spaced ones were tried.")
    return " ".join(said)
