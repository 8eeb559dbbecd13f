"""How long `evalkit merge` takes for the saved sums of 1,000 shards: 561 slices, 1,024 bins of scores and more.

    python benchmarks/merge.py [--shards 1000]

Eight days are evaluated and saved; the shards are links to them. Once all days have the same bins, as shards of one
job do, and once each day has bins of its own, which are then rolled up to those that all have in common.
"""

import argparse
import os
import platform
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
import polars as pl

import evalkit as ek
from evalkit.results import total
from evalkit.saved import _read

DAYS, ROWS = 8, 1_000_000
BUDGET = 32 * 2**20


class Unheard:
    def __call__(self, step: str) -> None:
        """Says nothing."""

    def detail(self, text: str) -> None:
        """Says nothing."""


def save_days(folder: Path) -> int:
    """Evaluates and saves the days, and returns the bins that a day's scores have."""
    bins = 0
    for day in range(DAYS):
        rng = np.random.default_rng(day)
        score = rng.beta(2, 3 + day % 3, ROWS).astype(np.float32)
        frame = pl.DataFrame(
            {
                "label": (rng.random(ROWS) < score).astype(np.int8),
                "score": score,
                "region": rng.integers(0, 10, ROWS),
                "product": rng.integers(0, 50, ROWS),
            }
        )
        result = ek.evaluate(
            frame,
            label="label",
            score="score",
            slices=["region", "product", ["region", "product"]],
            budget_bytes=BUDGET,
            keep_rows=False,
        )
        sums = result.evaluations[0].sums["score_histogram"]
        bins = max(bins, len(sums.bins or ()))
        result.save(folder / f"day-{day}")
    return bins


def merged(folder: Path, days: int, shards: int) -> tuple[float, int]:
    """Returns the seconds that reading and adding takes, and the bins that are left."""
    folders = []
    for shard in range(shards):
        link = folder / f"shard-{days}-{shard:04d}"
        link.symlink_to(folder / f"day-{shard % days}")
        folders.append(str(link))
    begun = time.perf_counter()
    result = total(_read(folders, Unheard()))
    taken = time.perf_counter() - begun
    assert result.evaluations[0].n == shards * ROWS
    return taken, len(result.evaluations[0].sums["score_histogram"].bins or ())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=1000)
    shards = parser.parse_args().shards
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}, ", end="")
    print(f"evalkit {ek.__version__}, JAX {jax.__version__}, Polars {pl.__version__}, NumPy {np.__version__}")
    with tempfile.TemporaryDirectory() as name:
        bins = save_days(Path(name))
        for days, words in ((1, "the same bins"), (DAYS, "bins of their own")):
            taken, left = merged(Path(name), days, shards)
            print(f"{shards:,} shards of 561 slices, {bins:,} bins, {words}: {taken:.1f} s; {left:,} bins left")


if __name__ == "__main__":
    main()
