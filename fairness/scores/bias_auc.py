"""AUCs of groups against their background: means of cells of one matrix.

The background of a group is all rows that are not in it. A group that scores too high among negatives has a low BPSN
AUC, one that scores too low among positives a low BNSP AUC; its own AUC sees neither.

Source: Borkan, Dixon, Sorensen, Thain and Vasserman (2019), Nuanced metrics for measuring unintended bias with real
data for text classification; for the pinned AUC Dixon, Li, Sorensen, Thain and Vasserman (2018), Measuring and
mitigating unintended bias in text classification.

>>> import evalkit as ek
>>> from evalkit.fairness.scores.cross_auc import cross_auc
>>> from evalkit.fairness.families import families
>>> data = {"y": [1, 0, 1, 0], "p": [0.9, 0.5, 0.4, 0.2], "sex": ["f", "f", "m", "m"]}
>>> evaluation = ek.evaluate(data, label="y", score="p", metrics=["roc_auc"], slices=["sex"]).evaluations[0]
>>> auc = cross_auc(with_rest(evaluation, families(evaluation, ["sex"])[0]))
>>> bpsn_auc(auc, 0).value, bnsp_auc(auc, 0).value, overall_auc(auc).value
(0.0, 1.0, 0.75)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from evalkit.errors import ConfigError, DataError
from evalkit.fairness.families import Family
from evalkit.fairness.group_scores import Entries, GroupScores
from evalkit.fairness.scores.cross_auc import CrossAuc, MeanAuc
from evalkit.results import Evaluation
from evalkit.sums import ScoreSums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def with_rest(evaluation: Evaluation, family: Family) -> GroupScores:
    """Returns the histogram of a family's groups and, last, of the rows of its level in none of them, if there are any.

    Raises:
        ConfigError: no metric of the evaluation reads scores.
        DataError: a row is in two groups, as where a column holds lists.
    """
    sums = next((s for s in evaluation.sums.values() if isinstance(s, ScoreSums)), None)
    if sums is None:
        raise ConfigError('What needs no threshold needs scores: evaluate a metric of them, such as "roc_auc".')
    scores = GroupScores.of_sums(sums.take(family.with_whole))
    rest = scores.count[0] - scores.count[1:].sum(0)
    if (rest < 0).any():
        raise DataError(
            f'Groups of "{family.across}" share rows, so that no group\'s background is the sum of the others; give a '
            "column with one group in each row, or one column for each group."
        )
    entries = None if scores.entries is None else _entries(scores.entries, len(family.places), bool(rest.any()))
    if not rest.any():
        return replace(
            scores, count=scores.count[1:], weight=scores.weight[1:], square=scores.square[1:], entries=entries
        )

    def last(of: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([of[1:], np.where(rest > 0, of[0] - of[1:].sum(0), 0.0)[None]])

    count = np.concatenate([scores.count[1:], rest[None]])
    return replace(scores, count=count, weight=last(scores.weight), square=last(scores.square), entries=entries)


def _entries(of: Entries, groups: int, rest: bool) -> Entries:
    """Returns the entries of groups and, where there is one, of the rest: the whole's, less the groups'."""
    own = of.group > 0
    group = np.where(own, of.group - 1, groups)
    if not rest:
        return Entries(group[own], of.score[own], of.unit[own], of.weight[own])
    score, unit = (np.concatenate([column, column[own]]) for column in (of.score, of.unit))
    weight = np.concatenate([of.weight, -of.weight[own]])
    return Entries(np.append(group, np.full(int(own.sum()), groups)), score, unit, weight)


def subgroup_auc(auc: CrossAuc, group: int) -> MeanAuc:
    """The AUC within a group: of one of its positives above one of its negatives."""
    return xauc(auc, group, group)


def xauc(auc: CrossAuc, group: int, other: int) -> MeanAuc:
    """The AUC of one group's positives against another's negatives. Source: Kallus and Zhou (2019)."""
    return auc.mean(_sides(auc, 1, group), _sides(auc, 0, other))


def bpsn_auc(auc: CrossAuc, group: int) -> MeanAuc:
    """Background positive, subgroup negative: low where a group's negatives score too high."""
    return auc.mean(_sides(auc, 1) - _sides(auc, 1, group), _sides(auc, 0, group))


