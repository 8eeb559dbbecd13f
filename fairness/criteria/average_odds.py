"""Average odds: half the sum of the differences of recall and false positive rate from a reference group.

>>> import evalkit as ek
>>> from evalkit.fairness.families import families
>>> data = {"y": [1, 0, 1, 0] * 20, "h": [1, 0, 0, 0, 1, 1, 1, 0] * 10, "sex": ["f", "f", "m", "m"] * 20}
>>> evaluation = ek.evaluate(data, label="y", prediction="h", metrics=["recall"], slices=["sex"]).evaluations[0]
>>> [found] = average_odds_measures(evaluation, families(evaluation, ["sex"])[0], reference="sex=m")
>>> found.value, round(found.low, 2), round(found.high, 2)
(0.5, 0.32, 0.64)
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from evalkit.combined import combined
from evalkit.contrast import tail
from evalkit.fairness.criteria.group_cells import GroupCells
from evalkit.fairness.families import Family
from evalkit.fairness.measure import Measure
from evalkit.fairness.reference import reference_place
from evalkit.results import Evaluation
from evalkit.slicing.spec import SliceKey

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_FACTORS = np.array([0.5, 0.5, -0.5, -0.5])


def average_odds_measures(
    evaluation: Evaluation,
    family: Family,
    *,
    reference: SliceKey | str | None = None,
    threshold: float | None = None,
    level: float = 0.95,
) -> list[Measure]:
    """Returns ((recall + false positive rate) of each group - those of the reference) / 2.

    Differences of opposite signs cancel: 0 is no proof of equalized odds. Positives and negatives are different rows,
    so the four rates are independent and their Wilson intervals are combined; where rows are clustered their
    correlations are taken in. Undefined where a group, or the reference, lacks positives or negatives.

    Args:
        evaluation: with a metric of decisions, such as `recall@0.5`.
        family: the groups.
        reference: the group that others are held against; None: the largest.
        threshold: which decisions, where several were evaluated.
        level: the confidence level.

    Source: Bellamy et al. (2018), AI Fairness 360, average_odds_difference; Zou and Donner (2008).
    """
    cells = GroupCells.of(evaluation, family.places, threshold)
    base = reference_place(family, reference, rows=cells.rows)
    rates = cells.estimates("recall", "false_positive_rate")
    value = np.stack([e.value for e in rates], axis=1)
    sides = [cells.ends(e, level) for e in rates]
    low, high = (np.stack(side, axis=1) for side in zip(*sides, strict=True))
    groups = len(family.groups)
    slope = np.zeros((groups, 2, groups, 4))
    for i, e in enumerate(rates):
        slope[np.arange(groups), i, np.arange(groups)] = e.gradient
    joint = cells.covariance(slope.reshape(2 * groups, groups, 4))
    found = []
    for g in range(groups):
        if g == base:
            continue
        four = np.array([2 * g, 2 * g + 1, 2 * base, 2 * base + 1])
        own = joint[np.ix_(four, four)]
        pair = np.array([g, base])
        parts = [a[pair].ravel() for a in (value, low, high)]
        of = combined(parts[0], parts[1], parts[2], _FACTORS, own)
        error = float(np.sqrt(max(_FACTORS @ own @ _FACTORS, 0.0)))
        at = Measure("average_odds_difference", family.across, float(of.value), float(of.low), float(of.high))
        at = replace(at, level=family.level, group=family.groups[g], reference=family.groups[base], confidence=level)
        p_value = _p_value(float(of.value), error, cells.degrees)
        positives, negatives = cells.count[pair][:, [2, 3]].sum(1), cells.count[pair][:, [0, 1]].sum(1)
        support = int(min(positives.min(), negatives.min()))
        at = replace(at, rows=int(cells.rows[pair].sum()), support=support, fair=0.0, p_value=p_value)
        note = "" if np.isfinite(of.value) else "a group lacks positives or negatives"
        found.append(replace(at, method="MOVER of Wilson intervals", note=note))
    return found


def _p_value(value: float, error: float, degrees: float) -> float:
    """Two-sided; NaN without variation, which is no evidence."""
    if not error > 0 or not np.isfinite(value):
        return float("nan")
    return float(2 * tail(np.array(abs(value) / error), np.array(degrees)))
