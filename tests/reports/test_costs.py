"""Costs are shown in money, and their curves are those of `cost_curve`."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape

import numpy as np
import pytest

import evalkit as ek
from evalkit.comparison import Comparison
from evalkit.cost_curves import cost_curve, cost_difference
from evalkit.money import amount
from evalkit.reports.cells import cells
from evalkit.reports.costs import costly as asked_for
from evalkit.reports.costs import costs
from evalkit.reports.one_slice import entries, joined
from evalkit.reports.page import parts
from evalkit.reports.part import Part
from evalkit.results import Result
from evalkit.show import number
from evalkit.sums import ScoreSums


def text(part: Part) -> str:
    """The words that a part shows."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", part.html.replace("<wbr>", ""))))


@pytest.fixture(scope="module")
def part(costly: Comparison) -> Part:
    return costs(costly.result, costly)


def test_there_is_a_part_of_costs_only_where_costs_were_asked_for(costly: Comparison, two_models: Result) -> None:
    assert "costs" in [part.name for part in parts(costly.result, comparison=costly)]
    assert not asked_for(two_models)
    assert "costs" not in [part.name for part in parts(two_models)]


def test_costs_of_all_rows_are_written_in_money(costly: Comparison, part: Part) -> None:
    for model in costly.result.models:
        mean, total, normal = (
            costly.result.of(model)[f"{name}@fn=40,fp=5"].value
            for name in ("expected_cost", "total_cost", "normalized_cost")
        )
        assert amount(mean, "USD") in text(part)
        assert amount(total, "USD") in text(part)
        assert f"{normal:.4f}" in text(part)
    assert "false positive USD 5.00, false negative USD 40.00" in text(part)
    assert "false negative: column price" in text(part)


def test_the_table_of_all_results_knows_the_units(costly: Comparison) -> None:
    held = cells(costly.result)
    units = dict(zip(held["names"]["metric"], held["units"], strict=True))
    assert units["expected_cost@fn=40,fp=5"] == "USD per customer"
    assert units["total_cost@fn=40,fp=5"] == "USD"
    assert units["roc_auc"] == ""


@pytest.mark.parametrize("slice_text", ["overall", "group=plain"])
@pytest.mark.parametrize(("spec", "given"), [(0, {"fn": 40, "fp": 5}), (1, {"fn": "price"})])
def test_curves_of_cost_are_those_of_the_evaluation(
    costly: Comparison, part: Part, slice_text: str, spec: int, given: dict[str, object]
) -> None:
    assert part.data is not None
    held = part.data["points"]["new"][slice_text]["cost"][spec]
    curve = cost_curve(costly.result, "profit", slice_text, "new", points=100, **given)  # type: ignore[arg-type]
    for name in ("positive_prediction_rate", "profit"):
        np.testing.assert_allclose(held[name], curve[name].to_numpy(), rtol=1e-3)
    assert held["threshold"][0] is None


def test_decision_curves_and_cost_lines_are_those_of_the_evaluation(costly: Comparison, part: Part) -> None:
    assert part.data is not None
    held = part.data["points"]["old"]["overall"]
    benefit, lines = (cost_curve(costly.result, kind, "overall", "old") for kind in ("net_benefit", "cost_lines"))
    np.testing.assert_allclose(held["benefit"]["model"], benefit["model"].to_numpy(), rtol=1e-3)
    np.testing.assert_allclose(held["benefit"]["treat_all"], benefit["treat_all"].to_numpy(), rtol=1e-3)
    np.testing.assert_allclose(held["lines"]["normalized_cost"], lines["normalized_cost"].to_numpy(), rtol=1e-3)


