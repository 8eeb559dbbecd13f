"""Numbers that are known beforehand: worked examples, counts past float32, rare events, DeLong's variance."""

import math

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

import evalkit as ek
from evalkit.estimate import estimate
from evalkit.metrics.score_histogram import score_histogram
from evalkit.results import Result
from evalkit.sums import FieldSums, ScoreSums

Floats = NDArray[np.float64]

TEN = {"y": [1, 0, 0, 0, 0, 0, 1, 1, 1, 1], "p": [0.6, 0.3, 0.2, 0.6, 0.7, 0.8, 0.1, 0.2, 0.3, 0.4]}
THREE = {"y": [0, 1, 0], "p": [1.0, 0.7, 0.5], "w": [0.5, 0.7, 0.9]}


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("roc_auc", 0.26),
        ("precision", 0.25),
        ("recall", 0.2),
        ("specificity", 0.4),
        ("f1", 0.222222),
        ("matthews_corrcoef", -0.408248),
        ("diagnostic_odds_ratio", 0.166667),
    ],
)
def test_ten_rows_give_the_known_numbers(metric: str, value: float) -> None:
    result = ek.evaluate(TEN, label="y", score="p", metrics=[metric])
    assert result.value == pytest.approx(value, abs=5e-7)


@pytest.fixture(scope="module")
def three() -> Result:
    metrics = ["precision", "roc_auc", "f1"]
    return ek.evaluate(THREE, label="y", score="p", weight="w", strict=True, metrics=metrics)


def test_three_weighted_rows_give_the_known_counts(three: Result) -> None:
    sums = three.evaluations[0].sums["confusion@strict=true,threshold=0.5"]
    assert isinstance(sums, FieldSums)
    assert sums.total[0] == pytest.approx([0.9, 0.5, 0.0, 0.7])
    assert sums.count[0].tolist() == [1, 1, 0, 1]


@pytest.mark.parametrize(("metric", "value"), [("roc_auc", 0.642857), ("f1", 0.736842), ("precision", 0.7 / 1.2)])
def test_three_weighted_rows_give_the_known_numbers(three: Result, metric: str, value: float) -> None:
    assert three[metric].value == pytest.approx(value, abs=5e-7)


MANY = 40_000_000


@pytest.mark.slow
def test_forty_million_rows_of_one_slice_are_counted_to_the_row() -> None:
    label = np.zeros(MANY, dtype=np.int8)
    label[::4] = 1
    data = pl.DataFrame({"y": label, "d": np.zeros(MANY, dtype=np.int8), "s": np.zeros(MANY, dtype=np.uint8)})
    result = ek.evaluate(
        data, label="y", prediction="d", slices=["s"], metrics=["count", "accuracy"], task="binary", keep_rows=False
    )
    assert result.at("s=0")["count"].value == MANY
    assert result.at("s=0")["accuracy"].value == 0.75
    assert result.to_polars()["rows"].unique().to_list() == [MANY]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_forty_million_weights_of_a_tenth_sum_to_four_million(dtype: type[np.floating]) -> None:
    data = pl.DataFrame({"w": np.full(MANY, 0.1, dtype=dtype), "d": np.ones(MANY, dtype=np.int8)})
    result = ek.evaluate(data, label="d", prediction="d", weight="w", metrics=["count"], keep_rows=False)
    assert result.to_polars()["weight"][0] == pytest.approx(MANY * 0.1, rel=1e-6)
    assert result.value == MANY


def rare(near: str, n: int = 4000, seed: int = 0) -> tuple[NDArray[np.int64], Floats]:
    """Labels, and scores within a few 1e-5 of 0 or of 1."""
    generator = np.random.default_rng(seed)
    label = (generator.random(n) < 0.05).astype(np.int64)
    small = 1e-5 * np.exp(0.7 * generator.standard_normal(n) + np.where(label == (near == "zero"), 0.9, 0.0))
    return label, small if near == "zero" else 1 - small


@pytest.mark.parametrize("near", ["zero", "one"])
def test_rare_events_have_scikit_learns_area_when_exact(near: str) -> None:
    label, score = rare(near)
    result = ek.evaluate({"y": label, "p": score}, label="y", score="p", metrics=["roc_auc"])
    assert result.value == pytest.approx(roc_auc_score(label, score), abs=1e-9)
    assert not result.to_polars()["approximate"][0]


@pytest.mark.parametrize("near", ["zero", "one"])
@pytest.mark.parametrize("slices", [1, 20_000], ids=["finely", "coarsely"])
def test_rare_events_are_within_the_printed_bound_when_binned(near: str, slices: int) -> None:
    label, score = rare(near, 20_000)
    data = {"y": label, "p": score, "s": np.arange(len(label)) % slices}
    budget = 500_000 if slices == 1 else 1
    result = ek.evaluate(
        data, label="y", score="p", slices=["s"], metrics=["roc_auc"], budget_bytes=budget, max_slices=slices
    )
    [e] = estimate([ek.metrics.roc_auc], result.evaluations[0].sums[score_histogram.identity])
    sums = result.evaluations[0].sums[score_histogram.identity]
    assert isinstance(sums, ScoreSums)
    assert sums.bins is not None
    away = abs(float(e.value[0]) - roc_auc_score(label, score))
    assert away <= float(e.bound[0]) + 1e-12
    assert 0 < e.bound[0] < (1e-3 if slices == 1 else 0.2)
    assert e.value[0] > 0.7


def delong(label: NDArray[np.int64], score: Floats) -> tuple[float, float]:
    """The area and its variance from every pair of a positive and a negative."""
    x, y = score[label == 1], score[label == 0]
    wins = (x[:, None] > y[None, :]) + 0.5 * (x[:, None] == y[None, :])
    by_positive, by_negative = wins.mean(axis=1), wins.mean(axis=0)
    variance = by_positive.var(ddof=1) / len(x) + by_negative.var(ddof=1) / len(y)
    return float(wins.mean()), float(variance)


@pytest.mark.parametrize(("n", "digits"), [(30, 1), (200, 2), (1500, 12)])
def test_the_variance_of_an_area_is_delongs(n: int, digits: int) -> None:
    generator = np.random.default_rng(n)
    label = (generator.random(n) < 0.3).astype(np.int64)
    score = np.round(1 / (1 + np.exp(-generator.standard_normal(n) - label)), digits)
    result = ek.evaluate({"y": label, "p": score}, label="y", score="p", metrics=["roc_auc"])
    [e] = estimate([ek.metrics.roc_auc], result.evaluations[0].sums[score_histogram.identity])
    area, variance = delong(label, score)
    assert float(e.value[0]) == pytest.approx(area, abs=1e-12)
    assert math.sqrt(float(e.variance[0])) == pytest.approx(math.sqrt(variance), rel=1e-9)
