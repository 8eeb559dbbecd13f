"""Collects sums with Apache Beam, on any of its runners.

`beam(options)` is an engine like any other: `ek.evaluate(data, engine=beam(["--runner=FlinkRunner", ...]))`. Workers
read parts of the data, and what goes between machines is sums, added up in a tree, so that the one key that everything
ends at is never hot. `Evaluate(work)` is a step for pipelines of one's own.
"""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.accumulate import Accumulator, Work
from evalkit.engines import local
from evalkit.engines.beam_options import (
    last_line,
    parsed,
    runner_of,
    workers_are_here,
    workers_are_in_this_process,
    workers_are_processes,
)
from evalkit.engines.beam_sums import Added, DoFn, Failure, Sums, added, apache, packed, require_beam, unpacked
from evalkit.engines.beam_transform import Evaluate, planned, rows
from evalkit.engines.pool import require_sendable
from evalkit.errors import ConfigError, EvalkitError, InternalError, UsageError

if TYPE_CHECKING:
    from evalkit.sources.source import Part

__all__ = ["Evaluate", "beam", "planned", "rows"]

_WORKER_LOST = 70
_FEW_TASKS = 64


def beam(options: Sequence[str] = (), folder: str | None = None) -> Callable[[Work, Sequence[Part]], Accumulator]:
    """Returns an engine that runs on Apache Beam.

    Args:
        options: Beam's own, such as `--runner=FlinkRunner`; by default Beam's runner in this process.
        folder: where the sums are put for this process to read, a path or URL that it and the workers can reach; by
            default Beam's `--temp_location`, or a temporary folder where the workers run on this machine.

    Raises:
        MissingExtra: Apache Beam is not installed.
        ConfigError: an option does not exist or cannot hold.
        UsageError: the work or the data cannot be sent to workers.
        InternalError: the job failed.
    """
    require_beam()
    asked = parsed(options)
    shared = folder or asked.view_as(apache.options.pipeline_options.GoogleCloudOptions).temp_location
    if shared is None and not workers_are_here(asked):
        raise ConfigError(
            f"{runner_of(asked)} works on other machines: name a folder that they and this one can reach, with "
            "--temp_location=gs://bucket/folder, say."
        )

    def engine(work: Work, parts: Sequence[Part]) -> Accumulator:
        require_sendable(work, parts)
        if not workers_are_in_this_process(asked):
            _require_module(work)
        tasks = _tasks(work, parts)
        run = _run_apart if workers_are_processes(asked) else _run
        with _meeting_place(shared) as path:
            run(options, work, tasks, path)
            return _read(work, path)

    return engine


def _tasks(work: Work, parts: Sequence[Part]) -> list[bytes]:
    """Returns parts as bytes: what is summed whole or not at all is one element."""
    files: dict[str, list[Part]] = {}
    for part in parts:
        files.setdefault(local.file_of(part) if work.skip_damaged else part.name, []).append(part)
    return [pickle.dumps(together) for together in files.values()]


def _require_module(work: Work) -> None:
    """Raises UsageError for a metric of the script that runs, which workers do not read."""
    for name, metric in work.metrics:
        if metric.function.__module__ == "__main__":
            raise UsageError(f'"{name}" stands in the script that runs; Beam\'s workers need it in a module.')


# --- the pipeline ---


class _SumParts(DoFn):  # type: ignore[misc]
    """Sums the parts of a bundle; gives one key and packed sums."""

    def __init__(self, work: Work, fanout: int) -> None:
        self.work, self.fanout = work, fanout

    def start_bundle(self) -> None:
        self.sums: Sums | None = None
        self.key = 0

    def process(self, element: bytes) -> None:
        if isinstance(self.sums, Failure):
            return
        if self.sums is None:
            self.key = zlib.crc32(element) % self.fanout
        try:
            new: Sums = local.Run(self.work, pickle.loads(element), workers=1).sums()
        except EvalkitError as error:
            new = Failure(type(error), str(error))
        self.sums = added(self.sums, new)

    def finish_bundle(self) -> Iterator[Any]:
        if self.sums is not None:
            window = apache.transforms.window.GlobalWindow()
            value = (self.key, packed(self.work, self.sums))
            yield apache.utils.windowed_value.WindowedValue(value, window.max_timestamp(), [window])
            self.sums = None


class _Write(DoFn):  # type: ignore[misc]
    """Writes bytes to a file, whole or not at all."""

    def __init__(self, path: str) -> None:
        self.path = path

    def process(self, element: bytes) -> None:
        from apache_beam.io.filesystems import FileSystems  # pyright: ignore[reportMissingImports]

        aside = f"{self.path}-{uuid.uuid4().hex}"
        with FileSystems.create(aside, "application/octet-stream") as file:
            file.write(element)
        FileSystems.rename([aside], [self.path])


