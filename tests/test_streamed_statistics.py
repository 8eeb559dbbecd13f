"""What a statistician doubts of rows read part by part: bounds, thinned variances, pruned products, what is settled."""

from dataclasses import replace
from itertools import combinations_with_replacement, product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

import evalkit as ek
from evalkit import estimate as estimation
from evalkit import metrics as catalog
from evalkit import score_keys
from evalkit.collect import Options, Rows, collect, sampled_bins
from evalkit.estimate import estimate
from evalkit.needs import Need, needs
from evalkit.score_bins import ScoreBins
from evalkit.score_sums import ScoreSums
from evalkit.score_values import values_of
from evalkit.slicing.cubes import Cube, RollUp
from evalkit.sums import AnySums

SLICES = 10
AREAS = [catalog.find(name) for name in ("roc_auc", "average_precision", "kolmogorov_smirnov")]


def cube(codes: Any, cells: int) -> tuple[list[Cube], list[int]]:
    """All rows, and a slice for each cell."""
    keys = tuple((("g", str(cell)),) for cell in range(cells))
    every = RollUp(0, ((),), np.zeros(cells, dtype=np.int32))
    each = RollUp(1, keys, np.arange(cells, dtype=np.int32))
    return [Cube(codes.astype(np.int32), cells, (every, each), None)], [0, 1, cells + 1]


# --- bounds ---


@pytest.mark.parametrize("weighted", [False, True])
def test_no_order_within_bins_leaves_the_bounds(weighted: bool) -> None:
    rng = np.random.default_rng(1)
    starts = np.append(0, score_keys.keys(np.array([0.2, 0.4, 0.6, 0.8]), True)).astype(np.int64)
    bins = ScoreBins(starts, "float64", True)
    areas = AREAS[:2]
    for _ in range(25):
        n = int(rng.integers(4, 40))
        place, label = rng.integers(0, 5, n), (rng.random(n) < rng.choice([0.15, 0.5])).astype(int)
        label[:2] = 0, 1
        weight = np.exp(rng.normal(0, 2, n)) if weighted else None
        found = values_of(areas, histogram(place, label, weight, bins), gradients=False, bounded=True)
        jitter = rng.random(n) / 10
        for inside in (0.8 * label, 0.8 * (1 - label) + jitter * label, rng.random(n)):
            scores = place + inside
            for i, area in enumerate((roc_auc_score, average_precision_score)):
                middle = found.value[i, 0] + i * found.binning[2, 0]
                moved = abs(area(label, scores, sample_weight=weight) - middle)
                assert moved <= found.binning[i, 0] + 1e-12


def histogram(place: Any, label: Any, weight: Any, bins: ScoreBins) -> ScoreSums:
    count, total, square = (np.zeros((len(bins), 2)) for _ in range(3))
    own = np.ones(len(place)) if weight is None else weight
    for array, amount in ((count, own**0), (total, own), (square, own**2)):
        np.add.at(array, (place, label), amount)
    held = count.any(1)
    return ScoreSums(
        slices=np.zeros(held.sum(), dtype=np.int32),
        keys=bins.starts[held],
        groups=None,
        count=count[held].astype(np.int64),
        total=None if weight is None else total[held],
        square=None if weight is None else square[held],
        bins=bins,
        dtype="float64",
        probabilities=True,
        size=1,
    )


# --- thinned variances ---


def test_a_slice_whose_scores_lie_in_few_bins_keeps_its_standard_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    n = 200_000
    group = rng.integers(0, SLICES, n)
    label = (rng.random(n) < 0.3).astype(np.int8)
    margin = rng.normal(0, 1.5, n) + 1.2 * label
    narrow = (group == SLICES - 1) & (rng.random(n) < 0.8)
    margin[narrow] = 0.3 + 0.003 * margin[narrow]
    rows = Rows(n=n, label=label, score=1 / (1 + np.exp(-margin)), probabilities=True)
    (sums,) = collect(needs(AREAS), rows, *cube(group, SLICES), Options()).values()
    assert isinstance(sums, ScoreSums)
    exact = [e.variance for e in estimate(AREAS, sums)]
    monkeypatch.setattr(estimation, "_MOST_GRADED", 5_000)
    thinned = [e.variance for e in estimate(AREAS, sums.binned(sampled_bins(rows, 4096)))]
    np.testing.assert_allclose(np.sqrt(np.divide(thinned, exact)), 1, atol=0.03)


# --- pruned products ---


@pytest.mark.parametrize(("task", "weighted", "grouped"), list(product(["binary", "regression"], [0, 1], [0, 1])))
def test_products_that_are_not_summed_are_never_read(task: str, weighted: int, grouped: int) -> None:
    rng = np.random.default_rng(0)
    n = 600
    binary = task == "binary"
    label: Any = rng.integers(0, 2, n).astype(np.int8) if binary else rng.gamma(2, 2, n)
    rows = Rows(
        n=n,
        label=label,
        score=rng.random(n) if binary else None,
        prediction=rng.integers(0, 2, n).astype(np.int8) if binary else label * rng.uniform(0.5, 1.5, n),
        columns={"a": rng.gamma(1, 1, n)},
        weight=rng.uniform(0.5, 2, n) if weighted else None,
        group=rng.integers(0, 256, n).astype(np.int32) if grouped else None,
        probabilities=binary,
    )
    where = cube(rng.integers(0, 3, n), 3)
    for metric in of_fields(task):
        asked = needs([metric], weighted=bool(weighted))
        identity = metric.statistic.identity
        pruned, full = (
            found(collect(wanted, rows, *where, Options())[identity], metric) for wanted in (asked, whole(asked))
        )
        for name, values in pruned.items():
            np.testing.assert_allclose(values, full[name], rtol=1e-9, err_msg=f"{metric.name}: {name}")


