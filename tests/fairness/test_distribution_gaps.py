"""Distances between distributions against SciPy, their law where groups are alike, and bounded group loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import mean_squared_error

import evalkit as ek
from evalkit.errors import ConfigError, DataError
from evalkit.fairness.families import families
from evalkit.fairness.measure import Measure
from evalkit.fairness.scores.bounded_loss import bounded_group_loss
from evalkit.fairness.scores.distribution import Distribution
from evalkit.fairness.scores.distribution_gaps import distribution_measures

numbers = st.lists(st.tuples(st.integers(-3, 3), st.integers(1, 4)), min_size=1, max_size=12)


def _rows(n: int = 500, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    y, g = rng.normal(size=n), rng.choice(["a", "b", "c"], n)
    return {
        "y": y,
        "p": y + rng.normal(size=n) * np.where(g == "c", 2, 1) + 0.1,
        "g": g,
        "u": rng.integers(0, 200, n),
        "w": rng.uniform(0.5, 2, n),
    }


def _evaluation(data: dict[str, Any], **more: Any) -> Any:
    metrics = ["mse", "mae"]
    return ek.evaluate(data, label="y", prediction="p", metrics=metrics, slices=["g"], **more).evaluations[0]


def _measures(data: dict[str, Any], *, reference: Any = None, **more: Any) -> list[Measure]:
    evaluation = _evaluation(data, **more)
    return distribution_measures(evaluation, families(evaluation, ["g"])[0], reference=reference)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of SciPy's p-values
@given(numbers, numbers)
def test_distances_are_scipys_also_with_weights(first: list[tuple[int, int]], second: list[tuple[int, int]]) -> None:
    (a, v), (b, w) = np.array(first, float).T, np.array(second, float).T
    values, group = np.concatenate([a, b]), np.repeat([0, 1], [len(a), len(b)])
    plain = Distribution.of_values(values, group, 2)
    assert plain.ks(0, 1) == pytest.approx(stats.ks_2samp(a, b, method="asymp").statistic)
    assert plain.wasserstein(0, 1) == pytest.approx(stats.wasserstein_distance(a, b))
    weighted = Distribution.of_values(values, group, 2, weight=np.concatenate([v, w]))
    assert weighted.wasserstein(0, 1) == pytest.approx(stats.wasserstein_distance(a, b, v, w))
    repeated = stats.ks_2samp(np.repeat(a, v.astype(int)), np.repeat(b, w.astype(int)), method="asymp")
    assert weighted.ks(0, 1) == pytest.approx(repeated.statistic)
    assert plain.ks(0, 1) == plain.ks(1, 0)
    assert (plain.ks(0, 1) == 0) == (plain.wasserstein(0, 1) == 0)


def test_distances_of_a_pair_are_of_its_rows() -> None:
    data = _rows()
    found = {(m.metric, m.group[0][1]): m for m in _measures(data, reference="a")}
    assert len(found) == 12
    own = {name: data["g"] == name for name in "abc"}
    for name, values in (("prediction", data["p"]), ("residual", data["p"] - data["y"])):
        for group in "bc":
            a, b = values[own[group]], values[own["a"]]
            assert found[f"{name}_ks", group].value == pytest.approx(stats.ks_2samp(a, b).statistic)
            wasserstein = found[f"{name}_wasserstein", group]
            assert wasserstein.value == pytest.approx(stats.wasserstein_distance(a, b))
            welch = stats.ttest_ind(a, b, equal_var=False)
            mean = found[f"mean_{name}_difference", group]
            low, high = welch.confidence_interval()
            assert (mean.value, mean.p_value) == pytest.approx((a.mean() - b.mean(), welch.pvalue))
            assert (mean.low, mean.high) == pytest.approx((low, high), abs=5e-4)
    wide = found["residual_ks", "c"]
    assert wide.p_value == 1 / 500
    assert np.isnan([wide.low, wide.high]).all()
    assert wide.note.startswith("expected were the groups alike: 0.0")


def test_the_permutation_has_the_p_value_of_the_kolmogorov_smirnov_test() -> None:
    rng = np.random.default_rng(1)
    for shift in (0.0, 0.15, 0.25):
        a, b = rng.normal(size=150), rng.normal(size=250) + shift
        found = Distribution.of_values(np.concatenate([a, b]), np.repeat([0, 1], [150, 250]), 2)
        ks, wasserstein, how = found.chances(0, 1)
        assert how == "permutation"
        assert ks.p_value == pytest.approx(stats.ks_2samp(a, b).pvalue, abs=0.06)
        assert ks.expected == pytest.approx(np.sqrt(np.pi / 2) * np.log(2) * np.sqrt(1 / 150 + 1 / 250), rel=0.08)
        assert 0.02 < wasserstein.expected < 0.2


def test_many_rows_are_judged_as_few_are() -> None:
    rng = np.random.default_rng(2)
    values, group = rng.normal(size=4000), np.repeat([0, 1], [1500, 2500])
    few = Distribution.of_values(values, group, 2)
    many = Distribution.of_values(
        np.concatenate([values, values[:1]]), np.append(group, 2), 3, weight=np.full(4001, 2.0)
    )
    assert few.chances(0, 1)[2] == "permutation"
    assert many.chances(0, 1)[2] == "Bayesian bootstrap under equality"
    for exact, rough in zip(few.chances(0, 1)[:2], many.chances(0, 1)[:2], strict=True):
        assert rough.expected == pytest.approx(exact.expected, rel=0.1)
        assert rough.p_value == pytest.approx(exact.p_value, abs=0.12)


def test_the_covariance_of_means_is_that_of_units() -> None:
    rng = np.random.default_rng(3)
    unit, group = rng.integers(0, 40, 600), rng.integers(0, 2, 600)
    values = rng.normal(size=40)[unit] + rng.normal(size=600)
    found = Distribution.of_values(values, group, 2, unit=unit)
    told = np.stack([(values - values[group == g].mean()) * (group == g) / (group == g).sum() for g in (0, 1)])
    by_unit = np.stack([np.bincount(unit, weights=row, minlength=40) for row in told])
    assert found.covariance == pytest.approx(by_unit @ by_unit.T * 40 / 39)
    assert found.covariance[0, 1] > 0


def test_scores_of_binary_models_are_compared_in_all_and_within_labels() -> None:
    rng = np.random.default_rng(4)
    y, g = rng.integers(0, 2, 600), rng.integers(0, 2, 600)
    p, u = np.round(rng.normal(size=600) + y + 0.4 * g, 1), rng.integers(0, 90, 600)
    data: dict[str, Any] = {"y": y, "p": p, "g": g, "u": u}
    cases: list[dict[str, Any]] = [{}, {"unit": "u"}]
    for more in cases:
        evaluation = ek.evaluate(data, label="y", score="p", metrics=["roc_auc"], slices=["g"], **more).evaluations[0]
        found = {m.metric: m for m in distribution_measures(evaluation, families(evaluation, ["g"])[0])}
        parts: list[tuple[str, Any]] = [("", y < 2), ("@label=1", y == 1), ("@label=0", y == 0)]
        for suffix, rows in parts:
            a, b = data["p"][rows & (g == 0)], data["p"][rows & (g == 1)]
            assert found[f"score_ks{suffix}"].value == pytest.approx(stats.ks_2samp(a, b).statistic)
            assert found[f"score_wasserstein{suffix}"].value == pytest.approx(stats.wasserstein_distance(a, b))
            assert found[f"mean_score_difference{suffix}"].value == pytest.approx(a.mean() - b.mean())
            assert found[f"score_ks{suffix}"].rows == len(a) + len(b)


def test_too_few_rows_have_values_and_no_tests() -> None:
    data = _rows(40)
    data["g"] = np.where(np.arange(40) < 4, "c", "a")
    found = _measures(data)
    assert {m.status for m in found} == {"too_few_rows"}
    assert all(np.isfinite(m.value) and np.isnan(m.p_value) and np.isnan(m.low) for m in found)


def test_what_is_missing_is_said() -> None:
    with pytest.raises(ConfigError, match="need rows, and none were kept"):
        _measures(_rows(), keep_rows=False)
    data = _rows(4)
    data["g"] = [["a"], ["a", "b"], ["b"], ["b"]]
    with pytest.raises(DataError, match='Groups of "g" share rows'):
        _measures(data)


def test_values_beyond_the_budget_are_binned_and_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalkit.fairness.scores.distribution._MOST_CELLS", 900)
    data = _rows()
    found = {(m.metric, m.group): m for m in _measures(data, reference="a")}
    monkeypatch.undo()
    for exact in _measures(data, reference="a"):
        binned = found[exact.metric, exact.group]
        assert binned.approximate
        assert "values binned" in binned.note
        assert binned.value == pytest.approx(exact.value, abs=0.02)


# --- bounded group loss ---


def test_the_loss_is_that_of_the_worst_group() -> None:
    data = _rows()
    evaluation = _evaluation(data)
    [family] = families(evaluation, ["g"])
    found = bounded_group_loss(evaluation, family, "mse", most=6)
    own = data["g"] == "c"
    assert found.value == pytest.approx(mean_squared_error(data["y"][own], data["p"][own]))
    assert found.note.startswith("of g=c; shown to be at most 6")
    assert "not shown to be at most 4.5" in bounded_group_loss(evaluation, family, "mse", most=4.5).note
    assert "shown to be above 1" in bounded_group_loss(evaluation, family, "mse", most=1).note
    assert found.low < found.value < found.high


def test_what_is_no_loss_or_was_not_evaluated_is_refused() -> None:
    evaluation = _evaluation(_rows())
    [family] = families(evaluation, ["g"])
    with pytest.raises(ConfigError, match='"r2" is no loss'):
        bounded_group_loss(evaluation, family, "r2")
    with pytest.raises(ConfigError, match='"huber_loss" was not evaluated; evaluated were mse, mae'):
        bounded_group_loss(evaluation, family, "huber_loss")


# --- simulation ---


@pytest.mark.slow
def test_the_bounds_hold_the_largest_loss() -> None:
    rng = np.random.default_rng(6)
    replicates, rows, groups = 150, 600, 4
    n = replicates * rows
    g = rng.integers(0, groups, n)
    y = rng.normal(size=n)
    data = {"y": y, "p": y + rng.normal(size=n), "g": g, "r": np.repeat(np.arange(replicates), rows)}
    slices = ["g", "r", ["r", "g"]]
    evaluation = ek.evaluate(data, label="y", prediction="p", metrics=["mse"], slices=slices).evaluations[0]
    found = [bounded_group_loss(evaluation, family, "mse") for family in families(evaluation, ["g"], ["r"])]
    assert np.mean([m.value > 1 for m in found]) > 0.85
    assert np.mean([m.high >= 1 for m in found]) >= 0.97
    assert np.mean([m.low <= 1 for m in found]) >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("how", ["plain", "weight", "unit"])
def test_groups_that_are_alike_are_seldom_told_apart(how: str) -> None:
    rng = np.random.default_rng(2)
    draws, n = 120, 400
    alarms = []
    for seed in range(draws):
        group, unit = rng.integers(0, 2, n), rng.integers(0, 80, n)
        values = rng.normal(size=n) + (rng.normal(size=80)[unit] if how == "unit" else 0.0)
        weight = rng.lognormal(0, 0.6, n) * (1 + (values > 0)) if how == "weight" else None
        units = unit if how == "unit" else None
        found = Distribution.of_values(values, group, 2, weight=weight, unit=units, seed=seed)
        ks, wasserstein, _ = found.chances(0, 1)
        alarms.append([ks.p_value <= 0.05, wasserstein.p_value <= 0.05])
    assert (np.mean(alarms, axis=0) <= 0.05 + 2.576 * (0.05 * 0.95 / draws) ** 0.5).all()
    assert (np.mean(alarms, axis=0) >= 0.01).all()
