"""How often tests call two equal models different, at a two-sided .05: McNemar's, DeLong's and the paired bootstrap.

    python benchmarks/error_rates.py [comparisons]

Each comparison has 1,000 rows, base rate .2. For decisions the models are exchangeable copies of one that differ in 10%
of decisions, drawn at random; for DeLong's test 10% of the candidate's scores are drawn anew from the same law given
the label.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
import polars as pl
from scipy import stats

import evalkit as ek
from evalkit.significance import Method, delong, mcnemar

ROWS, BATCH, CHURN, ALPHA = 1000, 500, 0.1, 0.05


def drawn(batch: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    n = batch * ROWS
    y = (rng.random(n) < 0.2).astype(int)
    right = rng.random(n) < 0.8
    other = np.where(rng.random(n) < CHURN, ~right, right)
    swap = rng.random(n) < 0.5
    old, new = np.where(swap, right, other), np.where(swap, other, right)
    decided = {"old": np.where(old, y, 1 - y), "new": np.where(new, y, 1 - y)}
    return pl.DataFrame({"y": y, "r": np.repeat(np.arange(batch), ROWS), **decided})


def main() -> None:
    comparisons = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    rejected: dict[str, list[bool]] = {}
    for seed in range(comparisons // BATCH):
        rows = drawn(BATCH, seed)
        right = [(rows[name] == rows["y"]).to_numpy().reshape(BATCH, ROWS) for name in ("old", "new")]
        lost, gained = ((mine & ~other).sum(1) for mine, other in (right, right[::-1]))
        for method in get_args(Method):
            rejected.setdefault(f"McNemar, {method}", []).extend(mcnemar(lost, gained, method).p_value <= ALPHA)
        rejected.setdefault("DeLong, t", []).extend(delong(*run).p_t <= ALPHA for run in scored(BATCH, seed))
        rejected.setdefault("bootstrap of accuracy", []).extend(bootstrapped(rows, seed))
    low, high = (stats.binom.ppf(tail, comparisons, ALPHA) / comparisons for tail in (0.005, 0.995))
    print(f"{comparisons:,} comparisons; a test that errs in 5% lies between {low:.4f} and {high:.4f}")
    for name, answers in rejected.items():
        print(f"{name:<24}{np.mean(answers):.4f}")


def scored(batch: int, seed: int) -> Iterator[tuple[Any, Any, Any]]:
    rng = np.random.default_rng(seed)
    for _ in range(batch):
        y = (rng.random(ROWS) < 0.2).astype(int)
        old, anew = (rng.normal(size=ROWS) + y for _ in range(2))
        yield y, old, np.where(rng.random(ROWS) < CHURN, anew, old)


def bootstrapped(rows: pl.DataFrame, seed: int) -> list[bool]:
    table = ek.compare(
        rows,
        label="y",
        baseline="old",
        candidate="new",
        output="prediction",
        metrics=["accuracy"],
        slices=["r"],
        intervals=ek.bootstrap(1000, seed=seed),
    ).to_polars()
    answers: list[bool] = (table.filter(pl.col("slice") != "overall")["p_value"] <= ALPHA).to_list()
    return answers


if __name__ == "__main__":
    main()
