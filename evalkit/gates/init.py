"""Rules from a past run: each metric must stay within the low end of its interval minus a margin.

>>> import evalkit as ek
>>> data = {"y": [1, 0] * 50, "p": [0.9, 0.2, 0.7, 0.4] * 25}
>>> result = ek.evaluate(data, label="y", score="p", metrics=["recall", "log_loss"])
>>> print(rules_of(result, margin=0.01).splitlines()[6].strip())
- {metric: recall, value: {min: 0.9187}}  # was 1.0000 [0.9287, 1.0000]
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from evalkit.errors import UsageError
from evalkit.metric import Metric
from evalkit.results import Result
from evalkit.show import interval, number
from evalkit.yaml_text import scalar

MOST_SLICES = 50
_LEAST_ROWS = 30


def rules_of(result: Result, *, margin: float = 0.01, metrics: Sequence[str] | None = None) -> str:
    """Returns the text of gate.yaml with bounds from one model's result.

    Args:
        result: of one model.
        margin: how far beyond the interval's end a bound lies, in the metric's unit for metrics in [0, 1] or [-1, 1],
            for others as a share of its value.
        metrics: names; None: every metric with a direction and an interval.

    Raises:
        UsageError: the result is of several models, or no metric gives a bound.
    """
    if len(result.models) > 1:
        raise UsageError(f"Rules are written from one model's results; name one of {', '.join(result.models)}.")
    known = dict(result.evaluations[0].metrics)
    named = [result[name].metrics[0] for name in metrics] if metrics is not None else result.metrics
    rows = [row for row in result.to_polars().iter_rows(named=True) if row["metric"] in named]
    overall = [_rule(row, known[row["metric"]], margin) for row in rows if row["slice"] == "overall"]
    lines = [line for line in overall if line]
    if not lines:
        raise UsageError("No metric of these results has a direction and an interval; name others with --metric.")
    headline = next(row["metric"] for row in rows if _bound(row, known[row["metric"]], margin) is not None)
    of_slices = [row for row in rows if row["slice"] != "overall" and row["metric"] == headline]
    text = [*_head(result, margin), *lines, *_slices(of_slices, known[headline], margin), *_tail(headline)]
    return "\n".join(text) + "\n"


def _head(result: Result, margin: float) -> Iterator[str]:
    evaluation = result.evaluations[0]
    yield f"# Rules from {evaluation.model} on {evaluation.source} ({evaluation.n:,} rows), margin {margin:g}."
    yield "# `evalkit gate RUN --config gate.yaml` decides; every setting is described in docs/gate.md."
    yield "gate:"
    yield "  alpha: 0.05                 # one-sided: of each certify rule, of all flag rules together"
    yield "  on_missing_baseline: fail   # fail | skip | pass"
    yield "  rules:"


def _slices(rows: Sequence[dict[str, Any]], metric: Metric, margin: float) -> Iterator[str]:
    rules = [_rule(row, metric, margin, row["slice"]) for row in rows if row["support"] >= _LEAST_ROWS]
    kept = [rule for rule in rules if rule]
    if kept:
        yield "    # Slices fail only where they are shown to be beyond their bound."
    yield from kept[:MOST_SLICES]
    if len(kept) > MOST_SLICES:
        yield f"    # ... {len(kept) - MOST_SLICES:,} more slices"


def _tail(headline: str) -> Iterator[str]:
    yield "    # Against a baseline (--baseline NAME):"
    yield f"    # - {{metric: {scalar(headline)}, delta: 0, margin: 0.01}}      # not worse by more than .01, shown"
    yield f"    # - {{metric: {scalar(headline)}, slices: all, delta: 0}}       # in no slice shown to be worse"


def _rule(row: dict[str, Any], metric: Metric, margin: float, slice_: str | None = None) -> str:
    bound = _bound(row, metric, margin)
    if bound is None:
        return ""
    side, value = bound
    name = f"metric: {scalar(row['metric'])}"
    of = f"{name}, value: {{{side}: {value:.4g}}}"
    if slice_ is not None:
        of = f"{name}, slices: {scalar(slice_)}, claim: flag, value: {{{side}: {value:.4g}}}"
    return f"    - {{{of}}}  # was {number(row['value'])} {interval(row['low'], row['high'])}"


def _bound(row: dict[str, Any], metric: Metric, margin: float) -> tuple[str, float] | None:
    """Returns the side and the bound of a row of the table; None where it has no interval or no direction."""
    end = row["low"] if metric.better == "higher" else row["high"]
    if metric.better is None or row["status"] != "ok" or end is None or not math.isfinite(end):
        return None
    low, high = metric.range
    slack = margin if high - low <= 2 else margin * abs(row["value"])
    if metric.better == "higher":
        return "min", max(end - slack, low)
    return "max", min(end + slack, high)
