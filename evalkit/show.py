"""Results as people read them: plain text, and HTML for notebooks."""

from __future__ import annotations

import html as escaping
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalkit.comparison import Comparison
    from evalkit.results import Result

_MOST_LINES = 40
_HEADERS = ("model", "slice", "metric", "value", "interval", "rows", "")


def number(value: Any) -> str:
    """Writes a number in four significant digits; a dash where there is none.

    >>> number(0.12345), number(123456.0), number(float("nan"))
    ('0.1235', '123,456', '-')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    whole = math.isfinite(value) and (abs(value) >= 1000 or (value == round(value) and abs(value) >= 10))
    if isinstance(value, int) or whole:
        return f"{value:,.0f}"
    return f"{value:.4f}" if abs(value) >= 0.001 or value == 0 else f"{value:.2e}"


def interval(low: Any, high: Any) -> str:
    """Writes an interval as `[low, high]`; nothing where there is none."""
    return "" if number(low) == "-" else f"[{number(low)}, {number(high)}]"


def remark(row: dict[str, Any]) -> str:
    """Says what a reader must know of a row: its status unless ok, whether it is approximate, its note."""
    status = "" if row["status"] == "ok" else str(row["status"]).replace("_", " ")
    rough = "approximate" if row["approximate"] and row["status"] == "ok" else ""
    return ": ".join(part for part in (status or rough, row["note"]) if part)


def lines(result: Result, most: int = _MOST_LINES) -> tuple[list[tuple[str, ...]], int]:
    """Returns the first rows of the table as text, and how many were left out."""
    table = result.to_polars()
    shown: list[tuple[str, ...]] = [
        (
            str(row["model"]),
            str(row["slice"]),
            str(row["metric"]),
            number(row["value"]),
            interval(row["low"], row["high"]),
            number(row["rows"]),
            remark(row),
        )
        for row in table.head(most).iter_rows(named=True)
    ]
    return shown, max(table.height - most, 0)


def text(result: Result) -> str:
    """Returns the table as aligned text."""
    shown, left = lines(result)
    return aligned(_HEADERS, shown) + (f"\n... {left:,} more rows: to_polars()" if left else "")


def aligned(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns rows of text in columns; columns in which every row is alike and empty are left out."""
    kept = [i for i, header in enumerate(headers) if header == "" or any(row[i] for row in rows)]
    grid = [[headers[i] for i in kept], *([row[i] for i in kept] for row in rows)]
    widths = [max(len(row[i]) for row in grid) for i in range(len(kept))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in grid)


def compared(comparison: Comparison) -> str:
    """Returns the deltas of all rows as aligned text, and how many slices have theirs."""
    headers, rows = delta_lines(comparison, "overall")
    slices = comparison.to_polars()["slice"].n_unique() - 1
    return aligned(headers, rows) + (f"\n... and in {slices:,} slices: to_polars()" if slices else "")


def delta_lines(comparison: Comparison, slice: str) -> tuple[list[str], list[list[str]]]:  # noqa: A002 - the table's word
    """Returns a line for each metric of a slice that depends on the model: values, delta, its p-value, a remark.

    With several candidates the line holds the baseline's value and each candidate's delta.
    """
    units = units_of(comparison.result)
    lines: dict[str, list[str]] = {}
    several = len(comparison.candidates) > 1
    for row in comparison.to_polars().iter_rows(named=True):
        if row["slice"] != slice or "does not depend on the model" in (row["note"] or ""):
            continue
        unit = units.get(row["metric"], "")
        start = [named(row["metric"], unit), written(row["baseline"], unit)]
        line = lines.setdefault(row["metric"], start)
        line += [] if several else [written(row["candidate"], unit)]
        line += [*delta_text(row, unit), *([] if several else [remark(row)])]
    if several:
        heads = [head for name in comparison.candidates for head in (name, "p (Holm)")]
        return ["", comparison.baseline, *heads], list(lines.values())
    return ["", comparison.baseline, *comparison.candidates, "delta", "p (Holm)", ""], list(lines.values())


def delta_text(row: dict[str, Any], unit: str = "") -> tuple[str, str]:
    """Writes a row's delta with its interval, and its adjusted p-value."""
    delta, p = row["delta"], row["p_adjusted"]
    shown = "-" if delta is None or math.isnan(delta) else signed(delta, unit)
    low, high = row["delta_low"], row["delta_high"]
    ends = "" if number(low) == "-" else f" [{signed(low, unit)}, {signed(high, unit)}]"
    return shown + ends, "" if p is None or math.isnan(p) else f"{p:.2g}"


def units_of(result: Result) -> dict[str, str]:
    """Returns the units of a result's metrics of money by the metrics' names."""
    from evalkit.money import unit_of

    units = {name: unit_of(metric, e.settings) for e in result.evaluations for name, metric in e.metrics}
    return {name: unit for name, unit in units.items() if unit}


def named(metric: str, unit: str = "") -> str:
    """Writes a metric's name without the amounts of its costs, and with its unit, where it has one.

    >>> named("cost_saved@fn=150,fp=40,versus=always", "USD per row"), named("precision@threshold=0.7")
    ('cost_saved@versus=always (USD per row)', 'precision@threshold=0.7')
    """
    from evalkit.money import COST_METRICS

    name, _, parameters = metric.partition("@")
    if name in COST_METRICS and parameters:
        kept = [part for part in parameters.split(",") if part.partition("=")[0] not in ("tp", "fp", "fn", "tn")]
        metric = "@".join([name, *([",".join(kept)] if kept else [])])
    return f"{metric} ({unit})" if unit else metric


def written(value: Any, unit: str) -> str:
    """Writes a value, amounts of money with two decimals."""
    from evalkit.money import amount

    return amount(value) if unit and value is not None else number(value)


def signed(value: float, unit: str = "") -> str:
    """Writes a difference with its sign, amounts of money with two decimals.

    >>> signed(0.01234), signed(-1234.0), signed(0.0)
    ('+0.0123', '-1,234', '0')
    """
    if value == 0:
        return "0"
    return f"{'+' if value > 0 else '-'}{written(abs(value), unit)}"


def html(result: Result) -> str:
    """Returns the table as HTML for a notebook."""
    shown, left = lines(result)
    head = "".join(f"<th>{escaping.escape(name)}</th>" for name in _HEADERS)
    body = "".join("<tr>" + "".join(f"<td>{escaping.escape(cell)}</td>" for cell in row) + "</tr>" for row in shown)
    more = f"<p>{left:,} more rows: <code>to_polars()</code></p>" if left else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"
