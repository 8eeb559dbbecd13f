"""A verdict as GitHub's annotations, read back as its runner does."""

import re
from urllib.parse import unquote

from hypothesis import given
from verdicts import NASTY, WAIVER, any_verdict, every_outcome, failing, finding, nasty, rule, verdict

from evalkit.gates.entries import printable
from evalkit.gates.github import commands
from evalkit.gates.verdict import Verdict


def parsed(line: str) -> tuple[str, dict[str, str], str]:
    """The level, properties and message of a workflow command."""
    found = re.fullmatch(r"::(error|warning) ([^\r\n]*?)::([^\r\n]*)", line)
    assert found, line
    properties = dict(pair.split("=", 1) for pair in found[2].split(","))
    return found[1], {name: unquote(value) for name, value in properties.items()}, unquote(found[3])


def test_failures_are_errors_and_waivers_and_warnings_are_warnings() -> None:
    found = [parsed(line) for line in commands(every_outcome())]
    assert [(level, properties["title"]) for level, properties, _ in found] == [
        ("error", "FAIL floor: recall on race=black"),
        ("error", "FAIL floor: recall on race=white"),
        ("error", "INSUFFICIENT thin: recall on race=black"),
        ("warning", "WAIVED dip: recall on race=black"),
        ("warning", "WARN warned: recall on race=black"),
    ]


def test_an_annotation_stands_at_its_rule() -> None:
    _, properties, message = parsed(commands(verdict(rule("fail", finding())))[0])
    assert (properties["file"], properties["line"]) == ("gate.yaml", "12")
    assert message == finding().sentence


def test_rules_from_python_have_no_place() -> None:
    _, properties, _ = parsed(commands(verdict(rule("fail", finding(), line=0), file=""))[0])
    assert set(properties) == {"title"}


def test_a_waiver_is_told_with_who_and_why() -> None:
    [line] = commands(verdict(rule("fail", finding(), waiver=WAIVER)))
    assert parsed(line)[2].startswith(WAIVER.sentence)


def test_what_the_runner_reads_as_its_own_is_escaped() -> None:
    line = commands(verdict(rule("fail", finding(subject="100% a:b,c\r\nd"), name="a:b,c=d%")))[0]
    assert line.startswith("::error file=gate.yaml,line=12,title=FAIL a%3Ab%2Cc=d%25%3A 100%25 a%3Ab%2Cc%0D%0Ad::")
    assert "::100%25 a:b,c%0D%0Ad is 0.6120" in line


def test_a_name_cannot_start_a_command_of_its_own() -> None:
    for line in commands(nasty()):
        assert line.startswith(("::error ", "::warning "))
        _, properties, _ = parsed(line)
        assert printable(NASTY, kept="\r\n") in properties["title"]


def test_the_tenth_of_many_errors_says_how_many_more_there_are() -> None:
    found = commands(failing(30))
    assert len(found) == 10
    assert found[-1] == "::error title=evalkit gate::21 more errors are in the report, verdict.json."


def test_ten_errors_are_all_told() -> None:
    assert all("recall" in line for line in commands(failing(10)))


def test_a_gate_that_evaluated_nothing_is_an_error() -> None:
    what = Verdict("new", None, (rule("skipped", why="there is no baseline"),))
    assert commands(what) == ["::error title=evalkit gate::new is not decided: no rule was evaluated."]


def test_a_gate_that_passes_says_nothing() -> None:
    assert commands(verdict(rule("pass", finding("pass")))) == []


@given(any_verdict())
def test_no_verdict_passes_githubs_limits_or_breaks_a_line(what: Verdict) -> None:
    levels = [parsed(line)[0] for line in commands(what)]
    assert levels.count("error") <= 10
    assert levels.count("warning") <= 10
    assert levels == sorted(levels)
    assert not what.exit_code or levels[0] == "error"
