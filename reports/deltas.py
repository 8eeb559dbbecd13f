"""The part of a comparison: candidate minus baseline in every slice, and where it moved against the overall delta."""

from __future__ import annotations

from typing import Any

import polars as pl

from evalkit.comparison import FALSE_DISCOVERY_RATE, Comparison
from evalkit.pairing import Pair
from evalkit.reports.cells import coded, plain
from evalkit.reports.measures import headline, measures
from evalkit.reports.part import Part, render
from evalkit.reports.slices import groups
from evalkit.results import Result
from evalkit.show import remark

_MOST_AT_ONCE = 80
_MOST_NAMED = 100
_NUMBERS = (
    "baseline",
    "candidate",
    "delta",
    "delta_low",
    "delta_high",
    "delta_shrunk",
    "p_value",
    "q_value",
    "detectable",
)


def deltas(result: Result, comparison: Comparison) -> Part:
    """Returns the part that shows a candidate's deltas by slice, says how they were paired and what moved against.

    Args:
        result: of the models; where it is narrowed, only its models and metrics are shown.
        comparison: of these models.
    """
    table = shown(result, comparison)
    known = measures(result)
    tested = table.filter(pl.col("p_value").is_finite())
    names = tested["metric"].unique(maintain_order=True).to_list()
    first = headline(result)
    sets = groups(result)
    candidates = [name for name in comparison.candidates if name in result.models]
    moved = _moved(result, comparison)
    return Part(
        "deltas",
        "Candidate against baseline",
        render(
            "deltas.html",
            baseline=comparison.baseline,
            candidates=candidates,
            metrics=[known[name] for name in names],
            headline=first if first in names else next(iter(names), ""),
            untested=[name for name in known if name not in names],
            groups=sets,
            first="all" if sum(len(group.slices) for group in sets) <= _MOST_AT_ONCE else "0",
            paired=[
                (pair.candidate.model, _how(pair)) for pair in comparison.pairs if pair.candidate.model in candidates
            ],
            notes=comparison.notes,
            margins=comparison.margins,
            moved=moved[:_MOST_NAMED],
            left_out=max(len(moved) - _MOST_NAMED, 0),
            tests=tested.filter(pl.col("slice") != "overall").height,
            titles={name: measure.title for name, measure in known.items()},
            units={name: measure.unit for name, measure in known.items()},
            significant=FALSE_DISCOVERY_RATE,
            level=f"{100 * comparison.pairs[0].candidate.settings.level:.6g}",
        ),
        {
            "cells": _cells(table.filter(pl.col("metric").is_in(names))),
            "groups": [{"name": group.label, "slices": list(group.slices)} for group in sets],
            "metrics": {name: _about(comparison, known[name]) for name in names},
            "relative": comparison.margins is not None and comparison.margins.kind == "relative",
            "baseline": comparison.baseline,
            "heterogeneity": _heterogeneity(result, comparison),
            "significant": FALSE_DISCOVERY_RATE,
        }
        if names
        else None,
    )


def shown(result: Result, comparison: Comparison) -> pl.DataFrame:
    """Returns the comparison's rows of the models and metrics of a result; of a suppressed slice none."""
    return comparison.to_polars().filter(
        pl.col("model").is_in(result.models),
        pl.col("metric").is_in(result.metrics),
        pl.col("status") != "suppressed",
    )


def _about(comparison: Comparison, measure: Any) -> dict[str, Any]:
    margin = None if comparison.margins is None else comparison.margins.of(measure.name)
    return {"better": measure.better, "direction": measure.direction, "unit": measure.unit, "margin": margin}


def _cells(table: pl.DataFrame) -> dict[str, Any]:
    """Returns the table as columns of numbers, and of places in lists of names."""
    rows = table.select("status", "approximate", "note").iter_rows(named=True)
    texts = {name: table[name].to_list() for name in ("model", "slice", "metric")} | {"note": [remark(r) for r in rows]}
    found = {name: coded(values) for name, values in texts.items()}
    return {
        "names": {name: names for name, (names, _) in found.items()},
        **{name: places for name, (_, places) in found.items()},
        **{name: [plain(value) for value in table[name]] for name in _NUMBERS},
        "rows": table["rows"].to_list(),
    }


def _how(pair: Pair) -> str:
    unit = pair.candidate.settings.columns.unit
    alike = f", allowing for rows of one {unit} being alike" if pair.candidate.settings.clustered and unit else ""
    return {
        "rows": f"paired: the same rows of both models{alike}",
        "groups": f"paired by groups of {unit or 'units'}, rows were not kept",
        "none": f"not paired: different rows, or rows that cannot be told to be the same{alike}",
    }[pair.how]


def _moved(result: Result, comparison: Comparison) -> list[dict[str, Any]]:
    """Returns the slices that moved against the overall delta, with that delta."""
    table = comparison.moved_against().filter(
        pl.col("model").is_in(result.models),
        pl.col("metric").is_in(result.metrics),
        pl.col("status") != "suppressed",
    )
    overall = {(row["model"], row["metric"]): row["delta"] for row in _overall(comparison)}
    known = measures(result)
    kinds = {True: "worse", False: "better", None: ""}
    return [
        {
            **row,
            "overall": overall[row["model"], row["metric"]],
            "kind": kinds[known[row["metric"]].worse(row["delta"])],
        }
        for row in table.iter_rows(named=True)
    ]


def _overall(comparison: Comparison) -> list[dict[str, Any]]:
    return comparison.to_polars().filter(pl.col("slice") == "overall").to_dicts()


def _heterogeneity(result: Result, comparison: Comparison) -> list[dict[str, Any]]:
    """Returns Cochran's Q by candidate, metric and set of slices, where there are two slices or more to tell apart."""
    labels = {group.definition: group.label for group in groups(result)}
    table = comparison.heterogeneity().filter(
        pl.col("model").is_in(result.models), pl.col("metric").is_in(result.metrics), pl.col("p_value").is_finite()
    )
    numbers = ("q", "p_value", "between")
    return [
        {
            **{name: row[name] for name in ("model", "metric", "n", "degrees")},
            "slices": labels.get(row["slices"], row["slices"]),
            **{name: plain(row[name]) for name in numbers},
        }
        for row in table.iter_rows(named=True)
    ]
