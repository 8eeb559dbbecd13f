"""How often the paired bootstrap of accuracy calls two equal models different, at a two-sided .05.

    python benchmarks/bootstrap_errors.py [comparisons]

Each comparison has 1,000 rows, base rate .2; the models are exchangeable copies of one that differ in 10% of decisions.
"""

from __future__ import annotations

import sys

import numpy as np
import polars as pl
from scipy import stats

import evalkit as ek

ROWS, BATCH, CHANGED = 1000, 500, 100


def drawn(batch: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    n = batch * ROWS
    y = (rng.random(n) < 0.2).astype(int)
    right = rng.random(n) < 0.8
    place = np.argsort(rng.random((batch, ROWS)), axis=1)[:, :CHANGED] + ROWS * np.arange(batch)[:, None]
    other = right.copy()
    other[place] = ~right[place]
    swap = rng.random(n) < 0.5
    old, new = np.where(swap, right, other), np.where(swap, other, right)
    decided = {"old": np.where(old, y, 1 - y), "new": np.where(new, y, 1 - y)}
    return pl.DataFrame({"y": y, "r": np.repeat(np.arange(batch), ROWS), **decided})


def main() -> None:
    comparisons = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    rejected: list[bool] = []
    for seed in range(comparisons // BATCH):
        table = ek.compare(
            drawn(BATCH, seed),
            label="y",
            baseline="old",
            candidate="new",
            output="prediction",
            metrics=["accuracy"],
            slices=["r"],
            intervals=ek.bootstrap(1000, seed=seed),
        ).to_polars()
        rejected += (table.filter(pl.col("slice") != "overall")["p_value"] <= 0.05).to_list()
    low, high = (stats.binom.ppf(tail, len(rejected), 0.05) / len(rejected) for tail in (0.005, 0.995))
    rate = np.mean(rejected)
    print(f"{len(rejected):,} comparisons: {rate:.4f} called different (.05 would be {low:.4f} to {high:.4f})")


if __name__ == "__main__":
    main()
