"""Lift: how much higher a group scores than the background with the same labels, as TensorFlow Model Analysis has it.

>>> lift([1, 0, 0], [0.9, 0.4, 0.2], [1, 0, 0], [0.7, 0.1, 0.3], buckets=2)
0.1333333333333334
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from evalkit.contrast import student
from evalkit.errors import ConfigError, DataError
from evalkit.fairness.criteria.group_means import degrees_of, sampling_covariance
from evalkit.fairness.criteria.mean_measures import by_student
from evalkit.fairness.families import Family
from evalkit.fairness.group_scores import GroupScores
from evalkit.fairness.measure import Measure
from evalkit.results import Evaluation

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

Background = Literal["all", "rest"]
_FEWEST = 10


def lift(
    label: ArrayLike,
    prediction: ArrayLike,
    background_label: ArrayLike,
    background_prediction: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    background_weight: ArrayLike | None = None,
    buckets: int = 23,
    left: float = 0.0,
    right: float = 1.0,
    ignore_out_of_bound_examples: bool = False,
) -> float:
    """Returns the group's mean prediction minus the background's, once the background has the group's labels.

    Labels fall into equally wide buckets of [left, right), and into one below and one above; with n_b the group's
    weight in bucket b, m_b its mean prediction and k_b the background's: sum n_b (m_b - k_b) / sum n_b.

    Args:
        label: [rows] labels of the group.
        prediction: [rows] its predictions.
        background_label: [background rows] labels.
        background_prediction: [background rows] predictions.
        weight: [rows] weights.
        background_weight: [background rows] weights.
        buckets: how many; of labels 0 and 1 any number tells them apart.
        left: where the first bucket begins.
        right: where the last one ends; itself outside.
        ignore_out_of_bound_examples: leave out rows whose label is not in [left, right). Of labels 0 and 1 that leaves
            out the positives, since 1 is outside [0, 1).

    NaN without rows, or where the background has none in a bucket of the group's (there TensorFlow Model Analysis takes
    the background's prediction as 0).

    Source: TensorFlow Model Analysis, addons/fairness/metrics/lift.py.
    """
    if buckets < 1 or not left < right:
        raise ConfigError(f"Buckets must be at least 1 of [left, right), not {buckets!r} of [{left!r}, {right!r}).")
    grid = (buckets, left, right)
    n, total = _by_bucket(label, prediction, weight, grid)
    background, of_background = _by_bucket(background_label, background_prediction, background_weight, grid)
    kept = n > 0
    if ignore_out_of_bound_examples:
        kept[[0, -1]] = False
    if not kept.any() or (background[kept] == 0).any():
        return float("nan")
    expected = n[kept] * of_background[kept] / background[kept]
    return float((total[kept] - expected).sum() / n[kept].sum())


def _by_bucket(label: Any, prediction: Any, weight: Any, grid: tuple[int, float, float]) -> tuple[Floats, Floats]:
    """Returns summed weights, and weighted predictions, by bucket: [buckets + 2]."""
    y, p = np.asarray(label, np.float64), np.asarray(prediction, np.float64)
    w = np.ones(len(y)) if weight is None else np.asarray(weight, np.float64)
    if not len(y) == len(p) == len(w):
        raise DataError(f"There are {len(y):,} labels, {len(p):,} predictions and {len(w):,} weights.")
    buckets, left, right = grid
    place = np.clip(np.trunc((y - left) / (right - left) * buckets + 1), 0, buckets + 1).astype(np.int64)
    sums = np.stack([np.bincount(place, weights=of, minlength=buckets + 2) for of in (w, w * p)])
    return sums[0].astype(np.float64), sums[1].astype(np.float64)


def lift_measures(
    evaluation: Evaluation,
    family: Family,
    *,
    background: Background = "all",
    ignore_out_of_bound_examples: bool = False,
    level: float = 0.95,
) -> list[Measure]:
    """Returns each group's lift over the background, with intervals by the joint covariance of both.

    Args:
        evaluation: with a metric of scores, such as `roc_auc`.
        family: groups that hold each row of their level once.
        background: `all` rows of the level, the group's own among them, or the `rest` of them.
        ignore_out_of_bound_examples: as in `lift`: of negatives alone.
        level: the confidence level.

    Raises:
        ConfigError: groups overlap or leave rows out, so that they do not add up to the background.
    """
    if background not in ("all", "rest"):
        raise ConfigError(f'background must be "all" or "rest", not {background!r}.')
    counts = evaluation.row_counts()
    if counts[family.places].sum() != counts[family.whole]:
        raise ConfigError(f'Groups by "{family.across}" do not hold every row once: they do not make up a background.')
    scores = GroupScores.of(evaluation, family)
    labels = [0] if ignore_out_of_bound_examples else [0, 1]
    values, influence = _lifts(scores, labels, background)
    variance = np.diag(sampling_covariance(scores, influence))
    rows = scores.count[:, labels].sum((1, 2))
    degrees = np.minimum(np.maximum(rows - 1.0, 1.0), degrees_of(scores))
    test = student(values, np.sqrt(np.maximum(variance, 0.0)), degrees, "Student's t")
    name = f"lift@background={background}" + (",ignore_out_of_bound_examples=true" if len(labels) == 1 else "")
    found = []
    for g, group in enumerate(family.groups):
        at = Measure(name, family.across, float(values[g]), level=family.level, group=group, fair=0.0)
        at = replace(at, confidence=level, rows=int(rows[g]), approximate=scores.binned)
        if rows[g] < _FEWEST:
            found.append(replace(at, status="too_few_rows", note=f"fewer than {_FEWEST} rows"))
            continue
        found.append(by_student(replace(at, note="scores binned" if scores.binned else ""), test, g))
    return found


def _lifts(scores: GroupScores, labels: list[int], background: Background) -> tuple[Floats, Floats]:
    """Returns lifts [groups] and their gradients [groups, groups, 2, scores]."""
    groups, x = scores.groups, scores.scores
    values = np.full(groups, np.nan)
    influence = np.zeros((groups, *scores.weight.shape))
    for g in range(groups):
        inside = np.ones(groups, dtype=bool)
        inside[g] = background == "all"
        n, own = scores.weight[g, labels].sum(-1), (scores.weight[g, labels] * x).sum(-1)
        other = scores.weight[inside][:, labels].sum(0)
        weight, total = other.sum(-1), (other * x).sum(-1)
        if n.sum() == 0 or ((n > 0) & (weight == 0)).any():
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            mean, expected = np.nan_to_num(own / n), np.nan_to_num(total / weight)
        share = n / n.sum()
        values[g] = (share * (mean - expected)).sum()
        of_group = (x[None, :] - expected[:, None] - values[g]) / n.sum()
        of_background = -share[:, None] * (x[None, :] - expected[:, None]) / np.where(weight > 0, weight, 1)[:, None]
        for i, label in enumerate(labels):
            influence[g, inside, label] += of_background[i]
            influence[g, g, label] += of_group[i]
    return values, influence
