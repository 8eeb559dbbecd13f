"""What is answered does not depend on how the rows are read: part by part, in threads, or at once."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import evalkit as ek
from evalkit.accumulate import Accumulator, Work
from evalkit.engines import local
from evalkit.errors import ConfigError, DataError
from evalkit.metrics.score_histogram import score_histogram
from evalkit.sources.source import open_source

COLUMNS: dict[str, Any] = {"label": "y", "score": "p"}
METRICS = ["count", "roc_auc", "average_precision", "f1", "matthews_corrcoef", "log_loss", "brier_score", "mean_score"]


def rows(n: int, seed: int = 0, decimals: int | None = None) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    p = rng.beta(2, 3, n)
    sex = rng.choice(["f", "m", "x"], n, p=[0.5, 0.48, 0.02])
    return pl.DataFrame(
        {
            "y": (rng.random(n) < p).astype(np.int8),
            "p": p.astype(np.float32) if decimals is None else p.round(decimals),
            "sex": pl.Series([None if lost else one for one, lost in zip(sex, rng.random(n) < 0.05, strict=True)]),
            "age": rng.integers(18, 90, n),
            "tags": [list(rng.choice(["a", "b", "c"], rng.integers(0, 3), replace=False)) for _ in range(n)],
            "w": rng.integers(0, 4, n).astype(float),
            "user": rng.integers(0, max(n // 3, 1), n),
            "fp": rng.lognormal(0, 1, n),
        }
    )


def parts(frame: pl.DataFrame, pieces: int) -> Any:
    """The same rows as several parts, as of several files."""
    edges = np.linspace(0, frame.height, pieces + 1).astype(int)
    return open_source([frame.slice(a, b - a) for a, b in pairwise(edges)])


def tables(frame: pl.DataFrame, pieces: int = 3, workers: int = 2, **asked: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
    at_once = ek.evaluate(frame, engine="memory", **asked).to_polars()
    streamed = ek.evaluate(parts(frame, pieces), engine="local", workers=workers, **asked).to_polars()
    return at_once, streamed


def assert_same(left: pl.DataFrame, right: pl.DataFrame, tolerance: float = 1e-9) -> None:
    assert_frame_equal(left, right, rel_tol=tolerance, abs_tol=1e-12)


SLICES: list[Any] = ["sex", "age=edges(30, 50)", ["sex", "age=edges(30, 50)"], "tags", "age=quantiles(3)", "sex=top(1)"]


@pytest.mark.parametrize("more", [{}, {"weight": "w"}, {"unit": "user"}, {"weight": "w", "unit": "user"}])
def test_streamed_rows_answer_what_rows_in_memory_do(more: dict[str, Any]) -> None:
    frame = rows(2000)
    assert_same(*tables(frame, metrics=METRICS, slices=SLICES, **COLUMNS, **more))


def test_a_condition_chosen_values_and_numbers_as_values_slice_alike() -> None:
    slices = ["young=where(age < 40)", "sex=[f, m]", ek.by("age", values=[18, 80]), ["young=where(age < 40)", "sex"]]
    assert_same(*tables(rows(3000), metrics=["recall"], slices=slices, **COLUMNS))


def test_slices_stand_in_the_order_of_numbers_not_of_their_text() -> None:
    frame = rows(500).with_columns(age=pl.Series(np.arange(500) % 12))
    at_once, streamed = tables(frame, metrics=["count"], slices=["age"], **COLUMNS)
    assert streamed["slice"].to_list() == at_once["slice"].to_list()
    assert streamed["slice"].to_list()[-1] == "age=11"


@pytest.mark.parametrize("more", [{}, {"weight": "w"}, {"unit": "user"}])
def test_scores_beyond_the_budget_are_binned_and_close(more: dict[str, Any]) -> None:
    frame = rows(40_000)
    asked: dict[str, Any] = {"metrics": ["roc_auc", "average_precision", "log_loss"], "slices": ["sex"]}
    asked |= {**COLUMNS, **more}
    exact = ek.evaluate(frame, engine="memory", **asked)
    binned = ek.evaluate(parts(frame, 5), engine="local", budget_bytes=300_000, **asked)
    assert binned["roc_auc"].to_polars()["approximate"].all()
    assert not binned["log_loss"].to_polars()["approximate"].any()
    assert binned["log_loss"].value == pytest.approx(exact["log_loss"].value, rel=1e-12)
    for metric in ("roc_auc", "average_precision"):
        assert binned[metric].value == pytest.approx(exact[metric].value, abs=2e-3)
        for side in ("low", "high"):
            wide = exact[metric].high - exact[metric].low
            assert abs(getattr(binned[metric], side) - getattr(exact[metric], side)) < 0.1 * wide


def test_scores_are_binned_by_all_rows_together_and_not_by_part() -> None:
    frame = rows(30_000, decimals=6)
    entry = 28
    budget = 25_000 * entry  # every part fits, all of them do not
    answers = {
        pieces: ek.evaluate(
            parts(frame, pieces), engine="local", metrics=["roc_auc"], budget_bytes=budget, workers=3, **COLUMNS
        )
        for pieces in (1, 2, 7)
    }
    assert {bool(r.to_polars()["approximate"][0]) for r in answers.values()} == {True}


def test_few_distinct_scores_stay_exact_however_many_rows_there_are() -> None:
    frame = rows(50_000, decimals=2)
    asked: dict[str, Any] = {"metrics": ["roc_auc"], "slices": ["sex"], **COLUMNS}
    streamed = ek.evaluate(parts(frame, 4), engine="local", budget_bytes=60_000, **asked)
    assert not streamed.to_polars()["approximate"].any()
    assert_same(streamed.to_polars(), ek.evaluate(frame, engine="memory", **asked).to_polars())


def test_costs_by_row_are_streamed() -> None:
    costs = ek.Costs(fp="fp", fn=5, currency="USD")
    assert_same(*tables(rows(2000), metrics=["expected_cost"], costs=costs, slices=["sex"], **COLUMNS))


def test_regression_moves_pivots_between_parts() -> None:
    rng = np.random.default_rng(0)
    truth = 1e6 + rng.normal(0, 1, 3000)
    frame = pl.DataFrame({"y": truth, "q": truth + rng.normal(0, 0.5, 3000), "g": rng.integers(0, 3, 3000)})
    asked: dict[str, Any] = {"label": "y", "prediction": "q", "metrics": ["r2", "rmse", "pearson_r"], "slices": ["g"]}
    assert_same(*tables(frame.sort("y"), pieces=4, **asked), tolerance=1e-7)


@pytest.mark.parametrize(
    ("labels", "positive"), [((True, False), None), (("yes", "no"), "yes"), ((2, 1), 2), ((1.0, 0.0), None)]
)
def test_labels_in_words_are_known_before_the_first_part(labels: tuple[Any, Any], positive: Any) -> None:
    frame = rows(1000).sort("y").with_columns(y=pl.col("y").replace_strict({1: labels[0], 0: labels[1]}))
    assert_same(*tables(frame, metrics=["roc_auc", "recall"], positive=positive, **COLUMNS))


def test_numbers_as_labels_without_scores_are_regression_whatever_part_they_are_in() -> None:
    frame = pl.DataFrame({"y": [0.0, 1.0] * 50 + [0.5], "q": [0.1] * 101})
    streamed = ek.evaluate(parts(frame, 5), engine="local", label="y", prediction="q")
    assert "rmse" in streamed.metrics


def test_a_score_outside_0_to_1_in_the_last_part_makes_none_a_probability() -> None:
    frame = rows(900).with_columns(p=pl.when(pl.int_range(900) == 899).then(1.5).otherwise(pl.col("p")))
    assert_same(*tables(frame, slices=["sex"], **COLUMNS))


def test_missing_values_are_refused_with_their_row_and_file(tmp_path: Path) -> None:
    for k in range(3):
        frame = rows(100, seed=k)
        if k == 1:
            frame = frame.with_columns(p=pl.when(pl.int_range(100) == 42).then(None).otherwise(pl.col("p")))
        frame.write_parquet(tmp_path / f"{k}.parquet")
    with pytest.raises(DataError, match=r'"p" has 1 missing values.*row 42 of .*1\.parquet'):
        ek.evaluate(tmp_path, engine="local", workers=1, **COLUMNS)


def test_missing_values_are_dropped_and_counted_on_request() -> None:
    frame = rows(1000).with_columns(p=pl.when(pl.int_range(1000) % 7 == 0).then(None).otherwise(pl.col("p")))
    asked: dict[str, Any] = {"drop_invalid": True, "metrics": ["f1"], "slices": ["sex"], **COLUMNS}
    assert_same(*tables(frame, **asked))
    assert ek.evaluate(parts(frame, 3), engine="local", **asked).evaluations[0].dropped == 143


def test_a_value_that_was_asked_for_and_never_comes_is_refused() -> None:
    with pytest.raises(ConfigError, match='"sex" holds no "q"'):
        ek.evaluate(parts(rows(300), 2), engine="local", slices=["sex=[f, q]"], **COLUMNS)


def test_more_values_than_slices_are_allowed_are_refused() -> None:
    with pytest.raises(DataError, match=r'"user" has .* distinct values, more than 20 slices'):
        ek.evaluate(parts(rows(900), 3), engine="local", slices=["user"], max_slices=20, **COLUMNS)


def test_suppressed_slices_are_hidden_after_the_last_part() -> None:
    asked: dict[str, Any] = {"metrics": ["f1"], "slices": ["sex", "age=edges(30, 85)"], "suppress_below": 60, **COLUMNS}
    assert_same(*tables(rows(1500), **asked))


def test_batches_of_an_iterator_are_read_once() -> None:
    frame = rows(5000)
    batches = (frame.slice(k, 500) for k in range(0, 5000, 500))
    streamed = ek.evaluate(batches, engine="local", metrics=["roc_auc"], slices=["sex"], **COLUMNS)
    at_once = ek.evaluate(frame, metrics=["roc_auc"], slices=["sex"], **COLUMNS)
    assert_same(streamed.to_polars(), at_once.to_polars())


def test_a_filter_leaves_rows_out_in_both() -> None:
    frame = rows(2000)
    kept = frame.filter(pl.col("age") < 40)
    for engine in ("memory", "local"):
        result = ek.evaluate(frame, where="age < 40", engine=engine, metrics=["f1"], slices=["sex"], **COLUMNS)
        expected = ek.evaluate(kept, metrics=["f1"], slices=["sex"], **COLUMNS)
        assert_same(result.to_polars(), expected.to_polars())


@settings(max_examples=15, deadline=None)
@given(
    n=st.integers(1, 200),
    pieces=st.integers(1, 6),
    workers=st.integers(1, 4),
    seed=st.integers(0, 99),
    weighted=st.booleans(),
    clustered=st.booleans(),
    dtype=st.sampled_from([pl.Float32, pl.Float64]),
)
def test_any_split_in_any_number_of_threads_gives_the_same(
    n: int, pieces: int, workers: int, seed: int, weighted: bool, clustered: bool, dtype: Any
) -> None:
    frame = rows(n, seed).with_columns(pl.col("p").cast(dtype), w=pl.col("w") + 1)
    more: dict[str, Any] = {**({"weight": "w"} if weighted else {}), **({"unit": "user"} if clustered else {})}
    assert_same(
        *tables(frame, pieces, workers, metrics=METRICS, slices=["sex", ["sex", "age=edges(50)"]], **COLUMNS, **more)
    )


def test_data_sorted_by_slice_keep_the_moments_of_large_labels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth = 1e9 + rng.normal(0, 1, 60_000)
    frame = pl.DataFrame(
        {"y": truth, "q": truth + rng.normal(0, 0.5, 60_000), "g": np.repeat(["a", "b"], 30_000).tolist()}
    )
    frame.write_parquet(tmp_path / "x.parquet", row_group_size=5_000)
    asked: dict[str, Any] = {"label": "y", "prediction": "q", "metrics": ["r2", "pearson_r"], "slices": ["g"]}

    def in_small_batches(work: Any, given: Any) -> Any:
        sums = Accumulator(work)
        for part in given:
            for batch in part.batches(work.columns, work.coded, 10_000):
                sums.update(batch)
        return sums

    streamed = ek.evaluate(tmp_path, engine=in_small_batches, **asked).to_polars()
    assert_same(streamed, ek.evaluate(frame, engine="memory", **asked).to_polars(), tolerance=1e-6)


def test_a_threshold_has_no_interval_from_bins_too_coarse_for_one() -> None:
    frame = rows(40_000)
    asked: dict[str, Any] = {"metrics": ["threshold_at_recall", "recall_at_precision"], "unit": "user", **COLUMNS}
    binned = ek.evaluate(parts(frame, 3), engine="local", budget_bytes=300_000, **asked)
    line = binned["threshold_at_recall"].to_polars().to_dicts()[0]
    assert np.isnan(line["low"])
    assert "binned too coarsely" in line["note"]


@pytest.mark.parametrize("asked", [{}, {"weight": "w"}, {"budget_bytes": 1 << 16}])
@pytest.mark.parametrize("spread", [1, 7])
def test_decisions_at_an_edge_of_bins_follow_from_the_histogram(asked: dict[str, Any], spread: int) -> None:
    frame = rows(3_000, decimals=1).with_columns(p=(pl.col("p") - 0.5) * spread + 0.5)
    asked = {**COLUMNS, **asked, "slices": ["sex"]}
    recall = ek.metrics.recall
    decided = [recall(threshold=0.5), recall(threshold=0.5, strict=True), ek.metrics.accuracy(threshold=0.7)]
    works: list[Work] = []

    def engine(work: Work, of: Any) -> Accumulator:
        works.append(work)
        return local.Run(work, of, 2).sums()

    at_once = ek.evaluate(frame, engine="memory", metrics=[*decided, "roc_auc"], **asked).to_polars()
    streamed = ek.evaluate(parts(frame, 3), engine=engine, metrics=[*decided, "roc_auc"], **asked).to_polars()
    of_decisions = pl.col("metric") != "roc_auc"
    assert_same(at_once.filter(of_decisions), streamed.filter(of_decisions))
    followed = [need.statistic.identity for need in works[0].needs if need.cells == score_histogram]
    assert "confusion@threshold=0.5" in followed
    assert "confusion@threshold=0.7" not in followed
