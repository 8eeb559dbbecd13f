"""The best threshold: against brute force, and what its costs and its set of thresholds promise, by simulation."""

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

import evalkit as ek
from evalkit.compare_view import saved
from evalkit.costs import BestThreshold, bayes_threshold, best_threshold
from evalkit.hashing import hash64, mix

ROLES: dict[str, Any] = {"label": "y", "score": "p"}


def draw(n: int, seed: int) -> dict[str, NDArray[Any]]:
    """Calibrated scores, a fifth of the rows positive."""
    rng = np.random.default_rng(seed)
    p = rng.beta(1, 4, n)
    return {"y": (rng.random(n) < p).astype(np.int64), "p": p}


# --- Bayes ---


@given(costs=st.lists(st.integers(-5, 5), min_size=4, max_size=4), p=st.floats(0, 1))
def test_the_bayes_threshold_decides_for_the_cheaper_expectation(costs: list[int], p: float) -> None:
    tp, fp, fn, tn = costs
    if fp < tn and fn < tp:
        with pytest.raises(ek.EvalkitError, match="Errors pay"):
            bayes_threshold(tp, fp, fn, tn)
        return
    called, passed = p * tp + (1 - p) * fp, p * fn + (1 - p) * tn
    if abs(called - passed) > 1e-9:
        assert (p >= bayes_threshold(tp, fp, fn, tn)) == (called < passed)


def test_without_a_difference_there_is_no_bayes_threshold() -> None:
    assert math.isnan(bayes_threshold(tp=1, fp=2, fn=1, tn=2))


# --- against brute force ---


def cost_at(
    data: dict[str, Any], threshold: float, costs: Any, among: Any = True, prevalence: float | None = None
) -> float:
    y, p = np.asarray(data["y"]), np.asarray(data["p"])
    tp, fp, fn, tn = (np.broadcast_to(data[c] if isinstance(c, str) else c, len(y)) for c in costs)
    of_rows = np.select([(y == 1) & (p >= threshold), y == 1, p >= threshold], [tp, fn, fp], tn)
    weight = np.asarray(data.get("w", np.ones(len(y)))) * among
    if prevalence is not None:
        weight = weight * np.where(y == 1, prevalence / weight[y == 1].sum(), (1 - prevalence) / weight[y == 0].sum())
    return float(np.average(of_rows, weights=weight))


