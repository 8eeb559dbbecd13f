"""Differences averaged over levels: by hand, by Mantel and Haenszel's formula, and errors by simulation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import StratifiedTable

import evalkit as ek
from evalkit.errors import ConfigError
from evalkit.fairness.conditional import conditional
from evalkit.fairness.families import slice_sets

Counts = dict[str, dict[str, tuple[int, int]]]  # level: group: how many are selected, of how many
COUNTS: Counts = {
    "1": {"a": (30, 60), "b": (10, 40)},
    "2": {"a": (20, 80), "b": (14, 20)},
    "3": {"a": (5, 25), "b": (30, 75)},
}


def rows(counts: Counts) -> dict[str, Any]:
    cells = [(level, group, hits, n) for level, of in counts.items() for group, (hits, n) in of.items()]
    return {
        "y": [1] * sum(n for *_, n in cells),
        "d": [int(i < hits) for _, _, hits, n in cells for i in range(n)],
        "g": [group for _, group, _, n in cells for _ in range(n)],
        "level": [level for level, _, _, n in cells for _ in range(n)],
    }


def averaged(data: Any, metric: str = "positive_prediction_rate", **more: Any) -> pl.DataFrame:
    asked = {name: more.pop(name) for name in ("reference", "level", "min_rows") if name in more}
    result = ek.evaluate(data, label="y", prediction="d", metrics=[metric], slices=slice_sets(["g"], ["level"]), **more)
    return conditional(result, ["g"], ["level"], **asked)


def test_the_difference_is_mantel_and_haenszels_risk_difference() -> None:
    [row] = averaged(rows(COUNTS)).to_dicts()
    cells = [(of["a"], of["b"]) for of in COUNTS.values()]
    weights = np.array([n * m / (n + m) for (_, n), (_, m) in cells])
    deltas = np.array([y / m - x / n for (x, n), (y, m) in cells])
    assert row["delta"] == pytest.approx(weights @ deltas / weights.sum(), abs=1e-12)
    variance = [x * (n - x) / n**3 + y * (m - y) / m**3 for (x, n), (y, m) in cells]
    error = math.sqrt(weights**2 @ np.array(variance)) / weights.sum()
    assert (row["high"] - row["low"]) / 2 == pytest.approx(1.959964 * error, rel=0.03)
    assert row["p_value"] == pytest.approx(2 * stats.norm.sf(abs(row["delta"]) / error), rel=0.1)
    assert (row["slice"], row["reference"], row["across"], row["levels"], row["rows"]) == ("g=b", "g=a", "g", 3, 300)


def test_its_sign_and_strength_are_those_of_the_pooled_odds_ratio_of_statsmodels() -> None:
    even: Counts = {level: {"a": (20, 60), "b": (30 + 3 * int(level), 60)} for level in "1234"}
    [row] = averaged(rows(even), reference={"g": "a"}).to_dicts()
    tables: Any = StratifiedTable(
        [np.array([[y, m - y], [x, n - x]]) for (x, n), (y, m) in (of.values() for of in even.values())]
    )
    assert row["delta"] > 0
    assert tables.logodds_pooled > 0
    found, expected = (stats.norm.isf(p / 2) for p in (row["p_value"], tables.test_null_odds().pvalue))
    assert found == pytest.approx(expected, rel=0.1)


def test_of_one_level_it_is_the_difference_in_that_level() -> None:
    [row] = averaged(rows({"1": {"a": (30, 60), "b": (10, 40)}})).to_dicts()
    assert (row["delta"], row["levels"]) == (pytest.approx(-0.25), 1)


def test_a_paradox_is_resolved_alike_people_being_compared() -> None:
    paradox: Counts = {"easy": {"a": (80, 100), "b": (16, 20)}, "hard": {"a": (4, 20), "b": (20, 100)}}
    data = pl.DataFrame(rows(paradox))
    crude = data.group_by("g").agg(pl.col("d").mean()).sort("g")["d"].to_list()
    assert crude[0] - crude[1] == pytest.approx(0.4)
    [row] = averaged(data).to_dicts()
    assert row["delta"] == pytest.approx(0.0, abs=1e-12)
    assert row["low"] < 0 < row["high"]


def test_levels_without_a_group_are_left_out() -> None:
    counts: Counts = {**COUNTS, "4": {"a": (10, 20)}, "5": {"b": (1, 20)}}
    assert averaged(rows(counts)).drop("q_value").equals(averaged(rows(COUNTS)).drop("q_value"))


def test_levels_where_a_group_has_too_few_rows_are_left_out() -> None:
    counts: Counts = {**COUNTS, "4": {"a": (10, 20), "b": (1, 3)}}
    asked = averaged(rows(counts), min_rows=10)
    assert asked["levels"].to_list() == [3]
    assert asked["delta"].to_list() == averaged(rows(COUNTS))["delta"].to_list()
    assert averaged(rows(counts))["levels"].to_list() == [4]


def test_a_group_that_shares_no_level_with_the_reference_has_no_difference() -> None:
    [row] = averaged(rows({"1": {"a": (30, 60)}, "2": {"b": (10, 40)}})).to_dicts()
    assert (row["levels"], row["rows"]) == (0, 0)
    assert all(math.isnan(row[name]) for name in ("delta", "low", "high", "p_value", "q_value"))


def test_rows_of_unknown_groups_are_compared_with_nobody() -> None:
    data = pl.DataFrame(rows({**COUNTS, "4": {"a": (1, 300), "b": (2, 30)}}))
    unknown = data.with_columns(g=pl.when(pl.col("level") == "4").then(None).otherwise("g"))
    assert averaged(unknown).drop("q_value").equals(averaged(rows(COUNTS)).drop("q_value"))


def test_a_chosen_reference_is_the_same_in_every_level_also_where_it_is_missing() -> None:
    counts: Counts = {"0": {"b": (5, 90), "c": (9, 30)}, **{k: {**of, "c": (9, 18)} for k, of in COUNTS.items()}}
    told = averaged(rows(counts), reference={"g": "a"})
    assert told["reference"].to_list() == ["g=a", "g=a"]
    assert told["levels"].to_list() == [3, 3]
    largest = averaged(rows(counts))
    assert largest["reference"].unique().to_list() == ["g=b"]
    other = averaged(rows(counts), reference={"elsewhere": "a"})
    assert other.equals(largest)


@pytest.mark.parametrize(("reference", "words"), [("rest", 'not against "rest"'), ({"g": "q"}, 'No group "g=q"')])
def test_what_is_no_group_of_any_level_is_refused(reference: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        averaged(rows(COUNTS), reference=reference)


@pytest.mark.slow
@pytest.mark.parametrize("clustered", [False, True])
def test_its_error_is_that_of_repeated_samples(clustered: bool) -> None:
    rng = np.random.default_rng(5)
    units, size = 120, 5
    unit = np.repeat(np.arange(units), size)
    found = []
    for _ in range(60):
        level = rng.integers(0, 3, units * size)
        group = rng.choice(["a", "b"], units * size, p=[0.6, 0.4])
        taste = np.repeat(rng.normal(0, 0.25 if clustered else 0, units), size)
        chance = np.clip(0.3 + 0.1 * level + taste, 0, 1)
        drawn = {"y": np.ones_like(unit), "d": rng.random(units * size) < chance, "g": group, "level": level, "u": unit}
        drawn["g"][unit % 2 == 0] = "a"  # whole units in a group: the error of rows taken as independent is too small
        drawn["d"] = drawn["d"].astype(int)
        found.append(averaged(drawn, **({"unit": "u"} if clustered else {})).row(0, named=True))
    deltas = np.array([row["delta"] for row in found])
    quantile = stats.t.ppf(0.975, units - 1) if clustered else stats.norm.ppf(0.975)
    errors = np.array([(row["high"] - row["low"]) / 2 / quantile for row in found])
    assert deltas.mean() == pytest.approx(0, abs=4 * deltas.std() / math.sqrt(len(deltas)))
    assert errors.mean() == pytest.approx(deltas.std(ddof=1), rel=0.3)
    assert np.mean([row["low"] <= 0 <= row["high"] for row in found]) >= 0.85
