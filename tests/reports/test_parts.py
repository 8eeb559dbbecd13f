"""Each part is a function of a result, and says what a reviewer must know."""

from __future__ import annotations

import json
import re
from html import unescape

import numpy as np
import polars as pl
import pytest

import evalkit as ek
from evalkit.reports.about import about
from evalkit.reports.cells import cells
from evalkit.reports.curves import curves
from evalkit.reports.differences import differences
from evalkit.reports.forest import forest
from evalkit.reports.measures import headline, measures
from evalkit.reports.part import Part
from evalkit.reports.slices import groups
from evalkit.reports.summary import summary
from evalkit.reports.table import table
from evalkit.results import Result


def text(part: Part) -> str:
    """The words that a part shows."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", part.html.replace("<wbr>", ""))))


def test_the_summary_says_what_was_evaluated_and_the_overall_results(two_models: Result) -> None:
    shown = text(summary(two_models))
    assert "Models old and new on 600 rows of the data" in shown
    assert "Slices: 6, by kind (3), size (3)." in shown
    for model in ("old", "new"):
        value = two_models.of(model)["roc_auc"].value
        assert f"{value:.4f} [" in shown


def test_the_summary_tells_apart_models_evaluated_on_other_rows() -> None:
    data = {"y": [1, 0, 1, 0], "p": [0.9, 0.2, 0.4, 0.1]}
    longer = {"y": [1, 0, 1, 0, 1], "p": [0.9, 0.2, 0.4, 0.1, 0.3]}
    result = ek.evaluate(data, label="y", score="p", name="a") | ek.evaluate(longer, label="y", score="p", name="b")
    assert "data of their own: a 4 rows of the data ; b 5 rows of the data ." in text(summary(result))


def test_a_value_that_does_not_exist_is_written_in_words_and_never_as_zero() -> None:
    result = ek.evaluate({"y": [0, 0], "p": [0.1, 0.2]}, label="y", score="p", metrics=["recall", "accuracy"])
    shown = text(summary(result))
    assert "recall ↑ undefined" in shown
    assert "1 is undefined." in shown
    data = cells(result)
    assert data["value"][data["metric"].index(data["names"]["metric"].index("recall"))] is None
    assert data["text"][0] == "-"


def comparisons(*rows: dict[str, object]) -> pl.DataFrame:
    """A table of slices against the rest of the rows."""
    usual = {
        "model": "old",
        "slice": "kind=plain",
        "metric": "roc_auc",
        "baseline": 0.8,
        "candidate": 0.6,
        "delta": -0.2,
        "delta_low": -0.3,
        "delta_high": -0.1,
        "delta_shrunk": -0.15,
        "p_value": 0.001,
        "p_adjusted": 0.01,
        "q_value": 0.002,
        "rows": 200,
        "status": "ok",
    }
    return pl.DataFrame([{**usual, **row} for row in rows])


def test_only_differences_with_a_small_q_value_are_named(two_models: Result) -> None:
    tested = comparisons({}, {"slice": "kind=third", "q_value": 0.05}, {"slice": "size=tiny", "q_value": np.nan})
    shown = text(differences(two_models, tested))
    assert "1 slice differs from the rest" in shown
    assert "Of 2 comparisons of a slice with all other rows, 1 has q < 0.05" in shown
    assert "kind=plain" in shown
    assert "kind=third" not in shown
    assert "1 comparison could not be tested" in shown


@pytest.mark.parametrize(("metric", "delta", "verdict"), [("roc_auc", -0.2, "▼"), ("log_loss", -0.2, "▲")])
def test_worse_and_better_follow_the_metrics_direction(
    two_models: Result, metric: str, delta: float, verdict: str
) -> None:
    shown = text(differences(two_models, comparisons({"metric": metric, "delta": delta})))
    assert f"{verdict} {metric} -0.2000" in shown


def test_it_is_said_plainly_that_no_slice_differs(two_models: Result) -> None:
    shown = text(differences(two_models, comparisons({"q_value": 0.3})))
    assert "No slice is shown to differ from the rest." in shown


def test_the_worst_slices_come_first(two_models: Result) -> None:
    tested = comparisons(
        {"slice": "size=large", "delta": 0.2, "q_value": 1e-9},
        {"slice": "kind=plain", "metric": "roc_auc"},
        {"slice": "kind=third", "metric": "roc_auc"},
        {"slice": "kind=third", "metric": "recall"},
    )
    rows = re.findall(r'<th scope="row">([^<]*)</th><td', differences(two_models, tested).html)
    assert rows[:3] == ["kind=third", "kind=plain", "size=large"]


def test_the_differences_are_those_of_the_result(two_models: Result) -> None:
    assert differences(two_models) == differences(two_models, two_models.differences())


def test_without_slices_there_is_nothing_to_compare(unsliced: Result) -> None:
    assert "nothing to compare" in text(differences(unsliced))
    assert groups(unsliced) == []


def test_every_slice_belongs_to_the_set_that_asked_for_it(two_models: Result) -> None:
    by_label = {group.label: group.slices for group in groups(two_models)}
    assert by_label["size"] == ("size=large", "size=small", "size=tiny")
    assert sum(len(slices) for slices in by_label.values()) == len(two_models.slices) - 1


def test_hidden_slices_and_conditions_belong_to_their_sets() -> None:
    data = {"y": [1, 0] * 50, "p": np.linspace(0, 1, 100), "age": np.arange(100)}
    slices = [ek.where("young", "age < 3"), ek.by("age", edges=[50])]
    result = ek.evaluate(data, label="y", score="p", metrics=["accuracy"], slices=slices, suppress_below=10)
    assert {text for group in groups(result) for text in group.slices} == {*result.slices} - {"overall"}


def test_a_narrowed_result_is_reported_narrowly(two_models: Result) -> None:
    narrow = two_models.of("new")["roc_auc"]
    assert list(measures(narrow)) == ["roc_auc"]
    assert cells(narrow)["names"]["model"] == ["new"]
    assert curves(narrow).data is not None
    assert "old" not in text(summary(narrow))
    tested = two_models.differences().filter(pl.col("model") == "new", pl.col("metric") == "roc_auc")
    assert differences(narrow) == differences(narrow, tested)


def test_the_forest_plot_opens_with_a_metric_that_has_a_direction(two_models: Result) -> None:
    assert headline(two_models) == "roc_auc"
    assert "<option selected>roc_auc</option>" in forest(two_models).html


def test_the_cells_are_the_tables(two_models: Result) -> None:
    data, frame = cells(two_models), two_models.to_polars()
    for column in ("model", "slice", "metric"):
        assert [data["names"][column][place] for place in data[column]] == frame[column].to_list()
    known = frame["value"].is_finite().to_numpy()
    found = np.array([np.nan if value is None else value for value in data["value"]], dtype=float)
    assert np.array_equal(np.isfinite(found), known)
    np.testing.assert_allclose(found[known], frame["value"].to_numpy()[known], rtol=1e-5)


def test_infinite_values_are_written_as_json_can_hold_them() -> None:
    result = ek.evaluate({"y": [1, 0], "p": [0.9, 0.2]}, label="y", score="p", metrics=["positive_likelihood_ratio"])
    table = result.to_polars().with_columns(value=pl.lit(float("inf")))
    data = cells(Result(result.evaluations, table))
    assert (data["value"], data["text"]) == (["Infinity"], ["inf"])
    json.dumps(data, allow_nan=False)


def test_curves_are_of_slices_with_enough_of_both_classes(two_models: Result) -> None:
    part = curves(two_models)
    assert part.data is not None
    drawn = part.data["points"]["old"]
    assert set(drawn) >= {"overall", "kind=plain", "size=large"}
    assert not {"size=tiny", "size=small"} & set(drawn)
    assert "2 slices have no curves here: fewer than 50 rows of the rarer class" in text(part)


def test_a_thinned_curve_has_the_area_of_the_whole_one(two_models: Result) -> None:
    part = curves(two_models)
    assert part.data is not None
    roc = part.data["points"]["new"]["overall"]["roc"]
    area = np.trapezoid(roc["y"], roc["x"])
    assert area == pytest.approx(two_models.of("new")["roc_auc"].value, abs=2e-3)
    assert len(roc["x"]) <= 200


def test_curves_left_out_for_the_files_size_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalkit.reports.curves.LEAST_OF_A_CLASS", 1)
    monkeypatch.setattr("evalkit.reports.curves.MOST_CURVES", 0)
    data = {"y": [0, 1] * 60, "p": np.linspace(0, 1, 120), "day": np.repeat(np.arange(12), 10)}
    part = curves(ek.evaluate(data, label="y", score="p", metrics=["roc_auc"], slices=["day"], name="m"))
    assert part.data is not None
    assert len(part.data["points"]["m"]) == 11
    assert "2 slices have no curves here: smaller than those shown" in text(part)


def test_scores_that_are_no_probabilities_have_no_calibration_curve() -> None:
    data = {"y": [0, 1] * 60, "p": np.linspace(-3, 3, 120)}
    part = curves(ek.evaluate(data, label="y", score="p", metrics=["roc_auc"], name="m"))
    assert part.data is not None
    assert part.data["points"]["m"]["overall"]["calibration"] is None


def test_regression_has_no_curves_and_says_why(regression: Result) -> None:
    part = curves(regression)
    assert part.data is None
    assert "There are no curves" in text(part)


def test_of_a_suppressed_slice_nothing_is_told_but_its_name(suppressed: Result) -> None:
    hidden = {group.slices for group in groups(suppressed) if group.label == "size"}.pop()
    frame = suppressed.to_polars()
    gone = set(frame.filter(pl.col("status") == "suppressed")["slice"])
    assert gone
    assert gone < set(hidden) | {"overall"}
    data = cells(suppressed)
    for place, code in enumerate(data["slice"]):
        if data["names"]["slice"][code] in gone:
            shown = [data[column][place] for column in ("value", "low", "high", "rows", "support")]
            assert shown == [None] * 5
            assert (data["text"][place], data["interval"][place]) == ("-", "")
            assert data["names"]["note"][data["note"][place]] == ""
            assert data["names"]["state"][data["state"][place]] == "suppressed"
    part = curves(suppressed)
    assert part.data is not None
    assert not gone & set(part.data["points"]["old"])
    assert f"{len(gone)} slices are suppressed" in text(summary(suppressed))


def test_a_test_of_a_suppressed_slice_is_not_shown(suppressed: Result) -> None:
    gone = suppressed.to_polars().filter(pl.col("status") == "suppressed")["slice"][0]
    shown = text(differences(suppressed, comparisons({"slice": gone})))
    assert gone not in shown


def test_suppression_coarsens_curves_to_steps_of_that_many_rows() -> None:
    data = {"y": [0, 1] * 60, "p": np.linspace(0, 1, 120)}
    part = curves(ek.evaluate(data, label="y", score="p", metrics=["roc_auc"], name="m", suppress_below=12))
    assert part.data is not None
    overall = part.data["points"]["m"]["overall"]
    steps = np.diff(overall["roc"]["x"]) * 60 + np.diff(overall["roc"]["y"]) * 60
    assert steps.min() >= 12 - 0.1
    assert min(overall["calibration"]["rows"]) >= 12


def test_the_table_offers_the_statuses_there_are(two_models: Result) -> None:
    shown = text(table(two_models))
    assert "approximate" in shown
    assert "suppressed" not in shown


def test_what_was_run_names_settings_versions_and_meanings(two_models: Result) -> None:
    part = about(two_models, {"started": "2024-05-01", "config": {"gate": {"min_rows": 30}}})
    shown = text(part)
    for expected in (
        "confidence level 0.95 0.95",
        "score old new",
        "Probability that a random positive scores higher than a random negative; ties count one half.",
        f"evalkit {ek.__version__}",
        "config.gate.min_rows 30",
    ):
        assert expected in shown


@pytest.mark.parametrize("fixture", ["two_models", "suppressed", "regression", "unsliced"])
def test_every_part_shows_every_kind_of_result(fixture: str, request: pytest.FixtureRequest) -> None:
    result: Result = request.getfixturevalue(fixture)
    for part in (summary, differences, forest, curves, table, about):
        made = part(result)
        assert made.title
        assert "nan" not in text(made).lower().split()
        json.dumps(made.data, allow_nan=False)
