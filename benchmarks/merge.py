"""How long it takes to add the saved results of 1,000 shards, as `evalkit merge` does, and of 1,000 in memory.

python benchmarks/merge.py [--shards 1000]
"""

from __future__ import annotations

import argparse
import functools
import operator
import platform
import tempfile
import time
from pathlib import Path

import numpy as np

import evalkit as ek
from evalkit.score_bins import balanced
from evalkit.score_keys import keys
from evalkit.storage import load
from evalkit.sums import ScoreSums

SLICES, BINS = 561, 1024


def in_memory(shards: int) -> float:
    """Returns the seconds that adding histograms of 561 slices and 1,024 bins takes."""
    rng = np.random.default_rng(0)
    bins = balanced(keys(rng.beta(2, 3, 1 << 18), True), BINS // 2, "float64", True)
    drawn = [_histogram(bins.starts, rng) for _ in range(8)]
    parts = [ScoreSums(*part, None, None, bins, "float64", True, SLICES) for part in drawn]
    begun = time.perf_counter()
    total = parts[0]
    for index in range(1, shards):
        total = total.add(parts[index % len(parts)])
    return time.perf_counter() - begun


def _histogram(starts: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, None, np.ndarray]:
    """Returns slices, keys, groups and counts; a few entries hold nothing, and not the same ones each time."""
    count = rng.poisson(3.0, (SLICES * len(starts), 2))
    held = np.flatnonzero(count.any(axis=1))
    slices, place = np.divmod(held, len(starts))
    return slices.astype(np.int32), starts[place], None, count[held]


def on_disk(shards: int, folder: Path) -> tuple[float, float]:
    """Returns the seconds of reading and adding shards, and of the table after it."""
    rng = np.random.default_rng(1)
    metrics = ["roc_auc", "recall", "log_loss"]
    for index in range(shards):
        score = rng.beta(2, 3, 500)
        data = {"y": rng.random(500) < score, "p": score, "region": rng.integers(0, 10, 500)}
        ek.evaluate(data, label="y", score="p", slices=["region"], metrics=metrics).save(folder / f"{index:04d}")
    begun = time.perf_counter()
    total = functools.reduce(operator.add, (load(folder / f"{index:04d}") for index in range(shards)))
    added = time.perf_counter() - begun
    begun = time.perf_counter()
    total.to_polars()
    return added, time.perf_counter() - begun


def main() -> None:
    """Prints the seconds, the machine and versions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=1000)
    shards = parser.parse_args().shards
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, evalkit {ek.__version__}")
    print(f"{shards:,} histograms of {SLICES} slices x {BINS} bins added in memory: {in_memory(shards):.1f} s")
    with tempfile.TemporaryDirectory() as name:
        added, table = on_disk(shards, Path(name))
    print(f"{shards:,} saved shards read and added: {added:.1f} s, the table of all: {table:.1f} s")


if __name__ == "__main__":
    main()
