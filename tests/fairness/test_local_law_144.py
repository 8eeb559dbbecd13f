"""The audit gives the rule's own example, and from rows what is counted by hand."""

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

import evalkit as ek
from evalkit.fairness.audits.local_law_144 import LocalLaw144, audit_counts, audit_rows

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
    answer = np.where(np.arange(n) % 2, "yes", "no")
    gaps = pl.int_range(n, eager=True).replace(3, None) > 5
    return pl.DataFrame(
        {"sex": sex, "race": race, "score": score, "hired": score > 0.8, "answer": answer, "gaps": gaps}
    )


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
    outcome: dict[str, Any] = {"score": "score"} if scored else {"selected": "hired"}
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
            assert found[category]["share"] == len(held) / sum(map(len, groups.values()))


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
    assert isinstance(audit, LocalLaw144)
    page = audit.to_markdown()
    said = ["2023-05-01", "2022-01-31", "tests of last year (historical data)", "ranker \\| 2", "175"]
    for words in [*said, "7 applicants with an unknown", "Sex categories", "Median score of the sample: 3.5"]:
        assert words in page
    assert "until 2024-05-01" in page
    assert "distribution date, on which" not in page
    data = json.loads(audit.to_json())
    assert (data["standard"], data["rate"], data["unknown"], data["median"]) == ("ll144", "scoring", {"sex": 7}, 3.5)
    assert data["categories"][1]["impact_ratio"] == (34 / 76) / (50 / 92)
    assert data["findings"] == list(audit.audit.findings)


def test_a_lacking_distribution_date_is_said() -> None:
    assert (
        "Not ready to be published: the distribution date" in audit_counts(EXAMPLE, scored=True, **SAID).to_markdown()
    )


def test_test_data_are_explained() -> None:
    why = "the tool is new; people of the agency answered"
    audit = audit_counts(EXAMPLE, scored=True, **SAID, kind="test", explanation=why)
    assert why in audit.to_markdown()
    assert "tests of last year (test data)" in audit.to_markdown()
    assert (audit.to_dict()["data_kind"], audit.to_dict()["explanation"]) == ("test", why)


def test_the_share_of_a_category_is_of_those_whose_category_is_known() -> None:
    """Who is unknown is in no calculation, so they do not make a category small."""
    counts = {"race": [("a", 5, 89), ("b", 9, 9), ("c", 1, 2)]}
    asked: dict[str, Any] = {"scored": False, "exclude": ["c"], "justification": "few", **SAID}
    with pytest.raises(ek.EvalkitError, match=r"c holds 2\.0% of the data \(race\); only less than 2%"):
        audit_counts(counts, unknown={"race": 900}, **asked)
    found = audit_counts({"race": [("a", 5, 90), ("b", 9, 9), ("c", 1, 2)]}, unknown={"race": 900}, **asked)
    assert found.categories["excluded"].to_list() == [False, False, True]


def test_the_most_selected_category_is_one_that_is_not_left_out() -> None:
    counts = {"race": [("a", 50, 100), ("b", 40, 100), ("c", 3, 3)], "sex": [("c", 43, 103), ("d", 50, 100)]}
    asked: dict[str, Any] = {"scored": False, "justification": "three people", **SAID}
    found = audit_counts(counts, exclude=["race=c"], **asked).categories
    assert found["impact_ratio"].to_list()[:3] == [1.0, 0.8, None]
    assert found.filter(dimension="race", category="c")["rate"].item() == 1.0
    with pytest.raises(ek.EvalkitError, match=r"c holds 50\.7% of the data \(sex\)"):
        audit_counts(counts, exclude=["c"], **asked)
    small = audit_counts(counts, exclude_small=True, **asked)
    assert small.categories.equals(found)
    assert small.justification == "three people"


def test_small_categories_that_stay_are_named() -> None:
    audit = audit_rows(draw(), sex="sex", race="race", selected="hired", **SAID)
    assert audit.audit.too_few[0] == (
        "race: native holds less than 2% of the data and is not left out; its ratio rests on few people."
    )
    left = audit_rows(
        draw(), sex="sex", race="race", selected="hired", **SAID, exclude_small=True, justification="few people"
    )
    assert left.audit.too_few == ()
    assert "few people" in left.audit.facts.values()


