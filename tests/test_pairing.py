"""What rows tell of a difference: variances against oracles, and how two evaluations are lined up."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from oracles import ORACLES, Rows

import evalkit as ek
from evalkit.comparison import Comparison
from evalkit.errors import UsageError
from evalkit.hashing import group_of
from evalkit.metric import Metric
from evalkit.pairing import pair
from evalkit.significance import delong
from laws import FAMILIES, Family, rows_of

Floats = NDArray[np.float64]
# Found by iterations, so their derivatives are rough; and a sum, whose variance is that of as much weight.
_OTHERWISE = {"calibration_slope", "calibration_intercept", "total_cost"}
SCORES = [0.1, 0.2, 0.25, 0.3, 0.45, 0.5, 0.55, 0.7, 0.75, 0.9]


def table(task: str, n: int, seed: int, *, ties: bool = True) -> pl.DataFrame:
    """Two models on n rows: y, p (baseline), q (candidate), w, u (units), s (slices), x (another number)."""
    rng = np.random.default_rng(seed)
    if task == "binary":
        label: NDArray[Any] = (rng.random(n) < 0.4).astype(np.int64)
        outputs = rng.choice(SCORES, (2, n)) if ties else rng.random((2, n)) * 0.98 + 0.01
        outputs[1] = np.where(rng.random(n) < 0.4, outputs[0], outputs[1])
    else:
        label = rng.integers(1, 40, n) / 8 + 0.5
        outputs = np.abs(label + rng.integers(-8, 9, (2, n)) / 16) + 0.125
    return pl.DataFrame(
        {
            "y": label,
            "p": outputs[0],
            "q": outputs[1],
            "w": rng.choice([0.5, 1.0, 2.0, 3.5], n),
            "u": rng.integers(0, 12, n),
            "s": pl.Series([["a", "b", None][code] for code in rng.choice(3, n, p=[0.5, 0.3, 0.2])]),
            "x": rng.integers(1, 9, n).astype(np.float64),
        }
    )


def compared(frame: pl.DataFrame, task: Any, metrics: Any, **more: Any) -> Comparison:
    output: Any = "score" if task == "binary" else "prediction"
    return ek.compare(
        frame, label="y", baseline="p", candidate="q", output=output, task=task, metrics=metrics, id=None, **more
    )


def smooth(family: Family) -> list[Metric]:
    """Returns the family's metrics whose deltas have a variance by influences."""
    kinds = ("none", "bootstrap")
    return [m for m in family.metrics if m.kind not in kinds and m.name_of_function not in _OTHERWISE]


SMOOTH = [name for name, family in FAMILIES.items() if family.task in ("binary", "regression") and smooth(family)]


def influences(metric: Metric, rows: Rows) -> Floats:
    """Returns what each row adds to an oracle's value: its derivative by the row's weight, times the weight."""
    defaults = metric.all_parameters()
    given = {key: value for key, value in metric.parameters.items() if value != defaults.get(key)}
    found = np.empty(len(rows.label))
    for i, weight in enumerate(rows.weight):
        ends = []
        for step in (1e-5, -1e-5):
            moved = rows.weight.copy()
            moved[i] += step * weight
            ends.append(ORACLES[metric.name_of_function](Rows(rows.label, rows.output, moved, rows.column), **given))
        found[i] = (ends[0] - ends[1]) / 2e-5
    return found


def variance(metric: Metric, frame: pl.DataFrame, *, weighted: bool, unit: bool) -> float:
    """Returns the variance of candidate minus baseline that the rows' influences give."""
    mine, theirs = (influences(metric, rows_of(frame.with_columns(p=pl.col(c)), weighted)) for c in ("q", "p"))
    d = mine - theirs
    if unit:
        group = group_of(frame["u"].to_numpy(), 256)
        totals = np.array([d[group == g].sum() for g in np.unique(group)])
        return float(len(totals) * totals.var(ddof=1))
    if metric.kind == "delong":
        return sum(float(len(part) * part.var(ddof=1)) for part in _by_class(d, frame))
    return float(len(d) * d.var(ddof=1 if metric.statistic.form == "sums" else 0))


def _by_class(d: Floats, frame: pl.DataFrame) -> list[Floats]:
    label = frame["y"].to_numpy()
    return [d[label == value] for value in (0, 1)]


@pytest.mark.parametrize("family", SMOOTH)
@pytest.mark.parametrize(("weighted", "unit"), [(False, False), (True, False), (True, True)])
def test_the_variance_of_a_delta_is_that_of_the_oracles_influences(family: str, weighted: bool, unit: bool) -> None:
    held = FAMILIES[family]
    frame = table(held.task, 24, 3)
    metrics = smooth(held)
    roles: dict[str, Any] = {"weight": "w" if weighted else None, "unit": "u" if unit else None}
    found = compared(frame, held.task, metrics, slices=["s"], **roles).deltas()
    tested = 0
    for place, value in enumerate([..., "a"]):
        rows = frame if value is ... else frame.filter(pl.col("s") == value)
        for metric, delta in zip(metrics, found.values(), strict=True):
            expected = variance(metric, rows, weighted=weighted, unit=unit)
            if np.isfinite(expected):
                assert delta.variance[place] == pytest.approx(expected, rel=2e-4, abs=1e-10), (metric.name, value)
                tested += 1
    assert tested


