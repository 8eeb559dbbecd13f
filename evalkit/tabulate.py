"""The results table: values, intervals and statuses of every model, slice and metric."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit import resample
from evalkit.estimate import Estimate, estimate
from evalkit.interval import Intervals, intervals
from evalkit.metric import Metric
from evalkit.results import Evaluation, Plan
from evalkit.slicing.spec import SliceKey
from evalkit.sums import FieldSums

if TYPE_CHECKING:
    import polars as pl

COLUMNS = (
    "model",
    "slice",
    "metric",
    "value",
    "low",
    "high",
    "level",
    "method",
    "rows",
    "support",
    "weight",
    "status",
    "approximate",
    "note",
    "slice_key",
)


def estimates(evaluation: Evaluation) -> list[tuple[str, Estimate, Intervals]]:
    """Returns each metric's name, estimate and intervals, in the order asked for."""
    by_statistic: dict[str, list[tuple[str, Metric]]] = defaultdict(list)
    for name, metric in evaluation.metrics:
        by_statistic[metric.statistic.identity].append((name, metric))
    found: dict[str, tuple[Estimate, Intervals]] = {}
    for identity, named in by_statistic.items():
        metrics = [metric for _, metric in named]
        made = estimate(metrics, evaluation.sums[identity])
        drawn = _replicates(metrics, evaluation, identity)
        for index, (name, _) in enumerate(named):
            e = made[index]
            found[name] = e, intervals(e, evaluation.settings.level, design_effect(e), drawn.get(index))
    return [(name, *found[name]) for name, _ in evaluation.metrics]


def design_effect(e: Estimate) -> float:
    """Returns the variance over that of independent rows, of a proportion of all rows; at least 1."""
    value, variance = float(e.value[0]), float(e.variance[0])
    if not (0 < value < 1) or variance <= 0 or not np.isfinite(e.groups[0]):
        return 1.0
    return max(1.0, float(e.kish[0]) * variance / (value * (1 - value)))


def _replicates(metrics: Sequence[Metric], evaluation: Evaluation, identity: str) -> dict[int, Any]:
    """Draws bootstrap values for the metrics whose kind, or whose user, asks for them."""
    asked = evaluation.settings.bootstrap
    sums = evaluation.sums[identity]
    chosen = [i for i, m in enumerate(metrics) if m.kind == "bootstrap" or (asked and m.kind != "none")]
    if not chosen:
        return {}
    n, seed = (asked.n, asked.seed) if asked else (resample.DEFAULT_REPLICATES, 0)
    if isinstance(sums, FieldSums) and not sums.clustered and asked is None:
        return {}
    drawn = resample.replicates([metrics[i] for i in chosen], sums, n, seed, evaluation.plan.slices)
    return {index: drawn[place] for place, index in enumerate(chosen)}


def statuses(e: Estimate, made: Intervals, min_rows: int) -> list[str]:
    """Returns `ok`, `undefined` or `too_few_rows` for each slice."""
    few = made.few | (e.support < min_rows)
    return ["undefined" if np.isnan(v) else "too_few_rows" if f else "ok" for v, f in zip(e.value, few, strict=True)]


def tabulate(evaluations: Sequence[Evaluation]) -> pl.DataFrame:
    """Returns the results table of models, one after another."""
    import polars as pl

    return pl.concat([_table(evaluation) for evaluation in evaluations])


