"""Filters leave rows out while they are read."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from reading import whole

from evalkit.errors import ColumnError, ConfigError
from evalkit.sources.source import open_source

ROWS = pl.DataFrame(
    {"n": range(100), "x": [k / 7 if k % 5 else None for k in range(100)], "text": [f"t{k % 3}" for k in range(100)]}
)
CONDITIONS = ["x > 5", "text = 't1' AND n < 50", "x IS NULL", "text IN ('t0', 't2') OR x < 1", "n > 1000"]


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("kind", ["parquet", "csv", "arrow", "frame", "lazy", "iterator"])
def test_what_is_read_is_what_satisfies_the_filter(kind: str, condition: str, tmp_path: Path) -> None:
    expected = ROWS.filter(pl.sql_expr(condition))
    for coded in ([], ["text"]):
        data = made(kind, tmp_path)
        assert_frame_equal(whole(data, ["text", "x"], coded, 7, where=condition), expected.select("text", "x"))
        assert_frame_equal(whole(made(kind, tmp_path), ["x"], coded, where=condition), expected.select("x"))


def made(kind: str, folder: Path) -> Any:
    if kind == "parquet":
        ROWS.write_parquet(folder / "rows.parquet", row_group_size=9)
    elif kind == "csv":
        ROWS.write_csv(folder / "rows.csv")
    elif kind == "arrow":
        ROWS.write_ipc(folder / "rows.arrow")
    else:
        return {"frame": ROWS, "lazy": ROWS.lazy(), "iterator": iter([ROWS[:30], ROWS[30:]])}[kind]
    return folder / f"rows.{kind}"


def test_an_expression_is_a_filter() -> None:
    assert whole(ROWS, where=pl.col("n") >= 90).height == 10


def test_a_filter_on_keys_of_folders_leaves_files_out(tmp_path: Path) -> None:
    for k in range(3):
        (tmp_path / f"k={k}").mkdir()
        ROWS.write_parquet(tmp_path / f"k={k}" / "x.parquet")
    source = open_source(tmp_path, where="k = 1")
    assert len(source.parts) == 1
    assert source.rows == 100
    assert whole(tmp_path, ["n", "k"], where="k = 1 AND n < 10")["k"].to_list() == [1] * 10
    assert open_source(tmp_path, where="k = 9").rows == 0


@given(low=st.integers(-10, 110), high=st.integers(-10, 110), group=st.integers(1, 30))
def test_row_groups_that_are_left_out_hold_no_row_that_counts(
    low: int, high: int, group: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    ROWS.write_parquet(path, row_group_size=group)
    condition = pl.col("n").is_between(low, high)
    assert_frame_equal(whole(path, where=condition), ROWS.filter(condition))


def test_a_sample_satisfies_the_filter() -> None:
    rows = pl.DataFrame({"n": range(100_000)})
    assert open_source(rows, where="n < 50000").sample(["n"], 1000)["n"].max() < 50_000  # type: ignore[operator]
    rare = open_source(rows, where="n >= 99990").sample(["n"], 1000)["n"]
    assert rare.to_list() == list(range(99_990, 100_000))
    assert open_source(rows, where="n = 77").sample(["n"], 1)["n"].to_list() == [77]


def test_a_filter_on_a_column_that_is_not_there_names_it() -> None:
    with pytest.raises(ColumnError, match=r'No column "m"'):
        open_source(ROWS, where="m > 1")


def test_a_filter_that_is_no_sql_is_refused() -> None:
    with pytest.raises(ConfigError, match='The filter "n >" is not an SQL condition'):
        open_source(ROWS, where="n >")


@pytest.mark.parametrize("condition", ["1 = 1", "true", pl.lit(value=True)])
def test_a_filter_of_no_column_that_is_true_keeps_every_row(condition: Any, tmp_path: Path) -> None:
    (tmp_path / "k=1").mkdir()
    ROWS.write_parquet(tmp_path / "k=1" / "x.parquet")
    assert whole(tmp_path, ["n", "k"], where=condition).height == 100
    assert whole(ROWS, where=condition).height == 100


def test_a_filter_of_no_column_that_is_false_keeps_none() -> None:
    assert open_source(ROWS, where="1 = 0").rows == 0


@pytest.mark.parametrize("condition", ["n", "n + 1", pl.col("text")])
def test_a_filter_that_is_not_true_or_false_is_refused(condition: Any) -> None:
    with pytest.raises(ConfigError, match="The filter must be true or false for each row, not"):
        open_source(ROWS, where=condition)


@pytest.mark.parametrize(
    "condition",
    [
        "n > AVG(n)",
        "ROW_NUMBER() OVER (ORDER BY n) < 3",
        pl.col("n").rank() < 3,
        pl.col("n").shift(1) < 3,
        pl.col("n").cum_sum() < 3,
        pl.col("n").head(3) < 3,
        pl.col("x").fill_null(strategy="forward") < 3,
        pl.col("text").is_duplicated(),
        pl.col("n").sum().over("text") > 3,
    ],
)
def test_a_filter_that_depends_on_other_rows_is_refused(condition: Any) -> None:
    with pytest.raises(ConfigError, match="depends on other rows"):
        open_source(ROWS, where=condition)


@pytest.mark.parametrize("word", ["Len", "Agg", "Over", "Rank"])
def test_a_filter_may_name_columns_and_values_as_polars_names_its_steps(word: str) -> None:
    assert whole(ROWS.with_columns(pl.lit(word).alias(word)), ["n"], where=f"\"{word}\" = '{word}'").height == 100


def test_a_filter_may_be_a_function_of_python() -> None:
    condition = pl.col("n").map_batches(lambda n: n > 89, return_dtype=pl.Boolean, is_elementwise=True)
    assert whole(ROWS, where=condition).height == 10


@pytest.mark.parametrize("condition", [pl.all() < 3, pl.col("^n|x$") < 3])
def test_a_filter_of_several_columns_at_once_is_refused(condition: pl.Expr) -> None:
    with pytest.raises(ConfigError, match="several columns at once"):
        open_source(ROWS, where=condition)


@pytest.mark.parametrize("condition", [3, True, [1, 2]])
def test_a_filter_of_another_type_is_refused(condition: Any) -> None:
    with pytest.raises(ConfigError, match="A filter is SQL or a Polars expression, not of type"):
        open_source(ROWS, where=condition)


def test_a_filter_that_compares_text_with_a_number_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not fit the columns"):
        open_source(ROWS, where="text = 3")
