"""Comparisons err as seldom as they promise, on models that are equal and on models whose difference is known."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy import stats
from simulate import within

import evalkit as ek

pytestmark = pytest.mark.slow
AT = "@0.3"
COUNTED = [
    f"{name}{AT}"
    for name in ("accuracy", "recall", "false_positive_rate", "positive_prediction_rate", "balanced_accuracy")
]
OVERLAPS = [f"{name}{AT}" for name in ("precision", "negative_predictive_value", "f1", "jaccard")]
CORRELATIONS = [
    f"{name}{AT}"
    for name in (
        "matthews_corrcoef",
        "cohen_kappa",
        "markedness",
        "positive_likelihood_ratio",
        "diagnostic_odds_ratio",
    )
]
OF_SCORES = ["roc_auc", "average_precision", "log_loss", "brier_score", "calibration_ratio"]
ALL = [*COUNTED, *OVERLAPS, *CORRELATIONS, *OF_SCORES]
Floats = NDArray[np.float64]


def equal(
    replicates: int,
    rows: int,
    seed: int,
    *,
    churn: float,
    base: float = 0.2,
    units: int = 0,
    weighted: bool = False,
) -> pl.DataFrame:
    """Draws two equal models: the candidate's scores are the baseline's, drawn anew in a share `churn` of the rows.

    With `units` rows share part of their labels' and scores' variance, and whole units are drawn anew. Weights depend
    on the label.
    """
    rng = np.random.default_rng(seed)
    n, held = replicates * rows, rows // max(units, 1)
    share = 0.5 if units else 0.0

    def of_units(values: Any) -> Any:
        return np.repeat(values, held) if units else values

    size = replicates * units if units else n
    latent = np.sqrt(share) * of_units(rng.normal(size=size)) + np.sqrt(1 - share) * rng.normal(size=n)
    label = latent > stats.norm.ppf(1 - base)
    part = 0.8 * share
    noise = [np.sqrt(part) * of_units(rng.normal(size=size)) + np.sqrt(1 - part) * rng.normal(size=n) for _ in "ab"]
    noise[1] = np.where(of_units(rng.random(size) < churn), noise[1], noise[0])
    old, new = (1 / (1 + np.exp(-(np.log(base / (1 - base)) + label + x - 0.5))) for x in noise)
    columns: dict[str, Any] = {
        "replicate": np.repeat(np.arange(replicates), rows),
        "y": label.astype(np.int8),
        "old": old,
        "new": new,
    }
    if units:
        columns["unit"] = np.tile(np.repeat(np.arange(units), held), replicates)
    if weighted:
        columns["w"] = rng.lognormal(0, 0.7, n) * (1 + 2 * label)
    return pl.DataFrame(columns)


def alarms(frame: pl.DataFrame, metrics: Sequence[str], **roles: Any) -> dict[str, float]:
    """Returns the share of replicates with a p-value under .05, by metric; without a test there is no alarm."""
    made = ek.compare(
        frame, label="y", baseline="old", candidate="new", metrics=list(metrics), slices=["replicate"], **roles
    )
    return {name: float((delta.contrast.two_sided()[1:] < 0.05).mean()) for name, delta in made.deltas().items()}


def assert_seldom(shares: dict[str, float], replicates: int) -> None:
    for name, share in shares.items():
        assert share <= stats.binom.ppf(0.995, replicates, 0.05) / replicates, (name, share)


@pytest.mark.parametrize(
    ("rows", "replicates", "churn", "base"),
    [
        (100, 4000, 0.05, 0.2),
        (100, 4000, 0.1, 0.1),
        (100, 4000, 0.5, 0.2),
        pytest.param(300, 3000, 0.1, 0.2, marks=pytest.mark.long),
        (300, 2000, 0.5, 0.1),
        pytest.param(1000, 1000, 0.1, 0.2, marks=pytest.mark.long),
    ],
)
def test_equal_models_differ_in_at_most_five_percent(rows: int, replicates: int, churn: float, base: float) -> None:
    assert_seldom(alarms(equal(replicates, rows, 1, churn=churn, base=base), ALL), replicates)


def test_few_rows_that_all_are_drawn_anew_do_not_mislead_proportions_of_other_rows() -> None:
    assert_seldom(alarms(equal(8000, 50, 3, churn=1.0), OVERLAPS), 8000)


@pytest.mark.parametrize(("rows", "churn"), [(300, 0.1), pytest.param(300, 1.0, marks=pytest.mark.long), (1000, 0.5)])
def test_equal_models_differ_in_at_most_five_percent_with_weights(rows: int, churn: float) -> None:
    replicates = 600_000 // rows
    assert_seldom(alarms(equal(replicates, rows, 5, churn=churn, weighted=True), ALL, weight="w"), replicates)


@pytest.mark.parametrize(
    ("rows", "units", "churn"), [(300, 20, 0.3), pytest.param(1000, 100, 0.1, marks=pytest.mark.long), (1000, 100, 0.5)]
)
def test_equal_models_differ_in_at_most_five_percent_with_units(rows: int, units: int, churn: float) -> None:
    replicates = 600_000 // rows
    assert_seldom(alarms(equal(replicates, rows, 7, churn=churn, units=units), ALL, unit="unit"), replicates)


@pytest.mark.long
def test_a_paired_bootstrap_errs_in_five_percent() -> None:
    frame = equal(300, 1000, 11, churn=0.3)
    [share] = alarms(frame, ["recall_at_precision@0.4"]).values()
    assert share <= stats.binom.ppf(0.995, 300, 0.05) / 300
    [share] = alarms(frame, [f"accuracy{AT}"], intervals=ek.bootstrap(500)).values()
    assert within(share, 0.04, 0.06, 300)


def test_without_the_pairing_equal_models_would_hardly_ever_differ() -> None:
    """So the tests above test the pairing."""
    frame = equal(500, 1000, 13, churn=0.5)
    runs = [
        ek.evaluate(
            frame, label="y", score=s, metrics=["accuracy@0.3", "roc_auc"], slices=["replicate"], keep_rows=False
        )
        for s in ("old", "new")
    ]
    for delta in ek.compare(runs[1], baseline=runs[0]).deltas().values():
        assert (delta.contrast.two_sided()[1:] < 0.05).mean() < 0.02


# --- models that differ ---


def different(replicates: int, rows: int, seed: int) -> pl.DataFrame:
    """Draws two models whose scores share half of their noise, the candidate's less noisy."""
    rng = np.random.default_rng(seed)
    n = replicates * rows
    label = rng.random(n) < 0.3
    shared, a, b = rng.normal(size=(3, n))
    x = [1.0 * label + np.sqrt(0.5) * (shared + a), 1.4 * label + np.sqrt(0.5) * (shared + b)]
    old, new = (1 / (1 + np.exp(-(np.log(3 / 7) + gap * v - gap**2 / 2))) for gap, v in zip((1.0, 1.4), x, strict=True))
    return pl.DataFrame(
        {"replicate": np.repeat(np.arange(replicates), rows), "y": label.astype(np.int8), "old": old, "new": new}
    )


