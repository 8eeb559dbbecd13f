"""A part: what was evaluated, and each model's overall result."""

from __future__ import annotations

from typing import Any

import polars as pl

from evalkit.comparison import FALSE_DISCOVERY_RATE, Comparison
from evalkit.reports.measures import measures
from evalkit.reports.part import Part, render
from evalkit.reports.slices import groups
from evalkit.results import Evaluation, Result


def summary(result: Result, comparison: Comparison | None = None) -> Part:
    """Returns the part that says what was evaluated and shows every metric of all rows, a column for each model.

    Args:
        result: of an evaluation.
        comparison: of its models; then the baseline comes first, and beside each candidate its delta and p-value.
    """
    table = result.to_polars()
    overall = table.filter(pl.col("slice") == "overall")
    found = {(row["metric"], row["model"]): row for row in overall.iter_rows(named=True)}
    statuses: dict[str, int] = dict(table["status"].value_counts().iter_rows())
    return Part(
        "summary",
        "What was evaluated",
        render(
            "summary.html",
            models=_baseline_first(result, comparison),
            deltas=_deltas(result, comparison),
            baseline="" if comparison is None else comparison.baseline,
            candidates=[] if comparison is None else comparison.candidates,
            significant=FALSE_DISCOVERY_RATE,
            evaluations=[e for e in result.evaluations if e.model in result.models],
            alike=len({_data(e) for e in result.evaluations}) == 1,
            groups=groups(result),
            measures=measures(result).values(),
            found=found,
            level=f"{100 * result.evaluations[0].settings.level:.6g}",
            unit=result.evaluations[0].settings.columns.unit,
            suppressed=table.filter(pl.col("status") == "suppressed")["slice"].n_unique(),
            unsure={name: statuses.get(name, 0) for name in ("too_few_rows", "undefined") if statuses.get(name)},
            results=table.height,
        ),
    )


def _baseline_first(result: Result, comparison: Comparison | None) -> list[str]:
    first = None if comparison is None else comparison.baseline
    return sorted(result.models, key=lambda model: model != first)


def _deltas(result: Result, comparison: Comparison | None) -> dict[tuple[str, str], dict[str, Any]]:
    """Returns the rows of a comparison about all rows, by metric and candidate, with whether that is for the worse."""
    if comparison is None:
        return {}
    known = measures(result)
    table = comparison.to_polars().filter(pl.col("slice") == "overall", pl.col("metric").is_in(list(known)))
    return {
        (row["metric"], row["model"]): {**row, "worse": known[row["metric"]].worse(row["delta"])}
        for row in table.iter_rows(named=True)
    }


def _data(evaluation: Evaluation) -> tuple[Any, ...]:
    return evaluation.source, evaluation.n, evaluation.dropped
