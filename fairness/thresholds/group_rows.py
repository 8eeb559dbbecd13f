"""The rows of a family's groups, and their histogram: what is split when thresholds are judged on other rows.

>>> import numpy as np
>>> rows = GroupRows(np.array([0.2, 0.7, 0.7]), np.array([0, 1, 1]), np.array([0, 0, 1]), 2)
>>> rows.scores().count.tolist()
[[[1, 0], [0, 1]], [[0, 0], [0, 1]]]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.errors import DataError, UsageError
from evalkit.fairness.families import Family
from evalkit.fairness.group_scores import Entries, GroupScores
from evalkit.hashing import hash64, mix
from evalkit.pairing import members_of
from evalkit.results import Evaluation
from evalkit.rows import units

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class GroupRows:
    """Rows with a group, [rows] each.

    Attributes:
        score: in its own dtype.
        label: 0 and 1.
        group: from 0 on.
        groups: how many there are.
        weight: None: 1 each.
        unit: group of units, under 256, where rows are clustered.
        key: a hash that rows of a unit share, by which they are split; None: of the row's number.
    """

    score: NDArray[np.floating]
    label: NDArray[np.integer]
    group: NDArray[np.integer]
    groups: int
    weight: Floats | None = None
    unit: NDArray[np.integer] | None = None
    key: NDArray[np.uint64] | None = None

    @classmethod
    def of(cls, evaluation: Evaluation, family: Family) -> GroupRows:
        """Returns the rows of a family's groups.

        Raises:
            UsageError: the evaluation keeps no rows, or has no scores.
        """
        if evaluation.rows is None:
            raise UsageError(
                "Thresholds are judged on other rows than they are chosen on, but no rows are kept: evaluate the data "
                'at once with keep_rows="always", without suppress_below.'
            )
        if not len(family.places):
            raise DataError(f"There are no groups of {family.across} here.")
        rows, settings = evaluation.rows.rows, evaluation.settings
        if rows.score is None or rows.label is None:
            raise UsageError("Thresholds need scores and labels: evaluate with label= and score=.")
        group_of = np.full(len(evaluation.plan.slices) + 1, -1)
        group_of[family.places] = np.arange(len(family.places))
        offsets = evaluation.plan.offsets
        number = int(np.searchsorted(offsets, family.places[0], side="right")) - 1
        members = members_of(evaluation)[number]
        group = group_of[members.slices]
        kept = np.flatnonzero(group >= 0)
        place = kept if members.rows is None else members.rows[kept]
        named = settings.columns.unit or settings.columns.id
        key = hash64(np.arange(rows.n)) if named is None else hash64(units(evaluation.rows.frame[named]))

        def taken(values: Any) -> Any:
            return None if values is None else np.asarray(values)[place]

        return cls(
            score=taken(rows.score),
            label=taken(rows.label),
            group=group[kept],
            groups=len(family.places),
            weight=taken(rows.weight),
            unit=taken(rows.group) if settings.clustered else None,
            key=taken(key),
        )

    def halves(self, seed: int) -> tuple[GroupRows, GroupRows]:
        """Returns two parts of the rows, by a hash of the seed and what identifies a row, or its unit."""
        key = hash64(np.arange(len(self.score))) if self.key is None else self.key
        second = half_of(key, seed)
        return self.take(~second), self.take(second)

    def take(self, chosen: NDArray[np.bool_]) -> GroupRows:
        """Returns some of the rows."""

        def of(values: Any) -> Any:
            return None if values is None else values[chosen]

        return GroupRows(
            self.score[chosen],
            self.label[chosen],
            self.group[chosen],
            self.groups,
            of(self.weight),
            of(self.unit),
            of(self.key),
        )

    def scores(self) -> GroupScores:
        """Returns the exact histogram of the rows."""
        values, place = np.unique(self.score, return_inverse=True)
        shape = (self.groups, 2, len(values))
        cell = (self.group.astype(np.int64) * 2 + self.label) * len(values) + place
        size = int(np.prod(shape))
        weight = np.ones(len(place)) if self.weight is None else self.weight

        def summed(amount: Floats) -> Floats:
            return np.bincount(cell, weights=amount, minlength=size).reshape(shape).astype(np.float64)

        entries = None
        if self.unit is not None:
            of_labels = np.stack([weight * (self.label == k) for k in (0, 1)], axis=1)
            entries = Entries(
                self.group.astype(np.int64), place.astype(np.int64), self.unit.astype(np.int64), of_labels
            )
        return GroupScores(
            scores=values.astype(np.float64),
            count=np.bincount(cell, minlength=size).reshape(shape),
            weight=summed(weight),
            square=summed(weight**2),
            entries=entries,
            binned=False,
        )


def half_of(key: NDArray[np.uint64], seed: int) -> NDArray[np.bool_]:
    """Returns which rows are in the second half, by their keys' hash with the seed, [rows]."""
    mixed = mix(key + mix(np.array([seed], dtype=np.int64).view(np.uint64)))
    result: NDArray[np.bool_] = mixed % np.uint64(2) == 1
    return result
