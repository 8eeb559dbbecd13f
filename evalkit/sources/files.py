"""The files that a path, a folder, a glob or a URL names, on disk or in an object store."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from evalkit.errors import DataError, MissingExtra, listing, nearest

if TYPE_CHECKING:
    import polars as pl

FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".arrow": "ipc",
    ".feather": "ipc",
    ".ipc": "ipc",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".tfrecord": "tfrecord",
    ".tfrecords": "tfrecord",
}
_NULL = "__HIVE_DEFAULT_PARTITION__"
_URL = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)


@dataclass(frozen=True)
class File:
    """One file of the data.

    Attributes:
        path: a path on this machine, or the URL of an object in a store.
        keys: what the folders say that it is in (`country=de`): text by column, None for null.
        url: whether `path` is a URL.
    """

    path: str
    keys: Mapping[str, str | None] = field(default_factory=dict)
    url: bool = False

    @property
    def name(self) -> str:
        """What messages call the file: its path, or its URL without what must stay secret."""
        return without_secrets(self.path) if self.url else self.path

    @property
    def format(self) -> str | None:
        """How the file is read, told by its ending; None where the ending is not known."""
        return format_of(self.path)

    def open(self) -> Any:
        """Opens the file for reading bytes."""
        if self.url:
            filesystem, path = _store(self.path)
            return filesystem.open(path, "rb")
        return Path(self.path).open("rb")

    def size(self) -> int | None:
        """Returns the number of bytes; None where a store does not tell."""
        if self.url:
            filesystem, path = _store(self.path)
            size: int | None = filesystem.size(path)
            return size
        return Path(self.path).stat().st_size

    def fingerprint(self) -> str:
        """Returns size and modification time, or what a store has in its place.

        Raises:
            DataError: the file is gone.
        """
        if not self.url:
            try:
                status = Path(self.path).stat()
            except OSError as error:
                raise DataError(f"Cannot read {self.path}: {error.strerror or error}.") from error
            return f"{status.st_size}-{status.st_mtime_ns}"
        filesystem, path = _store(self.path)
        about = filesystem.info(path)
        tags = ("ETag", "etag", "md5Hash", "content_md5", "LastModified", "last_modified", "mtime", "created")
        tag = next((about[name] for name in tags if about.get(name) is not None), "")
        return f"{about.get('size')}-{tag}"


def format_of(path: str) -> str | None:
    """Returns the format that a path's ending stands for.

    >>> format_of("a/part-1.tfrecord.gz"), format_of("a.xlsx")
    ('tfrecord', None)
    """
    name = PurePosixPath(path.partition("?")[0] if is_url(path) else path).name.lower()
    stem = name.removesuffix(".gz")
    if stem != name and not stem.endswith((".tfrecord", ".tfrecords")):
        return None
    return FORMATS.get(PurePosixPath(stem).suffix)


def is_url(text: str) -> bool:
    """Tells URLs from paths."""
    return bool(_URL.match(text))


def without_secrets(url: str) -> str:
    """Returns a URL for messages: without its password, and without a query, which may hold a signature.

    >>> without_secrets("postgresql://ann:secret@host/rows?password=secret")
    'postgresql://ann:***@host/rows'
    """
    scheme, separator, rest = url.partition("://")
    account, at, place = rest.rpartition("@")
    user, colon, _ = account.partition(":")
    return f"{scheme}{separator}{user}{':***' if colon else ''}{at}{place.split('?')[0]}"


def find(items: Iterable[str | Path]) -> list[File]:
    """Returns the files that paths, folders, globs and URLs name, sorted within each.

    Raises:
        DataError: there is none, one is named twice, or their endings differ or are not known.
        MissingExtra: the package for a store is not installed.
    """
    files = [file for item in items for file in _find(item)]
    places = Counter(file.path if file.url else os.path.realpath(file.path) for file in files)
    twice = [name for name, times in places.items() if times > 1]
    if twice:
        raise DataError(f"{without_secrets(twice[0])} is named twice, and its rows would count twice.")
    kinds = {"csv" if file.format == "tsv" else file.format for file in files}
    if None in kinds:
        names = (file.name for file in files if file.format is None)
        raise DataError(f"Cannot tell how to read {listing(names, 3)}; the endings known are {listing(FORMATS)}.")
    if len(kinds) > 1:
        one = [
            next(file.name for file in files if file.format == kind) for kind in dict.fromkeys(f.format for f in files)
        ]
        raise DataError(f"Files must be of one kind, but there are {listing(one)}; name those of one by a glob.")
    return files


def _find(item: str | Path) -> list[File]:
    text = str(item)
    if isinstance(item, str) and is_url(item):
        if not item.lower().startswith("file://"):
            return _find_in_store(item)
        text = unquote(item[len("file://") :].removeprefix("localhost"))
    if _has_pattern(text) and not Path(text).exists():
        found = sorted(path for path in glob.glob(text, recursive=True) if Path(path).is_file())  # noqa: PTH207 - may be absolute
        if not found:
            raise DataError(f'No file matches "{text}".')
        return [File(path, _keys(path, _fixed(text))) for path in found]
    path = Path(text)
    if path.is_dir():
        return _in_folder(text, (str(file) for file in path.rglob("*") if file.is_file()))
    if not path.exists():
        beside = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"There is no file {text}.{nearest(path.name, beside)}")
    return [File(text)]


def _in_folder(folder: str, paths: Iterable[str], *, url: bool = False) -> list[File]:
    """Returns the files that can be read, but for hidden ones such as those that writers leave beside."""
    base = folder.rstrip("/")
    found = sorted(path for path in paths if format_of(path) and not _hidden(path[len(base) :]))
    if not found:
        raise DataError(f"The folder {folder} holds no {listing(FORMATS)} file.")
    return [File(path, _keys(path, base), url) for path in found]


def _hidden(below: str) -> bool:
    return any(step.startswith((".", "_")) for step in PurePosixPath(below).parts if step != "/" and "=" not in step)


def _has_pattern(path: str) -> bool:
    return any(character in path for character in "*?[")


def _fixed(pattern: str) -> str:
    """Returns the folder above the first part of a path that has a pattern.

    >>> _fixed("a/b/date=*/x.parquet")
    'a/b'
    """
    parts = pattern.split("/")
    return "/".join(parts[: next(k for k, part in enumerate(parts) if _has_pattern(part))])


def _keys(path: str, base: str) -> dict[str, str | None]:
    """Returns what the folders between a base and a file say.

    >>> _keys("data/date=2026-01-01/country=de/x.parquet", "data")
    {'date': '2026-01-01', 'country': 'de'}
    """
    steps = PurePosixPath(path[len(base) :]).parts[:-1]
    pairs = [step.split("=", 1) for step in steps if "=" in step]
    return {unquote(name): None if value == _NULL else unquote(value) for name, value in pairs}


def _store(url: str) -> tuple[Any, str]:
    """Returns the filesystem of a URL and the path within it."""
    scheme = url.partition("://")[0]
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtra("fsspec", "cloud") from error
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise MissingExtra(f"the fsspec package for {scheme}://", "cloud") from error
    except ValueError as error:
        raise DataError(f"{scheme}:// is no store that can be read; see the fsspec package for what can.") from error
    return filesystem, str(path)


def _find_in_store(url: str) -> list[File]:
    filesystem, path = _store(url)
    scheme = url.partition("://")[0].lower()
    try:
        if scheme not in ("http", "https"):
            if _has_pattern(path):
                return _matching(filesystem, url, path)
            if filesystem.isdir(path):
                listed = (filesystem.unstrip_protocol(found) for found in filesystem.find(path))
                return _in_folder(filesystem.unstrip_protocol(path), listed, url=True)
        if not filesystem.exists(path):
            raise DataError(f"There is no file {without_secrets(url)}.")
    except DataError:
        raise
    except Exception as error:  # stores raise errors of their own kinds
        raise DataError(
            f"Cannot list {without_secrets(url)}: {(str(error).splitlines() or [type(error).__name__])[0]}"
        ) from error
    return [File(url, url=True)]


def _matching(filesystem: Any, url: str, path: str) -> list[File]:
    found = sorted(filesystem.unstrip_protocol(one) for one in filesystem.glob(path) if not filesystem.isdir(one))
    if not found:
        raise DataError(f'No file matches "{without_secrets(url)}".')
    base = filesystem.unstrip_protocol(_fixed(path))
    return [File(one, _keys(one, base), url=True) for one in found]


def partition_columns(files: Iterable[File]) -> pl.DataFrame | None:
    """Returns one row for each file with the columns that its folders say, typed as Polars does; None where none do.

    Raises:
        DataError: some files have keys that others have not.
    """
    import polars as pl

    found = list(files)
    names = list(found[0].keys)
    for file in found:
        if list(file.keys) != names:
            raise DataError(
                f"The folders of {file.name} say {listing(file.keys) or 'nothing'}, those of {found[0].name} "
                f"{listing(names) or 'nothing'}."
            )
    if not names:
        return None
    return pl.DataFrame({name: _typed(pl.Series(name, [f.keys[name] for f in found], pl.String)) for name in names})


def _typed(texts: pl.Series) -> pl.Series:
    """Returns numbers, booleans or dates where all texts are such, as Polars reads partitioned folders."""
    import polars as pl

    if not texts.drop_nulls().len():
        return texts
    for dtype in (pl.Int64, pl.Float64):
        typed = texts.cast(dtype, strict=False)
        if typed.null_count() == texts.null_count():
            return typed
    for pattern, kind in ((r"^\d{4}-\d{2}-\d{2}$", pl.Date), (r"^\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}", pl.Datetime("us"))):
        if texts.drop_nulls().str.contains(pattern).all():
            dates = texts.str.strptime(kind, strict=False)
            if dates.null_count() == texts.null_count():
                return dates
    booleans = texts.replace_strict({"true": True, "false": False}, default=None, return_dtype=pl.Boolean)
    return booleans if booleans.null_count() == texts.null_count() else texts
