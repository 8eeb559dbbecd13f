"""The part that says which decisions changed: fixed, broken and churn by slice, and the rows to look at first."""

from __future__ import annotations

import re
from typing import Any

import polars as pl

from evalkit.comparison import Comparison
from evalkit.pairing import Pair
from evalkit.reports.cells import plain
from evalkit.reports.part import Part, render
from evalkit.results import Result

MOST_ROWS = 50
_COUNTS = ("rows", "changed", "fixed", "broken", "to_positive", "to_negative")


def flips(result: Result, comparison: Comparison) -> Part:
    """Returns the part of changed decisions; where small groups are suppressed it shows no rows at all.

    Args:
        result: of the models; where it is narrowed, only its models are shown.
        comparison: of these models.
    """
    shown = [pair for pair in comparison.pairs if pair.candidate.model in result.models]
    told = [pair for pair in shown if pair.candidate.model in comparison.flippable]
    tables = {pair.candidate.model: _by_slice(result, comparison, pair) for pair in told}
    models = [(p.candidate.model, _overall(tables[p.candidate.model]), _first_rows(comparison, p)) for p in told]
    return Part(
        "flips",
        "Decisions that changed",
        render(
            "flips.html",
            baseline=comparison.baseline,
            models=models,
            without=[(p.candidate.model, _why(p)) for p in shown if p.candidate.model not in tables],
            private=any(_private(pair) for pair in told),
            most=MOST_ROWS,
            strict=told[0].candidate.settings.strict if told else False,
        ),
        {"models": {model: _columns(table) for model, table in tables.items()}} if tables else None,
    )


def _private(pair: Pair) -> bool:
    """Returns whether rows must not be told, because small groups are suppressed."""
    return any(e.settings.suppress_below > 1 or any(e.plan.hidden) for e in (pair.baseline, pair.candidate))


def _by_slice(result: Result, comparison: Comparison, pair: Pair) -> pl.DataFrame:
    table = result.to_polars()
    hidden = {
        *table.filter(pl.col("status") == "suppressed")["slice"],
        *(text for e in (*result.evaluations, pair.baseline, pair.candidate) for text in e.plan.hidden_texts),
    }
    return comparison.flips(pair.candidate.model).filter(~pl.col("slice").is_in(sorted(hidden)))


def _overall(table: pl.DataFrame) -> dict[str, Any] | None:
    return next(iter(table.filter(pl.col("slice") == "overall").to_dicts()), None)


def _first_rows(comparison: Comparison, pair: Pair) -> tuple[list[str], list[list[Any]]] | None:
    """Returns headers and rows, broken ones first; None where rows must not be told."""
    if _private(pair):
        return None
    table = comparison.flipped_rows(pair.candidate.model, n=MOST_ROWS)
    return [_header(name) for name in table.columns], [list(row) for row in table.iter_rows()]


def _header(column: str) -> str:
    """Writes a column's name for people: a slice's edges are left out."""
    return column.replace("_", " ") if column.endswith("_score") else re.sub(r"=(edges|quantiles)\(.*", "", column)


def _why(pair: Pair) -> str:
    if pair.how != "rows":
        return "its rows are not paired with the baseline's"
    if pair.candidate.settings.task != "binary":
        return "labels are not binary, so there are no decisions"
    return "the scores lie outside [0, 1] and nobody said at which threshold they decide"


def _columns(table: pl.DataFrame) -> dict[str, Any]:
    """Returns the table as its script reads it."""
    return {
        "slice": table["slice"].to_list(),
        **{name: table[name].to_list() for name in _COUNTS},
        **{name: [plain(value) for value in table[name]] for name in ("churn", "low", "high")},
    }
