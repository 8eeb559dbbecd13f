"""Differences in cost where expensive errors are rare, and costs among other metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

import evalkit as ek
from evalkit.adjust import holm


def moved(replicates: int, rows: int, share: float, raised: float, fn: float, fp: float) -> pl.DataFrame:
    """Draws a baseline, and a candidate that calls more rows positive so that its true expected cost stays the same."""
    rng = np.random.default_rng(0)
    n = replicates * rows
    y = (rng.random(n) < share).astype(int)
    of_positives = fp * (1 - share) * raised / (fn * share)
    old = np.where(rng.random(n) < np.where(y == 1, 0.5, 0.1), 0.9, 0.1)
    turned = rng.random(n) < np.where(y == 1, of_positives / 0.5, raised / 0.9)
    new = np.where((old < 0.5) & turned, 0.9, old)
    noise = rng.random((2, n)) * 1e-3
    return pl.DataFrame(
        {"y": y, "old": old + noise[0], "new": new + noise[1], "r": np.repeat(np.arange(replicates), rows)}
    )


@pytest.mark.parametrize(
    ("rows", "share", "raised", "fn", "fp"), [(300, 0.1, 0.09, 700, 40), (1000, 0.02, 0.05, 150, 5)]
)
def test_a_model_as_dear_as_the_other_is_seldom_called_dearer_though_dear_errors_are_rare(
    rows: int, share: float, raised: float, fn: float, fp: float
) -> None:
    replicates = 300
    table = ek.compare(
        moved(replicates, rows, share, raised, fn, fp),
        label="y",
        baseline="old",
        candidate="new",
        metrics=[f"expected_cost@fn={fn},fp={fp}"],
        slices=["r"],
    ).to_polars()[1:]
    for sign in (1, -1):
        called = (sign * table["delta"].to_numpy() > 0) & (table["p_value"].to_numpy() < 0.1)
        assert called.mean() <= stats.binom.ppf(0.995, replicates, 0.05) / replicates


def data(n: int = 400) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, n)
    old = 1 / (1 + np.exp(-(y + rng.normal(size=n))))
    return {"y": y, "old": old, "new": np.where(rng.random(n) < 0.3, rng.random(n), old), "u": np.arange(n) // 2}


def test_two_rows_of_the_dearest_class_are_in_the_standard_error() -> None:
    rows = data()
    comparison = ek.compare(
        rows, label="y", baseline="old", candidate="new", metrics=["expected_cost@fn=70,fp=4", "accuracy"]
    )
    delta = comparison.deltas()["expected_cost@fn=70,fp=4"]
    made_up = delta.contrast.error[0] ** 2 - delta.variance[0]
    np.testing.assert_allclose(made_up, 2 * (70 / 400) ** 2, rtol=1e-9)


def test_costs_by_row_make_up_rows_of_their_typical_amount() -> None:
    rows = data() | {"amount": np.linspace(1, 9, 400)}
    comparison = ek.compare(
        rows, label="y", baseline="old", candidate="new", metrics=["expected_cost@fn=amount,fp=0.5"]
    )
    delta = comparison.deltas()["expected_cost@fn=amount,fp=0.5"]
    typical = np.sqrt(np.mean(rows["amount"][rows["y"] == 1] ** 2))
    np.testing.assert_allclose(delta.contrast.error[0] ** 2 - delta.variance[0], 2 * (typical / 400) ** 2, rtol=1e-9)


def test_metrics_of_cost_count_as_one_among_the_metrics_adjusted_for() -> None:
    shared: dict[str, Any] = {"label": "y", "baseline": "old", "candidate": "new", "metrics": ["accuracy", "roc_auc"]}
    table = ek.compare(data(), **shared, costs=ek.Costs(fn=3, fp=2)).to_polars()
    p = dict(table.select("metric", "p_value").iter_rows())
    adjusted = dict(table.select("metric", "p_adjusted").iter_rows())
    cost = "expected_cost@fn=3,fp=2"
    expected = holm(np.array([p["accuracy"], p["roc_auc"], p[cost]]))
    assert [adjusted[name] for name in ("accuracy", "roc_auc", cost)] == pytest.approx(expected.tolist())
    saved = "cost_saved@fn=3,fp=2"
    assert adjusted[saved] == pytest.approx(holm(np.array([p["accuracy"], p["roc_auc"], p[saved]]))[2])


@pytest.mark.parametrize("unit", [None, "u"])
def test_heavy_tails_are_told_of_clustered_rows_too(unit: str | None) -> None:
    rows = data() | {"amount": np.random.default_rng(0).lognormal(0, 2.5, 400)}
    result = ek.evaluate(rows, label="y", score="old", unit=unit, metrics=["expected_cost@fn=amount,fp=1"])
    assert "heavy tail" in result.to_polars()["note"][0]


def test_scores_outside_0_and_1_have_a_default_set_of_metrics() -> None:
    rows = data()
    result = ek.evaluate(rows | {"s": rows["old"] * 10 - 5}, label="y", score="s")
    assert result.metrics == ["count", "roc_auc", "average_precision"]
