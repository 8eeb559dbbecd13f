"""Compares the time of an evaluation with that of four peers, on the same rows and with the same answers.

    python benchmarks/peers.py                     all peers, median of 5
    python benchmarks/peers.py --only polars       one of fairlearn, tfma, sklearn, polars

TFMA lives in an environment of its own, `.venv-peers`, which `make test-peers` makes. A peer that is not installed is
listed as such. The values of both sides are compared in the same run: a peer that answers differently ends it.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
from tfma_run import METRICS as SCORED

import evalkit as ek

ROOT = Path(__file__).resolve().parents[1]
SLICES: list[str | list[str]] = ["region", "product", ["region", "product"]]
DECIDED = [
    "accuracy",
    "precision",
    "recall",
    "f1",
    "positive_prediction_rate",
    "false_positive_rate",
    "false_negative_rate",
]
CURVES = ["accuracy", "precision", "recall", "f1", "false_positive_rate", "roc_auc", "average_precision"]

T = TypeVar("T")
Values = dict[tuple[str, str], float]  # (slice, metric) -> value


@dataclass(frozen=True)
class Row:
    """One line of the table: seconds of both sides, and the bound that their ratio must keep."""

    peer: str
    work: str
    ours: list[float]
    theirs: list[float]
    faster_by: float | None = None  # at least
    slower_by: float | None = None  # at most
    note: str = ""

    def cells(self) -> list[str]:
        if not self.theirs:
            return [self.peer, self.work, "", "", "", "", "", self.note]
        ours, theirs = statistics.median(self.ours), statistics.median(self.theirs)
        if self.slower_by is not None:
            ratio, wanted = f"{ours / theirs:.2f} x its time", f"<= {self.slower_by:g} x"
            reached = ours <= self.slower_by * theirs
        else:
            ratio, wanted = f"{theirs / ours:,.0f} x faster", f">= {self.faster_by:g} x" if self.faster_by else "-"
            reached = theirs >= (self.faster_by or 0) * ours
        runs = f"{len(self.ours)} / {len(self.theirs)}"
        verdict = "-" if wanted == "-" else "yes" if reached else "NO"
        return [self.peer, self.work, f"{ours:.4f}", f"{theirs:.4f}", runs, ratio, wanted, verdict]


def synthetic(rows: int, seed: int = 0) -> pl.DataFrame:
    """Returns informative scores of a label with a base rate of about .2, in 10 regions and 50 products."""
    random = np.random.default_rng(seed)
    label = random.random(rows) < 0.2
    logit = 1.5 * label - 1.8 + random.standard_normal(rows)
    columns: dict[str, Any] = {
        "label": label.astype(np.int8),
        "score": (1 / (1 + np.exp(-logit))).astype(np.float32),
    }
    for column, letter, size in (("region", "r", 10), ("product", "p", 50)):
        names = pl.Series(column, [f"{letter}{index}" for index in range(size)])
        columns[column] = names.gather(random.integers(0, size, rows))
    return pl.DataFrame(columns).with_columns(prediction=(pl.col("score") >= 0.5).cast(pl.Int8))


def timed(call: Callable[[], T], repeats: int) -> tuple[list[float], T]:
    """Returns the seconds of each repetition and the last answer, after one call that is not counted."""
    answer = call()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        answer = call()
        seconds.append(time.perf_counter() - started)
    return seconds, answer


def values(table: pl.DataFrame) -> Values:
    return {(row["slice"], row["metric"]): row["value"] for row in table.iter_rows(named=True)}


def same_answers(peer: str, ours: Values, theirs: Values, tolerance: Mapping[str, float] | None = None) -> str:
    """Returns how many values agree; stops the benchmark at one that does not, or at one that we do not have."""
    for key, expected in theirs.items():
        bound = (tolerance or {}).get(key[1], 1e-5)
        if key not in ours or not math.isclose(ours[key], expected, rel_tol=0, abs_tol=bound):
            raise SystemExit(f"{peer}: {key[1]} of {key[0]} is {expected}, ours is {ours.get(key)} (tolerance {bound})")
    return f"{len(theirs):,} values agree with {peer}"


def keyed(table: pl.DataFrame, columns: list[str]) -> Iterable[tuple[str, dict[str, Any]]]:
    """Yields the name of the slice that each row of a group-by answers for, and the row."""
    for row in table.iter_rows(named=True):
        yield ", ".join(f"{column}={row[column]}" for column in columns) or "overall", row


def versus_fairlearn(arguments: argparse.Namespace) -> list[Row]:
    work = "1,000,000 rows, 10 groups, 7 metrics"
    if find_spec("fairlearn") is None:
        return [Row("fairlearn", work, [], [], note="not installed")]
    from fairlearn.metrics import MetricFrame, false_negative_rate, false_positive_rate, selection_rate
    from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

    functions = (
        accuracy_score,
        precision_score,
        recall_score,
        f1_score,
        selection_rate,
        false_positive_rate,
        false_negative_rate,
    )
    frame = synthetic(1_000_000)
    label, prediction, region = (frame[column].to_numpy() for column in ("label", "prediction", "region"))

    def theirs() -> Values:
        answer = MetricFrame(
            metrics=dict(zip(DECIDED, functions, strict=True)),
            y_true=label,
            y_pred=prediction,
            sensitive_features=region,
        )
        slices = {"overall": answer.overall} | {f"region={key}": row for key, row in answer.by_group.iterrows()}
        return {(name, metric): float(row[metric]) for name, row in slices.items() for metric in DECIDED}

    def ours() -> pl.DataFrame:
        evaluated = ek.evaluate(frame, label="label", prediction="prediction", metrics=DECIDED, slices=["region"])
        return evaluated.to_polars()

    our_seconds, table = timed(ours, arguments.repeats)
    their_seconds, answer = timed(theirs, arguments.repeats)
    print(same_answers("fairlearn", values(table), answer))
    return [Row("fairlearn", work, our_seconds, their_seconds, faster_by=500)]


def versus_tfma(arguments: argparse.Namespace) -> list[Row]:
    work = "100,000 rows, 561 slices, 7 metrics"
    look = "import importlib.util as u, sys; sys.exit(u.find_spec('tensorflow_model_analysis') is None)"
    python = str(arguments.peers_python)
    if not Path(python).exists() or subprocess.run([python, "-c", look], check=False).returncode:
        return [Row("tfma", work, [], [], note="not installed (make test-peers)")]
    frame = synthetic(100_000)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        frame.write_parquet(path)
        script = ROOT / "benchmarks" / "tfma_run.py"
        command = [python, str(script), str(path), "--repeats", str(arguments.peer_repeats)]
        answer = json.loads(run(command).splitlines()[-1])
        cold = cold_processes(path, arguments.repeats)
    seconds, table = timed(lambda: scored(frame), arguments.repeats)
    expected = {(name, metric): value for name, row in answer["values"].items() for metric, value in row.items()}
    # TFMA approximates both areas by 10,000 thresholds, and interpolates precision between them.
    tolerance = {"roc_auc": 1e-3, "average_precision": 0.03}
    print(same_answers(f"tfma {answer['version']}", values(table), expected, tolerance))
    return [
        Row("tfma", work, seconds, answer["seconds"], faster_by=500),
        Row("tfma, cold process", work, cold, answer["seconds"], faster_by=30),
    ]


def scored(frame: pl.DataFrame) -> pl.DataFrame:
    evaluated = ek.evaluate(frame, label="label", score="score", metrics=list(SCORED), slices=SLICES, strict=True)
    return evaluated.to_polars()


def cold_processes(path: Path, repeats: int) -> list[float]:
    """Returns the wall time of whole processes that read the file and evaluate it.

    A first process fills the compilation cache, and Python's bytecode, which an installer may have left out.
    """
    code = (
        "import sys, evalkit as ek;"
        f"ek.evaluate(sys.argv[1], label='label', score='score', metrics={list(SCORED)}, slices={SLICES}, strict=True)"
        ".to_polars()"
    )
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", code, str(path)]
        settings = {
            "EVALKIT_CACHE": f"{folder}/compiled",
            "PYTHONPYCACHEPREFIX": f"{folder}/bytecode",
            "PYTHONDONTWRITEBYTECODE": "",
        }
        return timed(lambda: run(command, settings), repeats)[0]


def run(command: list[str], settings: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(settings or {})}, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:2])} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def versus_sklearn(arguments: argparse.Namespace) -> list[Row]:
    work = "100,000 rows, 561 slices, 7 metrics"
    if find_spec("sklearn") is None or find_spec("pandas") is None:
        return [Row("sklearn, pandas group-by", work, [], [], note="not installed")]
    import pandas as pd
    from sklearn import metrics

    frame = synthetic(100_000)
    rows = frame.to_pandas()

    def answers(part: pd.DataFrame) -> pd.Series:
        label, score, prediction = part["label"], part["score"].astype(float), part["prediction"]
        return pd.Series(
            {
                "accuracy": metrics.accuracy_score(label, prediction),
                "precision": metrics.precision_score(label, prediction, zero_division=np.nan),
                "recall": metrics.recall_score(label, prediction, zero_division=np.nan),
                "roc_auc": metrics.roc_auc_score(label, score),
                "average_precision": metrics.average_precision_score(label, score),
                "log_loss": metrics.log_loss(label, score, labels=[0, 1]),
                "brier_score": metrics.brier_score_loss(label, score),
            }
        )

    def theirs() -> Values:
        overall = answers(rows)
        found = {("overall", metric): float(overall[metric]) for metric in SCORED}
        for columns in (["region"], ["product"], ["region", "product"]):
            grouped = pl.from_pandas(rows.groupby(columns)[list(rows.columns)].apply(answers).reset_index())
            found |= {(name, metric): row[metric] for name, row in keyed(grouped, columns) for metric in SCORED}
        return found

    our_seconds, table = timed(lambda: scored(frame), arguments.repeats)
    their_seconds, answer = timed(theirs, arguments.repeats)
    print(same_answers("sklearn", values(table), answer))
    return [Row("sklearn, pandas group-by", work, our_seconds, their_seconds)]


def versus_polars(arguments: argparse.Namespace) -> list[Row]:
    """Compares counts by hand, twice: as one group-by for each slice set, and as one that is rolled up."""
    work = "10,000,000 rows, 561 slices, 4 counts"
    frame = synthetic(10_000_000)
    called, positive = pl.col("score") >= 0.5, pl.col("label") == 1
    counts = {
        "tp": (called & positive).sum(),
        "fp": (called & ~positive).sum(),
        "fn": (~called & positive).sum(),
        "tn": (~called & ~positive).sum(),
    }
    again = [pl.col(name).sum() for name in counts]

    def each() -> list[pl.DataFrame]:
        lazy = frame.lazy()
        grouped = [lazy.group_by(keys).agg(**counts) for keys in (["region"], ["product"], ["region", "product"])]
        return pl.collect_all([lazy.select(**counts), *grouped])

    def rolled_up() -> list[pl.DataFrame]:
        cells = frame.lazy().group_by("region", "product").agg(**counts).collect()
        return [cells.select(again), cells.group_by("region").agg(again), cells.group_by("product").agg(again), cells]

    def ours() -> pl.DataFrame:
        return ek.evaluate(frame, label="label", score="score", metrics=CURVES, slices=SLICES).to_polars()

    our_seconds, table = timed(ours, arguments.repeats)
    found = []
    for peer, by_hand in (("polars, a group-by a set", each), ("polars, one rolled up", rolled_up)):
        seconds, tables = timed(by_hand, arguments.repeats)
        answer = {
            (name, "recall"): row["tp"] / (row["tp"] + row["fn"])
            for counted, columns in zip(tables, ([], ["region"], ["product"], ["region", "product"]), strict=True)
            for name, row in keyed(counted, columns)
        }
        print(same_answers(peer, values(table), answer))
        found.append(Row(peer, work, our_seconds, seconds, slower_by=2))
    return found


PEERS = {
    "fairlearn": versus_fairlearn,
    "tfma": versus_tfma,
    "sklearn": versus_sklearn,
    "polars": versus_polars,
}


def machine() -> str:
    """Returns the processor, cores, memory and the versions that the times belong to."""
    model = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = [line for line in information.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = [f"Python {platform.python_version()}"]
    for name in ("evalkit", "jax", "numpy", "polars", "pandas", "scikit-learn", "fairlearn"):
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            versions.append(f"{name} {ek.__version__ if name == 'evalkit' else 'not installed'}")
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB; {platform.system()}\n{', '.join(versions)}"


def layout(rows: list[Row]) -> str:
    head = ["peer", "work", "ours, s", "peer's, s", "runs", "ratio", "target", "reached"]
    lines = [head, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PEERS, action="append", help="a peer; may be given more than once")
    parser.add_argument("--repeats", type=int, default=5, help="the median is of so many (default 5)")
    parser.add_argument("--peer-repeats", type=int, default=1, help="the same for TFMA, which is slow (default 1)")
    parser.add_argument(
        "--peers-python",
        type=Path,
        default=ROOT / ".venv-peers" / "bin" / "python",
        help="an interpreter that has TFMA (default .venv-peers/bin/python)",
    )
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print(machine(), flush=True)
    rows = [row for name in arguments.only or PEERS for row in PEERS[name](arguments)]
    print(layout(rows))


if __name__ == "__main__":
    main()
