"""Verdicts to write down: one with every outcome, names that break things, and any verdict there is."""

from dataclasses import fields, replace
from typing import Any, get_type_hints

from hypothesis import strategies as st

from evalkit.gates.verdict import Decision, Finding, Outcome, RuleOutcome, Verdict, Waiver

NASTY = 'a|b <script>alert("x")</script> `code` *bold* $x$ %0A ::error::\r\n# no\theading\x1b[31m & \u2028 \ufffe ü'
WAIVER = Waiver("dip", "head of risk", "seasonal dip", "2027-01-31")
OVERALL: dict[str, Any] = {"slice": "overall", "slice_key": ()}


def finding(outcome: Decision = "fail", race: str | None = "black", **changes: Any) -> Finding:
    """Recall on a race, against a bound of .65."""
    slice_text = f"race={race}"
    plain = Finding(
        f"recall on {slice_text}",
        "value",
        "recall",
        slice_text,
        (("race", race),),
        value={"fail": 0.612, "pass": 0.7}.get(outcome, 0.64),
        low=0.581,
        high=0.643,
        level=0.9,
        method="wilson",
        bound=0.65,
        outcome=outcome,
        rows=1000,
        support=300,
    )
    return replace(plain, **changes)


def rule(outcome: Outcome = "fail", *findings: Finding, name: str = "floor", **changes: Any) -> RuleOutcome:
    """A certify rule in line 12."""
    return replace(RuleOutcome(name, "metric", "certify", outcome, findings, owner="risk-team", line=12), **changes)


def verdict(*rules: RuleOutcome, **changes: Any) -> Verdict:
    """What a gate decided about `new` against `old`."""
    return replace(Verdict("new", "old", rules, file="gate.yaml", rows=1000, times_used=37), **changes)


def every_outcome() -> Verdict:
    """A rule of each outcome, the worst in the middle."""
    return verdict(
        rule("pass", finding("pass"), name="fine"),
        rule("skipped", name="later", why="there is no baseline"),
        rule("fail", finding("fail"), name="warned", severity="warn"),
        rule("fail", finding("fail"), finding("fail", "white"), finding("pass", "other"), name="floor"),
        rule("insufficient", finding("insufficient", why="8 rows, fewer than 30"), name="thin"),
        rule("fail", finding("fail"), name="dip", waiver=WAIVER),
        rule("pass", finding("pass"), finding("undecided", None), name="flags", claim="flag"),
        notes=("The comparison is unpaired.",),
    )


def nasty() -> Verdict:
    """Names, reasons and slices that hold whatever a form takes for its own."""
    waiver = Waiver(NASTY, NASTY, NASTY, "2027-01-31")
    failing = finding("fail", NASTY, subject=NASTY, slice=NASTY)
    return verdict(
        rule("fail", failing, name=NASTY, reason=NASTY, owner=NASTY),
        rule("fail", failing, name=f"{NASTY} 2", waiver=waiver),
        candidate=NASTY,
        notes=(NASTY,),
        source=NASTY,
    )


def failing(slices: int, words: str = "") -> Verdict:
    """A rule that fails in so many slices."""
    return verdict(rule("fail", *(finding("fail", f"{number:06d}{words}") for number in range(slices))))


_TEXTS = st.text(st.characters(), max_size=8)
_NUMBERS = st.just(float("nan")) | st.floats(allow_infinity=False, allow_nan=False)
_PLAIN: dict[Any, st.SearchStrategy[Any]] = {str: _TEXTS, float: _NUMBERS}


def _any(kind: type, **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    hints = get_type_hints(kind)
    own = {field.name: hints[field.name] for field in fields(kind) if field.name not in given}
    return st.builds(kind, **given, **{name: _PLAIN.get(hint, st.from_type(hint)) for name, hint in own.items()})


def any_verdict() -> st.SearchStrategy[Verdict]:
    """Verdicts of any fields, contradictory ones too; numbers are finite or NaN."""
    findings = st.lists(_any(Finding), max_size=3).map(tuple)
    rules = st.lists(_any(RuleOutcome, findings=findings, waiver=st.none() | _any(Waiver)), max_size=3).map(tuple)
    return _any(Verdict, rules=rules, versions=st.dictionaries(_TEXTS, _TEXTS | st.integers(), max_size=2))
