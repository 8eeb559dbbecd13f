"""What `evalkit compare` prints: the deltas of all rows, slices that moved against them, decisions that changed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evalkit.console import Format, out, table
from evalkit.money import amount, is_cost, unit_of
from evalkit.show import delta_lines, delta_text, named, number

if TYPE_CHECKING:
    import polars as pl

    from evalkit.comparison import Comparison

MOST_SLICES = 20


def view(comparison: Comparison, form: Format) -> Callable[[], None]:
    """Computes what is shown of a comparison and returns what prints it; as JSON the whole table."""
    if form is Format.json:
        from evalkit.storage import records

        text = json.dumps(records(comparison.to_polars()), indent=1, ensure_ascii=False)
        return lambda: out(text)
    headers, rows = delta_lines(comparison, "overall")
    worse, against = worse_slices(comparison), comparison.moved_against()
    flips = {name: comparison.flips(name).row(0, named=True) for name in comparison.flippable}
    savings = [line for name in comparison.candidates for line in saved(comparison, name)]

    def show() -> None:
        table(headers, rows)
        for line in savings:
            out(line)
        for name, flip in flips.items():
            out(_flipped(name, flip))
        _show_slices(comparison, worse, against)

    return show


def worse_slices(comparison: Comparison) -> pl.DataFrame:
    """Returns the slices in which a candidate is worse than the baseline, q < .05, by shrunk delta."""
    import polars as pl

    from evalkit.comparison import FALSE_DISCOVERY_RATE

    better = {name: m.better for pair in comparison.pairs for name, m in pair.candidate.metrics}
    rows = comparison.to_polars().filter((pl.col("slice") != "overall") & (pl.col("q_value") < FALSE_DISCOVERY_RATE))
    sign = {"higher": -1, "lower": 1, None: 0}
    harm = pl.Series([sign[better[m]] * d for m, d in rows.select("metric", "delta").iter_rows()], dtype=pl.Float64)
    return rows.filter(harm > 0)


def saved(comparison: Comparison, candidate: str) -> list[str]:
    """Returns what a candidate saves against the baseline, in words, where costs were evaluated."""
    lines = []
    for name, delta in comparison.deltas(candidate).items():
        if not is_cost(delta.metric) or delta.metric.name_of_function not in ("expected_cost", "total_cost"):
            continue
        settings = comparison.pair(candidate).candidate.settings
        row = comparison.row(name, candidate=candidate)
        if math.isnan(row["delta"]):
            continue
        saves = row["delta"] <= 0
        ends = (-row["delta_high"], -row["delta_low"]) if saves else (row["delta_low"], row["delta_high"])
        between = "" if math.isnan(ends[0]) else f" [{amount(ends[0])}, {amount(ends[1])}]"
        unit = unit_of(delta.metric, settings) or ("per row" if "expected" in name else "in all")
        verb, than = ("saves", "against") if saves else ("costs", "more than")
        told = f"{candidate} {verb} {amount(abs(row['delta']))}{between} {unit} {than} {comparison.baseline}"
        lines.append(f"{told} ({row['note']})." if row["approximate"] else f"{told}.")
    return lines


def _flipped(name: str, flip: dict[str, Any]) -> str:
    return (
        f"{name}: {flip['changed']:,} of {flip['rows']:,} decisions changed ({flip['churn']:.1%}), "
        f"{flip['fixed']:,} fixed and {flip['broken']:,} broken."
    )


def _show_slices(comparison: Comparison, worse: pl.DataFrame, against: pl.DataFrame) -> None:
    """Prints the slices that are worse in the first metric with a direction, and how many are in the others."""
    import polars as pl

    slices = comparison.to_polars()["slice"].n_unique() - 1
    if not slices:
        return
    if not worse.height:
        out(f"\nIn none of {slices:,} slices a candidate is worse than {comparison.baseline} in any metric (q < .05).")
    else:
        first = _headline(comparison)
        shown = worse.filter(pl.col("metric") == first)
        if shown.height:
            out(f"\nOf {slices:,} slices these are worse than {comparison.baseline} in {named(first)} (q < .05):")
            headers = ["model", "slice", comparison.baseline, "candidate", "delta", "shrunk", "q", "rows"]
            table(headers, [_slice(row) for row in shown.head(MOST_SLICES).to_dicts()])
        else:
            out(f"\nIn none of {slices:,} slices a candidate is worse in {named(first)} (q < .05).")
        if shown.height > MOST_SLICES:
            out(f"... {shown.height - MOST_SLICES:,} more")
        _count_others(worse.filter(pl.col("metric") != first))
    if against.height:
        named_ = against.select("model", "metric", "slice").head(MOST_SLICES).iter_rows()
        lines = "; ".join(f"{model} in {named(metric)} on {text}" for model, metric, text in named_)
        out(f"Moved against the delta of all rows (q < .05): {lines}.")


def _count_others(worse: pl.DataFrame) -> None:
    counts = worse.group_by("model", "metric", maintain_order=True).len()
    for (model,), of_model in counts.group_by("model", maintain_order=True):
        listed = ", ".join(f"{named(metric)} {n:,}" for _, metric, n in of_model.iter_rows())
        out(f"Slices in which {model} is worse in other metrics: {listed}.")


def _headline(comparison: Comparison) -> str:
    metrics = comparison.pairs[0].candidate.metrics
    return next((name for name, m in metrics if m.better is not None), metrics[0][0])


def _slice(row: dict[str, Any]) -> list[str]:
    delta, _ = delta_text(row)
    return [
        row["model"],
        row["slice"],
        number(row["baseline"]),
        number(row["candidate"]),
        delta,
        f"{row['delta_shrunk']:+.4f}",
        f"{row['q_value']:.2g}",
        number(row["rows"]),
    ]
