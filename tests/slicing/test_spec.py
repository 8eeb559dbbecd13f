"""What a user may write for a slice, and what is said of what they may not."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import evalkit as ek
from evalkit.errors import ConfigError
from evalkit.slicing.spec import Dimension, SliceKey, SliceSet, by, parse, slice_text, where

WRITTEN = [
    ("sex", Dimension("sex")),
    (" sex ", Dimension("sex")),
    ("sex=[f, m]", by("sex", values=["f", "m"])),
    ('sex=["a, b", "c=d"]', by("sex", values=["a, b", "c=d"])),
    ("n=[1, 2.5, true, null]", by("n", values=[1, 2.5, True, None])),
    ("age=edges(30, 45)", by("age", edges=[30, 45])),
    ("age=edges(-1.5, 0)", by("age", edges=[-1.5, 0])),
    ("income=quantiles(4)", by("income", quantiles=4)),
    ("plan=top(20)", by("plan", top=20)),
    ("young=where(age < 30 AND sex = 'f')", where("young", "age < 30 AND sex = 'f'")),
    ("two=where(age IN (1, 2), x)", where("two", "age IN (1, 2), x")),
]


@pytest.mark.parametrize(("text", "dimension"), WRITTEN, ids=[text for text, _ in WRITTEN])
def test_a_written_form_is_read(text: str, dimension: Dimension) -> None:
    assert parse(text) == [SliceSet((dimension,))]
    assert parse([text]) == [SliceSet((dimension,))]


@pytest.mark.parametrize(
    ("spec", "dimension"),
    [
        ({"column": "age"}, by("age")),
        ({"column": "age", "edges": [30]}, by("age", edges=[30])),
        ({"column": "sex", "values": ["f"]}, by("sex", values=["f"])),
        ({"column": "income", "quantiles": 3}, by("income", quantiles=3)),
        ({"column": "plan", "top": 2}, by("plan", top=2)),
        ({"name": "young", "where": "age < 30"}, where("young", "age < 30")),
        ({"sex": "f"}, by("sex", values=["f"])),
        ({"sex": ["f", "m"]}, by("sex", values=["f", "m"])),
        ({"name": "young"}, by("name", values=["young"])),
    ],
)
def test_a_mapping_is_read(spec: dict[str, Any], dimension: Dimension) -> None:
    assert parse(spec) == [SliceSet((dimension,))]


def test_a_cross_is_written_as_a_list_or_with_commas() -> None:
    cross = SliceSet((by("sex"), by("age", edges=[30, 45])))
    assert parse([["sex", "age=edges(30, 45)"]]) == [cross]
    assert parse("sex,age=edges(30, 45)") == [cross]
    assert parse([("sex", {"column": "age", "edges": [30, 45]})]) == [cross]
    assert parse([[ek.by("sex"), ek.by("age", edges=[30, 45])]]) == [cross]
    assert parse(cross) == [cross]


def test_a_set_asked_for_twice_is_there_once() -> None:
    assert parse(["sex", "race", by("sex"), {"column": "race"}]) == parse(["sex", "race"])


@pytest.mark.parametrize("nothing", [None, (), []])
def test_nothing_asked_is_no_set(nothing: Any) -> None:
    assert parse(nothing) == []


MISTAKES = [
    ("", "is not a slice"),
    ("=[a]", "is not a slice"),
    ("sex=", "is not a slice"),
    ("sex=f", "is not a slice"),
    ("age=bins(3)", "is not a slice"),
    ("age=edges(30", "open bracket"),
    ("sex=['a]", "open bracket or quote"),
    ("age=edges(45, 30)", "ascending"),
    ("age=edges(30, 30)", "ascending"),
    ("age=edges(a)", "ascending"),
    ("age=edges(1e999)", "finite"),
    ("age=quantiles(1)", "at least 2"),
    ("age=quantiles(2.5)", "whole number"),
    ("age=quantiles(2, 3)", "whole number"),
    ("plan=top(0)", "at least 1"),
    ("plan=top(true)", "whole number"),
    (["sex", ["sex", "sex"]], "different columns"),
    ("age,age=edges(3)", "different columns"),
    ([[]], "different columns"),
    ({"column": "sex", "valeus": ["f"]}, "a mapping has"),
    ({"column": "sex", "values": []}, "at least one"),
    ({"column": "sex", "values": "f"}, "needs a list"),
    ({"column": "age", "edges": 3}, "needs a list"),
    ({"column": "age", "edges": [1], "top": 3}, "take one of"),
    (3, "is not a slice"),
    ([3], "is not a slice"),
    ([[3]], "is not a slice"),
]


@pytest.mark.parametrize(("spec", "words"), MISTAKES, ids=[str(spec) for spec, _ in MISTAKES])
def test_a_mistake_is_a_sentence(spec: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse(spec)


ROUND = [by("sex"), by("age", edges=[30, 45.5]), by("age", quantiles=4), by("plan", top=3), by("n", values=[1, 2])]


@pytest.mark.parametrize("dimension", ROUND, ids=str)
def test_what_is_printed_can_be_read_again(dimension: Dimension) -> None:
    assert parse(str(dimension)) == [SliceSet((dimension,))]


def test_a_condition_may_be_an_expression() -> None:
    young = where("young", pl.col("age") < 30)
    assert young.column is None
    assert by("age").column == "age"


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ((), "overall"),
        ((("race", "black"),), "race=black"),
        ((("race", "black"), ("sex", "female")), "race=black, sex=female"),
        ((("race", None),), "race=null"),
        ((("race", "null"),), 'race="null"'),
        ((("race", ""),), 'race=""'),
        ((("race", "a, b"),), 'race="a, b"'),
        ((("race", "a=b"),), 'race="a=b"'),
        ((("race", 'a"b'),), r'race="a\"b"'),
        ((("race", 'a\\"b'),), r'race="a\\\"b"'),
        ((("age", "[30, 45)"),), "age=[30, 45)"),
        ((("age", "(-inf, 30)"),), "age=(-inf, 30)"),
    ],
)
def test_a_slice_is_written_for_people(key: SliceKey, text: str) -> None:
    assert slice_text(key) == text


VALUES = st.one_of(
    st.none(), st.sampled_from(["null", "a", "a, b", "a=b", '"', "\\", "", "[1, 2)", "x, sex=m"]), st.text()
)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=2, unique=True))
def test_different_slices_are_written_differently(pairs: list[tuple[str | None, str | None]]) -> None:
    first, second = (slice_text((("race", race), ("sex", sex))) for race, sex in pairs)
    assert first != second
