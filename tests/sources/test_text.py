"""CSV and NDJSON: inferred types, samples from many places, and lines that cannot be read."""

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from reading import batches, whole

from evalkit.errors import DataError
from evalkit.sources.source import open_source
from evalkit.table import read


def test_batches_of_a_large_file_are_bounded(tmp_path: Path) -> None:
    rows = pl.DataFrame({"n": range(100_000), "text": ["some text"] * 100_000})
    rows.write_csv(tmp_path / "rows.csv")
    found = list(batches(open_source(tmp_path / "rows.csv"), ["n"], most=3000))
    assert sum(batch.n for batch in found) == 100_000
    assert sum(int(batch.frame["n"].sum()) for batch in found) == int(rows["n"].sum())


def test_files_share_the_types_that_hold_the_values_of_all(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a,b\n1,\n2,\n")
    (tmp_path / "2.csv").write_text("b,a\nx,0.5\n")
    expected = pl.DataFrame({"a": [1.0, 2.0, 0.5], "b": [None, None, "x"]})
    assert_frame_equal(whole(tmp_path), expected)
    assert_frame_equal(read(tmp_path), expected)


@pytest.mark.parametrize("kind", ["csv", "ndjson"])
def test_a_line_of_another_type_names_the_file(kind: str, tmp_path: Path) -> None:
    lines = {"csv": "a\n" + "1\n" * 20_000 + "x\n", "ndjson": '{"a":1}\n' * 20_000 + '{"a":\n'}[kind]
    (tmp_path / f"rows.{kind}").write_text(lines)
    [part] = open_source(tmp_path / f"rows.{kind}").parts
    with pytest.raises(DataError, match=rf"^Cannot read .*rows\.{kind}: .+") as caught:
        list(part.batches(["a"]))
    assert "\n" not in str(caught.value)


def test_an_empty_file_names_itself(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").touch()
    with pytest.raises(DataError, match=r"^Cannot read .*rows\.csv"):
        open_source(tmp_path / "rows.csv")


def test_a_sample_of_text_with_quoted_lines_can_be_parsed(tmp_path: Path) -> None:
    rows = pl.DataFrame({"n": range(20_000), "text": ["two\nlines, and a comma"] * 20_000})
    rows.write_csv(tmp_path / "rows.csv")
    sample = open_source(tmp_path / "rows.csv").sample(["n"], 100)
    assert sample.height >= 50
    assert sample.schema == {"n": pl.Int64}


def test_a_small_file_is_its_own_sample(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,x\n2,y")
    assert open_source(tmp_path / "rows.csv").sample(["a"], 10)["a"].to_list() == [1, 2]


@pytest.mark.parametrize("where", [None, "n > 0"])
def test_about_how_many_lines_there_are_is_told_without_reading_them(tmp_path: Path, where: str | None) -> None:
    rows = pl.DataFrame({"n": range(100_000), "text": ["some words"] * 100_000})
    for name in ("a", "b"):
        rows.write_csv(tmp_path / f"{name}.csv")
    source = open_source(str(tmp_path), where=where)
    assert source.rows is None
    if where is None:
        assert source.about() == pytest.approx(200_000, rel=0.1)
    else:
        assert source.about() is None
