"""Two made-up rows in the variance of a difference in cost, for expensive errors that are too rare to have changed.

A paired difference of costs sees only the rows that were decided differently. Where none of the dear ones happened to
be among them, its sample variance knows nothing of them, and a t-test errs in up to a quarter of equal models. So one
row more that would have cost the dearest class's typical amount more, and one that would have cost as much less, are
added to the variance, as 1/2 is added to counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.estimate import Estimate
from evalkit.metric import Metric
from evalkit.money import is_cost
from evalkit.pairing import Pair
from evalkit.sums import AnySums, FieldSums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_OF_CLASS = (("cost_positive", "saved_positive"), ("cost_negative", "saved_negative"))


def made_up_variance(pair: Pair, e: Estimate, sums: AnySums) -> Floats:
    """Returns what the two rows add to the variance of a difference in each slice, [slices]; 0 for other metrics.

    Args:
        pair: the two evaluations.
        e: the candidate's estimate of one metric.
        sums: the candidate's sums that it reads.
    """
    nothing = np.zeros(len(e.value))
    if not is_cost(e.metric) or not isinstance(sums, FieldSums):
        return nothing
    fields = e.metric.statistic.fields
    weight = e.weight / np.maximum(e.rows, 1)
    size = nothing
    for label, names in ((1, _OF_CLASS[0]), (0, _OF_CLASS[1])):
        place = next(fields.index(name) for name in names if name in fields)
        typical = _typical(pair, e.metric, sums, label)
        size = np.fmax(size, np.abs(e.gradient[:, place]) * np.nan_to_num(typical) * weight)
    return 2 * size**2


def _typical(pair: Pair, metric: Metric, sums: FieldSums, label: int) -> Floats:
    """Returns what a row of a class typically costs more or less if decided otherwise, by slice: root mean square."""
    called, passed = ("tp", "fn") if label else ("fp", "tn")
    costs = [metric.parameters[name] for name in (called, passed)]
    cap = metric.parameters.get("cap")
    rows = None if pair.candidate.rows is None else pair.candidate.rows.rows
    if not any(isinstance(cost, str) for cost in costs):
        first, second = (_capped(np.float64(cost), cap) for cost in costs)
        return np.full(len(sums.count), abs(float(first - second)))
    if rows is None or rows.label is None or not pair.members:
        largest = np.zeros(len(sums.count)) if sums.largest is None else sums.largest[:, -1]
        return np.nan_to_num(largest)
    first, second = (_capped(rows.columns[c] if isinstance(c, str) else np.float64(c or 0), cap) for c in costs)
    square = np.where(rows.label == label, (first - second) ** 2, 0.0)
    found = np.zeros(len(sums.count))
    for members in pair.members:
        inside = (members.slices >= 0) & (members.of(rows.label) == label)
        place = members.slices[inside]
        total = np.bincount(place, weights=members.of(square)[inside], minlength=len(found))
        found += total / np.maximum(np.bincount(place, minlength=len(found)), 1)
    return np.sqrt(found)


def _capped(cost: Any, cap: Any) -> Any:
    return cost if cap is None else np.clip(cost, -cap, cap)
