"""Treatment equality: false negatives for each false positive, group by group.

>>> found = error_ratio([20.0, 10.0], [10.0, 0.0])
>>> found.value.tolist(), round(float(found.low[0]), 2), round(float(found.high[0]), 2)
([2.0, nan], 0.93, 4.11)
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from evalkit.combined import Combined, combined
from evalkit.contrast import tail
from evalkit.fairness.criteria.group_cells import FN, FP, GroupCells, half_rows
from evalkit.fairness.families import Family
from evalkit.fairness.measure import Measure
from evalkit.fairness.reference import reference_place
from evalkit.interval import critical
from evalkit.results import Evaluation
from evalkit.slicing.spec import SliceKey

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

_NO_FALSE_POSITIVES = "no false positives: the ratio is undefined"


def error_ratio(false_negatives: ArrayLike, false_positives: ArrayLike, *, level: float = 0.95) -> Combined:
    """Returns false negatives / false positives, with an interval on the log scale.

    Args:
        false_negatives: [...] counts.
        false_positives: [...] counts; 0 makes the ratio undefined, NaN.
        level: the confidence level.

    With half a row more in each, log(fn / fp) has the variance 1 / fn + 1 / fp.

    Source: Berk et al. (2021), Fairness in criminal justice risk assessments; Gart (1966).
    """
    fn, fp = np.broadcast_arrays(np.asarray(false_negatives, np.float64), np.asarray(false_positives, np.float64))
    middle, error = np.log((fn + 0.5) / (fp + 0.5)), np.sqrt(1 / (fn + 0.5) + 1 / (fp + 0.5))
    return _around(fn, fp, middle, critical(level) * error)


def _around(fn: Floats, fp: Floats, middle: Floats, reach: Floats) -> Combined:
    value = np.divide(fn, fp, out=np.full(fn.shape, np.nan), where=fp > 0)
    low, high = np.exp(middle - reach), np.exp(middle + reach)
    return Combined(value, np.minimum(np.where(fp > 0, low, np.nan), value), np.maximum(high, value))


def treatment_equality_measures(
    evaluation: Evaluation,
    family: Family,
    *,
    reference: SliceKey | str | None = None,
    threshold: float | None = None,
    level: float = 0.95,
) -> list[Measure]:
    """Returns each group's ratio of false negatives to false positives, and its ratio to and difference from another's.

    Rows may be weighted or clustered. A group without false positives has no ratio: the value is NaN and a note says
    so.

    Args:
        evaluation: with a metric of decisions, such as `recall@0.5`.
        family: the groups.
        reference: the group that others are held against; None: the largest.
        threshold: which decisions, where several were evaluated.
        level: the confidence level.
    """
    cells = GroupCells.of(evaluation, family.places, threshold)
    base = reference_place(family, reference, rows=cells.rows)
    half = half_rows(cells)
    fn, fp = cells.weight[:, FN], cells.weight[:, FP]
    own = np.arange(len(family.groups))
    slope = np.zeros((len(own), len(own), 4))
    slope[own, own, FN], slope[own, own, FP] = 1 / (fn + half), -1 / (fp + half)
    joint = cells.smooth_covariance(slope, half)
    middle = np.log((fn + half) / (fp + half))
    z = critical(level, cells.degrees)
    ratio = _around(fn, fp, middle, z * np.sqrt(np.maximum(np.diag(joint), 0.0)))
    found = []
    for g, group in enumerate(family.groups):
        at = Measure("error_ratio", family.across, float(ratio.value[g]), level=family.level, group=group)
        at = replace(at, confidence=level, rows=int(cells.rows[g]), support=int(cells.count[g, [FN, FP]].sum()))
        note = "" if fp[g] > 0 else _NO_FALSE_POSITIVES
        found.append(replace(at, low=float(ratio.low[g]), high=float(ratio.high[g]), method="log", note=note))
        if g == base:
            continue
        pair = np.array([g, base])
        error = float(np.sqrt(max(np.array([1, -1]) @ joint[np.ix_(pair, pair)] @ np.array([1, -1]), 0.0)))
        of = Combined(ratio.value[pair], ratio.low[pair], ratio.high[pair])
        at = replace(at, reference=family.groups[base], note=_undefined(fp, g, base))
        found += _versus(at, of, middle[g] - middle[base], error, joint[np.ix_(pair, pair)], cells.degrees)
    return found


def _undefined(fp: Floats, group: int, base: int) -> str:
    if not fp[group] > 0:
        return _NO_FALSE_POSITIVES
    return "" if fp[base] > 0 else "no false positives in the reference: the ratio is undefined"


def _versus(at: Measure, of: Combined, apart: float, error: float, covariance: Floats, degrees: float) -> list[Measure]:
    """Returns the ratio and the difference of a group's ratio and the reference's."""
    z = float(critical(at.confidence, degrees))
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = float(of.value[0] / of.value[1]) if of.value[1] > 0 else float("nan")
    if np.isfinite(of.value).all() and np.isnan(quotient):
        at = replace(at, note="no false negatives in the reference: the ratio to it is undefined")
    defined = np.isfinite(of.value).all() and error > 0
    p_value = float(2 * tail(np.array(abs(apart) / error), np.array(degrees))) if defined else float("nan")
    ends = np.exp(apart + z * error * np.array([-1, 1])) if np.isfinite(quotient) else np.full(2, np.nan)
    gap = combined(of.value, of.low, of.high, [1, -1], covariance)
    ratio = replace(
        at,
        metric="treatment_equality_ratio",
        value=quotient,
        low=float(np.minimum(ends[0], quotient)),
        high=float(np.maximum(ends[1], quotient)),
        method="log",
        p_value=p_value,
        fair=1.0,
    )
    difference = replace(
        at,
        metric="treatment_equality_difference",
        value=float(gap.value),
        low=float(gap.low),
        high=float(gap.high),
        method="MOVER of log intervals",
        p_value=p_value,
        fair=0.0,
        note=_both(of, at.note),
    )
    return [ratio, difference]


def _both(of: Combined, note: str) -> str:
    return "" if np.isfinite(of.value).all() else note
