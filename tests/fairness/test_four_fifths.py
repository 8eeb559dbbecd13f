"""The four-fifths rule: what it says, what can be shown, and how seldom a fair model is wronged."""

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportions_ztest

import evalkit as ek
from evalkit.fairness.audits.four_fifths import (
    OPEN,
    OVER,
    SMALL,
    TOO_FEW,
    UNDER,
    by_chance,
    four_fifths,
    four_fifths_counts,
)
from evalkit.fairness.audits.pair_ratios import pair_ratios

SAID: dict[str, Any] = {"date": "2026-05-01", "data_source": "all applicants of 2025"}


def draw(n: int = 1500) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    sex = rng.choice(["female", "male", "unknown"], n, p=[0.45, 0.5, 0.05])
    race = rng.choice(["asian", "black", "native", "white"], n, p=[0.1, 0.2, 0.01, 0.69])
    score = rng.normal(np.where(race == "black", -0.7, 0.0), 1).round(2)
    return pl.DataFrame({"sex": sex, "race": race, "score": score, "hired": score >= 0.5})


def of(counts: dict[str, tuple[int, int]], **more: Any) -> dict[str, dict[str, Any]]:
    found = four_fifths_counts({"race": [(g, x, n) for g, (x, n) in counts.items()]}, **{**SAID, **more})
    return {row["group"]: row for row in found.groups.to_dicts()}


def test_rows_are_counted_and_held_against_the_highest_group() -> None:
    people = draw()
    found = four_fifths(people, protected=["sex", "race", ("sex", "race")], selected="hired", **SAID)
    again = four_fifths(people, protected=["sex", "race", ["sex", "race"]], score="score", threshold=0.5, **SAID)
    assert found.groups.equals(again.groups)
    assert again.selected == "score of at least 0.5"
    assert found.attributes["attribute"].to_list() == ["sex", "race", "sex x race"]
    race = {row["group"]: row for row in found.groups.filter(attribute="race").to_dicts()}
    rates = {g: float(people.filter(race=g)["hired"].to_numpy().mean()) for g in race}
    best = max(set(race) - {"native"}, key=lambda g: rates[g])
    for group, row in race.items():
        assert row["rate"] == pytest.approx(rates[group])
        if group != "native":
            assert (row["reference"], row["ratio"]) == (best, pytest.approx(rates[group] / rates[best]))
            assert row["under"] == (rates[group] < 0.8 * rates[best])
    assert (race["native"]["claim"], race["native"]["ratio"]) == (SMALL, None)
    assert race["black"]["claim"] == UNDER
    unknown = people.filter(sex="unknown").height
    assert found.attributes["unknown"].to_list() == [unknown, 0, unknown]
    assert found.applicants == people.height


def test_the_tests_are_scipys_and_statsmodels() -> None:
    rows = of({"a": (60, 100), "b": (45, 110), "c": (70, 130)})
    assert rows["a"]["fisher_p"] is None
    p = stats.fisher_exact(np.array([[45, 65], [60, 40]]))[1]
    assert rows["b"]["fisher_p"] == pytest.approx(p)
    assert rows["b"]["p_adjusted"] == pytest.approx(3 * p)
    z, _ = proportions_ztest([60, 45], [100, 110])
    assert rows["b"]["standard_deviations"] == pytest.approx(z)
    found = four_fifths_counts({"race": [("a", 60, 100), ("b", 45, 110), ("c", 70, 130)]}, **SAID).attributes
    expected = stats.chi2_contingency([[60, 45, 70], [40, 65, 60]], correction=False).pvalue
    assert found["p_value"].item() == pytest.approx(expected)


def test_the_bounds_hold_whichever_group_is_highest() -> None:
    x, n = np.array([60, 45, 70]), np.array([100, 110, 130])
    low = pair_ratios(x, n)
    rows = list(of({"a": (60, 100), "b": (45, 110), "c": (70, 130)}).values())
    assert [row["low"] for row in rows] == pytest.approx(low.min(axis=1).tolist())
    assert [row["high"] for row in rows] == pytest.approx((1 / low.max(axis=0)).tolist())
    assert rows[0]["low"] < 1 == rows[0]["ratio"]  # that the first group is truly the highest is not known either


def test_exactly_four_fifths_is_not_under_it() -> None:
    assert [of({"a": (5, 10), "b": (x, 10)})["b"]["under"] for x in (3, 4, 5)] == [True, False, False]
    assert of({"a": (333, 999), "b": (266, 998)})["b"]["under"] is True
    assert of({"a": (330, 990), "b": (264, 990)})["b"]["under"] is False


def test_one_person_may_turn_the_order() -> None:
    """Questions and Answers 21: one different person selected would leave the other group with the lower rate."""
    assert of({"a": (3, 10), "b": (2, 10)})["b"]["one_person"] is True
    assert of({"a": (4, 10), "b": (2, 10)})["b"]["one_person"] is False
    audit = four_fifths_counts({"race": [("a", 3, 10), ("b", 2, 10)]}, **SAID).audit
    assert any("One person selected instead of another would turn the order of b" in words for words in audit.findings)


