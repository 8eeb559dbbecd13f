"""Groups that are known as probabilities alone: a column for each group says how likely a row belongs to it.

Each row counts in every group with its probability as weight. That is right where, given the probabilities, outcomes do
not depend on the true group; else groups look more alike, or less, than they are (Chen et al., 2019). Groups share
rows, so rows are clustered by `unit`, or else each by itself, and covariances come of groups of units.

>>> data = {"y": [1, 0, 1, 0] * 20, "d": [1, 0, 0, 0] * 20, "p_a": [0.9, 0.2] * 40, "p_b": [0.1, 0.8] * 40}
>>> found = with_membership(data, {"g": {"a": "p_a", "b": "p_b"}}, label="y", prediction="d", metrics=["accuracy"])
>>> found.slices, [round(v, 2) for v in found.to_polars()["value"]]
(['overall', 'g=a', 'g=b'], [0.75, 0.59, 0.94])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from evalkit.errors import ConfigError, DataError
from evalkit.evaluate import evaluate
from evalkit.results import Evaluation, Plan, Result
from evalkit.slicing.spec import Dimension, SliceKey, SliceSet
from evalkit.sums import AnySums, FieldSums, ScoreSums
from evalkit.table import read

Membership = Mapping[str, Mapping[str, str]]
_UNIT, _WEIGHT = "_row_of_membership", "_weight_of_membership"


def with_membership(
    data: Any,
    membership: Membership,
    *,
    control: SliceSet | None = None,
    slices: Sequence[SliceSet] = (),
    weight: str | None = None,
    unit: str | None = None,
    **asked: Any,
) -> Result:
    """Returns an evaluation whose slices by these attributes are weighted by probabilities.

    Args:
        data: as `ek.evaluate` takes it; it is read into memory.
        membership: by attribute, the groups and the column of each one's probability.
        control: the cross of control features, whose levels' groups are evaluated too.
        slices: further slice sets.
        weight: the column of sampling weights, by which probabilities are multiplied.
        unit: the column of units; None: each row.
        asked: what else `ek.evaluate` takes.

    Raises:
        DataError: a probability lies outside [0, 1], or is missing.
        ConfigError: an attribute has fewer than two groups.

    Source: Chen, Kallus, Mao, Svacha and Udell (2019), Fairness under unawareness, the weighted estimator.
    """
    import polars as pl

    for attribute, groups in membership.items():
        if len(groups) < 2:
            raise ConfigError(f'Membership of "{attribute}" needs a column for each of two groups or more.')
    frame = read(data, None)
    frame = frame.with_columns(pl.Series(_UNIT, np.arange(frame.height)))
    clustered = {**asked, "unit": unit or _UNIT}
    within = [] if control is None else [control]
    whole = evaluate(frame, slices=[*within, *slices], weight=weight, **clustered)
    evaluation = replace(whole.evaluations[0], rows=None)
    for attribute, groups in membership.items():
        parts: list[tuple[str, Evaluation]] = []
        for group, column in groups.items():
            own = frame.with_columns(_weights(frame, column, weight).alias(_WEIGHT)).filter(pl.col(_WEIGHT) > 0)
            if not own.height:
                raise DataError(f'No row may belong to {attribute}={group}: "{column}" is 0 everywhere.')
            made = evaluate(own, slices=within, weight=_WEIGHT, **{**clustered, "keep_rows": False})
            parts.append((group, made.evaluations[0]))
        evaluation = _joined(evaluation, attribute, parts, control)
    return Result([evaluation])


def _weights(frame: Any, column: str, weight: str | None) -> Any:
    from evalkit.errors import nearest

    if column not in frame.columns:
        raise DataError(f'No column "{column}" of probabilities.{nearest(column, frame.columns)}')
    values = frame[column]
    if not values.dtype.is_numeric() or not bool(values.is_between(0, 1).fill_null(value=False).all()):
        raise DataError(f'"{column}" must hold probabilities between 0 and 1, none missing.')
    return values if weight is None else values * frame[weight]


def _joined(
    evaluation: Evaluation, attribute: str, parts: Sequence[tuple[str, Evaluation]], control: SliceSet | None
) -> Evaluation:
    """Adds the slices of an attribute, and of its cross with the control features."""
    own = SliceSet((Dimension(attribute),))
    sets = [own]
    keys: list[tuple[SliceKey, ...]] = [tuple(((attribute, group),) for group, _ in parts)]
    if control is not None:
        of_levels = [[(*key, (attribute, group)) for key in part.plan.keys[1]] for group, part in parts]
        sets.append(SliceSet((*control.dimensions, *own.dimensions)))
        keys.append(tuple(key for level in of_levels for key in level))
    plan = evaluation.plan
    size = len(plan.slices) + sum(map(len, keys))
    places = _places(len(plan.slices), parts)
    sums = {
        name: _stacked([(old, np.arange(len(plan.slices))), *((p.sums[name], at) for (_, p), at in places)], size)
        for name, old in evaluation.sums.items()
    }
    return replace(evaluation, plan=Plan((*plan.slice_sets, *sets), (*plan.keys, *keys)), sums=sums)


def _places(start: int, parts: Sequence[tuple[str, Evaluation]]) -> list[tuple[tuple[str, Evaluation], Any]]:
    """Returns where the slices of each group's evaluation go: all its rows first, then its levels."""
    found, level = [], start + len(parts)
    for number, (group, part) in enumerate(parts):
        levels = len(part.plan.slices) - 1
        found.append(((group, part), np.array([start + number, *range(level, level + levels)], dtype=np.int64)))
        level += levels
    return found


def _stacked(parts: Sequence[tuple[AnySums, Any]], size: int) -> AnySums:
    """Puts the slices of sums at their places among `size`, each sum's by themselves."""
    placed = [part.place(at, size) for part, at in parts]
    added = placed[0]
    for more in placed[1:]:
        if isinstance(added, ScoreSums) and isinstance(more, ScoreSums):
            added = added.add(more)
        elif isinstance(added, FieldSums) and isinstance(more, FieldSums):
            pivot = None if added.pivot is None or more.pivot is None else added.pivot + more.pivot
            added = replace(added.add(more), pivot=pivot)
    return added
