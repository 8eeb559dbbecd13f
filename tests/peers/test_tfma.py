"""Values on every slice agree with TensorFlow Model Analysis, and where they do not, a test says how."""

import json
import math
import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import polars as pl
import pytest
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

import evalkit as ek

Values = dict[str, dict[str, float]]  # metric -> slice -> value

THRESHOLDS = (0.5, 0.7)
SLICES: list[str | list[str]] = ["colour", "shape", ["colour", "shape"]]
N_SLICES = 1 + 3 + 4 + 12
AT_A_THRESHOLD = {
    "accuracy": "BinaryAccuracy",
    "balanced_accuracy": "BalancedAccuracy",
    "diagnostic_odds_ratio": "DiagnosticOddsRatio",
    "f1": "F1Score",
    "false_discovery_rate": "FalseDiscoveryRate",
    "false_negative_rate": "FNR",
    "false_omission_rate": "FalseOmissionRate",
    "false_positive_rate": "FPR",
    "informedness": "Informedness",
    "jaccard": "ThreatScore",
    "markedness": "Markedness",
    "matthews_corrcoef": "MatthewsCorrelationCoefficient",
    "negative_likelihood_ratio": "NegativeLikelihoodRatio",
    "negative_predictive_value": "NPV",
    "positive_likelihood_ratio": "PositiveLikelihoodRatio",
    "positive_prediction_rate": "PredictedPositiveRate",
    "precision": "Precision",
    "recall": "Recall",
    "specificity": "Specificity",
}
OF_SCORES = {
    "brier_score": "MeanSquaredError",
    "log_loss": "BinaryCrossEntropy",
    "mean_score": "MeanPrediction",
    "prevalence": "MeanLabel",
    "roc_auc": "AUC",
}


OF_NUMBERS = {
    "mae": "MeanAbsoluteError",
    "mape": "MeanAbsolutePercentageError",
    "mean_squared_log_error": "MeanSquaredLogarithmicError",
    "mse": "MeanSquaredError",
    "pearson_r": "SquaredPearsonCorrelation",
}


def config(class_name: str, name: str, **settings: Any) -> config_pb2.MetricConfig:
    return config_pb2.MetricConfig(class_name=class_name, config=json.dumps({"name": name, **settings}))


def decisions(threshold: float) -> list[config_pb2.MetricConfig]:
    """Returns TFMA's metrics at a threshold, named as evalkit names them."""
    return [
        config(theirs, f"{ours}@{threshold}", **threshold_setting(theirs, threshold))
        for ours, theirs in AT_A_THRESHOLD.items()
    ]


def threshold_setting(class_name: str, threshold: float) -> dict[str, Any]:
    return {"threshold": threshold} if class_name == "BinaryAccuracy" else {"thresholds": [threshold]}


def by_tfma(rows: pl.DataFrame, weight: str | None, metrics: list[config_pb2.MetricConfig]) -> Values:
    model = config_pb2.ModelSpec(label_key="label", prediction_key="score", example_weight_key=weight or "")
    keys = [[], *([columns] if isinstance(columns, str) else columns for columns in SLICES)]
    result = tfma.analyze_raw_data(
        rows.to_pandas(),
        config_pb2.EvalConfig(
            model_specs=[model],
            metrics_specs=[config_pb2.MetricsSpec(metrics=metrics)],
            slicing_specs=[config_pb2.SlicingSpec(feature_keys=columns) for columns in keys],
        ),
    )
    values: Values = {}
    for key, found in result.slicing_metrics:
        name = ", ".join(f"{column}={value}" for column, value in key) or "overall"
        for metric, value in found[""][""].items():
            if "doubleValue" in value:
                values.setdefault(metric, {})[name] = float(value["doubleValue"])
    return values


def by_evalkit(rows: pl.DataFrame, weight: str | None, metrics: list[Any]) -> Values:
    return values_of(
        ek.evaluate(rows, label="label", score="score", weight=weight, metrics=metrics, slices=SLICES, strict=True)
    )


def values_of(result: ek.Result) -> Values:
    values: Values = {}
    for row in result.to_polars().iter_rows(named=True):
        value = math.nan if row["value"] is None else row["value"]
        values.setdefault(row["metric"].partition("@")[0], {})[row["slice"]] = value
    return values


def assert_equal(ours: dict[str, float], theirs: dict[str, float], **tolerance: float) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, nan_ok=True, **({"rel": 1e-9, "abs": 1e-12} | tolerance)), name


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    """Returns 4,000 rows with many ties: 60 scores each are exactly .5 and .7, and some weights are 0."""
    random = np.random.default_rng(7)
    n = 4000
    label = (random.random(n) < 0.25).astype(float)
    score = np.round(np.clip(0.25 * label + 0.75 * random.beta(2, 3, n), 0.01, 0.99), 2)
    score[:60], score[60:120] = THRESHOLDS
    return pl.DataFrame(
        {
            "label": label,
            "score": score,
            "weight": random.integers(0, 5, n) / 4,
            "colour": [("red", "green", "blue")[index] for index in random.integers(0, 3, n)],
            "shape": [("round", "square", "long", "flat")[index] for index in random.integers(0, 4, n)],
        }
    )


@pytest.fixture(scope="module", params=[None, "weight"], ids=["unweighted", "weighted"])
def weight(request: pytest.FixtureRequest) -> str | None:
    column: str | None = request.param
    return column


@pytest.fixture(scope="module")
def theirs(rows: pl.DataFrame, weight: str | None) -> Values:
    return by_tfma(
        rows,
        weight,
        [
            *(config(theirs, ours) for ours, theirs in OF_SCORES.items()),
            *(metric for threshold in THRESHOLDS for metric in decisions(threshold)),
            *(
                config("AUC", f"area_{method}", curve="PR", summation_method=method)
                for method in ("interpolation", "minoring", "majoring")
            ),
            config("Calibration", "calibration"),
            config("ExampleCount", "example_count"),
        ],
    )


