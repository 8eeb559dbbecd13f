"""Equalizing thresholds against linear programming and fairlearn's ThresholdOptimizer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from threshold_rows import every_choice, made, rows

import evalkit as ek
from evalkit.errors import ConfigError
from evalkit.fairness.thresholds.criterion import CRITERIA, rates_of
from evalkit.fairness.thresholds.equalize import equalize
from evalkit.fairness.thresholds.group_rows import GroupRows
from evalkit.fairness.thresholds.judged import judged, loss, rates
from evalkit.fairness.thresholds.mitigate import PassThrough
from evalkit.fairness.thresholds.objective import Objective, objective
from evalkit.fairness.thresholds.threshold_curves import ThresholdCurves
from evalkit.fairness.thresholds.threshold_rule import ThresholdRule

OBJECTIVES = [
    objective("accuracy"),
    objective("balanced_accuracy"),
    objective("cost", ek.Costs(fp=2, fn=5)),
    objective("cost", ek.Costs(tp=3, fp=-1, fn=0, tn=1)),  # where positives should not be found
]


def _by_program(of: GroupRows, criterion: str, wanted: Objective, within: float) -> float:
    """Returns the best gain of all mixtures of all thresholds whose rates lie within a gap."""
    curves = ThresholdCurves.of(of.scores())
    gains = curves.overall(wanted) * (1 if wanted.higher else -1)
    width = gains.shape[1]
    kinds = [curves.rate(name) for name in rates_of(criterion)]
    rows_of, limits = [], []
    for number, rate in enumerate(kinds):
        for g in range(of.groups):
            of_rate = np.zeros(of.groups * width + len(kinds))
            of_rate[g * width : (g + 1) * width] = rate[g]
            of_rate[of.groups * width + number] = -1
            rows_of += [-of_rate, of_rate]
            limits += [0.0, within]
    whole = np.zeros((of.groups, of.groups * width + len(kinds)))
    for g in range(of.groups):
        whole[g, g * width : (g + 1) * width] = 1
    cost = np.append(-gains.ravel(), np.zeros(len(kinds)))
    solved = optimize.linprog(cost, np.array(rows_of), limits, whole, np.ones(of.groups), bounds=(0, 1))
    return -float(solved.fun or 0.0)


@settings(max_examples=25, deadline=None)
@given(rows(groups=3), st.sampled_from(CRITERIA), st.sampled_from(OBJECTIVES), st.sampled_from([0.0, 0.1]))
def test_no_mixture_of_thresholds_within_the_gap_does_better(of: GroupRows, criterion, wanted, within: float) -> None:  # type: ignore[no-untyped-def]
    found = equalize(of.scores(), criterion, wanted, within=within)
    sign = 1 if wanted.higher else -1
    assert found.value.value * sign == pytest.approx(_by_program(of, criterion, wanted, within), abs=1e-7)
    reached = rates(found.scores, found.rule, criterion)
    assert np.ptp(reached, axis=1).max() == pytest.approx(found.gap, abs=1e-12)
    assert found.gap <= within + (1e-12 if within == 0 or len(reached) == 1 else 1e-8)
    assert found.loss.value >= -1e-12
    assert found.loss.value == pytest.approx(sign * (found.best_value.value - found.value.value), abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(rows(groups=2), st.sampled_from(CRITERIA), st.sampled_from(OBJECTIVES), st.sampled_from([0.0, 0.1, 0.3]))
def test_without_mixing_it_is_the_best_choice_of_thresholds(of: GroupRows, criterion, wanted, within: float) -> None:  # type: ignore[no-untyped-def]
    gap, gain = every_choice(of, criterion, wanted)
    found = equalize(of.scores(), criterion, wanted, within=within, randomized=False)
    assert not found.rule.mixed
    best = gain[gap <= within + 1e-12].max()
    assert found.value.value * (1 if wanted.higher else -1) == pytest.approx(best, abs=1e-12)


_THEIRS = {
    "demographic_parity": "demographic_parity",
    "equal_opportunity": "true_positive_rate_parity",
    "predictive_equality": "false_positive_rate_parity",
    "equalized_odds": "equalized_odds",
}


@pytest.mark.parametrize("wanted", ["accuracy", "balanced_accuracy", "selection"])
@pytest.mark.parametrize("criterion", CRITERIA)
def test_it_reaches_at_least_what_fairlearn_reaches_and_hardly_more(criterion: str, wanted: str) -> None:
    from fairlearn import postprocessing

    if criterion == "equalized_odds" and wanted == "selection":
        pytest.skip("fairlearn has no selection rate under equalized odds")
    of = made(600, 3, seed=4, decimals=2)
    X = of.score[:, None]
    optimizer: Any = postprocessing.ThresholdOptimizer
    theirs = optimizer(
        estimator=PassThrough(),
        constraints=_THEIRS[criterion],
        objective={"selection": "selection_rate"}.get(wanted, f"{wanted}_score"),
        grid_size=20_000,
        prefit=True,
        predict_method="predict",
    ).fit(X, of.label, sensitive_features=of.group)
    positive = theirs._pmf_predict(X, sensitive_features=of.group)[:, 1]
    right = np.where(of.label == 1, positive, 1 - positive)
    reached = {
        "accuracy": right.mean(),
        "balanced_accuracy": (right[of.label == 1].mean() + right[of.label == 0].mean()) / 2,
        "selection": positive.mean(),
    }[wanted]
    found = equalize(of.scores(), criterion, wanted)  # type: ignore[arg-type]
    assert found.value.value >= reached - 1e-9
    # Under one rate fairlearn averages the groups' balanced accuracies instead of taking that of all rows.
    near = 0.03 if wanted == "balanced_accuracy" and criterion != "equalized_odds" else 1e-4
    assert found.value.value == pytest.approx(reached, abs=near)
    assert found.gap < 1e-12


def test_loss_has_the_interval_of_paired_differences() -> None:
    of = made(800, 2, seed=3, decimals=2)
    scores, rule, other = of.scores(), ThresholdRule.of([0.5, 0.9]), ThresholdRule.of([0.8, 0.8])
    found = loss(scores, rule, other, objective("accuracy"))
    mine, theirs = of.score >= np.array([0.5, 0.9])[of.group], of.score >= 0.8
    difference = (theirs == of.label).astype(float) - (mine == of.label)
    expected = stats.norm.interval(0.95, difference.mean(), stats.sem(difference))
    assert (found.value, found.low, found.high) == pytest.approx((difference.mean(), *expected), abs=1e-12)
    assert found.support == (mine != theirs).sum()


@pytest.mark.parametrize("more", [{}, {"weight": "w"}, {"unit": "u"}])
def test_the_objective_has_the_interval_that_an_evaluation_gives(more: dict[str, str]) -> None:
    rng = np.random.default_rng(0)
    of = made(500, 2, seed=3, decimals=2, weighted=True)
    data = {"y": of.label, "p": of.score, "g": of.group, "w": of.weight, "u": rng.integers(0, 80, 500)}
    evaluation = ek.evaluate(
        data,
        label="y",
        score="p",
        metrics=["accuracy@0.5", "roc_auc"],
        slices=["g"],
        **more,  # type: ignore[arg-type]
    )
    from evalkit.fairness.families import families
    from evalkit.fairness.group_scores import GroupScores

    scores = GroupScores.of(evaluation.evaluations[0], families(evaluation.evaluations[0], ["g"])[0])
    found = judged(scores, ThresholdRule.of([0.5, 0.5]), objective("accuracy"))
    known = evaluation["accuracy@0.5"]
    assert found.value == pytest.approx(known.value, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=2e-3 if more else 1e-4)


def test_few_changed_rows_have_no_interval_and_an_equal_rule_costs_nothing() -> None:
    scores = made(200, 2, seed=1, decimals=3).scores()
    rule = ThresholdRule.of([0.8, 0.8])
    same = loss(scores, rule, rule, objective("accuracy"))
    assert (same.value, same.support) == (0, 0)
    assert np.isnan(same.low)


def test_thresholds_in_use_are_compared_with() -> None:
    of = made(900, 2, seed=5, decimals=2)
    found = equalize(
        of.scores(), "demographic_parity", "cost", costs=ek.Costs(fp=1, fn=3), current=0.8, names=["f", "m"]
    )
    assert found.loss_to_current is not None
    used = judged(of.scores(), ThresholdRule.of([0.8, 0.8]), found.objective)
    assert found.loss_to_current.value == pytest.approx(found.value.value - used.value, abs=1e-12)
    table = found.to_polars()
    assert table["slice"].to_list() == ["overall", "f", "m"]
    assert table["cost"][0] == pytest.approx(np.average(table["cost"][1:], weights=table["rows"][1:]), abs=1e-12)
    assert table["selection_rate"][1] == pytest.approx(table["selection_rate"][2], abs=1e-12)


def test_equality_of_both_rates_without_mixing_decides_all_alike() -> None:
    scores = made(400, 2, seed=0, decimals=3).scores()
    assert equalize(scores, "equalized_odds", randomized=False).decides_alike
    mixed = equalize(scores, "equalized_odds")
    assert mixed.rule.mixed
    assert not mixed.decides_alike


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"within": -0.1}, "within is a gap"),
        ({"level": 95}, "level must lie between 0 and 1"),
        ({"current": [0.5]}, "one for each of 2 groups"),
    ],
)
def test_settings_that_cannot_hold_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        equalize(made(40, 2, seed=0).scores(), **wrong)
