"""What an evaluation would do, before it does it: what is read, which sums are collected, and what memory they take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from evalkit.accumulate import Work
from evalkit.collect import GROUPS
from evalkit.engines.local import BATCH_ROWS, default_workers, file_of
from evalkit.needs import Need
from evalkit.slicing.spec import SliceSet
from evalkit.stream import MOST_IN_MEMORY

if TYPE_CHECKING:
    from evalkit.sources.source import Part


class _Seen(BaseException):
    """Carries a work out of an evaluation before anything is summed."""

    def __init__(self, work: Work, parts: Sequence[Part]) -> None:
        super().__init__()
        self.work, self.parts = work, parts


def explain(data: Any, *, engine: Any = "auto", workers: int | None = None, **asked: Any) -> str:
    """Returns what `ek.evaluate(data, ...)` would read and sum, after the same look at the data.

    Args:
        data: what a user names.
        engine: as for `evaluate`.
        workers: likewise.
        **asked: the other arguments of `evaluate`.

    Raises:
        UsageError: the call, a setting or the data are wrong.
    """
    from evalkit.evaluate import evaluate

    def seen(work: Work, parts: Sequence[Part]) -> Any:
        raise _Seen(work, parts)

    try:
        evaluate(data, engine=seen, workers=workers, **asked)
    except _Seen as found:
        name = engine if isinstance(engine, str) else getattr(engine, "__name__", type(engine).__name__)
        return text(found.work, found.parts, name, min(workers or default_workers(), len(found.parts)))
    raise AssertionError("an engine was asked for, and not called")


def text(work: Work, parts: Sequence[Part], engine: str, workers: int) -> str:
    """Writes a work for people.

    Args:
        work: what would be summed.
        parts: of the data.
        engine: its name.
        workers: how many parts are read at once.
    """
    rows = [part.rows for part in parts]
    known = None if None in rows else sum(n or 0 for n in rows)
    lines: dict[str, Sequence[str]] = {
        "data": _data(work, parts, known),
        "reads": _reads(work),
        "slices": [_set(work, index) for index in range(len(work.slice_sets))],
        "cells": [_cube(work, index) for index in range(len(work.cubes))],
        "sums": [_need(work, need) for need in work.needs],
        "scores": _scores(work),
        "memory": [_memory(work)],
        "engine": [_engine(engine, workers, known)],
    }
    width = max(map(len, lines))
    return "\n".join(
        f"{name if place == 0 else '':<{width}}  {line}" for name, of in lines.items() for place, line in enumerate(of)
    )


def _data(work: Work, parts: Sequence[Part], rows: int | None) -> list[str]:
    count = "an unknown number of rows" if rows is None else f"{rows:,} rows"
    files = len({file_of(part) for part in parts})
    return [f"{work.source}: {count}, {len(parts):,} part{'s' * (len(parts) > 1)} of {files:,}"]


def _reads(work: Work) -> list[str]:
    values = [name for name in work.columns if name not in work.coded]
    codes = [name for name in work.columns if name in work.coded]
    return [", ".join(values), *([f"codes alone of {', '.join(codes)}"] if codes else [])]


def _set(work: Work, index: int) -> str:
    slice_set = work.slice_sets[index]
    return f"{slice_set}: {work.expected[index]:,} in the sample" if slice_set != SliceSet() else "overall"


def _cube(work: Work, index: int) -> str:
    dimensions, members = work.cubes[index]
    name = " x ".join(str(d) for d in dimensions) or "all rows"
    rolled = f", rolled up to {len(members):,} slice sets" if len(members) > 1 else ""
    return f"{name}: {work.found.sizes[index]:,} occupied in the sample{rolled}; one pass over each batch of rows"


def _need(work: Work, need: Need) -> str:
    statistic = need.statistic
    readers = sum(metric.statistic.identity == statistic.identity for _, metric in work.metrics)
    of = f"read by {readers} metric{'s' * (readers != 1)}" if readers else "read by curves"
    if need.cells is not None:
        return f"{statistic.identity}: follows from {need.cells.identity}, {of}"
    groups = f" in {GROUPS} groups of units" if work.clustered else ""
    if statistic.form == "scores":
        what = "a histogram of scores and labels"
    elif statistic.form == "cells":
        count = len(statistic.cell_names)
        what = f"{count} count{'s' * (count != 1)}"
    else:
        products = 0 if work.clustered else len(need.products)
        what = f"{len(statistic.fields)} sums and {products} products"
    return f"{statistic.identity}: {what} in each cell{groups}, {of}"


def _scores(work: Work) -> list[str]:
    if work.scores is None:
        return []
    scores = work.scores
    moved = f"ties in them move the AUC of all rows by at most about {work.tie_bound:.1g}"
    bins = f"{len(scores.bins):,} balanced bins; {moved}"
    if scores.exact:
        return ["every distinct score is kept while they fit the memory", f"beyond it {bins}"]
    return [f"{bins}: distinct scores would not fit the memory"]


def _memory(work: Work) -> str:
    budget, cells = work.options.budget_bytes, sum(work.found.sizes)
    sums = 0
    for need in work.needs:
        if need.cells is not None:
            continue
        if need.statistic.form == "scores" and work.scores is not None:
            weighted = work.settings.weighted
            sums += cells * len(work.scores.bins) * 2 * (20 if weighted else 4)
        else:
            fields = len(need.statistic.fields)
            sums += cells * (GROUPS if work.clustered else 1) * 8 * (2 * fields + len(need.products))
    batch = BATCH_ROWS * 16 * max(len(work.columns), 1)
    return (
        f"about {_size(sums)} of sums and {_size(batch)} of rows for each worker; distinct scores up to {_size(budget)}"
    )


def _size(n: float) -> str:
    """Writes bytes for people."""
    return f"{n / 2**20:,.0f} MB" if n >= 2**20 else f"{max(1, round(n / 2**10)):,} KB"


def _engine(engine: str, workers: int, rows: int | None) -> str:
    if engine == "auto":
        small = rows is not None and rows <= MOST_IN_MEMORY
        engine = "memory" if small else "local"
    words = {
        "memory": "all rows at once in this process; they are kept for paired comparisons",
        "local": f"{workers} thread{'s' * (workers != 1)} of this process, part by part",
        "pool": f"{workers} process{'es' * (workers != 1)} of this machine, part by part",
        "mesh": f"all devices of this process, fed by {workers} thread{'s' * (workers != 1)}, part by part",
        "beam": "an Apache Beam pipeline, part by part",
    }
    return f"{engine}: {words[engine]}" if engine in words else engine
