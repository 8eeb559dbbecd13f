"""Curves over thresholds against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, roc_curve
from threshold_rows import made

import evalkit as ek
from evalkit.fairness import equalized_odds_difference
from evalkit.fairness.thresholds.threshold_curves import ThresholdCurves


@pytest.mark.parametrize("weighted", [False, True])
def test_each_group_has_its_roc_curve_of_scikit_learn(weighted: bool) -> None:
    of = made(200, 3, seed=0, weighted=weighted)
    curves = ThresholdCurves.of(of.scores())
    for g in range(3):
        at = of.group == g
        weight = None if of.weight is None else of.weight[at]
        fpr, tpr, thresholds = roc_curve(of.label[at], of.score[at], sample_weight=weight, drop_intermediate=False)
        own = curves.own[g]
        assert np.array_equal(curves.thresholds[own], thresholds)
        assert curves.rate("true_positive_rate")[g, own] == pytest.approx(tpr, abs=1e-12)
        assert curves.rate("false_positive_rate")[g, own] == pytest.approx(fpr, abs=1e-12)


def test_accuracy_cost_and_disparity_are_those_of_the_decisions() -> None:
    of = made(60, 2, seed=1)
    curves = ThresholdCurves.of(of.scores())
    costs = ek.Costs(tp=-2, fp=3, fn=7, tn=0.5)
    accuracy, cost, gap = curves.accuracy, curves.cost(costs), curves.disparity("equalized_odds")
    for place in range(0, len(curves.thresholds), 4):
        threshold = curves.thresholds[place]
        decided = (of.score >= threshold).astype(int)
        expected = equalized_odds_difference(of.label, decided, sensitive_features=of.group)
        assert gap[place] == pytest.approx(expected, abs=1e-12)
        for g in range(2):
            at = of.group == g
            tn, fp, fn, tp = confusion_matrix(of.label[at], decided[at], labels=[0, 1]).ravel()
            assert accuracy[g, place] == pytest.approx((tp + tn) / at.sum())
            assert cost[g, place] == pytest.approx((-2 * tp + 3 * fp + 7 * fn + 0.5 * tn) / at.sum())


def test_the_frame_has_each_groups_own_thresholds() -> None:
    of = made(60, 2, seed=1)
    frame = ThresholdCurves.of(of.scores()).to_polars(["f", "m"], ek.Costs())
    assert frame.columns[-1] == "cost"
    assert frame.filter(frame["group"] == "f").height == len(np.unique(of.score[of.group == 0])) + 1
