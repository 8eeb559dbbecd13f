"""Groups against references, their largest gaps, pooled groups and groups known as probabilities, against oracles."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import recall_score, roc_auc_score
from statsmodels.stats.proportion import confint_proportions_2indep

import evalkit as ek
from evalkit.errors import ConfigError, DataError
from evalkit.fairness.disparities import disparities
from evalkit.fairness.families import families, slice_sets
from evalkit.fairness.gap_table import gaps
from evalkit.fairness.group_gap import Gap
from evalkit.fairness.joint import group_values
from evalkit.fairness.membership import with_membership
from evalkit.fairness.pool import pooled
from evalkit.fairness.statistics.gaps import rate_gap
from evalkit.fairness.statistics.simultaneous import Largest, all_pairs


def _counts(hits: list[int], rows: list[int]) -> dict[str, Any]:
    """Rows of a selection rate by group."""
    decided = [d for h, n in zip(hits, rows, strict=True) for d in [1] * h + [0] * (n - h)]
    group = [f"g{i}" for i, n in enumerate(rows) for _ in range(n)]
    return {"y": [1] * len(group), "d": decided, "g": group}


def _selected(hits: list[int], rows: list[int], **more: Any) -> ek.Result:
    return ek.evaluate(
        _counts(hits, rows), label="y", prediction="d", metrics=["positive_prediction_rate"], slices=["g"], **more
    )


def _people(n: int = 1200, seed: int = 3) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return {
        "y": y,
        "p": np.clip(rng.normal(0.4 + 0.2 * y, 0.2), 0, 1),
        "g": rng.choice(["a", "b", "c"], n, p=[0.5, 0.3, 0.2]),
        "h": rng.choice(["x", "z"], n),
        "u": rng.integers(0, 200, n),
        "w": rng.uniform(0.5, 2, n),
    }


METRICS = ["recall", "roc_auc", "log_loss"]


def test_two_groups_have_newcombes_interval_of_their_difference() -> None:
    found = disparities(_selected([30, 15], [50, 60]), ["g"], reference={"g": "g1"}).row(0, named=True)
    low, high = confint_proportions_2indep(30, 50, 15, 60, method="newcomb", compare="diff")
    assert (found["delta_low"], found["delta_high"]) == pytest.approx((low, high), abs=1e-9)
    assert found["ratio"] == pytest.approx(0.6 / 0.25)


@pytest.mark.parametrize("reference", ["largest", "best", "overall", "rest"])
def test_values_of_groups_and_references_are_those_of_scikit_learn(reference: Any) -> None:
    data = _people()
    result = ek.evaluate(data, label="y", score="p", metrics=["recall", "roc_auc"], slices=["g"])
    found = disparities(result, ["g"], reference=reference)
    frame = pl.DataFrame(data)
    assert found.height >= 4
    for row in found.iter_rows(named=True):
        own = frame.filter(g=row["slice"][2:])
        other = {
            "overall": frame,
            "rest": frame.filter(pl.col("g") != row["slice"][2:]),
        }.get(row["reference"])
        other = frame.filter(g=row["reference"][2:]) if other is None else other
        for part, name in ((own, "candidate"), (other, "baseline")):
            y, p = part["y"].to_numpy(), part["p"].to_numpy()
            expected = recall_score(y, p >= 0.5) if row["metric"] == "recall" else roc_auc_score(y, p)
            assert row[name] == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"weight": "w"}, {"unit": "u"}])
def test_a_group_against_all_rows_has_the_variance_that_resampling_gives(more: Any) -> None:
    data = _people()
    names = METRICS
    result = ek.evaluate(data, label="y", score="p", metrics=names, slices=["g"], **more)
    evaluation = result.evaluations[0]
    [family] = families(evaluation, ["g"])
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(data)
    units = frame["u"].to_numpy() if "unit" in more else np.arange(frame.height)
    drawn = []
    for _ in range(60):
        times = np.bincount(rng.choice(np.unique(units), len(np.unique(units))), minlength=units.max() + 1)[units]
        again = frame.with_columns(v=pl.Series(times) * (pl.col("w") if "weight" in more else 1)).filter(
            pl.col("v") > 0
        )
        of = ek.evaluate(again, label="y", score="p", weight="v", metrics=names, slices=["g"], keep_rows=False)
        drawn.append([[of[name].at(s).value for s in ("overall", "g=a", "g=b")] for name in names])
    for place, name in enumerate(names):
        [values] = group_values(evaluation, name, [family])
        joint = np.cov(np.array(drawn)[:, place].T)
        expected = [joint[0, 0] + joint[g, g] - 2 * joint[0, g] for g in (1, 2)]
        own = values.covariance
        assert [own[0, 0] + own[g, g] - 2 * own[0, g] for g in (1, 2)] == pytest.approx(expected, rel=0.4)


def test_the_gap_of_equal_groups_is_that_of_rate_gap() -> None:
    hits = [30, 24, 9, 20]
    [values] = group_values(
        (evaluation := _selected(hits, [50] * 4).evaluations[0]),
        "positive_prediction_rate",
        families(evaluation, ["g"]),
    )
    gap, known = Gap.of(values), rate_gap(hits, [50] * 4)
    assert gap.value == pytest.approx(float(known.value))
    assert gap.interval(0.05) == pytest.approx((float(known.low), float(known.high)), abs=0.01)
    assert gap.p_value == pytest.approx(float(known.p_value), rel=1e-9)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(30, 60)), min_size=2, max_size=6))
@settings(max_examples=20, deadline=None)
def test_bounds_hold_the_gap_nest_in_alpha_and_agree_with_the_ratio(groups: list[tuple[int, int]]) -> None:
    evaluation = _selected([h for h, _ in groups], [n for _, n in groups], keep_rows=False).evaluations[0]
    [values] = group_values(evaluation, "positive_prediction_rate", families(evaluation, ["g"]))
    gap = Gap.of(values)
    rates = [h / n for h, n in groups]
    assert gap.value == pytest.approx(max(rates) - min(rates))
    wide, narrow = gap.interval(0.01), gap.interval(0.1)
    assert wide[0] <= narrow[0] <= gap.value + 1e-12
    assert gap.value - 1e-12 <= narrow[1] <= wide[1]
    if max(rates) > 0:
        assert gap.ratio == pytest.approx(min(rates) / max(rates))
        low, high = gap.ratio_interval(0.05)
        assert low <= gap.ratio + 1e-12
        assert gap.ratio <= high + 1e-12


def test_largest_statistic_of_independent_pairs_is_tukeys_range() -> None:
    drawn = Largest.of(np.eye(6), all_pairs(6))
    tukey = Largest(15, np.zeros(0), 6)
    assert drawn.critical([0.1, 0.05, 0.01]) == pytest.approx(tukey.critical([0.1, 0.05, 0.01]), abs=0.03)
    assert drawn.adjusted(np.array([0.001, 0.2, np.nan]))[:2] == pytest.approx(
        tukey.adjusted(np.array([0.001, 0.2])), abs=0.01
    )


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_fair_models_are_flagged_in_at_most_five_percent(rate: float) -> None:
    """Each level of a control feature is a draw of six groups of 50."""
    draws, rows = 120, 300
    decided = np.random.default_rng(1).random(draws * rows) < rate
    row = np.arange(draws * rows)
    data = {"y": np.ones_like(row), "d": decided.astype(int), "g": row % 6, "draw": row // rows}
    names = ["positive_prediction_rate"]
    result = ek.evaluate(data, label="y", prediction="d", metrics=names, slices=slice_sets(["g"], ["draw"]))
    table = gaps(result, ["g"], control=["draw"])
    allowed = 2.576 * (0.05 * 0.95 / draws) ** 0.5
    flagged = (table["p_value"] < 0.05) & (table["low"] > 0)
    assert (table["low"] <= 0).mean() >= 0.93 - allowed
    assert flagged.mean() <= 0.05 + allowed


def test_groups_of_few_rows_are_left_out_of_the_gap_and_named() -> None:
    table = gaps(_selected([30, 24, 1], [50, 50, 2]), ["g"], min_rows=30, within=0.5)
    row = table.row(0, named=True)
    assert row["left_out"] == "g=g2"
    assert row["value"] == pytest.approx(0.12)
    assert row["finding"].startswith("certified within 0.5")


def test_rows_of_unknown_membership_are_shown_and_compared_with_nothing() -> None:
    data = pl.DataFrame(_counts([30, 10, 40], [50, 50, 50])).with_columns(
        g=pl.when(pl.col("g") == "g2").then(None).otherwise("g")
    )
    result = ek.evaluate(data, label="y", prediction="d", metrics=["positive_prediction_rate"], slices=["g"])
    found = disparities(result, ["g"]).filter(slice="g=null").row(0, named=True)
    assert found["value"] == 0.8
    assert np.isnan(found["delta"])
    assert "not known" in found["note"]
    assert gaps(result, ["g"])["value"][0] == pytest.approx(0.4)


def test_groups_are_compared_within_levels_of_control_features() -> None:
    data = _people()
    result = ek.evaluate(data, label="y", score="p", metrics=["recall"], slices=slice_sets(["g"], ["h"]))
    found = disparities(result, ["g"], control=["h"], reference={"g": "a"})
    frame = pl.DataFrame(data).filter(pl.col("y") == 1)
    for row in found.iter_rows(named=True):
        level, group = row["slice"].split(", ")
        own = frame.filter(h=level[2:], g=group[2:])
        assert row["candidate"] == pytest.approx((own["p"] >= 0.5).mean())
    assert gaps(result, ["g"], control=["h"])["slice"].to_list() == ["h=x", "h=z"]


def test_a_list_column_puts_rows_in_several_groups_whose_covariance_comes_of_the_rows() -> None:
    data = pl.DataFrame({"y": [1, 0] * 150, "d": [1, 0, 0] * 100, "g": [["a", "b"], ["a"], ["b"]] * 100})
    result = ek.evaluate(data, label="y", prediction="d", metrics=["accuracy"], slices=["g"])
    [values] = group_values(result.evaluations[0], "accuracy", families(result.evaluations[0], ["g"]))
    correct = (data["y"] == data["d"]).to_numpy()
    inside = np.array([[g in row for row in data["g"].to_list()] for g in ("a", "b")])
    told = np.stack([np.where(i, correct - correct[i].mean(), 0) / i.sum() for i in inside])
    assert values.covariance[1, 2] == pytest.approx(float(told[0] @ told[1]), rel=0.02)
    bare = ek.evaluate(data, label="y", prediction="d", metrics=["accuracy"], slices=["g"], keep_rows=False)
    with pytest.raises(ConfigError, match="share rows"):
        disparities(bare, ["g"])


def test_small_groups_pooled_are_the_group_of_their_rows() -> None:
    data = _people()
    data["g"] = np.where(np.arange(1200) % 100 == 0, "d", np.where(np.arange(1200) % 100 == 1, "e", data["g"]))
    sets = slice_sets(["g"], ["h"])
    result = ek.evaluate(data, label="y", score="p", metrics=METRICS, slices=sets)
    found = pooled(result, ["g"], 20, ["h"])
    frame = pl.DataFrame(data).with_columns(
        g=pl.when(pl.col("g").is_in(["d", "e"])).then(pl.lit("other")).otherwise("g")
    )
    again = ek.evaluate(frame, label="y", score="p", metrics=METRICS, slices=sets).to_polars()
    both = again.join(found.to_polars(), on=["slice", "metric"], suffix="_pooled")
    assert both.height == again.height
    assert both["value"].to_numpy() == pytest.approx(both["value_pooled"].to_numpy(), rel=1e-9, nan_ok=True)


def test_membership_of_zeros_and_ones_is_that_of_labels() -> None:
    data = _people()
    for group in "abc":
        data[f"is_{group}"] = (np.asarray(data["g"]) == group).astype(float)
    asked: dict[str, Any] = {"label": "y", "score": "p", "metrics": METRICS, "unit": "u"}
    known = ek.evaluate(data, slices=["g"], **asked)
    found = with_membership(data, {"g": {group: f"is_{group}" for group in "abc"}}, **asked)
    columns = ["slice", "metric", "value", "low", "high"]
    both = known.to_polars().select(columns).join(found.to_polars().select(columns), on=["slice", "metric"])
    for name in ("value", "low", "high"):
        assert both[name].to_numpy() == pytest.approx(both[f"{name}_right"].to_numpy(), rel=1e-9, nan_ok=True)
    mine, theirs = (disparities(r, ["g"], metrics=["recall", "roc_auc"]) for r in (known, found))
    assert mine["delta_low"].to_numpy() == pytest.approx(theirs["delta_low"].to_numpy(), rel=1e-6, nan_ok=True)


def test_probabilities_weight_the_rows_of_each_group_within_levels() -> None:
    data = _people()
    data["q"] = np.random.default_rng(0).uniform(size=1200)
    data["r"] = 1 - data["q"]
    from evalkit.fairness.families import control_set

    found = with_membership(
        data, {"race": {"one": "q", "two": "r"}}, control=control_set(["h"]), label="y", score="p", metrics=["roc_auc"]
    )
    inside = np.asarray(data["h"]) == "z"
    expected = roc_auc_score(data["y"][inside], data["p"][inside], sample_weight=data["r"][inside])
    assert found["roc_auc"].at("h=z, race=two").value == pytest.approx(expected, abs=1e-12)
    table = gaps(found, ["race"], control=["h"])
    assert table["value"].is_finite().all()


def test_probabilities_outside_zero_and_one_are_refused() -> None:
    with pytest.raises(DataError, match='"q" must hold probabilities between 0 and 1'):
        with_membership(
            {"y": [1, 0], "d": [1, 0], "q": [0.5, 1.5], "r": [0.5, 0.5]},
            {"g": {"a": "q", "b": "r"}},
            label="y",
            prediction="d",
        )


def test_references_that_are_not_there_are_refused_with_what_is() -> None:
    result = _selected([30, 15], [50, 60])
    with pytest.raises(ConfigError, match=r'No group "g=g7" to compare with\. .*Groups: g=g0, g=g1'):
        disparities(result, ["g"], reference={"g": "g7"})
    with pytest.raises(ConfigError, match='No reference "bets"'):
        disparities(result, ["g"], reference="bets")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="above 0"):
        gaps(result, ["g"], within=-1.0)