def _pipeline(options: Any, work: Work, tasks: Sequence[bytes], path: str) -> Any:
    fanout = math.isqrt(len(tasks)) if len(tasks) > _FEW_TASKS else 1
    try:
        pipeline = apache.Pipeline(options=options)
    except ValueError as error:
        raise ConfigError(f"Beam refuses the options: {' '.join(str(error).split())}") from error
    _ = (
        pipeline
        | "Parts" >> apache.Create(list(tasks), reshuffle=False)
        | "Spread" >> apache.Reshuffle()
        | "SumParts" >> apache.ParDo(_SumParts(work, fanout)).with_output_types(tuple[int, bytes])
        | "Sums" >> Added(work, keys=fanout)
        | "Write" >> apache.ParDo(_Write(path))
    )
    return pipeline


def _run(flags: Sequence[str], work: Work, tasks: Sequence[bytes], path: str) -> None:
    """Runs the pipeline to its end."""
    options = parsed(flags)
    pipeline, runner, result = _pipeline(options, work, tasks, path), runner_of(options), None
    try:
        result = pipeline.run()
        state = result.wait_until_finish()
    except KeyboardInterrupt:
        if result is not None:
            result.cancel()
        raise
    except Exception as error:  # runners raise errors of their own kinds
        raise InternalError(f"The Beam job failed on {runner}; nothing was written: {last_line(error)}") from error
    if state not in (None, "DONE"):
        raise InternalError(f"The Beam job ended as {state} on {runner}; nothing was written.")


# --- the pipeline in a process of its own ---
# Beam's own runner waits for ever where a worker process was killed; a process of its own can be ended.


def _run_apart(flags: Sequence[str], work: Work, tasks: Sequence[bytes], path: str) -> None:
    """Runs the pipeline in a process of its own, which ends with the first worker that was killed."""
    with tempfile.TemporaryDirectory(prefix="evalkit-beam-") as folder:
        asked, failed = Path(folder, "asked"), Path(folder, "failed")
        asked.write_bytes(apache.internal.pickler.dumps((list(flags), work, list(tasks), path)))
        code = "from evalkit.engines.beam import run_asked; run_asked()"
        process = subprocess.Popen([sys.executable, "-c", code, str(asked), str(failed)], start_new_session=True)
        try:
            status = process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        if failed.exists():
            raise pickle.loads(failed.read_bytes()).error()
    if status:
        raise InternalError(
            "A worker process of the Beam job was killed, perhaps for want of memory; nothing was written. Use fewer "
            "workers."
        )


def run_asked() -> None:
    """Runs the pipeline that a file describes: what the process of its own does."""
    threading.excepthook = _end_with_a_worker
    flags, work, tasks, path = apache.internal.pickler.loads(Path(sys.argv[1]).read_bytes())
    try:
        _run(flags, work, tasks, path)
    except EvalkitError as error:
        Path(sys.argv[2]).write_bytes(pickle.dumps(Failure(type(error), str(error))))


def _end_with_a_worker(raised: Any) -> None:
    if raised.thread is not None and raised.thread.name == "run_worker":
        os._exit(_WORKER_LOST)
    threading.__excepthook__(raised)


# --- where workers and this process meet ---


@contextlib.contextmanager
def _meeting_place(folder: str | None) -> Iterator[str]:
    """Yields a path that does not exist yet, which the workers write and this process reads."""
    from apache_beam.io.filesystems import FileSystems  # pyright: ignore[reportMissingImports]

    own = tempfile.mkdtemp(prefix="evalkit-beam-") if folder is None else None
    place = FileSystems.join(own or folder, f"evalkit-{uuid.uuid4().hex}")
    try:
        try:
            FileSystems.mkdirs(place)
        except (OSError, ValueError) as error:
            raise ConfigError(f"Cannot write to {folder}, where the Beam job is to put its sums: {error}.") from error
        yield FileSystems.join(place, "sums")
    finally:
        with contextlib.suppress(Exception):
            FileSystems.delete([FileSystems.join(place, "sums"), place])
        if own is not None:
            shutil.rmtree(own, ignore_errors=True)


def _read(work: Work, path: str) -> Accumulator:
    from apache_beam.io.filesystems import FileSystems  # pyright: ignore[reportMissingImports]

    if not FileSystems.exists(path):
        raise InternalError(
            f"The Beam job ended, but its sums are not at {path}: workers and this process must reach the same folder; "
            "name one with --temp_location."
        )
    with FileSystems.open(path, "application/octet-stream") as file:
        sums = unpacked(work, file.read())
    if isinstance(sums, Failure):
        raise sums.error()
    return sums
