"""Balance for the positive and the negative class: do rows of one label score alike in all groups.

>>> import evalkit as ek
>>> from evalkit.fairness.families import families
>>> data = {"y": [1, 0] * 40, "p": [0.9, 0.2, 0.5, 0.2, 0.7, 0.1, 0.6, 0.3] * 10, "sex": ["f", "f", "m", "m"] * 20}
>>> evaluation = ek.evaluate(data, label="y", score="p", metrics=["roc_auc"], slices=["sex"]).evaluations[0]
>>> found = balance_measures(evaluation, families(evaluation, ["sex"])[0])
>>> [(m.metric, round(m.value, 2), round(m.low, 2), round(m.high, 2)) for m in found if not m.group]
[('balance_positive_class', 0.25, 0.2, 0.3), ('balance_negative_class', 0.1, 0.07, 0.13)]
"""

from __future__ import annotations

from evalkit.fairness.criteria.group_means import GroupMeans
from evalkit.fairness.criteria.mean_measures import mean_measures
from evalkit.fairness.families import Family
from evalkit.fairness.group_scores import GroupScores
from evalkit.fairness.measure import Measure
from evalkit.results import Evaluation
from evalkit.slicing.spec import SliceKey

_NAMES = {1: "balance_positive_class", 0: "balance_negative_class"}


def balance_measures(
    evaluation: Evaluation,
    family: Family,
    *,
    reference: SliceKey | str | None = None,
    level: float = 0.95,
) -> list[Measure]:
    """Returns for each label the largest gap between groups' mean scores, and differences from one group's.

    Bounds of the largest gap hold for all pairs at once. Rows may be weighted or clustered.

    Args:
        evaluation: with a metric of scores, such as `roc_auc`.
        family: the groups.
        reference: the group that others are held against; None: the largest.
        level: the confidence level.

    Source: Kleinberg, Mullainathan and Raghavan (2016), Inherent trade-offs in the fair determination of risk scores.
    """
    scores = GroupScores.of(evaluation, family)
    found = []
    for label, name in _NAMES.items():
        means = GroupMeans.of(scores, label)
        found += mean_measures(name, means, family, reference=reference, level=level, binned=scores.binned)
    return found