@pytest.mark.parametrize("prevalence", [None, 0.05])
@pytest.mark.parametrize("costs", [(0, 1, 4, 0), (-3, 1, "a", 0)], ids=["constant", "by row"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_thresholds_and_costs_are_those_of_brute_force(dtype: Any, costs: Any, prevalence: float | None) -> None:
    rng = np.random.default_rng(3)
    data = draw(300, 3) | {"w": rng.choice([0.5, 1.0, 2.0], 300), "a": rng.gamma(2, 3, 300)}
    data["p"] = np.round(data["p"], 2).astype(dtype)
    named = dict(zip(("tp", "fp", "fn", "tn"), costs, strict=True))
    best = best_threshold(data, **ROLES, weight="w", prevalence=prevalence, seed=7, **named)
    every = [np.inf, *np.unique(data["p"])[::-1].tolist()]
    fold = mix(hash64(np.arange(300)) + mix(np.array([7]).view(np.uint64))) % np.uint64(2)

    def cheapest(among: Any) -> float:
        return float(every[int(np.argmin([cost_at(data, t, costs, among, prevalence) for t in every]))])

    of_folds = [cheapest(fold != k) for k in (0, 1)]
    assert best.threshold == cheapest(True)
    assert best.of_folds == tuple(of_folds)
    assert best.in_sample == pytest.approx(cost_at(data, best.threshold, costs, True, prevalence))
    assert best.never == pytest.approx(cost_at(data, np.inf, costs, True, prevalence))
    assert best.always == pytest.approx(cost_at(data, -np.inf, costs, True, prevalence))
    shifted = data | {"p": data["p"].astype(np.float64) - np.where(fold == 0, *of_folds)}
    assert best.cost == pytest.approx(cost_at(shifted, 0.0, costs, True, prevalence))


def test_without_weights_the_interval_is_that_of_a_mean() -> None:
    data = draw(500, 1)
    best = best_threshold(data, **ROLES, fn=4)
    fold = (mix(hash64(np.arange(500)) + mix(np.array([0]).view(np.uint64))) % np.uint64(2)).astype(int)
    called = data["p"] >= np.array(best.of_folds)[fold]
    values = np.where(data["y"] == 1, 4.0 * ~called, called)
    interval = stats.t.interval(0.95, 499, values.mean(), stats.sem(values))
    assert (best.low, best.high) == pytest.approx(interval)


def test_at_another_prevalence_the_interval_is_that_of_two_means() -> None:
    data = draw(500, 1)
    best = best_threshold(data, **ROLES, fn=4, prevalence=0.05)
    fold = (mix(hash64(np.arange(500)) + mix(np.array([0]).view(np.uint64))) % np.uint64(2)).astype(int)
    called = data["p"] >= np.array(best.of_folds)[fold]
    missed, alarmed = 4.0 * ~called[data["y"] == 1], called[data["y"] == 0].astype(float)
    variance = 0.05**2 * missed.var() / len(missed) + 0.95**2 * alarmed.var() / len(alarmed)
    assert best.cost == pytest.approx(0.05 * missed.mean() + 0.95 * alarmed.mean())
    assert best.high - best.cost == pytest.approx(1.965 * variance**0.5, rel=0.01)


def test_five_folds_choose_five_thresholds() -> None:
    best = best_threshold(draw(500, 1), **ROLES, fn=4, folds=5)
    assert len(best.of_folds) == 5
    assert best.low < best.cost < best.high


def test_the_bayes_cost_is_that_of_the_bayes_threshold() -> None:
    data = draw(500, 2)
    best = best_threshold(data, **ROLES, fn=4)
    assert best.bayes_threshold == 0.2
    assert best.bayes == pytest.approx(cost_at(data, 0.2, (0, 1, 4, 0)))


def test_scores_outside_0_and_1_have_no_bayes_cost() -> None:
    data = draw(500, 2)
    best = best_threshold(data | {"p": 3 * data["p"]}, **ROLES, fn=4)
    assert math.isnan(best.bayes)
    assert math.isnan(best.bayes_threshold)
    assert best.threshold == 3 * best_threshold(data, **ROLES, fn=4).threshold


def test_rows_of_a_unit_share_a_fold_and_widen_the_interval() -> None:
    data = draw(400, 5)
    repeated = {name: np.repeat(values, 4) for name, values in data.items()} | {"u": np.repeat(np.arange(400), 4)}
    of_units = best_threshold(repeated, **ROLES, unit="u", fn=4)
    of_rows = best_threshold(repeated, **ROLES, fn=4)
    once = best_threshold(data | {"u": np.arange(400)}, **ROLES, id="u", fn=4)
    assert of_units.cost == pytest.approx(once.cost)
    assert of_units.of_folds == once.of_folds
    assert of_units.high - of_units.low == pytest.approx(once.high - once.low, rel=0.25)
    assert of_rows.high - of_rows.low < 0.7 * (of_units.high - of_units.low)


def test_by_id_the_order_of_the_rows_does_not_matter() -> None:
    table = pl.DataFrame(draw(500, 4)).with_row_index("i")
    shuffled = table.sample(fraction=1, shuffle=True, seed=1)
    first, second = (best_threshold(t, **ROLES, id="i", fn=4) for t in (table, shuffled))
    assert first.of_folds == second.of_folds
    assert first.cost == pytest.approx(second.cost)


def test_where_calling_never_pays_the_threshold_is_infinite() -> None:
    best = best_threshold(draw(200, 0), **ROLES, fn=0)
    assert best.threshold == math.inf
    assert best.in_sample == best.never
    assert best.as_good[-1][1] == math.inf


def test_a_threshold_that_is_much_worse_is_not_in_the_set() -> None:
    best = best_threshold(draw(20_000, 0), **ROLES, fn=4)
    assert contains(best, 0.2)
    assert not any(contains(best, t) for t in (0.02, 0.6, 0.9, math.inf))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"folds": 1}, "folds must be at least 2"),
        ({"level": 95}, "level must lie between 0 and 1"),
        ({"prevalence": 0}, "prevalence must lie between 0 and 1"),
        ({"fn": "amuont"}, 'Did you mean "amount"'),
        ({"folds": 500}, "too few for 500 folds"),
        ({"folds": 2.5}, "folds must be a whole number"),
        ({"fn": math.nan}, "fn must be a finite number"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ek.EvalkitError, match=words):
        best_threshold(draw(100, 0) | {"amount": np.ones(100)}, **ROLES, **settings)


