"""SQL: the rows of a query, as Arrow batches that the driver streams."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from evalkit.errors import DataError, MissingExtra, listing, nearest
from evalkit.sources.files import File, is_url, without_secrets
from evalkit.sources.part import (
    MOST_ROWS,
    Batch,
    Ranges,
    batch_of_table,
    evenly,
    first_line,
    is_text,
    polars_frame,
    polars_schema,
)

if TYPE_CHECKING:
    import polars as pl

SCHEMES = ("sqlite", "duckdb", "postgresql", "postgres")
_BATCH_ROWS = 1 << 16  # SQLite's driver tells types from so many rows
_NULLS_SEEN = 10_000


def is_database(data: Any) -> bool:
    """Tells the URL of a database.

    >>> is_database("sqlite:///rows.db"), is_database("s3://bucket/rows.parquet")
    (True, False)
    """
    return isinstance(data, str) and is_url(data) and data.partition("://")[0].lower() in SCHEMES


@dataclass(frozen=True)
class QueryPart:
    """The rows of a query; each reading runs it again."""

    url: str = field(repr=False)
    sql: str
    rows: int | None = None

    @property
    def name(self) -> str:
        """Returns what messages call it."""
        return without_secrets(self.url)

    def fingerprint(self) -> str:
        """Returns a digest of query and database, with size and time of a database that is a file."""
        digest = hashlib.sha256(f"{self.name}\n{self.sql}".encode()).hexdigest()[:32]
        path = _path(self.url)
        return digest if path is None else f"{digest}-{File(path).fingerprint()}"

    def batches(
        self, columns: Sequence[str], coded: Collection[str] = (), most_rows: int = MOST_ROWS
    ) -> Iterator[Batch]:
        """Yields the columns in batches; see `Part`."""
        chosen = list(dict.fromkeys(columns))
        start = 0
        for table in self._tables(chosen, most_rows):
            schema = polars_schema(table.schema)
            text = [name for name in chosen if name in coded and is_text(schema[name])]
            yield batch_of_table(table, chosen, text, start)
            start += table.num_rows

    def _tables(self, columns: Sequence[str], most_rows: int) -> Iterator[Any]:
        import pyarrow as pa

        names = ", ".join('"{}"'.format(name.replace('"', '""')) for name in columns)
        with _answer(self.url, f"SELECT {names} FROM (\n{_plain(self.sql)}\n) AS evalkit_rows", most_rows) as reader:
            for batch in reader:
                for offset in range(0, batch.num_rows, most_rows):
                    yield pa.Table.from_batches([batch.slice(offset, most_rows)])

    def ranges(self, columns: Sequence[str]) -> Ranges:  # noqa: ARG002
        """Returns nothing: a query has no statistics."""
        return {}

    def sample(self, columns: Sequence[str], n: int) -> pl.DataFrame:
        """Returns rows of one pass over the query."""
        found = evenly((batch.frame for batch in self.batches(columns)), n)
        return part_of(self.url, self.sql)[2].select(columns) if found is None else found


def part_of(url: str, sql: str) -> tuple[QueryPart, dict[str, pl.DataType], pl.DataFrame]:
    """Returns the one part of a query, its columns, and no rows of them.

    Raises:
        DataError: the database cannot be reached, or refuses the query.
        MissingExtra: the driver is not installed.
    """
    part = QueryPart(url, sql)
    with _answer(url, f"SELECT * FROM (\n{_plain(sql)}\n) AS evalkit_rows LIMIT {_NULLS_SEEN}", _BATCH_ROWS) as reader:
        names = reader.schema.names
        if len(set(names)) < len(names):
            raise DataError(f"The query on {part.name} gives two columns of one name: {listing(names)}.")
        empty = polars_frame(reader.schema.empty_table())
    return part, dict(empty.schema), empty


def _plain(sql: str) -> str:
    return sql.strip().rstrip(";")


@contextmanager
def _answer(url: str, sql: str, most_rows: int) -> Iterator[Any]:
    """Gives an Arrow reader of the rows; what a driver raises becomes one sentence without the password."""
    scheme = url.partition("://")[0].lower()
    connect = {"sqlite": _sqlite, "duckdb": _duckdb}.get(scheme, _postgresql)
    try:
        with connect(url, sql, most_rows) as reader:
            yield reader
    except (DataError, GeneratorExit):
        raise
    except ImportError as error:
        package = {"sqlite": "adbc-driver-sqlite", "duckdb": "duckdb"}.get(scheme, "adbc-driver-postgresql")
        raise MissingExtra(package, "sql") from error
    except Exception as error:
        if not _is_of_driver(error):
            raise
        said = first_line(error).replace(url, without_secrets(url))
        raise DataError(f"The query on {without_secrets(url)} failed: {said}") from None


def _is_of_driver(error: BaseException) -> bool:
    return isinstance(error, OSError) or any(
        kind.__module__.split(".")[0] in ("adbc_driver_manager", "duckdb", "_duckdb", "pyarrow")
        for kind in type(error).__mro__
    )


def _path(url: str) -> str | None:
    """Returns the file of a database: `sqlite:///rows.db` is beside, `sqlite:////data/rows.db` is absolute."""
    scheme, _, rest = url.partition("://")
    return None if scheme.lower() in SCHEMES[2:] else rest.removeprefix("/")


def _existing(url: str) -> str:
    path = Path(_path(url) or "")
    if not path.is_file():
        beside = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = "" if path.is_absolute() else " (an absolute path has four slashes)"
        raise DataError(f"There is no database {path}{hint}.{nearest(path.name, beside)}")
    return str(path)


@contextmanager
def _sqlite(url: str, sql: str, most_rows: int) -> Iterator[Any]:
    from adbc_driver_sqlite import dbapi

    del most_rows  # the types must not depend on it
    path = Path(_existing(url)).absolute().as_uri()
    with closing(dbapi.connect(f"{path}?mode=ro")) as connection, closing(connection.cursor()) as cursor:
        cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(_BATCH_ROWS)})
        cursor.execute(sql)
        yield cursor.fetch_record_batch()


@contextmanager
def _duckdb(url: str, sql: str, most_rows: int) -> Iterator[Any]:
    import duckdb

    with closing(duckdb.connect(_existing(url), read_only=True)) as connection:
        yield connection.sql(sql).to_arrow_reader(min(most_rows, MOST_ROWS))


def _quoted(url: str) -> str:
    """Returns the URL with an account whose own @ and : are written as URLs demand, so that none is taken for a host's.

    >>> _quoted("postgresql://ann:p@ss@host/rows")
    'postgresql://ann:p%40ss@host/rows'
    """
    scheme, separator, rest = url.partition("://")
    account, at, place = rest.rpartition("@")
    user, colon, password = account.partition(":")
    return f"{scheme}{separator}{user}{colon}{quote(unquote(password), safe='')}{at}{place}"


@contextmanager
def _postgresql(url: str, sql: str, most_rows: int) -> Iterator[Any]:
    from adbc_driver_postgresql import dbapi

    del most_rows  # the driver cuts batches by their bytes
    with closing(dbapi.connect(_quoted(url))) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(sql)
        yield cursor.fetch_record_batch()
