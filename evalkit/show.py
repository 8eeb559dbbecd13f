"""Results as people read them: plain text, and HTML for notebooks."""

from __future__ import annotations

import html as escaping
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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


def html(result: Result) -> str:
    """Returns the table as HTML for a notebook."""
    shown, left = lines(result)
    head = "".join(f"<th>{escaping.escape(name)}</th>" for name in _HEADERS)
    body = "".join("<tr>" + "".join(f"<td>{escaping.escape(cell)}</td>" for cell in row) + "</tr>" for row in shown)
    more = f"<p>{left:,} more rows: <code>to_polars()</code></p>" if left else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"
