"""Sums kept on the way, so that a run that was killed goes on with the first part that was not finished.

Each worker's sums stand in a folder of their own, with the list of the parts that they are of; a folder appears whole
or not at all. What stands there is an evaluation like any other.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit import storage
from evalkit.accumulate import Accumulator, Work
from evalkit.errors import DataError, OutputError
from evalkit.results import Evaluation, Result

if TYPE_CHECKING:
    from evalkit.sources.source import Part

EVERY_SECONDS = 5.0
SHARE = 20.0


class Journal:
    """The sums of finished parts in a folder.

    Args:
        folder: where they are kept; made when the first are.
        work: what is summed; sums of another work are refused.
        parts: of the data; where one has changed since, what was kept is refused.
        every_seconds: how often sums are kept; seldom enough, too, that it takes no more than a twentieth of the time.
    """

    def __init__(self, folder: Path, work: Work, parts: Sequence[Part], every_seconds: float | None = None) -> None:
        self.folder, self.work = folder, work
        self.every_seconds = EVERY_SECONDS if every_seconds is None else every_seconds
        self._prints = {part.name: part.fingerprint() for part in parts}
        self._lock = threading.Lock()
        self._last, self._cost = time.monotonic(), 0.0
        self._run = 1 + max((_run_of(path) for path in self._kept()), default=-1)

    def _kept(self) -> list[Path]:
        return sorted(self.folder.glob("run*-worker*")) if self.folder.is_dir() else []

    def resumed(self) -> tuple[list[Evaluation], set[str]]:
        """Returns the sums that were kept before, and the names of the parts that they are of.

        Raises:
            DataError: they are of other settings, or the data have changed.
        """
        evaluations, done = [], set()
        for path in self._kept():
            said = json.loads((path / "parts.json").read_text("utf-8"))
            if said["work"] != digest(self.work):
                raise DataError(
                    f"{self.folder} holds the sums of an unfinished run with other settings or data; run with those, "
                    "or start anew with --overwrite."
                )
            changed = [name for name, print_ in said["parts"].items() if self._prints.get(name) != print_]
            if changed:
                raise DataError(
                    f"{changed[0]} has changed since the unfinished run in {self.folder}; start anew with --overwrite."
                )
            done.update(said["parts"])
            evaluations.append(storage.read_sums(path / "sums", [self.work.metrics])[0])
        return evaluations, done

    def due(self) -> bool:
        """Returns whether it is time to keep a worker's sums."""
        with self._lock:
            return time.monotonic() - self._last >= max(self.every_seconds, SHARE * self._cost)

    def keep(self, worker: int, sums: Accumulator, done: Sequence[Part]) -> None:
        """Keeps a worker's sums in the place of those it kept before."""
        if not sums.rows:
            return
        begun = time.monotonic()
        target = self.folder / f"run{self._run}-worker{worker}"
        parts = {part.name: self._prints[part.name] for part in done}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with storage.written_aside(target) as aside:
                storage.write_sums(Result((sums.evaluation(whole=False),)), aside / "sums")
                said = {"work": digest(self.work), "parts": parts, "skipped": sums.skipped}
                (aside / "parts.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"Cannot keep sums in {self.folder}: {error.strerror or error}.") from error
        with self._lock:
            self._last = time.monotonic()
            self._cost = self._last - begun

    def clear(self) -> None:
        """Removes what was kept, once the run is done."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _run_of(path: Path) -> int:
    return int(path.name.removeprefix("run").split("-")[0])


def digest(work: Work) -> str:
    """Returns a digest of everything that sums depend on."""
    scores = work.scores
    told = [
        [name for name, _ in work.metrics],
        [str(need.statistic.identity) for need in work.needs],
        [repr(slice_set) for slice_set in work.slice_sets],
        repr(work.cubes),
        repr(work.settings),
        repr(work.labels),
        [work.drop_invalid, work.skip_damaged, work.grouped, work.limit, repr(work.options), work.source],
    ]
    hashed = hashlib.blake2b(repr(told).encode(), digest_size=16)
    if scores is not None:
        for bins in (scores.bins, scores.coarse):
            hashed.update(bins.starts.tobytes())
        hashed.update(repr((scores.exact, scores.dtype, scores.probabilities, scores.budget_bytes)).encode())
    return hashed.hexdigest()