def _table(evaluation: Evaluation) -> pl.DataFrame:
    import polars as pl

    plan, settings = evaluation.plan, evaluation.settings
    made = estimates(evaluation)
    size, texts = len(plan.slices), plan.texts

    def column(values: Sequence[Any], dtype: Any) -> pl.Series:
        stacked = np.stack(values, axis=1).reshape(-1) if not isinstance(values[0], list) else None
        if stacked is None:
            return pl.Series([v for row in zip(*values, strict=True) for v in row], dtype=dtype)
        return pl.Series(stacked).cast(dtype)

    status = [statuses(e, i, settings.min_rows) for _, e, i in made]
    few = [np.array([s == "too_few_rows" for s in one]) for one in status]
    order = np.repeat(np.arange(size), len(made))
    names = [name for name, _, _ in made]
    table = pl.DataFrame(
        {
            "model": pl.repeat(evaluation.model, size * len(made), eager=True, dtype=pl.String),
            "slice": pl.Series(texts, dtype=pl.String).gather(order),
            "metric": pl.Series(names * size, dtype=pl.String),
            "value": column([e.value for _, e, _ in made], pl.Float64),
            "low": column([np.where(f, np.nan, i.low) for (_, _, i), f in zip(made, few, strict=True)], pl.Float64),
            "high": column([np.where(f, np.nan, i.high) for (_, _, i), f in zip(made, few, strict=True)], pl.Float64),
            "level": pl.repeat(settings.level, size * len(made), eager=True, dtype=pl.Float64),
            "method": column([i.methods() for _, _, i in made], pl.String),
            "rows": column([e.rows for _, e, _ in made], pl.Int64),
            "support": column([e.support for _, e, _ in made], pl.Int64),
            "weight": column([e.weight for _, e, _ in made], pl.Float64),
            "status": column(status, pl.String),
            "approximate": column([i.approximate for _, _, i in made], pl.Boolean),
            "note": column([i.notes for _, _, i in made], pl.String),
            "slice_key": keys_series(plan.slices).gather(order),
        }
    )
    hidden = _hidden(evaluation, names)
    return table if hidden is None else pl.concat([table, hidden])


def keys_series(keys: Sequence[SliceKey]) -> pl.Series:
    """Returns slice keys as a column of lists of (column, value)."""
    import polars as pl

    pairs = [pair for key in keys for pair in key]
    lengths = np.array([len(key) for key in keys], dtype=np.int64)
    flat = pl.DataFrame(
        {
            "key": np.repeat(np.arange(len(keys)), lengths),
            "pair": pl.DataFrame(pairs, schema={"column": pl.String, "value": pl.String}, orient="row").to_struct(),
        }
    )
    lists = flat.group_by("key", maintain_order=True).agg("pair")
    empty = pl.Series([[]], dtype=lists["pair"].dtype)
    place = np.where(lengths > 0, np.cumsum(lengths > 0) - 1, lists.height)
    return pl.concat([lists["pair"], empty]).gather(place)


def _hidden(evaluation: Evaluation, names: Sequence[str]) -> pl.DataFrame | None:
    """Rows for suppressed slices: their names alone."""
    import polars as pl

    keys = [key for hidden in evaluation.plan.hidden for key in hidden]
    if not keys:
        return None
    size = len(keys) * len(names)
    order = np.repeat(np.arange(len(keys)), len(names))
    nothing = pl.repeat(None, size, eager=True, dtype=pl.Float64)
    below = evaluation.settings.suppress_below
    return pl.DataFrame(
        {
            "model": pl.repeat(evaluation.model, size, eager=True, dtype=pl.String),
            "slice": pl.Series(evaluation.plan.hidden_texts, dtype=pl.String).gather(order),
            "metric": pl.Series(list(names) * len(keys), dtype=pl.String),
            "value": nothing,
            "low": nothing,
            "high": nothing,
            "level": pl.repeat(evaluation.settings.level, size, eager=True, dtype=pl.Float64),
            "method": pl.repeat("none", size, eager=True, dtype=pl.String),
            "rows": nothing.cast(pl.Int64),
            "support": nothing.cast(pl.Int64),
            "weight": nothing,
            "status": pl.repeat("suppressed", size, eager=True, dtype=pl.String),
            "approximate": pl.repeat(False, size, eager=True, dtype=pl.Boolean),
            "note": pl.repeat(
                f"hidden: under {below} rows, or would reveal such a slice", size, eager=True, dtype=pl.String
            ),
            "slice_key": keys_series(keys).gather(order),
        },
    )


def hidden_summary(plan: Plan) -> str:
    """Says what suppression cost; empty where nothing is hidden."""
    hidden = sum(len(keys) for keys in plan.hidden)
    return f"{hidden} of {hidden + len(plan.slices) - 1} slices are suppressed." if hidden else ""
