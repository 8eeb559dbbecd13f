"""Parquet: row groups as parts, dictionaries, statistics, and files that are damaged."""

import pickle
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal
from reading import batches, whole

from evalkit.errors import DataError
from evalkit.sources import parquet
from evalkit.sources.source import open_source


def test_dictionaries_that_differ_between_row_groups_are_joined(tmp_path: Path) -> None:
    first, second = pa.table({"c": ["a", "b", "a"]}), pa.table({"c": ["c", None, "a"]})
    with pq.ParquetWriter(tmp_path / "rows.parquet", first.schema) as writer:
        writer.write_table(first)
        writer.write_table(second)
    [batch] = batches(open_source(tmp_path / "rows.parquet"), ["c"], ["c"])
    codes, values = batch.coded["c"]
    assert codes.dtype == np.int32
    assert [None if code < 0 else values[code] for code in codes] == ["a", "b", "a", "c", None, "a"]
    assert len(set(values)) == len(values)


@pytest.mark.parametrize("dictionary", [True, False])
def test_text_becomes_codes_however_it_is_stored(dictionary: bool, tmp_path: Path) -> None:
    rows = pa.table({"c": [f"text {k % 5}" for k in range(100)]})
    pq.write_table(rows, tmp_path / "rows.parquet", use_dictionary=dictionary, row_group_size=30)
    assert_frame_equal(whole(tmp_path / "rows.parquet", ["c"], ["c"]), pl.DataFrame(pl.from_arrow(rows)))


def test_row_groups_without_rows_are_passed_over(tmp_path: Path) -> None:
    rows = pa.table({"c": ["a", "b"]})
    with pq.ParquetWriter(tmp_path / "rows.parquet", rows.schema) as writer:
        for table in (rows.slice(0, 0), rows, rows.slice(0, 0), rows):
            writer.write_table(table)
    assert whole(tmp_path / "rows.parquet", ["c"], ["c"])["c"].to_list() == ["a", "b", "a", "b"]
    assert open_source(tmp_path / "rows.parquet").sample(["c"], 10).height == 4


def test_a_large_file_is_several_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "PART_ROWS", 25)
    rows = pl.DataFrame({"n": range(100)})
    rows.write_parquet(tmp_path / "rows.parquet", row_group_size=10)
    source = open_source(tmp_path / "rows.parquet")
    assert [part.rows for part in source.parts] == [20] * 5
    assert source.parts[1].name == f"{tmp_path}/rows.parquet, row groups 2 to 3"
    assert_frame_equal(whole(source), rows)


def test_rows_and_bytes_are_known_without_reading(tmp_path: Path) -> None:
    for name in ("a", "b"):
        pl.DataFrame({"n": range(10)}).write_parquet(tmp_path / f"{name}.parquet")
    source = open_source(tmp_path)
    assert source.rows == 20
    assert source.bytes == sum(file.stat().st_size for file in tmp_path.iterdir())


def test_a_part_can_be_sent_to_another_process(tmp_path: Path) -> None:
    pl.DataFrame({"n": range(10)}).write_parquet(tmp_path / "rows.parquet")
    [part] = pickle.loads(pickle.dumps(open_source(tmp_path).parts))
    assert [batch.n for batch in part.batches(["n"])] == [10]


def test_ranges_come_from_statistics(tmp_path: Path) -> None:
    rows = pl.DataFrame({"score": [0.5, 0.1, None, 0.9], "label": [0, 1, 1, 0], "text": ["a", "b", "c", "d"]})
    rows.write_parquet(tmp_path / "a.parquet", row_group_size=2)
    (rows.with_columns(pl.col("label") + 5)).write_parquet(tmp_path / "b.parquet")
    assert open_source(tmp_path).ranges(["label", "score", "text"]) == {
        "score": (0.1, 0.9, True),
        "label": (0, 6, False),
    }


def test_there_are_no_ranges_where_a_row_group_has_no_statistics(tmp_path: Path) -> None:
    rows = pl.DataFrame({"score": [0.5, 0.1]})
    rows.write_parquet(tmp_path / "a.parquet")
    rows.write_parquet(tmp_path / "b.parquet", statistics=False)
    assert open_source(tmp_path).ranges(["score"]) == {}


def test_ranges_hold_for_the_numbers_beside_nan(tmp_path: Path) -> None:
    rows = pl.DataFrame({"score": [0.5, float("nan"), 0.1]})
    rows.write_parquet(tmp_path / "a.parquet")
    found = open_source(tmp_path).ranges(["score"])
    assert found in ({}, {"score": (0.1, 0.5, False)})


def test_a_file_cut_short_is_named(tmp_path: Path) -> None:
    pl.DataFrame({"n": range(1000)}).write_parquet(tmp_path / "good.parquet")
    content = (tmp_path / "good.parquet").read_bytes()
    (tmp_path / "bad.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"^Cannot read .*/bad\.parquet: .+") as caught:
        open_source(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("most", [100, 10_000])
def test_a_damaged_row_group_is_named(most: int, tmp_path: Path) -> None:
    pl.DataFrame({"n": np.random.default_rng(0).random(5000)}).write_parquet(
        tmp_path / "bad.parquet", row_group_size=1000, compression="zstd"
    )
    metadata = pq.read_metadata(tmp_path / "bad.parquet")
    content = bytearray((tmp_path / "bad.parquet").read_bytes())
    offset = metadata.row_group(3).column(0).data_page_offset
    content[offset : offset + 200] = b"\xff" * 200
    (tmp_path / "bad.parquet").write_bytes(content)
    [part] = open_source(tmp_path / "bad.parquet").parts
    with pytest.raises(DataError, match=r"^Cannot read .*bad\.parquet, row group 3: .+") as caught:
        list(part.batches(["n"], most_rows=most))
    assert "\n" not in str(caught.value)


def test_the_fingerprint_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pl.DataFrame({"n": range(10)}).write_parquet(path)
    [part] = open_source(path).parts
    before = part.fingerprint()
    assert part.fingerprint() == before
    pl.DataFrame({"n": range(11)}).write_parquet(path)
    assert part.fingerprint() != before


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_a_sample_holds_texts_of_every_kind_as_they_are(kind: pa.DataType, tmp_path: Path) -> None:
    words = pa.array([None, "a", "b"] * 2000)
    table = pa.table({"word": words.cast(kind), "many": [[w] for w in words.to_pylist()]})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=700)
    source = open_source(tmp_path / "t.parquet")
    found = source.sample(["word", "many"], 600)
    assert dict(found.schema) == dict(source.columns)
    assert found["word"].cast(pl.String).to_list() == found["many"].list.first().to_list()
    assert found["word"].n_unique() == 3