@pytest.mark.parametrize(("rows", "replicates"), [(300, 2000), pytest.param(1000, 1000, marks=pytest.mark.long)])
def test_intervals_of_deltas_cover_the_true_difference(rows: int, replicates: int) -> None:
    metrics = ["accuracy@0.3", "recall@0.3", "precision@0.3", "f1@0.3", *OF_SCORES[:4]]
    true, found = (
        ek.compare(frame, label="y", baseline="old", candidate="new", metrics=metrics, slices=slices).deltas()
        for frame, slices in ((different(1, 1_500_000, 17), []), (different(replicates, rows, 19), ["replicate"]))
    )
    for name, delta in found.items():
        low, high = delta.contrast.interval(0.025)
        truth = true[name].contrast.value[0]
        share = float(((low <= truth) & (truth <= high))[1:].mean())
        assert within(share, 0.92, 0.97, replicates), (name, share)


def test_slices_that_move_alike_are_named_as_moving_against_the_whole_in_at_most_five_percent_of_runs() -> None:
    runs, named = 60, 0
    for run in range(runs):
        frame = equal(1, 3000, 100 + run, churn=0.2)
        groups = np.random.default_rng(run).integers(0, 12, (2, 3000))
        frame = frame.with_columns(g=pl.Series(groups[0]), h=pl.Series(groups[1] % 4))
        made = ek.compare(
            frame,
            label="y",
            baseline="old",
            candidate="new",
            metrics=["accuracy@0.3", "roc_auc"],
            slices=["g", ["g", "h"]],
        )
        named += not made.moved_against().is_empty()
    assert named <= stats.binom.ppf(0.995, runs, 0.05)