def bnsp_auc(auc: CrossAuc, group: int) -> MeanAuc:
    """Background negative, subgroup positive: low where a group's positives score too low."""
    return auc.mean(_sides(auc, 1, group), _sides(auc, 0) - _sides(auc, 0, group))


def overall_auc(auc: CrossAuc) -> MeanAuc:
    """The AUC of all rows."""
    return auc.mean(_sides(auc, 1), _sides(auc, 0))


def shift(auc: CrossAuc, group: int, label: int) -> MeanAuc:
    """One of a group's rows of a label above one of its background's; less 1/2 it is the average equality gap."""
    return auc.mean(_sides(auc, label, group), _sides(auc, label) - _sides(auc, label, group))


def pinned_auc(auc: CrossAuc, group: int) -> MeanAuc:
    """The AUC of all rows together with as many rows drawn of a group: its rows count 1 + rows / its rows.

    It is known to mislead where groups differ in their share of positives: a model without bias has unequal pinned AUCs
    then, and one with bias may have equal ones. Source: Borkan et al. (2019), Limitations of pinned AUC for measuring
    unintended bias.
    """
    own = slice(2 * group, 2 * group + 2)
    whole, part = auc.weight.sum(), auc.weight[own].sum()
    if part <= 0:
        return auc.mean(np.zeros(len(auc.weight)), np.zeros(len(auc.weight)))
    more = np.ones(len(auc.weight))
    more[own] += whole / part
    found = auc.mean(_sides(auc, 1) * more, _sides(auc, 0) * more)
    by_factor = float((found.by_weight[own] / more[own] * auc.weight[own]).sum())
    by_weight = found.by_weight + by_factor / part
    by_weight[own] -= by_factor * whole / part**2
    return found._replace(by_weight=by_weight)


def generalized_mean(of: Sequence[MeanAuc], power: float = -5.0) -> MeanAuc:
    """The power mean of AUCs, which with a power far below 0 is near the lowest: (mean of auc^p)^(1/p).

    Those that are undefined are left out. The lower AUCs of noisy groups pull it down, so it is biased downwards.
    """
    held = [q for q in of if q.value > 0]
    if not held or len(held) < sum(q.value == q.value for q in of):
        zero = [q._replace(value=0.0) for q in of if q.value == 0]
        return zero[0] if zero else MeanAuc(float("nan"), *_nothing(of), 0.0)
    values = np.array([q.value for q in held])
    value = float((values**power).mean() ** (1 / power))
    return _mixed(held, (values / value) ** (power - 1) / len(held), value)


def jigsaw_score(auc: CrossAuc, groups: int, power: float = -5.0) -> MeanAuc:
    """A quarter each of the overall AUC and of the power means of subgroup, BPSN and BNSP AUCs.

    Source: the score of the Jigsaw benchmark on unintended bias in toxicity classification (2019).
    """
    means = [generalized_mean([of(auc, g) for g in range(groups)], power) for of in (subgroup_auc, bpsn_auc, bnsp_auc)]
    parts = [overall_auc(auc), *means]
    return _mixed(parts, np.full(4, 0.25), float(np.mean([part.value for part in parts])))


def _mixed(parts: Sequence[MeanAuc], factors: Floats, value: float) -> MeanAuc:
    cells = sum((f * p.by_cell for f, p in zip(factors, parts, strict=True)), np.zeros_like(parts[0].by_cell))
    weights = sum((f * p.by_weight for f, p in zip(factors, parts, strict=True)), np.zeros_like(parts[0].by_weight))
    return MeanAuc(value, cells, weights, min(p.rarer for p in parts))


def _nothing(of: Sequence[MeanAuc]) -> tuple[Floats, Floats]:
    return (np.zeros_like(of[0].by_cell), np.zeros_like(of[0].by_weight)) if of else (np.zeros((0, 0)), np.zeros(0))


def _sides(auc: CrossAuc, label: int, group: int | None = None) -> Floats:
    """Marks the sides of a label, of one group or all."""
    marked = np.zeros(len(auc.weight))
    marked[label if group is None else 2 * group + label :: 2 if group is None else len(marked)] = 1.0
    return marked