def of_fields(task: str) -> list[ek.Metric]:
    fitting = [m for m in catalog.catalog().values() if m.statistic.form != "scores" and m.task in (task, None)]
    return [m.bind(column="a") if m.first_parameter == "column" else m for m in fitting]


def whole(asked: list[Need]) -> list[Need]:
    def every(need: Need) -> Need:
        fields = range(len(need.statistic.fields))
        return replace(
            need, products=tuple(combinations_with_replacement(fields, 2)), largest=tuple(fields), cells=None
        )

    return [every(need) for need in asked]


def found(sums: AnySums, metric: ek.Metric) -> dict[str, Any]:
    (own,) = estimate([metric], sums)
    names = ("value", "variance", "support", "kish", "rarer", "smooth_variance", "heavy", "largest_share", "srs")
    parts = {f"variance of {part.metric.name}": part.variance for part in own.parts}
    return {**{name: getattr(own, name) for name in names}, **parts}


# --- what is settled before rows are summed ---


def table(**columns: Any) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    n = 2000
    label, score = rng.integers(0, 2, n), rng.random(n)
    rows: dict[str, list[Any]] = {"y": label.tolist(), "p": score.tolist(), "d": (score > 0.5).astype(int).tolist()}
    rows["w"] = [1.0] * n
    for name, value in columns.items():
        rows[name] = [rows[name][0] if value is None else type(value)(v) for v in rows[name]]
        rows[name][7] = value
    return pl.DataFrame(rows)


BY_SCORE: dict[str, Any] = {"label": "y", "score": "p"}
BY_DECISION: dict[str, Any] = {"label": "y", "prediction": "d"}


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.parametrize(
    ("odd", "columns"),
    [
        ({"p": float("inf")}, {**BY_SCORE, "drop_invalid": True}),
        ({"p": -1.0, "w": 0.0}, {**BY_SCORE, "weight": "w"}),
        ({"y": float("nan")}, {**BY_DECISION, "drop_invalid": True}),
        ({"y": 2, "w": 0.0}, {**BY_DECISION, "weight": "w"}),
    ],
)
def test_rows_that_are_left_out_settle_nothing(
    tmp_path: Path, suffix: str, odd: dict[str, Any], columns: dict[str, Any]
) -> None:
    path = tmp_path / f"rows.{suffix}"
    getattr(table(**odd), f"write_{suffix}")(path)
    read = {engine: ek.evaluate(path, engine=engine, **columns) for engine in ("memory", "local")}
    assert read["local"].metrics == read["memory"].metrics


def test_quantiles_of_the_score_itself_are_the_same_read_part_by_part(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    table(w=2.0).write_parquet(path, row_group_size=300)
    one, other = (
        ek.evaluate(path, **BY_SCORE, metrics=["count"], slices=["p=quantiles(4)"], engine=engine).to_polars()
        for engine in ("memory", "local")
    )
    assert one.select("slice", "value").equals(other.select("slice", "value"))


def test_quantiles_leave_out_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for name in ("whole", "damaged"):
        table(w=2.0).write_parquet(tmp_path / f"{name}.parquet")
    damaged = tmp_path / "damaged.parquet"
    held = bytearray(damaged.read_bytes())
    held[4 : len(held) // 2] = b"\xff" * (len(held) // 2 - 4)
    damaged.write_bytes(held)
    asked: dict[str, Any] = {**BY_SCORE, "metrics": ["count"], "slices": ["p=quantiles(4)"]}
    found = ek.evaluate(tmp_path, **asked, skip_damaged=True).to_polars()
    whole = ek.evaluate(tmp_path / "whole.parquet", **asked).to_polars()
    assert found.select("slice", "value").equals(whole.select("slice", "value"))


# --- logarithms ---


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_log_loss_of_scores_near_0_and_1_is_that_of_scikit_learn(dtype: str) -> None:
    rng = np.random.default_rng(0)
    tiny = 10.0 ** -rng.uniform(0, 20, 500)
    scores = np.concatenate([tiny, 1 - tiny, [0, 1]]).astype(dtype)
    labels = rng.integers(0, 2, len(scores))
    found = ek.evaluate({"y": labels, "p": scores}, label="y", score="p", metrics=["log_loss"]).value
    assert found == pytest.approx(log_loss(labels, scores.astype("float64").clip(*ends(dtype))), rel=1e-12)


def ends(dtype: str) -> tuple[float, float]:
    epsilon = float(np.finfo(dtype).eps)
    return epsilon, 1 - epsilon
