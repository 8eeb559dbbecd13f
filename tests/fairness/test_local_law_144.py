"""The audit gives the rule's own example, and from rows what is counted by hand."""

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

import evalkit as ek
from evalkit.fairness.local_law_144 import Audit, audit_counts, audit_rows

SAID: dict[str, Any] = {"date": "2023-05-01", "data_source": "tests of last year"}
EXAMPLE = {
    "sex": [("male", 50, 92), ("female", 34, 76)],
    "race": [
        ("Hispanic or Latino", 18, 28), ("White", 15, 40), ("Black or African American", 16, 32),
        ("Native Hawaiian or Pacific Islander", 5, 8), ("Asian", 10, 24),
    ],
}  # fmt: skip


def draw(n: int = 4000) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    sex = rng.choice(["female", "male", "unknown"], n, p=[0.45, 0.5, 0.05])
    race = rng.choice(np.array(["asian", "black", "native", "white", None]), n, p=[0.2, 0.25, 0.012, 0.5, 0.038])
    score = rng.normal(0.2 * (sex == "male"), 1, n).round(1)
    return pl.DataFrame({"sex": sex, "race": race, "score": score, "hired": score > 0.8})


def test_the_rules_example_of_scores() -> None:
    audit = audit_counts(EXAMPLE, scored=True, **SAID)
    ratios = dict(audit.categories.select("category", "impact_ratio").iter_rows())
    expected = [1.0, 0.8232, 1.0, 0.5833, 0.7778, 0.9722, 0.6481]
    assert [round(ratio, 4) for ratio in ratios.values()] == expected
    assert ratios["Asian"] == (10 / 24) / (18 / 28)
    assert audit.applicants == 168
    assert audit.categories.filter(dimension="race")["applicants"].sum() == 132
    assert audit.unknown == {}
    assert "unknown" not in audit.to_markdown()
    assert "| White | 40 | 15 | 37.5% | 0.583 |" in audit.to_markdown()


@pytest.mark.parametrize("scored", [False, True])
def test_rows_give_what_is_counted_by_hand(scored: bool) -> None:
    table = draw()
    outcome = {"score": "score"} if scored else {"selected": "hired"}
    audit = audit_rows(table, sex="sex", race="race", **outcome, **SAID)
    median = float(np.median(table["score"].to_numpy()))
    chosen = table["score"] > median if scored else table["hired"]
    rows = table.with_columns(chosen=chosen).to_dicts()
    assert audit.median == (median if scored else None)
    assert audit.applicants == len(rows)
    for dimension, names in (("sex", ["sex"]), ("race", ["race"]), ("sex x race", ["sex", "race"])):
        groups: dict[str, list[bool]] = {}
        for row in rows:
            values = [row[name] for name in names]
            if None not in values and "unknown" not in values:
                groups.setdefault(" x ".join(values), []).append(row["chosen"])
        assert audit.unknown[dimension] == len(rows) - sum(map(len, groups.values()))
        best = max(np.mean(held) for held in groups.values())
        found = {row["category"]: row for row in audit.categories.filter(dimension=dimension).to_dicts()}
        assert found.keys() == groups.keys()
        for category, held in groups.items():
            assert (found[category]["applicants"], found[category]["selected"]) == (len(held), sum(held))
            assert found[category]["impact_ratio"] == pytest.approx(np.mean(held) / best, rel=1e-12)
            assert found[category]["share"] == len(held) / len(rows)


def test_small_categories_are_left_out_with_a_reason_and_their_rates_stay() -> None:
    why = "too few people for a rate"
    table = draw().with_columns(hired=pl.col("hired") | (pl.col("race") == "native").fill_null(value=False))
    asked: dict[str, Any] = {"sex": "sex", "race": "race", "selected": "hired", **SAID}
    plain = audit_rows(table, **asked).categories.filter(dimension="race")
    assert plain.filter(category="native")["impact_ratio"].item() == 1.0
    audit = audit_rows(table, **asked, exclude=["native"], justification=why)
    race = audit.categories.filter(dimension="race")
    left = race.filter(category="native").to_dicts()[0]
    assert (left["excluded"], left["impact_ratio"], left["rate"]) == (True, None, 1.0)
    assert race["impact_ratio"].max() == 1.0
    assert why in audit.to_markdown()
    n = left["applicants"]
    assert f"| native | {n} | {n} | 100.0% | left out |" in audit.to_markdown()


def test_nobody_selected_has_no_impact_ratio() -> None:
    audit = audit_counts({"sex": [("f", 0, 9), ("m", 0, 5), ("x", 0, 0)]}, scored=False, **SAID)
    assert audit.categories["rate"].to_list() == [0.0, 0.0, None]
    assert audit.categories["impact_ratio"].null_count() == 3
    assert "| x | 0 | 0 |  |  |" in audit.to_markdown()


def test_what_is_published_says_where_and_when() -> None:
    audit = audit_counts(
        EXAMPLE, scored=True, **SAID, unknown={"sex": 7}, tool="ranker | 2", distributed="2022-01-31", median=3.5
    )
    assert isinstance(audit, Audit)
    page = audit.to_markdown()
    for words in (
        "2023-05-01",
        "2022-01-31",
        "tests of last year",
        "ranker | 2",
        "175",
        "7 applicants with an unknown",
    ):
        assert words in page
    data = json.loads(audit.to_json())
    assert (data["standard"], data["rate"], data["unknown"], data["median"]) == ("ll144", "scoring", {"sex": 7}, 3.5)
    assert data["categories"][1]["impact_ratio"] == (34 / 76) / (50 / 92)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"date": "1 May"}, "date must be a date as YYYY-MM-DD, not '1 May'"),
        ({"data_source": " "}, "data_source is empty"),
        ({"exclude": ["native"]}, "need a justification"),
        ({"justification": "few"}, "a justification needs categories"),
        ({"exclude": ["nativ"], "justification": "few"}, 'no category "nativ" to leave out. Did you mean "native"'),
        ({"exclude": ["black"], "justification": "few"}, "only less than 2% may be left out"),
        ({"score": "score"}, "either the column of selections or the column of scores"),
        ({"selected": "score"}, "score must hold true and false"),
        ({"selected": "race"}, "race has .* missing values"),
        ({"selected": "sex"}, "sex must hold true and false"),
        ({"selected": "hire"}, 'No column "hire".*Did you mean "hired"'),
    ],
)
def test_what_cannot_be_audited_is_said(change: dict[str, Any], words: str) -> None:
    asked: dict[str, Any] = {"sex": "sex", "race": "race", "selected": "hired", **SAID}
    with pytest.raises(ek.EvalkitError, match=words):
        audit_rows(draw(), **{**asked, **change})


def test_counts_that_cannot_be_are_said() -> None:
    with pytest.raises(ek.EvalkitError, match="m: 6 of 5 applicants cannot be"):
        audit_counts({"sex": [("m", 6, 5)]}, scored=False, **SAID)
    with pytest.raises(ek.EvalkitError, match="no applicants"):
        audit_counts({}, scored=False, **SAID)
