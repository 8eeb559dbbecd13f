"""Rows fall into the slices that pandas, or counting by hand, says they do."""

import math
from collections import Counter
from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import ColumnError, ConfigError, DataError
from evalkit.slicing.cubes import cubes
from evalkit.slicing.encode import columns_of, encode, freeze
from evalkit.slicing.spec import SliceSet, by, parse, where

Counts = dict[tuple[str | None, ...], int]


def counts(frame: pl.DataFrame, spec: Any, limit: int = 10_000) -> Counts:
    """The rows of each slice of one set, in the order of the slices."""
    frozen = [SliceSet(), *freeze(parse([spec]), frame)]
    made = cubes(frozen, encode(frozen, frame, limit), frame.height, limit)
    for cube in made:
        for roll_up in cube.roll_ups:
            if roll_up.slice_set == 1:
                of_cells = np.bincount(cube.codes, minlength=cube.cells)
                inside = roll_up.slices >= 0
                found = np.bincount(roll_up.slices[inside], weights=of_cells[inside], minlength=len(roll_up.keys))
                return {tuple(v for _, v in k): int(n) for k, n in zip(roll_up.keys, found, strict=True)}
    raise AssertionError("the set is in no cube")


def by_pandas(frame: pl.DataFrame, names: Sequence[str]) -> Counts:
    """The same by pandas, for columns of text."""
    grouped = frame.to_pandas().groupby(list(names), dropna=False, sort=False).size()
    keys = grouped.index.to_frame().itertuples(index=False)
    return {tuple(None if pd.isna(v) else str(v) for v in k): int(n) for k, n in zip(keys, grouped, strict=True)}


WORDS = st.sampled_from(["b", "a", "ä", "", "null", "other", "a, b", "x=y", None])


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=40))
def test_text_is_grouped_as_by_pandas(rows: list[tuple[str | None, str | None]]) -> None:
    frame = pl.DataFrame(rows, schema={"s": pl.String, "t": pl.String}, orient="row")
    assert counts(frame, "s") == by_pandas(frame, ["s"])
    assert counts(frame, ["t", "s"]) == by_pandas(frame, ["t", "s"])
    assert list(counts(frame, "s")) == sorted(counts(frame, "s"), key=lambda k: (k[0] is None, k[0] or ""))


@pytest.mark.parametrize("distinct", [5, 3000])
def test_many_rows_of_text_are_grouped_as_by_pandas(distinct: int) -> None:
    generator = np.random.default_rng(distinct)
    words = pl.Series("s", [f"word {i}" for i in range(distinct)] + [None])
    frame = pl.DataFrame([words.gather(generator.integers(0, distinct + 1, 300_000))])
    found = counts(frame, "s")
    assert found == by_pandas(frame, ["s"])
    assert list(found)[-1] == (None,)


NUMBERS: dict[str, tuple[list[Any], pl.DataType, list[str | None]]] = {
    "integers": ([10, 9, -3, None, 9], pl.Int64(), ["-3", "9", "10", None]),
    "small": ([200, 3, None], pl.UInt8(), ["3", "200", None]),
    "wide": ([10**12, -(10**12), 0, None], pl.Int64(), ["-1000000000000", "0", "1000000000000", None]),
    "unsigned": ([2**63 + 5, 1, 2**63], pl.UInt64(), ["1", str(2**63), str(2**63 + 5)]),
    "floats": ([1.0, 0.5, -2.0, math.nan, None], pl.Float64(), ["-2", "0.5", "1", None]),
    "booleans": ([True, False, None], pl.Boolean(), ["false", "true", None]),
    "dates": ([date(2024, 5, 1), date(2023, 1, 1), None], pl.Date(), ["2023-01-01", "2024-05-01", None]),
    "nulls": ([None, None], pl.Int64(), [None]),
    "categories": (["b", "a", None], pl.Categorical(), ["a", "b", None]),
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_values_of_every_type_come_in_ascending_order_null_last(kind: str) -> None:
    values, dtype, texts = NUMBERS[kind]
    found = counts(pl.DataFrame({"c": pl.Series(values, dtype=dtype)}), "c")
    assert list(found) == [(text,) for text in texts]
    assert sum(found.values()) == len(values)
    assert found.get((None,), 0) == sum(v is None or v != v for v in values)


@given(st.lists(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=4) | st.none(), min_size=1, max_size=20))
def test_a_list_puts_a_row_into_each_of_its_values_once(rows: list[list[str | None] | None]) -> None:
    frame = pl.DataFrame({"tags": pl.Series(rows, dtype=pl.List(pl.String)), "n": list(range(len(rows)))})
    expected = Counter(tag for row in rows for tag in ({None} if row is None else set(row)))
    assert counts(frame, "tags") == {(tag,): n for tag, n in expected.items()}
    crossed = Counter((t, "low" if i < 3 else "") for i, row in enumerate(rows) if row for t in set(row))
    low = counts(frame.with_columns(tags=pl.col("tags").fill_null([])), ["tags", where("low", pl.col("n") < 3)])
    assert low == {(tag, "true"): n for (tag, name), n in crossed.items() if name}


