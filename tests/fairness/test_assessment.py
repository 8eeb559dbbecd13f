"""An assessment says what its tables say, its criteria are fairlearn's, and what is wrong is said in a sentence."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np
import polars as pl
import pytest
from fairlearn import metrics as peer
from polars.testing import assert_frame_equal

import evalkit as ek
from evalkit.errors import ConfigError, DataError, UsageError
from evalkit.fairness.assessment import Assessment, assess, assess_result
from evalkit.fairness.conditional import conditional
from evalkit.fairness.disparities import disparities
from evalkit.fairness.families import slice_sets
from evalkit.fairness.gap_table import gaps
from evalkit.fairness.sentences import findings
from evalkit.results import Result

RATES = ["positive_prediction_rate", "recall", "accuracy"]
CONTRACT = [
    *("model", "slice", "metric", "value", "low", "high", "level", "method", "rows", "support", "weight"),
    *("status", "approximate", "note", "slice_key"),
    *("baseline", "candidate", "delta", "delta_low", "delta_high", "delta_shrunk", "p_value", "p_adjusted", "q_value"),
]


def people(n: int = 1500, seed: int = 0) -> pl.DataFrame:
    """Decisions that favour `c`; `rare` has 12 rows, and the group of every 20th row is not known."""
    rng = np.random.default_rng(seed)
    group = rng.choice(["a", "b", "c"], n, p=[0.5, 0.3, 0.2]).astype(object)
    group[::20] = None
    group[1:24:2] = "rare"
    y = rng.integers(0, 2, n)
    p = np.clip(rng.normal(0.35 + 0.25 * y + 0.15 * (group == "c"), 0.2), 0, 1).round(2)
    return pl.DataFrame(
        {
            "y": y,
            "sick": rng.integers(0, 2, n),
            "p": p,
            "d": (p >= 0.5).astype(int),
            "g": pl.Series(group.tolist(), dtype=pl.String),
            "s": rng.choice(["x", "z"], n),
            "u": rng.integers(0, 300, n),
        }
    )


def of_decisions(**more: Any) -> Assessment:
    asked: dict[str, Any] = {"protected": ["g"], "label": "y", "prediction": "d", "metrics": RATES, **more}
    return assess(people(), **asked)


@pytest.fixture(scope="module")
def found() -> Assessment:
    return of_decisions(within={"recall": 0.5, "accuracy": 0.35})


# --- its tables ---


def test_groups_and_gaps_are_those_of_the_same_evaluation(found: Assessment) -> None:
    result = ek.evaluate(people(), label="y", prediction="d", metrics=RATES, slices=["g"])
    assert_frame_equal(found.groups, disparities(result, ["g"], min_rows=30))
    assert_frame_equal(found.gaps, gaps(result, ["g"], min_rows=30, within={"recall": 0.5, "accuracy": 0.35}))
    assert found.conditional is None


def test_by_default_metrics_are_those_of_the_kind_of_outputs() -> None:
    asked: dict[str, Any] = {"protected": ["s"], "criteria": False}
    names = set(assess(people(200), score="p", label="y", **asked).result.metrics)
    assert names >= {"roc_auc", "brier_score", "calibration_ratio", "recall", "false_omission_rate", "accuracy"}
    of_numbers = assess(people(200), prediction="p", label="u", task="regression", **asked)
    assert set(of_numbers.gaps["metric"]) == {"mean_error", "mae", "rmse"}


def test_the_table_has_the_columns_of_results_and_comparisons_and_a_row_for_each_thing(found: Assessment) -> None:
    table = found.to_polars()
    assert set(CONTRACT) <= set(table.columns)
    shared = found.result.to_polars().schema
    assert {name: table.schema[name] for name in shared} == shared
    assert table.height == found.groups.height + 2 * found.gaps.height + found.criteria.height
    assert not table.select("model", "slice", "metric").is_duplicated().any()
    gap = found.gaps.row(by_predicate=(pl.col("metric") == "recall"), named=True)
    for name, ends in (("difference", ("value", "low", "high")), ("ratio", ("ratio", "ratio_low", "ratio_high"))):
        row = table.row(by_predicate=pl.col("metric") == f"recall_{name}@across=g", named=True)
        assert [row[end] for end in ("value", "low", "high")] == [gap[end] for end in ends]
        assert row["slice"] == "overall"


def test_everything_that_has_a_value_is_ok_or_has_too_few_rows(found: Assessment) -> None:
    table = found.to_polars()
    assert set(table["status"]) <= {"ok", "undefined", "too_few_rows"}
    assert table.filter(pl.col("value").is_nan())["status"].unique().to_list() in ([], ["undefined"])
    ordered = table.filter(pl.col("low").is_finite() & pl.col("high").is_finite())
    assert (ordered["low"] <= ordered["high"]).all()


# --- criteria ---


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("demographic_parity_difference", peer.demographic_parity_difference),
        ("disparate_impact_ratio", peer.demographic_parity_ratio),
        ("equal_opportunity_difference", peer.equal_opportunity_difference),
        ("equalized_odds_difference", peer.equalized_odds_difference),
    ],
)
def test_criteria_are_fairlearns_on_rows_of_groups_that_are_known(found: Assessment, ours: str, theirs: Any) -> None:
    rows = people().filter(pl.col("g").is_not_null() & (pl.col("g") != "rare"))
    expected = theirs(rows["y"].to_numpy(), rows["d"].to_numpy(), sensitive_features=rows["g"].to_numpy())
    row = found.criteria.row(by_predicate=pl.col("metric") == f"{ours}@across=g", named=True)
    assert row["value"] == pytest.approx(expected, abs=1e-12)
    assert row["low"] <= expected <= row["high"]
    assert "too few rows: g=rare" in row["note"]


def test_a_criterion_of_two_metrics_is_unknown_where_one_is() -> None:
    nobody = people().with_columns(y=pl.when(pl.col("g") == "a").then(pl.col("y")).otherwise(0))
    told = assess(nobody, protected=["g"], label="y", prediction="d", metrics=RATES).criteria
    row = told.row(by_predicate=pl.col("metric") == "equalized_odds_difference@across=g", named=True)
    assert all(math.isnan(row[name]) for name in ("value", "low", "high", "p_value", "q_value"))
    assert row["status"] == "undefined"
    told = told.filter(metric="predictive_equality_difference@across=g")
    assert told["status"].to_list() == ["ok"]


def test_rows_of_unknown_groups_are_in_no_gap_and_no_criterion(found: Assessment) -> None:
    known = of_decisions()
    without = assess(
        people().filter(pl.col("g").is_not_null()), protected=["g"], label="y", prediction="d", metrics=RATES
    )
    of_gap = ["demographic_parity_difference@across=g", "equalized_odds_difference@across=g"]
    for name in of_gap:
        a, b = (t.criteria.row(by_predicate=pl.col("metric") == name, named=True) for t in (known, without))
        assert a["value"] == b["value"]
    assert not any("null" in text for text in (*found.gaps["lowest"], *found.gaps["highest"], *found.gaps["left_out"]))
    assert found.criteria.filter(pl.col("slice").str.contains("null")).is_empty()
    null = found.groups.filter(pl.col("slice") == "g=null")
    assert null["delta"].is_nan().all()
    assert null["note"].str.starts_with("membership is not known").all()


def test_q_values_of_criteria_are_over_the_models_own(found: Assessment) -> None:
    p, q = found.criteria["p_value"].to_numpy(), found.criteria["q_value"].to_numpy()
    assert (np.isnan(p) == np.isnan(q)).all()
    assert (q[~np.isnan(q)] >= p[~np.isnan(p)]).all()


def test_without_criteria_there_are_only_groups_and_gaps() -> None:
    bare = of_decisions(criteria=False)
    assert bare.criteria.is_empty()
    assert bare.to_polars().height == bare.groups.height + 2 * bare.gaps.height


# --- what people read ---


def test_json_holds_the_tables_and_no_nan(found: Assessment) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    told = json.loads(found.to_json(), parse_constant=refuse)
    assert [row["value"] for row in told["gaps"]] == found.gaps["value"].to_list()
    assert len(told["groups"]) == found.groups.height
    assert len(told["criteria"]) == found.criteria.height
    assert told["findings"] == found.findings()
    assert any(row["delta"] is None for row in told["groups"])
    again = assess_result(found.result, **told["asked"])
    assert_frame_equal(again.gaps, found.gaps)


def test_the_section_names_what_is_flagged_certified_not_known_and_too_small() -> None:
    told = of_decisions(protected=["s", "g"], within={"recall": 0.3, "accuracy": 0.3})
    section, table = told.to_markdown(), told.gaps
    assert table.filter(across="g", flagged=True)["metric"].to_list() == ["positive_prediction_rate", "recall"]
    small = table.filter(across="s")
    assert small["certified"].to_list() == [False, True, True]
    assert section.startswith("## Fairness\n\n- Attributes: s, g; groups are compared with: largest.\n- Rows: 1,500;")
    assert re.search(
        r"^- recall differs across g: 0\.\d+ in g=a, 0\.\d+ in g=c, .* within 0\.3 all the same", section, re.MULTILINE
    )
    assert re.search(r"^- accuracy across s is shown to lie within 0\.3: a gap of", section, re.MULTILINE)
    words = "Not known, for the gap is neither shown nor shown to be small: positive_prediction_rate across s."
    assert f"- {words}\n" in section
    assert "- Too few rows for a claim in one metric or more: g=rare.\n" in section
    assert section.count("\n| g | ") == section.count("\n| s | ") == 3
    assert "nan" not in section


def test_what_is_found_comes_the_most_certain_first() -> None:
    table = of_decisions(protected=["s", "g"]).gaps
    flagged = table.filter("flagged").sort("q_value")["metric"].to_list()
    assert [sentence.split(" ")[0] for sentence in findings(table)[: len(flagged)]] == flagged


def test_a_group_that_breaks_tables_is_escaped_in_the_section() -> None:
    rows = people().with_columns(g=pl.col("g").replace("c", "c|d\ne"))
    section = assess(rows, protected=["g"], label="y", prediction="d", metrics=["recall"], criteria=False).to_markdown()
    [line] = [line for line in section.splitlines() if line.startswith("| g |")]
    assert "g=c\\|d e" in line
    assert len(re.findall(r"(?<!\\)\|", line)) == 8


# --- what else may be asked ---


def test_of_one_group_or_none_that_is_known_there_is_nothing_to_compare() -> None:
    rows = people().with_columns(one=pl.lit("x"), unknown=pl.lit(None, dtype=pl.String))
    told = assess(rows, protected=["one", "unknown"], label="y", prediction="d", metrics=["recall"])
    assert told.gaps["finding"].to_list() == ["one group only", "no group is known"]
    assert told.criteria.is_empty()
    assert told.findings() == []
    assert "nan" not in told.to_markdown()


def test_many_groups_are_compared_without_a_matrix_of_all_pairs() -> None:
    rows = {"y": np.ones(6000, dtype=int), "d": np.arange(6000) % 3 % 2, "g": np.arange(6000) // 20}
    told = assess(rows, protected=["g"], label="y", prediction="d", metrics=["recall"], min_rows=10, criteria=False)
    assert told.gaps["groups"].to_list() == [300]
    assert told.gaps["flagged"].to_list() == [False]


def test_crosses_and_a_chosen_reference() -> None:
    told = of_decisions(protected=["g", ["s", "g"]], reference={"g": "b", "s": "x"}, criteria=False)
    assert set(told.gaps["across"]) == {"g", "s,g"}
    known = told.groups.filter(pl.col("reference") != "")
    assert set(known.filter(across="g")["reference"]) == {"g=b"}
    assert set(known.filter(across="s,g")["reference"]) == {"s=x, g=b"}


def test_small_groups_are_pooled_into_one() -> None:
    rows = people().with_columns(g=pl.when(pl.int_range(pl.len()) % 30 == 7).then(pl.lit("tiny")).otherwise("g"))
    told = assess(
        rows, protected=["g"], label="y", prediction="d", metrics=RATES, pool_below=100, min_rows=10, criteria=False
    )
    assert set(told.groups["slice"]) == {"g=a", "g=b", "g=c", "g=other", "g=null"}
    expected = rows.filter(pl.col("g").is_in(["rare", "tiny"]))["d"].mean()
    other = told.groups.row(
        by_predicate=(pl.col("slice") == "g=other") & (pl.col("metric") == "positive_prediction_rate"), named=True
    )
    assert other["value"] == pytest.approx(expected)


def test_within_control_features_there_is_a_gap_of_each_level_and_an_average() -> None:
    told = of_decisions(control=["s"], criteria=False)
    assert told.gaps["slice"].unique(maintain_order=True).to_list() == ["s=x", "s=z"]
    result = ek.evaluate(people(), label="y", prediction="d", metrics=RATES, slices=slice_sets(["g"], ["s"]))
    assert told.conditional is not None
    assert_frame_equal(told.conditional, conditional(result, ["g"], ["s"]))
    assert len(told.to_dict()["conditional"]) == told.conditional.height
    assert "- Within levels of: s.\n" in told.to_markdown()
    assert of_decisions(control=["s"], reference="rest", criteria=False).conditional is None


def test_two_labels_are_two_models() -> None:
    told = of_decisions(label=None, labels={"cost": "y", "need": "sick"}, criteria=False)
    assert told.result.models == ["d on cost", "d on need"]
    need = told.gaps.filter(model="d on need").drop("model")
    assert_frame_equal(need, of_decisions(label="sick", criteria=False).gaps.drop("model"))
    assert told.findings()[0].startswith("d on ")
    assert "| Model | Across |" in told.to_markdown()


def test_several_models_are_judged_each_by_itself() -> None:
    evaluated = [
        ek.evaluate(people(), label=label, prediction="d", metrics=RATES, slices=["g"], name=label)
        for label in ("y", "sick")
    ]
    told = assess_result(Result([*evaluated[0].evaluations, *evaluated[1].evaluations]), protected=["g"])
    for label in ("y", "sick"):
        own = of_decisions(label=label, name=label)
        assert_frame_equal(told.gaps.filter(model=label), own.gaps)
        assert_frame_equal(told.criteria.filter(model=label), own.criteria)


def test_groups_that_are_known_as_probabilities_are_compared_as_if_known_where_they_are_certain() -> None:
    rows = people().filter(pl.col("g").is_in(["a", "b"])).with_columns(
        a=(pl.col("g") == "a").cast(float), b=(pl.col("g") == "b").cast(float)
    )  # fmt: skip
    asked: dict[str, Any] = {"label": "y", "prediction": "d", "metrics": RATES, "criteria": False}
    told = assess(rows, membership={"h": {"a": "a", "b": "b"}}, **asked)
    known = assess(rows, protected=["g"], **asked)
    assert told.gaps["value"].to_list() == pytest.approx(known.gaps["value"].to_list(), abs=1e-12)
    assert told.gaps["high"].to_list() == pytest.approx(known.gaps["high"].to_list(), abs=0.01)
    assert set(told.groups["slice"]) == {"h=a", "h=b"}


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"protected": []}, ConfigError, "Name the protected attributes, such as protected=['sex', 'race']."),
        ({"protected": ["gg"]}, UsageError, 'Did you mean "g"?'),
        ({"label": None}, UsageError, "label"),
        ({"prediction": None}, UsageError, "score"),
        ({"level": 95}, ConfigError, "level must lie between 0 and 1, such as 0.95; not 95."),
        ({"permutations": -1}, ConfigError, "permutations is at least 0, not -1."),
        ({"pool_below": -1}, ConfigError, "pool_below is a number of rows of at least 0, not -1."),
        ({"min_rows": -1}, ConfigError, "min_rows is at least 0, not -1."),
        ({"metrics": ["recal"]}, ConfigError, 'Did you mean "recall"?'),
        ({"metrics": ["mae"]}, UsageError, "mae"),
        ({"within": 0}, ConfigError, "within is how large a gap may be, a number above 0, not 0."),
        ({"within": {"precision": 0.1}}, ConfigError, 'within names "precision", which is not among the metrics'),
        ({"rates": "newcomb"}, ConfigError, 'Did you mean "newcombe"?'),
        ({"reference": "larges"}, ConfigError, 'Did you mean "largest"?'),
        ({"reference": {"g": "q"}}, ConfigError, 'No group "g=q" to compare with.'),
        ({"reference": {"gg": "a"}}, ConfigError, 'reference names "gg", which is no protected attribute.'),
        ({"control": ["s", "g"]}, ConfigError, '"g" is both protected and a control feature; leave it out of one.'),
        ({"labels": {"one": "y", "two": "sick"}}, UsageError, "label"),
        ({"membership": {"h": {"a": "p", "b": "d"}}, "labels": {"i": "y"}, "label": None}, UsageError, "one label"),
        ({"membership": {"h": {"a": "p"}}}, ConfigError, 'Membership of "h" needs a column for each of two groups'),
        ({"membership": {"h": {"a": "u", "b": "d"}}}, DataError, '"u" must hold probabilities between 0 and 1'),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(asked: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error) as told:
        of_decisions(**{"criteria": False, **asked}).to_dict()
    assert words in str(told.value)
    assert "\n" not in str(told.value)
