"""What audits share: their forms for people and for programs."""

import datetime as dt
import json

import pytest

import evalkit as ek
from evalkit.fairness.audits.audit import Audit, Table, day, joined, plain

AUDIT = Audit(
    standard="mine",
    title="An audit | of <this>",
    facts={"Data": "rows\nof 2025"},
    findings=("a: `x` is low.",),
    tables=(
        Table("by a", ("Group", "Rows", "Claim"), (("x|y", "1,000", "known"),), words=frozenset({2}), note="Note."),
    ),
    too_few=("b: too few.",),
    untested=("Not that.",),
    notes=("Read so.",),
    values={"rows": 1000, "rate": None},
)


def test_markdown_holds_everything_and_nothing_breaks_out_of_it() -> None:
    text = AUDIT.to_markdown()
    assert text.startswith("## An audit \\| of \\<this\\>\n\n- Data: rows of 2025\n")
    assert "| x\\|y | 1,000 | known |\n" in text
    assert "|---|---:|---|\n" in text
    for words in ("- a: \\`x\\` is low.", "- b: too few.", "Note.", "- Not that.", "- Read so."):
        assert f"{words}\n" in text
    assert AUDIT.to_markdown(level=1).startswith("# An audit")
    assert plain("# no heading") == "\\# no heading"


def test_json_holds_numbers_and_sentences() -> None:
    data = json.loads(AUDIT.to_json())
    assert (data["standard"], data["rows"], data["rate"]) == ("mine", 1000, None)
    assert data["findings"] == ["a: `x` is low."]
    with pytest.raises(ValueError, match="not JSON compliant"):
        Audit("x", "x", {}, (), (), values={"rate": float("nan")}).to_json()


def test_a_date_is_a_day() -> None:
    assert day("date", "2024-02-29") == day("date", dt.datetime(2024, 2, 29, 5)) == dt.date(2024, 2, 29)  # noqa: DTZ001
    for wrong in ("20240229", "2024-02-30", "tomorrow", ""):
        with pytest.raises(ek.EvalkitError, match="must be a date as YYYY-MM-DD"):
            day("date", wrong)


def test_names_are_joined_for_a_sentence() -> None:
    assert joined(list("abcd"), most=3) == "a, b, c and d"
    assert joined(list("abcde"), most=3) == "a, b, c and 2 more"