def test_chosen_values_of_a_list_keep_their_order() -> None:
    frame = pl.DataFrame({"tags": [["a", "b"], ["b", "c"], ["c"], []]})
    assert counts(frame, by("tags", values=["c", "a"])) == {("c",): 2, ("a",): 1}


@given(
    st.lists(st.floats(-50, 50) | st.none() | st.just(math.nan) | st.sampled_from([-10.0, 0.0, 30.0]), min_size=1),
    st.lists(st.sampled_from([-10.0, 0.0, 0.5, 30.0, 45.0]), min_size=1, unique=True).map(sorted),
)
def test_bins_are_closed_below_and_open_above(values: list[float | None], edges: list[float]) -> None:
    frame = pl.DataFrame({"x": pl.Series(values, dtype=pl.Float64)})
    bounds = [-math.inf, *edges, math.inf]
    names = [f"{'(' if low == -math.inf else '['}{low:g}, {high:g})" for low, high in pairwise(bounds)]
    known = pd.Series([v for v in values if v is not None and not math.isnan(v)], dtype=float)
    expected: Counts = {}
    if len(known):
        cut = pd.cut(known, bounds, right=False, labels=names).value_counts(sort=False)
        expected = {(str(name),): int(n) for name, n in cut.items() if n}
    if len(known) < len(values):
        expected[(None,)] = len(values) - len(known)
    assert counts(frame, by("x", edges=edges)) == expected
    assert list(counts(frame, by("x", edges=edges))) == list(expected)


def test_edges_that_print_alike_are_written_in_full() -> None:
    frame = pl.DataFrame({"x": [0.0, 1.00000005, 2.0]})
    assert len(counts(frame, by("x", edges=[1.0, 1.0000001]))) == 3


@pytest.mark.parametrize("bins", [2, 4, 5])
def test_quantile_bins_hold_equally_many_rows(bins: int) -> None:
    frame = pl.DataFrame({"x": np.random.default_rng(0).permutation(1000) / 7})
    assert set(counts(frame, by("x", quantiles=bins)).values()) == {1000 // bins}


def test_quantile_bins_of_few_values_are_fewer_and_never_empty() -> None:
    frame = pl.DataFrame({"x": [1, 1, 1, 1, 1, 2, None]})
    found = counts(frame, by("x", quantiles=4))
    assert all(found.values())
    assert found[(None,)] == 1
    assert sum(found.values()) == 7


def test_frozen_quantiles_are_edges() -> None:
    frame = pl.DataFrame({"x": [1.0, 2.0, 3.0, 4.0]})
    [frozen] = freeze(parse("x=quantiles(2)"), frame)
    assert frozen == SliceSet((by("x", edges=[3.0]),))
    assert freeze([frozen], frame.head(1)) == [frozen]


def test_top_keeps_the_most_frequent_and_gathers_the_rest() -> None:
    frame = pl.DataFrame({"c": ["a"] * 5 + ["b"] * 4 + ["c"] * 2 + ["d"] + [None] * 3})
    assert counts(frame, "c=top(2)") == {("a",): 5, ("b",): 4, ("other",): 3, (None,): 3}
    assert counts(frame, "c=top(9)") == {("a",): 5, ("b",): 4, ("c",): 2, ("d",): 1, (None,): 3}


def test_a_value_named_other_is_not_the_rest() -> None:
    frame = pl.DataFrame({"c": ["other"] * 5 + ["b", "c"]})
    assert counts(frame, "c=top(1)") == {("other",): 5, ("other values",): 2}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["b", "a"], {("b",): 1, ("a",): 2}),
        ([None], {(None,): 1}),
        (["c", None], {("c",): 1, (None,): 1}),
    ],
)
def test_chosen_values_leave_the_other_rows_out(values: list[str | None], expected: Counts) -> None:
    frame = pl.DataFrame({"c": ["a", "b", "a", "c", None], "d": ["x", "x", "y", "y", "y"]})
    found = counts(frame, by("c", values=values))
    assert found == expected
    assert list(found) == list(expected)
    assert sum(counts(frame, [by("c", values=values), "d"]).values()) == sum(expected.values())


def test_chosen_numbers_are_found() -> None:
    frame = pl.DataFrame({"c": [1, 2, 2], "f": [0.5, 1.0, 1.0], "b": [True, False, False]})
    assert counts(frame, "c=[2]") == {("2",): 2}
    assert counts(frame, "f=[1, 0.5]") == {("1",): 2, ("0.5",): 1}
    assert counts(frame, "b=[true]") == {("true",): 1}


