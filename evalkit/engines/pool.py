"""Collects sums in several processes of this machine: the smallest engine there is, and a pattern for others.

An engine is a function from a `Work` and parts of the data to one `Accumulator`. It needs three things: make an
accumulator of the work, update it with the batches of a part, and add accumulators. Spark's `mapInArrow` or Ray would
send the same function to their workers.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING

from evalkit.accumulate import Accumulator, Work
from evalkit.engines import local
from evalkit.errors import ConfigError, InternalError, UsageError

if TYPE_CHECKING:
    from evalkit.sources.source import Part


def sum_parts(work: Work, parts: Sequence[Part]) -> Accumulator:
    """Returns the sums of some parts: what a worker does."""
    return local.Run(work, parts, workers=1).sums()


def added(work: Work, parts: Iterable[Accumulator]) -> Accumulator:
    """Returns the sums of sums."""
    total = Accumulator(work)
    for part in parts:
        total.add(part)
    return total


def pool(workers: int | None = None) -> Callable[[Work, Sequence[Part]], Accumulator]:
    """Returns an engine of so many processes.

    Args:
        workers: by default one for each processor.

    Raises:
        ConfigError: there are to be no workers.
        UsageError: the work or the data cannot be sent to other processes.
        InternalError: a process was killed.
    """
    count = local.processors() if workers is None else workers
    if count < 1 or count != int(count):
        raise ConfigError(f"A pool has a whole number of workers, at least 1, not {count!r}.")

    def engine(work: Work, parts: Sequence[Part]) -> Accumulator:
        require_sendable(work, parts)
        tasks = local.tasks(work, parts)
        chosen = [[part for task in tasks[index::count] for part in task] for index in range(min(count, len(tasks)))]
        with ProcessPoolExecutor(len(chosen), mp_context=multiprocessing.get_context("spawn")) as processes:
            try:
                return added(work, processes.map(sum_parts, [work] * len(chosen), chosen))
            except BrokenProcessPool as error:
                raise InternalError(
                    "A worker process was killed, perhaps for want of memory; nothing was written. Use fewer workers."
                ) from error

    return engine


def require_sendable(work: Work, parts: Sequence[Part]) -> None:
    """Raises UsageError where a work or its data cannot be pickled, which sends them to other processes."""
    import pickle

    for what, thing in ((f'The metrics or slices of "{work.model}"', work), (work.source, list(parts))):
        try:
            pickle.loads(pickle.dumps(thing))
        except (pickle.PicklingError, AttributeError, TypeError, ImportError) as error:
            raise UsageError(
                f"{what} cannot be sent to other processes ({error}); metrics must stand in a module, and data must be "
                "files, frames or tables."
            ) from error
