"""The laws of laws.py, for every metric there is."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import ORACLES, Rows

import evalkit as ek
import laws
from evalkit.metrics import catalog
from laws import FAMILIES, Family

every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())
some = settings(max_examples=15)
few = settings(max_examples=6)
places = st.integers(0, 100)


def test_every_metric_has_an_oracle_and_every_oracle_a_metric() -> None:
    assert set(ORACLES) == set(catalog())


def test_every_metric_is_in_one_family() -> None:
    members = [metric.name_of_function for family in FAMILIES.values() for metric in family.metrics]
    assert set(members) == set(catalog())


@every_family
@some
@given(data=st.data(), seed=places)
def test_the_order_of_rows_does_not_matter(family: Family, data: st.DataObject, seed: int) -> None:
    laws.held_by_any_order(family, data.draw(laws.tables(family)), seed)


@every_family
@some
@given(data=st.data(), cuts=st.tuples(places, places))
def test_parts_add_up_to_the_whole_in_any_order(family: Family, data: st.DataObject, cuts: tuple[int, int]) -> None:
    laws.held_by_any_split(family, data.draw(laws.tables(family)), cuts)


@every_family
@some
@given(data=st.data(), cut=places)
def test_what_was_added_can_be_taken_away(family: Family, data: st.DataObject, cut: int) -> None:
    laws.held_by_subtraction(family, data.draw(laws.tables(family)), cut)


@every_family
@some
@given(data=st.data())
def test_of_no_rows_everything_is_undefined(family: Family, data: st.DataObject) -> None:
    laws.held_by_nothing(family, data.draw(laws.tables(family)))


@every_family
@some
@given(data=st.data())
def test_a_slice_is_what_filtering_first_gives(family: Family, data: st.DataObject) -> None:
    laws.held_by_slices(family, data.draw(laws.tables(family)))


@every_family
@some
@given(data=st.data())
def test_an_integer_weight_is_a_repeated_row(family: Family, data: st.DataObject) -> None:
    laws.held_by_repetition(family, data.draw(laws.tables(family, weights=(0.0, 1.0, 2.0, 3.0))))


@every_family
@some
@given(data=st.data())
def test_a_row_of_weight_zero_changes_nothing(family: Family, data: st.DataObject) -> None:
    laws.held_by_weightless_rows(family, data.draw(laws.tables(family)))


@every_family
@few
@given(data=st.data())
def test_weights_of_one_are_no_weights(family: Family, data: st.DataObject) -> None:
    laws.held_by_equal_weights(family, data.draw(laws.tables(family)))


@every_family
@pytest.mark.parametrize("weighted", [False, True], ids=["counts", "weights"])
@settings(max_examples=25)
@given(data=st.data())
def test_every_value_is_the_oracles(family: Family, weighted: bool, data: st.DataObject) -> None:
    laws.held_by_oracles(family, data.draw(laws.tables(family)), weighted)


@every_family
@some
@given(data=st.data())
def test_gradients_are_finite_and_values_in_range(family: Family, data: st.DataObject) -> None:
    laws.held_at_every_edge(family, data.draw(laws.tables(family)))


@every_family
@few
@given(data=st.data())
def test_an_interval_holds_the_value_within_the_range(family: Family, data: st.DataObject) -> None:
    laws.held_by_the_table(family, data.draw(laws.tables(family)))


@every_family
@few
@given(data=st.data(), chunk_rows=st.integers(1, 20))
def test_the_size_of_a_chunk_does_not_matter(family: Family, data: st.DataObject, chunk_rows: int) -> None:
    laws.held_by_chunks(family, data.draw(laws.tables(family)), chunk_rows)


@every_family
@few
@given(data=st.data())
def test_units_never_change_a_value(family: Family, data: st.DataObject) -> None:
    laws.held_by_units(family, data.draw(laws.tables(family)))


@every_family
@few
@given(data=st.data(), cut=places)
def test_units_that_parts_share_are_one_unit(family: Family, data: st.DataObject, cut: int) -> None:
    laws.held_by_added_units(family, data.draw(laws.tables(family)), cut)


# --- laws of many rows, on fixed data ---


def many(family: Family, n: int = 3000, seed: int = 0) -> pl.DataFrame:
    """Rows enough for intervals, in two slices."""
    generator = np.random.default_rng(seed)
    slices = generator.choice(["a", "b"], n)
    weight = generator.choice([0.5, 1.0, 2.0], n)
    if family.task == "binary":
        score = np.round(generator.beta(2, 3, n), 3)
        label: Any = (generator.random(n) < 0.1 + 0.8 * score).astype(np.int64)
    else:
        label = np.round(generator.gamma(3.0, 2.0, n), 2) + 0.1
        score = np.round(label * np.exp(0.3 * generator.standard_normal(n)), 2) + 0.1
    columns = {"y": label, "p": score, "w": weight, "s": slices, "u": np.arange(n), "x": generator.normal(5, 2, n)}
    return pl.DataFrame(columns)


@every_family
def test_the_intervals_of_a_slice_are_those_of_its_rows_alone(family: Family) -> None:
    table = many(family)
    drawn = {metric.name for metric in family.metrics if metric.kind == "bootstrap"}
    columns = ["metric", "value", "low", "high", "rows", "support", "weight", "status", "approximate"]
    keep = ~pl.col("metric").is_in(drawn)
    sliced = laws.evaluate(family, table).to_polars().filter(keep, slice="s=a").select(columns)
    alone = laws.evaluate(family, table.filter(s="a"), sliced=False).to_polars().filter(keep).select(columns)
    for mine, other in zip(sliced.iter_rows(named=True), alone.iter_rows(named=True), strict=True):
        for name in ("value", "low", "high", "weight"):
            laws.assert_close((mine["metric"], name), mine.pop(name), other.pop(name), 1e-6)
        assert mine == other


@every_family
def test_rows_that_are_each_their_own_unit_are_independent(family: Family) -> None:
    """256 groups of units know a standard error to about 1 / sqrt(2 * 255), some 4%."""
    table = many(family, 6000)
    independent = laws.answers(laws.evaluate(family, table, weighted=False))
    clustered = laws.answers(laws.evaluate(family, table, weighted=False, unit="u"))
    for key, found in independent.items():
        metric = key[1].split("@")[0]
        if metric in laws.SUMS or found.variance == 0:
            continue
        assert math.sqrt(clustered[key].variance / found.variance) == pytest.approx(1, abs=0.25), key


@every_family
def test_a_result_comes_back_from_disk_as_it_was(family: Family, tmp_path: Path) -> None:
    result = laws.evaluate(family, many(family, 400), unit="u")
    result.save(tmp_path / "run")
    loaded = ek.load(tmp_path / "run")
    assert loaded.to_polars().equals(result.to_polars())
    laws.assert_same(family, laws.answers(loaded), laws.answers(result))
    laws.assert_same(family, laws.answers(loaded + loaded), laws.answers(result + result))


SCORED = [FAMILIES["score_histogram"]]


@pytest.mark.parametrize("slices", [2, 30_000], ids=["finely", "coarsely"])
@pytest.mark.parametrize("weighted", [False, True], ids=["counts", "weights"])
def test_binned_scores_are_within_the_printed_bound_and_flagged(slices: int, weighted: bool) -> None:
    table = many(SCORED[0], 30_000).with_columns(s=pl.Series(np.arange(30_000) % slices), p=pl.col("p") ** 2 * 0.999)
    settings: dict[str, Any] = {"label": "y", "score": "p", "slices": ["s"], "metrics": ["roc_auc", "gini"]}
    settings |= {"weight": "w" if weighted else None, "max_slices": slices}
    exact = ek.evaluate(table, **settings).at("overall")
    binned = ek.evaluate(table, **settings, budget_bytes=1_000_000 if slices == 2 else 1).at("overall")
    for metric in ("roc_auc", "gini"):
        row = binned[metric].to_polars().row(0, named=True)
        away = abs(row["value"] - exact[metric].value)
        if not row["approximate"]:
            assert away < 1e-12
            continue
        bound = float(row["note"].split("within ")[1].split(";")[0])
        assert away <= 1.05 * bound  # printed to two digits
        assert bound < (5e-3 if slices == 2 else 0.2)
    assert slices == 2 or binned["roc_auc"].to_polars()["approximate"][0]
    assert not exact["roc_auc"].to_polars()["approximate"][0]


def test_data_sets_that_are_padded_alike_compile_a_statistic_once() -> None:
    traces: list[Any] = []

    @ek.cells("wrong", "right", needs=("label", "decision"))
    def verdicts(batch: Any, *, threshold: float | None = None, strict: bool = False) -> Any:  # noqa: ARG001
        traces.append(batch.label.shape)
        return ((batch.score >= threshold) == (batch.label == 1)).astype("int32")

    @ek.metric(verdicts, range=(0, 1), interval="wilson")
    def right(c: Any) -> Any:
        return ek.ratio(c.right, c.wrong + c.right)

    family = Family("verdicts", (right,))
    laws.answers(laws.evaluate(family, many(family, 40)))
    once = list(traces)
    for n in (300, 1000):
        laws.answers(laws.evaluate(family, many(family, n)))
    assert traces == once
    laws.answers(laws.evaluate(family, many(family, 1100)))
    assert len(traces) > len(once)


def test_a_threshold_of_zero_is_written_into_the_name() -> None:
    data = {"y": [1, 0, 1, 0], "p": [-0.5, 0.5, 2.0, -2.0]}
    result = ek.evaluate(data, label="y", score="p", metrics=["recall@0", "recall@1"])
    assert result.metrics == ["recall@threshold=0", "recall@threshold=1"]
    assert list(result.evaluations[0].sums) == ["confusion@threshold=0", "confusion@threshold=1"]


def test_a_correlation_without_variance_has_no_interval() -> None:
    data = {"y": [float(i) for i in range(20)], "p": [2.0 * i for i in range(20)]}
    row = ek.evaluate(data, label="y", prediction="p", task="regression", metrics=["pearson_r"]).to_polars()
    assert row["value"][0] == pytest.approx(1.0)
    assert math.isnan(row["low"][0])
    assert "do not vary" in row["note"][0]


@pytest.mark.parametrize("name", ["calibration_slope", "calibration_intercept"])
def test_a_fit_is_found_however_extreme_the_scores(name: str) -> None:
    label, score = np.array([1, 0, 1, 0, 1]), np.array([0.5, 0.0, 1e-5, 0.25, 0.0])
    ones = np.ones(5)
    expected = ORACLES[name](Rows(label, score, ones, ones))
    assert ek.metrics.find(name)(label, score) == pytest.approx(expected, rel=1e-6)


def test_a_calibration_p_value_of_hopeless_scores_is_zero() -> None:
    label, score = np.zeros(100_000), np.full(100_000, 0.9)
    assert ek.metrics.calibration_p_value(label, score) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("metric", ["roc_auc", "accuracy", "log_loss"])
def test_a_metric_of_labels_says_that_they_are_missing(metric: str) -> None:
    with pytest.raises(ek.EvalkitError, match=r"needs labels \(label="):
        ek.evaluate({"p": [0.1, 0.9]}, score="p", metrics=[metric])
