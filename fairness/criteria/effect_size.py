"""How large differences are: the standardised mean difference of scores, and Cohen's h of selection rates.

>>> round(float(cohens_h(0.5, 0.3)), 4)
0.4115
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.combined import combined, correlations
from evalkit.contrast import student, tail
from evalkit.fairness.criteria.group_cells import GroupCells
from evalkit.fairness.criteria.group_means import degrees_of, sampling_covariance
from evalkit.fairness.criteria.mean_measures import by_student
from evalkit.fairness.families import Family
from evalkit.fairness.group_scores import GroupScores
from evalkit.fairness.measure import Measure
from evalkit.fairness.reference import reference_place
from evalkit.results import Evaluation
from evalkit.slicing.spec import SliceKey

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

_FEWEST = 10


def cohens_h(rate: ArrayLike, reference: ArrayLike) -> Any:
    """Returns 2 arcsin sqrt(rate) - 2 arcsin sqrt(reference), between -pi and pi.

    Source: Cohen (1988), Statistical power analysis; .2 is small, .5 medium, .8 large by his convention.
    """
    first, second = np.asarray(rate, np.float64), np.asarray(reference, np.float64)
    return (_arcsine(first) - _arcsine(second))[()]


def _arcsine(rate: Floats) -> Floats:
    return 2 * np.arcsin(np.sqrt(rate))


def cohens_h_measures(
    evaluation: Evaluation,
    family: Family,
    *,
    reference: SliceKey | str | None = None,
    threshold: float | None = None,
    level: float = 0.95,
) -> list[Measure]:
    """Returns Cohen's h of each group's share selected against the reference's.

    Its interval combines the Wilson intervals of both shares on the arcsine scale, where the p-value is of a normal
    difference with the variance 1 / n + 1 / m of effective numbers of rows.

    Args:
        evaluation: with a metric of decisions, such as `recall@0.5`.
        family: the groups.
        reference: the group that others are held against; None: the largest.
        threshold: which decisions, where several were evaluated.
        level: the confidence level.
    """
    cells = GroupCells.of(evaluation, family.places, threshold)
    base = reference_place(family, reference, rows=cells.rows)
    [rate] = cells.estimates("positive_prediction_rate")
    n = cells.rows_of(rate)
    low, high = (_arcsine(end) for end in cells.ends(rate, level))
    error = 1 / np.sqrt(np.where(n > 0, n, np.nan))
    value = _arcsine(rate.value)
    slope = np.zeros((len(value), len(value), 4))
    slope[np.arange(len(value)), np.arange(len(value))] = rate.gradient
    related = correlations(cells.covariance(slope))
    found = []
    for g in [i for i in range(len(value)) if i != base]:
        pair = np.array([g, base])
        of = combined(value[pair], low[pair], high[pair], [1, -1], related[np.ix_(pair, pair)])
        spread = float(np.sqrt(max(np.sum(error[pair] ** 2) - 2 * related[g, base] * np.prod(error[pair]), 0.0)))
        at = Measure("cohens_h", family.across, float(of.value), float(of.low), float(of.high), fair=0.0)
        at = replace(at, level=family.level, group=family.groups[g], reference=family.groups[base], confidence=level)
        p_value = float(2 * tail(np.array(abs(at.value) / spread), np.array(cells.degrees))) if spread > 0 else np.nan
        rows = cells.rows[pair]
        at = replace(at, rows=int(rows.sum()), support=int(rows.min()), p_value=p_value)
        found.append(replace(at, method="MOVER of Wilson intervals"))
    return found


def standardized_mean_difference_measures(
    evaluation: Evaluation,
    family: Family,
    *,
    reference: SliceKey | str | None = None,
    level: float = 0.95,
) -> list[Measure]:
    """Returns each group's mean score minus the reference's, in standard deviations of scores within both.

    The squared standard deviation is the mean squared distance of the rows of both from the mean of their group. The
    interval is by the delta method, of any law of scores. Undefined where no score varies.

    Args:
        evaluation: with a metric of scores, such as `roc_auc`.
        family: the groups.
        reference: the group that others are held against; None: the largest.
        level: the confidence level.

    Source: Cohen (1988), d.
    """
    scores = GroupScores.of(evaluation, family)
    rows = scores.count.sum((1, 2))
    base = reference_place(family, reference, rows=rows)
    others = [g for g in range(scores.groups) if g != base]
    if not others:
        return []
    told = [_standardized(scores, g, base) for g in others]
    value = np.array([v for v, _ in told])
    variance = np.diag(sampling_covariance(scores, np.stack([i for _, i in told])))
    degrees = np.minimum(rows[others] + rows[base] - 2.0, degrees_of(scores)).clip(1)
    test = student(value, np.sqrt(np.maximum(variance, 0.0)), degrees, "Student's t")
    found = []
    for i, g in enumerate(others):
        at = Measure("standardized_mean_difference", family.across, float(value[i]), level=family.level, fair=0.0)
        at = replace(at, group=family.groups[g], reference=family.groups[base], confidence=level)
        at = replace(at, rows=int(rows[g] + rows[base]), support=int(min(rows[g], rows[base])))
        at = replace(at, approximate=scores.binned, note="scores binned" if scores.binned else "")
        if min(rows[g], rows[base]) < _FEWEST:
            found.append(replace(at, status="too_few_rows", note=f"fewer than {_FEWEST} rows in a group"))
            continue
        found.append(by_student(at, test, i))
    return found


def _standardized(scores: GroupScores, g: int, base: int) -> tuple[float, Floats]:
    """Returns the difference and its gradient [groups, 2, scores]."""
    pair = np.array([g, base])
    weight, x = scores.weight[pair].sum(1), scores.scores
    total = weight.sum(-1)
    influence = np.zeros(scores.weight.shape)
    if not (total > 0).all():
        return float("nan"), influence
    mean = (weight * x).sum(-1) / total
    apart = x[None, :] - mean[:, None]
    variance = float((weight * apart**2).sum() / total.sum())
    if variance <= 1e-24 * max(float(np.abs(x).max()) ** 2, 1e-300):
        return float("nan"), influence
    spread = variance**0.5
    value = float((mean[0] - mean[1]) / spread)
    of_mean = np.array([[1.0], [-1.0]]) * apart / (total[:, None] * spread)
    of_spread = -value / (2 * variance) * (apart**2 - variance) / total.sum()
    influence[pair] = (of_mean + of_spread)[:, None, :]
    return value, influence
