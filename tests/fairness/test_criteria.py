"""Criteria that are no gap of one metric: values by hand and by other libraries, intervals by simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_effectsize

import evalkit as ek
from evalkit.combined import combined
from evalkit.errors import ConfigError, DataError
from evalkit.fairness.criteria.average_odds import average_odds_measures
from evalkit.fairness.criteria.balance import balance_measures
from evalkit.fairness.criteria.catalog import CRITERIA, criterion
from evalkit.fairness.criteria.effect_size import cohens_h, cohens_h_measures, standardized_mean_difference_measures
from evalkit.fairness.criteria.group_cells import GroupCells
from evalkit.fairness.criteria.largest_gap import largest_gap
from evalkit.fairness.criteria.lift import lift, lift_measures
from evalkit.fairness.criteria.treatment_equality import error_ratio, treatment_equality_measures
from evalkit.fairness.families import families
from evalkit.fairness.measure import Measure
from evalkit.fairness.reference import reference_place
from evalkit.metrics import catalog
from evalkit.results import Evaluation

WAYS: list[dict[str, Any]] = [{}, {"weight": "w"}, {"unit": "u"}]
METRICS = ["roc_auc", "recall@0.5"]


def rows(n: int = 600, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    p = np.round(np.clip(0.3 * y + rng.normal(0.35, 0.2, n), 0, 1), 2)
    return pl.DataFrame(
        {
            "y": y,
            "p": p,
            "g": rng.choice(["a", "b", "c"], n, p=[0.5, 0.3, 0.2]),
            "u": rng.integers(0, 80, n),
            "w": rng.integers(1, 4, n).astype(float),
        }
    )


def evaluated(data: pl.DataFrame, **more: Any) -> Evaluation:
    return ek.evaluate(data, label="y", score="p", metrics=METRICS, slices=["g"], **more).evaluations[0]


def by_group(found: list[Measure], metric: str) -> dict[str, Measure]:
    return {str(m.group[0][1]): m for m in found if m.metric == metric}


def test_every_criterion_names_metrics_and_modules_that_there_are() -> None:
    import importlib

    for found in CRITERIA.values():
        assert set(found.metrics) <= set(catalog()), found.name
        assert found.definition.endswith(".")
        assert found.source
        if found.combined == "own":
            importlib.import_module(found.home)


def test_a_mistyped_criterion_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match='No criterion "equalised_odds"\\. Did you mean "equalized_odds"'):
        criterion("equalised_odds")


# --- what they are built on ---


@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_the_difference_of_two_combined_rates_is_newcombes(n: int, m: int, data: st.DataObject) -> None:
    from evalkit.interval import wilson

    x, y = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    rate, rows_of = np.array([x / n, y / m]), np.array([n, m])
    low, high = wilson(rate, rows_of, np.array(stats.norm.ppf(0.975)))
    found = combined(rate, low, high, [1, -1])
    expected = confint_proportions_2indep(x, n, y, m, method="newcomb", compare="diff")
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-6)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=5), st.integers(0, 1000))
def test_the_largest_gap_lies_in_its_bounds_and_two_groups_have_the_normal_interval(
    values: list[float], seed: int
) -> None:
    spread = np.random.default_rng(seed).uniform(0.1, 2, len(values))
    found = largest_gap(values, np.diag(spread**2))
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value <= found.high
    if len(values) == 2:
        error, gap = np.hypot(*spread), abs(values[0] - values[1])
        assert found.high == pytest.approx(gap + 1.959964 * error, rel=1e-4)
        assert found.p_value == pytest.approx(2 * stats.norm.sf(gap / error), abs=1e-9)


def test_correlated_groups_take_the_wider_bounds_and_their_own_error() -> None:
    joint = np.array([[1.0, 0.8], [0.8, 1.0]])
    found = largest_gap([0.0, 3.0], joint)
    assert found.low == pytest.approx(3 - 1.959964 * 0.4**0.5, rel=1e-5)
    assert np.isnan(largest_gap([1.0, np.nan], joint).value)


@pytest.mark.parametrize("more", WAYS)
def test_covariances_of_decisions_are_those_of_rates(more: dict[str, Any]) -> None:
    evaluation = evaluated(rows(), **more)
    [family] = families(evaluation, ["g"])
    cells = GroupCells.of(evaluation, family.places, 0.5)
    [recall] = cells.estimates("recall")
    slope = np.zeros((3, 3, 4))
    slope[np.arange(3), np.arange(3)] = recall.gradient
    assert np.diag(cells.covariance(slope)) == pytest.approx(recall.variance, rel=0.04 if "unit" in more else 1e-9)


@pytest.mark.parametrize("more", WAYS)
def test_rates_of_groups_have_the_intervals_of_the_table(more: dict[str, Any]) -> None:
    """Also where everybody in a group is selected, whose rows are worth fewer where units decide."""
    data = rows(2000).with_columns(u=pl.int_range(2000) % 400)
    data = data.with_columns(p=pl.when((pl.col("g") == "a") | (pl.col("u") % 3 == 0)).then(0.9).otherwise(0.1))
    result = ek.evaluate(data, label="y", score="p", metrics=["positive_prediction_rate@0.5"], slices=["g"], **more)
    [family] = families(result.evaluations[0], ["g"])
    cells = GroupCells.of(result.evaluations[0], family.places)
    [rate] = cells.estimates("positive_prediction_rate")
    known = [result.at(f"g={k}")["positive_prediction_rate@threshold=0.5"] for k in "abc"]
    assert rate.value[0] == 1
    assert np.stack(cells.ends(rate, 0.95)) == pytest.approx(np.array([(k.low, k.high) for k in known]).T)


def test_decisions_at_several_thresholds_need_one_named() -> None:
    evaluation = ek.evaluate(
        rows(), label="y", score="p", metrics=["recall@0.5", "recall@0.7"], slices=["g"]
    ).evaluations[0]
    places = families(evaluation, ["g"])[0].places
    with pytest.raises(ConfigError, match="name one by threshold="):
        GroupCells.of(evaluation, places)
    with pytest.raises(ConfigError, match="No metric of decisions was evaluated at this threshold"):
        GroupCells.of(evaluation, places, 0.9)
    assert GroupCells.of(evaluation, places, 0.7).rows.sum() == 600


# --- treatment equality ---


@given(st.integers(0, 30), st.integers(0, 30))
def test_the_ratio_of_errors_lies_in_its_interval_and_is_undefined_without_false_positives(fn: int, fp: int) -> None:
    found = error_ratio(fn, fp)
    if fp == 0:
        assert np.isnan([found.value, found.low, found.high]).all()
    else:
        assert found.value == fn / fp
        assert found.low <= found.value <= found.high


def test_treatment_equality_holds_groups_against_the_largest() -> None:
    data = rows()
    evaluation = evaluated(data)
    found = treatment_equality_measures(evaluation, families(evaluation, ["g"])[0])
    decided = (data["p"] >= 0.5).to_numpy()
    y, g = data["y"].to_numpy(), data["g"].to_numpy()
    ratios = {k: (y[g == k] > decided[g == k]).sum() / (y[g == k] < decided[g == k]).sum() for k in "abc"}
    assert {k: m.value for k, m in by_group(found, "error_ratio").items()} == pytest.approx(ratios)
    versus = by_group(found, "treatment_equality_ratio")
    assert set(versus) == {"b", "c"}
    assert versus["b"].value == pytest.approx(ratios["b"] / ratios["a"])
    assert by_group(found, "treatment_equality_difference")["c"].value == pytest.approx(ratios["c"] - ratios["a"])
    assert all(m.low <= m.value <= m.high and 0 <= m.p_value <= 1 for m in versus.values())


def test_a_group_without_false_positives_is_undefined_and_says_why() -> None:
    data = {"y": [1, 1, 0, 0] * 4, "p": [0.9, 0.2, 0.8, 0.1, 0.9, 0.2, 0.1, 0.1] * 2, "g": list("aaaabbbb") * 2}
    evaluation = evaluated(pl.DataFrame(data))
    found = treatment_equality_measures(evaluation, families(evaluation, ["g"])[0], reference="g=a")
    assert np.isnan(by_group(found, "error_ratio")["b"].value)
    assert "no false positives" in by_group(found, "treatment_equality_ratio")["b"].note


@pytest.mark.slow
def test_the_interval_of_the_ratio_of_ratios_covers() -> None:
    rng = np.random.default_rng(3)
    fn, fp = rng.poisson([[20], [35]], (2, 4000)), rng.poisson([[30], [15]], (2, 4000))
    middle = np.log(fn[1] + 0.5) - np.log(fp[1] + 0.5) - np.log(fn[0] + 0.5) + np.log(fp[0] + 0.5)
    error = np.sqrt((1 / (fn + 0.5) + 1 / (fp + 0.5)).sum(0))
    truth = np.log(35 / 15) - np.log(20 / 30)
    assert 0.94 < (abs(middle - truth) < 1.96 * error).mean() < 0.965


# --- average odds ---


@pytest.mark.parametrize("more", WAYS)
def test_average_odds_are_half_the_sum_of_signed_differences(more: dict[str, Any]) -> None:
    data = rows()
    evaluation = evaluated(data, **more)
    found = by_group(average_odds_measures(evaluation, families(evaluation, ["g"])[0]), "average_odds_difference")
    y, h, g = data["y"].to_numpy(), (data["p"] >= 0.5).to_numpy(), data["g"].to_numpy()
    w = data["w"].to_numpy() if "weight" in more else np.ones(len(y))
    rate = {k: sum(np.average(h[(g == k) & (y == v)], weights=w[(g == k) & (y == v)]) for v in (0, 1)) for k in "abc"}
    for k, m in found.items():
        assert m.value == pytest.approx((rate[k] - rate["a"]) / 2)
        assert m.low < m.value < m.high


@pytest.mark.slow
@pytest.mark.parametrize("units", [0, 50])
def test_the_interval_of_average_odds_covers(units: int) -> None:
    rng = np.random.default_rng(units)
    replicates, n = 150, 200
    size = replicates * n
    unit = np.tile(np.arange(n) % max(units, 1), replicates)
    shared = rng.normal(size=(replicates, max(units, 1)))[np.repeat(np.arange(replicates), n), unit] if units else 0
    g, y = rng.integers(0, 2, size), rng.integers(0, 2, size)
    latent = 0.6 * shared + (0.8 if units else 1.0) * rng.normal(size=size)
    h = (latent < stats.norm.ppf(np.where(y == 1, 0.8 - 0.1 * g, 0.2 + 0.2 * g))).astype(int)
    data = {"y": y, "h": h, "g": g, "r": np.repeat(np.arange(replicates), n), "u": unit}
    more: dict[str, Any] = {"unit": "u"} if units else {}
    result = ek.evaluate(data, label="y", prediction="h", metrics=["recall"], slices=["r", ["r", "g"]], **more)
    evaluation = result.evaluations[0]
    covered = []
    for family in families(evaluation, ["g"], ["r"]):
        [m] = average_odds_measures(evaluation, family, reference="g=0")
        covered.append(m.low <= 0.05 <= m.high)
    assert 0.9 < np.mean(covered) <= 0.99


# --- balance and effect sizes ---


@pytest.mark.parametrize("more", WAYS)
def test_balance_is_the_gap_of_mean_scores_by_label(more: dict[str, Any]) -> None:
    data = rows()
    evaluation = evaluated(data, **more)
    found = balance_measures(evaluation, families(evaluation, ["g"])[0])
    weight = pl.col("w") if "weight" in more else pl.lit(1.0)
    for label, name in ((1, "balance_positive_class"), (0, "balance_negative_class")):
        own = data.filter(pl.col("y") == label).with_columns(v=weight)
        frame = own.group_by("g").agg((pl.col("p") * pl.col("v")).sum() / pl.col("v").sum())
        means = dict(frame.iter_rows())
        whole = next(m for m in found if m.metric == name)
        assert whole.value == pytest.approx(max(means.values()) - min(means.values()))
        assert 0 <= whole.low <= whole.value <= whole.high
        difference = by_group(found, f"{name}_difference")["b"]
        assert difference.value == pytest.approx(means["b"] - means["a"])


def test_the_difference_of_mean_scores_has_welchs_interval() -> None:
    data = rows()
    evaluation = evaluated(data)
    found = by_group(balance_measures(evaluation, families(evaluation, ["g"])[0]), "balance_positive_class_difference")
    b, a = (data.filter((pl.col("y") == 1) & (pl.col("g") == k))["p"].to_numpy() for k in "ba")
    welch = stats.ttest_ind(b, a, equal_var=False)
    interval = welch.confidence_interval()
    assert (found["b"].low, found["b"].high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert found["b"].p_value == pytest.approx(welch.pvalue, rel=1e-9)


def test_few_rows_have_no_interval_and_take_no_part_in_the_largest_gap() -> None:
    data = pl.concat([rows(), rows(4).with_columns(g=pl.lit("rare"), y=pl.lit(1, pl.Int64))])
    evaluation = evaluated(data)
    found = balance_measures(evaluation, families(evaluation, ["g"])[0])
    rare = by_group(found, "balance_positive_class_difference")["rare"]
    assert rare.status == "too_few_rows"
    assert np.isnan(rare.low)
    assert "fewer than 10 rows, left out: g=rare" in found[0].note


def test_means_that_do_not_vary_have_a_gap_and_say_why_there_are_no_bounds() -> None:
    data = rows().with_columns(p=pl.when(pl.col("g") == "b").then(0.9).otherwise("p"))
    evaluation = evaluated(data)
    [family] = families(evaluation, ["g"])
    found = balance_measures(evaluation, family)
    means = data.filter(pl.col("y") == 1).group_by("g").agg(pl.col("p").mean())["p"]
    assert found[0].value == pytest.approx(means.max() - means.min())  # type: ignore[operator]
    assert np.isnan([found[0].low, found[0].high]).all()
    assert "no bounds: the rows of a group do not vary" in found[0].note
    same = evaluated(data.with_columns(p=pl.lit(0.9)))
    for m in lift_measures(same, families(same, ["g"])[0]):
        assert (m.method, m.note) == ("none", "the rows do not vary")


@given(st.floats(0, 1), st.floats(0, 1))
def test_cohens_h_is_statsmodels(rate: float, reference: float) -> None:
    assert cohens_h(rate, reference) == pytest.approx(proportion_effectsize(rate, reference), abs=1e-12)


def test_effect_sizes_are_by_hand() -> None:
    data = rows()
    evaluation = evaluated(data)
    [family] = families(evaluation, ["g"])
    b, a = (data.filter(pl.col("g") == k)["p"].to_numpy() for k in "ba")
    h = by_group(cohens_h_measures(evaluation, family), "cohens_h")["b"]
    assert h.value == pytest.approx(proportion_effectsize((b >= 0.5).mean(), (a >= 0.5).mean()))
    assert h.low < h.value < h.high
    pooled = ((b.var() * len(b) + a.var() * len(a)) / (len(a) + len(b))) ** 0.5
    found = by_group(standardized_mean_difference_measures(evaluation, family), "standardized_mean_difference")["b"]
    assert found.value == pytest.approx((b.mean() - a.mean()) / pooled)
    nominal = (1 / len(a) + 1 / len(b) + found.value**2 / 2 / (len(a) + len(b))) ** 0.5
    assert (found.high - found.low) / 2 / 1.96 == pytest.approx(nominal, rel=0.1)


def test_scores_that_do_not_vary_have_no_standardized_difference() -> None:
    data = rows().with_columns(p=pl.lit(0.1))
    evaluation = evaluated(data)
    found = standardized_mean_difference_measures(evaluation, families(evaluation, ["g"])[0])
    assert np.isnan([m.value for m in found]).all()


@pytest.mark.slow
def test_intervals_of_effect_sizes_and_lift_cover() -> None:
    rng = np.random.default_rng(0)
    replicates, n = 120, 150
    size = replicates * n
    g = rng.integers(0, 2, size)
    y = (rng.random(size) < np.where(g == 1, 0.6, 0.4)).astype(int)
    p = np.round(rng.beta(2, 2, size) * 0.5 + 0.3 * y + 0.1 * g, 3)
    data = {"y": y, "p": p, "g": g, "r": np.repeat(np.arange(replicates), n)}
    result = ek.evaluate(data, label="y", score="p", metrics=METRICS, slices=["r", ["r", "g"]])
    evaluation = result.evaluations[0]
    many = ek.evaluate({k: v for k, v in data.items() if k != "r"}, label="y", score="p", metrics=METRICS, slices=["g"])
    [whole] = families(many.evaluations[0], ["g"])
    truths = {
        "smd": standardized_mean_difference_measures(many.evaluations[0], whole, reference="g=0")[0].value,
        "lift": lift_measures(many.evaluations[0], whole)[1].value,
        "h": cohens_h_measures(many.evaluations[0], whole, reference="g=0")[0].value,
    }
    covered: dict[str, list[bool]] = {name: [] for name in truths}
    for family in families(evaluation, ["g"], ["r"]):
        found = {
            "smd": standardized_mean_difference_measures(evaluation, family, reference="g=0")[0],
            "lift": lift_measures(evaluation, family)[1],
            "h": cohens_h_measures(evaluation, family, reference="g=0")[0],
        }
        for name, m in found.items():
            covered[name].append(m.low <= truths[name] <= m.high)
    assert all(0.89 < np.mean(of) <= 0.99 for of in covered.values())


@pytest.mark.parametrize("more", WAYS)
def test_where_all_are_selected_there_still_is_an_interval(more: dict[str, Any]) -> None:
    """Rounding of weights must not pass for a variance."""
    evaluation = evaluated(rows(120).with_columns(p=pl.lit(0.9), w=pl.col("w") * 0.1), **more)
    [family] = families(evaluation, ["g"])
    for m in [*cohens_h_measures(evaluation, family), *average_odds_measures(evaluation, family)]:
        assert m.value == pytest.approx(0, abs=1e-7)
        assert m.low < -0.05 < 0.05 < m.high


# --- lift ---

# Labels, predictions and weights of the tests of TensorFlow Model Analysis.
BACKGROUND = ([0.0, 0.3, 0.6, 0.9, 0.9], [0.1, 0.5, 0.8, 0.3, 0.9], [3.0, 5.0, 2.0, 8.0, 3.0])
GROUP = ([0.0, 0.2, 0.5, 0.7, 0.9], [0.8, 0.3, 0.5, 0.4, 0.3], [1.0, 2.0, 5.0, 2.0, 3.0])


def weighed(group: Any, background: Any, **more: Any) -> float:
    return lift(*group[:2], *background[:2], weight=group[2], background_weight=background[2], **more)


def test_lift_is_that_of_tensorflow_model_analysis() -> None:
    assert weighed(GROUP, BACKGROUND, buckets=3) == pytest.approx(-0.136013986, abs=1e-9)
    assert weighed(BACKGROUND, BACKGROUND, buckets=3) == 0
    outside = [[*a, b] for a, b in zip(GROUP, (1.9, 0.3, 8.0), strict=True)]
    below = [[*a, b] for a, b in zip(BACKGROUND, (-0.9, 0.3, 8.0), strict=True)]
    ignored = weighed(outside, below, buckets=3, ignore_out_of_bound_examples=True)
    assert ignored == pytest.approx(-0.136013986, abs=1e-9)
    binary = ([0, 0, 0, 1, 1], [0.8, 0.3, 0.5, 0.4, 0.3], GROUP[2])
    against = ([0, 0, 1, 1, 1], [0.1, 0.5, 0.8, 0.3, 0.9], BACKGROUND[2])
    assert weighed(binary, against, buckets=2) == pytest.approx(0.01715976331)
    decided = ([0, 0, 0, 1, 1], [1, 0, 1, 0, 1], GROUP[2])
    assert weighed(decided, ([0, 0, 1, 1, 1], [1, 0, 0, 1, 0], BACKGROUND[2]), buckets=2) == pytest.approx(0.224852071)


def test_lift_is_undefined_where_the_background_lacks_a_label() -> None:
    assert np.isnan(lift([1, 0], [0.5, 0.5], [0, 0], [0.1, 0.2]))
    with pytest.raises(DataError, match="2 labels, 1 predictions"):
        lift([1, 0], [0.5], [0], [0.1])
    with pytest.raises(ConfigError, match="Buckets must be at least 1"):
        lift([1], [0.5], [1], [0.1], buckets=0)


@pytest.mark.parametrize("more", WAYS)
@pytest.mark.parametrize("background", ["all", "rest"])
@pytest.mark.parametrize("ignored", [False, True])
def test_lifts_of_groups_are_those_of_rows(more: dict[str, Any], background: Any, ignored: bool) -> None:
    data = rows()
    evaluation = evaluated(data, **more)
    [family] = families(evaluation, ["g"])
    found = lift_measures(evaluation, family, background=background, ignore_out_of_bound_examples=ignored)
    for m, key in zip(found, "abc", strict=True):
        inside = data.filter(pl.col("g") == key)
        outside = data if background == "all" else data.filter(pl.col("g") != key)
        sides = [[f[c].to_numpy() for c in ("y", "p", "w")] for f in (inside, outside)]
        if "weight" not in more:
            sides = [[*side[:2], np.ones(len(side[0]))] for side in sides]
        assert m.value == pytest.approx(weighed(*sides, ignore_out_of_bound_examples=ignored), abs=1e-12)
        assert m.low < m.value < m.high


def test_groups_that_overlap_are_no_background() -> None:
    evaluation = ek.evaluate(rows(), label="y", score="p", metrics=["roc_auc"], slices=["g=values(a, b)"]).evaluations[
        0
    ]
    with pytest.raises(ConfigError, match="do not hold every row once"):
        lift_measures(evaluation, families(evaluation, ["g"])[0])


def test_a_reference_is_named_by_its_value_its_text_or_its_key_and_another_is_refused_with_the_nearest() -> None:
    evaluation = evaluated(rows())
    [family] = families(evaluation, ["g"])
    assert [reference_place(family, of) for of in ("b", "g=b", (("g", "b"),))] == [1, 1, 1]
    with pytest.raises(ConfigError, match='No group "g=z" by "g"'):
        average_odds_measures(evaluation, families(evaluation, ["g"])[0], reference="g=z")
