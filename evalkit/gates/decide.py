"""Questions answered: error rates shared over rules and slices, a finding for each, an outcome for each rule.

- certify: passes if the quantity is shown within its bound at one-sided alpha, fails if it is shown beyond it. Slices
  are not adjusted for: all must hold.
- flag: fails if the quantity is shown beyond its bound, at alpha over all flag rules and slices together: by the
  largest statistic under their joint covariance where rows or groups tell it, else by Holm's procedure. Named slices
  and slices that rules find are two families, with half of alpha each where there are both, so that many slices that
  nobody named do not hide a harm in one that somebody did. Rules that only warn are families of their own.

The interval in a finding is the one that decided: its ends err with the alpha that the procedure gave the question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from evalkit.gates.families import MOST_JOINT, Levels, by_holm, by_largest, correlations
from evalkit.gates.joint import influence
from evalkit.gates.questions import Question, Run
from evalkit.gates.rules import DisparityRule, MetricRule
from evalkit.gates.verdict import Claim, Decision, Finding, Outcome, RuleOutcome

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_ORDER: Mapping[str, int] = {"fail": 0, "insufficient": 1, "undecided": 2, "pass": 3}


AnyRule = MetricRule | DisparityRule


@dataclass(frozen=True)
class Asked:
    """A rule and its questions; `why` says why there are none."""

    rule: AnyRule
    questions: tuple[Question, ...] = ()
    why: str = ""


def decided(asked: Sequence[Asked], run: Run, alpha: float) -> list[RuleOutcome]:
    """Returns the outcome of each rule.

    Args:
        asked: the rules with their questions.
        run: what was asked.
        alpha: one-sided error rate.
    """
    levels = _levels(asked, run, alpha)
    return [_outcome(one, run, levels, index, alpha) for index, one in enumerate(asked)]


# --- error rates ---


def _levels(asked: Sequence[Asked], run: Run, alpha: float) -> dict[tuple[int, int], Levels]:
    """Returns the levels of each flag question by the places of rule and question."""
    families: dict[tuple[str, bool], list[tuple[int, int]]] = {}
    for index, one in enumerate(asked):
        if one.questions and one.rule.claimed == "flag" and one.rule.evidence == "interval":
            family = families.setdefault((one.rule.severity, one.rule.listed), [])
            family += [(index, number) for number in range(len(one.questions))]
    found: dict[tuple[int, int], Levels] = {}
    for (severity, _), members in families.items():
        shares = sum(of == severity for of, _ in families)
        found |= _of_family(members, asked, run, alpha, shares)
    return found


def _of_family(
    members: Sequence[tuple[int, int]], asked: Sequence[Asked], run: Run, alpha: float, shares: int
) -> dict[tuple[int, int], Levels]:
    """Returns the levels of one family, by the joint covariance where there is one, else by Holm's procedure.

    Adjusted p-values allow for the other families too, so that all are held against alpha.
    """
    questions = [asked[i].questions[j] for i, j in members]
    parts = [_p_beyond(question, asked[i].rule) for question, (i, _) in zip(questions, members, strict=True)]
    p = np.concatenate(parts)
    correlation = _correlation(questions, run) if np.isfinite(p).sum() > 1 and len(p) <= MOST_JOINT else None
    levels = by_holm(p, alpha / shares) if correlation is None else by_largest(p, correlation, alpha / shares)
    ends = np.cumsum([len(part) for part in parts])[:-1]
    adjusted = np.minimum(levels.adjusted * shares, 1.0)
    split = zip(members, np.split(levels.alpha, ends), np.split(adjusted, ends), strict=True)
    return {member: Levels(*both) for member, *both in split}


def _correlation(questions: Sequence[Question], run: Run) -> Floats | None:
    """Returns the correlation of the questions' statistics, large where harm is; None where any has no influence."""
    found = []
    for question in questions:
        told = influence(question, run)
        if told is None:
            return None
        found.append((told, question.places, -1 if question.side == "at least" else 1))
    return correlations(found)


def _p_beyond(question: Question, rule: AnyRule) -> Floats:
    """Returns one-sided p-values of lying beyond the bound, [places]; NaN where the question cannot be answered."""
    test = question.contrast.below if question.side == "at least" else question.contrast.above
    enough = question.support[question.places] >= rule.min_rows
    return np.where(enough, test(question.bound)[question.places], np.nan)


# --- findings ---


@dataclass(frozen=True)
class _Answers:
    """What a question's contrast says at its slices, [places] each."""

    alpha: Floats
    adjusted: Floats
    low: Floats
    high: Floats
    beyond: Floats
    within: Floats
    detectable: Floats
    rows_needed: Floats


def _outcome(one: Asked, run: Run, levels: Mapping[tuple[int, int], Levels], index: int, alpha: float) -> RuleOutcome:
    rule = one.rule
    ranked: list[tuple[float, Finding]] = []
    for number, question in enumerate(one.questions):
        ranked += _findings(question, rule, run, levels.get((index, number)), alpha)
    ranked.sort(key=lambda pair: (_ORDER[pair[1].outcome], pair[0] if np.isfinite(pair[0]) else 2.0))
    findings = tuple(finding for _, finding in ranked)
    outcome, why = _of_rule(rule.claimed, findings, one.why)
    return RuleOutcome(
        name=rule.title,
        kind=rule.kind,
        claim=rule.claimed,
        outcome=outcome,
        findings=findings,
        severity=rule.severity,
        evidence=rule.evidence,
        alpha=alpha,
        owner=rule.owner or "",
        reason=rule.reason or "",
        expires=rule.expires or "",
        why=why,
    )


