"""Sums that go between Beam's workers: packed, added up in a tree, with failures as values.

Everything here can be imported without Apache Beam; `require_beam` says what is missing.
"""

from __future__ import annotations

import io
import pickle
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from evalkit.accumulate import Accumulator, Work
from evalkit.errors import EvalkitError, MissingExtra, UsageError
from evalkit.sources.memory import frame_of
from evalkit.sources.part import batch_of_frame

if TYPE_CHECKING:
    import polars as pl

try:
    apache: Any = import_module("apache_beam")
except ImportError:
    apache = None

DoFn: Any = object if apache is None else apache.DoFn
PTransform: Any = object if apache is None else apache.PTransform
_CombineFn: Any = object if apache is None else apache.CombineFn
_Coder: Any = object if apache is None else apache.coders.Coder

ROWS_AT_ONCE = 1 << 14


def require_beam() -> None:
    """Raises MissingExtra where Apache Beam is not installed."""
    if apache is None:
        raise MissingExtra("apache-beam", "beam")


@dataclass(frozen=True)
class Failure:
    """What went wrong on a worker: it travels like sums do, so that one sentence arrives instead of a traceback."""

    kind: type[EvalkitError]
    message: str

    def error(self) -> EvalkitError:
        """Returns the error as it was raised."""
        error = self.kind.__new__(self.kind, self.message)
        error.args = (self.message,)
        return error


Sums = Accumulator | Failure


def packed(work: Work, sums: Sums) -> bytes:
    """Returns sums as compressed bytes; the work itself, which every worker has, is left out."""
    shared = {id(work): "work", id(work.scores): "scores"}

    class Pickler(pickle.Pickler):
        def persistent_id(self, thing: Any) -> str | None:
            return shared.get(id(thing)) if thing is not None else None

    if isinstance(sums, Accumulator):
        sums.work = work
        for state in sums.scores.values():
            state.resolution = work.scores  # type: ignore[assignment]
    held = io.BytesIO()
    Pickler(held, pickle.HIGHEST_PROTOCOL).dump(sums)
    return zlib.compress(held.getvalue(), 1)


def unpacked(work: Work, payload: bytes) -> Sums:
    """Returns the sums of compressed bytes."""
    shared = {"work": work, "scores": work.scores}

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, pid: str) -> Any:
            return shared[pid]

    sums: Sums = Unpickler(io.BytesIO(zlib.decompress(payload))).load()
    return sums


def added(one: Sums | None, other: Sums) -> Sums:
    """Returns the sums of both, in the place of the first; a failure wins, the same one whatever the order."""
    if one is None:
        return other
    failures = [sums for sums in (one, other) if isinstance(sums, Failure)]
    if failures:
        return min(failures, key=lambda failure: failure.message)
    try:
        one.add(other)  # type: ignore[union-attr, arg-type]
    except EvalkitError as error:
        return Failure(type(error), str(error))
    return one


