"""A part: groups of people side by side within levels of other features, such as bins of the score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evalkit.reports.part import Part, render

if TYPE_CHECKING:
    from evalkit.fairness.assessment import Assessment

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 560, 220, 44, 22
_COLOURS = 8
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Mark:
    """A group's value in a level, in pixels; the ends are the value's own height where there is no interval."""

    x: float
    y: float
    low: float
    high: float
    text: str


@dataclass(frozen=True)
class Plot:
    """One metric of one model by level and group; rows of unknown members are left out.

    Attributes:
        metric: its name.
        groups: the groups, each with its colour and its marks.
        levels: the levels' names.
        ticks: heights in pixels and what is written there.
        rows: of each level its name, each group's row of the table (None where it has none) and the gap.
        averages: the difference of each group to its reference over all levels.
    """

    metric: str
    groups: Sequence[tuple[str, int, Sequence[Mark]]]
    levels: Sequence[str]
    ticks: Sequence[tuple[float, str]]
    rows: Sequence[tuple[str, Sequence[Row | None], Row]]
    averages: Sequence[Row]


def levels(assessment: Assessment, name: str = "levels") -> Part:
    """Returns the part that shows an assessment within the levels of its control features.

    Args:
        assessment: with control features.
        name: of the part, its anchor.
    """
    by_model = [
        (model, across, _plots(assessment, model, across))
        for model, across in assessment.gaps.select("model", "across").unique(maintain_order=True).iter_rows()
    ]
    html = render(
        "levels.html",
        about=assessment.about,
        control=str(assessment.asked.control),
        level=assessment.asked.level,
        by_model=by_model,
        several=len(assessment.result.models) > 1,
        size=(_WIDTH, _HEIGHT, _LEFT, _BOTTOM),
    )
    return Part(name, assessment.title, html)


def _plots(assessment: Assessment, model: str, across: str) -> list[Plot]:
    gaps = assessment.gaps.filter(model=model, across=across)
    return [_plot(assessment, model, across, metric) for metric in gaps["metric"].unique(maintain_order=True)]


def _plot(assessment: Assessment, model: str, across: str, metric: str) -> Plot:
    every = assessment.groups.filter(model=model, across=across, metric=metric).to_dicts()
    rows = [row for row in every if all(pair["value"] is not None for pair in row["slice_key"])]
    gaps = assessment.gaps.filter(model=model, across=across, metric=metric).to_dicts()
    names = [gap["slice"] for gap in gaps]
    own = {(level, row["slice"].removeprefix(f"{level}, ")): row for level in names for row in rows if _in(row, level)}
    groups = list(dict.fromkeys(group for _, group in own))
    ends = [row[end] for row in rows for end in ("low", "high", "value") if math.isfinite(row[end])]
    lowest, highest = min(ends, default=0.0), max(ends, default=1.0)
    span = (highest - lowest) or 1.0

    def height(value: float) -> float:
        return round(_HEIGHT - _BOTTOM - (value - lowest) / span * (_HEIGHT - _BOTTOM - 10), 1)

    def marks(place: int, group: str) -> list[Mark]:
        step = (_WIDTH - _LEFT) / max(len(names), 1)
        shift = (place - (len(groups) - 1) / 2) * min(9.0, step / (len(groups) + 1))
        found = []
        for number, level in enumerate(names):
            row = own.get((level, group))
            if row is not None and math.isfinite(row["value"]):
                y = height(row["value"])
                low, high = (height(row[end]) if math.isfinite(row[end]) else y for end in ("low", "high"))
                found.append(Mark(round(_LEFT + step * (number + 0.5) + shift, 1), y, low, high, f"{group}, {level}"))
        return found

    averages = assessment.conditional
    return Plot(
        metric,
        [(group, place % _COLOURS, marks(place, group)) for place, group in enumerate(groups)],
        names,
        [(height(value), f"{value:.3g}") for value in (lowest, (lowest + highest) / 2, highest)],
        [(gap["slice"], [own.get((gap["slice"], group)) for group in groups], gap) for gap in gaps],
        [] if averages is None else averages.filter(model=model, across=across, metric=metric).to_dicts(),
    )


def _in(row: Row, level: str) -> bool:
    return str(row["slice"]).startswith(f"{level}, ")
