"""What a gate decided: a finding for each question, an outcome for each rule and for the whole.

>>> finding = Finding("recall on race=black", "value", "recall", "race=black", (("race", "black"),), value=0.612,
...                   low=0.581, high=0.643, level=0.9, method="wilson", bound=0.65, side="at least", outcome="fail")
>>> finding.sentence
'recall on race=black is 0.6120 [0.5810, 0.6430], below the bound 0.65'
>>> Verdict("candidate", None, (RuleOutcome("recall", "metric", "certify", "fail", (finding,)),)).outcome
'fail'
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from evalkit.show import signed, written
from evalkit.slicing.spec import SliceKey

SCHEMA = 1
Claim = Literal["certify", "flag"]
Side = Literal["at least", "at most"]
Decision = Literal["pass", "fail", "insufficient", "undecided"]
Outcome = Literal["pass", "fail", "insufficient", "skipped"]
Standing = Literal["FAIL", "INSUFFICIENT", "WAIVED", "WARN", "UNDECIDED", "SKIPPED", "PASS"]
WORST_FIRST: tuple[Standing, ...] = get_args(Standing)
_NAN = float("nan")


@dataclass(frozen=True)
class Finding:
    """One question of a rule (one metric in one slice) and its answer.

    Attributes:
        subject: what was asked about, for people: `recall on race=black`.
        quantity: `value`, `delta` (candidate minus baseline), `relative delta` (delta over |baseline|), or what a kind
            of rule of another part measures.
        metric: the metric's name; empty for rules without one.
        slice: as in the results table; `overall` for all rows.
        slice_key: its (column, value) pairs.
        value: of the quantity; NaN where undefined or missing.
        low: lower end of the interval that the decision used; NaN where there is none.
        high: upper end.
        level: its two-sided level: 1 - 2 alpha for one-sided decisions at alpha.
        method: how it was made.
        bound: what the quantity was held against, inclusive; the margin is part of it.
        side: whether the quantity must be `at least` or `at most` the bound.
        outcome: `fail` shown beyond the bound; `pass` shown within it under certify, tested and not shown beyond it
            under flag; else `insufficient` under certify, `undecided` (it could not be tested) under flag.
        why: why nothing could be shown (`8 rows, fewer than 30`); empty where it was decided.
        p_value: one-sided, of the quantity being within the bound, for flag; of being beyond it, for certify.
        p_adjusted: over the family of the gate, for flag; the p-value itself for certify.
        baseline: the baseline's value of the metric; NaN without one.
        candidate: the candidate's.
        rows: rows in the slice.
        support: rows that the metric reads.
        detectable: the smallest departure from the bound that such data would show with 80% power; NaN if unknown.
        rows_needed: rows at which the departure observed would be shown with 80% power; NaN if unknown.
        unit: of the quantity, such as `USD per row`; empty for plain numbers.
    """

    subject: str
    quantity: str
    metric: str
    slice: str
    slice_key: SliceKey
    value: float = _NAN
    low: float = _NAN
    high: float = _NAN
    level: float = _NAN
    method: str = ""
    bound: float = _NAN
    side: Side = "at least"
    outcome: Decision = "undecided"
    why: str = ""
    p_value: float = _NAN
    p_adjusted: float = _NAN
    baseline: float = _NAN
    candidate: float = _NAN
    rows: int = 0
    support: int = 0
    detectable: float = _NAN
    rows_needed: float = _NAN
    unit: str = ""

    @property
    def margin(self) -> float:
        """How far the value lies inside the bound, in the quantity's unit; negative beyond it."""
        return self.value - self.bound if self.side == "at least" else self.bound - self.value

    @property
    def sentence(self) -> str:
        """The finding in words."""
        what = self.subject if self.quantity == "value" else f"{self.quantity} of {self.subject}"
        if math.isnan(self.value):
            return f"{what} is undefined" + (f": {self.why}" if self.why not in ("", "undefined") else "")
        unit = f" {self.unit}" if self.unit else ""
        stated = f"{what} is {self._written(self.value)}{self._ends}{unit}"
        beyond = "below" if self.side == "at least" else "above"
        within = "at or above" if self.side == "at least" else "at or below"
        if self.outcome == "fail":
            return f"{stated}, {beyond} the bound {self.bound:g}"
        if self.outcome == "pass" and self.margin >= 0 and not self._straddles:
            return f"{stated}, {within} the bound {self.bound:g}"
        if self.outcome == "pass":
            return f"{stated}, not shown to be {beyond} the bound {self.bound:g}"
        if self.why:
            return f"{stated}, not held against the bound {self.bound:g}: {self.why}"
        return f"{stated}, shown neither {within} nor {beyond} the bound {self.bound:g}{self._needs()}"

    def _written(self, value: float) -> str:
        return written(value, self.unit) if self.quantity == "value" else signed(value, self.unit)

    @property
    def _ends(self) -> str:
        return "" if math.isnan(self.low) else f" [{self._written(self.low)}, {self._written(self.high)}]"

    @property
    def _straddles(self) -> bool:
        return self.low < self.bound < self.high

    def _needs(self) -> str:
        needs = []
        if math.isfinite(self.detectable):
            needs.append(f"these rows would show a departure of {written(self.detectable, self.unit)}")
        if math.isfinite(self.rows_needed):
            needs.append(f"about {self.rows_needed:,.0f} rows are needed for this one")
        return f" ({'; '.join(needs)})" if needs else ""


