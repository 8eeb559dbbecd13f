"""A verdict as annotations of GitHub Actions: lines that the runner reads on stdout.

GitHub shows ten errors and ten warnings of a step and drops the others, so they come worst first, and where there are
more, the tenth says how many.

>>> from evalkit.gates.verdict import Finding, RuleOutcome, Verdict
>>> finding = Finding("recall", "value", "recall", "overall", (), value=0.6, bound=0.65, outcome="fail")
>>> rule = RuleOutcome("floor", "metric", "certify", "fail", (finding,), line=12)
>>> for line in commands(Verdict("new", None, (rule,), file="gate.yaml")):
...     print(line)
::error file=gate.yaml,line=12,title=FAIL floor%3A recall::recall is 0.6000, below the bound 0.65
"""

from __future__ import annotations

from evalkit.gates.entries import Entry, printable, problems
from evalkit.gates.verdict import Standing, Verdict

MOST = 10
_LEVELS: dict[Standing, str] = {"FAIL": "error", "INSUFFICIENT": "error", "WAIVED": "warning", "WARN": "warning"}


def commands(verdict: Verdict, most: int = MOST) -> list[str]:
    """Returns a line for each failure, insufficient evidence (errors), waiver and warning (warnings).

    Args:
        verdict: what the gate decided.
        most: how many errors, and how many warnings, GitHub shows of a step.
    """
    lines = []
    for level in ("error", "warning"):
        found = [_annotation(level, entry, verdict.file) for entry in problems(verdict) if _level(entry) == level]
        if level == "error" and not found and verdict.exit_code:
            found = [f"::error title=evalkit gate::{_data(verdict.sentence)}"]
        if len(found) > most:
            left = len(found) - (most - 1)
            said = f"{left:,} more {level}s are in the report, verdict.json."
            found = [*found[: most - 1], f"::{level} title=evalkit gate::{said}"]
        lines += found
    return lines


def _level(entry: Entry) -> str:
    return _LEVELS.get(entry.standing, "")


def _annotation(level: str, entry: Entry, file: str) -> str:
    place = {"file": file, "line": str(entry.rule.line) if entry.rule.line > 0 else ""} if file else {}
    properties = {**place, "title": f"{entry.standing} {entry.title}"}
    written = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value)
    return f"::{level} {written}::{_data(entry.sentence)}"


def _data(text: str) -> str:
    shown = printable(text, kept="\r\n")
    return shown.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
