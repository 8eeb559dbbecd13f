"""What a gate answers, as a table: claim x evidence x situation -> outcome and exit code."""

import datetime as dt
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

import evalkit as ek
from evalkit.comparison import Comparison
from evalkit.errors import ConfigError, UsageError
from evalkit.gates.verdict import Finding, Verdict

TODAY = dt.datetime.now(dt.UTC).date()
YESTERDAY, TOMORROW = str(TODAY - dt.timedelta(days=1)), str(TODAY + dt.timedelta(days=1))


@functools.cache
def decisions() -> Comparison:
    """Two models' decisions in slices of known counts: rows, and those that only old or only new has right."""
    return compared(
        {
            "better": (1000, 20, 60, 800),
            "equal": (1000, 50, 50, 800),
            "worse": (300, 60, 10, 200),
            "flipped": (8, 8, 0, 0),
            "unchanged": (500, 0, 0, 450),
            "perfect": (200, 0, 0, 200),
        }
    )


def compared(slices: Mapping[str, tuple[int, int, int, int]], metrics: tuple[str, ...] = ("accuracy",)) -> Comparison:
    """Compares decisions with so many rows, lost, gained and right in both, by slice; half of the labels are 1."""
    parts = []
    for name, (rows, lost, gained, both) in slices.items():
        old = np.arange(rows) < lost + both
        new = (np.arange(rows) >= lost) & (np.arange(rows) < lost + both + gained)
        label = np.arange(rows) % 2
        parts.append(
            pl.DataFrame({"y": label, "old": np.where(old, label, 1 - label), "new": np.where(new, label, 1 - label)})
        )
        parts[-1] = parts[-1].with_columns(s=pl.lit(name))
    table = pl.concat(parts)
    return ek.compare(table, label="y", baseline="old", candidate="new", slices=["s"], metrics=list(metrics))


@functools.cache
def scores() -> Comparison:
    """Probabilities of two models; among `negatives` nothing that needs positives is defined."""
    random = np.random.default_rng(0)
    label = random.integers(0, 2, 4000)
    where = np.where(np.arange(4000) < 3900, "mixed", "negatives")
    label[where == "negatives"] = 0
    old = 1 / (1 + np.exp(-(2 * label - 1 + random.normal(size=4000))))
    new = np.clip(old + (2 * label - 1) * 0.05, 0.001, 0.999)
    table = {"y": label, "old": old, "new": new, "s": where}
    metrics = ["log_loss", "recall", "roc_auc", "expected_calibration_error"]
    return ek.compare(table, label="y", baseline="old", candidate="new", slices=["s"], metrics=metrics)


def gate(comparison: Comparison, *rules: dict[str, Any], **settings: Any) -> Verdict:
    return ek.gate(comparison, {"rules": list(rules), **settings})


def accuracy(slices: Any = "overall", **rule: Any) -> dict[str, Any]:
    return {"metric": "accuracy", "slices": slices, **rule}


def on(slices: Any, **rule: Any) -> dict[str, Any]:
    return accuracy(slices if slices in ("overall", "all") else f"s={slices}", **rule)


def only(verdict: Verdict) -> Finding:
    [rule] = verdict.rules
    [finding] = rule.findings
    return finding


