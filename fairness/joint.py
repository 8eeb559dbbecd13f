"""A metric's values in all rows and in each group of a family, and their joint covariance.

>>> import evalkit as ek
>>> from evalkit.fairness.families import families
>>> data = {"y": [1, 0, 1, 0] * 9, "p": [0.9, 0.2, 0.4, 0.6] * 9, "sex": ["f", "f", "m"] * 12}
>>> evaluation = ek.evaluate(data, label="y", score="p", metrics=["accuracy"], slices=["sex"]).evaluations[0]
>>> values = group_values(evaluation, "accuracy", families(evaluation, ["sex"]))[0]
>>> values.estimate.value.tolist(), values.covariance.shape
([0.5, 0.5, 0.5], (3, 3))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evalkit import interval
from evalkit.errors import ConfigError
from evalkit.estimate import Estimate, estimate
from evalkit.fairness.families import Family
from evalkit.metric import Metric
from evalkit.pairing import RowInfluences, group_influences, members_of
from evalkit.results import Evaluation
from evalkit.statistic import Statistic
from evalkit.sums import AnySums, FieldSums, ScoreSums
from evalkit.tabulate import design_effect

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class GroupValues:
    """One metric in all rows of a level of the control features, and in each group.

    Attributes:
        name: the metric's name.
        family: the groups.
        estimate: [1 + groups] the value and what is known of it, all rows first.
        covariance: [1 + groups, 1 + groups]; of a variance that is not known the row is 0.
        deff: the metric's design effect on all rows of the data.
        few: [1 + groups] where rows are too few for an interval, or for the settings.
        approximate: [1 + groups] where the interval is known to be rough.
        notes: why, for people.
    """

    name: str
    family: Family
    estimate: Estimate
    covariance: Floats
    deff: float
    few: NDArray[np.bool_]
    approximate: NDArray[np.bool_]
    notes: tuple[str, ...]

    @property
    def analytic(self) -> bool:
        """Whether the metric has an interval that is no bootstrap."""
        return self.estimate.metric.kind not in ("none", "bootstrap")

    @property
    def held(self) -> NDArray[np.bool_]:
        """The groups that are known, with a value and rows enough for a claim, [groups]."""
        return (np.isfinite(self.estimate.value) & ~self.few)[1:] & ~self.family.unknown

    @property
    def pooled_variance(self) -> Floats:
        """Each group's squared standard error, [groups]; of proportions as if all had the rate of all held groups.

        So no group seems certain because nobody, or everybody, in it counts.
        """
        variance = np.diag(self.covariance)[1:]
        if self.estimate.metric.kind != "wilson" or not self.held.any():
            return variance
        of = self.estimate.at(1 + np.arange(len(variance)))
        with np.errstate(all="ignore"):
            n = interval.effective_rows(of, self.deff)
            pooled = float((n * of.value)[self.held].sum() / n[self.held].sum())
            return np.maximum(pooled * (1 - pooled), 1e-300) / n

    def ends(self, alpha: Floats | float) -> tuple[Floats, Floats]:
        """Returns the ends of each interval at one-sided error rates alpha, [1 + groups]; NaN where there is none."""
        low, high = interval.ends(self.estimate, alpha, self.deff)
        return np.where(self.few, np.nan, low), np.where(self.few, np.nan, high)


def group_values(
    evaluation: Evaluation, name: str, found: Sequence[Family], min_rows: int | None = None
) -> list[GroupValues]:
    """Returns a metric's values in each family.

    Args:
        evaluation: it holds the metric.
        name: the metric's name in it.
        found: the families.
        min_rows: groups with a smaller support are too few; None: the evaluation's.

    Raises:
        ConfigError: groups share rows, and rows were not kept.
    """
    metric = dict(evaluation.metrics)[name]
    sums = evaluation.sums[metric.statistic.identity]
    [whole] = estimate([metric], sums)
    deff = design_effect(whole)
    least = evaluation.settings.min_rows if min_rows is None else min_rows
    few = interval.too_few(whole, metric.kind) | (whole.support < least)
    told = interval.roughness(whole)
    made = []
    for family in found:
        of = family.with_whole
        covariance = _joint(evaluation, metric, whole, sums, family)
        notes = tuple(told.notes[place] for place in of)
        made.append(GroupValues(name, family, whole.at(of), covariance, deff, few[of], told.approximate[of], notes))
    return made


def _joint(evaluation: Evaluation, metric: Metric, e: Estimate, sums: AnySums, family: Family) -> Floats:
    """Returns the joint covariance of all rows' value and the groups', with the variances that intervals use."""
    of = family.with_whole
    variance = np.nan_to_num(e.variance[of])
    if metric.statistic.form == "cells":  # of groups where nobody or everybody counts, half a row more in each cell
        variance = np.where(variance > 0, variance, np.nan_to_num(e.smooth_variance[of]))
    if metric.kind in ("none", "bootstrap"):
        return np.diag(variance)
    if sums.clustered:
        told, held = group_influences(e, sums)
        inside = held[of[0]]
        own = told[of][:, inside]
        return _scaled(np.cov(own) if own.shape[1] > 1 else np.diag(variance), variance)
    rows = evaluation.row_counts()
    if rows[family.places].sum() > rows[family.whole]:
        return _scaled(_of_rows(evaluation, metric.statistic, e, sums, family), variance)
    covariance = np.diag(variance)
    covariance[0, 1:] = covariance[1:, 0] = np.nan_to_num(_with_whole(metric, e, sums, family))
    return covariance


def _scaled(covariance: Floats, variance: Floats) -> Floats:
    """Gives a covariance these variances, its correlations kept."""
    own = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    factor = np.divide(np.sqrt(variance), own, out=np.zeros_like(own), where=own > 0)
    scaled: Floats = np.nan_to_num(covariance) * np.outer(factor, factor)
    np.fill_diagonal(scaled, variance)
    return scaled


def _with_whole(metric: Metric, e: Estimate, sums: AnySums, family: Family) -> Floats:
    """Returns the covariance of all rows' value with each disjoint group's, [groups]."""
    if isinstance(sums, ScoreSums):
        return _scores_with_whole(e, sums, family)
    part = sums.take(family.with_whole)
    gradient = e.gradient[family.with_whole]
    if part.pivot is not None:
        part = part.at_pivot(metric.statistic, np.full(len(part.pivot), part.pivot[0]))
        gradient = estimate([metric], part)[0].gradient
    return _fields_with_whole(part, gradient)


def _fields_with_whole(part: FieldSums, gradient: Floats) -> Floats:
    square = part.square
    if square is None:
        raise ValueError("independent rows need second moments")
    whole, own, total = gradient[0], gradient[1:], part.total[1:]
    cells = square.ndim == 2
    rows = part.count.sum(1)[1:] if cells else part.count[1:, 0]
    both = (square[1:] * own * whole).sum(1) if cells else np.einsum("gf,gfh,h->g", own, square[1:], whole)
    centre: Floats = both - (total * own).sum(1) * (total @ whole) / np.maximum(rows, 1)
    return centre


def _scores_with_whole(e: Estimate, sums: ScoreSums, family: Family) -> Floats:
    own = sums.ungrouped()
    start, stop = own.begin[family.whole], own.begin[family.whole + 1]
    keys, slopes = own.keys[start:stop], e.gradient[start:stop]
    found = np.zeros(len(family.places))
    for place, group in enumerate(family.places):
        inside = slice(int(own.begin[group]), int(own.begin[group + 1]))
        weight, square = own.weights[inside], own.squares[inside]
        whole, mine = slopes[np.searchsorted(keys, own.keys[inside])], e.gradient[inside]
        rows = max(int(own.count[inside].sum()), 1)
        found[place] = (square * whole * mine).sum() - (weight * whole).sum() * (weight * mine).sum() / rows
    return found


def _of_rows(evaluation: Evaluation, statistic: Statistic, e: Estimate, sums: AnySums, family: Family) -> Floats:
    """Returns the joint covariance of groups that share rows, from what each row tells of each of them."""
    from scipy import sparse

    if evaluation.rows is None:
        raise ConfigError(
            f"Groups of {family.across} share rows, and rows were not kept: name what identifies a row as unit=."
        )
    read = RowInfluences(evaluation, statistic, sums).at
    wanted = np.full(len(evaluation.plan.slices), -1)
    wanted[family.with_whole] = np.arange(1 + len(family.places))
    units, columns, values = [], [], []
    for members in members_of(evaluation):
        told = read(members)(e.gradient)
        column = np.where(members.slices >= 0, wanted[members.slices], -1)
        kept = np.flatnonzero((column >= 0) & (told != 0))
        units.append(kept if members.rows is None else members.rows[kept])
        columns.append(column[kept])
        values.append(told[kept])
    joined = (np.concatenate(part) for part in (units, columns, values))
    unit, column, value = joined
    shape = (evaluation.rows.rows.n, 1 + len(family.places))
    matrix = sparse.coo_array((value, (unit, column)), shape=shape).tocsr()
    return np.asarray((matrix.T @ matrix).toarray(), dtype=np.float64)