@settings(max_examples=8)
@given(st.integers(1, 80), st.integers(1, 80), st.data())
def test_selections_lacking_are_the_fewest_that_reach_four_fifths(n: int, m: int, data: st.DataObject) -> None:
    x = data.draw(st.integers(1, n))
    y = data.draw(st.integers(0, x * m // n))  # b's rate is no higher
    row = of({"a": (x, n), "b": (y, m)}, least_share=0)["b"]
    needed = [s for s in range(m + 1) if 5 * (y + s) * n >= 4 * x * m]
    assert row["short"] == needed[0]


@settings(max_examples=8)
@given(
    st.lists(st.integers(1, 120).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=2, max_size=5)
)
def test_shown_from_is_where_the_claim_begins(drawn: list[tuple[int, int]]) -> None:
    counts = {f"g{i}": pair for i, pair in enumerate(drawn)}
    for name, row in of(counts, least_share=0).items():
        assert row["claim"] in (UNDER, OVER, OPEN, TOO_FEW, "nobody was selected")
        if row["claim"] == "nobody was selected" or row["reference"] == name:
            continue
        shown = row["shows_from"] is not None and row["ratio"] <= row["shows_from"] + 1e-9
        assert shown == (row["claim"] == UNDER)
        assert row["low"] <= row["ratio"] + 1e-9
        assert row["ratio"] <= row["high"] + 1e-9
        if row["claim"] == TOO_FEW:
            nobody = of({**counts, name: (0, counts[name][1])}, least_share=0)[name]
            assert nobody["claim"] != UNDER


def test_chance_breaks_the_bare_rule_for_most_fair_models_of_small_groups() -> None:
    assert by_chance(np.full(10, 50), 0.5) == pytest.approx(0.98, abs=0.01)
    assert by_chance(np.full(2, 10_000), 0.5) == 0
    audit = four_fifths_counts({"race": [(f"g{i}", 25 - i % 2 * 6, 50) for i in range(10)]}, **SAID).audit
    assert any("chance alone breaks it in 9" in words for words in audit.findings)
    assert not any("is shown to be under" in words for words in audit.findings)


def test_a_small_difference_of_many_people_is_named() -> None:
    audit = four_fifths_counts({"sex": [("f", 45_000, 100_000), ("m", 50_000, 100_000)]}, **SAID).audit
    assert any("f (ratio 0.900" in words and "keeps the bare rule at a rate" in words for words in audit.findings)
    assert any("f and m are shown to be selected at four fifths" in words for words in audit.findings)


def test_too_few_people_and_too_small_shares_are_named() -> None:
    audit = four_fifths_counts({"race": [("a", 300, 600), ("b", 2, 3), ("c", 10, 20)]}, **SAID, least_share=0.01).audit
    assert audit.too_few == (
        "race: b (3) holds less than 1% of the applicants and is not compared (Questions and Answers 16).",
    )
    audit = four_fifths_counts({"race": [("a", 60, 600), ("c", 1, 20)]}, **SAID).audit
    assert audit.too_few[0].startswith("race: too few applicants in c (20): even with nobody selected")


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([("a", 0, 50), ("b", 0, 50)], "race: nothing can be compared, nobody was selected."),
        ([("a", 9, 50)], "race: nothing can be compared, fewer than two groups are large enough."),
    ],
)
def test_what_cannot_be_compared_is_said(counts: list[tuple[str, int, int]], words: str) -> None:
    found = four_fifths_counts({"race": counts}, **SAID)
    assert found.audit.findings == (words,)
    assert found.groups["ratio"].null_count() == len(counts)


def test_all_forms_say_the_same() -> None:
    found = four_fifths(draw(), protected=["race"], selected="hired", tool="<b>|x", **SAID)
    data = json.loads(found.audit.to_json())
    assert data["standard"] == "four-fifths"
    assert data["groups"] == found.groups.to_dicts()
    page = found.audit.to_markdown()
    for row in found.groups.to_dicts():
        assert f"| {row['group']} | {row['applicants']:,} | {row['selected']} |" in page
        assert row["claim"] in page
    assert "\\<b\\>\\|x" in page


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"level": 95}, "level must lie between 0 and 1, not 95"),
        ({"least_share": 2}, "least share of a group lies between 0 and 0.5, not 2"),
        ({"protected": []}, "Name the protected attributes"),
        ({"selected": None, "score": "score"}, "give the lowest score that is, as threshold"),
        ({"threshold": 1.0}, "A threshold is for scores"),
        ({"selected": None, "score": "score", "threshold": float("nan")}, "A threshold is a finite number"),
        ({"selected": None}, "either the column of selections or the column of scores"),
        ({"protected": ["rac"]}, 'No column "rac".*Did you mean "race"'),
        ({"data_source": ""}, "data_source is empty"),
        ({"date": "2026-13-01"}, "date must be a date as YYYY-MM-DD"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, Any], words: str) -> None:
    asked: dict[str, Any] = {"protected": ["race"], "selected": "hired", **SAID}
    with pytest.raises(ek.EvalkitError, match=words):
        four_fifths(draw(), **{**asked, **change})


def test_counts_that_cannot_be_are_said() -> None:
    with pytest.raises(ek.EvalkitError, match="There are no applicants"):
        four_fifths_counts({"race": [("a", 0, 0)]}, **SAID)
    with pytest.raises(ek.EvalkitError, match="201 groups are too many to compare, more than 200"):
        four_fifths_counts({"race": [(str(i), 1, 2) for i in range(201)]}, **SAID, least_share=0)
