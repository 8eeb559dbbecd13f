"""A part: a metric of every slice with its interval, beside the overall value."""

from __future__ import annotations

from evalkit.reports.measures import headline, measures
from evalkit.reports.part import Part, render
from evalkit.reports.slices import groups
from evalkit.results import Result

_MOST_AT_ONCE = 80


def forest(result: Result) -> Part:
    """Returns the part that draws a chosen metric of every slice, one mark for each model; it reads `cells`."""
    found = groups(result)
    slices = sum(len(group.slices) for group in found)
    first = "all" if slices <= _MOST_AT_ONCE else "0"
    return Part(
        "forest",
        "Slices side by side",
        render(
            "forest.html",
            metrics=list(measures(result)),
            headline=headline(result),
            groups=found,
            first=first,
            models=result.models,
        ),
        {
            "groups": [{"name": group.label, "slices": list(group.slices)} for group in found],
            "directions": {name: measure.direction for name, measure in measures(result).items()},
        },
    )