def test_a_class_that_a_fold_lacks_is_refused_with_a_prevalence() -> None:
    with pytest.raises(ek.EvalkitError, match="needs positives and negatives"):
        best_threshold({"y": [0] * 50, "p": np.linspace(0, 1, 50)}, **ROLES, prevalence=0.1)


# --- in words ---


@pytest.mark.parametrize(
    ("baseline", "candidate", "verb", "than"), [("p", "q", "costs", "more than"), ("q", "p", "saves", "against")]
)
def test_a_dearer_candidate_costs_more_and_saves_no_negative_amount(
    baseline: str, candidate: str, verb: str, than: str
) -> None:
    data = draw(4000, 0)
    data |= {"q": data["p"] * 0.1}
    costs = ek.Costs(fn=9, threshold=0.1, currency="USD")
    comparison = ek.compare(data, label="y", baseline=baseline, candidate=candidate, metrics=["recall"], costs=costs)
    row = comparison.row("expected_cost@fn=9,threshold=0.1", candidate=candidate)
    low, high = sorted([abs(row["delta_low"]), abs(row["delta_high"])])
    size = f"{abs(row['delta']):.2f} [{low:.2f}, {high:.2f}] USD per row"
    assert saved(comparison, candidate)[0] == f"{candidate} {verb} {size} {than} {baseline}."


def test_a_heavy_tail_is_told_with_the_saving() -> None:
    data = draw(4000, 0)
    rng = np.random.default_rng(0)
    data |= {"q": data["p"] * 0.5, "amount": rng.lognormal(0, 4, 4000)}
    comparison = ek.compare(
        data, label="y", baseline="p", candidate="q", metrics=["recall"], costs=ek.Costs(fn="amount", threshold=0.1)
    )
    assert "(heavy tail: the largest row is" in saved(comparison, "q")[0]


# --- what is promised ---


def contains(best: BestThreshold, threshold: float) -> bool:
    return any(low < threshold <= high for low, high in best.as_good)


def true_cost(threshold: float, fn: float) -> float:
    """Of calibrated scores that are Beta(1, 4), with fp = 1."""
    missed = fn * 0.2 * stats.beta(2, 4).cdf(threshold)
    return float(missed + 0.8 * stats.beta(1, 5).sf(threshold))


@pytest.mark.slow
@pytest.mark.parametrize("fn", [1, pytest.param(4, marks=pytest.mark.long), 10])
def test_the_cost_in_sample_flatters_and_the_cross_fitted_one_does_not(fn: int) -> None:
    """400 samples of 500 rows. Means within 3 standard errors; the set holds the best threshold in at least 95%."""
    found = [best_threshold(draw(500, seed), **ROLES, fn=fn) for seed in range(400)]
    true = np.array([np.mean([true_cost(t, fn) for t in best.of_folds]) for best in found])
    off = np.array([best.cost for best in found]) - true
    assert abs(off.mean()) < 3 * off.std() / 20
    chosen = np.array([true_cost(best.threshold, fn) for best in found])
    flattery = np.array([best.in_sample for best in found]) - chosen
    assert flattery.mean() < -5 * flattery.std() / 20
    held = sum(contains(best, 1 / (1 + fn)) for best in found)
    assert held >= stats.binom.ppf(0.005, 400, 0.95)
    covered = sum(best.low <= cost <= best.high for best, cost in zip(found, true, strict=True))
    assert covered >= stats.binom.ppf(0.005, 400, 0.92)
