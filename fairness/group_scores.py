"""The histogram of scores by group and label, from which comes whatever needs no threshold.

>>> import evalkit as ek
>>> from evalkit.fairness.families import families
>>> data = {"y": [1, 0, 1, 0], "p": [0.9, 0.2, 0.4, 0.2], "sex": ["f", "f", "m", "m"]}
>>> evaluation = ek.evaluate(data, label="y", score="p", metrics=["roc_auc"], slices=["sex"]).evaluations[0]
>>> scores = GroupScores.of(evaluation, families(evaluation, ["sex"])[0])
>>> scores.scores.tolist(), scores.weight[:, 1].tolist()
([0.2, 0.4, 0.9], [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evalkit.collect import GROUPS
from evalkit.errors import ConfigError
from evalkit.fairness.families import Family
from evalkit.results import Evaluation
from evalkit.sums import ScoreSums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_MOST_CELLS = 1 << 24


@dataclass(frozen=True)
class Entries:
    """Rows of clustered units: an entry for each group, score and group of units.

    Attributes:
        group: [entries] the group.
        score: [entries] the place of the score.
        unit: [entries] the group of units, under 256.
        weight: [entries, 2] summed weights by label.
    """

    group: NDArray[np.int64]
    score: NDArray[np.int64]
    unit: NDArray[np.int64]
    weight: Floats


@dataclass(frozen=True)
class GroupScores:
    """Scores of the groups of a family, by label, at the distinct scores of all of them.

    Attributes:
        scores: [scores] ascending; bins' middles where scores are binned.
        count: [groups, 2, scores] rows with label 0 and 1.
        weight: [groups, 2, scores] their summed weights.
        square: [groups, 2, scores] their summed squared weights.
        entries: the same rows by groups of units, where rows are clustered.
        binned: whether scores are binned, so that what comes of them is approximate.
    """

    scores: Floats
    count: NDArray[np.int64]
    weight: Floats
    square: Floats
    entries: Entries | None
    binned: bool

    @classmethod
    def of(cls, evaluation: Evaluation, family: Family) -> GroupScores:
        """Returns the histogram of a family's groups.

        Raises:
            ConfigError: no metric of the evaluation reads scores.
        """
        sums = next((s for s in evaluation.sums.values() if isinstance(s, ScoreSums)), None)
        if sums is None:
            raise ConfigError('What needs no threshold needs scores: evaluate a metric of them, such as "roc_auc".')
        return cls.of_sums(sums.take(family.places))

    @classmethod
    def of_sums(cls, sums: ScoreSums) -> GroupScores:
        """Returns the histogram of slices that are groups."""
        distinct = 1 + np.count_nonzero(np.diff(np.sort(sums.keys)))
        if distinct * sums.size > _MOST_CELLS:
            sums = sums.thinner(max(_MOST_CELLS // max(sums.size, 1), 1024))
        margin = sums.ungrouped()
        keys, first = np.unique(margin.keys, return_index=True)
        place = np.searchsorted(keys, margin.keys)

        def laid(values: NDArray[np.generic]) -> NDArray[np.float64]:
            dense = np.zeros((sums.size, 2, len(keys)))
            for label in (0, 1):
                dense[margin.slices, label, place] = values[:, label]
            return dense

        entries = None
        if sums.groups is not None:
            of_keys = np.searchsorted(keys, sums.keys).astype(np.int64)
            entries = Entries(sums.slices.astype(np.int64), of_keys, sums.groups.astype(np.int64), sums.weights)
        weight = laid(margin.weights)
        return cls(
            scores=margin.scores()[first],
            count=(laid(margin.count) if margin.weighted else weight).astype(np.int64),
            weight=weight,
            square=laid(margin.squares) if margin.weighted else weight,
            entries=entries,
            binned=margin.bins is not None,
        )

    @property
    def groups(self) -> int:
        """How many groups there are."""
        return len(self.count)

    def covariance(self, influence: Floats, *, by_label: bool = True) -> Floats:
        """Returns the joint covariance of quantities, from what a row of weight 1 tells of each of them.

        Args:
            influence: [quantities, groups, 2, scores] the gradient of each quantity by `weight`.
            by_label: whether the numbers of positives and negatives of each group are taken as given, as DeLong's
                variance of an AUC does; else only the groups' numbers of rows. Clustered rows are not told apart.

        Returns:
            [quantities, quantities].
        """
        flat = influence.reshape(len(influence), -1)
        if self.entries is not None:
            of_units = self._by_unit(influence)
            held = np.bincount(self.entries.unit, minlength=GROUPS) > 0
            units = int(held.sum())
            centred = np.where(held, of_units - of_units.sum(1, keepdims=True) / max(units, 1), 0.0)
            return centred @ centred.T * units / max(units - 1, 1)
        strata = self.groups * 2 if by_label else self.groups
        sides = flat.reshape(len(flat), strata, -1)
        rows = self.count.reshape(strata, -1).sum(1)
        weight, square = self.weight.reshape(strata, -1), self.square.reshape(strata, -1)
        factor = rows / np.maximum(rows - 1, 1)
        middle = np.einsum("qsk,sk->qs", sides, weight) / np.maximum(rows, 1) ** 0.5
        scaled = sides * np.sqrt(square * factor[:, None])
        whole = scaled.reshape(len(flat), -1)
        return whole @ whole.T - (middle * factor) @ middle.T

    def _by_unit(self, influence: Floats) -> Floats:
        """Sums what rows tell over groups of units, [quantities, 256]."""
        of = self.entries
        if of is None:
            raise ValueError("rows are independent")
        told = (influence[:, of.group, :, of.score] * of.weight[:, None, :]).sum(2)
        columns = [np.bincount(of.unit, weights=column, minlength=GROUPS) for column in told.T]
        return np.stack(columns).astype(np.float64, copy=False)
