"""The first part of a gated report: the verdict, and every rule with all that it asked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from evalkit.gates.entries import printable
from evalkit.gates.verdict import Decision, Finding, RuleOutcome, Verdict
from evalkit.reports.cells import plain
from evalkit.reports.part import Part, render
from evalkit.results import Result
from evalkit.show import number, signed, written

MOST_WITHOUT_SCRIPT = 40
_LABELS = {
    "pass": "PASSED",
    "fail": "BLOCKED",
    "insufficient": "INSUFFICIENT EVIDENCE",
    "skipped": "NOTHING EVALUATED",
}
_DECISIONS: tuple[Decision, ...] = ("fail", "insufficient", "undecided", "pass")
_NAN = float("nan")


def verdict(result: Result, decided: Verdict) -> Part:
    """Returns the part that says what a gate decided, worst rules first, with every question that they asked.

    Args:
        result: what the gate was asked about; of its suppressed slices no number is shown.
        decided: what it decided.
    """
    hidden = suppressed(result)
    rules = [_masked(rule, hidden) for rule in decided.worst_first]
    return Part(
        "verdict",
        "Verdict",
        render(
            "verdict.html",
            verdict=decided,
            label=_LABELS[decided.outcome],
            rules=[(rule, _facts(rule), _counts(rule), _lines(rule)[:MOST_WITHOUT_SCRIPT]) for rule in rules],
            counts=_total(rules),
            headers=_HEADERS,
            numeric=_NUMERIC,
        ),
        {"headers": list(_HEADERS), "rules": [_columns(rule) for rule in rules]},
    )


def suppressed(result: Result) -> set[str]:
    """Returns the slices of which nothing may be told."""
    table = result.to_polars().filter(pl.col("status") == "suppressed")
    return {*table["slice"], *(text for e in result.evaluations for text in e.plan.hidden_texts)}


def _masked(rule: RuleOutcome, hidden: set[str]) -> RuleOutcome:
    """Takes the numbers out of findings about suppressed slices."""
    if hidden.isdisjoint(finding.slice for finding in rule.findings):
        return rule
    nothing: dict[str, Any] = dict.fromkeys(
        ("value", "low", "high", "p_value", "p_adjusted", "baseline", "candidate", "detectable", "rows_needed"), _NAN
    )
    nothing |= {"rows": 0, "support": 0, "why": "the slice is suppressed"}
    return replace(rule, findings=tuple(replace(f, **nothing) if f.slice in hidden else f for f in rule.findings))


def _facts(rule: RuleOutcome) -> list[str]:
    """Returns what else there is to know of a rule, in a few words each."""
    severity = "blocks" if rule.severity == "block" else "only warns"
    owner = f"owner {rule.owner}" if rule.owner else "no owner"
    first = rule.findings[0] if rule.findings else None
    margin = (
        "" if first is None or math.isnan(first.margin) else f"margin {signed(first.margin, first.unit)}{_unit(first)}"
    )
    judged = "by the value alone" if rule.evidence == "point" else ""
    expires = f"expires {rule.expires}" if rule.expires else ""
    line = f"line {rule.line}" if rule.line else ""
    facts = (rule.claim, severity, margin, judged, owner, expires, line)
    return [printable(fact) for fact in facts if fact]


def _counts(rule: RuleOutcome) -> str:
    found = [(sum(f.outcome == outcome for f in rule.findings), outcome) for outcome in _DECISIONS]
    return ", ".join(f"{count:,} {outcome}" for count, outcome in found if count)


def _total(rules: Iterable[RuleOutcome]) -> list[tuple[str, int]]:
    """Counts rules by their standing, worst first."""
    standings = [rule.standing for rule in rules]
    return [(name, standings.count(name)) for name in dict.fromkeys(standings)]


# --- the questions of a rule ---

_HEADERS = {
    "outcome": "outcome",
    "subject": "asked about",
    "value": "value",
    "interval": "interval",
    "bound": "bound",
    "margin": "margin",
    "p_value": "p",
    "p_adjusted": "adjusted p",
    "rows": "rows",
    "detectable": "detectable",
    "method": "method",
}
_NUMERIC = frozenset(_HEADERS) - {"outcome", "subject", "method"}


def _lines(rule: RuleOutcome) -> list[dict[str, str]]:
    return [_line(finding) for finding in _worst_first(rule.findings)]


def _worst_first(findings: Sequence[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: _DECISIONS.index(finding.outcome))


def _line(finding: Finding) -> dict[str, str]:
    """Returns a finding in words, by column."""
    plainly = finding.quantity == "value"
    unit = finding.unit

    def write(value: float) -> str:
        return written(value, unit) if plainly else _signed(value, unit)

    ends = f"[{write(finding.low)}, {write(finding.high)}]" if not math.isnan(finding.low) else ""
    level = f" {100 * finding.level:.4g}%" if ends and not math.isnan(finding.level) else ""
    needed = "" if not math.isfinite(finding.rows_needed) else f"about {finding.rows_needed:,.0f} rows are needed"
    return {
        "outcome": finding.outcome,
        "subject": printable(finding.subject if plainly else f"{finding.quantity} of {finding.subject}"),
        "value": f"{write(finding.value)}{_unit(finding)}",
        "interval": f"{ends}{level}",
        "bound": f"{'≥' if finding.side == 'at least' else '≤'} {finding.bound:g}",
        "margin": _signed(finding.margin, unit),
        "p_value": number(finding.p_value),
        "p_adjusted": number(finding.p_adjusted),
        "rows": f"{finding.rows:,}" if finding.rows else "-",
        "detectable": written(finding.detectable, unit),
        "method": printable(finding.method if finding.method != "none" else ""),
        "remark": printable("; ".join(part for part in (finding.why, needed) if part)),
    }


def _signed(value: float, unit: str) -> str:
    return "-" if math.isnan(value) else signed(value, unit)


def _unit(finding: Finding) -> str:
    return f" {finding.unit}" if finding.unit and not math.isnan(finding.value) else ""


def _columns(rule: RuleOutcome) -> dict[str, Any]:
    """Returns a rule's findings as its table reads them: words by column, and the numbers to sort by."""
    findings = _worst_first(rule.findings)
    lines = _lines(rule)
    numbers = ("value", "bound", "margin", "p_value", "p_adjusted", "rows", "detectable")
    return {
        "text": {name: [line[name] for line in lines] for name in (*_HEADERS, "remark")},
        "number": {name: [plain(float(getattr(f, name))) for f in findings] for name in numbers}
        | {"interval": [plain(f.low) for f in findings]},
    }
