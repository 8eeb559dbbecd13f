"""A part: every result, to sort and to filter."""

from __future__ import annotations

from evalkit.reports.cells import cells
from evalkit.reports.part import Part, render
from evalkit.results import Result


def table(result: Result) -> Part:
    """Returns the part that lists every model, slice and metric; it reads `cells`."""
    names = cells(result)["names"]
    return Part(
        "table",
        "All results",
        render("table.html", models=names["model"], metrics=names["metric"], states=names["state"]),
        {},
    )