@pytest.mark.parametrize("ties", [True, False])
def test_the_variance_of_a_roc_auc_delta_is_delongs_in_every_slice(ties: bool) -> None:
    frame = table("binary", 400, 5, ties=ties)
    comparison = compared(frame, "binary", ["roc_auc"], slices=["s"])
    delta = comparison.deltas()["roc_auc"]
    slices = [frame, *(frame.filter(pl.col("s").eq_missing(v)) for v in ("a", "b", None))]
    assert comparison.pairs[0].plan.texts == ("overall", "s=a", "s=b", "s=null")
    for place, rows in enumerate(slices):
        expected = delong(rows["y"].to_numpy(), rows["p"].to_numpy(), rows["q"].to_numpy())
        assert delta.contrast.value[place] == pytest.approx(expected.delta, abs=1e-12)
        assert delta.variance[place] == pytest.approx(expected.se**2, abs=1e-12)
        assert delta.contrast.two_sided()[place] == pytest.approx(expected.p_t, abs=1e-9)


METRICS = {
    "binary": [
        "accuracy",
        "precision",
        "recall",
        "f1",
        "matthews_corrcoef",
        "log_loss",
        "roc_auc",
        "average_precision",
    ],
    "regression": ["mean_error", "mae", "rmse", "r2"],
}


def jackknife(frame: pl.DataFrame, metric: str, parts: Any) -> float:
    """Returns the variance of a delta from leaving one row, or one group of rows, out."""
    metric_of = ORACLES[metric]
    held = [frame.filter(parts != part) for part in np.unique(parts)]
    deltas = [
        metric_of(rows_of(rows.with_columns(p=pl.col("q")), True)) - metric_of(rows_of(rows, True)) for rows in held
    ]
    return float((len(deltas) - 1) * np.var(deltas))


@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize("unit", [False, True])
def test_the_variance_of_a_delta_is_near_the_jackknifes(task: str, unit: bool) -> None:
    frame = table(task, 200, 7).with_columns(u=pl.int_range(200) % 50)
    found = compared(frame, task, METRICS[task], weight="w", unit="u" if unit else None).deltas()
    parts = group_of(frame["u"].to_numpy(), 256) if unit else np.arange(200)
    for metric in METRICS[task]:
        delta = next(d for name, d in found.items() if name.split("@")[0] == metric)
        expected = jackknife(frame, metric, parts)
        assert delta.variance[0] == pytest.approx(expected, rel=0.15 if unit else 0.06), metric


@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize("unit", [False, True])
def test_the_variance_of_a_delta_is_near_the_paired_bootstraps(task: str, unit: bool) -> None:
    frame = table(task, 400, 11).with_columns(u=pl.int_range(400) % 80)
    found = compared(frame, task, METRICS[task], unit="u" if unit else None).deltas()
    group = group_of(frame["u"].to_numpy(), 256) if unit else np.arange(400)
    _, group = np.unique(group, return_inverse=True)
    rng = np.random.default_rng(0)
    draws: dict[str, list[float]] = {metric: [] for metric in METRICS[task]}
    for _ in range(300):
        times = np.bincount(rng.integers(0, group.max() + 1, group.max() + 1), minlength=group.max() + 1)
        rows = frame[np.repeat(np.arange(400), times[group])]
        for metric in METRICS[task]:
            mine, theirs = rows_of(rows.with_columns(p=pl.col("q")), False), rows_of(rows, False)
            draws[metric].append(ORACLES[metric](mine) - ORACLES[metric](theirs))
    for metric in METRICS[task]:
        delta = next(d for name, d in found.items() if name.split("@")[0] == metric)
        assert np.sqrt(delta.variance[0]) == pytest.approx(np.std(draws[metric]), rel=0.15), metric


def test_a_bootstrap_draws_both_models_rows_together() -> None:
    frame = table("binary", 600, 13)
    metrics = ["accuracy", "log_loss", "roc_auc"]
    drawn = compared(frame, "binary", metrics, intervals=ek.bootstrap(800)).deltas()
    plain = compared(frame, "binary", metrics).deltas()
    for name, delta in plain.items():
        assert drawn[name].contrast.method == "bootstrap"
        assert drawn[name].contrast.error[0] == pytest.approx(np.sqrt(delta.variance[0]), rel=0.15), name


# --- lining up ---


