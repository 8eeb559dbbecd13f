"""Coarser slices from the sums of finer ones: a cross added up over one of its columns, without a row being read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from evalkit.collect import concatenated, slice_sums
from evalkit.errors import DataError, UsageError
from evalkit.results import Evaluation, Plan, key_order
from evalkit.slicing.cubes import RollUp
from evalkit.slicing.spec import Dimension, SliceSet
from evalkit.sums import AnySums, FieldSums, ScoreSums


def rolled_up(evaluation: Evaluation, wanted: Sequence[SliceSet]) -> Evaluation:
    """Returns the evaluation of other slice sets, each made of the fewest slices that tell its dimensions apart.

    Args:
        evaluation: of at least those dimensions.
        wanted: the sets, overall not among them; a dimension without a form stands for the one of that column.

    Raises:
        DataError: rows are in none or several of the finer slices, so that these do not add up.
        UsageError: no set has those dimensions, or slices are suppressed.
    """
    plan = evaluation.plan
    if any(plan.hidden):
        raise UsageError("Suppressed slices cannot be rolled up: the sums of hidden slices are gone.")
    found = [(0, SliceSet()), *(_source(plan, slice_set) for slice_set in wanted)]
    of_sets = [_roll_up(place, plan, source, made) for place, (source, made) in enumerate(found)]
    rows = evaluation.row_counts()
    for source, made in found:
        inside = rows[plan.offsets[source] : plan.offsets[source + 1]]
        if made != plan.slice_sets[source] and inside.sum() != rows[0]:
            raise DataError(f"The slices of {plan.slice_sets[source]} do not hold each row once: they make no {made}.")
    return added_up(evaluation, found, of_sets)


def added_up(evaluation: Evaluation, found: Sequence[tuple[int, SliceSet]], of_sets: Sequence[RollUp]) -> Evaluation:
    """Returns the evaluation of slices that are others added up, without rows.

    Args:
        evaluation: of finer slices.
        found: of each new set the number of the one that it is made of, and what it is.
        of_sets: how the slices of that one add up.
    """
    plan = evaluation.plan
    offsets = [0, *np.cumsum([len(roll_up.keys) for roll_up in of_sets]).tolist()]
    own = [np.arange(plan.offsets[source], plan.offsets[source + 1]) for source, _ in found]
    statistics = {m.statistic.identity: m.statistic for _, m in evaluation.metrics}
    sums: dict[str, AnySums] = {}
    for identity, all_sums in evaluation.sums.items():
        parts = [(all_sums.take(inside), of_set) for inside, of_set in zip(own, of_sets, strict=True)]
        if isinstance(all_sums, FieldSums):
            cells: Any = ((part, [of_set]) for part, of_set in parts)
            sums[identity] = slice_sums(statistics[identity], cells, offsets)
        else:
            sums[identity] = _histograms(parts, offsets)
    made_plan = Plan(tuple(made for _, made in found), tuple(of_set.keys for of_set in of_sets))
    return replace(evaluation, plan=made_plan, sums=sums, rows=None, seconds={})


def _source(plan: Plan, wanted: SliceSet) -> tuple[int, SliceSet]:
    """Returns the number of the set that a wanted one is made of, and the wanted one with that set's dimensions."""
    candidates = []
    for number, slice_set in enumerate(plan.slice_sets):
        own = [next((d for d in slice_set.dimensions if _meant(asked, d)), None) for asked in wanted.dimensions]
        if own and None not in own:
            candidates.append((len(plan.keys[number]), number, SliceSet(tuple(d for d in own if d is not None))))
    if not candidates:
        known = "; ".join(str(slice_set) for slice_set in plan.slice_sets[1:]) or "none"
        raise UsageError(f"{wanted} cannot be made of the slices there are ({known}).")
    _, number, made = min(candidates, key=lambda candidate: candidate[:2])
    return number, made


def _meant(asked: Dimension, dimension: Dimension) -> bool:
    return asked == dimension or (asked.form == "column" and asked.name == dimension.name)


def _roll_up(place: int, plan: Plan, source: int, made: SliceSet) -> RollUp:
    """Returns how the slices of a set add up to those of a coarser one."""
    names = [dimension.name for dimension in made.dimensions]
    coarse = [tuple((name, dict(key)[name]) for name in names) for key in plan.keys[source]]
    keys = tuple(dict.fromkeys(coarse)) if made == plan.slice_sets[source] else tuple(sorted({*coarse}, key=key_order))
    number = {key: k for k, key in enumerate(keys)}
    return RollUp(place, keys, np.array([number[key] for key in coarse], dtype=np.int32))


def _histograms(parts: Sequence[tuple[Any, RollUp]], offsets: Sequence[int]) -> ScoreSums:
    placed: list[ScoreSums] = [
        part.place(of_set.slices.astype(np.int64) + offsets[of_set.slice_set], offsets[-1]) for part, of_set in parts
    ]
    finer = [part.fine for part in placed if part.fine is not None]
    whole = concatenated(placed)
    return replace(whole, fine=concatenated(finer)) if finer else whole
