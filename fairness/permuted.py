"""Whether a metric is alike in all groups, told by shuffling who is in which group among the rows that it reads.

>>> import evalkit as ek
>>> from evalkit.fairness.families import families
>>> data = {"y": [1] * 100, "d": [1] * 30 + [0] * 20 + [1] * 15 + [0] * 35, "sex": ["f"] * 50 + ["m"] * 50}
>>> evaluation = ek.evaluate(data, label="y", prediction="d", metrics=["recall"], slices=["sex"]).evaluations[0]
>>> permuted(evaluation, "recall", families(evaluation, ["sex"])[0], permutations=999) < 0.01
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.errors import InternalError
from evalkit.estimate import estimate, field_values
from evalkit.fairness.families import Family
from evalkit.fairness.statistics.homogeneity import permutation_test, permutation_test_auc
from evalkit.metric import Metric
from evalkit.pairing import Members, RowInfluences, cells_of, members_of
from evalkit.results import Evaluation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_UNLIKE = 1e-6


def permuted(evaluation: Evaluation, name: str, family: Family, *, permutations: int = 999, seed: int = 0) -> float:
    """Returns the p-value of a metric being alike in all known groups of a family, by permutation.

    Groups are shuffled within the metric's denominator: among the negatives for a false positive rate, within either
    class for an AUC, so that groups of unequal base rates are not taken for unequal treatment. Rows of one unit stay
    together. NaN for metrics that are no rate, mean or AUC, for groups that share rows, and where rows were not kept.

    Args:
        evaluation: it holds the metric, and rows.
        name: the metric's name in it.
        family: the groups.
        permutations: how many.
        seed: fixes them.
    """
    if evaluation.rows is None or not _disjoint(evaluation, family):
        return float("nan")
    metric = dict(evaluation.metrics)[name]
    rows, groups = _groups(evaluation, family)
    shared: dict[str, Any] = {"permutations": permutations, "seed": seed}
    units = _units(evaluation)
    kept = evaluation.rows.rows
    if metric.name_of_function in ("roc_auc", "gini"):
        if kept.weight is not None or kept.score is None or kept.label is None:
            return float("nan")
        of_units = None if units is None else units[rows]
        return float(permutation_test_auc(kept.score[rows], kept.label[rows], groups, units=of_units, **shared).p_value)
    found = _values(evaluation, metric, family, rows)
    if found is None:
        return float("nan")
    values, read = found
    if not _means(evaluation, metric, family, values, read, rows, groups):
        return float("nan")
    return float(
        permutation_test(
            values[read],
            groups[read],
            units=None if units is None else units[rows][read],
            weights=None if kept.weight is None else kept.weight[rows][read],
            **shared,
        ).p_value
    )


def _disjoint(evaluation: Evaluation, family: Family) -> bool:
    rows = evaluation.row_counts()
    return bool(rows[family.places].sum() <= rows[family.whole])


def _groups(evaluation: Evaluation, family: Family) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the rows of the known groups, and the group of each."""
    number = np.full(len(evaluation.plan.slices) + 1, -1)
    number[family.places] = np.where(family.unknown, -1, np.arange(len(family.places)))
    for members in members_of(evaluation):
        of = number[members.slices]
        inside = np.flatnonzero(of >= 0)
        if len(inside):
            return (inside if members.rows is None else members.rows[inside]), of[inside]
    return np.zeros(0, np.int64), np.zeros(0, np.int64)


def _units(evaluation: Evaluation) -> NDArray[np.int64] | None:
    """Returns the unit of each row as a number; of rows that were read from a folder their groups of units."""
    column = evaluation.settings.columns.unit
    if column is None or evaluation.rows is None:
        return None
    if column in evaluation.rows.frame.columns:
        return evaluation.rows.frame[column].rank("dense").to_numpy().astype(np.int64)
    group = evaluation.rows.rows.group
    return None if group is None else group.astype(np.int64)


def _values(
    evaluation: Evaluation, metric: Metric, family: Family, rows: NDArray[np.int64]
) -> tuple[Floats, NDArray[np.bool_]] | None:
    """Returns what each row adds to a mean, and which rows it is of; None for what is no rate and no mean."""
    if metric.statistic.form == "cells" and metric.kind == "wilson":
        width = len(metric.statistic.cell_names)
        alone = field_values([metric], np.eye(width), np.ones(width))[0]
        hit, read = np.nan_to_num(alone), np.isfinite(alone)
        cell = cells_of(evaluation, metric)[rows]
        return hit[cell], read[cell]
    if metric.statistic.form == "sums":
        sums = evaluation.sums[metric.statistic.identity]
        [e] = estimate([metric], sums)
        members = Members(np.full(len(rows), family.whole), rows)
        told = RowInfluences(evaluation, metric.statistic, sums).at(members)(e.gradient) * e.weight[family.whole]
        weight = None if evaluation.rows is None else evaluation.rows.rows.weight
        values = (
            told if weight is None else np.divide(told, weight[rows], out=np.zeros_like(told), where=weight[rows] > 0)
        )
        return values, np.ones(len(rows), dtype=bool)
    return None


def _means(
    evaluation: Evaluation,
    metric: Metric,
    family: Family,
    values: Floats,
    read: NDArray[np.bool_],
    rows: NDArray[np.int64],
    groups: NDArray[np.int64],
) -> bool:
    """Returns whether the groups' differences in the metric are those of the values' means."""
    if evaluation.rows is None:
        raise InternalError("no rows are kept")
    weight = evaluation.rows.rows.weight
    amount = read.astype(np.float64) if weight is None else weight[rows] * read
    [e] = estimate([metric], evaluation.sums[metric.statistic.identity])
    size = len(family.places)
    with np.errstate(invalid="ignore"):
        means = np.bincount(groups, amount * values, size) / np.bincount(groups, amount, size)
        apart = np.ptp((means - e.value[family.places])[np.isfinite(means) & np.isfinite(e.value[family.places])])
    return bool(apart <= _UNLIKE * max(1.0, float(np.nanmax(np.abs(e.value[family.places])))))