@dataclass(frozen=True)
class Waiver:
    """Who lets a rule's failure pass, why and until when.

    Attributes:
        rule: the name of the rule.
        who: who is answerable.
        why: the reason.
        until: the last day on which it holds, `2027-01-31`.
    """

    rule: str
    who: str
    why: str
    until: str

    @property
    def sentence(self) -> str:
        """The waiver in words."""
        return f"WAIVED by {self.who} until {self.until}: {self.why}"

    def over(self, said: str) -> str:
        """Returns the waiver in words, and what it overrides."""
        return f"{self.sentence} ({said or 'nothing was evaluated'})"


@dataclass(frozen=True)
class RuleOutcome:
    """A rule and what came of it.

    Attributes:
        name: the rule's name, unique in its gate.
        kind: `metric`, or the kind of another part.
        claim: `certify` or `flag`.
        outcome: of its findings; `skipped` where it had nothing to be evaluated on and may be left out.
        findings: each question asked, worst first.
        severity: `block`, or `warn` for a rule that never blocks.
        evidence: `interval`, or `point` where the value alone decides.
        alpha: one-sided error rate of its family.
        owner: who owns the rule; empty where nobody is named.
        reason: why the rule is there.
        expires: the day after which the rule is an error; empty for never.
        why: for a skipped or insufficient rule without findings, why.
        waiver: who overrode it; None where nobody did.
        line: its line in the file of rules; 0 where it came from Python.
    """

    name: str
    kind: str
    claim: Claim
    outcome: Outcome
    findings: tuple[Finding, ...] = ()
    severity: Literal["block", "warn"] = "block"
    evidence: Literal["interval", "point"] = "interval"
    alpha: float = 0.05
    owner: str = ""
    reason: str = ""
    expires: str = ""
    why: str = ""
    waiver: Waiver | None = None
    line: int = 0

    @property
    def blocks(self) -> bool:
        """Whether its outcome counts for the whole: neither a warning nor waived nor skipped."""
        return self.severity == "block" and self.waiver is None and self.outcome != "skipped"

    @property
    def standing(self) -> Standing:
        """The outcome as it is printed: a waived rule is always WAIVED, and a warning that did not pass is WARN."""
        if self.waiver is not None:
            return "WAIVED"
        if self.outcome == "fail":
            return "WARN" if self.severity == "warn" else "FAIL"
        if self.outcome == "insufficient":
            return "WARN" if self.severity == "warn" else "INSUFFICIENT"
        return "SKIPPED" if self.outcome == "skipped" else "PASS"

    @property
    def evaluated(self) -> bool:
        """Whether there was something to evaluate it on, or somebody has answered for it."""
        answered = self.waiver is not None or self.outcome == "pass" or any(not f.why for f in self.findings)
        return answered and self.outcome != "skipped"

    @property
    def decided(self) -> int:
        """How many questions could be answered."""
        return sum(f.outcome in ("pass", "fail") for f in self.findings)

    @property
    def sentence(self) -> str:
        """The rule's outcome in words: that of the question that decided it, and what else there is."""
        if not self.findings:
            return self.why
        first = self.findings[0].sentence
        more = sum(f.outcome == self.findings[0].outcome for f in self.findings) - 1
        counts = {o: sum(f.outcome == o for f in self.findings) for o in ("fail", "insufficient", "undecided", "pass")}
        if len(self.findings) == 1:
            return first
        if self.outcome == "pass":
            undecided = counts["undecided"]
            listed = f"; {undecided:,} undecided" if undecided else ""
            shown = "none is shown beyond its bound" if self.claim == "flag" else "all are within their bounds"
            return f"of {len(self.findings):,} slices {shown}{listed}"
        return first + (f"; and {more:,} more" if more else "")

    @property
    def told(self) -> str:
        """The outcome in words; who overrode it, why and until when comes first, where somebody did."""
        return self.sentence if self.waiver is None else self.waiver.over(self.sentence)


