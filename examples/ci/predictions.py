"""Writes a test set with the scores of two models, in place of your own scoring step.

    python predictions.py predictions.parquet --like blocked

`pass`: the new model is better. `blocked`: it is better, but worse where race is black. `insufficient`: it is as good,
and there are 150 rows.
"""

import argparse

import numpy as np
import polars as pl

ROWS = {"pass": 6_000, "blocked": 6_000, "insufficient": 150}


def predictions(like: str) -> pl.DataFrame:
    """Returns labels, both models' scores and the columns to slice by."""
    random = np.random.default_rng(7)
    rows = ROWS[like]
    label = random.integers(0, 2, rows)
    race = random.choice(["asian", "black", "white"], rows, p=[0.2, 0.2, 0.6])
    sex = random.choice(["female", "male"], rows)
    signal = label - 0.5
    noise = random.normal(0, 0.7, rows)  # both models see the rows alike, but for a little
    better = np.full(rows, 0.0 if like == "insufficient" else 0.8)
    if like == "blocked":
        better[race == "black"] = -0.8
    old = signal + noise + random.normal(0, 0.3, rows)
    new = signal * (1 + better) + noise + random.normal(0, 0.3, rows)
    return pl.DataFrame({"y": label, "old": probability(old), "new": probability(new), "race": race, "sex": sex})


def probability(log_odds: np.ndarray) -> np.ndarray:
    """Returns the probability of the positive class."""
    return 1 / (1 + np.exp(-2 * log_odds))


def main() -> None:
    """Reads the command line."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("file", help="the Parquet file to write")
    arguments.add_argument("--like", choices=list(ROWS), default="pass")
    given = arguments.parse_args()
    predictions(given.like).write_parquet(given.file)


if __name__ == "__main__":
    main()