class _SumsCoder(_Coder):  # type: ignore[misc]
    """How sums go over the wire."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def encode(self, value: Any) -> bytes:
        return packed(self.work, value.settled())

    def decode(self, encoded: bytes) -> Any:
        return Growing(self.work, unpacked(self.work, encoded))

    def is_deterministic(self) -> bool:
        return False


@dataclass
class Growing:
    """Sums, and rows that are not in them yet.

    Attributes:
        work: what is summed.
        sums: of the rows so far; None before the first.
        rows: rows that came one by one.
        schema: types of their columns; None to tell by the rows.
    """

    work: Work
    sums: Sums | None = None
    rows: tuple[Any, ...] | list[Mapping[str, Any]] = ()
    schema: Mapping[str, Any] | None = None

    def take(self, element: Any) -> None:
        """Adds a row, or a table of rows."""
        row = _row(element)
        if row is None:
            self._update(_frame(element))
            return
        self.rows = [*self.rows] if isinstance(self.rows, tuple) else self.rows
        self.rows.append({name: row.get(name) for name in self.work.columns})
        if len(self.rows) >= ROWS_AT_ONCE:
            self.settled()

    def settled(self) -> Sums:
        """Returns the sums of all rows."""
        import polars as pl

        rows, self.rows = self.rows, ()
        if rows:
            types = {name: dtype for name, dtype in (self.schema or {}).items() if name in self.work.columns}
            self._update(pl.from_dicts(list(rows), schema_overrides=types, infer_schema_length=None))
        if self.sums is None:
            self.sums = Accumulator(self.work)
        return self.sums

    def _update(self, frame: pl.DataFrame) -> None:
        if self.sums is None:
            self.sums = Accumulator(self.work)
        if isinstance(self.sums, Accumulator):
            self.sums.update(batch_of_frame(frame, self.work.columns, self.work.coded, 0), "a batch")


def _row(element: Any) -> Mapping[str, Any] | None:
    """Returns a row as a mapping; None for a table."""
    if isinstance(element, Mapping):
        return element
    as_dict = getattr(element, "as_dict", None) or getattr(element, "_asdict", None)
    return None if as_dict is None else as_dict()


def _frame(element: Any) -> pl.DataFrame:
    frame = frame_of(element)
    if frame is None:
        raise UsageError(
            f"A PCollection of {type(element).__name__} cannot be evaluated; give Arrow record batches, tables, "
            "dictionaries or rows."
        )
    return frame


class AddRows(_CombineFn):  # type: ignore[misc]
    """Sums rows and tables; gives packed sums."""

    def __init__(self, work: Work, schema: Mapping[str, Any] | None) -> None:
        self.work, self.schema = work, schema

    def create_accumulator(self) -> Growing:
        """Returns sums of nothing."""
        return Growing(self.work, schema=self.schema)

    def add_input(self, mutable_accumulator: Growing, element: Any) -> Growing:
        """Adds a row, or a table of rows."""
        mutable_accumulator.take(element)
        return mutable_accumulator

    def merge_accumulators(self, accumulators: Iterable[Growing]) -> Growing:
        """Returns the sums of all, in the place of the first."""
        total: Sums | None = None
        for accumulator in accumulators:
            total = added(total, accumulator.settled())
        return Growing(self.work, total, schema=self.schema)

    def compact(self, accumulator: Growing) -> Growing:
        """Adds up rows that wait, before sums are sent."""
        accumulator.settled()
        return accumulator

    def extract_output(self, accumulator: Growing) -> bytes:
        """Returns packed sums."""
        return packed(self.work, accumulator.settled())

    def get_accumulator_coder(self) -> Any:
        """Returns how sums go over the wire."""
        return _SumsCoder(self.work)


class Added(PTransform):  # type: ignore[misc]
    """Adds up keyed packed sums: where keys are many those of each key first, then those of all keys.

    Sums are one a bundle already, so they are grouped and added rather than combined, which would pack them once more.
    """

    def __init__(self, work: Work, *, keys: int) -> None:
        super().__init__()
        self.work, self.keys = work, keys

    def expand(self, input_or_inputs: Any) -> Any:
        """Returns the PCollection of the one sum."""
        sums = input_or_inputs
        for level in ["AddInEachKey", "AddAll"] if self.keys > 1 else ["AddAll"]:
            grouped = sums | f"Group{level}" >> apache.GroupByKey()
            sums = grouped | level >> apache.Map(_added_up, self.work).with_output_types(tuple[int, bytes])
        return sums | "Values" >> apache.Values().with_output_types(bytes)


def _added_up(keyed: tuple[int, Iterable[bytes]], work: Work) -> tuple[int, bytes]:
    """Returns packed sums under the one key of all, or as they are where there is only one."""
    payloads = iter(keyed[1])
    first, total = next(payloads), None
    for payload in payloads:
        total = added(unpacked(work, first) if total is None else total, unpacked(work, payload))
    return 0, first if total is None else packed(work, total)
