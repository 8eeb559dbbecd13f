"""The first part: what was evaluated, and each model's overall result."""

from __future__ import annotations

from typing import Any

import polars as pl

from evalkit.reports.measures import measures
from evalkit.reports.part import Part, render
from evalkit.reports.slices import groups
from evalkit.results import Evaluation, Result


def summary(result: Result) -> Part:
    """Returns the part that says what was evaluated and shows every metric of all rows, a column for each model."""
    table = result.to_polars()
    overall = table.filter(pl.col("slice") == "overall")
    found = {(row["metric"], row["model"]): row for row in overall.iter_rows(named=True)}
    statuses: dict[str, int] = dict(table["status"].value_counts().iter_rows())
    return Part(
        "summary",
        "What was evaluated",
        render(
            "summary.html",
            models=result.models,
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


def _data(evaluation: Evaluation) -> tuple[Any, ...]:
    return evaluation.source, evaluation.n, evaluation.dropped
