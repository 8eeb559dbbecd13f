"""A verdict as JUnit XML, as GitLab and Jenkins read it."""

import xml.etree.ElementTree as ET

from hypothesis import given
from verdicts import NASTY, WAIVER, any_verdict, every_outcome, failing, finding, nasty, rule, verdict

from evalkit.gates.entries import printable
from evalkit.gates.junit import of
from evalkit.gates.verdict import Verdict

KINDS = ("failure", "error", "skipped")


def suite(what: Verdict) -> ET.Element:
    found = ET.fromstring(of(what)).find("testsuite")
    assert found is not None
    return found


def cases(what: Verdict) -> dict[str, ET.Element]:
    return {case.get("name", ""): case for case in suite(what).findall("testcase")}


def kind(case: ET.Element) -> str:
    kinds = [each for each in KINDS if case.find(each) is not None]
    assert len(kinds) < 2
    return kinds[0] if kinds else "passed"


def test_each_question_is_a_test() -> None:
    assert {name: kind(case) for name, case in cases(every_outcome()).items()} == {
        "floor: recall on race=black": "failure",
        "floor: recall on race=white": "failure",
        "floor: recall on race=other": "passed",
        "thin: recall on race=black": "error",
        "dip: recall on race=black": "skipped",
        "warned: recall on race=black": "passed",
        "later": "skipped",
        "flags: recall on race=black": "passed",
        "flags: recall on race=None": "skipped",
        "fine: recall on race=black": "passed",
    }


def test_a_failure_is_told_in_the_message_and_in_the_text() -> None:
    [case] = cases(verdict(rule("fail", finding()))).values()
    failure = case.find("failure")
    assert failure is not None
    assert failure.get("message") == failure.text == finding().sentence
    assert case.get("classname") == "gate.floor"


def test_a_dot_in_a_name_makes_no_package() -> None:
    [case] = cases(verdict(rule("fail", finding(), name="precision@threshold=0.7"))).values()
    assert case.get("classname") == "gate.precision@threshold=0_7"


def test_a_waived_failure_is_skipped_and_says_so() -> None:
    [case] = cases(verdict(rule("fail", finding(), waiver=WAIVER))).values()
    skipped = case.find("skipped")
    assert skipped is not None
    assert skipped.get("message", "").startswith("WAIVED by head of risk until 2027-01-31: seasonal dip (recall")
    assert WAIVER.sentence in case.findtext("system-out", "")


def test_a_warning_passes_and_is_told() -> None:
    [case] = cases(verdict(rule("fail", finding(), severity="warn"))).values()
    assert kind(case) == "passed"
    assert case.findtext("system-out", "").startswith(f"WARN: {finding().sentence}\n")


def test_a_gate_that_evaluated_nothing_is_no_green_suite() -> None:
    [case] = cases(Verdict("new", None, ())).values()
    assert kind(case) == "error"
    skipped = cases(verdict(rule("skipped", why="there is no baseline")))
    assert {name: kind(case) for name, case in skipped.items()} == {"floor": "skipped", "a rule was evaluated": "error"}


def test_many_slices_are_cut_worst_first_and_counted() -> None:
    what = verdict(*failing(20).rules, rule("pass", *(finding("pass", str(n)) for n in range(20)), name="fine"))
    root = ET.fromstring(of(what, most=25))
    found = [case.get("name", "") for case in root.iter("testcase")]
    assert len(found) == 26
    assert all(name.startswith("floor") for name in found[:20])
    assert found[-1] == "more in verdict.json"
    assert "15 more are in verdict.json." in of(what, most=25)


def test_the_biggest_report_is_small_enough_for_gitlab() -> None:
    assert len(of(failing(20_000, words="x" * 300)).encode()) < 30_000_000


def test_names_are_whole_where_they_hold_what_xml_forbids() -> None:
    found = cases(nasty())
    assert len(found) == 2
    assert any(printable(NASTY) in name for name in found)


@given(any_verdict())
def test_any_verdict_is_well_formed_and_counted(what: Verdict) -> None:
    root = ET.fromstring(of(what))
    assert root.tag == "testsuites"
    [found] = root
    assert found.tag == "testsuite"
    assert next(child.tag for child in found) == "properties"
    tests = found.findall("testcase")
    assert len(found) == len(tests) + 1
    for element in (root, found):
        assert element.get("tests") == str(len(tests))
        for name, each in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert element.get(name) == str(sum(kind(case) == each for case in tests))
    for case in tests:
        assert {"classname", "name", "time"} <= set(case.keys())
        assert {child.tag for child in case} <= {*KINDS, "system-out"}
