"""Which slices of an evaluation are the groups of one attribute, side by side.

>>> import evalkit as ek
>>> from evalkit.slicing.spec import slice_text
>>> data = {"y": [1, 0, 1, 0], "p": [0.9, 0.2, 0.4, 0.1], "sex": ["f", "f", "m", "m"], "site": [1, 2, 1, 2]}
>>> result = ek.evaluate(data, label="y", score="p", slices=["sex", "site", ["site", "sex"]])
>>> found = families(result.evaluations[0], ["sex"], ["site"])
>>> [(f.across, slice_text(f.level), [slice_text(g) for g in f.groups]) for f in found]
[('sex', 'site=1', ['sex=f', 'sex=m']), ('sex', 'site=2', ['sex=f', 'sex=m'])]
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.errors import ConfigError, listing, nearest
from evalkit.results import Evaluation, Plan
from evalkit.slicing.spec import SliceKey, SliceSet, parse

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FROZEN_LATER = ("column", "quantiles", "top")


@dataclass(frozen=True)
class Family:
    """The groups of an attribute, or of a cross of attributes, in one level of the control features.

    Attributes:
        across: the attributes, such as `race` or `race,sex`.
        level: the level of the control features; empty for all rows.
        whole: the place of all rows of the level among the plan's slices.
        groups: each group's own pairs of column and value.
        places: [groups] their places among the plan's slices.
    """

    across: str
    level: SliceKey
    whole: int
    groups: tuple[SliceKey, ...]
    places: NDArray[np.int64]

    @functools.cached_property
    def unknown(self) -> NDArray[np.bool_]:
        """The groups of rows whose membership is not known, a null in the data, [groups]."""
        return np.array([any(value is None for _, value in key) for key in self.groups], dtype=bool)

    def only(self, kept: NDArray[np.bool_]) -> Family:
        """Returns the family of some of its groups, [groups]."""
        groups = tuple(key for key, keep in zip(self.groups, kept, strict=True) if keep)
        return replace(self, groups=groups, places=self.places[kept])

    @property
    def with_whole(self) -> NDArray[np.int64]:
        """The places of all rows of the level and then of the groups, [1 + groups]."""
        return np.append(self.whole, self.places)


def families(evaluation: Evaluation, protected: Any, control: Any = ()) -> list[Family]:
    """Returns the families of each protected attribute in each level of the control features.

    Args:
        evaluation: with slices by each attribute; with control features by them together, and by each attribute crossed
            with them, control features first.
        protected: attributes, as `ek.evaluate` takes slices.
        control: features that groups are compared within, as one cross.

    Raises:
        ConfigError: slices are missing.
    """
    sets = parse(protected)
    if not sets:
        raise ConfigError("Name the protected attributes, such as protected=['sex', 'race'].")
    levels = control_set(control)
    plan = evaluation.plan
    return [family for attribute in sets for family in _of_attribute(plan, attribute, levels)]


def control_set(control: Any) -> SliceSet | None:
    """Returns the control features as one cross; None without any."""
    sets = parse(control)
    dimensions = tuple(dict.fromkeys(d for s in sets for d in s.dimensions))
    return SliceSet(dimensions) if dimensions else None


def slice_sets(protected: Any, control: Any = ()) -> list[SliceSet]:
    """Returns the slices that an evaluation needs so that `families` finds these attributes."""
    sets, levels = parse(protected), control_set(control)
    if levels is None:
        return sets
    return list(dict.fromkeys([*sets, levels, *(SliceSet((*levels.dimensions, *s.dimensions)) for s in sets)]))


def across_text(attribute: SliceSet) -> str:
    """Writes an attribute, or a cross of them, by its columns.

    >>> across_text(parse([["race", "age=edges(30, 50)"]])[0])
    'race,age'
    """
    return ",".join(d.name for d in attribute.dimensions)


def _of_attribute(plan: Plan, attribute: SliceSet, levels: SliceSet | None) -> list[Family]:
    across = across_text(attribute)
    if levels is None:
        keys, start = _slices(plan, attribute)
        return [Family(across, (), 0, keys, np.arange(start, start + len(keys)))]
    wholes, first = _slices(plan, levels)
    crossed, start = _slices(plan, SliceSet((*levels.dimensions, *attribute.dimensions)))
    width = len(levels.dimensions)
    found = []
    for place, level in enumerate(wholes):
        own = [i for i, key in enumerate(crossed) if key[:width] == level]
        groups = tuple(crossed[i][width:] for i in own)
        found.append(Family(across, level, first + place, groups, start + np.array(own, dtype=np.int64)))
    return found


def _slices(plan: Plan, wanted: SliceSet) -> tuple[tuple[SliceKey, ...], int]:
    """Returns the slices of a set, and the place of its first; a bare column stands for the set there is of it."""
    for number, known in enumerate(plan.slice_sets):
        own = known.dimensions
        if len(own) == len(wanted.dimensions) and all(
            a == b or (a.name == b.name and a.form in _FROZEN_LATER)
            for a, b in zip(wanted.dimensions, own, strict=True)
        ):
            return plan.keys[number], plan.offsets[number]
    names = [across_text(s) for s in plan.slice_sets[1:]]
    asked = across_text(wanted)
    raise ConfigError(
        f'No slices by "{asked}" were evaluated.{nearest(asked, names)} Slices are by: {listing(names) or "nothing"}.'
    )
