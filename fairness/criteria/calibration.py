"""Calibration within groups, without bins: how far the running sum of label - score strays in the order of the scores.

ECCE-MAD is its largest distance from 0, ECCE-R its range (Kuiper's statistic). Both are above 0 for calibrated scores
too, so each stands beside what chance alone makes it, with a p-value, and without an interval.

>>> import numpy as np
>>> found = cumulative_errors([0.25, 0.75], [[1.0, 1.0], [1.0, 1.0]])  # a negative and a positive at each score
>>> float(found.distance), float(found.range)
(0.125, 0.125)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from evalkit.collect import GROUPS
from evalkit.errors import DataError
from evalkit.fairness.criteria.brownian import MEAN_DISTANCE, MEAN_RANGE, distance_tail, range_tail
from evalkit.fairness.criteria.group_means import GroupMeans
from evalkit.fairness.criteria.mean_measures import by_student, mean_measures
from evalkit.fairness.families import Family
from evalkit.fairness.group_scores import GroupScores
from evalkit.fairness.measure import Measure
from evalkit.results import Evaluation
from evalkit.slicing.spec import SliceKey

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

DRAWS = 1999
_MOST_PLACES = 1024
_LEAST_UNITS = 10
_FEW_EVENTS = 25


@dataclass(frozen=True)
class CumulativeErrors:
    """How far the cumulative difference of labels and scores strays; arrays are [...].

    Attributes:
        distance: ECCE-MAD, its largest distance from 0; NaN without rows.
        range: ECCE-R, its highest minus its lowest value, 0 among them.
        scale: standard error of its end were the scores the true probabilities.
        distance_p_value: of a distance this large by chance, rows taken as independent; NaN where no score is within
            (0, 1).
        range_p_value: of a range this large: Kuiper's test.
    """

    distance: Floats
    range: Floats
    scale: Floats
    distance_p_value: Floats
    range_p_value: Floats


def cumulative_errors(scores: ArrayLike, weight: ArrayLike, square: ArrayLike | None = None) -> CumulativeErrors:
    """Returns ECCE-MAD and ECCE-R with their p-values, from a histogram.

    With w the weights, C(s) = sum over scores up to s of w (label - score) / sum w. Its steps have the variance w^2 s
    (1 - s) where scores are right; weighted, what the rows show of it, w^2 (label - score)^2, since weights may go with
    labels. Rows of equal score make one step. The p-values are those of a Brownian motion: for few rows, or few
    distinct scores, the walk strays less, and they are too large.

    Args:
        scores: [scores] ascending, between 0 and 1.
        weight: [..., 2, scores] rows with label 0 and 1, or their summed weights.
        square: [..., 2, scores] summed squared weights; None: rows have no weights.

    Source: Arrieta-Ibarra, Gujral, Tannen, Tygert and Xu (2022), Metrics of calibration for probabilistic predictions.
    """
    s, w = np.asarray(scores, np.float64), np.asarray(weight, np.float64)
    if len(s) and not (s.min() >= 0 and s.max() <= 1):
        raise DataError(f"Calibration is of scores in [0, 1]; these go from {s.min():g} to {s.max():g}.")
    total = w.sum((-1, -2))
    path = np.cumsum(w[..., 1, :] * (1 - s) - w[..., 0, :] * s, axis=-1)
    if square is None:
        variance = (w.sum(-2) * s * (1 - s)).sum(-1)
    else:
        v = np.asarray(square, np.float64)
        variance = (v[..., 1, :] * (1 - s) ** 2 + v[..., 0, :] * s**2).sum(-1)

    def per_weight(of: Floats) -> Floats:
        return np.divide(of, total, out=np.full(total.shape, np.nan), where=total > 0)

    distance, width = (per_weight(of) for of in _strayed(path))
    scale = per_weight(np.sqrt(variance))
    tails = []
    for of, tail in ((distance, distance_tail), (width, range_tail)):
        tails.append(tail(np.divide(of, scale, out=np.full(total.shape, np.nan), where=scale > 0)))
    return CumulativeErrors(distance, width, scale, *tails)


def _strayed(path: Floats) -> tuple[Floats, Floats]:
    """Returns the largest distance from 0, and the range, of paths [..., places] that begin at 0."""
    high, low = np.maximum(path.max(-1, initial=0.0), 0.0), np.minimum(path.min(-1, initial=0.0), 0.0)
    return np.maximum(high, -low), high - low


def calibration_measures(
    evaluation: Evaluation,
    family: Family,
    *,
    reference: SliceKey | str | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> list[Measure]:
    """Returns how well scores are calibrated in each group, and how much that differs between groups.

    For each group `ecce_mad` and `ecce_range` with p-values, and `calibration_gap`, mean label - mean score, with an
    interval; for all groups `calibration_gap_between`, the largest difference of two groups' gaps, whose bounds hold
    for all pairs at once. P-values of clustered rows are of random signs given to groups of units.

    Args:
        evaluation: with a metric of scores, such as `roc_auc`; scores are probabilities.
        family: the groups.
        reference: the group that others' gaps are held against; None: the largest.
        level: the confidence level.
        seed: fixes the signs.

    Source: Arrieta-Ibarra et al. (2022); wild bootstrap by units as in Mammen (1993).
    """
    scores = GroupScores.of(evaluation, family)
    weighted = evaluation.settings.weighted
    errors = cumulative_errors(scores.scores, scores.weight, scores.square if weighted else None)
    clustered = scores.entries is not None
    p_values = [errors.distance_p_value, errors.range_p_value]
    if clustered:
        p_values = list(_by_signs(scores, seed))
    means = GroupMeans.of_values(scores, *_residuals(scores))
    rows = scores.count.sum((1, 2))
    found = []
    for g, group in enumerate(family.groups):
        at = Measure("", family.across, float("nan"), level=family.level, group=group, fair=0.0, confidence=level)
        at = replace(at, rows=int(rows[g]), support=int(scores.count[g].sum(1).min()), approximate=scores.binned)
        method = "signs of units" if clustered else "Brownian motion"
        for name, value, mean, p in (
            ("ecce_mad", errors.distance[g], MEAN_DISTANCE, p_values[0][g]),
            ("ecce_range", errors.range[g], MEAN_RANGE, p_values[1][g]),
        ):
            notes = [] if clustered else [f"expected by chance alone: {mean * errors.scale[g]:.4f}"]
            notes += ["scores binned"] if scores.binned else []
            if at.support is not None and at.support < _FEW_EVENTS:
                notes.append(f"{at.support} rows of the rarer class")
            if clustered and np.isnan(p):
                notes.append(f"no test: fewer than {_LEAST_UNITS} groups of units")
            own = replace(at, metric=name, value=float(value), p_value=float(p), note="; ".join(notes))
            found.append(replace(own, method="none" if np.isnan(p) else method))
    gaps = mean_measures(
        "calibration_gap_between", means, family, reference=reference, level=level, binned=scores.binned
    )
    return [*found, *_own_gaps(means, family, level, scores.binned), *gaps]


def _residuals(scores: GroupScores) -> tuple[Floats, Floats]:
    """Returns label - score of each cell [groups, 2, scores], all of which are read."""
    told = np.stack([-scores.scores, 1 - scores.scores])
    return np.broadcast_to(told, scores.weight.shape), np.ones((2, 1))


def _own_gaps(means: GroupMeans, family: Family, level: float, binned: bool) -> list[Measure]:
    """Calibration in the large: each group's mean label - mean score, which should be 0."""
    from evalkit.contrast import student

    degrees = np.minimum(np.maximum(means.rows - 1.0, 1.0), means.degrees)
    test = student(means.value, np.sqrt(np.maximum(np.diag(means.covariance), 0.0)), degrees, "Student's t")
    found = []
    for g, group in enumerate(family.groups):
        at = Measure("calibration_gap", family.across, float(means.value[g]), level=family.level, group=group, fair=0.0)
        at = replace(at, confidence=level, rows=int(means.rows[g]), approximate=binned)
        if means.rows[g] < 10:
            found.append(replace(at, status="too_few_rows", note="fewer than 10 rows"))
            continue
        found.append(by_student(replace(at, note="scores binned" if binned else ""), test, g))
    return found