AGES = pl.DataFrame({"age": [20, 29, 30, None, 61], "sex": ["f", "m", "f", "f", None]})
CONDITIONS: list[tuple[Any, str, int]] = [
    (pl.col("age") < 30, "age < 30", 2),
    ((pl.col("age") < 30) & (pl.col("sex") == "f"), "age < 30 AND sex = 'f'", 1),
    (pl.col("sex").is_null(), "sex IS NULL", 1),
    (pl.col("age").is_between(30, 70), "age BETWEEN 30 AND 70", 2),
    (pl.col("age").is_in([20, 61]), "age IN (20, 61)", 2),
]


@pytest.mark.parametrize(("expression", "sql", "n"), CONDITIONS, ids=[sql for _, sql, _ in CONDITIONS])
def test_a_condition_is_the_same_in_polars_and_in_sql(expression: Any, sql: str, n: int) -> None:
    for condition in (expression, sql):
        assert counts(AGES, where("chosen", condition)) == {("true",): n}
        assert sum(counts(AGES, [where("chosen", condition), "sex"]).values()) == n


def test_a_condition_that_holds_nowhere_is_no_slice() -> None:
    assert counts(AGES, where("old", "age > 100")) == {}


def test_conditions_name_the_columns_they_read() -> None:
    assert columns_of(parse(["site", where("w", "age < 30 AND sex = 'f'"), ["site", "age"]])) == ["site", "age", "sex"]


MISTAKES: list[tuple[Any, type[Exception], str]] = [
    ("aeg", ColumnError, 'Did you mean "age"'),
    ("age=edges(30)", DataError, "numeric"),
    ("sex=[female]", ConfigError, 'holds no "female"'),
    (where("w", "age <"), ConfigError, "cannot be read"),
    (where("w", "height < 3"), ConfigError, "fails on the data"),
    (where("w", pl.col("sex")), ConfigError, "true or false"),
    ("parts", DataError, "plain values or lists"),
    ("tags=top(2)", ConfigError, "list column"),
    ("empty=quantiles(2)", DataError, "no numbers"),
]


@pytest.mark.parametrize(("spec", "error", "words"), MISTAKES, ids=[str(spec) for spec, _, _ in MISTAKES])
def test_a_slice_that_the_data_cannot_give_is_a_sentence(spec: Any, error: type[Exception], words: str) -> None:
    frame = pl.DataFrame(
        {"age": ["20"], "sex": ["f"], "parts": [{"a": 1}], "tags": [["x"]], "empty": pl.Series([None], dtype=pl.Int64)}
    )
    with pytest.raises(error, match=words):
        counts(frame, spec)


def test_too_many_values_say_what_to_do() -> None:
    frame = pl.DataFrame({"c": [str(i) for i in range(50)], "d": [str(i % 7) for i in range(50)]})
    with pytest.raises(DataError, match=r"50 distinct values, more than 10 slices.*top\(20\)"):
        counts(frame, "c", limit=10)
    with pytest.raises(DataError, match="more than 20 slices"):
        counts(frame.head(21).with_columns(c=pl.col("c").cast(pl.Int64) % 5), ["c", "d"], limit=20)


@pytest.mark.parametrize(
    ("values", "dtype", "texts"),
    [
        (["2.50", None, "1.00", "2.50"], pl.Decimal(10, 2), ("1.00", "2.50", None)),
        ([7, None, -3, 7], pl.Int128, ("-3", "7", None)),
        ([2**64 - 1, None, 1, 2**64 - 1], pl.UInt64, ("1", str(2**64 - 1), None)),
    ],
)
def test_numbers_beyond_those_of_numpy_have_slices(
    values: list[Any], dtype: Any, texts: tuple[str | None, ...]
) -> None:
    column = pl.Series("n", values).cast(dtype) if isinstance(values[0], str) else pl.Series("n", values, dtype)
    coded, *_ = encode(parse(["n"]), column.to_frame()).values()
    assert coded.values == texts
    assert coded.codes.tolist() == [1, 2, 0, 1]


@pytest.mark.parametrize("condition", ["n > AVG(n)", pl.col("n").rank() < 3, pl.col("n").sum().over("n") > 1])
def test_a_condition_that_depends_on_other_rows_is_refused_of_a_part(condition: Any) -> None:
    sets, frame = parse([where("x", condition)]), pl.DataFrame({"n": [1, 2, 3, 4]})
    encode(sets, frame)
    with pytest.raises(ConfigError, match='The condition of "x" depends on other rows'):
        encode(sets, frame, part=True)
