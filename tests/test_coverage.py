"""Intervals reach what they promise, by kind, on data whose truth is known.

The targets are those of methods that were compared before: where no method reaches 95%, the target says what is
reached.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import simulate
from scipy import stats

import evalkit as ek
from evalkit.interval import critical, wilson

RATES = ["accuracy@0.3", "recall@0.3", "precision@0.3", "false_positive_rate@0.3", "positive_prediction_rate@0.3"]
OVERLAPS = ["f1@0.3", "fbeta@beta=2,threshold=0.3", "jaccard@0.3"]
SUMS_OF_RATES = ["balanced_accuracy@0.3", "informedness@0.3", "markedness@0.3"]
CORRELATIONS = ["matthews_corrcoef@0.3", "cohen_kappa@0.3"]
RATIOS = [f"{name}@0.3" for name in ("positive_likelihood_ratio", "negative_likelihood_ratio", "diagnostic_odds_ratio")]
MEANS = [
    "average_precision",
    "log_loss",
    "brier_score",
    "calibration_ratio",
    "calibration_slope",
    "calibration_intercept",
]
ERRORS = ["rmse", "mse", "mae", "mean_error", "r2", "pearson_r", "mean_pinball_loss", "huber_loss"]


def test_wilson_intervals_cover_as_enumerated() -> None:
    """Over a grid of p, exactly: at least .84 at n = 20 and .91 at n = 200; about 95% in the middle."""
    for n, least in ((20, 0.83), (200, 0.90)):
        p = np.linspace(0.001, 0.999, 999)
        counts = np.arange(n + 1)
        low, high = wilson(counts / n, np.full(n + 1, float(n)), critical(0.95))
        inside = (low[:, None] <= p) & (p <= high[:, None])
        covered = (stats.binom.pmf(counts[:, None], n, p) * inside).sum(0)
        assert covered.min() >= least
        middle = (p > 0.05) & (p < 0.95)
        assert 0.93 <= covered[middle].mean() <= 0.97


@pytest.mark.parametrize("roles", [{}, {"weight": "w"}, {"weight": "w", "unit": "u"}], ids=["rows", "weight", "unit"])
def test_a_rate_of_everybody_or_nobody_has_wilsons_interval_of_its_rows(roles: dict[str, Any]) -> None:
    """Of any number of rows: what rounding leaves of the variance is no variance."""
    rows = np.arange(5, 65)
    n = np.repeat(rows, rows)
    data = {"n": n, "y": np.ones(len(n), int), "p": np.full(len(n), 0.9), "w": np.full(len(n), 0.1)}
    data["u"] = np.arange(len(n))
    metrics = ["recall@0.5", "positive_prediction_rate@0.5", "false_negative_rate@0.5", "f1@0.5"]
    found = ek.evaluate(data, label="y", score="p", metrics=metrics, slices=["n"], **roles).to_polars()
    found = found.filter(pl.col("slice") != "overall")
    assert len(found) == len(rows) * len(metrics)
    expected = stats.norm.ppf(0.975) ** 2 / (found["rows"] + stats.norm.ppf(0.975) ** 2)
    width = (found["high"] - found["low"]).to_numpy()
    assert set(found["note"].str.contains("do not vary")) == {False}
    if "unit" not in roles:
        assert width == pytest.approx(expected.to_numpy(), rel=1e-9)
    assert (width >= expected.to_numpy() * (1 - 1e-9)).all()


def _binary(rows: int, replicates: int, metrics: list[str], low: float, high: float, **law: Any) -> None:
    roles = {"score": "p"}
    if law.get("units"):
        roles["unit"] = "unit"
    if law.get("weighted"):
        roles["weight"] = "w"
    large = {**law, "units": 200_000} if law.get("units") else law
    frame = simulate.binary(replicates, rows, 7, **law)
    truth = simulate.binary(1, 2_000_000, 8, **large)
    for name, share in simulate.coverage(frame, truth, metrics, **roles).items():
        assert simulate.within(share, low, high, replicates), (name, rows, share)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [200, 1000])
def test_intervals_of_rates_cover(rows: int) -> None:
    _binary(rows, 1500, RATES, 0.93, 0.97)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [50, 200, 1000])
def test_intervals_of_f_scores_cover(rows: int) -> None:
    _binary(rows, 1500, OVERLAPS, 0.94, 0.965)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [50, 200])
def test_intervals_of_sums_of_rates_and_of_correlations_cover(rows: int) -> None:
    _binary(rows, 1500, SUMS_OF_RATES, 0.94, 0.965)
    _binary(rows, 1500, CORRELATIONS, 0.935, 0.965)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [50, 200])
def test_intervals_of_likelihood_ratios_cover(rows: int) -> None:
    _binary(rows, 1500, RATIOS, 0.94, 0.985)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "base", "low", "high"), [(200, 0.2, 0.94, 0.965), (100, 0.2, 0.93, 0.97), (100, 0.1, 0.91, 0.965)]
)
def test_intervals_of_roc_auc_cover(rows: int, base: float, low: float, high: float) -> None:
    _binary(rows, 2000, ["roc_auc", "gini"], low, high, base=base)


@pytest.mark.slow
def test_intervals_of_means_of_scores_cover_from_a_thousand_rows() -> None:
    _binary(1000, 1500, MEANS, 0.92, 0.965)


@pytest.mark.slow
def test_intervals_of_chosen_thresholds_cover() -> None:
    chosen = [
        "recall_at_precision@0.5",
        "precision_at_recall@0.6",
        "sensitivity_at_specificity@0.8",
        "threshold_at_recall@0.8",
    ]
    _binary(1000, 200, chosen, 0.92, 0.96)


@pytest.mark.slow
@pytest.mark.parametrize("law", ["normal", "laplace"])
def test_intervals_of_regression_errors_cover_from_a_thousand_rows(law: str) -> None:
    frame, truth = simulate.numeric(1000, 1000, 9, law), simulate.numeric(1, 2_000_000, 10, law)
    for name, share in simulate.coverage(frame, truth, ERRORS, prediction="p", task="regression").items():
        assert simulate.within(share, 0.935, 0.96, 1000), (name, share)


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "low"), [(200, 0.93), (1000, 0.945)])
def test_intervals_of_weighted_rates_cover(rows: int, low: float) -> None:
    _binary(rows, 1500, [*RATES, "f1@0.3"], low, 0.989, weighted=True)


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "units", "low", "high"), [(300, 15, 0.91, 0.955), (2000, 400, 0.93, 0.97)])
def test_intervals_of_clustered_rows_cover(rows: int, units: int, low: float, high: float) -> None:
    _binary(
        rows, 1000, [*RATES[:3], "f1@0.3", "balanced_accuracy@0.3", "roc_auc", "brier_score"], low, high, units=units
    )


@pytest.mark.slow
def test_rows_as_if_independent_would_not_cover_clustered_data() -> None:
    frame, truth = simulate.binary(500, 300, 7, units=15), simulate.binary(1, 2_000_000, 8, units=200_000)
    assert simulate.coverage(frame, truth, ["recall@0.3"], score="p")["recall@threshold=0.3"] < 0.85


@pytest.mark.slow
def test_a_calibrated_model_seldom_gets_an_interval_of_its_calibration_error() -> None:
    for units in (0, 50):
        frame = simulate.binary(500, 1000, 7, units=units)
        roles: dict[str, Any] = {"unit": "unit"} if units else {}
        table = ek.evaluate(
            frame,
            label="y",
            score="p",
            metrics=["expected_calibration_error"],
            slices=["replicate"],
            keep_rows=False,
            **roles,
        ).to_polars()
        assert float(table["low"].is_finite().to_numpy().mean()) < 0.05


@pytest.mark.slow
def test_the_calibration_test_rejects_calibrated_scores_in_five_percent() -> None:
    frame = simulate.binary(2000, 500, 3)
    table = ek.evaluate(
        frame, label="y", score="p", metrics=["calibration_p_value"], slices=["replicate"], keep_rows=False
    ).to_polars()
    assert simulate.within(float((table["value"].to_numpy()[1:] < 0.05).mean()), 0.03, 0.055, 2000)


@pytest.mark.slow
def test_slices_alike_are_named_as_different_in_at_most_five_percent_of_runs() -> None:
    rng = np.random.default_rng(5)
    named: dict[str, list[bool]] = {}
    metrics = ["recall@0.3", "f1@0.3", "roc_auc", "log_loss", "matthews_corrcoef@0.3", "balanced_accuracy@0.3"]
    runs = 60
    for run in range(runs):
        codes = {"g": rng.integers(0, 12, 3000), "h": rng.integers(0, 4, 3000)}
        frame = simulate.binary(1, 3000, 100 + run).with_columns(pl.DataFrame(codes).get_columns())
        result = ek.evaluate(frame, label="y", score="p", metrics=metrics, slices=["g", ["g", "h"]], keep_rows=False)
        for name in result.metrics:
            table = result.differences([name])
            named.setdefault(name, []).append(bool((table["q_value"] < 0.05).any()))
    for name, flags in named.items():
        assert np.mean(flags) <= stats.binom.ppf(0.995, runs, 0.05) / runs, (name, np.mean(flags))
