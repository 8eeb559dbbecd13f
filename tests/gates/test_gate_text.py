"""A verdict in the terminal."""

import io

import pytest
from hypothesis import given
from rich.console import Console
from verdicts import NASTY, WAIVER, any_verdict, every_outcome, failing, finding, nasty, rule, verdict

from evalkit.gates.entries import entries, printable, problems
from evalkit.gates.text import of, rendered, show, shown
from evalkit.gates.verdict import WORST_FIRST, Verdict


def coloured(what: Verdict) -> str:
    stream = io.StringIO()
    Console(file=stream, force_terminal=True, color_system="standard", width=400).print(rendered(what))
    return stream.getvalue()


def test_the_verdict_comes_first_and_the_worst_rule_next() -> None:
    lines = of(every_outcome()).splitlines()
    assert lines[0] == "new against old is blocked."
    outcomes = [line.split()[0] for line in lines[3:10]]
    assert outcomes == ["FAIL", "INSUFFICIENT", "WAIVED", "WARN", "SKIPPED", "PASS", "PASS"]


def test_a_rule_is_told_with_its_claim_owner_and_sentence() -> None:
    text = of(verdict(rule("fail", finding())))
    assert (
        "FAIL     floor  certify  risk-team  recall on race=black is 0.6120 [0.5810, 0.6430], below the bound 0.65"
        in text
    )


def test_a_waiver_is_told_with_who_why_and_until_when_beside_what_it_overrides() -> None:
    text = of(verdict(rule("fail", finding(), waiver=WAIVER)))
    assert "WAIVED by head of risk until 2027-01-31: seasonal dip (recall on race=black is 0.6120" in text


def test_a_waived_rule_that_was_not_evaluated_is_told() -> None:
    assert "(nothing was evaluated)" in of(verdict(rule("skipped", waiver=WAIVER)))


def test_waivers_and_failures_are_red_on_a_terminal() -> None:
    text = coloured(every_outcome())
    [waived] = [line for line in text.splitlines() if "WAIVED" in line]
    assert "\x1b[1;31mWAIVED by head of risk" in waived
    assert "\x1b[1;31mFAIL" in text


def test_a_pipe_gets_plain_text() -> None:
    stream = io.StringIO()
    show(every_outcome(), stream)
    assert stream.getvalue() == of(every_outcome()) + "\n"


def test_a_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    show(every_outcome(), stream)
    assert "\x1b[1;31mFAIL" in stream.getvalue()


def test_undecided_slices_are_listed() -> None:
    assert "Undecided (1):\n  flags: recall on race=None is 0.6400" in of(every_outcome())


def test_slices_beyond_the_limit_are_counted() -> None:
    lines = shown(failing(30), most=4).after
    assert lines[:2] == ("Also failing (29):", f"  floor: {finding('fail', '000001').sentence}")
    assert lines[5] == "  ... 25 more"


def test_what_a_reader_must_know_stands_at_the_end() -> None:
    assert of(every_outcome()).endswith("\nThe comparison is unpaired.\nThis data has been used for 37 gates.")


def test_a_verdict_without_rules_is_a_sentence() -> None:
    assert of(Verdict("new", None, ())) == "new is not decided: no rule was evaluated."


def test_names_cannot_move_the_cursor_or_break_a_line() -> None:
    text = of(nasty())
    assert "\x1b" not in text
    assert "\r" not in text
    assert all(line.isprintable() for line in text.split("\n"))
    assert printable(NASTY) in text


@given(any_verdict())
def test_any_verdict_can_be_printed(what: Verdict) -> None:
    assert of(what).startswith(printable(what.sentence))
    assert coloured(what)


# --- questions, worst first ---


def test_questions_come_worst_first() -> None:
    order = [WORST_FIRST.index(entry.standing) for entry in entries(every_outcome())]
    assert order == sorted(order)
    assert [entry.standing for entry in problems(every_outcome())] == [
        "FAIL",
        "FAIL",
        "INSUFFICIENT",
        "WAIVED",
        "WARN",
        "UNDECIDED",
    ]


def test_a_rule_that_blocks_without_a_question_that_does_is_told_itself() -> None:
    what = verdict(rule("insufficient", finding("undecided"), claim="flag"))
    assert [(entry.standing, entry.title) for entry in problems(what)] == [
        ("INSUFFICIENT", "floor"),
        ("UNDECIDED", "floor: recall on race=black"),
    ]


def test_a_waiver_of_a_rule_that_passes_is_told() -> None:
    what = verdict(rule("pass", finding("pass"), waiver=WAIVER))
    assert [entry.standing for entry in problems(what)] == ["WAIVED"]


def test_two_bounds_on_one_slice_have_titles_of_their_own() -> None:
    what = verdict(rule("pass", finding("pass"), finding("pass", side="at most", bound=0.9)))
    assert [entry.title for entry in entries(what)] == [
        "floor: recall on race=black, at least",
        "floor: recall on race=black, at most",
    ]


def test_a_fingerprint_stays_when_values_lines_and_outcomes_change() -> None:
    [before] = entries(verdict(rule("fail", finding())))
    [after] = entries(verdict(rule("insufficient", finding("insufficient", value=0.1, rows=7), line=99)))
    assert before.fingerprint("gate.yaml") == after.fingerprint("gate.yaml")


def test_fingerprints_of_rules_slices_sides_and_files_differ() -> None:
    other = [finding(), finding("fail", "white"), finding(side="at most"), finding(metric="precision")]
    what = verdict(rule("fail", *other), rule("fail", finding(), name="other"))
    prints = {entry.fingerprint(file) for entry in entries(what) for file in ("gate.yaml", "other.yaml")}
    assert len(prints) == 10
