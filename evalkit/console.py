"""What a command prints: results on stdout, progress and messages on stderr; plain where it is no terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from evalkit.results import Result

MOST_DIFFERENCES = 30
FALSE_DISCOVERY_RATE = 0.05


class Format(StrEnum):
    """How results are printed."""

    table = "table"
    json = "json"


def out(text: str) -> None:
    """Prints a line of results."""
    sys.stdout.write(f"{text}\n")


def say(text: str, *, quiet: bool = False) -> None:
    """Prints a message, unless quiet."""
    if not quiet:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


@contextmanager
def progress(total: int, *, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Gives a function that is called at the start of each of so many steps."""
    if quiet:
        yield _nothing
    elif sys.stderr.isatty():
        with _bar(total) as advance:
            yield advance
    else:
        yield say


def _nothing(step: str) -> None:
    """Says nothing of a step."""


@contextmanager
def _bar(total: int) -> Iterator[Callable[[str], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("", total=total)
        begun = False

        def advance(step: str) -> None:
            nonlocal begun
            shown.update(task, description=step, advance=int(begun))
            begun = True

        yield advance


def view(result: Result, form: Format) -> Callable[[], None]:
    """Computes what is shown of a result and returns what prints it.

    As JSON that is the whole table; else the overall lines and the slices that differ from the rest of the rows.
    """
    if form is Format.json:
        from evalkit.storage import records

        text = json.dumps(records(result.to_polars()), indent=1, ensure_ascii=False)
        return lambda: out(text)
    headers, lines = _overall(result)
    from evalkit.tabulate import hidden_summary

    tested = result.differences() if len(result.slices) > 1 else None

    def show() -> None:
        table(headers, lines)
        if tested is not None:
            _show_differences(tested, several=len(result.models) > 1)
        for evaluation in result.evaluations:
            hidden = hidden_summary(evaluation.plan)
            if hidden:
                out(f"{evaluation.model}: {hidden}")

    return show


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints rows of text in columns."""
    from evalkit.show import aligned

    if not sys.stdout.isatty():
        out(aligned(headers, rows))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        drawn.add_column(header, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    Console().print(drawn)


def _overall(result: Result) -> tuple[list[str], list[list[str]]]:
    """Returns the overall lines: a line for each metric, beside each other for several models."""
    import polars as pl

    from evalkit.show import named, number, remark, units_of, written

    units = units_of(result)

    def ends(row: dict[str, Any]) -> str:
        unit = units.get(row["metric"], "")
        return "" if number(row["low"]) == "-" else f"[{written(row['low'], unit)}, {written(row['high'], unit)}]"

    def value(row: dict[str, Any]) -> str:
        return written(row["value"], units.get(row["metric"], ""))

    def title(metric: str) -> str:
        return named(metric, units.get(metric, ""))

    rows = result.to_polars().filter(pl.col("slice") == "overall").to_dicts()
    if len(result.models) == 1:
        lines = [[title(r["metric"]), value(r), ends(r), number(r["rows"]), remark(r)] for r in rows]
        return [result.models[0], "value", f"{rows[0]['level']:.0%} interval", "rows", ""], lines
    cells: dict[str, dict[str, str]] = {}
    for r in rows:
        rough = " ~" if r["approximate"] else ""
        shown = f"{value(r)} {ends(r)}".strip() + rough
        cells.setdefault(r["metric"], {})[r["model"]] = (
            shown if r["status"] == "ok" else str(r["status"]).replace("_", " ")
        )
    lines = [[title(metric), *(by.get(m, "") for m in result.models)] for metric, by in cells.items()]
    return ["", *result.models], lines


def _show_differences(tested: pl.DataFrame, *, several: bool) -> None:
    """Prints the slices that differ from the rest of the rows in the first metric, and how many do in the others."""
    import polars as pl

    from evalkit.show import named

    found = tested.filter((pl.col("status") == "ok") & (pl.col("q_value") < FALSE_DISCOVERY_RATE))
    slices = tested["slice"].n_unique()
    if not found.height:
        out(f"\nNone of {slices:,} slices differs from the rest of the rows (q < .05).")
        return
    first = tested["metric"][0]
    shown = found.filter(pl.col("metric") == first).sort(pl.col("delta_shrunk").abs(), descending=True)
    if shown.height:
        out(
            f"\nOf {slices:,} slices these differ from the rest of the rows in {first} (q < .05), by shrunk difference:"
        )
        headers = [*(["model"] if several else []), "slice", "value", "rest", "difference", "shrunk", "q", "rows"]
        table(headers, [_difference(row, several) for row in shown.head(MOST_DIFFERENCES).to_dicts()])
        if shown.height > MOST_DIFFERENCES:
            out(f"... {shown.height - MOST_DIFFERENCES:,} more")
    else:
        out(f"\nNone of {slices:,} slices differs from the rest of the rows in {first} (q < .05).")
    others = found.filter(pl.col("metric") != first).group_by("metric", maintain_order=True).len()
    if others.height:
        out(
            "Slices that differ in other metrics: "
            + ", ".join(f"{named(name)} {n:,}" for name, n in others.iter_rows())
            + "."
        )


def _difference(row: dict[str, Any], several: bool) -> list[str]:
    from evalkit.show import interval, number

    difference = f"{row['delta']:+.4f} {interval(row['delta_low'], row['delta_high'])}"
    model = [row["model"]] if several else []
    values = [
        number(row["candidate"]),
        number(row["baseline"]),
        difference,
        f"{row['delta_shrunk']:+.4f}",
        f"{row['q_value']:.2g}",
        number(row["rows"]),
    ]
    return [*model, row["slice"], *values]