@pytest.fixture(scope="module")
def ours(rows: pl.DataFrame, weight: str | None) -> Values:
    return by_evalkit(rows, weight, [*OF_SCORES, "average_precision", "calibration_ratio"])


@pytest.fixture(scope="module")
def our_decisions(rows: pl.DataFrame, weight: str | None) -> dict[float, Values]:
    return {
        threshold: by_evalkit(rows, weight, [getattr(ek.metrics, name)(threshold=threshold) for name in AT_A_THRESHOLD])
        for threshold in THRESHOLDS
    }


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("metric", AT_A_THRESHOLD)
def test_decisions_agree_where_scores_equal_the_threshold(
    metric: str, threshold: float, our_decisions: dict[float, Values], theirs: Values
) -> None:
    expected = theirs[f"{metric}@{threshold}"]
    assert len(expected) == N_SLICES
    assert_equal(our_decisions[threshold][metric], expected)


@pytest.mark.parametrize("metric", OF_SCORES)
def test_metrics_of_scores_agree(metric: str, ours: Values, theirs: Values) -> None:
    # One of TFMA's 10,000 thresholds lies between any two of these scores, so its AUC is exact.
    assert len(theirs[metric]) == N_SLICES
    assert_equal(ours[metric], theirs[metric])


def test_average_precision_lies_between_the_lower_and_the_upper_area_under_the_curve(
    ours: Values, theirs: Values
) -> None:
    for name, value in ours["average_precision"].items():
        assert theirs["area_minoring"][name] - 1e-9 <= value <= theirs["area_majoring"][name] + 1e-9, name


def test_average_precision_is_near_the_interpolated_area(ours: Values, theirs: Values) -> None:
    assert_equal(ours["average_precision"], theirs["area_interpolation"], abs=0.02)


def test_calibration_is_the_inverse(ours: Values, theirs: Values) -> None:
    assert_equal({name: 1 / value for name, value in ours["calibration_ratio"].items()}, theirs["calibration"])


def test_rows_or_their_weights_are_the_example_count(rows: pl.DataFrame, weight: str | None, theirs: Values) -> None:
    result = ek.evaluate(rows, label="label", score="score", weight=weight, metrics=["prevalence"], slices=SLICES)
    table = result.to_polars()
    # With weights, TFMA's example count is their sum.
    assert_equal(dict(table.select("slice", "weight" if weight else "rows").iter_rows()), theirs["example_count"])


def test_metrics_of_numbers_agree(rows: pl.DataFrame, weight: str | None) -> None:
    random = np.random.default_rng(11)
    numbers = rows.with_columns(label=random.gamma(2, 3, rows.height) + 0.1, score=random.gamma(2, 3, rows.height))
    theirs = by_tfma(numbers, weight, [config(class_name, name) for name, class_name in OF_NUMBERS.items()])
    ours = values_of(
        ek.evaluate(numbers, label="label", prediction="score", weight=weight, metrics=list(OF_NUMBERS), slices=SLICES)
    )
    # TFMA's percentage is one, and its correlation is squared.
    ours["mape"] = {name: 100 * value for name, value in ours["mape"].items()}
    ours["pearson_r"] = {name: value**2 for name, value in ours["pearson_r"].items()}
    for metric in OF_NUMBERS:
        assert len(theirs[metric]) == N_SLICES
        assert_equal(ours[metric], theirs[metric])


@pytest.fixture(scope="module")
def degenerate() -> pl.DataFrame:
    """Returns slices in which no row is called positive, none is positive, and none is negative."""
    return pl.DataFrame(
        {
            "label": [0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0],
            "score": [0.1, 0.2, 0.1, 0.3, 0.1, 0.9, 0.3, 0.1, 0.9],
            "colour": ["none called"] * 4 + ["no positives"] * 3 + ["no negatives"] * 2,
            "shape": "round",
        }
    )


def on_colours(rows: pl.DataFrame, metrics: list[str]) -> pl.DataFrame:
    return ek.evaluate(rows, label="label", score="score", metrics=metrics, slices=["colour"], strict=True).to_polars()


def test_a_rate_without_a_denominator_is_undefined_where_tfma_has_nan(degenerate: pl.DataFrame) -> None:
    metrics = {name: AT_A_THRESHOLD[name] for name in ("precision", "recall", "false_positive_rate", "f1")}
    theirs = by_tfma(degenerate, None, [config(name, ours, thresholds=[0.5]) for ours, name in metrics.items()])
    for row in on_colours(degenerate, list(metrics)).iter_rows(named=True):
        assert (row["status"] == "undefined") == math.isnan(theirs[row["metric"]][row["slice"]]), row


def test_tfma_gives_numbers_where_evalkit_says_undefined(degenerate: pl.DataFrame) -> None:
    theirs = by_tfma(degenerate, None, [config("AUC", "roc_auc"), config("AUCPrecisionRecall", "average_precision")])
    assert theirs["roc_auc"]["colour=no positives"] == theirs["roc_auc"]["colour=no negatives"] == 0.0
    assert theirs["average_precision"]["colour=no positives"] == 0.0

    status = {
        (row["metric"], row["slice"]): row["status"]
        for row in on_colours(degenerate, ["roc_auc", "average_precision"]).iter_rows(named=True)
    }
    assert status["roc_auc", "colour=no positives"] == status["roc_auc", "colour=no negatives"] == "undefined"
    assert status["average_precision", "colour=no positives"] == "undefined"
