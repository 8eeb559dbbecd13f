"""A verdict question by question, worst first, as the forms that machines read list it.

>>> from evalkit.gates.verdict import Finding, RuleOutcome, Verdict
>>> finding = Finding("recall", "value", "recall", "overall", (), value=0.6, bound=0.65, outcome="fail")
>>> [entry] = entries(Verdict("new", None, (RuleOutcome("floor", "metric", "certify", "fail", (finding,)),)))
>>> entry.standing, entry.title, entry.sentence
('FAIL', 'floor: recall', 'recall is 0.6000, below the bound 0.65')
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass

from evalkit.gates.verdict import WORST_FIRST, Finding, RuleOutcome, Standing, Verdict


@dataclass(frozen=True)
class Entry:
    """A question of a rule and its answer, or a rule about which there is nothing finer to say.

    Attributes:
        rule: the rule.
        finding: the question; None for the rule as a whole.
        title: the rule and what was asked, unique in the verdict; without values, so that runs can be compared.
    """

    rule: RuleOutcome
    finding: Finding | None
    title: str

    @property
    def standing(self) -> Standing:
        """How it counts: a failure of a waived rule is WAIVED, of a rule that only warns WARN."""
        if self.finding is None:
            return self.rule.standing
        return _standing(self.rule, self.finding)

    @property
    def sentence(self) -> str:
        """The answer in words; who waived it, where somebody did, comes first."""
        if self.finding is None:
            return self.rule.told
        waiver = self.rule.waiver if self.standing == "WAIVED" else None
        return self.finding.sentence if waiver is None else waiver.over(self.finding.sentence)

    @property
    def headline(self) -> str:
        """How it counts, and the answer."""
        return self.sentence if self.sentence.startswith("WAIVED") else f"{self.standing}: {self.sentence}"

    @property
    def told_by_rule(self) -> bool:
        """Whether the rule's own sentence says it: that of its first question, unless it speaks of many that passed."""
        rule = self.rule
        if self.finding is None:
            return True
        spoken_of = () if len(rule.findings) > 1 and rule.outcome == "pass" else rule.findings[:1]
        return any(finding is self.finding for finding in spoken_of)

    def fingerprint(self, file: str) -> str:
        """Returns what identifies the question from run to run, values and lines left out: 64 hexadecimal digits.

        Args:
            file: the file of rules, since two gates may name their rules alike.
        """
        asked = None if self.finding is None else _identity(self.finding)
        return hashlib.sha256(json.dumps([file, self.rule.name, asked]).encode()).hexdigest()


def entries(verdict: Verdict) -> tuple[Entry, ...]:
    """Returns every question of every rule, worst first, and for a rule that no question speaks for, the rule."""
    found = [entry for rule in verdict.rules for entry in _of_rule(rule)]
    return tuple(sorted(found, key=lambda entry: WORST_FIRST.index(entry.standing)))


def problems(verdict: Verdict) -> tuple[Entry, ...]:
    """Returns the questions that did not pass, worst first."""
    return tuple(entry for entry in entries(verdict) if entry.standing not in ("PASS", "SKIPPED"))


def _of_rule(rule: RuleOutcome) -> list[Entry]:
    subjects = Counter(_subject(finding) for finding in rule.findings)
    asked = [
        Entry(
            rule,
            finding,
            f"{rule.name}: {_subject(finding)}{_side(finding) if subjects[_subject(finding)] > 1 else ''}",
        )
        for finding in rule.findings
    ]
    # A rule that blocks, or is waived, is always told, also where each of its slices alone is undecided or passes.
    told = rule.standing in {entry.standing for entry in asked} or (asked and rule.standing in ("PASS", "SKIPPED"))
    return asked if told else [Entry(rule, None, rule.name), *asked]


def _standing(rule: RuleOutcome, finding: Finding) -> Standing:
    if finding.outcome == "pass":
        return "PASS"
    if finding.outcome == "undecided":
        return "UNDECIDED"
    if rule.waiver is not None:
        return "WAIVED"
    if rule.severity == "warn":
        return "WARN"
    return "FAIL" if finding.outcome == "fail" else "INSUFFICIENT"


def _subject(finding: Finding) -> str:
    return finding.subject if finding.quantity == "value" else f"{finding.quantity} of {finding.subject}"


def _side(finding: Finding) -> str:
    return f", {finding.side}"


def _identity(finding: Finding) -> list[object]:
    return [finding.metric, finding.quantity, finding.slice, [list(pair) for pair in finding.slice_key], finding.side]


def printable(text: str, *, kept: str = "") -> str:
    r"""Returns text in which what cannot be shown is written out, so that no name can break a line or a terminal.

    Args:
        text: anything, line breaks and control characters included.
        kept: characters that may stay.

    >>> printable("a" + chr(10) + "b" + chr(27) + "[31m")
    'a\\nb\\x1b[31m'
    """
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable() or character in kept
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