def test_a_candidates_cost_minus_the_baselines_comes_with_a_band(costly: Comparison, part: Part) -> None:
    assert part.data is not None
    pair = costly.pair("new")
    assert pair.candidate.rows is not None
    assert pair.baseline.rows is not None
    mine, theirs = pair.candidate.rows.rows, pair.baseline.rows.rows
    expected = cost_difference(mine.label, theirs.score, mine.score, fn=40, fp=5)
    held = part.data["differences"]["new"]["overall"][0]
    np.testing.assert_allclose(held["difference"], expected["difference"].to_numpy(), rtol=1e-3)
    np.testing.assert_allclose(held["high_all"], expected["high_all"].to_numpy(), rtol=1e-3)
    assert set(part.data["differences"]) == {"new", "bad"}


def test_the_difference_in_a_slice_is_of_its_rows(costly: Comparison, part: Part) -> None:
    assert part.data is not None
    pair = costly.pair("bad")
    assert pair.candidate.rows is not None
    assert pair.baseline.rows is not None
    mine, theirs = pair.candidate.rows.rows, pair.baseline.rows.rows
    assert mine.label is not None
    assert mine.score is not None
    assert theirs.score is not None
    place = pair.candidate.rows.frame["group"].to_numpy() == "third"
    expected = cost_difference(mine.label[place], theirs.score[place], mine.score[place], fn=40, fp=5)
    held = part.data["differences"]["bad"]["group=third"][0]
    np.testing.assert_allclose(held["difference"], expected["difference"].to_numpy(), rtol=1e-3)


def test_costs_without_scores_have_a_table_and_no_curves() -> None:
    labels = {"y": [1, 0, 1, 0] * 20, "guess": [1, 0, 0, 0] * 20}
    result = ek.evaluate(labels, label="y", prediction="guess", metrics=["expected_cost@fn=4"], name="m")
    made = costs(result)
    assert "There are no curves of cost" in text(made)
    assert number(1.0) in text(made)


def test_of_suppressed_slices_and_small_steps_there_is_no_curve() -> None:
    random = np.random.default_rng(2)
    rows = {
        "y": random.integers(0, 2, 400),
        "p": random.random(400),
        "size": np.where(np.arange(400) < 5, "tiny", "large"),
    }
    result = ek.evaluate(
        rows,
        label="y",
        score="p",
        metrics=["roc_auc", "expected_cost@fn=4"],
        slices=["size"],
        suppress_below=12,
        name="m",
    )
    hidden = {name for e in result.evaluations for name in e.plan.hidden_texts}
    assert "size=tiny" in hidden
    made = costs(result)
    assert made.data is not None
    assert not any(name in json.dumps(made.data) for name in hidden)
    share = np.array(made.data["points"]["m"]["overall"]["cost"][0]["positive_prediction_rate"])
    assert np.diff(share * 400).min() >= 12 - 0.1


def test_where_small_groups_are_suppressed_there_is_no_curve_of_single_rows(costly: Comparison) -> None:
    hidden = tuple(
        replace(
            pair,
            candidate=replace(pair.candidate, settings=replace(pair.candidate.settings, suppress_below=10)),
        )
        for pair in costly.pairs
    )
    open_part, closed_part = (costs(costly.result, c) for c in (costly, replace(costly, pairs=hidden)))
    assert open_part.data is not None
    assert closed_part.data is not None
    assert open_part.data["differences"]
    assert closed_part.data["differences"] == {}


@pytest.mark.parametrize("least", [1, 7, 50, 10_000])
def test_joined_scores_hold_the_same_rows_in_larger_steps(two_models: Result, least: int) -> None:
    sums = two_models.evaluations[0].sums["score_histogram"]
    assert isinstance(sums, ScoreSums)
    whole = entries(sums, 0)
    coarse = joined(whole, least)
    assert coarse.count.sum(0).tolist() == whole.count.sum(0).tolist()
    steps = coarse.count.sum(1)
    assert steps.min() >= min(least, whole.count.sum())
    assert set(coarse.keys) <= set(whole.keys)
    assert coarse.keys[0] == whole.keys[0]
    if least == 1:
        assert np.array_equal(coarse.keys, whole.keys)
