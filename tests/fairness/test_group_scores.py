"""The histogram of groups, and covariances that come of it, against DeLong's and direct computation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import evalkit as ek
from evalkit.errors import ConfigError
from evalkit.estimate import estimate
from evalkit.fairness.families import families, slice_sets
from evalkit.fairness.group_scores import GroupScores
from evalkit.fairness.measure import Measure, table


def _rows(n: int = 400, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return {
        "y": y,
        "p": np.round(rng.normal(size=n) + y, 1),
        "g": rng.choice(["a", "b", "c"], n),
        "site": rng.integers(0, 2, n),
        "u": rng.integers(0, 60, n),
        "w": rng.uniform(0.5, 2, n),
    }


@pytest.mark.parametrize("more", [{}, {"weight": "w"}, {"unit": "u"}])
def test_covariance_of_group_aucs_has_the_variance_of_each_and_none_between_independent_groups(
    more: Any,
) -> None:
    data = _rows()
    evaluation = ek.evaluate(data, label="y", score="p", metrics=["roc_auc"], slices=["g"], **more).evaluations[0]
    [family] = families(evaluation, ["g"])
    scores = GroupScores.of(evaluation, family)
    [auc] = estimate([evaluation.metrics[0][1]], next(iter(evaluation.sums.values())))
    influence = np.zeros((3, 3, 2, len(scores.scores)))
    for group in range(3):
        negatives, positives = scores.weight[group]
        below = np.cumsum(negatives) - negatives / 2
        above = positives.sum() - np.cumsum(positives) + positives / 2
        value = (positives * below).sum() / (negatives.sum() * positives.sum())
        assert value == pytest.approx(auc.value[family.places[group]], abs=1e-12)
        influence[group, group, 0] = (above / positives.sum() - value) / negatives.sum()
        influence[group, group, 1] = (below / negatives.sum() - value) / positives.sum()
    covariance = scores.covariance(influence)
    assert np.diag(covariance) == pytest.approx(auc.variance[family.places], rel=0.03 if more else 1e-9)
    if "unit" not in more:
        assert np.allclose(covariance - np.diag(np.diag(covariance)), 0)


def test_families_stand_within_levels_of_control_features() -> None:
    sets = slice_sets(["g"], ["site"])
    evaluation = ek.evaluate(_rows(), label="y", score="p", metrics=["accuracy@0.5"], slices=sets).evaluations[0]
    found = families(evaluation, ["g"], ["site"])
    assert [f.level for f in found] == [(("site", "0"),), (("site", "1"),)]
    counts = evaluation.row_counts()
    assert all(counts[f.places].sum() == counts[f.whole] for f in found)


def test_families_of_slices_that_were_not_evaluated_are_refused_by_name() -> None:
    evaluation = ek.evaluate(_rows(), label="y", score="p", metrics=["roc_auc"], slices=["g"]).evaluations[0]
    with pytest.raises(ConfigError, match=r'No slices by "gg" were evaluated\. Did you mean "g"\?'):
        families(evaluation, ["gg"])


def test_the_table_says_undefined_where_a_value_is_nan() -> None:
    found = [Measure("gap", "g", float("nan")), Measure("gap", "g", 0.1, group=(("g", "a"),), level=(("site", "1"),))]
    frame = table(found, "mine")
    assert frame["status"].to_list() == ["undefined", "ok"]
    assert frame["slice"].to_list() == ["overall", "site=1, g=a"]