POINT, FLAG, CERTIFY = {"evidence": "point"}, {"claim": "flag"}, {"claim": "certify"}
TABLE: list[tuple[str, dict[str, Any], str, int]] = [
    # situation, rule, outcome of its only finding, exit code. `worse` is right in 210 of 300, 50 fewer than before.
    ("the value is at its least", on("worse", value={"min": 0.7}, **POINT), "pass", 0),
    ("the value is below its least", on("worse", value={"min": 0.7001}, **POINT), "fail", 1),
    ("the value is at its most", on("worse", value={"max": 0.7}, **POINT), "pass", 0),
    ("the value is above its most", on("worse", value={"max": 0.6999}, **POINT), "fail", 1),
    ("the value alone decides under flag too", on("worse", value={"min": 0.7}, **POINT, **FLAG), "pass", 0),
    ("the value alone fails under flag too", on("worse", value=0.71, **POINT, **FLAG), "fail", 1),
    ("the value alone still needs rows", on("flipped", value=0.0, **POINT), "insufficient", 3),
    ("a certified value is shown above its bound", on("worse", value=0.65), "pass", 0),
    ("a certified value is not shown above its bound", on("worse", value=0.69), "insufficient", 3),
    ("a certified value is shown below its bound", on("worse", value=0.76), "fail", 1),
    ("a flagged value above its bound", on("worse", value=0.65, **FLAG), "pass", 0),
    ("a flagged value not shown below its bound", on("worse", value=0.72, **FLAG), "pass", 0),
    ("a flagged value shown below its bound", on("worse", value=0.76, **FLAG), "fail", 1),
    ("a certified gain", on("better", delta=0), "pass", 0),
    ("certified, but equal", on("equal", delta=0), "insufficient", 3),
    ("certified, but worse", on("worse", delta=0), "fail", 1),
    ("flagged, a gain", on("better", delta=0, **FLAG), "pass", 0),
    ("flagged, equal", on("equal", delta=0, **FLAG), "pass", 0),
    ("flagged, worse", on("worse", delta=0, **FLAG), "fail", 1),
    ("a margin lets an equal model be certified", on("equal", delta=0, margin=0.02), "pass", 0),
    ("a margin widens an upper bound upwards", on("equal", delta={"max": 0}, margin=0.02), "pass", 0),
    ("an upper bound without a margin", on("equal", delta={"max": 0}), "insufficient", 3),
    ("a margin is not free", on("worse", delta=0, margin=0.02), "fail", 1),
    ("8 rows that all flip, certified", on("flipped", delta=0), "insufficient", 3),
    # Nothing else was asked, so a rule that could not be tested at all is no pass under flag either.
    ("8 rows that all flip, flagged alone", on("flipped", delta=0, **FLAG), "undecided", 3),
    # Asked to decide on a single row, McNemar's mid-p of 8 lost and none gained is 1/512: shown to be worse.
    ("8 rows that all flip, min_rows 1, certified", on("flipped", delta=0, min_rows=1), "fail", 1),
    ("8 rows that all flip, min_rows 1, flagged", on("flipped", delta=0, min_rows=1, **FLAG), "fail", 1),
    # No row changed: Tango's interval says how large a difference 500 rows can hide (.0054), never that there is none.
    ("no row changed, certified", on("unchanged", delta=0), "insufficient", 3),
    ("no row changed, certified within what rows can show", on("unchanged", delta=0, margin=0.01), "pass", 0),
    ("no row changed, certified within less", on("unchanged", delta=0, margin=0.005), "insufficient", 3),
    ("no row changed, flagged", on("unchanged", delta=0, **FLAG), "pass", 0),
    ("all rows right is not certainly all", on("perfect", value=0.999), "insufficient", 3),
    ("all rows right", on("perfect", value=0.98), "pass", 0),
    ("a slice that is not there, certified", on("nowhere", value=0.0), "insufficient", 3),
    ("a slice that is not there, flagged", on("nowhere", value=0.0, **FLAG), "undecided", 3),
    ("a slice that is not there, by its value", on("nowhere", value=0.0, **POINT), "insufficient", 3),
    ("a share of the baseline", on("worse", relative_delta=-0.3), "pass", 0),
    ("a share of the baseline, shown beyond", on("worse", relative_delta=-0.1), "fail", 1),
    ("a share of the baseline, within a margin", on("worse", relative_delta=-0.1, margin=0.2), "pass", 0),
]