def _by_signs(scores: GroupScores, seed: int) -> tuple[Floats, Floats]:
    """Returns p-values of distances and ranges [groups] from random signs of groups of units.

    Of calibrated scores each unit's path is as likely to go up as down, so the path with signs drawn at random strays
    as far as the one seen.
    """
    entries = scores.entries
    if entries is None:
        raise ValueError("rows are independent")
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1.0, 1.0], size=(DRAWS, GROUPS))
    found = np.full((2, scores.groups), np.nan)
    for g in range(scores.groups):
        inside = entries.group == g
        unit, place, weight = entries.unit[inside], entries.score[inside], entries.weight[inside]
        held = np.unique(unit)
        if len(held) < _LEAST_UNITS:
            continue
        distinct, place = np.unique(place, return_inverse=True)
        s = scores.scores[distinct][place]
        coarse = place * min(len(distinct), _MOST_PLACES) // max(len(distinct), 1)
        steps = np.zeros((GROUPS, int(coarse.max()) + 1))
        np.add.at(steps, (unit, coarse), weight[:, 1] * (1 - s) - weight[:, 0] * s)
        path = np.cumsum(steps, axis=1)
        seen = _strayed(path.sum(0))
        drawn = _strayed(signs[:, held] @ path[held])
        for i in (0, 1):
            found[i, g] = (1 + (drawn[i] >= seen[i] * (1 - 1e-12)).sum()) / (1 + DRAWS)
    return found[0], found[1]
