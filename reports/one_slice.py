"""One slice of an evaluation, as an evaluation of its own: curves of many slices need each one's entries only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from evalkit.reports.thin import spaced
from evalkit.results import Evaluation, Plan
from evalkit.sums import AnySums, ScoreSums, regroup


def alone(evaluation: Evaluation, wanted: set[str], identities: set[str]) -> Iterator[tuple[str, Evaluation]]:
    """Yields the wanted slices, each as an evaluation that holds these sums of it.

    Where small groups are suppressed, scores are joined so that no step between two of them holds fewer rows: every
    curve then has the same steps, and two curves cannot be subtracted to find a row.

    Args:
        evaluation: of many slices.
        wanted: slices, as the table writes them.
        identities: of the statistics whose sums are kept.
    """
    sets = zip(evaluation.plan.slice_sets, evaluation.plan.keys, strict=False)
    flat = [(slice_set, key) for slice_set, keys in sets for key in keys]
    found: set[str] = set()
    for index, ((slice_set, key), text) in enumerate(zip(flat, evaluation.plan.texts, strict=True)):
        if text in wanted and text not in found:
            found.add(text)
            held = {name: evaluation.sums[name] for name in identities if name in evaluation.sums}
            sums = {name: _of(each, index, evaluation.settings.suppress_below) for name, each in held.items()}
            yield text, replace(evaluation, plan=Plan((slice_set,), ((key,),)), sums=sums, rows=None)


def _of(sums: AnySums, index: int, below: int) -> AnySums:
    if not isinstance(sums, ScoreSums):
        return sums.take(np.array([index]))
    one = entries(sums, index)
    return joined(one, below) if below > 1 else one


def entries(sums: ScoreSums, index: int) -> ScoreSums:
    """Returns one slice's entries, which stand together; `take` would look at every entry again for each slice."""
    part = slice(*np.searchsorted(sums.slices, [index, index + 1]))
    arrays = {name: getattr(sums, name) for name in ("slices", "keys", "groups", "count", "total", "square")}
    cut: dict[str, Any] = {name: None if array is None else array[part] for name, array in arrays.items()}
    return replace(sums, **{**cut, "slices": np.zeros_like(cut["slices"]), "size": 1})


def joined(sums: ScoreSums, least: int) -> ScoreSums:
    """Returns one slice's histogram with neighbouring scores joined, the lowest of each block standing for all.

    Args:
        sums: of one slice.
        least: no joined score holds fewer rows, unless all rows together do.
    """
    margin = sums.margin()
    last = len(margin.keys)
    if not last:
        return sums
    places = spaced(np.concatenate([[0], margin.count.sum(1)[::-1].cumsum()]), least)
    block = np.searchsorted(places, np.arange(last), side="right")
    lowest = margin.keys[last - places[block]][::-1]
    place = np.searchsorted(margin.keys, sums.keys)
    return regroup(replace(sums, keys=lowest[place]), ordered=False)
