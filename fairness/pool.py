"""Groups of few rows as one group, so that something can be said of them together.

>>> import evalkit as ek
>>> data = {"y": [1, 0] * 6, "d": [1, 0, 0] * 4, "g": ["a"] * 9 + ["b", "c", "c"]}
>>> result = ek.evaluate(data, label="y", prediction="d", metrics=["accuracy"], slices=["g"])
>>> pooled(result, ["g"], below=3).slices
['overall', 'g=a', 'g=other']
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from evalkit.errors import ConfigError
from evalkit.fairness.families import control_set, families
from evalkit.results import Evaluation, Result
from evalkit.roll_up import added_up
from evalkit.slicing.cubes import RollUp
from evalkit.slicing.spec import OTHER, SliceKey


def pooled(result: Result, protected: Any, below: int, control: Any = ()) -> Result:
    """Returns the result with the groups of fewer rows of each attribute pooled into one, named `other`.

    Which groups those are is told by all rows, so they are the same in every level of the control features; groups of
    unknown members stay apart. Rows are not kept.

    Args:
        result: with slices by the attributes, and crossed with the control features.
        protected: attributes, and lists of them for crosses.
        below: groups with fewer rows are pooled.
        control: features that groups are compared within.

    Raises:
        ConfigError: `below` is under 0, or a list puts rows in several groups.
    """
    if below < 0:
        raise ConfigError(f"pool_below is a number of rows of at least 0, not {below!r}.")
    made = [_pooled(evaluation, protected, below, control) for evaluation in result.evaluations]
    return Result(made) if any(new is not old for new, old in zip(made, result.evaluations, strict=True)) else result


def _pooled(evaluation: Evaluation, protected: Any, below: int, control: Any) -> Evaluation:
    rows = evaluation.row_counts()
    small: dict[tuple[str, ...], set[SliceKey]] = {}
    for family in families(evaluation, protected):
        few = {
            key
            for key, count, unknown in zip(family.groups, rows[family.places], family.unknown, strict=True)
            if count < below and not unknown
        }
        if len(few) > 1 and rows[family.places].sum() > rows[0]:
            raise ConfigError(f"Groups of {family.across} share rows, so small ones are not pooled: pool_below=0.")
        if len(few) > 1:
            small[tuple(family.across.split(","))] = few
    if not small:
        return evaluation
    levels = control_set(control)
    width = 0 if levels is None else len(levels.dimensions)
    plan = evaluation.plan
    found, of_sets = [], []
    for number, (slice_set, keys) in enumerate(zip(plan.slice_sets, plan.keys, strict=True)):
        names = tuple(d.name for d in slice_set.dimensions)
        skipped = 0 if names in small else width
        few = small.get(names[skipped:], set())
        renamed = [_renamed(key, skipped, few) for key in keys]
        distinct = tuple(dict.fromkeys([key for key, old in zip(renamed, keys, strict=True) if key == old] + renamed))
        place = {key: index for index, key in enumerate(distinct)}
        found.append((number, slice_set))
        of_sets.append(RollUp(number, distinct, np.array([place[key] for key in renamed], dtype=np.int32)))
    return replace(added_up(evaluation, found, of_sets), source=evaluation.source)


def _renamed(key: SliceKey, skipped: int, few: set[SliceKey]) -> SliceKey:
    """Returns a slice, its pairs of attributes `other` where its group is pooled."""
    if key[skipped:] not in few:
        return key
    return (*key[:skipped], *((name, OTHER) for name, _ in key[skipped:]))
