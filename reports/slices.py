"""The slices of a result, by the slice set that asked for them."""

from __future__ import annotations

from dataclasses import dataclass

from evalkit.results import Result
from evalkit.slicing.spec import SliceKey, SliceSet


@dataclass(frozen=True)
class Group:
    """A slice set and its slices in the table, hidden ones among them.

    Attributes:
        label: the columns, joined by `&` in a cross.
        definition: the slice set as written in a configuration.
        slices: as the table writes them.
    """

    label: str
    definition: str
    slices: tuple[str, ...]


def groups(result: Result) -> list[Group]:
    """Returns the slice sets of a result that have slices in its table, overall not among them.

    >>> import evalkit as ek
    >>> data = {"y": [1, 0, 1, 0], "p": [0.9, 0.2, 0.4, 0.1], "sex": ["f", "f", "m", "m"], "day": [1, 2, 1, 2]}
    >>> result = ek.evaluate(data, label="y", score="p", metrics=["accuracy"], slices=["sex", ["sex", "day"]])
    >>> [(group.label, group.slices[0]) for group in groups(result)]
    [('sex', 'sex=f'), ('sex & day', 'sex=f, day=1')]
    """
    home: dict[SliceKey, SliceSet] = {}
    for evaluation in result.evaluations:
        plan = evaluation.plan
        hidden = plan.hidden or ((),) * len(plan.keys)
        for slice_set, keys, gone in zip(plan.slice_sets, plan.keys, hidden, strict=True):
            for key in (*keys, *gone):
                home.setdefault(key, slice_set)
    found: dict[SliceSet, dict[str, None]] = {slice_set: {} for slice_set in home.values() if slice_set.dimensions}
    for text, pairs in result.to_polars().select("slice", "slice_key").iter_rows():
        slice_set = home.get(tuple((pair["column"], pair["value"]) for pair in pairs), SliceSet())
        if slice_set.dimensions:
            found[slice_set][text] = None
    labels = [" & ".join(d.name for d in slice_set.dimensions) for slice_set in found]
    return [
        Group(label if labels.count(label) == 1 else str(slice_set), str(slice_set), tuple(slices))
        for label, (slice_set, slices) in zip(labels, found.items(), strict=True)
        if slices
    ]
