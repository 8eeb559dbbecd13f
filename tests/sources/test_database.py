"""Queries on databases of each kind, streamed as Arrow batches."""

import os
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from reading import batches, whole

from evalkit.errors import ConfigError, DataError
from evalkit.sources.source import describe, open_source
from evalkit.table import read

ROWS = pl.DataFrame(
    {
        "score": [k / 1000 if k % 7 else None for k in range(1000)],
        "label": [k % 2 for k in range(1000)],
        "text": [f"größe {k % 5}" if k % 3 else None for k in range(1000)],
    }
)


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    with closing(sqlite3.connect(tmp_path / "rows.db")) as connection:
        connection.execute("CREATE TABLE rows (score REAL, label INTEGER, text TEXT)")
        connection.executemany("INSERT INTO rows VALUES (?, ?, ?)", ROWS.rows())
        connection.commit()
    return f"sqlite:///{tmp_path}/rows.db"


@pytest.fixture
def duck(tmp_path: Path) -> str:
    with closing(duckdb.connect(tmp_path / "rows.duckdb")) as connection:
        connection.execute("CREATE TABLE rows (score DOUBLE, label BIGINT, text VARCHAR)")
        connection.executemany("INSERT INTO rows VALUES (?, ?, ?)", ROWS.rows())
    return f"duckdb:///{tmp_path}/rows.duckdb"


@pytest.fixture(params=["sqlite", "duck"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


def test_a_query_gives_its_rows(url: str) -> None:
    assert_frame_equal(whole(url, sql="SELECT * FROM rows"), ROWS)


def test_a_query_can_be_read_into_memory(url: str) -> None:
    found = read(open_source(url, sql="SELECT score, label FROM rows WHERE label = 1;"), ["score"])
    assert_frame_equal(found, ROWS.filter(pl.col("label") == 1).select("score"))


def test_text_of_a_query_becomes_codes_in_bounded_batches(url: str) -> None:
    source = open_source(url, sql='SELECT text, score AS "a ""score""" FROM rows -- all of them')
    found = list(batches(source, ['a "score"', "text"], ["text"], 64))
    assert len(found) == 16
    assert all(set(batch.coded) == {"text"} for batch in found)
    texts = whole(source, ["text"], ["text"], 64)
    assert_frame_equal(texts, ROWS.select("text"))


def test_rows_of_a_query_are_filtered_and_sampled(url: str) -> None:
    source = open_source(url, sql="SELECT * FROM rows", where="score > 0.9")
    assert whole(source, ["label"]).height == ROWS.filter(pl.col("score") > 0.9).height
    assert 20 <= open_source(url, sql="SELECT * FROM rows").sample(["score"], 20).height <= 40


def test_a_query_without_rows_has_columns(url: str) -> None:
    source = open_source(url, sql="SELECT * FROM rows WHERE label > 7")
    assert list(source.columns) == ["score", "label", "text"]
    assert whole(source, ["label"]).height == 0
    assert source.sample(["label"], 5).height == 0


@pytest.mark.parametrize("sql", ["SELECT nothing FROM rows", "SELEC"])
def test_a_query_that_fails_is_one_sentence(url: str, sql: str) -> None:
    with pytest.raises(DataError, match=r"^The query on (sqlite|duckdb):///.+") as caught:
        list(batches(open_source(url, sql=sql), ["a"]))
    assert "\n" not in str(caught.value)


def test_the_fingerprint_changes_with_query_and_file(sqlite: str) -> None:
    [one] = open_source(sqlite, sql="SELECT * FROM rows").parts
    [other] = open_source(sqlite, sql="SELECT score FROM rows").parts
    before = one.fingerprint()
    assert before != other.fingerprint()
    with closing(sqlite3.connect(sqlite.removeprefix("sqlite:///"))) as connection:
        connection.execute("DELETE FROM rows")
        connection.commit()
    assert one.fingerprint() != before


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no database"):
        open_source(f"sqlite:///{tmp_path}/new.db", sql="SELECT 1")
    assert not list(tmp_path.iterdir())


def test_a_database_needs_a_query(sqlite: str) -> None:
    for use in (open_source, read):
        with pytest.raises(ConfigError, match=r"is a database: give the query as sql \(--sql\)"):
            use(sqlite)


def test_a_query_needs_a_database() -> None:
    with pytest.raises(ConfigError, match=r"sql \(--sql\) goes with the URL of a database \(sqlite://"):
        open_source("rows.parquet", sql="SELECT 1")


@pytest.mark.parametrize("password", ["secret", "se@cret", "secret:secret"])
def test_passwords_are_nowhere_to_be_read(password: str) -> None:
    url = f"postgresql://ann:{password}@127.0.0.1:1/rows?sslpassword=secret"
    assert "cret" not in describe(url)
    with pytest.raises(DataError, match=r"^The query on postgresql://ann:\*\*\*@127") as caught:
        open_source(url, sql="SELECT 1")
    assert "cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_part_does_not_show_its_url(sqlite: str) -> None:
    assert "url" not in repr(open_source(sqlite, sql="SELECT * FROM rows").parts)


SERVER = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"))), None) if os.name == "posix" else None


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own on a free port, run by a user that is not root, as it demands."""
    if SERVER is None:
        pytest.skip("no PostgreSQL server is installed")
    root = os.geteuid() == 0
    if root and not shutil.which("runuser"):
        pytest.skip("PostgreSQL does not run as root")
    folder = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    if root:
        shutil.chown(folder, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def run(*command: str) -> None:
        user = ["runuser", "-u", "postgres", "--"] if root else []
        subprocess.run([*user, *command], check=True, capture_output=True, cwd=folder)

    control = [f"{SERVER}/pg_ctl", "-D", f"{folder}/data", "-w", "-l", f"{folder}/log"]
    run(f"{SERVER}/initdb", "-D", f"{folder}/data", "-U", "ann", "-A", "trust")
    run(*control, "-o", f"-p {port} -k {folder} -c listen_addresses=127.0.0.1", "start")
    try:
        yield f"postgresql://ann:secret@127.0.0.1:{port}/postgres"
    finally:
        run(*control, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)
    del tmp_path_factory


@pytest.mark.slow
def test_postgresql_streams_its_rows(postgres: str) -> None:
    from adbc_driver_postgresql import dbapi

    with closing(dbapi.connect(postgres)) as connection, closing(connection.cursor()) as cursor:
        cursor.adbc_ingest("rows", ROWS.to_arrow(), mode="create")
        connection.commit()
    assert_frame_equal(
        whole(postgres, ["label", "text"], ["text"], 100, sql="SELECT * FROM rows"), ROWS.select("label", "text")
    )
    with pytest.raises(DataError, match=r"^The query on postgresql://ann:\*\*\*@.* failed: .*nothing"):
        open_source(postgres, sql="SELECT nothing FROM rows")
