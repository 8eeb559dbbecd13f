"""A part: which slices differ from the rest of the rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from evalkit.errors import UsageError
from evalkit.reports.measures import measures
from evalkit.reports.part import Part, render
from evalkit.reports.slices import groups
from evalkit.results import Result

SIGNIFICANT = 0.05
_SHOWN, _MOST = 15, 300


@dataclass
class Finding:
    """A slice of a model that differs from the rest in one metric or more.

    Attributes:
        model: the model's name.
        slice: as in the table.
        rows: the slice's rows.
        tests: the rows of `Result.differences` with a small q-value, by `worse`, `better` and `different`.
    """

    model: str
    slice: str
    rows: int
    tests: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"worse": [], "better": [], "different": []})

    @property
    def rank(self) -> tuple[int, float]:
        """Slices worse in more metrics come first, then those less likely to be chance."""
        return -len(self.tests["worse"]), min(test["q_value"] for tests in self.tests.values() for test in tests)


def differences(result: Result, tested: pl.DataFrame | None = None) -> Part:
    """Returns the part that names the slices with a q-value under .05, and says so when there is none.

    Args:
        result: of an evaluation.
        tested: each slice against the rest of the rows; None: `result.differences()`.
    """
    problem = ""
    if tested is None and groups(result):
        try:
            tested = result.differences()
        except UsageError as error:
            problem = str(error)
    if tested is not None:
        tested = _within(result, tested)
    rows = [] if tested is None else _named(result, tested)
    tests = 0 if tested is None else int(tested["q_value"].is_finite().sum())
    found = [finding for model in result.models for finding in findings(row for row in rows if row["model"] == model)]
    known = measures(result)
    return Part(
        "differences",
        "Slices that differ",
        render(
            "differences.html",
            problem=problem,
            sliced=bool(groups(result)),
            tests=tests,
            untested=0 if tested is None else tested.height - tests,
            slices=len({finding.slice for finding in found}),
            by_model=[(model, [f for f in found if f.model == model]) for model in result.models],
            shown=_SHOWN,
            details=rows[:_MOST],
            left_out=max(len(rows) - _MOST, 0),
            total=len(rows),
            models=result.models,
            units={name: measure.unit for name, measure in known.items()},
            names={name: measure.short for name, measure in known.items()},
            significant=SIGNIFICANT,
        ),
    )


def findings(rows: Iterable[dict[str, Any]]) -> list[Finding]:
    """Returns one model's differences by slice, the worst slices first."""
    found: dict[str, Finding] = {}
    for row in rows:
        finding = found.setdefault(row["slice"], Finding(row["model"], row["slice"], row["rows"]))
        finding.tests[row["verdict"] or "different"].append(row)
        finding.rows = max(finding.rows, row["rows"])
    for finding in found.values():
        for tests in finding.tests.values():
            tests.sort(key=lambda row: row["q_value"])
    return sorted(found.values(), key=lambda finding: finding.rank)


def _within(result: Result, tested: pl.DataFrame) -> pl.DataFrame:
    """Returns the tests of what the result's table shows: a narrowed result has fewer, a suppressed slice none."""
    table = result.to_polars().filter(pl.col("status") != "suppressed")
    return tested.join(
        table.select("model", "slice", "metric").unique(),
        on=["model", "slice", "metric"],
        how="semi",
        maintain_order="left",
    )


def _named(result: Result, tested: pl.DataFrame) -> list[dict[str, Any]]:
    known = measures(result)
    verdicts = {True: "worse", False: "better", None: ""}
    return [
        {**row, "verdict": verdicts[known[row["metric"]].worse(row["delta"])]}
        for row in tested.filter(pl.col("q_value") < SIGNIFICANT).iter_rows(named=True)
        if row["metric"] in known
    ]
