"""Permutation within the denominator for metrics of an evaluation, and score intervals of rates."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep

import evalkit as ek
from evalkit.errors import ConfigError
from evalkit.fairness.disparities import disparities
from evalkit.fairness.families import families
from evalkit.fairness.gap_table import gaps
from evalkit.fairness.permuted import permuted
from evalkit.fairness.statistics.two_rates import miettinen_nurminen


def _rows(n: int = 600, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    group = rng.choice(["a", "b", "c"], n)
    y = (rng.random(n) < np.where(group == "a", 0.7, 0.2)).astype(int)
    p = np.clip(rng.normal(0.4 + 0.2 * y, 0.2), 0, 1)
    return {"y": y, "p": p, "g": group, "u": rng.integers(0, 150, n), "w": rng.uniform(0.5, 2, n)}


@pytest.mark.parametrize("more", [{}, {"unit": "u"}, {"weight": "w"}])
@pytest.mark.parametrize("name", ["false_positive_rate", "precision", "accuracy", "log_loss", "roc_auc"])
def test_metrics_alike_in_all_groups_are_near_the_asymptotic_test(name: str, more: Any) -> None:
    result = ek.evaluate(_rows(), label="y", score="p", metrics=[name], slices=["g"], **more)
    plain, shuffled = gaps(result, ["g"]), gaps(result, ["g"], permutations=400)
    if name == "roc_auc" and "weight" in more:
        assert shuffled["test"][0] == "Wald"
        return
    assert shuffled["test"][0] == "permutation"
    z, by_shuffling = (min(stats.norm.isf(table["p_value"][0]), 2.5) for table in (plain, shuffled))
    assert by_shuffling == pytest.approx(z, abs=0.6)


def test_only_rows_of_the_denominator_are_shuffled() -> None:
    data = _rows()
    evaluation = ek.evaluate(data, label="y", score="p", metrics=["false_positive_rate"], slices=["g"]).evaluations[0]
    [family] = families(evaluation, ["g"])
    negatives = {name: np.asarray(values)[data["y"] == 0] for name, values in data.items()}
    alone = ek.evaluate(negatives, label="y", score="p", metrics=["false_positive_rate"], slices=["g"]).evaluations[0]
    [own] = families(alone, ["g"])
    name = "false_positive_rate"
    assert permuted(evaluation, name, family, seed=3) == permuted(alone, name, own, seed=3)


def test_what_is_no_rate_or_mean_and_rows_not_kept_have_no_permutation() -> None:
    result = ek.evaluate(_rows(), label="y", score="p", metrics=["f1", "matthews_corrcoef"], slices=["g"])
    assert gaps(result, ["g"], permutations=50)["test"].to_list() == ["chi-square", "Wald"]
    bare = ek.evaluate(_rows(), label="y", score="p", metrics=["recall"], slices=["g"], keep_rows=False)
    assert gaps(bare, ["g"], permutations=50)["test"].to_list() == ["chi-square"]


def test_rates_of_two_groups_have_miettinen_and_nurminens_and_koopmans_intervals() -> None:
    data = {"y": [1] * 100, "d": [1] * 30 + [0] * 20 + [1] * 15 + [0] * 35, "g": ["a"] * 50 + ["b"] * 50}
    result = ek.evaluate(data, label="y", prediction="d", metrics=["recall"], slices=["g"])
    row = disparities(result, ["g"], reference={"g": "b"}, rates="miettinen-nurminen").row(0, named=True)
    ends = miettinen_nurminen(30, 50, 15, 50, z=stats.norm.ppf(0.975))
    assert (row["delta_low"], row["delta_high"]) == pytest.approx((ends.low, ends.high), abs=1e-9)
    expected = confint_proportions_2indep(30, 50, 15, 50, method="score", compare="ratio", correction=False)
    assert (row["ratio_low"], row["ratio_high"]) == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ConfigError, match='rates is one of newcombe, miettinen-nurminen, not "wald"'):
        disparities(result, ["g"], rates="wald")  # type: ignore[arg-type]


def test_values_are_shrunk_and_crosses_are_regressed_on_their_attributes() -> None:
    rng = np.random.default_rng(1)
    data = {"y": np.ones(3000, int), "a": rng.choice(list("abcd"), 3000), "b": rng.choice(["x", "z"], 3000)}
    data["d"] = (rng.random(3000) < np.where(data["b"] == "x", 0.4, 0.6)).astype(int)
    result = ek.evaluate(data, label="y", prediction="d", metrics=["recall"], slices=[["a", "b"]])
    found = disparities(result, [["a", "b"]])
    truth = np.where(found["slice"].str.contains("b=x"), 0.4, 0.6)
    errors = [np.sqrt(((found[name].to_numpy() - truth) ** 2).mean()) for name in ("value", "value_structured")]
    assert errors[1] < errors[0]
    assert found.filter(pl.col("value_shrunk").is_nan()).height == 0


def test_a_gap_of_alike_groups_is_smaller_without_noise() -> None:
    data = {"y": [1] * 200, "d": ([1] * 9 + [0] * 11) * 5 + ([1] * 11 + [0] * 9) * 5, "g": np.repeat(np.arange(10), 20)}
    table = gaps(ek.evaluate(data, label="y", prediction="d", metrics=["recall"], slices=["g"]), ["g"])
    assert table["corrected"][0] < table["value"][0] - 0.05