@dataclass(frozen=True)
class Verdict:
    """What a gate decided about a candidate.

    Attributes:
        candidate: the model's name.
        baseline: what it was compared with; None where nothing was compared.
        rules: each rule's outcome, in the order of the file.
        alpha: the one-sided error rate of the whole for flag rules, and of each certify rule.
        source: what the data were called.
        rows: rows evaluated.
        fingerprint: digest of the data; empty where rows were not kept.
        times_used: how many gates these data have decided, this one among them; 0 where that is not known.
        paired: whether candidate and baseline were compared on the same rows.
        notes: what a reader must know: that the comparison is unpaired, that rows were dropped.
        file: the file of rules; empty where they came from Python.
        versions: of evalkit and what it stands on.
    """

    candidate: str
    baseline: str | None
    rules: tuple[RuleOutcome, ...]
    alpha: float = 0.05
    source: str = ""
    rows: int = 0
    fingerprint: str = ""
    times_used: int = 0
    paired: bool = True
    notes: tuple[str, ...] = ()
    file: str = ""
    versions: dict[str, Any] = field(default_factory=dict)

    @property
    def outcome(self) -> Outcome:
        """Fail before insufficient before pass; `skipped` where no rule was evaluated."""
        outcomes = {rule.outcome for rule in self.rules if rule.blocks}
        for outcome in ("fail", "insufficient", "pass"):
            if outcome in outcomes:
                return outcome
        return "pass" if any(rule.evaluated for rule in self.rules) else "skipped"

    @property
    def exit_code(self) -> int:
        """0 passed; 1 the gate blocks; 3 insufficient evidence, or no rule was evaluated."""
        return {"pass": 0, "fail": 1, "insufficient": 3, "skipped": 3}[self.outcome]

    @property
    def waived(self) -> tuple[RuleOutcome, ...]:
        """The rules that somebody overrode."""
        return tuple(rule for rule in self.rules if rule.waiver is not None)

    @property
    def worst_first(self) -> tuple[RuleOutcome, ...]:
        """The rules, worst first; alike in the order of the file."""
        return tuple(sorted(self.rules, key=lambda rule: WORST_FIRST.index(rule.standing)))

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        against = f" against {self.baseline}" if self.baseline else ""
        said = {
            "pass": "passes the gate",
            "fail": "is blocked",
            "insufficient": "is not decided: insufficient evidence",
            "skipped": "is not decided: no rule was evaluated",
        }[self.outcome]
        waived = len(self.waived)
        overridden = f", with {waived:,} {'rule' if waived == 1 else 'rules'} waived"
        overridden = overridden if waived and self.outcome == "pass" else ""
        return f"{self.candidate}{against} {said}{overridden}."

    @property
    def used(self) -> str:
        """How often these data have decided gates, in words; empty where that is not known."""
        times = "1 gate" if self.times_used == 1 else f"{self.times_used:,} gates"
        return f"This data has been used for {times}." if self.times_used else ""
