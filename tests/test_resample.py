"""Laws of bootstrap replicates: the same beside other slices, from any order of rows and from added parts."""

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

import evalkit as ek
from evalkit import interval
from evalkit.estimate import estimate
from evalkit.resample import replicates, thinned
from evalkit.results import Evaluation
from evalkit.score_sums import ScoreSums
from evalkit.slicing.spec import slice_text
from evalkit.sums import FieldSums

CELLS = ["accuracy", "recall", "f1"]
SCORES = ["roc_auc", "average_precision", "recall_at_precision@0.4"]
AT = "@threshold=0.5"


def table(rows: int, seed: int = 0, digits: int = 9) -> dict[str, NDArray[Any]]:
    """Informative scores of rows in many slices."""
    rng = np.random.default_rng(seed)
    label = (rng.random(rows) < 0.3).astype(np.int8)
    score = 1 / (1 + np.exp(-(rng.normal(size=rows) + 1.2 * label - 0.8)))
    return {
        "y": label,
        "p": np.round(score, digits),
        "g": rng.integers(0, 100, rows),
        "w": rng.choice([0.5, 1.0, 2.5], rows),
        "u": rng.integers(0, 900, rows),
    }


def of(data: dict[str, Any], metrics: list[str], **asked: Any) -> Evaluation:
    return ek.evaluate(data, label="y", score="p", metrics=metrics, **asked).evaluations[0]


def drawn(evaluation: Evaluation, n: int = 60, seed: int = 3) -> dict[str, NDArray[np.float64]]:
    """Replicates [replicates, metrics] by slice; of all metrics, which read the same statistic."""
    metrics = [metric for _, metric in evaluation.metrics]
    sums = evaluation.sums[metrics[0].statistic.identity]
    found = replicates(metrics, sums, n, seed, evaluation.plan.slices)
    return {slice_text(key): found[:, :, i].T for i, key in enumerate(evaluation.plan.slices)}


def part(data: dict[str, Any], kept: Any) -> dict[str, Any]:
    return {name: values[kept] for name, values in data.items()}


KINDS: list[tuple[str, dict[str, Any]]] = [
    ("cells", {}),
    ("cells", {"weight": "w"}),
    ("cells", {"unit": "u"}),
    ("scores", {}),
    ("scores", {"weight": "w"}),
    ("scores", {"unit": "u"}),
]
every_kind = pytest.mark.parametrize(("form", "asked"), KINDS)


def metrics_of(form: str) -> list[str]:
    return [name + AT for name in CELLS] if form == "cells" else SCORES


@every_kind
def test_replicates_of_a_slice_are_the_same_alone_and_with_a_hundred_others(form: str, asked: dict[str, Any]) -> None:
    data = table(20_000)
    among = drawn(of(data, metrics_of(form), slices=["g"], **asked))
    for name in ("7", "93"):
        alone = drawn(of(data, metrics_of(form), slices=[f"g=[{name}]"], **asked))
        np.testing.assert_allclose(alone[f"g={name}"], among[f"g={name}"], rtol=1e-10)
        np.testing.assert_allclose(alone["overall"], among["overall"], rtol=1e-10)


@every_kind
def test_rows_in_any_order_give_the_same_replicates(form: str, asked: dict[str, Any]) -> None:
    data = table(5_000)
    order = np.random.default_rng(8).permutation(5_000)
    first, second = (drawn(of(d, metrics_of(form), slices=["g"], **asked)) for d in (data, part(data, order)))
    for name, values in first.items():
        np.testing.assert_allclose(second[name], values, rtol=1e-9, err_msg=name)


@every_kind
def test_parts_added_in_any_order_give_the_replicates_of_the_whole(form: str, asked: dict[str, Any]) -> None:
    data = table(6_000)
    cut = np.random.default_rng(2).integers(0, 3, 6_000)
    whole = drawn(of(data, metrics_of(form), slices=["g"], **asked))
    parts = [of(part(data, cut == i), metrics_of(form), slices=["g"], **asked) for i in range(3)]
    for order in ((0, 1, 2), (2, 0, 1)):
        added = parts[order[0]].add(parts[order[1]]).add(parts[order[2]])
        found = drawn(added)
        for name, values in whole.items():
            np.testing.assert_allclose(found[name], values, rtol=1e-9, err_msg=name)


