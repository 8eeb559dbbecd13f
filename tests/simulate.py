"""Predictions drawn from known laws, one slice for each replicate, so that one evaluation simulates thousands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

import evalkit as ek

LEVEL = 0.95


def binary(
    replicates: int,
    rows: int,
    seed: int,
    *,
    base: float = 0.2,
    gap: float = 1.0,
    units: int = 0,
    weighted: bool = False,
) -> pl.DataFrame:
    """Draws labels and their true probabilities, from a normal score `gap` apart between the classes.

    With `units`, rows of a unit share half of the variance of their labels and part of their scores'. With `weighted`,
    sampling weights depend on the score.
    """
    rng = np.random.default_rng(seed)
    n = replicates * rows
    shared = np.repeat(rng.normal(size=(2, replicates, max(units, 1))), rows // max(units, 1), axis=2).reshape(2, n)
    share = 0.5 if units else 0.0
    latent = np.sqrt(share) * shared[0] + np.sqrt(1 - share) * rng.normal(size=n)
    label = (latent > stats.norm.ppf(1 - base)).astype(np.int8)
    noise = np.sqrt(share * 0.8) * shared[1] + np.sqrt(1 - share * 0.8) * rng.normal(size=n)
    x = gap * label + noise
    log_odds = np.log(base / (1 - base)) + gap * x - gap**2 / 2
    columns: dict[str, Any] = {
        "replicate": np.repeat(np.arange(replicates), rows),
        "y": label,
        "p": 1 / (1 + np.exp(-log_odds)),
    }
    if units:
        columns["unit"] = np.tile(np.repeat(np.arange(units), rows // units), replicates)
    if weighted:
        columns["w"] = rng.lognormal(0, 0.7, n) * (1 + 2 * (x > 1))
    return pl.DataFrame(columns)


def numeric(replicates: int, rows: int, seed: int, law: str) -> pl.DataFrame:
    """Draws labels and predictions whose errors are `normal` or `laplace`."""
    rng = np.random.default_rng(seed)
    n = replicates * rows
    label = 20 + 3 * rng.normal(size=n)
    error = rng.normal(size=n) if law == "normal" else rng.laplace(size=n)
    return pl.DataFrame({"replicate": np.repeat(np.arange(replicates), rows), "y": label, "p": label + error})


def coverage(frame: pl.DataFrame, truth: pl.DataFrame, metrics: Sequence[str], **roles: Any) -> dict[str, float]:
    """Returns the share of replicates whose interval holds the value on a very large sample.

    Args:
        frame: replicates in the column `replicate`.
        truth: a large sample of the same law.
        metrics: names.
        **roles: more arguments of `evaluate`.
    """
    shared = {"label": "y", "metrics": list(metrics), "keep_rows": False, **roles}
    without_units = {name: value for name, value in shared.items() if name != "unit"}
    true = ek.evaluate(truth, **without_units)
    table = ek.evaluate(frame, slices=["replicate"], **shared).to_polars().filter(pl.col("slice") != "overall")
    found = {}
    for name in true.metrics:
        rows = table.filter((pl.col("metric") == name) & pl.col("low").is_finite())
        value = true[name].value
        found[name] = (
            float(((rows["low"] <= value) & (rows["high"] >= value)).to_numpy().mean()) if rows.height else 0.0
        )
    return found


def within(share: float, low: float, high: float, replicates: int) -> bool:
    """Tells whether a simulated share agrees with a true one in [low, high], by two-sided 99% binomial intervals."""
    bounds = stats.binom.ppf(0.005, replicates, low) / replicates, stats.binom.ppf(0.995, replicates, high) / replicates
    return bool(bounds[0] <= share <= bounds[1])