def _of_rule(claim: Claim, findings: Sequence[Finding], why: str) -> tuple[Outcome, str]:
    outcomes = [f.outcome for f in findings]
    if "fail" in outcomes:
        return "fail", ""
    if not findings:
        return "insufficient", why or "no slice fits"
    if claim == "certify":
        return ("insufficient", why) if "insufficient" in outcomes else ("pass", "")
    return ("pass", "") if "pass" in outcomes else ("insufficient", "no slice could be tested")


def _findings(
    question: Question, rule: AnyRule, run: Run, level: Levels | None, alpha: float
) -> list[tuple[float, Finding]]:
    """Returns a finding for each slice, with the p-value of lying beyond the bound to rank it by."""
    answers = _answers(question, rule, level, alpha)
    found = [(np.nan, _missing(question, rule, name, why)) for name, why in question.missing]
    for i, place in enumerate(question.places.tolist()):
        found.append((float(answers.beyond[i]), _finding(question, rule, run, answers, i, place)))
    return found


def _answers(question: Question, rule: AnyRule, level: Levels | None, alpha: float) -> _Answers:
    contrast, places = question.contrast, question.places
    alphas = np.full(len(question.rows), alpha)
    if level is not None:
        alphas[places] = level.alpha
    low, high = contrast.interval(alphas)
    within = contrast.above if question.side == "at least" else contrast.below
    return _Answers(
        alpha=alphas[places],
        adjusted=np.full(len(places), np.nan) if level is None else level.adjusted,
        low=low[places],
        high=high[places],
        beyond=_p_beyond(question, rule),
        within=within(question.bound)[places],
        detectable=contrast.detectable(alphas)[places],
        rows_needed=contrast.rows_needed(question.bound, alphas, question.rows.astype(np.float64))[places],
    )


def _finding(question: Question, rule: AnyRule, run: Run, answers: _Answers, i: int, place: int) -> Finding:
    outcome, why = _decision(rule, question, answers, i, place)
    text, certify = run.texts[place], rule.claimed == "certify"
    finding = Finding(
        subject=question.metric if text == "overall" else f"{question.metric} on {text}",
        quantity=question.quantity,
        metric=question.metric,
        slice=text,
        slice_key=run.keys[place],
        value=float(question.contrast.value[place]),
        method="the value alone",
        bound=question.bound,
        side=question.side,
        outcome=outcome,
        why=why,
        baseline=float(question.baseline[place]),
        candidate=float(question.candidate[place]),
        rows=int(question.rows[place]),
        support=int(question.support[place]),
        unit=question.unit,
    )
    if rule.evidence == "point":
        return finding
    return replace(
        finding,
        method=question.contrast.method,
        low=float(answers.low[i]),
        high=float(answers.high[i]),
        level=1 - 2 * float(answers.alpha[i]) if not np.isnan(answers.low[i]) else np.nan,
        p_value=float(answers.within[i] if certify else answers.beyond[i]),
        p_adjusted=float(answers.within[i] if certify else answers.adjusted[i]),
        detectable=float(answers.detectable[i]),
        rows_needed=float(answers.rows_needed[i]) if outcome == "insufficient" else np.nan,
    )


def _missing(question: Question, rule: AnyRule, name: str, why: str) -> Finding:
    return Finding(
        subject=f"{question.metric} on {name}",
        quantity=question.quantity,
        metric=question.metric,
        slice=name,
        slice_key=(),
        bound=question.bound,
        side=question.side,
        outcome="insufficient" if rule.claimed == "certify" else "undecided",
        why=why,
        unit=question.unit,
    )


def _why(question: Question, rule: AnyRule, place: int) -> str:
    """Says why a question cannot be answered; empty where it can."""
    if np.isnan(question.contrast.value[place]):
        return "undefined"
    support = int(question.support[place])
    if support < rule.min_rows:
        return f"a support of {support:,} rows, fewer than {rule.min_rows:,}"
    return "" if rule.evidence == "point" else question.contrast.why[place]


def _decision(rule: AnyRule, question: Question, answers: _Answers, i: int, place: int) -> tuple[Decision, str]:
    """Decides one question by the interval that is printed; what cannot be answered never passes, and says why."""
    unanswered: Decision = "insufficient" if rule.claimed == "certify" else "undecided"
    why = _why(question, rule, place)
    if why:
        return unanswered, why
    least, most = float(answers.low[i]), float(answers.high[i])
    if rule.evidence == "point":
        least = most = float(question.contrast.value[place])
    if question.side == "at most":
        least, most = -most, -least
    bound = question.bound if question.side == "at least" else -question.bound
    within, beyond = least >= bound, most < bound
    if rule.evidence == "interval" and rule.claimed == "flag":
        if np.isinf(least) and np.isinf(most):
            return unanswered, "too few replicates for so many slices: raise intervals.bootstrap.n"
        return ("fail" if beyond else "pass"), ""
    return ("pass" if within else "fail" if beyond else "insufficient"), ""
