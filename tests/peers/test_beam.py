"""Beam answers what threads of one process do: on its own runner, over the portable protocol, and in processes."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import apache_beam
import numpy as np
import polars as pl
import pytest
from apache_beam.testing.util import assert_that
from polars.testing import assert_frame_equal

import evalkit as ek
from evalkit.accumulate import Accumulator
from evalkit.engines import local
from evalkit.engines.beam import Evaluate, beam, planned, rows
from evalkit.engines.beam_sums import packed, unpacked
from evalkit.sources.source import open_source

COLUMNS: dict[str, Any] = {"label": "y", "score": "p"}
METRICS = ["count", "roc_auc", "f1", "log_loss"]
SLICES: list[Any] = [["sex", "age=edges(30, 50)"], "tags", "age=quantiles(3)"]
MORE: list[dict[str, Any]] = [{}, {"weight": "w", "unit": "user"}]
PROCESSES = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
PORTABLE = ["--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK"]

EVALUATE = """
import sys
import evalkit as ek
from evalkit.engines.beam import beam
try:
    ek.evaluate(sys.argv[1], label="y", score="p", engine=beam(sys.argv[3:])).save(sys.argv[2])
except ek.EvalkitError as error:
    sys.exit(str(error))
"""


def frame_of(n: int, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    p = rng.beta(2, 3, n)
    sex = rng.choice(np.array(["f", "m", "x", None], dtype=object), n, p=[0.5, 0.43, 0.02, 0.05])
    return pl.DataFrame(
        {
            "y": (rng.random(n) < p).astype(np.int8),
            "p": p.astype(np.float32),
            "sex": pl.Series(sex.tolist(), dtype=pl.String),
            "age": rng.integers(18, 90, n),
            "tags": [list(rng.choice(["a", "b", "c"], rng.integers(0, 3), replace=False)) for _ in range(n)],
            "w": rng.lognormal(0, 1, n),
            "user": rng.integers(0, max(n // 3, 1), n),
        }
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of different sizes, whose values of slices come in different orders."""
    (tmp_path / "data").mkdir()
    for k in range(7):
        frame_of(500 + 700 * k, seed=k).write_parquet(tmp_path / "data" / f"{k}.parquet")
    return tmp_path / "data"


def assert_same(left: ek.Result, right: ek.Result) -> None:
    """Every row of the table is the same, whole numbers exactly, as are all counts that it is made of."""
    assert_frame_equal(left.to_polars(), right.to_polars(), rel_tol=1e-12, abs_tol=1e-300)
    ours, theirs = left.evaluations[0], right.evaluations[0]
    assert (ours.n, ours.dropped, ours.skipped) == (theirs.n, theirs.dropped, theirs.skipped)
    assert ours.sums.keys() == theirs.sums.keys()
    for identity, sums in ours.sums.items():
        assert np.array_equal(sums.count, theirs.sums[identity].count), identity


def assert_as_local(data: Any, options: list[str], **asked: Any) -> ek.Result:
    asked = {"metrics": METRICS, "slices": SLICES, **COLUMNS, **asked}
    found = ek.evaluate(data, engine=beam(options), **asked)
    assert_same(found, ek.evaluate(data, engine="local", **asked))
    return found


# --- the engine ---


@pytest.mark.parametrize("more", MORE, ids=str)
def test_the_runner_in_this_process_gives_what_threads_do(folder: Path, more: dict[str, Any]) -> None:
    assert_as_local(folder, [], **more)


@pytest.mark.parametrize("more", MORE, ids=str)
def test_binned_scores_are_the_same(folder: Path, more: dict[str, Any]) -> None:
    found = assert_as_local(folder, [], budget_bytes=200_000, slices=["sex"], **more)
    assert found["roc_auc"].to_polars()["approximate"].all()


@pytest.mark.parametrize("options", [PORTABLE, ["--direct_running_mode=multi_threading", "--direct_num_workers=3"]])
def test_other_ways_to_run_give_the_same(folder: Path, options: list[str]) -> None:
    assert_as_local(folder, options, unit="user")


@pytest.mark.slow
def test_worker_processes_give_the_same(folder: Path) -> None:
    assert_as_local(folder, PROCESSES, unit="user", weight="w")


def test_a_bootstrap_without_units_draws_the_same_rows(folder: Path) -> None:
    assert_as_local(folder, [], metrics=["log_loss"], slices=["sex"], intervals=ek.bootstrap(50, seed=1))


@ek.statistic(needs=("label", "prediction"))
def cubes(batch: Any) -> Any:
    return {"cubed": abs(batch.prediction - batch.label) ** 3}


