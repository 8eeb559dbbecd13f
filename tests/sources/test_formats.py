"""Every format gives the rows that Polars reads, in batches of the size that was asked for."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from reading import whole

from evalkit.sources.source import open_source

WRITERS = {
    "parquet": lambda frame, path: frame.write_parquet(path, row_group_size=7),
    "arrow": lambda frame, path: frame.write_ipc(path, record_batch_size=7),
    "feather": lambda frame, path: frame.write_ipc(path, compression="zstd"),
    "csv": lambda frame, path: frame.write_csv(path),
    "tsv": lambda frame, path: frame.write_csv(path, separator="\t"),
    "ndjson": lambda frame, path: frame.write_ndjson(path),
    "jsonl": lambda frame, path: frame.write_ndjson(path),
}
PLAIN = pl.DataFrame(
    {
        "score": [0.25, None, 0.75, 1.5, -2.0] * 6,
        "label": [0, 1, None, 1, 0] * 6,
        "text": ["a", "größe", None, 'c, "d"', "名"] * 6,
    }
)
RICH = st.fixed_dictionaries(
    {
        "number": st.none() | st.integers(-(2**40), 2**40),
        "real": st.none() | st.floats(width=32),
        "flag": st.none() | st.booleans(),
        "text": st.none() | st.sampled_from(["", "a", "b", "größe", "名"]),
        "kind": st.none() | st.sampled_from(["x", "y", "z"]),
        "rank": st.none() | st.sampled_from(["low", "high"]),
        "day": st.none() | st.dates(date(1900, 1, 1), date(2100, 1, 1)),
        "time": st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001
        "tags": st.none() | st.lists(st.none() | st.sampled_from(["p", "q"]), max_size=3),
    }
)
SCHEMA: dict[str, Any] = {
    "number": pl.Int64,
    "real": pl.Float32,
    "flag": pl.Boolean,
    "text": pl.String,
    "kind": pl.Categorical,
    "rank": pl.Enum(["low", "high"]),
    "day": pl.Date,
    "time": pl.Datetime("us"),
    "tags": pl.List(pl.String),
}


@pytest.mark.parametrize("ending", WRITERS)
def test_a_file_gives_the_rows_that_were_written(ending: str, tmp_path: Path) -> None:
    WRITERS[ending](PLAIN, tmp_path / f"rows.{ending}")
    assert_frame_equal(whole(tmp_path / f"rows.{ending}"), PLAIN)


@pytest.mark.parametrize("ending", WRITERS)
def test_columns_come_in_the_order_asked_for_and_text_as_codes(ending: str, tmp_path: Path) -> None:
    WRITERS[ending](PLAIN, tmp_path / f"rows.{ending}")
    found = whole(tmp_path / f"rows.{ending}", ["text", "score"], ["text"], 4)
    assert_frame_equal(found, PLAIN.select("text", "score"))


@pytest.mark.parametrize("ending", WRITERS)
def test_a_sample_takes_rows_from_the_whole_file(ending: str, tmp_path: Path) -> None:
    rows = pl.DataFrame({"position": range(50_000), "other": "x"})
    rows.write_csv(tmp_path / "rows.csv")
    WRITERS[ending](rows, tmp_path / f"rows.{ending}")
    sample = open_source(tmp_path / f"rows.{ending}").sample(["position"], 500)["position"]
    assert sample.is_sorted()
    assert sample.is_unique().all()
    assert 40 < sample.len() < 2000
    quarters = (sample // 12_500).value_counts()
    assert quarters.height == 4
    assert min(quarters["count"].to_list()) > sample.len() / 10


@pytest.mark.parametrize("ending", WRITERS)
def test_a_sample_is_the_same_each_time(ending: str, tmp_path: Path) -> None:
    WRITERS[ending](PLAIN, tmp_path / f"rows.{ending}")
    source = open_source(tmp_path / f"rows.{ending}")
    assert_frame_equal(source.sample(["score"], 5), source.sample(["score"], 5))


@pytest.mark.parametrize("ending", sorted(set(WRITERS) - {"ndjson", "jsonl"}))
def test_a_file_without_rows_has_columns(ending: str, tmp_path: Path) -> None:
    WRITERS[ending](PLAIN.clear(), tmp_path / f"rows.{ending}")
    source = open_source(tmp_path / f"rows.{ending}")
    assert list(source.columns) == PLAIN.columns
    assert [batch for part in source.parts for batch in part.batches(["score"], ["text"])] == []
    assert source.sample(["score"], 10).height == 0


@given(
    rows=st.lists(RICH, max_size=30),
    group=st.integers(1, 12),
    most=st.integers(1, 40),
    coded=st.sets(st.sampled_from(sorted(SCHEMA))),
)
@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_batches_together_are_the_frame(
    ending: str,
    rows: list[dict[str, Any]],
    group: int,
    most: int,
    coded: set[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    frame = pl.DataFrame(rows, SCHEMA)
    path = tmp_path_factory.mktemp("rows") / f"rows.{ending}"
    if ending == "parquet":
        frame.write_parquet(path, row_group_size=group)
    else:
        frame.write_ipc(path, record_batch_size=group)
    text = {"text", "kind", "rank"} & coded
    assert_frame_equal(whole(path, None, coded, most), frame.cast(dict.fromkeys(text, pl.String)), check_dtypes=True)


@given(rows=st.lists(RICH, max_size=30), most=st.integers(1, 40), coded=st.sets(st.sampled_from(sorted(SCHEMA))))
def test_batches_of_a_frame_in_memory_are_the_frame(rows: list[dict[str, Any]], most: int, coded: set[str]) -> None:
    frame = pl.DataFrame(rows, SCHEMA)
    text = {"text", "kind", "rank"} & coded
    expected = frame.cast(dict.fromkeys(text, pl.String))
    assert_frame_equal(whole(frame, None, coded, most), expected)
    assert_frame_equal(whole(frame.to_arrow(), None, coded, most), expected)
    assert_frame_equal(whole(frame.lazy(), None, coded, most), expected)
