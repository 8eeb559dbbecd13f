"""Collects sums on several devices, in one process or in several that `jax.distributed` has joined.

`mesh()` is an engine like any other. Each process reads its own share of the files and spreads every batch of rows over
its devices (`evalkit.engines.mesh` does the sums); then all processes give each other their sums and add them, so that
each of them has the answer.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from evalkit.accumulate import Accumulator, Work
from evalkit.compilation import platform
from evalkit.engines import local
from evalkit.engines.mesh import gathered, mine
from evalkit.engines.pool import require_sendable
from evalkit.errors import ConfigError, DataError, EvalkitError, InternalError

if TYPE_CHECKING:
    from evalkit.sources.source import Part


def mesh(devices: int | None = None, workers: int | None = None) -> Callable[[Work, Sequence[Part]], Accumulator]:
    """Returns an engine that spreads rows over devices.

    Where `jax.distributed.initialize` has joined several processes, all of them must evaluate the same data with the
    same settings; each gets the answer.

    Args:
        devices: how many of each process's; by default all. With one, sums are those of `engine="local"`.
        workers: how many parts of the data each process reads at once; by default one more than processors.

    Raises:
        ConfigError: there are fewer devices.
        UsageError: the work cannot be sent to the other processes.
        DataError: the processes were given different data or settings, or data that cannot be evaluated.
        InternalError: another process failed.
    """
    threads = workers or local.default_workers()

    def engine(work: Work, parts: Sequence[Part]) -> Accumulator:
        import jax

        spread = replace(work, options=replace(work.options, devices=_count(devices)))
        if jax.process_count() == 1:
            return local.Run(spread, parts, threads).sums()
        return _of_all_processes(_agreed(spread, parts), parts, threads)

    return engine


def _count(asked: int | None) -> int:
    import jax

    held = jax.local_device_count(platform())
    if asked is not None and not 1 <= asked <= held:
        raise ConfigError(f"{asked} devices were asked for; this process has {held}.")
    return asked or held


def _agreed(work: Work, parts: Sequence[Part]) -> Work:
    """Returns the work as the first process planned it, so that sums add up; refuses other data and settings."""
    require_sendable(work, [])
    asked = [name for name, _ in work.metrics], work.settings, work.slice_sets, [part.name for part in parts]
    told = [pickle.loads(payload) for payload in gathered(pickle.dumps((work, repr(asked))))]
    for process, (_, theirs) in enumerate(told):
        if theirs != told[0][1]:
            raise DataError(
                f"Process {process} evaluates other files, or with other settings, than process 0: give every process "
                "the same ones."
            )
    first: Work = told[0][0]
    return replace(first, options=replace(first.options, devices=work.options.devices))


def _of_all_processes(work: Work, parts: Sequence[Part], workers: int) -> Accumulator:
    """Returns the sums of this process's parts and those of the others; what fails in one is raised in all."""
    try:
        own = pickle.dumps(local.Run(work, _own(work, parts), workers).sums())
    except Exception as error:
        known = isinstance(error, EvalkitError)
        gathered(pickle.dumps(error if known else InternalError(f"Another process failed: {error!r}")))
        raise
    total = Accumulator(work)
    for payload in gathered(own):
        sums = pickle.loads(payload)
        if isinstance(sums, EvalkitError):
            raise sums
        total.add(sums)
    return total


def _own(work: Work, parts: Sequence[Part]) -> list[Part]:
    """Returns the parts that this process reads: where damaged files are left out, files as a whole."""
    together: dict[str, list[Part]] = {}
    for part in parts:
        together.setdefault(local.file_of(part) if work.skip_damaged else part.name, []).append(part)
    return [part for of_file in mine(list(together.values())) for part in of_file]