def test_words_for_unknown_are_no_categories() -> None:
    people = draw().with_columns(sex=pl.col("sex").replace("unknown", " Declined "))
    audit = audit_rows(people, sex="sex", race="race", selected="hired", unknown=["declined"], **SAID)
    same = audit_rows(draw(), sex="sex", race="race", selected="hired", **SAID)
    assert audit.unknown == same.unknown
    assert audit.categories.equals(same.categories)


def test_the_median_is_of_the_full_sample_those_of_unknown_category_too() -> None:
    people = {"s": ["f", "f", "m", "m", None], "r": ["a", "b"] * 2 + ["a"], "score": [1, 2, 3, 4, 9]}
    audit = audit_rows(people, sex="s", race="r", score="score", **SAID)
    assert audit.median == 3
    assert audit.categories.filter(dimension="s")["selected"].to_list() == [0, 1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"date": "1 May"}, "date must be a date as YYYY-MM-DD, not '1 May'"),
        ({"data_source": " "}, "data_source is empty"),
        ({"exclude": ["native"]}, "need a justification"),
        ({"justification": "few"}, "A justification needs categories"),
        ({"exclude_small": True}, r"left out \(female x native, male x native, native\) need a justification"),
        ({"kind": "test"}, "no historical data were used and how the test data were made"),
        ({"kind": "tests"}, "historical or test, not 'tests'"),
        ({"explanation": "few"}, "An explanation is for test data"),
        ({"unknown": ["declned"]}, 'No applicant has the value "declned"'),
        ({"race": "sex"}, "two columns; both are sex"),
        ({"date": "2023-W18-1"}, "date must be a date as YYYY-MM-DD, not '2023-W18-1'"),
        ({"distributed": "soon"}, "distributed must be a date"),
        ({"exclude": ["nativ"], "justification": "few"}, 'no category "nativ" to leave out. Did you mean "native"'),
        ({"exclude": ["black"], "justification": "few"}, "only less than 2% may be left out"),
        ({"score": "score"}, "either the column of selections or the column of scores"),
        ({"selected": "score"}, "score must hold true and false"),
        ({"selected": "race"}, "race cannot be both an attribute of people and what is decided"),
        ({"selected": "answer"}, "answer must hold true and false, or 1 and 0; it holds no, yes"),
        ({"selected": "gaps"}, "gaps has 1 missing values"),
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
    with pytest.raises(ek.EvalkitError, match="sex counts 175 applicants, more than the 100 that there are"):
        audit_counts(EXAMPLE, scored=True, **SAID, unknown={"sex": 7}, applicants=100)
    with pytest.raises(ek.EvalkitError, match=r'unknown names "sexx", which is not counted\. Did'):
        audit_counts(EXAMPLE, scored=True, **SAID, unknown={"sexx": 7})
    with pytest.raises(ek.EvalkitError, match="sex: -1 applicants of unknown category cannot be"):
        audit_counts(EXAMPLE, scored=True, **SAID, unknown={"sex": -1})
    with pytest.raises(ek.EvalkitError, match="sex names m more than once"):
        audit_counts({"sex": [("m", 1, 5), ("m", 1, 6)]}, scored=False, **SAID)


@pytest.mark.parametrize(
    ("sex", "words"),
    [
        (list(range(300)), "s has 300 values, too many to be groups of people"),
        ([["f"]] * 300, "s must hold one group for each applicant; it holds List"),
        ([None] * 300, "s is known of nobody"),
    ],
)
def test_a_column_that_holds_no_groups_is_refused(sex: list[Any], words: str) -> None:
    people = pl.DataFrame({"s": sex, "r": ["a", "b"] * 150, "hired": [0, 1, 1] * 100})
    with pytest.raises(ek.EvalkitError, match=words):
        audit_rows(people, sex="s", race="r", selected="hired", **SAID)
