"""A verdict as a code quality report of GitLab, for the widget of a merge request.

GitLab tells new findings from old by their fingerprint, so it is made of the rule and the slice, never of values.

>>> import json
>>> from evalkit.gates.verdict import Finding, RuleOutcome, Verdict
>>> finding = Finding("recall", "value", "recall", "overall", (), value=0.6, bound=0.65, outcome="fail")
>>> rule = RuleOutcome("floor", "metric", "certify", "fail", (finding,), line=12)
>>> [found] = json.loads(of(Verdict("new", None, (rule,), file="gate.yaml")))
>>> found["severity"], found["location"]
('blocker', {'path': 'gate.yaml', 'lines': {'begin': 12}})
"""

from __future__ import annotations

import json
from typing import Any

from evalkit.gates.entries import Entry, printable, problems
from evalkit.gates.verdict import Standing, Verdict

MOST = 5_000
NO_FILE = "gate"
_SEVERITIES: dict[Standing, str] = {
    "FAIL": "blocker",
    "INSUFFICIENT": "critical",
    "WAIVED": "major",
    "WARN": "minor",
    "UNDECIDED": "info",
}


def of(verdict: Verdict, most: int = MOST) -> str:
    """Returns what did not pass as a code quality report: a JSON list, empty where everything passed.

    Args:
        verdict: what the gate decided.
        most: how many findings are written, worst first.
    """
    return json.dumps([_violation(entry, verdict.file) for entry in problems(verdict)[:most]], indent=1) + "\n"


def _violation(entry: Entry, file: str) -> dict[str, Any]:
    owner = f" (owner: {entry.rule.owner})" if entry.rule.owner else ""
    return {
        "description": printable(f"{entry.rule.name}: {entry.headline}{owner}"),
        "check_name": f"evalkit gate: {printable(entry.rule.name)}",
        "fingerprint": entry.fingerprint(file),
        "severity": _SEVERITIES[entry.standing],
        "location": {"path": file or NO_FILE, "lines": {"begin": max(entry.rule.line, 1)}},
    }
