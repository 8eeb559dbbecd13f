"""A step of Beam pipelines that evaluates the rows which pass by."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from evalkit.accumulate import Accumulator, Work
from evalkit.engines.beam_sums import Added, AddRows, DoFn, Failure, PTransform, apache, require_beam, unpacked
from evalkit.errors import UsageError
from evalkit.results import Result

if TYPE_CHECKING:
    from evalkit.sources.source import Part

FANOUT = 16


class Evaluate(PTransform):  # type: ignore[misc]
    """Evaluates the rows of a PCollection: gives one `Result` for each window.

    Elements are Arrow record batches, tables, frames, dictionaries or Beam rows. Slices are found on the way: workers
    number the values as they come, and the numbers are lined up when sums are added.

    Args:
        work: what is summed, see `planned`.
        fanout: in how many places sums are added before they come to one.
        schema: Polars types of columns, where elements are dictionaries or rows; by default told by the rows, some
            thousands at a time.

    Raises:
        UsageError: the intervals need groups of rows, and rows of a PCollection have neither place nor name.
    """

    def __init__(self, work: Work, *, fanout: int = FANOUT, schema: Mapping[str, Any] | None = None) -> None:
        require_beam()
        super().__init__()
        if work.grouped and work.settings.columns.id is None:
            raise UsageError("A bootstrap in a Beam pipeline needs id= or unit=, since its rows have no order.")
        self.work, self.fanout, self.schema = work, fanout, schema

    def expand(self, input_or_inputs: Any) -> Any:
        """Returns the PCollection of results."""
        return (
            input_or_inputs
            | "Key" >> apache.ParDo(_Keyed(self.fanout))
            | "Sum" >> apache.CombinePerKey(AddRows(self.work, self.schema)).with_output_types(tuple[int, bytes])
            | "Add" >> Added(self.work, keys=self.fanout)
            | "Result" >> apache.Map(_result, self.work).with_output_types(Result)
        )


class _Keyed(DoFn):  # type: ignore[misc]
    """Deals elements out to keys; one a bundle, so that a worker adds up its rows before it sends sums."""

    def __init__(self, fanout: int) -> None:
        self.fanout = fanout

    def start_bundle(self) -> None:
        self.key = uuid.uuid4().int % self.fanout

    def process(self, element: Any) -> Iterator[tuple[int, Any]]:
        yield self.key, element


def _result(payload: bytes, work: Work) -> Result:
    sums = unpacked(work, payload)
    if isinstance(sums, Failure):
        raise sums.error()
    evaluation = sums.evaluation()
    return Result((evaluation.suppress() if work.settings.suppress_below else evaluation,))


def rows(result: Result) -> list[dict[str, Any]]:
    """Returns the rows of a result's table, as a step such as `beam.FlatMap(rows)` gives them."""
    return result.to_polars().to_dicts()


class _Planned(Exception):  # noqa: N818 - it is no error
    """Ends an evaluation at the point where its work is known."""


def planned(sample: Any, *, rows: int | None = None, source: str = "the PCollection", **asked: Any) -> Work:
    """Returns the work that `ek.evaluate` would do, from a look at a sample of the rows.

    The sample tells the task, the two labels, whether scores are probabilities, quantiles and the most frequent values
    that slices ask for, and where scores are cut once distinct ones are too many. Rows that do not fit it are refused
    by the pipeline.

    Args:
        sample: rows like those of the pipeline: anything that `ek.evaluate` takes.
        rows: how many rows the pipeline will have, about; by default as many as the sample.
        source: what the result says that the data are.
        **asked: as of `ek.evaluate`.

    Raises:
        UsageError: the sample cannot be evaluated so.

    >>> work = planned({"y": [1, 0, 1], "p": [0.9, 0.2, 0.4]}, label="y", score="p", metrics=["roc_auc"])
    >>> work.labels, [name for name, _ in work.metrics]
    ((1, 0), ['roc_auc'])
    """
    import evalkit
    from evalkit.sources.source import open_source

    opened = open_source(sample)
    found: list[Work] = []

    def keep(work: Work, _: Sequence[Part]) -> Accumulator:
        found.append(work)
        raise _Planned

    with contextlib.suppress(_Planned):
        evalkit.evaluate(replace(opened, rows=rows or opened.rows), engine=keep, **asked)
    return replace(found[0], source=source)
