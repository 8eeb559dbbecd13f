"""What goes wrong on the way: killed runs, damaged and changing files, full disks, killed workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import evalkit as ek
from evalkit import journal
from evalkit.cli import main
from evalkit.engines.pool import pool
from evalkit.errors import ConfigError, DataError, InternalError, OutputError, UsageError
from evalkit.sources.memory import FramePart
from evalkit.sources.source import Batch

ASKED: dict[str, Any] = {
    "label": "y",
    "score": "p",
    "metrics": ["count", "roc_auc", "log_loss", "recall"],
    "slices": ["sex"],
}
FLAGS = ["--label", "y", "--score", "p", "--slice", "sex", "--metric", "count", "--metric", "roc_auc", "--no-rows"]

KILLED = """
import os, signal, sys
import evalkit as ek
from evalkit import journal

journal.EVERY_SECONDS = journal.SHARE = 0.0

def killing(rows, total, seen=[0]):
    seen[0] += rows
    if seen[0] > {after}:
        os.kill(os.getpid(), signal.SIGKILL)

ek.evaluate({data!r}, label="y", score="p", metrics=["count", "roc_auc"], slices=["sex"], engine="local",
            workers={workers}, name="p", unfinished={folder!r}, read_rows=killing)
"""


def frame(seed: int, n: int = 500) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    p = rng.random(n).round(3)
    return pl.DataFrame({"y": (rng.random(n) < p).astype(np.int8), "p": p, "sex": rng.choice(["f", "m"], n)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    for k in range(8):
        frame(k).write_parquet(data / f"{k}.parquet")
    return data


def killed(folder: Path, unfinished: Path, after: int, workers: int = 1) -> None:
    code = KILLED.format(data=str(folder), folder=str(unfinished), after=after, workers=workers)
    alone = {**os.environ, "EVALKIT_CACHE": "off"}  # a process that dies may leave half a compiled function there
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=alone)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_was_killed_goes_on_from_the_last_finished_file(
    folder: Path, tmp_path: Path, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    unbroken = ek.evaluate(folder, engine="local", **{**ASKED, "metrics": ["count", "roc_auc"]}).to_polars()
    out = tmp_path / "out"
    unfinished = tmp_path / "out.unfinished" / "p"
    killed(folder, unfinished, after=2600, workers=workers)
    assert list(unfinished.glob("run0-worker*/sums/plan.json"))
    arguments = ["evaluate", str(folder), *FLAGS, "--engine", "local", "--out", str(out), "--no-report"]
    assert main([*arguments, "--resume"]) == 0
    assert_frame_equal(pl.read_parquet(out / "metrics.parquet"), unbroken, rel_tol=1e-12)
    assert not unfinished.parent.exists()
    capsys.readouterr()


def test_only_parts_that_were_not_finished_are_read_again(folder: Path, tmp_path: Path) -> None:
    killed(folder, tmp_path / "kept", after=2600)
    asked: dict[str, Any] = {**ASKED, "metrics": ["count", "roc_auc"], "name": "p", "engine": "local", "workers": 1}
    told: list[int] = []
    ek.evaluate(folder, unfinished=tmp_path / "kept", read_rows=lambda rows, _: told.append(rows), **asked)
    done, *read = told
    assert done >= 2000
    assert sum(read) == 4000 - done


def test_a_second_kill_loses_nothing_of_the_first_run(folder: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    killed(folder, kept, after=1600)
    killed(folder, kept, after=3600)
    asked: dict[str, Any] = {**ASKED, "metrics": ["count", "roc_auc"], "engine": "local"}
    result = ek.evaluate(folder, unfinished=kept, name="p", **asked)
    unbroken = ek.evaluate(folder, name="p", **asked)
    assert_frame_equal(result.to_polars(), unbroken.to_polars(), rel_tol=1e-12)


def test_what_a_killed_run_summed_is_not_lost_by_starting_again(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    killed(folder, tmp_path / "out.unfinished" / "p", after=2600)
    arguments = ["evaluate", str(folder), *FLAGS, "--engine", "local", "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "go on with it by --resume" in capsys.readouterr().err
    assert main([*arguments, "--overwrite", "--no-report"]) == 0
    assert main([*arguments[:-1], str(tmp_path / "other"), "--resume"]) == 2
    assert "no unfinished run to go on with" in capsys.readouterr().err


def test_other_settings_do_not_go_on_with_a_killed_run(folder: Path, tmp_path: Path) -> None:
    killed(folder, tmp_path / "kept", after=2600)
    with pytest.raises(DataError, match="an unfinished run with other settings"):
        ek.evaluate(folder, engine="local", name="p", unfinished=tmp_path / "kept", **ASKED)


def test_a_file_that_changed_since_is_named(folder: Path, tmp_path: Path) -> None:
    killed(folder, tmp_path / "kept", after=2600)
    os.utime(folder / "0.parquet", (1, 1))
    asked: dict[str, Any] = {**ASKED, "metrics": ["count", "roc_auc"], "name": "p", "engine": "local"}
    with pytest.raises(DataError, match=r"0\.parquet has changed since the unfinished run"):
        ek.evaluate(folder, unfinished=tmp_path / "kept", **asked)


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[4:400] = b"\xff" * 396
    file.write_bytes(bytes(content))


def test_a_damaged_file_among_good_ones_is_named(folder: Path) -> None:
    damage(folder / "3.parquet")
    with pytest.raises(DataError, match=r"Cannot read .*3\.parquet"):
        ek.evaluate(folder, engine="local", **ASKED)


def test_a_file_that_cannot_be_opened_is_left_out_only_on_request(folder: Path) -> None:
    (folder / "5.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match=r"Cannot read .*5\.parquet"):
        ek.evaluate(folder, engine="local", **ASKED)
    result = ek.evaluate(folder, engine="local", skip_damaged=True, **ASKED)
    assert result.evaluations[0].skipped == (str(folder / "5.parquet"),)
    assert result["count"].value == 3500


@pytest.mark.parametrize("engine", ["local", "pool"])
def test_damaged_files_are_left_out_and_counted_only_on_request(folder: Path, engine: str) -> None:
    damage(folder / "3.parquet")
    chosen: Any = pool(2) if engine == "pool" else engine
    result = ek.evaluate(folder, engine=chosen, skip_damaged=True, **ASKED)
    good = [file for file in sorted(folder.iterdir()) if file.name != "3.parquet"]
    expected = ek.evaluate(pl.concat([pl.read_parquet(file) for file in good]), **ASKED)
    assert result.evaluations[0].skipped == (str(folder / "3.parquet"),)
    assert_frame_equal(result.to_polars(), expected.to_polars(), rel_tol=1e-12)


def test_files_left_out_are_told_and_written(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage(folder / "3.parquet")
    arguments = ["evaluate", str(folder), *FLAGS, "--engine", "local", "--out", str(tmp_path / "out"), "--no-report"]
    assert main(arguments) == 2
    capsys.readouterr()
    assert main([*arguments, "--skip-damaged"]) == 0
    assert "left out as damaged" in capsys.readouterr().err
    assert "3.parquet" in (tmp_path / "out" / "run.json").read_text()


def test_a_file_that_changes_while_it_is_read_ends_the_run(folder: Path) -> None:
    def rewriting(_rows: int, _total: int | None) -> None:
        frame(99, 700).write_parquet(folder / "0.parquet")

    with pytest.raises(DataError, match=r"0\.parquet changed while it was read"):
        ek.evaluate(folder, engine="local", workers=1, read_rows=rewriting, **ASKED)


def test_sums_that_cannot_be_kept_end_the_run_and_leave_nothing_half_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "EVERY_SECONDS", 0.0)
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(OutputError, match="Cannot"):
        ek.evaluate(folder, engine="local", unfinished=blocked / "kept", **ASKED)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "file"]


class Deadly(FramePart):
    """A part whose reader is killed."""

    def batches(self, columns: Sequence[str], coded: Any = (), most_rows: int = 1) -> Iterator[Batch]:  # noqa: ARG002 - dies
        os.kill(os.getpid(), signal.SIGKILL)
        yield from ()


def test_a_killed_worker_process_ends_the_run_with_one_sentence(folder: Path) -> None:
    def with_a_deadly_part(work: Any, parts: Sequence[Any]) -> Any:
        return pool(2)(work, [*parts, Deadly("deadly", frame(0))])

    with pytest.raises(InternalError, match="A worker process was killed"):
        ek.evaluate(folder, engine=with_a_deadly_part, **ASKED)


def test_processes_answer_what_threads_do(folder: Path) -> None:
    left, right = (ek.evaluate(folder, engine=engine, **ASKED).to_polars() for engine in ("local", pool(2)))
    assert_frame_equal(left, right, rel_tol=1e-12)


def test_a_metric_that_cannot_be_sent_is_refused(folder: Path) -> None:
    from evalkit.metrics.confusion import confusion

    @ek.metric(confusion, range=(0, 1), interval="wilson")
    def local_metric(c: Any) -> Any:
        return ek.ratio(c.tp, c.tp + c.fp)

    with pytest.raises(UsageError, match="cannot be sent to other processes"):
        ek.evaluate(folder, engine=pool(2), **{**ASKED, "metrics": [local_metric]})


@pytest.mark.parametrize("name", ["..", ".", "../x", "a/b"])
def test_what_is_kept_on_the_way_stays_in_its_folder_whatever_the_name(
    name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("evalkit.journal.EVERY_SECONDS", 0.0)
    monkeypatch.setattr("evalkit.journal.SHARE", 0.0)
    arguments = ["evaluate", str(folder), *FLAGS, "--engine", "local", "--out", str(tmp_path / "out"), "--no-report"]
    assert main([*arguments, "--name", name]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "out"]
    capsys.readouterr()


@pytest.mark.parametrize("workers", [0, -1, 1.5])
def test_a_pool_without_workers_is_refused(workers: Any) -> None:
    with pytest.raises(ConfigError, match=f"A pool has a whole number of workers, at least 1, not {workers}"):
        pool(workers)


@pytest.mark.parametrize("workers", ["0", "-1"])
@pytest.mark.parametrize("engine", ["local", "pool"])
def test_no_workers_are_refused_on_the_command_line(
    workers: str, engine: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(folder), *FLAGS, "--engine", engine, "--workers", workers]) == 2
    assert f"--workers is at least 1, not {workers}." in capsys.readouterr().err


def test_a_file_that_is_removed_while_others_are_read_is_named(folder: Path) -> None:
    def removing(rows: int, _: int | None) -> None:
        if rows == 500:
            (folder / "7.parquet").unlink(missing_ok=True)

    with pytest.raises(DataError, match=r"Cannot read .*7\.parquet: No such file or directory\."):
        ek.evaluate(folder, engine="local", workers=1, read_rows=removing, **ASKED)


def test_a_file_that_is_removed_while_others_are_read_can_be_left_out(folder: Path) -> None:
    def removing(rows: int, _: int | None) -> None:
        if rows == 500:
            (folder / "7.parquet").unlink(missing_ok=True)

    result = ek.evaluate(folder, engine="local", workers=1, read_rows=removing, skip_damaged=True, **ASKED)
    assert result["count"].value == 3500
    assert [Path(name).name for name in result.evaluations[0].skipped] == ["7.parquet"]
