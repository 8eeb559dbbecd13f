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