def test_other_seeds_and_slices_draw_otherwise() -> None:
    data = table(4_000)
    twins = {**{k: np.tile(v, 2) for k, v in data.items()}, "g": np.repeat(["a", "b"], 4_000)}
    evaluation = of(twins, metrics_of("cells"), slices=["g"])
    first, other = drawn(evaluation), drawn(evaluation, seed=4)
    assert not np.array_equal(first["overall"], other["overall"])
    assert abs(np.corrcoef(first["g=a"][:, 0], first["g=b"][:, 0])[0, 1]) < 0.6


@pytest.mark.parametrize("asked", [{}, {"weight": "w"}])
@pytest.mark.parametrize("metrics", [["roc_auc"], [f"recall{AT}"], [f"f1{AT}"]])
def test_the_bootstraps_error_is_the_delta_methods(metrics: list[str], asked: dict[str, Any]) -> None:
    evaluation = of(table(30_000), metrics, **asked)
    [(_, metric)] = evaluation.metrics
    n = 2000
    [e] = estimate([metric], evaluation.sums[metric.statistic.identity])
    error = drawn(evaluation, n)["overall"][:, 0].std(ddof=1)
    assert error / np.sqrt(e.variance[0]) == pytest.approx(1, abs=4 / np.sqrt(2 * n) + 0.01)


def test_a_rates_replicates_are_normal_about_it_with_its_standard_error() -> None:
    data = table(20_000)
    evaluation = of(data, [f"accuracy{AT}"], slices=["g"])
    sums = next(s for s in evaluation.sums.values() if isinstance(s, FieldSums))
    rows = sums.count.sum(1)[1:]
    assert rows.min() > 100
    replicated = drawn(evaluation, 400)
    hits = np.stack([replicated[slice_text(key)][:, 0] for key in evaluation.plan.slices[1:]], axis=1)
    value = (sums.count[1:, [0, 3]].sum(1)) / rows
    z = (hits - value) / np.sqrt(value * (1 - value) / rows)
    assert stats.kstest(z.ravel(), "norm").statistic < 0.03


def test_thinning_keeps_rows_and_cuts_a_slice_by_its_own_rows_alone() -> None:
    evaluation = of(table(50_000, digits=15), SCORES, slices=["g"])
    sums = next(s for s in evaluation.sums.values() if isinstance(s, ScoreSums))
    thin = thinned(sums)
    entries = np.bincount(thin.slices, minlength=thin.size)
    rows = np.bincount(sums.slices, weights=sums.count.sum(1), minlength=sums.size)
    assert (entries <= 64 + 4 * np.sqrt(rows) + 1).all()
    assert np.array_equal(np.bincount(thin.slices, weights=thin.count.sum(1), minlength=sums.size), rows)
    alone = thinned(sums.take(np.array([17])))
    inside = thin.slices == 17
    assert np.array_equal(alone.keys, thin.keys[inside])
    assert np.array_equal(alone.count, thin.count[inside])


def test_replicates_of_thinned_histograms_spread_as_samples_do() -> None:
    """Recall at a precision has no smooth gradient; 200 samples of 2,000 rows say what its error is."""
    data = {**table(400_000, digits=15), "g": np.repeat(np.arange(200), 2_000)}
    evaluation = of(data, ["recall_at_precision@0.5"], slices=["g"])
    [sums] = [s for s in evaluation.sums.values() if isinstance(s, ScoreSums)]
    assert len(thinned(sums).keys) < len(sums.keys) / 5
    [metric] = [metric for _, metric in evaluation.metrics]
    values = ek.Result((evaluation,)).to_polars()["value"].to_numpy()[1:]
    found = replicates([metric], sums, 200, 0, evaluation.plan.slices)[0, :, 1:]
    assert np.median(found.std(0)) / values.std() == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("missing", [0, 3, 40])
def test_percentiles_are_quantiles_of_the_replicates_where_the_metric_is_defined(missing: int) -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(200, 30))
    for column in range(30):
        values[rng.choice(200, missing and int(rng.integers(0, missing)), replace=False), column] = np.nan
    values[:, 4] = np.nan
    low, high = interval._percentiles(0.9, values)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = np.nanquantile(values, [0.05, 0.95], axis=0)
    expected[:, np.isnan(values).sum(0) > 20] = np.nan
    np.testing.assert_allclose([low, high], expected, rtol=1e-12)
