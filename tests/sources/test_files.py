"""What paths, folders, globs and URLs name."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from reading import whole

from evalkit.errors import ColumnError, DataError, MissingExtra
from evalkit.sources.source import open_source
from evalkit.table import read

ROWS = pl.DataFrame({"n": [1, 2, 3], "text": ["a", "b", None]})


def write(frame: pl.DataFrame, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writers: dict[str, Any] = {".parquet": frame.write_parquet, ".csv": frame.write_csv, ".arrow": frame.write_ipc}
    writers[path.suffix](path)
    return path


@pytest.fixture
def partitioned(tmp_path: Path) -> Path:
    for k, day in enumerate(("2026-01-01", "2026-01-02")):
        for country in ("de", "__HIVE_DEFAULT_PARTITION__"):
            frame = pl.DataFrame({"n": [k, k + 1]})
            write(frame, tmp_path / "data" / f"date={day}" / f"country={country}" / f"hour={k}" / "x.parquet")
    return tmp_path / "data"


def test_keys_of_folders_become_columns_typed_as_polars_does(partitioned: Path) -> None:
    expected = pl.read_parquet(partitioned, hive_partitioning=True)
    found = whole(partitioned)
    assert_frame_equal(found, expected, check_row_order=False, check_column_order=False)
    assert_frame_equal(read(partitioned), expected, check_row_order=False, check_column_order=False)


def test_keys_of_folders_can_be_codes(partitioned: Path) -> None:
    found = whole(partitioned, ["country", "n"], ["country"])
    assert found["country"].null_count() == 4
    assert found["country"].drop_nulls().unique().to_list() == ["de"]


def test_keys_alone_have_as_many_rows_as_the_files(partitioned: Path) -> None:
    assert whole(partitioned, ["date"]).height == 8
    assert whole(partitioned, ["country"], ["country"]).height == 8


def test_a_glob_below_a_folder_of_keys_finds_them(partitioned: Path) -> None:
    assert whole(f"{partitioned}/date=*/**/*.parquet")["date"].n_unique() == 2
    assert whole(f"{partitioned}/**/x.parquet")["hour"].sum() == 4


@pytest.mark.parametrize("value", ["1", "1.5", "true", "x", "2026-01-01", "2026-01-01 10:00:00", "01", "1e5", "-3"])
def test_a_key_has_the_type_that_polars_gives_it(value: str, tmp_path: Path) -> None:
    write(ROWS, tmp_path / "data" / f"key={value}" / "x.parquet")
    expected = pl.read_parquet(tmp_path / "data", hive_partitioning=True)["key"]
    found = whole(tmp_path / "data")["key"]
    assert found.dtype == expected.dtype
    assert found.to_list() == expected.to_list()


def test_keys_work_for_text_files_too(tmp_path: Path) -> None:
    write(ROWS, tmp_path / "data" / "k=1" / "x.csv")
    write(ROWS, tmp_path / "data" / "k=2" / "x.csv")
    assert whole(tmp_path / "data")["k"].to_list() == [1, 1, 1, 2, 2, 2]


def test_folders_that_say_different_things_are_refused(tmp_path: Path) -> None:
    write(ROWS, tmp_path / "k=1" / "x.parquet")
    write(ROWS, tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"The folders of .* say nothing, those of .* k\."):
        open_source(tmp_path)


def test_nested_folders_are_read_and_hidden_files_left(tmp_path: Path) -> None:
    for name in ("a/x.parquet", "a/b/y.parquet", "_temporary/z.parquet", "a/.w.parquet"):
        write(ROWS, tmp_path / name)
    (tmp_path / "_SUCCESS").touch()
    assert whole(tmp_path).height == 6


def test_a_list_of_files_is_read_in_its_order(tmp_path: Path) -> None:
    paths = [write(ROWS.with_columns(n=pl.lit(k)), tmp_path / f"{k}.parquet") for k in (3, 1, 2)]
    assert whole(paths)["n"].unique(maintain_order=True).to_list() == [3, 1, 2]


def test_a_file_whose_name_looks_like_a_glob_is_a_file(tmp_path: Path) -> None:
    assert whole(write(ROWS, tmp_path / "a[1].parquet")).height == 3


def test_files_may_have_columns_in_another_order_and_narrower(tmp_path: Path) -> None:
    write(pl.DataFrame({"a": [1], "b": [2.5]}, {"a": pl.Int8, "b": pl.Float64}), tmp_path / "1.parquet")
    write(pl.DataFrame({"b": [3], "a": [4]}), tmp_path / "2.parquet")
    assert_frame_equal(whole(tmp_path), pl.DataFrame({"a": [1, 4], "b": [2.5, 3.0]}))


def test_a_column_missing_in_one_file_names_the_file(tmp_path: Path) -> None:
    write(pl.DataFrame({"score": [1]}), tmp_path / "1.parquet")
    write(pl.DataFrame({"scores": [1]}), tmp_path / "2.parquet")
    with pytest.raises(ColumnError, match=r'No column "score" in .*2\.parquet\. Did you mean "scores"\?'):
        open_source(tmp_path)


def test_types_that_do_not_fit_name_both_files(tmp_path: Path) -> None:
    write(pl.DataFrame({"a": [1]}), tmp_path / "1.parquet")
    write(pl.DataFrame({"a": ["x"]}), tmp_path / "2.parquet")
    with pytest.raises(DataError, match=r'"a" is Int64 in .*1\.parquet and String in .*2\.parquet; make them alike\.'):
        open_source(tmp_path)


@pytest.mark.parametrize("name", ["rows.xlsx", "rows"])
def test_an_ending_that_is_not_known_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(DataError, match="Cannot tell how to read"):
        open_source(tmp_path / name)


def test_a_file_that_is_not_there_suggests_one_that_is(tmp_path: Path) -> None:
    write(ROWS, tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=r'There is no file .*/row\.parquet\. Did you mean "rows\.parquet"\?'):
        open_source(tmp_path / "row.parquet")


@pytest.mark.parametrize("data", ["no/*.parquet", "memory://no/*.parquet"])
def test_a_glob_that_matches_nothing_says_so(data: str) -> None:
    with pytest.raises(DataError, match="No file matches"):
        open_source(data)


@pytest.fixture
def store() -> Iterator[Any]:
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    yield memory
    memory.store.clear()


@pytest.mark.parametrize("ending", ["parquet", "csv", "arrow"])
def test_objects_of_a_store_are_read_by_url(ending: str, store: Any, tmp_path: Path) -> None:
    for k in range(2):
        store.pipe(f"/data/k={k}/x.{ending}", write(ROWS, tmp_path / f"x.{ending}").read_bytes())
    expected = pl.concat([ROWS.with_columns(k=pl.lit(k, pl.Int64)) for k in range(2)])
    for url in ("memory://data", f"memory://data/*/x.{ending}", "memory:///data"):
        assert_frame_equal(whole(url, coded=["text"]), expected)
        assert_frame_equal(read(url), expected)
    source = open_source(f"memory://data/k=1/x.{ending}")
    assert source.bytes == (tmp_path / f"x.{ending}").stat().st_size
    assert source.sample(["n"], 10).height == 3
    assert source.parts[0].name == f"memory://data/k=1/x.{ending}"


def test_the_fingerprint_of_an_object_changes_with_it(store: Any, tmp_path: Path) -> None:
    content = write(ROWS, tmp_path / "x.parquet").read_bytes()
    store.pipe("/x.parquet", content)
    [part] = open_source("memory://x.parquet").parts
    before = part.fingerprint()
    assert part.fingerprint() == before
    store.pipe("/x.parquet", content)
    assert part.fingerprint() != before


def test_a_file_url_is_a_file(tmp_path: Path) -> None:
    path = write(ROWS, tmp_path / "with space.parquet")
    assert whole(path.as_uri()).height == 3
    assert whole(f"file://{path}").height == 3


def test_an_object_that_is_not_there_says_so(store: Any) -> None:
    del store
    with pytest.raises(DataError, match=r"There is no file memory://nothing\.parquet\."):
        open_source("memory://nothing.parquet")


def test_a_scheme_that_nobody_knows_is_refused() -> None:
    with pytest.raises(DataError, match="xyz:// is no store that can be read"):
        open_source("xyz://bucket/rows.parquet")


def test_a_store_whose_package_is_missing_names_the_extra() -> None:
    with pytest.raises(MissingExtra, match=r"pip install 'evalkit\[cloud\]'"):
        open_source("oss://bucket/rows.parquet")


def test_a_url_in_a_message_has_no_signature(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        open_source("memory://ann:secret@host/rows.xlsx?signature=secret")
    assert "secret" not in str(caught.value)
    del tmp_path


def test_a_file_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    path = write(ROWS, tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"x\.parquet is named twice, and its rows would count twice\."):
        open_source([path, f"{tmp_path}/*.parquet"])


def test_a_file_that_is_named_by_two_paths_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(ROWS, tmp_path / "x.parquet")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.parquet").symlink_to(path)
    for other in ["x.parquet", "./x.parquet", "link.parquet"]:
        with pytest.raises(DataError, match="is named twice, and its rows would count twice"):
            open_source([path, other])


def test_files_of_two_kinds_are_refused_by_one_of_each(tmp_path: Path) -> None:
    for name in ("1.csv", "2.csv", "3.parquet"):
        write(ROWS, tmp_path / name)
    with pytest.raises(DataError, match=r"of one kind, but there are \S*1\.csv, \S*3\.parquet; name"):
        open_source(tmp_path)


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_of_few_rows_too_the_file_that_is_damaged_is_named(kind: str, listed: bool, tmp_path: Path) -> None:
    good, bad = tmp_path / f"a.{kind}", tmp_path / f"b.{kind}"
    rows = pl.DataFrame({"n": range(100)})
    rows.write_parquet(good) if kind == "parquet" else rows.write_ipc(good)
    bad.write_bytes(good.read_bytes()[:-100])
    with pytest.raises(DataError, match=rf"^Cannot read .*b\.{kind}: .+"):
        read([str(good), str(bad)] if listed else str(tmp_path))