def run(frame: pl.DataFrame, score: str, name: str, **more: Any) -> ek.Result:
    shared: dict[str, Any] = {"id": "id", "metrics": ["accuracy", "roc_auc", "log_loss"], "slices": ["s"], **more}
    return ek.evaluate(frame, label="y", score=score, name=name, **shared)


def lined_up(left: ek.Result, right: ek.Result) -> Any:
    return pair(left.evaluations[0], right.evaluations[0])


FRAME = table("binary", 200, 17).with_row_index("id")


def test_shuffled_rows_are_matched_by_id() -> None:
    old = run(FRAME.sample(fraction=1, shuffle=True, seed=1), "p", "old")
    found = lined_up(old, run(FRAME, "q", "new"))
    assert found.how == "rows"
    assert not found.notes
    assert found.baseline.rows.rows.score.tolist() == FRAME["p"].to_list()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f.head(150), "hold different ids"),
        (lambda f: f.with_columns(id=pl.col("id") // 2), "ids are not unique"),
        (lambda f: f.with_columns(y=1 - pl.col("y")), "labels of the same ids differ"),
        (lambda f: f.with_columns(id=pl.col("id").cast(pl.String)), "hold different ids"),
    ],
)
def test_rows_that_do_not_match_are_compared_as_independent_and_it_says_so(change: Any, says: str) -> None:
    found = lined_up(run(change(FRAME), "p", "old"), run(FRAME, "q", "new"))
    assert found.how == "none"
    assert any(says in note for note in found.notes), found.notes


def test_without_id_only_equal_labels_in_order_are_the_same_rows() -> None:
    new = run(FRAME, "q", "new", id=None)
    assert lined_up(run(FRAME, "p", "old", id=None), new).how == "rows"
    shuffled = run(FRAME.sample(fraction=1, shuffle=True, seed=1), "p", "old", id=None)
    found = lined_up(shuffled, new)
    assert found.how == "none"
    assert "no id" in found.notes[0]


def test_slices_that_one_run_lacks_are_named_and_left_out() -> None:
    old = run(FRAME.filter(pl.col("s").is_not_null()), "p", "old")
    found = lined_up(old, run(FRAME, "q", "new"))
    assert found.plan.texts == ("overall", "s=a", "s=b")
    assert any("1 slices only in new: s=null." in note for note in found.notes)


def test_metrics_that_one_run_lacks_are_named_and_left_out() -> None:
    found = lined_up(run(FRAME, "p", "old"), run(FRAME, "q", "new", metrics=["accuracy", "f1"]))
    assert [name for name, _ in found.candidate.metrics] == ["accuracy"]
    assert any("f1" in note and "roc_auc" in note for note in found.notes)


def test_runs_without_a_metric_in_common_do_not_compare() -> None:
    with pytest.raises(UsageError, match="no metric in common"):
        lined_up(run(FRAME, "p", "old", metrics=["f1"]), run(FRAME, "q", "new", metrics=["recall"]))


@pytest.mark.parametrize("role", [{"weight": "w"}, {"unit": "u"}])
def test_runs_of_other_settings_do_not_compare(role: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="do not compare"):
        lined_up(run(FRAME, "p", "old", **role), run(FRAME, "q", "new"))


def test_clustered_runs_without_rows_are_paired_by_groups_and_equal_the_paired_ones() -> None:
    kept = compared(FRAME, "binary", ["accuracy", "roc_auc", "log_loss"], unit="u", slices=["s"]).deltas()
    bare = ek.compare(
        run(FRAME, "q", "q", unit="u", keep_rows=False), baseline=run(FRAME, "p", "p", unit="u", keep_rows=False)
    )
    assert bare.pairs[0].how == "groups"
    assert "Paired by groups of units" in bare.notes[0]
    for name, delta in bare.deltas().items():
        np.testing.assert_allclose(delta.variance, kept[name].variance, rtol=1e-9)
        np.testing.assert_allclose(delta.contrast.two_sided(), kept[name].contrast.two_sided(), rtol=1e-6)


def test_runs_without_rows_and_units_are_independent_and_their_variances_add() -> None:
    bare = ek.compare(run(FRAME, "q", "q", keep_rows=False), baseline=run(FRAME, "p", "p", keep_rows=False))
    assert bare.pairs[0].how == "none"
    assert "no rows were kept of p and q" in bare.notes[0]
    for delta in bare.deltas().values():
        np.testing.assert_array_equal(delta.variance, delta.candidate.variance + delta.baseline.variance)


def test_groups_of_other_units_are_not_paired() -> None:
    other = FRAME.with_columns(u=pl.col("u") + 100)
    found = lined_up(
        run(other, "p", "old", unit="u", keep_rows=False), run(FRAME, "q", "new", unit="u", keep_rows=False)
    )
    assert found.how == "none"
