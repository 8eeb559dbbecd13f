"""How much longer an evaluation takes with 1,000 bootstrap replicates: metrics at one threshold, 561 slices.

    python benchmarks/bootstrap.py                          5,000,000 rows in memory, median of 5
    python benchmarks/bootstrap.py --data FOLDER/*.parquet  columns score, label, region and product

Both sides run in turns in the same process, the results table included. Replicates are drawn from sums, so that their
time does not grow with the rows; the aim is at most twice the time without them.
"""

import argparse
import os
import platform
import statistics
import time
from importlib.metadata import version
from typing import Any

import numpy as np
import polars as pl

import evalkit as ek

METRICS = [
    "accuracy",
    "precision",
    "recall",
    "f1",
    "positive_prediction_rate",
    "false_positive_rate",
    "false_negative_rate",
    "balanced_accuracy",
    "matthews_corrcoef",
]
SLICES: list[str | list[str]] = ["region", "product", ["region", "product"]]
TARGET = 2.0


def machine() -> str:
    """Returns the machine and the versions that the numbers are of."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("evalkit", "jax", "numpy", "polars"))
    processor = platform.processor() or platform.machine()
    return f"{processor}, {os.cpu_count()} cores; {platform.system()}\nPython {platform.python_version()}, {versions}"


def synthetic(rows: int, seed: int = 0) -> pl.DataFrame:
    """Returns informative scores of a label with a base rate of about .2, in 10 regions and 50 products."""
    rng = np.random.default_rng(seed)
    label = (rng.random(rows) < 0.2).astype(np.int8)
    score = 1 / (1 + np.exp(-(rng.standard_normal(rows) + 1.5 * label - 1.5)))
    regions, products = (np.array([f"{name}-{i:02d}" for i in range(n)]) for name, n in (("r", 10), ("p", 50)))
    return pl.DataFrame(
        {
            "score": score.astype(np.float32),
            "label": label,
            "region": regions[rng.integers(0, 10, rows)],
            "product": products[rng.integers(0, 50, rows)],
        }
    )


def seconds(data: Any, intervals: Any) -> tuple[float, int, int]:
    """Returns the seconds of an evaluation and its table, its rows and its slices."""
    start = time.perf_counter()
    metrics = [f"{name}@threshold=0.5" for name in METRICS]
    result = ek.evaluate(
        data, label="label", score="score", metrics=metrics, slices=SLICES, intervals=intervals, keep_rows=False
    )
    table = result.to_polars()
    return time.perf_counter() - start, int(table["rows"][0]), len(result.slices)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="Parquet files instead of made-up rows: a folder or a pattern")
    parser.add_argument("--rows", type=int, default=5_000_000, help="made-up rows (5,000,000)")
    parser.add_argument("--replicates", type=int, default=1000, help="bootstrap replicates (1,000)")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each side (5)")
    asked = parser.parse_args()
    data = asked.data or synthetic(asked.rows)
    sides: dict[str, Any] = {"analytic": "analytic", "bootstrap": ek.bootstrap(asked.replicates)}
    found: dict[str, list[float]] = {name: [] for name in sides}
    rows = slices = 0
    for turn in range(asked.repeats + 1):
        for name, intervals in sides.items():
            took, rows, slices = seconds(data, intervals)
            if turn:
                found[name].append(took)
    without, with_them = (statistics.median(found[name]) for name in sides)
    print(machine())
    print(f"{rows:,} rows, {slices} slices, {len(METRICS)} metrics at one threshold, {asked.replicates:,} replicates")
    print(f"{'without, s':>12}{'with, s':>12}{'ratio':>8}{'target':>8}  reached   medians of {asked.repeats}")
    ratio = with_them / without
    reached = "yes" if ratio <= TARGET else "NO"
    print(f"{without:>12.3f}{with_them:>12.3f}{ratio:>8.2f}{TARGET:>8.1f}  {reached}")


if __name__ == "__main__":
    main()
