"""The parts of a comparison say what its tables say, and nothing of suppressed slices or rows."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape

import numpy as np
import polars as pl
import pytest

import evalkit as ek
from evalkit.comparison import Comparison, Margins
from evalkit.reports.deltas import deltas
from evalkit.reports.flips import MOST_ROWS, flips
from evalkit.reports.part import Part
from evalkit.reports.summary import summary
from evalkit.results import Result
from evalkit.show import interval, number, signed


def text(part: Part) -> str:
    """The words that a part shows."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", part.html.replace("<wbr>", ""))))


def ids(words: str) -> set[str]:
    return set(re.findall(r"row-\d{4}", words))


def test_the_summary_sets_baseline_candidates_and_deltas_side_by_side(comparison: Comparison) -> None:
    shown = text(summary(comparison.result, comparison))
    base = comparison.result.of("old")["roc_auc"]
    for candidate in ("new", "bad"):
        row = comparison.row("roc_auc", candidate=candidate)
        ends = f"[{signed(row['delta_low'])}, {signed(row['delta_high'])}]"
        kind = "" if row["p_adjusted"] >= 0.05 else "▲ better " if row["delta"] > 0 else "▼ worse "
        assert f"{number(row['candidate'])}" in shown
        assert f"{kind}{signed(row['delta'])} {ends} {number(row['p_adjusted'])}" in shown
    assert shown.index(f"{base.value:.4f} {interval(base.low, base.high)}") < shown.index("▲ better")
    assert shown.index("metric old new delta p bad delta p") > 0


def test_a_lower_loss_is_better(comparison: Comparison) -> None:
    row = comparison.row("log_loss", candidate="new")
    assert row["delta"] < 0
    assert row["p_adjusted"] < 0.05
    assert f"▲ better {signed(row['delta'])}" in text(summary(comparison.result, comparison))


def test_the_cells_are_the_comparisons(comparison: Comparison) -> None:
    part = deltas(comparison.result, comparison)
    assert part.data is not None
    cells = part.data["cells"]
    table = comparison.to_polars().filter(pl.col("metric") != "count")
    assert "count" not in cells["names"]["metric"]
    for column in ("model", "slice", "metric"):
        assert [cells["names"][column][place] for place in cells[column]] == table[column].to_list()
    for column in ("baseline", "candidate", "delta", "delta_low", "delta_high", "delta_shrunk", "p_value", "q_value"):
        found = np.array([np.nan if value is None else value for value in cells[column]], dtype=float)
        np.testing.assert_allclose(found, table[column].to_numpy(), rtol=1e-5, err_msg=column)


def test_slices_that_moved_against_the_overall_delta_are_named(comparison: Comparison) -> None:
    moved = comparison.moved_against()
    assert moved.height
    shown = text(deltas(comparison.result, comparison))
    for row in moved.iter_rows(named=True):
        overall = comparison.row(row["metric"], candidate=row["model"])["delta"]
        words = f"{row['slice']} {row['model']} {row['metric']}"
        assert words in shown
        assert f"{signed(row['delta'])} [{signed(row['delta_low'])}, {signed(row['delta_high'])}]" in shown
        assert signed(overall) in shown
    assert f"{moved.height} of " in shown


def test_it_is_said_plainly_that_no_slice_moved_against_the_rest(comparison: Comparison) -> None:
    table = comparison.to_polars().with_columns(q_value=pl.lit(0.05))
    shown = text(deltas(comparison.result, replace(comparison, _cache={"table": table})))
    assert "No slice is shown to have moved against the overall delta." in shown
    assert "deltas of slices were tested" in shown


def test_heterogeneity_is_that_of_the_comparison(comparison: Comparison) -> None:
    part = deltas(comparison.result, comparison)
    assert part.data is not None
    table = comparison.heterogeneity().filter(pl.col("p_value").is_finite())
    found = part.data["heterogeneity"]
    assert [(r["model"], r["metric"], r["slices"], r["n"]) for r in found] == list(
        table.select("model", "metric", "slices", "n").iter_rows()
    )
    np.testing.assert_allclose([r["p_value"] for r in found], table["p_value"].to_numpy(), rtol=1e-5)


def test_margins_go_with_their_metrics(comparison: Comparison) -> None:
    with_margins = replace(comparison, margins=Margins({"roc_auc": 0.02}, "relative"), _cache={})
    part = deltas(comparison.result, with_margins)
    assert part.data is not None
    assert part.data["relative"]
    assert {name: about["margin"] for name, about in part.data["metrics"].items() if about["margin"]} == {
        "roc_auc": 0.02
    }


def test_paired_rows_are_said_to_be_paired(comparison: Comparison) -> None:
    assert "new is paired: the same rows of both models" in text(deltas(comparison.result, comparison))


