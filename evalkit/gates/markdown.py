"""A verdict as Markdown, for the summary of a GitHub job.

GitHub drops a summary of more than 1 MiB whole, so rows are cut before it, worst first, and the last line says how
many more there are. Its Markdown has no colours; a caution alert is what it renders in red, so waivers stand in one.

>>> from evalkit.gates.verdict import Finding, RuleOutcome, Verdict
>>> finding = Finding("recall", "value", "recall", "overall", (), value=0.6, bound=0.65, outcome="fail")
>>> print(of(Verdict("new", "old", (RuleOutcome("floor", "metric", "certify", "fail", (finding,)),))))
## FAIL: new against old is blocked.
<BLANKLINE>
### Rules
<BLANKLINE>
| outcome | rule | claim | finding | owner |
|---|---|---|---|---|
| **FAIL** | floor | certify | recall is 0.6000, below the bound 0.65 |  |
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from evalkit.gates.entries import printable, problems
from evalkit.gates.verdict import Outcome, RuleOutcome, Verdict

# What the runner accepts is 1,024 KiB for each step.
MOST_BYTES = 1_048_576
MOST_CHARACTERS = 1_000
_MARKS: dict[Outcome, str] = {
    "pass": "PASS",
    "fail": "FAIL",
    "insufficient": "INSUFFICIENT EVIDENCE",
    "skipped": "NOTHING EVALUATED",
}
# Numeric references are literal text wherever they stand, in tables too, where a backslash would depend on its place.
# Brackets and underscores stay where they mean nothing, so that intervals and names can be read in the file.
_SPECIAL = re.compile(r"[&<>|`*~\\$]|^\[|\](?=[(\[:])|(?<![^\W_])_|_(?![^\W_])")


def of(verdict: Verdict, most_bytes: int = MOST_BYTES) -> str:
    """Returns a verdict as Markdown of at most so many bytes of UTF-8; empty where not even its heading fits.

    Args:
        verdict: what the gate decided.
        most_bytes: the limit; rows that do not fit are counted in the last line.
    """
    blocks = list(_blocks(verdict))
    whole = "".join(f"{line}\n" for header, rows in blocks for line in (*header, *rows))
    if _size(whole) <= most_bytes:
        return whole.rstrip("\n")
    return _cut(blocks, most_bytes)


def _cut(blocks: list[tuple[list[str], list[str]]], most_bytes: int) -> str:
    """Returns as many rows as fit, and a last line with the number of the others."""
    rows = sum(len(block) for _, block in blocks)
    left = most_bytes - _size(_more(rows))
    lines: list[str] = []
    shown = 0
    for added, counts in _pieces(blocks):
        left -= sum(_size(line) + 1 for line in added)
        if left < 0:
            break
        lines += added
        shown += counts
    return "\n".join([*lines, _more(rows - shown)]) if lines else ""


def _pieces(blocks: list[tuple[list[str], list[str]]]) -> Iterator[tuple[list[str], int]]:
    """Yields what stays together, and how many rows it holds: a row, after its header where it is the first."""
    for header, block in blocks:
        yield [*header, *block[:1]], len(block[:1])
        for row in block[1:]:
            yield [row], 1


def _more(rows: int) -> str:
    return f"\n{rows:,} more rows are in the report, verdict.json."


def _size(text: str) -> int:
    return len(text.encode("utf-8"))


def _blocks(verdict: Verdict) -> Iterator[tuple[list[str], list[str]]]:
    """Yields parts as lines that belong together and rows that may be cut; nothing yet cut is followed by a part."""
    yield [f"## {_MARKS[verdict.outcome]}: {_cell(verdict.sentence)}"], []
    waived = [
        f"> - Rule {_cell(r.name)}: {_cell(r.waiver.sentence)}" for r in verdict.worst_first if r.waiver is not None
    ]
    if waived:
        yield ["", "> [!CAUTION]", "> Waived, by somebody's decision and not by the data:", ">"], waived
    notes = [line for line in (*verdict.notes, verdict.used) if line]
    if notes:
        yield [""], [f"- Note: {_cell(note)}" for note in notes]
    if verdict.rules:
        rows = (_rule(rule) for rule in verdict.worst_first)
        yield from _table("Rules", ("outcome", "rule", "claim", "finding", "owner"), rows)
    found = [
        (entry.standing, entry.rule.name, entry.finding.slice, entry.finding.sentence)
        for entry in problems(verdict)
        if entry.finding is not None and not entry.told_by_rule
    ]
    if found:
        yield from _table("More slices", ("outcome", "rule", "slice", "finding"), found)


def _table(
    title: str, headers: tuple[str, ...], rows: Iterable[tuple[str, ...]]
) -> Iterator[tuple[list[str], list[str]]]:
    head = ["", f"### {title}", "", f"| {' | '.join(headers)} |", "|" + "---|" * len(headers)]
    yield head, [f"| **{row[0]}** | {' | '.join(_cell(cell) for cell in row[1:])} |" for row in rows]


def _rule(rule: RuleOutcome) -> tuple[str, ...]:
    return rule.standing, rule.name, rule.claim, rule.told, rule.owner


def _cell(text: str) -> str:
    """Returns text that Markdown and HTML take literally, on one line."""
    shown = printable(text)
    if len(shown) > MOST_CHARACTERS:
        shown = f"{shown[:MOST_CHARACTERS]} ..."
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", shown)
