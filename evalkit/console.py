"""What a command prints: results on stdout, progress and messages on stderr; plain where it is no terminal."""

from __future__ import annotations

import json
import sys
import threading
import time
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


class Steps:
    """Says nothing of what is going on."""

    def __call__(self, step: str) -> None:
        """Begins a step."""

    def detail(self, text: str) -> None:
        """Says how far the step is."""


class _Lines(Steps):
    """A line for each step, and for how far it is one now and then."""

    every_seconds = 10.0

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, step: str) -> None:
        self._said = time.monotonic()
        say(step)

    def detail(self, text: str) -> None:
        if time.monotonic() - self._said >= self.every_seconds:
            self(text)


class _Bar(Steps):
    """A bar in a terminal."""

    def __init__(self, shown: Any, task: Any) -> None:
        self._shown, self._task, self._step = shown, task, ""

    def __call__(self, step: str) -> None:
        self._shown.update(self._task, description=step, advance=int(bool(self._step)))
        self._step = step

    def detail(self, text: str) -> None:
        self._shown.update(self._task, description=text)


@contextmanager
def progress(total: int, *, quiet: bool) -> Iterator[Steps]:
    """Gives what is called at the start of each of so many steps."""
    if quiet:
        yield Steps()
    elif not sys.stderr.isatty():
        yield _Lines()
    else:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
            yield _Bar(shown, shown.add_task("", total=total))


class RowsRead:
    """Tells how many rows were read, how fast, and how long the rest will take; called from any thread.

    Args:
        steps: where it is told.
        model: words after the numbers.
        clock: seconds.
    """

    every_seconds = 0.2

    def __init__(self, steps: Steps, model: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self._steps, self._model, self._clock = steps, model, clock
        self._lock = threading.Lock()
        self._rows, self._told = 0, -1.0
        self._begun = self._before = 0.0

    def __call__(self, rows: int, total: int | None) -> None:
        """Takes note of rows that were read."""
        with self._lock:
            now = self._clock()
            if self._told < 0:
                self._begun, self._before, self._told = now, rows, now
            self._rows += rows
            if now - self._told >= self.every_seconds:
                self._told = now
                self._steps.detail(self.text(now, total) + self._model)

    def text(self, now: float, total: int | None) -> str:
        """Writes rows, rate and time left."""
        rate = (self._rows - self._before) / max(now - self._begun, 1e-9)
        of = "" if total is None else f" of {total:,}"
        left = f", {duration((total - self._rows) / rate)} left" if total and rate > 0 else ""
        return f"counting: {self._rows:,}{of} rows, {rate:,.0f} a second{left}"


def duration(seconds: float) -> str:
    """Writes a time for people.

    >>> duration(0.4), duration(75), duration(7300)
    ('1 s', '1 min 15 s', '2 h 1 min')
    """
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


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
    if not slices:
        return
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
