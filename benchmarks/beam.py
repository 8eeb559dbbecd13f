"""What Apache Beam costs: an empty job, and rows a second of each worker, beside threads of one process.

    python benchmarks/beam.py [--data FOLDER] [--files 4] [--rows 4000000] [--workers 2] [--repeats 3]

Evaluates the same Parquet files (columns score, label, region, product) with threads and with Beam's runner in this
process and in worker processes. The fixed cost is the time of a job over one file of 1,000 rows; rows a second are over
the time beyond that. Needs `evalkit[beam]`, so it runs in the environment of `make test-peers`:
`.venv-peers/bin/python benchmarks/beam.py`.
"""

import argparse
import logging
import os
import platform
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl

import evalkit as ek
from evalkit.engines.beam import beam

ASKED = {"label": "label", "score": "score", "metrics": ["count", "roc_auc", "log_loss", "f1"]}
SLICES = ["region", "product", ["region", "product"]]


def made(folder: Path, rows: int, files: int) -> Path:
    """Writes rows that look like predictions."""
    rng = np.random.default_rng(0)
    for k in range(files):
        n = rows // files
        score = (rng.random(n) ** 2).astype(np.float32)
        columns = {
            "score": score,
            "label": (rng.random(n) < score).astype(np.int8),
            "region": pl.Series(rng.integers(0, 10, n)).cast(pl.String),
            "product": pl.Series(rng.integers(0, 50, n)).cast(pl.String),
        }
        pl.DataFrame(columns).write_parquet(folder / f"{k}.parquet", row_group_size=1 << 17)
    return folder


def seconds(data, engine, repeats: int, **more) -> float:
    """Returns the median time of an evaluation, after one that compiles."""
    taken = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        ek.evaluate(data, engine=engine, slices=SLICES, **ASKED, **more)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a folder of Parquet files; by default some are made")
    parser.add_argument("--files", type=int, default=4, help="how many files of it")
    parser.add_argument("--rows", type=int, default=4_000_000, help="how many rows are made")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    if find_spec("apache_beam") is None:
        sys.exit(print("Apache Beam is not installed here: .venv-peers/bin/python benchmarks/beam.py"))
    logging.disable(logging.WARNING)
    packages = ", ".join(f"{name} {version(name)}" for name in ("apache-beam", "jax", "polars", "pyarrow", "numpy"))
    print(f"{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, {packages}")
    with tempfile.TemporaryDirectory() as folder:
        few, many = Path(folder, "few"), Path(folder, "many")
        for path in (few, many):
            path.mkdir()
        made(few, 1000, 1)
        data = [*sorted((given.data or made(many, given.rows, given.files)).glob("*.parquet"))][: given.files]
        rows = pl.scan_parquet(data).select(pl.len()).collect().item()
        processes = ["--direct_running_mode=multi_processing", f"--direct_num_workers={given.workers}"]
        ways = [
            ("threads, 1", 1, "local", {"workers": 1}),
            (f"threads, {given.workers}", given.workers, "local", {"workers": given.workers}),
            ("Beam, in this process", 1, beam(), {}),
            (f"Beam, {given.workers} processes", given.workers, beam(processes), {}),
        ]
        print(f"{rows:,} rows in {len(data)} files; median of {given.repeats}")
        print(f"{'':24}{'empty s':>9}{'all s':>9}{'rows/s':>13}{'rows/s a worker':>17}")
        for name, workers, engine, more in ways:
            empty = seconds(few, engine, given.repeats, **more)
            whole = seconds([str(path) for path in data], engine, given.repeats, **more)
            speed = rows / (whole - empty)
            print(f"{name:24}{empty:9.2f}{whole:9.2f}{speed:13,.0f}{speed / workers:17,.0f}", flush=True)


if __name__ == "__main__":
    main()
