"""A verdict as SARIF 2.1.0, for code scanning and for viewers of static analysis.

>>> import json
>>> from evalkit.gates.verdict import Finding, RuleOutcome, Verdict
>>> finding = Finding("recall", "value", "recall", "overall", (), value=0.6, bound=0.65, outcome="fail")
>>> rule = RuleOutcome("floor", "metric", "certify", "fail", (finding,), line=12)
>>> [run] = json.loads(of(Verdict("new", None, (rule,), file="gate.yaml")))["runs"]
>>> run["results"][0]["level"], run["results"][0]["message"]["text"]
('error', 'recall is 0.6000, below the bound 0.65')

Source: OASIS, Static Analysis Results Interchange Format (SARIF) Version 2.1.0.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from evalkit import __version__
from evalkit.gates.entries import Entry, printable, problems
from evalkit.gates.gitlab import NO_FILE
from evalkit.gates.verdict import RuleOutcome, Standing, Verdict

# GitHub shows 5,000 results of a run.
MOST = 5_000
_LEVELS: dict[Standing, str] = {
    "FAIL": "error",
    "INSUFFICIENT": "error",
    "WAIVED": "warning",
    "WARN": "warning",
    "UNDECIDED": "none",
}


def of(verdict: Verdict, most: int = MOST) -> str:
    """Returns what did not pass as SARIF; what was waived is suppressed, with the waiver as the reason.

    Args:
        verdict: what the gate decided.
        most: how many results are written, worst first.
    """
    numbers = {rule.name: number for number, rule in enumerate(verdict.rules)}
    driver = {"name": "evalkit", "version": __version__, "rules": [_rule(rule) for rule in verdict.rules]}
    found = problems(verdict)
    run = {
        "tool": {"driver": driver},
        "automationDetails": {"id": "evalkit-gate/"},
        "results": [_result(entry, verdict.file, numbers[entry.rule.name]) for entry in found[:most]],
        "properties": {"outcome": verdict.outcome, "sentence": verdict.sentence, "left_out": max(len(found) - most, 0)},
    }
    document = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return json.dumps(document, indent=1) + "\n"


def _rule(rule: RuleOutcome) -> dict[str, Any]:
    said = printable(f"{rule.name} ({rule.claim}): {rule.reason}" if rule.reason else f"{rule.name} ({rule.claim})")
    return {"id": rule.name, "shortDescription": {"text": said}, "fullDescription": {"text": said}}


def _result(entry: Entry, file: str, number: int) -> dict[str, Any]:
    level = _LEVELS[entry.standing]
    place = {
        "artifactLocation": {"uri": quote(printable(file) or NO_FILE)},
        "region": {"startLine": max(entry.rule.line, 1)},
    }
    result: dict[str, Any] = {
        "ruleId": entry.rule.name,
        "ruleIndex": number,
        "kind": "open" if level == "none" else "fail",
        "level": level,
        "message": {"text": printable(entry.sentence) or entry.title},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"evalkitGate/v1": entry.fingerprint(file)},
    }
    if entry.standing == "WAIVED" and entry.rule.waiver is not None:
        why = printable(entry.rule.waiver.sentence)
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": why}]
    return result
