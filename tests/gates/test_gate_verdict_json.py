"""verdict.json: nothing is lost, NaN is null, and the documented schema is what is written."""

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from verdicts import OVERALL, WAIVER, any_verdict, every_outcome, finding, nasty, rule, verdict

from evalkit.errors import DataError
from evalkit.gates.verdict import Verdict
from evalkit.gates.verdict_json import of, read, schema

PAGE = Path(__file__).resolve().parents[2] / "docs" / "gate-outputs.md"


@given(any_verdict())
def test_what_was_written_is_read_back(what: Verdict) -> None:
    assert repr(read(of(what))) == repr(what)  # NaN is unequal to itself, and alike in words


@given(any_verdict())
def test_whatever_is_written_obeys_the_schema(what: Verdict) -> None:
    check(json.loads(of(what)), schema())


def test_numbers_that_are_undefined_are_null() -> None:
    text = of(verdict(rule("insufficient", finding("insufficient", value=float("nan"), high=float("inf")))))
    [found] = json.loads(text)["rules"][0]["findings"]
    assert (found["value"], found["margin"], found["high"]) == (None, None, None)
    assert "NaN" not in text
    assert "Infinity" not in text


def test_passes_are_listed_with_their_margins() -> None:
    what = verdict(rule("pass", finding("pass"), finding("pass", side="at most", bound=0.9)))
    margins = [found["margin"] for found in json.loads(of(what))["rules"][0]["findings"]]
    assert margins == pytest.approx([0.05, 0.2])


def test_waivers_are_told_by_the_rule_and_by_the_whole() -> None:
    document = json.loads(of(every_outcome()))
    assert [waiver["sentence"] for waiver in document["waivers"]] == [WAIVER.sentence]
    [waived] = [each for each in document["rules"] if each["waiver"]]
    assert (waived["outcome"], waived["standing"]) == ("fail", "WAIVED")


def test_the_whole_is_told_in_words_and_by_its_exit_code() -> None:
    document = json.loads(of(every_outcome()))
    assert document["schema"] == 1
    assert document["sentence"] == "new against old is blocked."
    assert document["used"] == "This data has been used for 37 gates."
    assert (document["outcome"], document["exit_code"]) == ("fail", 1)


def test_numbers_of_numpy_are_written() -> None:
    what = verdict(rule("pass", finding("pass", value=np.float64(0.5), rows=np.int64(7), **OVERALL)))
    assert read(of(what)).rules[0].findings[0].rows == 7


def test_names_of_any_kind_are_ascii_in_the_file() -> None:
    assert of(nasty()).isascii()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no JSON"),
        ("[]", "its schema is None"),
        ('{"schema": 2}', "its schema is 2, where 1 is known"),
        ('{"schema": 1}', "broken: KeyError 'candidate'"),
        (of(every_outcome()).replace('"outcome": "skipped"', '"outcome": "skiped"'), "'skiped' is none of pass, fail"),
        (of(every_outcome()).replace('"rows": 1000', '"rows": "many"'), "'many' where int belongs"),
    ],
)
def test_what_is_no_verdict_is_refused(text: str, said: str) -> None:
    with pytest.raises(DataError, match=re.escape(said)):
        read(text)


def test_fields_of_a_later_version_of_the_schema_are_passed_over() -> None:
    document = {**json.loads(of(every_outcome())), "mood": "good"}
    assert read(json.dumps(document)) == read(of(every_outcome()))


# --- the schema ---


def check(value: Any, form: dict[str, Any], place: str = "$") -> None:
    """Holds a document against the few keywords that the schema uses."""
    known = {"$schema", "$id", "$defs", "$ref", "title", "description", "const", "enum", "anyOf", "type"}
    assert set(form) <= known | {"properties", "required", "items", "prefixItems", "minItems", "maxItems"}, place
    if "$ref" in form:
        check(value, schema()["$defs"][form["$ref"].removeprefix("#/$defs/")], place)
    if "const" in form:
        assert value == form["const"], place
    if "enum" in form:
        assert value in form["enum"], place
    if "anyOf" in form:
        assert any(fits(value, each, place) for each in form["anyOf"]), place
    if "type" in form:
        assert any(is_a(value, each) for each in np.atleast_1d(form["type"])), (place, value)
    assert set(form.get("required", [])) <= set(value if isinstance(value, dict) else []), place
    for name, each in form.get("properties", {}).items():
        check(value[name], each, f"{place}.{name}")
    for number, each in enumerate(form.get("prefixItems", [])):
        check(value[number], each, f"{place}[{number}]")
    if "items" in form:
        for number, item in enumerate(value):
            check(item, form["items"], f"{place}[{number}]")
    if "maxItems" in form:
        assert form["minItems"] <= len(value) <= form["maxItems"], place


def fits(value: Any, form: dict[str, Any], place: str) -> bool:
    try:
        check(value, form, place)
    except (AssertionError, TypeError, KeyError, IndexError):
        return False
    return True


def is_a(value: Any, name: str) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return {
        "object": isinstance(value, dict),
        "array": isinstance(value, list),
        "string": isinstance(value, str),
        "boolean": isinstance(value, bool),
        "null": value is None,
        "integer": whole,
        "number": whole or isinstance(value, float),
    }[name]


@pytest.mark.parametrize(("field", "value"), [("outcome", "passed"), ("rows", 1.5), ("alpha", "5%"), ("rules", {})])
def test_the_schema_refuses_what_is_wrong(field: str, value: Any) -> None:
    document = {**json.loads(of(every_outcome())), field: value}
    assert not fits(document, schema(), "$")


def test_an_official_validator_agrees() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.Draft202012Validator(schema()).validate(json.loads(of(every_outcome())))


def tables() -> str:
    """The tables of docs/gate-outputs.md, of the schema's own words."""
    objects = {"The document": schema(), **schema()["$defs"]}
    lines = []
    for name, form in objects.items():
        lines += [f"### {name}", "", form["description"], "", "| field | type | meaning |", "|---|---|---|"]
        for field, each in form["properties"].items():
            said = each["description"].replace("|", "\\|")
            lines.append(f"| `{field}` | {kind(each)} | {said} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def kind(form: dict[str, Any]) -> str:
    if "$ref" in form:
        return form["$ref"].removeprefix("#/$defs/")
    if "enum" in form:
        return " or ".join(f"`{json.dumps(value)}`" for value in form["enum"])
    if "const" in form:
        return f"`{form['const']}`"
    if "anyOf" in form:
        return " or ".join(kind(each) for each in form["anyOf"])
    if "prefixItems" in form:
        return f"[{', '.join(kind(each) for each in form['prefixItems'])}]"
    if form["type"] == "array":
        return f"list of {kind(form['items'])}"
    return form["type"] if isinstance(form["type"], str) else " or ".join(form["type"])


def test_every_field_is_documented() -> None:
    begin, end = "<!-- fields of verdict.json -->\n", "\n<!-- end of fields -->"
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(begin)
    written, _, after = rest.partition(end)
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(before + begin + tables() + end + after, encoding="utf-8")
        written = tables()
    assert "|  |" not in tables()
    assert written == tables(), "run: UPDATE_DOCS=1 python -m pytest tests/gates/test_gate_verdict_json.py"
