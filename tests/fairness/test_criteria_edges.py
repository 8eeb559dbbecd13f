"""Every criterion answers for groups of every shape: no warning, and no interval that leaves its value out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import evalkit as ek
from evalkit.fairness.criteria.average_odds import average_odds_measures
from evalkit.fairness.criteria.balance import balance_measures
from evalkit.fairness.criteria.calibration import calibration_measures
from evalkit.fairness.criteria.conditional_disparity import conditional_disparity_measures
from evalkit.fairness.criteria.differential import differential_fairness_measures
from evalkit.fairness.criteria.effect_size import cohens_h_measures, standardized_mean_difference_measures
from evalkit.fairness.criteria.inequality import generalized_entropy_measures
from evalkit.fairness.criteria.lift import lift_measures
from evalkit.fairness.criteria.multicalibration import multicalibration_measures
from evalkit.fairness.criteria.treatment_equality import treatment_equality_measures
from evalkit.fairness.families import families, slice_sets

ALL = (
    treatment_equality_measures,
    average_odds_measures,
    balance_measures,
    lift_measures,
    cohens_h_measures,
    standardized_mean_difference_measures,
    differential_fairness_measures,
    generalized_entropy_measures,
    calibration_measures,
    multicalibration_measures,
)
RNG = np.random.default_rng(0)
G, Y, P = RNG.choice(["a", "b"], 80), RNG.integers(0, 2, 80), RNG.random(80).round(2)
SHAPES: dict[str, dict[str, Any]] = {
    "a group of one row": {"g": np.where(np.arange(80) == 0, "rare", G)},
    "one group": {"g": np.full(80, "a")},
    "no positives": {"y": np.zeros(80, int)},
    "a group without positives": {"y": np.where(G == "b", 0, Y)},
    "nobody selected": {"p": np.full(80, 0.1)},
    "scores are the labels": {"p": Y.astype(float)},
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("more", [{"weight": "w"}, {"unit": "u"}])
def test_intervals_hold_their_values_in_every_shape(shape: str, more: dict[str, Any]) -> None:
    data = {"y": Y, "p": P, "g": G, "s": RNG.choice(["x", "z"], 80), "w": RNG.random(80), "u": RNG.integers(0, 20, 80)}
    sets = slice_sets(["g"], ["s"])
    result = ek.evaluate(
        data | SHAPES[shape], label="y", score="p", metrics=["roc_auc", "recall@0.5"], slices=sets, **more
    )
    evaluation = result.evaluations[0]
    [family] = families(evaluation, ["g"])
    found = [m for measures in ALL for m in measures(evaluation, family)]
    found += conditional_disparity_measures(evaluation, families(evaluation, ["g"], ["s"]))
    assert found
    for m in found:
        assert np.isnan(m.low) == np.isnan(m.high), m
        assert np.isnan(m.low) or m.low - 1e-12 <= m.value <= m.high + 1e-12, m
        assert np.isnan(m.p_value) or 0 <= m.p_value <= 1, m
