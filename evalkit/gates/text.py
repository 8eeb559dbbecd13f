"""A verdict in the terminal: its sentence, a line for each rule, what is undecided, and what a reader must know.

>>> from evalkit.gates.verdict import Finding, RuleOutcome, Verdict
>>> finding = Finding("recall", "value", "recall", "overall", (), value=0.6, bound=0.65, outcome="fail")
>>> print(of(Verdict("new", "old", (RuleOutcome("floor", "metric", "certify", "fail", (finding,)),))))
new against old is blocked.
<BLANKLINE>
outcome  rule   claim    finding
FAIL     floor  certify  recall is 0.6000, below the bound 0.65
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from evalkit.gates.entries import Entry, entries, printable
from evalkit.gates.verdict import RuleOutcome, Standing, Verdict
from evalkit.show import aligned

if TYPE_CHECKING:
    from rich.console import RenderableType

HEADERS = ("outcome", "rule", "claim", "owner", "finding")
MOST_LISTED = 20
STYLES: dict[Standing, str] = {
    "FAIL": "bold red",
    "INSUFFICIENT": "bold yellow",
    "WAIVED": "bold red",
    "WARN": "yellow",
    "UNDECIDED": "",
    "SKIPPED": "dim",
    "PASS": "green",
}
_LISTS: tuple[tuple[Standing, str], ...] = (
    ("FAIL", "Also failing"),
    ("INSUFFICIENT", "Also insufficient evidence"),
    ("WAIVED", "Also waived"),
    ("WARN", "Also warned of"),
    ("UNDECIDED", "Undecided"),
)


@dataclass(frozen=True)
class Shown:
    """What is printed of a verdict.

    Attributes:
        sentence: the verdict's.
        rows: a line for each rule, worst first, under `HEADERS`.
        styles: the style of each line on a terminal, in rich's words.
        after: the lines below the table.
    """

    sentence: str
    rows: tuple[tuple[str, ...], ...]
    styles: tuple[str, ...]
    after: tuple[str, ...]


def shown(verdict: Verdict, most: int = MOST_LISTED) -> Shown:
    """Returns what is printed of a verdict.

    Args:
        verdict: what the gate decided.
        most: how many slices of each kind are listed below the table.
    """
    rules = verdict.worst_first
    return Shown(
        printable(verdict.sentence),
        tuple(_row(rule) for rule in rules),
        tuple(STYLES[rule.standing] for rule in rules),
        tuple(printable(line) for line in (*_listed(verdict, most), *_notes(verdict))),
    )


def of(verdict: Verdict, most: int = MOST_LISTED) -> str:
    """Returns a verdict as plain text."""
    what = shown(verdict, most)
    table = ["", aligned(HEADERS, what.rows)] if what.rows else []
    return "\n".join([what.sentence, *table, *(["", *what.after] if what.after else [])])


def show(verdict: Verdict, stream: TextIO | None = None, most: int = MOST_LISTED) -> None:
    """Prints a verdict: coloured on a terminal, plain elsewhere.

    Args:
        verdict: what the gate decided.
        stream: where to; stdout by default.
        most: how many slices of each kind are listed below the table.
    """
    target = sys.stdout if stream is None else stream
    if not target.isatty():
        target.write(f"{of(verdict, most)}\n")
        return
    from rich.console import Console

    Console(file=target).print(rendered(verdict, most))


def rendered(verdict: Verdict, most: int = MOST_LISTED) -> RenderableType:
    """Returns a verdict as rich prints it: failures and waivers in red."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    what = shown(verdict, most)
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    # The owner's column is left out where no rule has one.
    kept = [i for i, header in enumerate(HEADERS) if header != "owner" or any(row[i] for row in what.rows)]
    for i in kept:
        drawn.add_column(HEADERS[i], overflow="fold")
    for row, style in zip(what.rows, what.styles, strict=True):
        whole = style if row[0] == "WAIVED" else ""
        drawn.add_row(*(Text(row[i], style=style if i == 0 else whole) for i in kept))
    heading = Text(what.sentence, style={0: "bold green", 1: "bold red"}.get(verdict.exit_code, "bold yellow"))
    table: list[RenderableType] = [Text(), drawn] if what.rows else []
    return Group(heading, *table, *([Text(), *map(Text, what.after)] if what.after else []))


def _row(rule: RuleOutcome) -> tuple[str, ...]:
    return tuple(map(printable, (rule.standing, rule.name, rule.claim, rule.owner, rule.told)))


def _listed(verdict: Verdict, most: int) -> list[str]:
    """Returns the slices that the lines of the rules do not speak of."""
    left = [entry for entry in entries(verdict) if not entry.told_by_rule]
    lines = []
    for standing, heading in _LISTS:
        found = [entry for entry in left if entry.standing == standing]
        if found:
            lines.append(f"{heading} ({len(found):,}):")
            lines += [f"  {entry.rule.name}: {_finding(entry)}" for entry in found[:most]]
        if len(found) > most:
            lines.append(f"  ... {len(found) - most:,} more")
    return lines


def _finding(entry: Entry) -> str:
    return "" if entry.finding is None else entry.finding.sentence


def _notes(verdict: Verdict) -> list[str]:
    return [line for line in (*verdict.notes, verdict.used) if line]
