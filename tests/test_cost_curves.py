"""Cost curves: points against brute force over the rows, decision curves against the textbook, bands by simulation."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import simulate
from scipy import stats

import evalkit as ek
from evalkit.cost_curves import cost_curve, cost_difference, net_benefit_difference
from evalkit.hashing import group_of

COSTS: dict[str, Any] = {"tp": -2.0, "fp": 1.0, "fn": 4.0, "tn": 0.5}
BY_ROW: dict[str, Any] = {"tp": 0, "fp": 2, "fn": "a", "tn": 0}
ROW_METRIC = "expected_cost@fn=a,fp=2"


def draw(n: int = 400, seed: int = 0, digits: int = 2) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    p = np.round(rng.beta(1, 3, n), digits)
    columns = {
        "y": (rng.random(n) < p).astype(np.int64),
        "p": p,
        "q": np.clip(p + rng.normal(0, 0.1, n), 0, 1),
        "a": rng.gamma(2, 3, n),
        "w": rng.choice([0.5, 1.0, 3.0], n),
        "u": np.arange(n) // 3,
        "s": np.where(np.arange(n) % 3 == 0, "x", "z"),
    }
    return pl.DataFrame(columns)


def evaluate(table: pl.DataFrame, **roles: Any) -> ek.Result:
    return ek.evaluate(table, label="y", score="p", metrics=["roc_auc", ROW_METRIC], slices=["s"], **roles)


def of_rows(table: pl.DataFrame, threshold: float, costs: dict[str, Any], score: str = "p") -> Any:
    """The cost of each row, by a loop's logic."""
    y, p = table["y"].to_numpy(), table[score].to_numpy()
    tp, fp, fn, tn = (table[c].to_numpy() if isinstance(c, str) else np.full(len(y), c) for c in costs.values())
    return np.select([(y == 1) & (p >= threshold), y == 1, p >= threshold], [tp, fn, fp], tn)


# --- cost and profit ---


@pytest.mark.parametrize("costs", [COSTS, BY_ROW], ids=["constant", "by row"])
@pytest.mark.parametrize("weight", [None, "w"])
@pytest.mark.parametrize("text", ["overall", "s=x"])
def test_the_cost_at_every_threshold_is_that_of_the_rows(costs: Any, weight: str | None, text: str) -> None:
    table = draw()
    curve = cost_curve(evaluate(table, weight=weight), "cost", text, **costs, points=None)
    rows = table if text == "overall" else table.filter(s="x")
    assert curve["threshold"].to_list() == [np.inf, *sorted(set(rows["p"]), reverse=True)]
    weights = rows["w"].to_numpy() if weight else None
    expected = [np.average(of_rows(rows, t, costs), weights=weights) for t in curve["threshold"]]
    assert curve["cost"].to_list() == pytest.approx(expected)


@pytest.mark.parametrize("costs", [COSTS, BY_ROW], ids=["constant", "by row"])
def test_intervals_of_independent_rows_are_those_of_means(costs: Any) -> None:
    table = draw()
    for row in cost_curve(evaluate(table), "cost", **costs, points=20).iter_rows(named=True):
        values = of_rows(table, row["threshold"], costs)
        low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
        assert (row["low"], row["high"]) == pytest.approx((low, high))


def test_intervals_under_weights_are_those_of_the_metric() -> None:
    table = draw()
    name = "expected_cost@fn=4,fp=1,threshold=0.3,tn=0.5,tp=-2"
    result = ek.evaluate(table, label="y", score="p", metrics=["roc_auc", name], weight="w")
    curve = cost_curve(result, "cost", **COSTS, points=None).filter(pl.col("threshold") >= 0.3)[-1]
    metric = result[name]
    assert (curve["cost"][0], curve["low"][0], curve["high"][0]) == pytest.approx(
        (metric.value, metric.low, metric.high)
    )


@pytest.mark.parametrize(("costs", "name"), [(COSTS, "expected_cost@fn=4,fp=1,tn=0.5,tp=-2"), (BY_ROW, ROW_METRIC)])
def test_intervals_of_units_are_those_of_the_metric(costs: Any, name: str) -> None:
    table = draw(2000)
    result = ek.evaluate(table, label="y", score="p", metrics=["roc_auc", name], unit="u", weight="w")
    curve = cost_curve(result, "cost", **costs, points=None).filter(pl.col("threshold") >= 0.5)[-1]
    metric = result[name]
    assert (curve["cost"][0], curve["low"][0], curve["high"][0]) == pytest.approx(
        (metric.value, metric.low, metric.high)
    )