@ek.metric(cubes, range=(0, float("inf")), better="lower", interval="log", task="regression")
def mean_cubed(s: Any) -> Any:
    return s.mean("cubed")


CUBED: dict[str, Any] = {"label": "y", "prediction": "p", "score": None, "metrics": [mean_cubed], "task": "regression"}


def test_a_metric_of_the_users_own_is_sent_by_its_module(folder: Path) -> None:
    assert_as_local(folder, PORTABLE, slices=["sex"], **CUBED)


def test_a_metric_of_the_script_that_runs_is_refused_where_workers_do_not_read_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mean_cubed.function, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "mean_cubed", mean_cubed, raising=False)
    with pytest.raises(ek.errors.UsageError, match='"mean_cubed" stands in the script that runs'):
        ek.evaluate(folder, engine=beam(PROCESSES), **CUBED)


def test_a_bad_row_is_one_sentence_that_names_its_file(folder: Path) -> None:
    bad = frame_of(100).with_columns(p=pl.when(pl.int_range(100) == 42).then(None).otherwise(pl.col("p")))
    bad.write_parquet(folder / "3.parquet")
    with pytest.raises(ek.errors.DataError, match=r'"p" has 1 missing values.*row 42 of .*3\.parquet') as raised:
        ek.evaluate(folder, engine=beam(), **COLUMNS)
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 2


def test_values_that_are_too_many_together_are_refused(folder: Path) -> None:
    for k in range(7):
        frame_of(10).with_columns(sex=pl.lit(f"{k}")).write_parquet(folder / f"{k}.parquet")
    with pytest.raises(ek.errors.DataError, match=r'"sex" has .* distinct values, more than 5 slices'):
        ek.evaluate(folder, engine=beam(), slices=["sex"], max_slices=5, **COLUMNS)


def test_invalid_rows_are_dropped_and_counted(folder: Path) -> None:
    bad = frame_of(100).with_columns(p=pl.when(pl.int_range(100) < 7).then(None).otherwise(pl.col("p")))
    bad.write_parquet(folder / "3.parquet")
    assert assert_as_local(folder, [], drop_invalid=True).evaluations[0].dropped == 7


def test_a_file_with_a_bad_row_is_left_out_on_request(folder: Path) -> None:
    bad = frame_of(100).with_columns(p=pl.when(pl.int_range(100) == 42).then(None).otherwise(pl.col("p")))
    bad.write_parquet(folder / "3.parquet")
    found = assert_as_local(folder, [], skip_damaged=True)
    assert found.evaluations[0].skipped == (str(folder / "3.parquet"),)


def test_sums_pass_through_the_folder_and_leave_nothing_in_it(folder: Path, tmp_path: Path) -> None:
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    assert_as_local(folder, [f"--temp_location={meeting}"], metrics=["f1"])
    assert list(meeting.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ek.errors.ConfigError, match=r"Cannot write to .*file"):
        ek.evaluate(folder, engine=beam(folder=str(tmp_path / "file")), **COLUMNS)


def test_an_iterator_of_batches_cannot_be_sent() -> None:
    with pytest.raises(ek.errors.UsageError, match="iterator"):
        ek.evaluate(iter([frame_of(50)]), engine=beam(), **COLUMNS)


def _processes_under(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *_processes_under(child)]
    return found


