"""An evaluation of data that need not fit into memory: survey, plan, sums of the parts, answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.accumulate import Accumulator, Work
from evalkit.collect import Options, entry_bytes, grouped_resolution
from evalkit.dense_scores import resolution
from evalkit.engines import local
from evalkit.journal import Journal
from evalkit.metric import Metric
from evalkit.results import Evaluation, Settings
from evalkit.rows import Checked, Columns, Task
from evalkit.score_bins import sampled
from evalkit.score_states import Resolution
from evalkit.score_sums import ScoreSums
from evalkit.slicing.spec import SliceSet
from evalkit.sources import files
from evalkit.sources.database import is_database
from evalkit.sources.memory import HEAD_ROWS as ONCE_HEAD_ROWS
from evalkit.sources.source import open_source
from evalkit.survey import Survey, survey

if TYPE_CHECKING:
    from evalkit.sources.source import Part, Source

Choose = Callable[[Checked, Columns], list[tuple[str, Metric]]]
Engine = Callable[[Work, Sequence["Part"]], Accumulator]
Read = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Request:
    """What is asked of the data, before they were looked at.

    Attributes:
        model: the model's name.
        columns: the parts that columns play.
        slice_sets: what was asked for, overall not among them.
        choose: from checked rows and the parts of columns to names and bound metrics.
        settings: likewise to how sums are read.
        task: None to tell by the data.
        positive: the positive label, where labels are not 0 and 1.
        drop_invalid: whether rows with missing values are dropped.
        skip_damaged: whether files that cannot be read are left out.
        grouped: from the metrics to whether rows without units are hashed into groups.
        limit: the most slices of one set.
        options: limits of memory and chunks.
        workers: how many parts are read at once.
    """

    model: str
    columns: Columns
    slice_sets: Sequence[SliceSet]
    choose: Choose
    settings: Callable[[Checked, Columns], Settings]
    task: Task | None = None
    positive: Any = None
    drop_invalid: bool = False
    skip_damaged: bool = False
    grouped: Callable[[Sequence[Metric]], bool] = field(default=lambda _: False)
    limit: int = 10_000
    options: Options = field(default_factory=Options)
    workers: int = field(default_factory=local.default_workers)


def plan(request: Request, source: Source) -> Work:
    """Returns what is to be summed, from a look at the data.

    Args:
        request: what is asked.
        source: the data.

    Raises:
        UsageError: the data cannot be evaluated so.
    """
    known = survey(
        source,
        request.columns,
        request.slice_sets,
        task=request.task,
        positive=request.positive,
        limit=request.limit,
        workers=request.workers,
    )
    metrics = tuple(request.choose(known.checked, request.columns))
    grouped = request.grouped([metric for _, metric in metrics])
    clustered = request.columns.unit is not None or grouped
    scores = _scores(known, source, request.options, clustered=clustered)
    return Work(
        model=request.model,
        metrics=metrics,
        settings=request.settings(known.checked, request.columns),
        slice_sets=known.slice_sets,
        cubes=known.cubes,
        found=known.found,
        expected=known.slices,
        labels=known.labels,
        scores=scores,
        tie_bound=0.0 if scores is None else _tie_bound(known, scores),
        numeric=known.numeric,
        drop_invalid=request.drop_invalid,
        skip_damaged=request.skip_damaged,
        grouped=grouped,
        limit=request.limit,
        options=request.options,
        source=source.name,
    )


def _scores(known: Survey, source: Source, options: Options, *, clustered: bool) -> Resolution | None:
    """Returns how finely scores are kept apart.

    Distinct scores are kept where they may fit the budget; how many there will be is told by the sample.
    """
    rows = known.checked.rows
    if known.ordered is None or rows.score is None:
        return None
    keys, label = known.ordered
    weighted, dtype = rows.weight is not None, str(rows.score.dtype)
    cells = max(known.found.sizes)
    budget = options.budget_bytes
    most = resolution(cells, weighted=weighted, budget_bytes=budget)
    entry = entry_bytes(weighted=weighted, grouped=clustered)
    coarse = grouped_resolution(cells, entry_bytes=entry, budget_bytes=budget)
    sets = len(known.slice_sets)
    expected = rows.n * known.distinct_share
    total = source.about()
    if total is not None and known.distinct_share > 0.2:
        expected = total * known.distinct_share

    fine = sampled(keys, label, most, dtype, rows.probabilities, sparing=True)
    return Resolution(
        bins=fine,
        coarse=sampled(keys, label, coarse, dtype, rows.probabilities) if clustered else fine,
        exact=expected * sets * entry <= budget,
        dtype=dtype,
        probabilities=rows.probabilities,
        budget_bytes=budget,
    )


def _tie_bound(known: Survey, scores: Resolution) -> float:
    """Returns half the share of pairs of the sample, of a positive and a negative, that fall in one bin."""
    if known.ordered is None:
        return 0.0
    keys, label = known.ordered
    edges = np.append(np.searchsorted(keys, scores.bins.starts[1:]), len(keys))
    rows, positives = edges, np.append(0, np.cumsum(label))[edges]
    counts = np.stack([np.diff(below, prepend=0) for below in (rows - positives, positives)]) * 1.0
    pairs = counts.sum(1).prod()
    return float((counts[0] * counts[1]).sum() / pairs / 2) if pairs else 0.0


def evaluate_source(
    request: Request, source: Source, engine: Any, *, unfinished: Path | None = None, read: Read | None = None
) -> Evaluation:
    """Returns the evaluation of data read part by part.

    Args:
        request: what is asked.
        source: the data.
        engine: what sums the parts of a work; `auto` or `local` for threads of this process.
        unfinished: a folder where sums are kept on the way, and gone on with where it holds some.
        read: called with the number of rows that were read and the number of all, None where that is not known.

    Raises:
        UsageError: the data cannot be evaluated so.
    """
    started = time.perf_counter()
    work = plan(request, source)
    planned = time.perf_counter()
    if not isinstance(engine, str):
        evaluation = engine(work, source.parts).evaluation()
    else:
        evaluation = _summed_here(work, source, request.workers, unfinished, read)
    seconds = {"read": planned - started, "count": time.perf_counter() - planned}
    skipped = tuple(sorted({*evaluation.skipped, *source.damaged}))
    return replace(_settled(work, evaluation), source=work.source, seconds=seconds, skipped=skipped)


def _summed_here(work: Work, source: Source, workers: int, unfinished: Path | None, read: Read | None) -> Evaluation:
    journal = None if unfinished is None else Journal(unfinished, work, source.parts)
    kept, done = ([], set[str]()) if journal is None else journal.resumed()
    parts = [part for part in source.parts if part.name not in done]
    told = None
    if read is not None:
        total, finished = source.rows, [part.rows or 0 for part in source.parts if part.name in done]
        read(sum(finished), total)
        told = lambda n: read(n, total)  # noqa: E731
    evaluations = list(kept)
    if parts:
        sums = local.Run(work, parts, workers, journal, told).sums()
        if sums.rows or not kept:
            evaluations.append(sums.evaluation(whole=not kept))
    total_evaluation, *others = evaluations
    for other in others:
        total_evaluation = total_evaluation.add(other)
    return total_evaluation


def _settled(work: Work, evaluation: Evaluation) -> Evaluation:
    """Bins distinct scores that fit the budget part by part, but not together."""
    if work.scores is None:
        return evaluation
    sums = dict(evaluation.sums)
    for identity, of in sums.items():
        if isinstance(of, ScoreSums) and of.bins is None:
            entry = entry_bytes(weighted=of.total is not None, grouped=of.clustered)
            if len(of.keys) * entry > work.options.budget_bytes:
                fine = of.margin().binned(work.scores.bins)
                coarse = replace(of.binned(work.scores.coarse), fine=fine)
                sums[identity] = coarse if of.clustered else fine
    return replace(evaluation, sums=sums)


# --- which data are streamed ---

MOST_IN_MEMORY = 10_000_000
_FEW_BYTES = 64 * 2**20
_MANY_BYTES = 512 * 2**20


def opened(
    data: Any, engine: Any, *, sql: str | None = None, where: Any = None, skip_damaged: bool = False
) -> tuple[Any, Source | None]:
    """Returns the data as they are read into memory at once, or the source of those that are read part by part.

    Few rows are faster in memory, and are kept for paired comparisons; what they say does not depend on it.

    Args:
        data: what a user names.
        engine: `auto` to tell by the size; `memory`; else what sums the parts.
        sql: the query, where data are a database.
        where: rows for which this is not true are left out.
        skip_damaged: whether files that cannot be read are left out; they are read part by part then.
    """
    plain = sql is None and where is None and not skip_damaged
    if plain and (engine == "memory" or (engine == "auto" and _plainly_small(data))):
        return data, None
    source = open_source(data, sql=sql, where=where, skip_damaged=skip_damaged)
    if engine != "memory" and (engine != "auto" or skip_damaged or _large(source)):
        return None, source
    return data if plain and source.rereadable else source, None


def _large(source: Source) -> bool:
    if source.rows is not None:
        return source.rows > MOST_IN_MEMORY
    if source.bytes is not None:
        return source.bytes > _MANY_BYTES
    return _long(source)


def _plainly_small(data: Any) -> bool:
    """Tells small data without opening them: this is what most calls wait for."""
    if isinstance(data, str | Path) or (
        isinstance(data, list | tuple) and all(isinstance(d, str | Path) for d in data)
    ):
        if is_database(data):
            return False
        found = files.find([data] if isinstance(data, str | Path) else data)
        return not any(file.url for file in found) and sum(file.size() or 0 for file in found) <= _FEW_BYTES
    if isinstance(data, Mapping):
        return len(next(iter(data.values()), ())) <= MOST_IN_MEMORY
    rows = getattr(data, "height", getattr(data, "num_rows", None))
    if rows is None and hasattr(data, "__len__") and hasattr(data, "columns"):
        rows = len(data)
    return rows is not None and rows <= MOST_IN_MEMORY


def _long(source: Source) -> bool:
    """Tells whether rows whose number is not known are many, by reading the first of them."""
    if not source.rereadable:
        return source.sample(list(source.columns)[:1], 1 << 30).height >= ONCE_HEAD_ROWS
    seen, first = 0, list(source.columns)[:1]
    for part in source.parts:
        for batch in part.batches(first):
            seen += batch.n
            if seen > MOST_IN_MEMORY:
                return True
    return False