def test_profit_is_minus_the_cost_over_the_share_called() -> None:
    table = draw()
    cost, profit = (cost_curve(evaluate(table), kind, **COSTS) for kind in ("cost", "profit"))
    assert profit["profit"].to_list() == (-cost["cost"]).to_list()
    assert profit["low"].to_list() == (-cost["high"]).to_list()
    called = [float((table["p"].to_numpy() >= t).mean()) for t in profit["threshold"]]
    assert profit["positive_prediction_rate"].to_list() == pytest.approx(called)


def test_under_weights_the_share_called_of_costs_by_row_is_that_of_the_weight() -> None:
    table = draw()
    curve = cost_curve(evaluate(table, weight="w"), "profit", **BY_ROW, points=20)
    p, w = table["p"].to_numpy(), table["w"].to_numpy()
    called = [float(np.average(p >= t, weights=w)) for t in curve["threshold"]]
    assert curve["positive_prediction_rate"].to_list() == pytest.approx(called)
    alone = ek.evaluate(table, label="y", score="p", metrics=[ROW_METRIC], weight="w")
    assert cost_curve(alone, "profit", **BY_ROW)["positive_prediction_rate"].is_nan().all()


def test_capped_and_uncapped_costs_by_row_have_curves_of_their_own() -> None:
    table = draw()
    capped = "expected_cost@cap=5,fn=a,fp=2"
    result = ek.evaluate(table, label="y", score="p", metrics=[capped, ROW_METRIC])
    for cap, limit in ((5.0, 5.0), (None, np.inf)):
        curve = cost_curve(result, "cost", **BY_ROW, cap=cap, points=20)
        rows = table.with_columns(a=pl.col("a").clip(upper_bound=limit))
        assert curve["cost"].to_list() == pytest.approx([of_rows(rows, t, BY_ROW).mean() for t in curve["threshold"]])
    with pytest.raises(ek.EvalkitError, match=r"cap=7\.0"):
        cost_curve(result, "cost", **BY_ROW, cap=7.0)


def test_a_cap_bounds_constant_costs_of_a_curve() -> None:
    table = draw()
    curve = cost_curve(evaluate(table), "cost", fn=700, fp=-200, cap=100, points=20)
    capped = {"tp": 0, "fp": -100, "fn": 100, "tn": 0}
    assert curve["cost"].to_list() == pytest.approx([of_rows(table, t, capped).mean() for t in curve["threshold"]])
    with pytest.raises(ek.EvalkitError, match="cap must be above 0"):
        cost_curve(evaluate(table), "cost", cap=0)


def test_a_comparisons_curve_has_the_cap_and_the_prevalence_of_its_costs() -> None:
    table = draw()
    costs = ek.Costs(fn="a", fp=2, cap=5, prevalence=0.1)
    comparison = ek.compare(table, label="y", baseline="p", candidate="q", metrics=["roc_auc"], costs=costs)
    capped, y = table.with_columns(a=pl.col("a").clip(upper_bound=5.0)), table["y"].to_numpy()
    for row in comparison.curve("cost").gather_every(20).iter_rows(named=True):
        moved = of_rows(capped, row["threshold"], BY_ROW, "q") - of_rows(capped, row["threshold"], BY_ROW)
        assert row["difference"] == pytest.approx(0.1 * moved[y == 1].mean() + 0.9 * moved[y == 0].mean())


def test_another_prevalence_weights_the_classes() -> None:
    table = draw()
    curve = cost_curve(evaluate(table), "cost", **COSTS, prevalence=0.05, points=10)
    for row in curve.iter_rows(named=True):
        values = of_rows(table, row["threshold"], COSTS)
        of_class = [values[table["y"].to_numpy() == label] for label in (0, 1)]
        assert row["cost"] == pytest.approx(0.95 * of_class[0].mean() + 0.05 * of_class[1].mean())
        variance = sum((k * v.std()) ** 2 / len(v) for k, v in zip((0.95, 0.05), of_class, strict=True))
        width = 2 * 1.966 * variance**0.5 or np.nan
        assert row["high"] - row["low"] == pytest.approx(width, rel=0.01, nan_ok=True)


def test_a_curve_has_as_many_points_as_asked_for_and_both_ends() -> None:
    table = draw(5000, digits=9)
    curve = cost_curve(evaluate(table), "cost", points=50)
    assert curve.height == 50
    assert curve["threshold"].to_list()[0] == np.inf
    assert curve["threshold"].to_list()[-1] == table["p"].to_numpy().min()


