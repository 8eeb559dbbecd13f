"""A part: how groups of people are treated, which gaps between them are real, and of which nothing is known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evalkit.fairness.criteria.catalog import CRITERIA
from evalkit.reports.part import Part, render

if TYPE_CHECKING:
    from evalkit.fairness.assessment import Assessment

_WIDTH, _MARGIN = 120, 4
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Interval:
    """Where a group's interval is drawn, in pixels."""

    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class Family:
    """The groups of an attribute of one model, in one level of the control features.

    Attributes:
        title: the attribute, and the level.
        gaps: the largest gap of each metric.
        metrics: each metric's groups, each with the place of its interval, None without one.
        criteria: numbers of all groups together.
    """

    title: str
    gaps: Sequence[Row]
    metrics: Sequence[tuple[str, Sequence[tuple[Row, Interval | None]]]]
    criteria: Sequence[Row]


def fairness(assessment: Assessment, name: str = "fairness") -> Part:
    """Returns the part that shows an assessment: gaps with what is shown of them, and every group's values.

    Args:
        assessment: without control features.
        name: of the part, its anchor.
    """
    asked, gaps = assessment.asked, assessment.gaps
    counts = {
        "flagged": int(gaps["flagged"].sum()),
        "certified": int((gaps["certified"] & ~gaps["flagged"]).sum()),
        "few": int((gaps["status"] == "too_few_rows").sum()),
        "gaps": gaps.height,
    }
    left = sorted({text for row in gaps["left_out"] for text in row.split("; ") if text})
    return Part(
        name,
        assessment.title,
        render(
            "fairness.html",
            about=assessment.about,
            asked=asked,
            reference=asked.reference if isinstance(asked.reference, str) else _named(asked.reference),
            counts=counts,
            left=left,
            not_computed=assessment.not_computed,
            by_model=[(model, _families(assessment, model)) for model in assessment.result.models],
            width=_WIDTH,
        ),
    )


def _named(reference: Mapping[str, str]) -> str:
    return ", ".join(f"{column}={value}" for column, value in reference.items())


def _families(assessment: Assessment, model: str) -> list[Family]:
    gaps = assessment.gaps.filter(model=model)
    groups = assessment.groups.filter(model=model)
    found = []
    for across, level in gaps.select("across", "slice").unique(maintain_order=True).iter_rows():
        own = gaps.filter(across=across, slice=level).to_dicts()
        within = "" if level == "overall" else f"{level}, "
        rows = [
            {**row, "group": row["slice"].removeprefix(within)}
            for row in groups.filter(across=across).iter_rows(named=True)
            if level == "overall" or row["slice"].startswith(within)
        ]
        metrics = [(gap["metric"], _drawn([r for r in rows if r["metric"] == gap["metric"]])) for gap in own]
        title = across if level == "overall" else f"{across} within {level}"
        found.append(Family(title, own, metrics, _criteria(assessment, model, across, level)))
    return found


def _criteria(assessment: Assessment, model: str, across: str, level: str) -> list[Row]:
    """Returns the criteria that are one number for all groups of a family, with what they ask for."""
    own = assessment.criteria.filter(model=model, slice=level).to_dicts()
    found: list[Row] = []
    for row in own:
        name, _, parameters = row["metric"].partition("@")
        if not f",{parameters},".endswith(f",across={across},"):
            continue
        known = CRITERIA.get(name.removesuffix("_difference").removesuffix("_ratio"))
        inner = parameters.removesuffix(f"across={across}").rstrip(",")
        found.append({**row, "title": f"{name}@{inner}" if inner else name, "asks": known.definition if known else ""})
    return found


def _drawn(rows: Sequence[Row]) -> list[tuple[Row, Interval | None]]:
    """Returns the groups with the places of their intervals on one scale."""
    ends = [row[end] for row in rows for end in ("low", "high", "value") if math.isfinite(row[end])]
    lowest, highest = min(ends, default=0.0), max(ends, default=1.0)
    scale = (_WIDTH - 2 * _MARGIN) / ((highest - lowest) or 1.0)

    def place(value: float) -> float:
        return round(_MARGIN + (value - lowest) * scale, 1)

    def interval(row: Row) -> Interval | None:
        if not all(math.isfinite(row[end]) for end in ("low", "value", "high")):
            return None
        return Interval(*(place(row[end]) for end in ("low", "value", "high")))

    return [(row, interval(row)) for row in rows]
