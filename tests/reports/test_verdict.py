"""The verdict is shown whole: worst first, waivers never hidden, and no number of a suppressed slice."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest
from hypothesis import HealthCheck, given, settings
from verdicts import WAIVER, any_verdict, every_outcome, failing, finding, nasty, rule, verdict

from evalkit.comparison import Comparison
from evalkit.gates.verdict import WORST_FIRST, Verdict
from evalkit.reports.page import page, parts
from evalkit.reports.part import Part
from evalkit.reports.verdict import MOST_WITHOUT_SCRIPT
from evalkit.reports.verdict import verdict as shown
from evalkit.results import Result
from evalkit.show import interval, number, signed


def text(part: Part) -> str:
    """The words that a part shows."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", part.html.replace("<wbr>", ""))))


def standings(part: Part) -> list[str]:
    return re.findall(r'<div><span class="outcome [a-z]+">([A-Z]+)</span>', part.html)


def test_the_verdict_is_the_first_part(two_models: Result, comparison: Comparison) -> None:
    names = [part.name for part in parts(comparison.result, comparison=comparison, verdict=every_outcome())]
    assert names[:4] == ["verdict", "summary", "deltas", "flips"]
    assert parts(two_models)[0].name == "summary"


def test_rules_come_worst_first(two_models: Result) -> None:
    found = standings(shown(two_models, every_outcome()))
    assert found == [rule.standing for rule in every_outcome().worst_first]
    assert [WORST_FIRST.index(name) for name in found] == sorted(WORST_FIRST.index(name) for name in found)


@pytest.mark.parametrize(
    ("decided", "label"),
    [
        (verdict(rule("pass", finding("pass"))), "PASSED"),
        (verdict(rule("fail", finding("fail"))), "BLOCKED"),
        (verdict(rule("insufficient", finding("insufficient"))), "INSUFFICIENT EVIDENCE"),
        (verdict(), "NOTHING EVALUATED"),
    ],
)
def test_the_outcome_is_told_in_words_too(two_models: Result, decided: Verdict, label: str) -> None:
    assert f"{label} {decided.sentence}" in text(shown(two_models, decided))


def test_a_rule_tells_its_claim_severity_owner_margin_and_sentence(two_models: Result) -> None:
    words = text(shown(two_models, verdict(rule("fail", finding("fail"), severity="warn", reason="agreed"))))
    assert "recall on race=black is 0.6120 [0.5810, 0.6430], below the bound 0.65." in words
    assert "certify · only warns · margin -0.0380 · owner risk-team · line 12 agreed" in words


def test_a_waiver_is_told_with_who_why_and_until_when(two_models: Result) -> None:
    part = shown(two_models, every_outcome())
    assert f'<p class="waiver"><strong>{WAIVER.sentence}</strong></p>' in part.html
    assert '<span class="outcome waived">WAIVED</span>' in part.html


def test_notes_and_how_often_the_data_were_used_are_told(two_models: Result) -> None:
    words = text(shown(two_models, every_outcome()))
    assert "The comparison is unpaired." in words
    assert "This data has been used for 37 gates." in words


def test_every_question_is_held_passes_too(two_models: Result) -> None:
    findings = [finding("pass", f"{i}") for i in range(90)] + [finding("fail", f"f{i}") for i in range(10)]
    part = shown(two_models, verdict(rule("fail", *findings)))
    assert part.data is not None
    [held] = part.data["rules"]
    assert held["text"]["outcome"] == ["fail"] * 10 + ["pass"] * 90
    assert sorted(held["text"]["subject"]) == sorted(f.subject for f in findings)
    assert part.html.count("<tr>") == MOST_WITHOUT_SCRIPT + 1


def test_a_question_shows_the_numbers_that_decided(two_models: Result) -> None:
    one = finding("fail", quantity="delta", p_value=0.012, p_adjusted=0.034, detectable=0.021, rows_needed=4321.0)
    part = shown(two_models, verdict(rule("fail", one)))
    assert part.data is not None
    held = {name: values[0] for name, values in part.data["rules"][0]["text"].items()}
    assert held["subject"] == "delta of recall on race=black"
    assert held["value"] == signed(0.612)
    assert held["interval"] == "[+0.5810, +0.6430] 90%"
    assert (held["bound"], held["margin"]) == ("≥ 0.65", signed(0.612 - 0.65))
    assert (held["p_value"], held["p_adjusted"], held["detectable"]) == (number(0.012), number(0.034), number(0.021))
    assert (held["rows"], held["remark"], held["method"]) == ("1,000", "about 4,321 rows are needed", "wilson")
    plainly = shown(two_models, verdict(rule("fail", finding("fail"))))
    assert f"{interval(0.581, 0.643)} 90%" in plainly.html


def test_numbers_that_do_not_exist_are_dashes(two_models: Result) -> None:
    nan = float("nan")
    one = finding("insufficient", value=nan, low=nan, high=nan, why="there is no such slice", rows=0)
    part = shown(two_models, verdict(rule("insufficient", one)))
    assert "nan" not in text(part).lower()
    assert "there is no such slice" in text(part)


def test_of_a_suppressed_slice_no_number_is_told(private: Comparison) -> None:
    secret = finding("fail", subject="recall on size=tiny", slice="size=tiny", value=0.1234, rows=4567, why="8 rows")
    part = shown(private.result, verdict(rule("fail", secret, secret)))
    everything = part.html + json.dumps(part.data)
    assert "recall on size=tiny" in everything
    for number_of_it in ("0.1234", "4,567", "0.5810", "0.643", "8 rows"):
        assert number_of_it not in everything
    assert "the slice is suppressed" in everything


def test_names_of_rules_cannot_break_out_of_the_page(two_models: Result) -> None:
    from evalkit.reports.cells import cells

    written = page([shown(two_models, nasty())], cells(two_models), "Nasty")
    assert "<script>alert" not in written
    assert "&lt;script&gt;alert(&#34;x&#34;)" in written
    assert "\x1b" not in written


def test_a_verdict_of_many_slices_stays_small(two_models: Result) -> None:
    from evalkit.reports.cells import cells

    few, many = (len(page([shown(two_models, failing(n))], cells(two_models), "Many")) for n in (100, 5000))
    assert many - few < 200_000


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(decided=any_verdict())
def test_any_verdict_can_be_shown(two_models: Result, decided: Verdict) -> None:
    part = shown(two_models, decided)
    json.dumps(part.data, allow_nan=False)
    assert len(standings(part)) == len(decided.rules)
    part.html.encode("utf-8")