def test_curves_of_costs_by_row_come_back_from_disk_and_add(tmp_path: Path) -> None:
    first, second = draw(seed=1), draw(seed=2)
    evaluate(first).save(tmp_path / "run")
    both = ek.load(tmp_path / "run") + evaluate(second)
    whole = evaluate(pl.concat([first, second]))
    mine, theirs = (cost_curve(r, "cost", **BY_ROW, points=None) for r in (both, whole))
    for name in mine.columns:
        assert mine[name].to_list() == pytest.approx(theirs[name].to_list(), nan_ok=True)


def test_binned_scores_give_the_same_ends() -> None:
    table = draw(3000, digits=9)
    exact, binned = (evaluate(table, budget_bytes=budget) for budget in (1 << 29, 1))
    for costs in (COSTS, BY_ROW):
        mine, theirs = (cost_curve(r, "cost", **costs, points=None)["cost"] for r in (exact, binned))
        assert (theirs[0], theirs[-1]) == pytest.approx((mine[0], mine[-1]))
        assert float(theirs.to_numpy().min()) == pytest.approx(float(mine.to_numpy().min()), rel=0.02)


def test_costs_by_row_that_were_not_collected_say_what_to_ask() -> None:
    with pytest.raises(ek.EvalkitError, match=r"needs the metric .expected_cost@fn=w,fp=1,tn=0,tp=0"):
        cost_curve(evaluate(draw()), "cost", fn="w")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"kind": "profits"}, 'Did you mean "profit"'),
        ({"kind": "cost", "slice": "s=y"}, 'No slice "s=y"'),
        ({"kind": "cost", "model": "q"}, "Name the model"),
        ({"kind": "cost", "prevalence": 2.0}, "prevalence must lie"),
        ({"kind": "cost", "points": 2}, "points must be at least 3"),
    ],
)
def test_what_is_not_there_is_said(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(ek.EvalkitError, match=words):
        cost_curve(evaluate(draw()), **asked)


def test_without_scores_there_is_no_curve() -> None:
    result = ek.evaluate(draw(), label="y", prediction="y", metrics=["expected_cost"])
    with pytest.raises(ek.EvalkitError, match="no curves without a metric of scores"):
        cost_curve(result, "cost")


# --- decision curves and cost lines ---


@pytest.mark.parametrize("dtype", [pl.Float32, pl.Float64])
def test_net_benefit_is_the_textbooks(dtype: Any) -> None:
    """Vickers and Elkin: TP / n - FP / n * pt / (1 - pt)."""
    table = draw().with_columns(pl.col("p").cast(dtype))
    y, p, n = table["y"].to_numpy(), table["p"].to_numpy(), table.height
    for row in cost_curve(evaluate(table), "net_benefit").iter_rows(named=True):
        t = row["threshold"]
        called = p >= p.dtype.type(t)
        benefit = (called & (y == 1)).sum() / n - (called & (y == 0)).sum() / n * t / (1 - t)
        assert row["model"] == pytest.approx(benefit)
        assert row["treat_all"] == pytest.approx(y.mean() - (1 - y.mean()) * t / (1 - t))
        assert row["treat_none"] == 0


def test_net_benefit_is_minus_a_cost() -> None:
    table = draw()
    row = cost_curve(evaluate(table), "net_benefit").row(19, named=True)
    values = of_rows(table, 0.2, {"tp": 1.0, "fp": -0.25, "fn": 0.0, "tn": 0.0})
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    assert row["threshold"] == 0.2
    assert (row["low"], row["high"]) == pytest.approx((low, high))


def test_decision_curves_need_probabilities() -> None:
    result = ek.evaluate(draw().with_columns(pl.col("p") * 3), label="y", score="p", metrics=["roc_auc"])
    with pytest.raises(ek.EvalkitError, match=r"needs scores in \[0, 1\]"):
        cost_curve(result, "net_benefit")


def test_cost_lines_are_the_lowest_of_all_thresholds() -> None:
    table = draw()
    y, p = table["y"].to_numpy(), table["p"].to_numpy()
    curve = cost_curve(evaluate(table), "cost_lines")
    every = [np.inf, *np.unique(p)]
    for row in curve.iter_rows(named=True):
        x = row["probability_cost"]
        lines = [x * (p[y == 1] < t).mean() + (1 - x) * (p[y == 0] >= t).mean() for t in every]
        assert row["normalized_cost"] == pytest.approx(min(lines))
        assert row["normalized_cost"] <= min(row["never"], row["always"]) + 1e-12
    assert (curve["never"].to_list()[0], curve["always"].to_list()[-1]) == (0.0, 0.0)


def test_cost_lines_need_both_classes() -> None:
    with pytest.raises(ek.EvalkitError, match="needs positives and negatives"):
        cost_curve(evaluate(draw().with_columns(y=pl.lit(0))), "cost_lines")


# --- a candidate against a baseline ---


def compared(table: pl.DataFrame, **settings: Any) -> pl.DataFrame:
    columns = (table[name].to_numpy() for name in ("y", "p", "q"))
    return cost_difference(*columns, **settings)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("costs", [COSTS, BY_ROW], ids=["constant", "by row"])
def test_the_difference_at_every_threshold_is_that_of_the_rows(costs: dict[str, Any], weighted: bool) -> None:
    table = draw()
    given = {k: table[v].to_numpy() if isinstance(v, str) else v for k, v in costs.items()}
    weight = table["w"].to_numpy() if weighted else None
    curve = compared(table, thresholds=[0.7, 0.1, 0.3, 2.0], weight=weight, **given)
    assert curve["threshold"].to_list() == [0.1, 0.3, 0.7, 2.0]
    for row in curve.iter_rows(named=True):
        t = row["threshold"]
        difference = of_rows(table, t, costs, "q") - of_rows(table, t, costs, "p")
        assert row["difference"] == pytest.approx(np.average(difference, weights=weight))
        flipped = int(((table["p"].to_numpy() >= t) != (table["q"].to_numpy() >= t)).sum())
        assert row["rows"] == flipped
        if flipped > 20 and not weighted:
            low, high = stats.t.interval(0.95, table.height - 1, difference.mean(), stats.sem(difference))
            assert (row["low"], row["high"]) == pytest.approx((low, high), rel=0.2, abs=0.02)
        assert row["low_all"] <= row["low"] <= row["difference"] <= row["high"] <= row["high_all"]


def test_where_no_row_differs_the_difference_is_not_certain() -> None:
    row = compared(draw(), thresholds=[2.0]).row(0, named=True)
    assert row["difference"] == 0
    assert row["low"] < -2 / 400
    assert row["high"] > 2 / 400


def test_net_benefits_differ_as_the_textbooks() -> None:
    table = draw()
    y, p, q = (table[name].to_numpy() for name in ("y", "p", "q"))
    for row in net_benefit_difference(y, p, q, [0.1, 0.4]).iter_rows(named=True):
        t = row["threshold"]
        benefit = [(s >= t) @ np.where(y == 1, 1, -t / (1 - t)) / len(y) for s in (p, q)]
        assert row["difference"] == pytest.approx(benefit[1] - benefit[0])


def test_groups_of_single_rows_give_the_bands_of_independent_rows() -> None:
    table = draw(4000)
    alone = compared(table, thresholds=[0.1, 0.3, 0.5])
    grouped = compared(table, thresholds=[0.1, 0.3, 0.5], group=group_of(np.arange(4000), 256))
    for name in ("low", "high", "low_all", "high_all"):
        ratio = (grouped[name] - grouped["difference"]) / (alone[name] - alone["difference"])
        assert ratio.to_list() == pytest.approx([1, 1, 1], abs=0.25)


def test_arrays_of_other_rows_are_refused() -> None:
    with pytest.raises(ek.EvalkitError, match="of the same rows"):
        cost_difference([1, 0], [0.1, 0.2], [0.3])
    with pytest.raises(ek.EvalkitError, match="between 0 and 1"):
        net_benefit_difference([1, 0], [0.1, 0.2], [0.3, 0.1], [0, 0.5])


@pytest.mark.slow
@pytest.mark.parametrize("clustered", [pytest.param(False, marks=pytest.mark.long), True], ids=["rows", "units"])
def test_the_bands_of_a_difference_cover(clustered: bool) -> None:
    """1,000 samples of 600 rows (200 units): each band alone in 93-98%, all thresholds together in 93-99%.

    What 1,000 samples may miss by chance is allowed for.
    """
    thresholds = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    settings: dict[str, Any] = {"thresholds": thresholds, "fn": 4}

    def sample(n: int, seed: int) -> pl.DataFrame:
        if not clustered:
            return draw(n, seed, 9)
        return draw(n // 3, seed, 9).select(pl.all().repeat_by(3).explode(empty_as_null=False))

    true = compared(sample(1_500_000, 10_000), **settings)["difference"].to_numpy()
    inside = []
    for seed in range(1000):
        group = group_of(np.arange(600) // 3, 256) if clustered else None
        curve = compared(sample(600, seed), group=group, seed=seed, **settings)
        alone = (curve["low"].to_numpy() <= true) & (true <= curve["high"].to_numpy())
        together = (curve["low_all"].to_numpy() <= true) & (true <= curve["high_all"].to_numpy())
        inside.append([*alone, together.all()])
    *alone, together = np.mean(inside, axis=0)
    assert all(simulate.within(share, 0.93, 0.98, 1000) for share in alone)
    assert simulate.within(together, 0.93, 0.99, 1000)