@pytest.mark.parametrize(("rule", "outcome", "code"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_table_of_decisions(rule: dict[str, Any], outcome: str, code: int) -> None:
    verdict = gate(decisions(), rule)
    assert (only(verdict).outcome, verdict.exit_code) == (outcome, code), only(verdict).sentence


def scored(metric: str, slices: str = "overall", **rule: Any) -> dict[str, Any]:
    return {"metric": metric, "slices": slices if slices == "overall" else f"s={slices}", **rule}


UNDEFINED: list[tuple[str, dict[str, Any], str, int]] = [
    ("recall without positives, certified", scored("recall", "negatives", value=0.0), "insufficient", 3),
    ("recall without positives, flagged", scored("recall", "negatives", value=0.0, **FLAG), "undecided", 3),
    ("recall without positives, by its value", scored("recall", "negatives", value=0.0, **POINT), "insufficient", 3),
    ("recall without positives, at most 1", scored("recall", "negatives", value={"max": 1.0}), "insufficient", 3),
    ("roc_auc without positives", scored("roc_auc", "negatives", delta=-1), "insufficient", 3),
    (
        "roc_auc without positives, no rows asked for",
        scored("roc_auc", "negatives", delta=-1, min_rows=0),
        *("insufficient", 3),
    ),
    ("a number for log_loss is the most it may be", scored("log_loss", value=0.6), "pass", 0),
    ("log_loss above it", scored("log_loss", value=0.3), "fail", 1),
    ("a number for its delta likewise", scored("log_loss", delta=0), "pass", 0),
    ("which a rise breaks", scored("log_loss", delta=-0.2), "fail", 1),
    ("a margin widens it upwards", scored("log_loss", delta=-0.2, margin=0.2), "pass", 0),
    ("a metric without a test is not certified", scored("expected_calibration_error", delta=1.0), "insufficient", 3),
    ("but held by its value", scored("expected_calibration_error", delta=1.0, **POINT), "pass", 0),
]


@pytest.mark.parametrize(("rule", "outcome", "code"), [row[1:] for row in UNDEFINED], ids=[r[0] for r in UNDEFINED])
def test_the_table_of_scores(rule: dict[str, Any], outcome: str, code: int) -> None:
    verdict = gate(scores(), rule)
    assert (only(verdict).outcome, verdict.exit_code) == (outcome, code), only(verdict).sentence


# --- bounds ---


@pytest.mark.parametrize("claim", ["certify", "flag"])
@pytest.mark.parametrize("where", ["better", "equal", "worse", "unchanged", "perfect"])
def test_a_bound_at_the_end_of_the_interval_is_within_it(where: str, claim: str) -> None:
    end = only(gate(decisions(), on(where, value=0.0)))
    undecided = "insufficient" if claim == "certify" else "pass"
    at_low = only(gate(decisions(), on(where, value={"min": end.low}, claim=claim)))
    at_high = only(gate(decisions(), on(where, value={"min": end.high}, claim=claim)))
    below_high = only(gate(decisions(), on(where, value={"max": end.high}, claim=claim)))
    assert [f.outcome for f in (at_low, at_high, below_high)] == ["pass", undecided, "pass"]


@pytest.mark.parametrize("rows", [30, 57, 211, 5000])
def test_a_certified_value_passes_at_exactly_its_low_end(rows: int) -> None:
    comparison = compared({"a": (rows, 3, 4, rows // 2), "b": (rows, 0, 1, rows - 9)})
    for slices in ("overall", "s=a", "s=b"):
        end = only(gate(comparison, accuracy(slices, value=0.0)))
        assert only(gate(comparison, accuracy(slices, value={"min": end.low}))).outcome == "pass"
        assert only(gate(comparison, accuracy(slices, value={"max": end.high}))).outcome == "pass"
        assert only(gate(comparison, accuracy(slices, value={"min": end.low + 1e-9}))).outcome == "insufficient"


@pytest.mark.parametrize(
    ("value", "expected"),
    [({"min": 0.5, "max": 0.9}, "pass"), ({"min": 0.5, "max": 0.6}, "fail"), ({"min": 0.8, "max": 0.9}, "fail")],
)
def test_both_bounds_must_hold(value: dict[str, float], expected: str) -> None:
    for claim in ("certify", "flag"):
        [rule] = gate(decisions(), on("worse", value=value, claim=claim)).rules
        assert (rule.outcome, len(rule.findings)) == (expected, 2)
        assert [f.side for f in rule.findings if f.outcome == "fail"] == {0.9: ["at least"], 0.6: ["at most"]}.get(
            value["max"] if expected == "fail" else 0, []
        )


def test_a_margin_is_part_of_the_bound_on_both_sides() -> None:
    [rule] = gate(decisions(), on("equal", delta={"min": -0.1, "max": 0.2}, margin=0.01)).rules
    assert sorted(f.bound for f in rule.findings) == pytest.approx([-0.11, 0.21])


# --- relative bounds ---


def contrary(candidate: int) -> Comparison:
    """A baseline whose Matthews correlation is -.5, and one that finds no positive at all."""
    label = np.arange(2000) % 2
    wrong = np.arange(2000) // 2 < 750
    changed = (np.arange(2000) // 2 >= 750 - candidate) & wrong
    old = np.where(wrong, 1 - label, label)
    never = {"y": label, "old": np.zeros(2000, int), "new": label * (np.arange(2000) < 1000), "s": ["never"] * 2000}
    table = {"y": label, "old": old, "new": np.where(changed, label, old), "s": ["contrary"] * 2000}
    both = pl.concat([pl.DataFrame(table), pl.DataFrame(never)])
    return ek.compare(
        both, label="y", baseline="old", candidate="new", slices=["s"], metrics=["matthews_corrcoef", "recall"]
    )


def test_a_relative_delta_of_a_negative_baseline_is_of_its_size() -> None:
    verdict = gate(contrary(100), {"metric": "matthews_corrcoef", "slices": "s=contrary", "relative_delta": 0})
    assert only(verdict).baseline == pytest.approx(-0.5, abs=1e-3)
    assert only(verdict).value == pytest.approx(0.2 / 0.5, abs=1e-3)
    assert verdict.outcome == "pass"
    worse = {"metric": "matthews_corrcoef", "slices": "s=contrary", "relative_delta": {"max": 0}}
    assert gate(contrary(100), worse).outcome == "fail"


@pytest.mark.parametrize("bound", [{"min": -1e9}, {"max": 1e9}])
@pytest.mark.parametrize("evidence", ["interval", "point"])
@pytest.mark.parametrize("claim", ["certify", "flag"])
def test_a_relative_delta_of_a_zero_baseline_is_undefined_and_never_passes(
    bound: dict[str, float], evidence: str, claim: str
) -> None:
    rule = {"metric": "recall", "slices": "s=never", "relative_delta": bound, "evidence": evidence, "claim": claim}
    verdict = gate(contrary(100), rule)
    assert only(verdict).baseline == 0
    assert np.isnan(only(verdict).value)
    assert only(verdict).outcome == ("insufficient" if claim == "certify" else "undecided")
    assert verdict.exit_code == 3


# --- several slices and rules ---


def test_flag_lists_what_it_cannot_decide_and_passes_on_the_rest() -> None:
    comparison = compared({"equal": (1000, 50, 50, 800), "flipped": (8, 8, 0, 0)})
    [rule] = gate(comparison, accuracy("all", delta=0)).rules
    assert [(f.slice, f.outcome) for f in rule.findings] == [("s=flipped", "undecided"), ("s=equal", "pass")]
    assert rule.outcome == "pass"
    assert "1 undecided" in rule.sentence
    assert "8 rows, fewer than 30" in rule.findings[0].why


def test_certify_over_all_slices_needs_every_one() -> None:
    comparison = compared({"better": (1000, 20, 60, 800), "flipped": (8, 8, 0, 0)})
    verdict = gate(comparison, accuracy("all", delta=0, **CERTIFY))
    assert [f.outcome for f in verdict.rules[0].findings] == ["insufficient", "pass"]
    assert verdict.exit_code == 3


def test_a_metric_that_was_not_evaluated_never_passes() -> None:
    for settings in ({}, FLAG, POINT, {"slices": "all"}):
        verdict = gate(decisions(), {"metric": "precision@0.9", "value": 0.0, **settings})
        assert (verdict.outcome, verdict.exit_code) == ("insufficient", 3)
        assert verdict.rules[0].why == '"precision@0.9" was not evaluated'


FAILS, LACKS, PASSES = on("worse", delta=0), on("equal", delta=0), on("better", delta=0)


@pytest.mark.parametrize(
    ("rules", "outcome", "code"),
    [
        ([PASSES, LACKS, FAILS], "fail", 1),
        ([PASSES, LACKS], "insufficient", 3),
        ([PASSES], "pass", 0),
        ([PASSES, {**FAILS, "severity": "warn"}], "pass", 0),
        ([PASSES, {**LACKS, "severity": "warn"}], "pass", 0),
        ([LACKS, {**FAILS, "severity": "warn"}], "insufficient", 3),
        ([{**FAILS, "severity": "warn"}], "pass", 0),
        ([{**LACKS, "severity": "warn"}], "pass", 0),
        ([{**on("flipped", delta=0), "severity": "warn"}], "skipped", 3),
        ([{**on("nowhere", value=0.0), "severity": "warn"}], "skipped", 3),
        ([{"metric": "precision@0.9", "value": 0.0, "severity": "warn"}], "skipped", 3),
    ],
)
def test_the_whole_is_the_worst_of_the_rules_that_block(rules: list[Any], outcome: str, code: int) -> None:
    verdict = gate(decisions(), *rules)
    assert (verdict.outcome, verdict.exit_code) == (outcome, code)


def test_a_rule_finds_its_metric_however_its_parameter_is_written() -> None:
    comparison = compared({"a": (1000, 20, 60, 800)}, ("fbeta@beta=2",))
    for name in ("fbeta@2", "fbeta@beta=2", "fbeta@2.0"):
        assert gate(comparison, {"metric": name, "value": 0.5}).outcome == "pass"
    assert gate(comparison, {"metric": "fbeta@3", "value": 0.5}).rules[0].why == '"fbeta@3" was not evaluated'


def test_a_metric_that_the_baseline_lacks_is_insufficient_evidence_for_a_delta() -> None:
    table = {"y": [0, 1] * 100, "old": [0.2, 0.7] * 100, "new": [0.1, 0.9] * 100}
    old = ek.evaluate(table, label="y", score="old", metrics=["accuracy"])
    new = ek.evaluate(table, label="y", score="new", metrics=["accuracy", "roc_auc"])
    verdict = ek.gate(new, [{"metric": "roc_auc", "delta": -1}], baseline=old)
    assert (verdict.exit_code, verdict.rules[0].why) == (3, '"roc_auc" was not evaluated for the baseline')


# --- without a baseline ---


@pytest.mark.parametrize(
    ("setting", "alone", "beside"), [("fail", "fail", "fail"), ("skip", "skipped", "pass"), ("pass", "pass", "pass")]
)
def test_a_missing_baseline_is_answered_as_asked(setting: str, alone: str, beside: str) -> None:
    result = decisions().result.of("new")
    delta, value = accuracy(delta=0), accuracy(value=0.5)
    codes = {"fail": 1, "skipped": 3, "pass": 0}
    verdict = ek.gate(result, {"rules": [delta], "on_missing_baseline": setting})
    assert (verdict.outcome, verdict.exit_code) == (alone, codes[alone])
    assert verdict.rules[0].why == "there is no baseline to compare with"
    both = ek.gate(result, {"rules": [delta, value], "on_missing_baseline": setting})
    assert (both.outcome, both.exit_code) == (beside, codes[beside])


# --- waivers and days ---


def waiver(**changes: str) -> dict[str, str]:
    return {"rule": "floor", "who": "head of risk", "why": "known dip", "until": TOMORROW, **changes}


def test_a_waiver_overrides_its_rule_alone_and_is_told() -> None:
    floor = {**FAILS, "name": "floor"}
    verdict = gate(decisions(), floor, PASSES, waivers=[waiver()])
    assert (verdict.outcome, verdict.exit_code) == ("pass", 0)
    assert verdict.rules[0].told.startswith(f"WAIVED by head of risk until {TOMORROW}: known dip")
    assert verdict.rules[0].outcome == "fail"
    assert gate(decisions(), floor, {**FAILS, "name": "other"}, waivers=[waiver()]).outcome == "fail"


def test_a_waiver_of_a_rule_that_passes_is_not_needed() -> None:
    verdict = gate(decisions(), {**PASSES, "name": "floor"}, waivers=[waiver()])
    assert (verdict.outcome, verdict.waived) == ("pass", ())


@pytest.mark.parametrize("until", [str(TODAY), TOMORROW])
def test_a_waiver_and_a_rule_hold_through_their_last_day(until: str) -> None:
    verdict = gate(decisions(), {**FAILS, "name": "floor", "expires": until}, waivers=[waiver(until=until)])
    assert verdict.outcome == "pass"


@pytest.mark.parametrize(
    ("rule", "waivers", "message"),
    [
        (FAILS, [waiver()], 'waivers[0]: No rule "floor"'),
        ({**FAILS, "name": "flor"}, [waiver()], 'Did you mean "flor"?'),
        ({**FAILS, "name": "floor"}, [waiver(until=YESTERDAY)], f"expired on {YESTERDAY}: remove it"),
        ({**FAILS, "name": "floor", "expires": YESTERDAY}, [], f"expired on {YESTERDAY}: renew or remove it"),
        (
            {**FAILS, "name": "floor"},
            [{"rule": "floor", "who": "me", "until": TOMORROW}],
            '"waivers[0].why" is missing',
        ),
        ({**FAILS, "name": "floor"}, [waiver(who="")], '"waivers[0].who" must be text that is not empty'),
        ({**FAILS, "name": "floor"}, [waiver(until="soon")], '"waivers[0].until" must be a day such as 2027-01-31'),
    ],
)
def test_what_cannot_be_waived_is_an_error(rule: dict[str, Any], waivers: list[Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        gate(decisions(), rule, waivers=waivers)
    assert message in str(error.value)


# --- families ---


def mid_p(lost: int, gained: int) -> float:
    """One-sided p-value of being worse, by McNemar's mid-p or the score test, the larger."""
    exact = stats.binom.cdf(gained, lost + gained, 0.5) - stats.binom.pmf(gained, lost + gained, 0.5) / 2
    return float(max(exact, stats.norm.cdf((gained - lost) / np.sqrt(lost + gained))))


COUNTS = {"a": (30, 12), "b": (28, 13), "c": (25, 20), "d": (20, 25)}


def family() -> Comparison:
    return compared({name: (300, lost, gained, 200) for name, (lost, gained) in COUNTS.items()})


def by_slice(verdict: Verdict, rule: int = 0) -> dict[str, Finding]:
    return {str(f.slice_key[0][1]): f for f in verdict.rules[rule].findings}


DRAWN = 0.01  # adjusted p-values by the largest statistic are shares of 20,000 draws


def test_flag_rules_share_alpha_over_their_slices_by_the_largest_statistic() -> None:
    by_hand = {name: mid_p(*counts) for name, counts in COUNTS.items()}
    order = sorted(by_hand, key=by_hand.__getitem__)
    alone = [1 - (1 - by_hand[name]) ** (4 - i) for i, name in enumerate(order)]  # disjoint slices are independent
    found = by_slice(gate(family(), accuracy("all", delta=0)))
    assert {n: f.p_value for n, f in found.items()} == pytest.approx(by_hand, abs=1e-9)
    expected = dict(zip(order, np.maximum.accumulate(alone), strict=True))
    assert {n: f.p_adjusted for n, f in found.items()} == pytest.approx(expected, abs=DRAWN)
    assert {n: f.outcome for n, f in found.items()} == {"a": "fail", "b": "fail", "c": "pass", "d": "pass"}
    levels = {n: 1 - 2 * (1 - 0.95 ** (1 / share)) for n, share in {"a": 4, "b": 3, "c": 2, "d": 2}.items()}
    assert {n: f.level for n, f in found.items()} == pytest.approx(levels, abs=0.002)


def test_without_a_joint_covariance_flag_rules_share_alpha_by_holm() -> None:
    random = np.random.default_rng(3)
    rows = {name: rng_rows(random, name) for name in ("old", "new")}
    old, new = (
        ek.evaluate(rows[n], label="y", prediction="p", name=n, metrics=["accuracy"], slices=["s"]) for n in rows
    )
    found = by_slice(ek.gate(new, [accuracy("all", delta=0)], baseline=old))
    steps = sorted(f.p_value for f in found.values())
    adjusted = np.maximum.accumulate([p * (len(steps) - i) for i, p in enumerate(steps)]).clip(max=1)
    rejected = int((adjusted <= 0.05).sum())
    assert 0 < rejected < len(steps)
    for f in found.values():
        place = steps.index(f.p_value)
        assert f.p_adjusted == pytest.approx(adjusted[place])
        assert (f.outcome == "fail") == (place < rejected)
        share = len(steps) - min(place, rejected)
        assert f.level == pytest.approx(1 - 2 * 0.05 / share)


def rng_rows(random: np.random.Generator, name: str) -> dict[str, Any]:
    """Rows of four slices, in two of which the new model is much worse; other rows for each model."""
    label, where = random.integers(0, 2, 1600), np.repeat(["a", "b", "c", "d"], 400)
    right = random.random(1600) < np.where((name == "new") & np.isin(where, ["a", "b"]), 0.6, 0.8)
    return {"y": label, "p": np.where(right, label, 1 - label), "s": where}


def test_asking_the_same_twice_costs_next_to_nothing() -> None:
    once = by_slice(gate(family(), accuracy("all", delta=0, name="a")))
    twice = by_slice(gate(family(), accuracy("all", delta=0, name="a"), accuracy("all", delta=0, name="b")))
    for name in COUNTS:
        assert twice[name].p_adjusted == pytest.approx(once[name].p_adjusted, abs=DRAWN)


def test_rules_on_other_slices_are_of_the_same_family() -> None:
    first = accuracy(["s=a", "s=c"], delta=0, name="first", **FLAG)
    both = gate(family(), first, accuracy("s=b", delta=0, name="second", **FLAG))
    lone = gate(family(), first)
    assert by_slice(lone)["a"].p_adjusted == pytest.approx(1 - (1 - mid_p(*COUNTS["a"])) ** 2, abs=DRAWN / 4)
    assert by_slice(both)["a"].p_adjusted == pytest.approx(1 - (1 - mid_p(*COUNTS["a"])) ** 3, abs=DRAWN / 4)


def test_named_and_listed_slices_are_two_families_that_share_alpha() -> None:
    named = accuracy("s=a", delta=0, name="named", **FLAG)
    verdict = gate(family(), named, accuracy("all", delta=0))
    assert verdict.rules[0].findings[0].p_adjusted == pytest.approx(2 * mid_p(*COUNTS["a"]), abs=1e-9)
    assert verdict.rules[0].findings[0].level == pytest.approx(1 - 2 * 0.025)
    alone = by_slice(gate(family(), accuracy("all", delta=0)))
    assert by_slice(verdict, 1)["a"].p_adjusted == pytest.approx(2 * alone["a"].p_adjusted)


def test_what_only_warns_and_what_certifies_takes_no_alpha() -> None:
    others = [accuracy("all", delta=0, severity="warn"), accuracy("s=a", value=0.5), accuracy("s=b", delta=0, **POINT)]
    verdict = gate(family(), accuracy("s=a", delta=0, name="named", **FLAG), *others)
    assert verdict.rules[0].findings[0].p_adjusted == pytest.approx(mid_p(*COUNTS["a"]), abs=1e-9)
    assert verdict.rules[2].findings[0].level == pytest.approx(0.9)


def test_what_cannot_be_tested_takes_no_alpha() -> None:
    small = compared({"a": (300, 30, 12, 200), "flipped": (8, 8, 0, 0)})
    found = {f.slice: f for f in gate(small, accuracy("all", delta=0)).rules[0].findings}
    assert found["s=a"].p_adjusted == pytest.approx(mid_p(*COUNTS["a"]), abs=1e-9)
    assert np.isnan(found["s=flipped"].p_adjusted)


# --- the interval decides ---


@functools.cache
def drawn(seed: int, clustered: bool) -> Comparison:
    """Random models in random slices, of very different sizes."""
    random = np.random.default_rng(seed)
    label = random.integers(0, 2, 2500)
    old = 1 / (1 + np.exp(-(1.5 * label + random.normal(size=2500))))
    new = 1 / (1 + np.exp(-(1.2 * label + random.normal(size=2500))))
    table = {"y": label, "old": old, "new": new, "s": random.geometric(0.15, 2500), "u": random.integers(0, 200, 2500)}
    metrics = ["accuracy", "f1", "roc_auc", "log_loss", "balanced_accuracy", "precision_at_recall@0.8"]
    unit = "u" if clustered else None
    return ek.compare(table, label="y", baseline="old", candidate="new", slices=["s"], metrics=metrics, unit=unit)


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("quantity", ["value", "delta", "relative_delta"])
@pytest.mark.parametrize("seed", range(2))
def test_the_printed_interval_is_the_one_that_decided(seed: int, quantity: str, clustered: bool) -> None:
    comparison, random = drawn(seed, clustered), np.random.default_rng(seed)
    rules = []
    for metric in comparison.result.metrics:
        for claim in ("certify", "flag"):
            bound = (0.65 if quantity == "value" else -0.08) + random.normal(0, 0.05)
            rules.append(
                {"metric": metric, "slices": "all", "claim": claim, quantity: {random.choice(["min", "max"]): bound}}
            )
    answered = 0
    for rule in gate(comparison, *rules).rules:
        for f in rule.findings:
            beyond = f.high < f.bound if f.side == "at least" else f.low > f.bound
            within = f.low >= f.bound if f.side == "at least" else f.high <= f.bound
            if f.outcome in ("pass", "fail"):
                assert (f.outcome == "fail") == beyond, f
                assert np.isfinite(f.level)
                answered += 1
            if rule.claim == "certify" and not f.why:
                assert (f.outcome == "pass") == within, f
            if f.outcome == "undecided":
                assert f.why
    assert answered > 50


def test_a_bootstrap_of_too_few_replicates_to_decide_is_undecided() -> None:
    random = np.random.default_rng(0)
    label = random.integers(0, 2, 6000)
    table = {"y": label, "old": random.random(6000) / 2 + label / 2, "new": random.random(6000)}
    table["s"] = random.integers(0, 60, 6000)
    comparison = ek.compare(
        table, label="y", baseline="old", candidate="new", slices=["s"], metrics=["precision_at_recall@0.5"]
    )
    [rule] = gate(comparison, {"metric": "precision_at_recall@0.5", "slices": "all", "delta": 0, "min_rows": 1}).rules
    assert {f.outcome for f in rule.findings} == {"undecided"}
    assert {f.why for f in rule.findings} == {"too few replicates for so many slices: raise intervals.bootstrap.n"}
    assert (rule.outcome, rule.why) == ("insufficient", "no slice could be tested")


def test_one_model_under_two_names_is_refused() -> None:
    table = {"y": [0, 1] * 50, "old": [0.2, 0.7] * 50}
    old = ek.evaluate(table, label="y", score="old", metrics=["accuracy"])
    new = ek.evaluate(table, label="y", score="old", metrics=["accuracy"], name="new")
    with pytest.raises(UsageError, match="one model under two names"):
        ek.gate(new, [accuracy(delta=0)], baseline=old)
