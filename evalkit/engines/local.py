"""Collects sums in this process, several parts of the data at once, in memory that does not grow with them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from evalkit.accumulate import Accumulator, Work
from evalkit.errors import DataError

if TYPE_CHECKING:
    from evalkit.journal import Journal
    from evalkit.sources.source import Part

BATCH_ROWS = 1 << 20


@dataclass
class Run:
    """Parts of the data being summed by threads.

    Attributes:
        work: what is summed.
        parts: what is read.
        workers: how many threads.
        journal: where sums are kept on the way; None: nowhere.
        read: called with the number of rows that were read, from any thread.
    """

    work: Work
    parts: Sequence[Part]
    workers: int
    journal: Journal | None = None
    read: Callable[[int], None] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)

    def sums(self) -> Accumulator:
        """Returns the sums of all parts.

        Raises:
            DataError: a part cannot be read or evaluated, or changed while it was read.
        """
        waiting = iter(tasks(self.work, self.parts))
        workers = max(1, min(self.workers, len(self.parts)))
        if workers == 1:
            return self._worker(0, waiting)
        with ThreadPoolExecutor(workers, thread_name_prefix="evalkit") as pool:
            futures = [pool.submit(self._worker, index, waiting) for index in range(workers)]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                self._stop.set()
            failed = next((f for f in done if f.exception() is not None), None)
            if failed is not None:
                failed.result()
            total, *others = (future.result() for future in futures)
        for other in others:
            total.add(other)
        return total

    def _worker(self, index: int, waiting: Iterator[list[Part]]) -> Accumulator:
        sums = Accumulator(self.work)
        done: list[Part] = []
        while not self._stop.is_set():
            with self._lock:
                task = next(waiting, None)
            if task is None:
                break
            if self.work.skip_damaged:
                self._sum_or_skip(sums, task, done)
            else:
                self._sum(sums, task)
                done += task
            if self._stop.is_set():
                break
            if self.journal is not None and self.journal.due():
                self.journal.keep(index, sums, done)
        if self.journal is not None and done and not self._stop.is_set():
            self.journal.keep(index, sums, done)
        return sums

    def _sum(self, sums: Accumulator, task: Sequence[Part]) -> None:
        for part in task:
            before = part.fingerprint()
            for batch in part.batches(self.work.columns, self.work.coded, BATCH_ROWS):
                if self._stop.is_set():
                    return
                sums.update(batch, part.name)
                if self.read is not None:
                    self.read(batch.n)
            if part.fingerprint() != before:
                raise DataError(f"{part.name} changed while it was read: run again on files that stay as they are.")

    def _sum_or_skip(self, sums: Accumulator, task: Sequence[Part], done: list[Part]) -> None:
        alone = Accumulator(self.work)
        try:
            self._sum(alone, task)
        except DataError as error:
            sums.skipped[file_of(task[0])] = str(error)
            return
        sums.add(alone)
        done += task


def tasks(work: Work, parts: Sequence[Part]) -> list[list[Part]]:
    """Returns what one worker sums whole: a part, or where damaged files may be left out all parts of a file."""
    if not work.skip_damaged:
        return [[part] for part in parts]
    files: dict[str, list[Part]] = {}
    for part in parts:
        files.setdefault(file_of(part), []).append(part)
    return list(files.values())


def file_of(part: Part) -> str:
    """Returns the name of the file that a part is of."""
    return part.name.split(", row groups ")[0]


def processors() -> int:
    """Returns how many processors this process may use, sixteen at most."""
    affinity = getattr(os, "sched_getaffinity", None)
    return min(16, len(affinity(0)) if affinity else os.cpu_count() or 1)


def default_workers() -> int:
    """Returns how many parts are read at once: one more than there are processors, which work while one waits."""
    return processors() + 1
