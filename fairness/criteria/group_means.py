"""Mean scores of groups, of all rows or of one label, with their joint covariance.

>>> import evalkit as ek
>>> from evalkit.fairness.families import families
>>> data = {"y": [1, 0, 1, 0], "p": [0.9, 0.2, 0.4, 0.2], "sex": ["f", "f", "m", "m"]}
>>> evaluation = ek.evaluate(data, label="y", score="p", metrics=["roc_auc"], slices=["sex"]).evaluations[0]
>>> GroupMeans.of(GroupScores.of(evaluation, families(evaluation, ["sex"])[0]), label=1).value.tolist()
[0.9, 0.4]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evalkit.collect import GROUPS
from evalkit.fairness.group_scores import GroupScores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class GroupMeans:
    """A mean of each group.

    Attributes:
        value: [groups]; NaN without rows.
        covariance: [groups, groups].
        rows: [groups] rows that it is a mean of.
        degrees: degrees of freedom: groups of units less 1; infinite where rows are independent.
    """

    value: Floats
    covariance: Floats
    rows: NDArray[np.int64]
    degrees: float

    @classmethod
    def of(cls, scores: GroupScores, label: int | None = None) -> GroupMeans:
        """Returns the mean score of each group's rows, or of those with a label."""
        told = np.zeros((scores.groups, 2, len(scores.scores)))
        told[:, [0, 1] if label is None else [label]] = scores.scores
        read = np.zeros((2, 1))
        read[[0, 1] if label is None else [label]] = 1
        return cls.of_values(scores, told, read)

    @classmethod
    def of_values(cls, scores: GroupScores, told: Floats, read: Floats) -> GroupMeans:
        """Returns the means of any value of label and score.

        Args:
            scores: the groups.
            told: [groups, 2, scores] the value of a row.
            read: [2, 1 or scores], or with groups first, 1 where rows belong to the mean.
        """
        mask = np.broadcast_to(read, scores.weight.shape)
        weight = scores.weight * mask
        total = weight.sum((1, 2))
        value = np.divide((weight * told).sum((1, 2)), total, out=np.full(scores.groups, np.nan), where=total > 0)
        slope = np.divide(told - value[:, None, None], total[:, None, None], out=np.zeros_like(told), where=mask > 0)
        influence = np.zeros((scores.groups, *scores.weight.shape))
        own = np.arange(scores.groups)
        influence[own, own] = np.nan_to_num(slope)
        rows = (scores.count * (mask > 0)).sum((1, 2))
        return cls(value, _corrected(scores, influence, rows), rows, degrees_of(scores))


def _corrected(scores: GroupScores, influence: Floats, rows: NDArray[np.int64]) -> Floats:
    joint = sampling_covariance(scores, influence)
    if scores.entries is not None:
        return joint
    scale = np.sqrt(rows / np.maximum(rows - 1, 1))
    return joint * np.outer(scale, scale)


def sampling_covariance(scores: GroupScores, influence: Floats) -> Floats:
    """Returns the joint covariance of quantities where rows of all groups and labels are drawn together.

    Unlike `GroupScores.covariance`, sizes of groups and numbers of positives are random too.

    Args:
        scores: the groups.
        influence: [quantities, groups, 2, scores] gradients of quantities that do not change when all weights double.
    """
    if scores.entries is not None:
        return scores.covariance(influence)
    flat = influence.reshape(len(influence), -1) * np.sqrt(scores.square.reshape(-1))
    return flat @ flat.T


def degrees_of(scores: GroupScores) -> float:
    """Returns the degrees of freedom of covariances: groups of units less 1; infinite where rows are independent."""
    if scores.entries is None:
        return float("inf")
    return float(max((np.bincount(scores.entries.unit, minlength=GROUPS) > 0).sum() - 1, 1))