@pytest.fixture(scope="module")
def unpaired() -> Comparison:
    random = np.random.default_rng(3)
    results = [
        ek.evaluate(
            {"y": random.integers(0, 2, n), "p": random.random(n), "day": np.arange(n) % 2},
            label="y",
            score="p",
            metrics=["roc_auc", "accuracy"],
            slices=["day"],
            name=name,
        )
        for name, n in (("old", 300), ("new", 200))
    ]
    return ek.compare(results[1], baseline=results[0])


def test_an_unpaired_comparison_says_so_and_why(unpaired: Comparison) -> None:
    shown = text(deltas(unpaired.result, unpaired))
    assert "new is not paired" in shown
    assert unpaired.notes
    assert unpaired.notes[0] in shown
    part = flips(unpaired.result, unpaired)
    assert part.data is None
    assert "its rows are not paired with the baseline's" in text(part)


def test_a_narrowed_result_shows_its_models_and_metrics_only(comparison: Comparison) -> None:
    part = deltas(comparison.result.of("new")["accuracy"], comparison)
    assert part.data is not None
    assert part.data["cells"]["names"]["model"] == ["new"]
    assert part.data["cells"]["names"]["metric"] == ["accuracy"]
    assert "bad" not in text(part)


def test_a_comparison_without_a_test_says_so() -> None:
    data = {"y": [1, 0, 1, 0], "old": [0.9, 0.6, 0.4, 0.1], "new": [0.9, 0.2, 0.7, 0.1]}
    found = ek.compare(data, label="y", baseline="old", candidate="new", metrics=["count"])
    part = deltas(found.result, found)
    assert part.data is None
    assert "No metric could be tested" in text(part)


def test_of_a_suppressed_slice_no_delta_is_told(private: Comparison) -> None:
    hidden = {text for e in private.result.evaluations for text in e.plan.hidden_texts}
    assert "size=tiny" in hidden
    part = deltas(private.result, private)
    assert part.data is not None
    assert not hidden & set(part.data["cells"]["names"]["slice"])
    assert not any(name in text(part) for name in hidden)
    changed = flips(private.result, private)
    assert changed.data is not None
    assert not any(hidden & set(cells["slice"]) for cells in changed.data["models"].values())


# --- decisions that changed ---


def test_changed_decisions_are_those_of_the_comparison(comparison: Comparison) -> None:
    part = flips(comparison.result, comparison)
    assert part.data is not None
    for candidate in comparison.candidates:
        table, held = comparison.flips(candidate), part.data["models"][candidate]
        for column in ("slice", "rows", "changed", "fixed", "broken", "to_positive", "to_negative"):
            assert held[column] == table[column].to_list()
        np.testing.assert_allclose(held["churn"], table["churn"].to_numpy(), rtol=1e-5)
        all_rows = table.row(0, named=True)
        assert (
            f"{all_rows['changed']} of 600 decisions changed: {all_rows['fixed']} fixed, {all_rows['broken']} broken."
            in text(part)
        )


def test_the_first_rows_to_look_at_are_listed_broken_ones_first(comparison: Comparison) -> None:
    shown = text(flips(comparison.result, comparison))
    for candidate in comparison.candidates:
        every = comparison.flipped_rows(candidate, n=None)
        assert every.height > MOST_ROWS
        assert set(every["id"].head(MOST_ROWS)) <= ids(shown)
    first, second = (set(comparison.flipped_rows(c, n=MOST_ROWS)["id"]) for c in comparison.candidates)
    assert ids(shown) == first | second
    first_kinds = re.findall(r"row-\d{4} [01] [01] [01] (broken|fixed)", shown)
    assert first_kinds[:MOST_ROWS] == sorted(first_kinds[:MOST_ROWS])
    assert first_kinds[0] == "broken"


def test_where_small_groups_are_suppressed_no_row_is_told(private: Comparison) -> None:
    part = flips(private.result, private)
    assert ids(part.html + json.dumps(part.data)) == set()
    assert "No rows are listed, because small groups are suppressed." in text(part)
    assert "decisions changed" in text(part)


def test_numbers_have_no_decisions_and_that_is_said() -> None:
    random = np.random.default_rng(5)
    y = random.normal(10, 3, 200)
    data = {"y": y, "old": y + random.normal(0, 1, 200), "new": y + random.normal(0, 0.8, 200)}
    found = ek.compare(data, label="y", baseline="old", candidate="new", task="regression")
    assert "labels are not binary" in text(flips(found.result, found))
    assert deltas(found.result, found).data is not None


def test_units_follow_metrics_of_money(costly: Comparison) -> None:
    result: Result = costly.result
    assert "expected_cost@fn=40,fp=5 (USD per customer)" in text(summary(result, costly))
    part = deltas(result, costly)
    assert part.data is not None
    assert part.data["metrics"]["expected_cost@fn=40,fp=5"]["unit"] == "USD per customer"
