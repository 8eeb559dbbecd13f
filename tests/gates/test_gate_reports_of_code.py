"""A verdict as GitLab's code quality report and as SARIF."""

import json
from typing import Any

from hypothesis import given
from verdicts import WAIVER, any_verdict, every_outcome, failing, finding, rule, verdict

from evalkit.gates import gitlab, sarif
from evalkit.gates.entries import problems
from evalkit.gates.verdict import Verdict

SEVERITIES = ["blocker", "critical", "major", "minor", "info"]


def test_severities_follow_the_outcomes() -> None:
    found = json.loads(gitlab.of(every_outcome()))
    assert [each["severity"] for each in found] == ["blocker", "blocker", "critical", "major", "minor", "info"]


def test_a_violation_names_its_rule_place_and_owner() -> None:
    [found] = json.loads(gitlab.of(verdict(rule("fail", finding()))))
    assert found["check_name"] == "evalkit gate: floor"
    assert found["location"] == {"path": "gate.yaml", "lines": {"begin": 12}}
    assert found["description"] == f"floor: FAIL: {finding().sentence} (owner: risk-team)"


def test_a_gate_that_passes_has_an_empty_list() -> None:
    assert json.loads(gitlab.of(verdict(rule("pass", finding("pass"))))) == []


def test_a_violation_keeps_its_fingerprint_when_values_change() -> None:
    [before] = json.loads(gitlab.of(verdict(rule("fail", finding()))))
    [after] = json.loads(gitlab.of(verdict(rule("fail", finding(value=0.2, rows=9)), candidate="newer")))
    assert before["fingerprint"] == after["fingerprint"]
    assert before["description"] != after["description"]


@given(any_verdict())
def test_any_verdict_is_a_code_quality_report(what: Verdict) -> None:
    for each in json.loads(gitlab.of(what)):
        assert set(each) == {"description", "check_name", "fingerprint", "severity", "location"}
        assert each["severity"] in SEVERITIES
        assert len(each["fingerprint"]) == 64
        assert each["location"]["path"]
        assert each["location"]["lines"]["begin"] >= 1


def run_of(what: Verdict) -> dict[str, Any]:
    document = json.loads(sarif.of(what))
    assert document["version"] == "2.1.0"
    [run] = document["runs"]
    return dict(run)


def test_levels_follow_the_outcomes() -> None:
    found = [(each["level"], each["kind"]) for each in run_of(every_outcome())["results"]]
    assert found == [("error", "fail")] * 3 + [("warning", "fail")] * 2 + [("none", "open")]


def test_a_waiver_suppresses_its_result_and_says_why() -> None:
    [found] = [each for each in run_of(every_outcome())["results"] if "suppressions" in each]
    [suppression] = found["suppressions"]
    assert suppression == {"kind": "external", "status": "accepted", "justification": WAIVER.sentence}


def test_results_beyond_githubs_limit_are_left_out_and_counted() -> None:
    run = run_of(failing(5_003))
    assert len(run["results"]) == 5_000
    assert run["properties"]["left_out"] == 3


@given(any_verdict())
def test_any_verdict_is_sarif(what: Verdict) -> None:
    run = run_of(what)
    rules = run["tool"]["driver"]["rules"]
    assert [each["id"] for each in rules] == [rule.name for rule in what.rules]
    for each, entry in zip(run["results"], problems(what), strict=True):
        assert rules[each["ruleIndex"]]["id"] == each["ruleId"] == entry.rule.name
        assert each["level"] in ("none", "note", "warning", "error")
        assert each["kind"] == "fail" or each["level"] == "none"
        assert each["message"]["text"]
        [place] = each["locations"]
        assert place["physicalLocation"]["artifactLocation"]["uri"].isascii()
        assert place["physicalLocation"]["region"]["startLine"] >= 1
