"""What a user of the library does first: containers, models, narrowing, joining, saving, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal
from sklearn.linear_model import LogisticRegression

import evalkit as ek
from evalkit.errors import ConfigError, DataError, OutputError, UsageError, UserCodeError


def _data(n: int = 400) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    score = rng.random(n)
    return {
        "y": (rng.random(n) < score).astype(int).tolist(),
        "p": score.tolist(),
        "sex": [("female", "male", None)[i % 3] for i in range(n)],
        "age": rng.integers(18, 80, n).tolist(),
    }


DATA = _data()
CONTAINERS: dict[str, Callable[[], Any]] = {
    "dict of lists": lambda: DATA,
    "dict of arrays": lambda: {k: np.array(v, dtype=object if k == "sex" else None) for k, v in DATA.items()},
    "polars": lambda: pl.DataFrame(DATA),
    "lazy": lambda: pl.DataFrame(DATA).lazy(),
    "pandas": lambda: pd.DataFrame(DATA),
    "arrow": lambda: pa.table(DATA),
    "batches": lambda: iter([pl.DataFrame(DATA)[:150], pl.DataFrame(DATA)[150:]]),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_gives_the_same_table(container: str) -> None:
    asked: dict[str, Any] = {
        "label": "y",
        "score": "p",
        "slices": ["sex", ek.by("age", edges=[30, 50])],
        "metrics": ["roc_auc", "f1"],
    }
    expected = ek.evaluate(DATA, **asked).to_polars()
    assert_frame_equal(ek.evaluate(CONTAINERS[container](), **asked).to_polars(), expected)


@pytest.mark.parametrize("container", [pd.DataFrame, pl.DataFrame, dict])
def test_a_model_is_called_on_its_features(container: Callable[[Any], Any]) -> None:
    rng = np.random.default_rng(0)
    x = {"a": rng.normal(size=300), "b": rng.normal(size=300)}
    y = (x["a"] + rng.normal(size=300) > 0).astype(int)
    matrix = np.column_stack([x["a"], x["b"]])
    model = LogisticRegression().fit(pd.DataFrame(x) if container is not dict else matrix, y)
    result = ek.evaluate(container({**x, "y": y}), label="y", model=model, features=["a", "b"], metrics=["roc_auc"])
    assert result.models == ["LogisticRegression"]
    scores = model.predict_proba(pd.DataFrame(x) if container is not dict else matrix)[:, 1]
    assert result.value == ek.metrics.roc_auc(y, scores)


def test_a_model_that_fails_is_the_users_failure() -> None:
    class Broken:
        def predict(self, rows: Any) -> Any:
            raise ZeroDivisionError(len(rows))

    with pytest.raises(UserCodeError, match="Broken failed to predict"):
        ek.evaluate(DATA, label="y", model=Broken(), features=["age"])


def test_results_narrow_by_metric_slice_and_model() -> None:
    one = ek.evaluate(DATA, label="y", score="p", slices=["sex"], metrics=["recall", "precision@0.7"], name="one")
    both = one | ek.evaluate(
        DATA, label="y", score="p", slices=["sex"], metrics=["recall", "precision@0.7"], name="two"
    )
    assert both.models == ["one", "two"]
    narrowed = both.of("two")["precision@0.7"].at("sex=null")
    assert len(narrowed) == 1
    assert narrowed.low <= narrowed.value <= narrowed.high
    assert both.of("one").worst("recall", 2)["model"].unique().to_list() == ["one"]
    with pytest.raises(ConfigError, match='Did you mean "sex=male"'):
        one.at("sex=mal")
    with pytest.raises(UsageError, match="Two models are named"):
        one | one


def test_worst_follows_the_direction_of_the_metric() -> None:
    rng = np.random.default_rng(1)
    n = 3000
    bad = np.arange(n) % 4 == 0
    score = rng.random(n)
    label = np.where(bad, rng.random(n) < 0.5, rng.random(n) < score).astype(int)
    data = {"y": label, "p": score, "part": np.where(bad, "bad", "good")}
    result = ek.evaluate(data, label="y", score="p", slices=["part"], metrics=["roc_auc", "log_loss", "prevalence"])
    assert result.worst("roc_auc", 1)["slice"].to_list() == ["part=bad"]
    assert result.worst("log_loss", 1)["slice"].to_list() == ["part=bad"]
    with pytest.raises(ConfigError, match="no direction"):
        result.worst("prevalence")


def test_counts_and_means_need_no_labels() -> None:
    result = ek.evaluate(DATA, metrics=["mean@age", "total@age", "count"], slices=["sex"])
    assert result["count"].value == 400
    assert result["mean@age"].value == pytest.approx(np.mean(DATA["age"]))
    assert ek.evaluate(DATA, prediction="age", metrics=["count"]).value == 400


def test_bins_are_named_by_their_exact_edges() -> None:
    result = ek.evaluate(DATA, label="y", score="p", metrics=["count"], slices=[ek.by("age", edges=[30, 45.1234567])])
    assert result.slices == ["overall", "age=(-inf, 30)", "age=[30, 45.1234567)", "age=[45.1234567, inf)"]


def test_a_bootstrap_is_the_same_twice_and_near_the_analytic_interval() -> None:
    asked: dict[str, Any] = {"label": "y", "score": "p", "metrics": ["accuracy", "roc_auc", "log_loss"]}
    first, second = (ek.evaluate(DATA, **asked, intervals=ek.bootstrap(500, seed=4)) for _ in range(2))
    assert_frame_equal(first.to_polars(), second.to_polars())
    analytic = ek.evaluate(DATA, **asked)
    for name in analytic.metrics:
        width = analytic[name].high - analytic[name].low
        assert first[name].high - first[name].low == pytest.approx(width, rel=0.25), name
        assert first[name].to_polars()["method"].to_list() == ["bootstrap"]


def test_binned_scores_are_marked_for_every_metric_that_reads_them() -> None:
    metrics = ["roc_auc", "kolmogorov_smirnov", "average_precision", "accuracy"]
    table = ek.evaluate(DATA, label="y", score="p", metrics=metrics, budget_bytes=1).to_polars()
    assert table["approximate"].to_list() == [True, True, True, False]
    assert table["note"][0].startswith("scores binned: within")


def test_nothing_of_a_suppressed_slice_is_written(tmp_path: Path) -> None:
    rare = {**DATA, "town": ["hamlet"] * 3 + ["village"] * 9 + ["city"] * 388}
    asked: dict[str, Any] = {
        "label": "y",
        "score": "p",
        "slices": ["town"],
        "metrics": ["accuracy", "roc_auc"],
        "suppress_below": 5,
    }
    result = ek.evaluate(rare, **asked)
    table = result.to_polars().filter(pl.col("slice").is_in(["town=hamlet", "town=village"]))
    assert set(table["status"]) == {"suppressed"}
    assert table.select("value", "low", "high", "rows", "support", "weight").null_count().sum_horizontal()[0] == 6 * 4
    folder = result.save(tmp_path / "out", report=True)
    assert not (folder / "rows.parquet").exists()
    plan = json.loads((folder / "sums" / "plan.json").read_text())
    assert plan["evaluations"][0]["slices"][1] == [[["town", "city"]]]
    sums = plan["evaluations"][0]["sums"]
    for saved in sums.values():
        assert pl.read_parquet(folder / "sums" / saved["file"])[:, 0].unique().sort().to_list() == [0, 1]
    assert_frame_equal(ek.load(folder).to_polars(), result.to_polars())
    with pytest.raises(UsageError, match="suppressed slices do not add"):
        result + result


def test_save_replaces_only_results(tmp_path: Path) -> None:
    result = ek.evaluate(DATA, label="y", score="p", metrics=["accuracy"])
    folder = result.save(tmp_path / "out")
    with pytest.raises(OutputError, match="exists"):
        result.save(folder)
    result.save(folder, overwrite=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(OutputError, match="left alone"):
        result.save(tmp_path / "mine", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "out"]


def test_damaged_results_are_refused(tmp_path: Path) -> None:
    folder = ek.evaluate(DATA, label="y", score="p", metrics=["accuracy"]).save(tmp_path / "out")
    next((folder / "sums").glob("*.parquet")).write_bytes(b"no parquet")
    with pytest.raises(DataError, match="damaged"):
        ek.load(folder)
    with pytest.raises(DataError, match="holds no saved evaluation"):
        ek.load(tmp_path)


def test_evaluations_of_different_definitions_do_not_add() -> None:
    base = ek.evaluate(DATA, label="y", score="p", metrics=["accuracy"], slices=["sex"])
    for other in (
        ek.evaluate(DATA, label="y", score="p", metrics=["recall"], slices=["sex"]),
        ek.evaluate(DATA, label="y", score="p", metrics=["accuracy"], slices=["age"]),
        ek.evaluate(DATA, label="y", score="p", metrics=["accuracy"], slices=["sex"], unit="age"),
        ek.evaluate(DATA, label="y", score="p", metrics=["accuracy"], slices=["sex"], strict=True),
    ):
        with pytest.raises(UsageError, match="add only"):
            base + other


@pytest.mark.parametrize("setting", ["workers", "chunk_rows", "budget_bytes"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_a_count_that_is_not_a_whole_number_of_at_least_one_is_refused(setting: str, value: Any) -> None:
    rows = {"y": [0, 1], "p": [0.2, 0.8]}
    with pytest.raises(ConfigError, match=f"{setting} is a whole number of at least 1, not {value}"):
        ek.evaluate(rows, label="y", score="p", **{setting: value})


def test_a_dataset_of_arrow_is_refused_in_a_sentence(tmp_path: Path) -> None:
    from pyarrow.dataset import dataset

    pl.DataFrame({"y": [0, 1], "p": [0.2, 0.8]}).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(DataError, match="FileSystemDataset cannot be read; give an Arrow table"):
        ek.evaluate(dataset(tmp_path), label="y", score="p")


def test_rows_that_were_not_added_cannot_be_subtracted() -> None:
    rows = pl.DataFrame({"y": [0, 1, 1, 0, 1], "p": [0.1, 0.8, 0.6, 0.3, 0.9]})
    asked: dict[str, Any] = {"label": "y", "score": "p", "metrics": ["accuracy", "roc_auc"]}
    some, all_rows = ek.evaluate(rows[:3], **asked), ek.evaluate(rows, **asked)
    left = all_rows - some
    assert left["accuracy"].to_polars()["rows"].to_list() == [2]
    with pytest.raises(DataError, match=r"has rows that .* does not have: subtract what was added"):
        some - all_rows
