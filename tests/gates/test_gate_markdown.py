"""A verdict as Markdown: taken literally by a real parser, and never beyond the limit."""

import html
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from verdicts import NASTY, WAIVER, any_verdict, every_outcome, failing, finding, nasty, rule, verdict

from evalkit.gates.entries import printable
from evalkit.gates.markdown import MOST_BYTES, of
from evalkit.gates.verdict import RuleOutcome, Verdict

PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def cells(text: str) -> list[list[str]]:
    """The rows of all tables as a reader sees them; fails where a cell holds markup."""
    rows: list[list[str]] = []
    tokens = PARSER.parse(text)
    for before, token in pairwise(tokens):
        if before.type == "tr_open":
            rows.append([])
        if before.type in ("td_open", "th_open"):
            children = token.children or []
            assert {child.type for child in children} <= {"text", "text_special", "strong_open", "strong_close"}
            rows[-1].append("".join(child.content for child in children))
    return rows


def test_the_heading_says_the_outcome_in_a_word() -> None:
    assert of(every_outcome()).splitlines()[0] == "## FAIL: new against old is blocked."


def test_rules_come_worst_first() -> None:
    rows = cells(of(every_outcome()))
    assert rows[0] == ["outcome", "rule", "claim", "finding", "owner"]
    assert [row[0] for row in rows[1:8]] == ["FAIL", "INSUFFICIENT", "WAIVED", "WARN", "SKIPPED", "PASS", "PASS"]


def test_slices_that_did_not_pass_and_that_no_rule_tells_are_listed() -> None:
    rows = cells(of(every_outcome()))
    assert [row[:3] for row in rows[9:]] == [["FAIL", "floor", "race=white"], ["UNDECIDED", "flags", "race=None"]]


def test_waivers_stand_in_a_caution_alert() -> None:
    lines = of(every_outcome()).splitlines()
    at = lines.index("> [!CAUTION]")
    assert lines[at - 1] == ""
    assert lines[at + 3] == f"> - Rule dip: {WAIVER.sentence}"


def test_how_often_the_data_decided_and_the_notes_are_told() -> None:
    text = of(every_outcome())
    assert "\n- Note: The comparison is unpaired.\n- Note: This data has been used for 37 gates.\n" in text


def test_markup_in_names_is_text() -> None:
    rows = cells(of(nasty()))
    assert rows[1][1] == printable(NASTY)
    assert rows[1][4] == printable(NASTY)
    assert not any(token.type == "html_block" for token in PARSER.parse(of(nasty())))


def test_names_as_they_usually_are_stay_readable() -> None:
    text = of(verdict(rule("fail", finding("fail", "black, sex=female"), name="roc_auc@k=10")))
    assert "| **FAIL** | roc_auc@k=10 | certify | recall on race=black, sex=female is 0.6120 [0.5810, 0.6430]," in text


@given(any_verdict())
def test_any_verdict_reads_as_it_was_named(what: Verdict) -> None:
    rows = [row for row in cells(of(what)) if len(row) == 5]
    assert [row[1] for row in rows[1:]] == [printable(rule.name).strip() for rule in what.worst_first]


def test_a_long_reason_is_cut() -> None:
    what = verdict(rule("skipped", why="x" * 5_000))
    assert f"{'x' * 1_000} ..." in of(what)
    assert "x" * 1_001 not in of(what)


# --- the limit ---


def test_a_huge_verdict_stays_below_the_limit_and_counts_what_is_left() -> None:
    what = failing(10_000, words="ü" * 20)
    text = of(what)
    assert MOST_BYTES - 1_000 < len(text.encode()) <= MOST_BYTES
    shown = len(cells(text)) - 3  # two rows of headers, one rule
    assert text.splitlines()[-1] == f"{9_999 - shown:,} more rows are in the report, verdict.json."


@given(any_verdict(), st.integers(0, 3_000))
def test_no_limit_is_passed_nor_a_row_torn(what: Verdict, limit: int) -> None:
    text = of(what, limit)
    assert len(text.encode()) <= limit
    whole = of(what).splitlines()
    kept = text.splitlines()
    assert kept == whole or not kept or (kept[:-2] == whole[: len(kept) - 2] and "more rows are in" in kept[-1])


@given(st.integers(0, 400))
def test_what_is_left_out_is_counted_exactly(cut: int) -> None:
    what = verdict(*(RuleOutcome(f"rule {n:02d}", "metric", "certify", "pass", why="fine") for n in range(30)))
    text = of(what, len(of(what)) - 1 - cut)
    rows = [line for line in text.splitlines() if line.startswith("| **")]
    left = 31 - len(rows)  # and the note on how often the data decided
    noted = "- Note" in text
    assert text.splitlines()[-1] == f"{left - noted} more rows are in the report, verdict.json."


def test_where_nothing_fits_nothing_is_written() -> None:
    assert of(every_outcome(), 20) == ""


@pytest.mark.parametrize(
    "name",
    [
        "_emphasis_",
        "a_b_c",
        "http://x.y",
        "&amp;",
        "1. a",
        "# a",
        "- a",
        "~~a~~",
        "a\\",
        "[a](b)",
        "![a](b)",
        "[a][b]",
        "[a]: b",
        "[ ] a",
        "[^1]",
    ],
)
def test_a_name_means_itself(name: str) -> None:
    rows = cells(of(verdict(rule("fail", finding(), name=name))))
    assert html.unescape(rows[1][1]) == html.unescape(name)
    assert rows[1][1] == name