def _command(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads processes as Linux shows them")
def test_a_worker_that_is_killed_ends_the_run_with_one_sentence_and_no_output(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", EVALUATE, str(folder), str(tmp_path / "out"), *PROCESSES]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    workers: list[int] = []
    try:
        while not workers:
            assert run.poll() is None, "the run ended before it had workers"
            time.sleep(0.05)
            all_of_it = _processes_under(run.pid)
            workers = [pid for pid in all_of_it if "apache_beam.runners.worker.sdk_worker_main" in _command(pid)[1:]]
        os.kill(workers[0], signal.SIGKILL)
        _, said = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 1
    assert said.strip().splitlines()[-1].startswith("A worker process of the Beam job was killed")
    assert not (tmp_path / "out").exists()
    assert not [pid for pid in all_of_it if Path(f"/proc/{pid}").exists() and _command(pid) != [""]]


# --- options ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--direct_num_worker=2"], 'has no option --direct_num_worker. Did you mean "direct_num_workers"'),
        (["--direct_num_workers=two"], "argument --direct_num_workers: invalid int value: 'two'"),
        (["--runner=FlinkRuner"], 'Did you mean "FlinkRunner"'),
        (["--runner=FlinkRunner", "--flink_master=cluster:8081"], "name a folder that they and this one can reach"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_a_wrong_option_is_one_sentence(options: list[str], message: str) -> None:
    with pytest.raises(ek.errors.ConfigError) as raised:
        beam(options)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


# --- sums between workers ---


def _sums(frame: pl.DataFrame, **asked: Any) -> Accumulator:
    work = planned(frame, **asked, **COLUMNS)
    return local.Run(work, open_source(frame).parts, workers=1).sums()


def test_sums_are_sent_without_the_work_that_every_worker_has() -> None:
    sums = _sums(frame_of(3000), metrics=["count", "f1"], slices=["sex"])
    payload = packed(sums.work, sums)
    assert len(payload) < 4000 < len(pickle.dumps(sums.work))
    back = unpacked(sums.work, payload)
    assert isinstance(back, Accumulator)
    assert back.work is sums.work
    assert back.rows == 3000


# --- pipelines of one's own ---


def _elements(frame: pl.DataFrame, kind: str) -> list[Any]:
    pieces = [frame.slice(start, 700) for start in range(0, frame.height, 700)]
    if kind == "record batches":
        return [batch for piece in pieces for batch in piece.to_arrow().to_batches()]
    if kind == "tables":
        return [piece.to_arrow() for piece in pieces]
    if kind == "dictionaries":
        return frame.to_dicts()
    return [apache_beam.Row(**row) for row in frame.drop("tags").to_dicts()]


@pytest.mark.parametrize("kind", ["record batches", "tables", "dictionaries", "rows"])
def test_a_pipeline_gives_the_result_of_its_rows(kind: str) -> None:
    frame = frame_of(2000)
    asked: dict[str, Any] = {
        "metrics": METRICS,
        "slices": ["sex", ["sex", "age=edges(30, 50)"]],
        "unit": "user",
        **COLUMNS,
    }
    work = planned(frame.head(500), **asked)
    expected = ek.evaluate(frame, engine="memory", **asked).to_polars()

    def check(found: list[ek.Result]) -> None:
        assert_frame_equal(found[0].to_polars(), expected, rel_tol=1e-9)
        assert len(found) == 1

    with apache_beam.Pipeline() as pipeline:
        assert_that(pipeline | apache_beam.Create(_elements(frame, kind)) | Evaluate(work), check)


def test_a_pipeline_gives_a_result_for_each_window() -> None:
    frame = frame_of(1000)
    work = planned(frame, metrics=["count", "f1"], slices=["sex"], **COLUMNS)
    parts = [frame.filter(pl.col("age") < 40), frame.filter(pl.col("age") >= 40)]
    expected = [ek.evaluate(part, metrics=["count", "f1"], slices=["sex"], **COLUMNS).to_polars() for part in parts]

    def check(found: list[ek.Result]) -> None:
        tables = sorted((result.to_polars() for result in found), key=lambda table: table["value"][0])
        for table, alone in zip(tables, sorted(expected, key=lambda table: table["value"][0]), strict=True):
            assert_frame_equal(table, alone, rel_tol=1e-9)

    def timed(row: dict[str, Any]) -> Any:
        return apache_beam.window.TimestampedValue(row, 0 if row["age"] < 40 else 100)

    with apache_beam.Pipeline() as pipeline:
        results = (
            pipeline
            | apache_beam.Create(frame.to_dicts())
            | apache_beam.Map(timed)
            | apache_beam.WindowInto(apache_beam.window.FixedWindows(60))
            | Evaluate(work)
        )
        assert_that(results, check, reify_windows=False)


def test_a_result_becomes_the_rows_of_its_table() -> None:
    frame = frame_of(300)
    expected = rows(ek.evaluate(frame, metrics=["count"], slices=["sex"], **COLUMNS))
    work = planned(frame, metrics=["count"], slices=["sex"], **COLUMNS)

    def check(found: list[dict[str, Any]]) -> None:
        assert [(r["slice"], r["value"]) for r in found] == [(r["slice"], r["value"]) for r in expected]

    with apache_beam.Pipeline() as pipeline:
        tables = pipeline | apache_beam.Create(frame.to_dicts()) | Evaluate(work) | apache_beam.FlatMap(rows)
        assert_that(tables, check)


def test_a_pipeline_without_rows_gives_no_result() -> None:
    work = planned(frame_of(50), metrics=["count"], **COLUMNS)

    def check(found: list[ek.Result]) -> None:
        assert found == []

    with apache_beam.Pipeline() as pipeline:
        assert_that(pipeline | apache_beam.Create([]) | Evaluate(work), check)


def test_a_bootstrap_of_rows_without_names_is_refused() -> None:
    work = planned(frame_of(50), metrics=["log_loss"], intervals=ek.bootstrap(50), **COLUMNS)
    with pytest.raises(ek.errors.UsageError, match="needs id= or unit="):
        Evaluate(work)
