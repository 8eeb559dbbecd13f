"""The matrix between sides, AUCs against the background, and their joint covariance, against direct computation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

import evalkit as ek
from evalkit.collect import GROUPS
from evalkit.errors import ConfigError, DataError
from evalkit.estimate import estimate
from evalkit.fairness.families import families
from evalkit.fairness.group_scores import GroupScores
from evalkit.fairness.scores.bias_auc import (
    bnsp_auc,
    bpsn_auc,
    generalized_mean,
    jigsaw_score,
    overall_auc,
    pinned_auc,
    shift,
    subgroup_auc,
    with_rest,
    xauc,
)
from evalkit.fairness.scores.cross_auc import CrossAuc, MeanAuc, cross_auc
from evalkit.results import Evaluation

GROUPS_OF = ["a", "b", "c"]


def rows(n: int = 500, seed: int = 0, decimals: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    g = rng.choice(GROUPS_OF, n, p=[0.5, 0.3, 0.2])
    return {
        "y": y,
        "p": np.round(rng.normal(size=n) + y + 0.4 * (g == "a"), decimals),
        "g": g,
        "u": rng.integers(0, 80, n),
        "w": rng.uniform(0.5, 2, n),
    }


def evaluated(data: dict[str, Any], slices: Any = ("g",), **more: Any) -> Evaluation:
    result = ek.evaluate(data, label="y", score="p", metrics=["roc_auc"], slices=list(slices), **more)
    return result.evaluations[0]


def scored(data: dict[str, Any], **more: Any) -> GroupScores:
    evaluation = evaluated(data, **more)
    return with_rest(evaluation, families(evaluation, ["g"])[0])


def _auc(positive: np.ndarray, negative: np.ndarray, data: dict[str, Any], weight: np.ndarray) -> float:
    """scikit-learn's AUC of some rows as positives and others as negatives."""
    label = np.repeat([1, 0], [positive.sum(), negative.sum()])
    score = np.concatenate([data["p"][positive], data["p"][negative]])
    return float(roc_auc_score(label, score, sample_weight=np.concatenate([weight[positive], weight[negative]])))


@pytest.mark.parametrize("weighted", [False, True])
def test_every_auc_is_scikit_learns_of_the_rows_that_it_is_of(weighted: bool) -> None:
    data = rows()
    auc = cross_auc(scored(data, **({"weight": "w"} if weighted else {})))
    y, weight = data["y"] == 1, data["w"] if weighted else np.ones(500)
    for i, group in enumerate(GROUPS_OF):
        own = data["g"] == group
        assert subgroup_auc(auc, i).value == pytest.approx(_auc(own & y, own & ~y, data, weight), abs=1e-12)
        assert bpsn_auc(auc, i).value == pytest.approx(_auc(~own & y, own & ~y, data, weight), abs=1e-12)
        assert bnsp_auc(auc, i).value == pytest.approx(_auc(own & y, ~own & ~y, data, weight), abs=1e-12)
        assert shift(auc, i, 1).value == pytest.approx(_auc(own & y, ~own & y, data, weight), abs=1e-12)
        assert shift(auc, i, 0).value == pytest.approx(_auc(own & ~y, ~own & ~y, data, weight), abs=1e-12)
        for j, other in enumerate(GROUPS_OF):
            expected = _auc(own & y, (data["g"] == other) & ~y, data, weight)
            assert auc.xauc[i, j] == pytest.approx(expected, abs=1e-12)
            assert xauc(auc, i, j).value == pytest.approx(expected, abs=1e-12)
        pinned = weight * (1 + own * weight.sum() / weight[own].sum())
        assert pinned_auc(auc, i).value == pytest.approx(
            roc_auc_score(data["y"], data["p"], sample_weight=pinned), abs=1e-12
        )
    assert overall_auc(auc).value == pytest.approx(roc_auc_score(y, data["p"], sample_weight=weight), abs=1e-12)


def test_equality_gaps_are_mann_whitney_statistics() -> None:
    data = rows()
    auc = cross_auc(scored(data))
    own, y = data["g"] == "b", data["y"] == 1
    u = stats.mannwhitneyu(data["p"][own & y], data["p"][~own & y]).statistic
    assert shift(auc, 1, 1).value == pytest.approx(u / ((own & y).sum() * (~own & y).sum()))


def test_the_jigsaw_score_is_its_published_formula() -> None:
    auc = cross_auc(scored(rows()))

    def power_mean(values: Sequence[float]) -> float:
        return float(np.power(np.mean(np.power(values, -5.0)), 1 / -5.0))

    parts = [power_mean([of(auc, g).value for g in range(3)]) for of in (subgroup_auc, bpsn_auc, bnsp_auc)]
    expected = 0.25 * overall_auc(auc).value + 0.25 * sum(parts)
    assert jigsaw_score(auc, 3).value == pytest.approx(expected, abs=1e-12)


def test_a_power_mean_leaves_out_what_is_undefined_and_is_zero_where_an_auc_is() -> None:
    def of(value: float) -> MeanAuc:
        return MeanAuc(value, np.zeros((2, 2)), np.zeros(2), 5.0)

    assert generalized_mean([of(0.5), of(float("nan"))]).value == 0.5
    assert generalized_mean([of(0.5), of(0.0)]).value == 0.0
    assert np.isnan(generalized_mean([of(float("nan"))]).value)
    assert generalized_mean([of(0.5), of(0.9)]).value == pytest.approx(((0.5**-5 + 0.9**-5) / 2) ** -0.2)


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 4), st.integers(1, 3)), min_size=1, max_size=30
    )
)
def test_what_is_above_is_not_below(drawn: list[tuple[int, int, int, int]]) -> None:
    group, label, score, weight = np.array(drawn).T
    table, count = np.zeros((3, 2, 5)), np.zeros((3, 2, 5), dtype=np.int64)
    np.add.at(table, (group, label, score), weight)
    np.add.at(count, (group, label, score), 1)
    auc = cross_auc(GroupScores(np.arange(5.0), count, table, table, None, False))
    held = (count.sum(2) > 0).ravel()
    assert np.array_equal(np.isfinite(auc.above), np.outer(held, held))
    assert np.allclose((auc.above + auc.above.T)[np.ix_(held, held)], 1)
    assert np.allclose(np.diag(auc.above)[held], 0.5)
    covariance = auc.covariance([xauc(auc, i, j) for i in range(3) for j in range(3)])
    assert np.linalg.eigvalsh(covariance).min() >= -1e-12


QUANTITIES: dict[str, Callable[[CrossAuc], MeanAuc]] = {
    "subgroup": lambda auc: subgroup_auc(auc, 0),
    "another": lambda auc: subgroup_auc(auc, 1),
    "xauc": lambda auc: xauc(auc, 0, 1),
    "back": lambda auc: xauc(auc, 1, 0),
    "bpsn": lambda auc: bpsn_auc(auc, 0),
    "bnsp": lambda auc: bnsp_auc(auc, 2),
    "shift": lambda auc: shift(auc, 1, 1),
    "overall": overall_auc,
    "pinned": lambda auc: pinned_auc(auc, 1),
    "jigsaw": lambda auc: jigsaw_score(auc, 3),
}


def _influences(scores: GroupScores) -> np.ndarray:
    """What a row more of weight 1 changes in each quantity, by finite differences."""
    step = 1e-5
    found = np.zeros((len(QUANTITIES), *scores.weight.shape))
    for cell in np.ndindex(*scores.weight.shape):
        ends = []
        for sign in (-1, 1):
            weight = scores.weight.copy()
            weight[cell] += sign * step
            auc = cross_auc(replace(scores, weight=weight, entries=None))
            ends.append(np.array([of(auc).value for of in QUANTITIES.values()]))
        found[(slice(None), *cell)] = (ends[1] - ends[0]) / (2 * step)
    return found


@pytest.mark.parametrize("more", [{}, {"weight": "w"}, {"unit": "u"}, {"weight": "w", "unit": "u"}])
def test_the_joint_covariance_is_that_of_what_each_row_changes(more: dict[str, Any]) -> None:
    data = rows(150, decimals=0)
    scores = scored(data, **more)
    auc = cross_auc(scores)
    found = auc.covariance([of(auc) for of in QUANTITIES.values()])
    influence = _influences(scores)
    if "unit" in more:
        expected = scores.covariance(influence)
    else:
        n = scores.count.sum(2, keepdims=True)
        scaled = influence * np.sqrt(scores.square * n / (n - 1))
        expected = np.einsum("pglk,qglk->pq", scaled, scaled)
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-9)
    single = list(QUANTITIES).index("subgroup"), list(QUANTITIES).index("xauc")
    assert np.diag(found)[list(single)] == pytest.approx(np.diag(scores.covariance(influence))[list(single)], rel=1e-5)


@pytest.mark.parametrize("more", [{}, {"weight": "w"}, {"unit": "u"}])
def test_groups_own_variances_are_those_of_the_metric_also_where_scores_are_rolled_up(more: dict[str, Any]) -> None:
    data = rows(12_000, decimals=12)
    evaluation = evaluated(data, **more)
    [family] = families(evaluation, ["g"])
    auc = cross_auc(with_rest(evaluation, family))
    [known] = estimate([evaluation.metrics[0][1]], next(iter(evaluation.sums.values())))
    found = [*(subgroup_auc(auc, g) for g in range(3)), overall_auc(auc)]
    places = [*family.places, 0]
    assert [q.value for q in found] == pytest.approx(known.value[places], abs=1e-12)
    assert np.diag(auc.covariance(found)) == pytest.approx(known.variance[places], rel=5e-3)


@pytest.mark.parametrize("more", [{}, {"weight": "w"}, {"unit": "u"}])
def test_rows_in_no_group_are_background_too(more: dict[str, Any]) -> None:
    data = rows()
    whole = cross_auc(scored(data, **more))
    evaluation = evaluated(data, [ek.by("g", values=["a", "b"])], **more)
    [family] = families(evaluation, [ek.by("g", values=["a", "b"])])
    part = with_rest(evaluation, family)
    assert part.groups == 3
    auc = cross_auc(part)
    for of in (bpsn_auc, bnsp_auc, pinned_auc):
        mine, theirs = of(auc, 1), of(whole, 1)
        assert mine.value == pytest.approx(theirs.value, abs=1e-12)
        assert auc.covariance([mine]) == pytest.approx(whole.covariance([theirs]), rel=1e-9)


def test_groups_that_share_rows_are_refused() -> None:
    data = {"y": [1, 0, 1, 0], "p": [0.9, 0.2, 0.4, 0.1], "g": [["a"], ["a", "b"], ["b"], ["b"]]}
    evaluation = evaluated(data)
    with pytest.raises(DataError, match=r'Groups of "g" share rows'):
        with_rest(evaluation, families(evaluation, ["g"])[0])


def test_more_than_forty_groups_are_refused() -> None:
    n: Any = np.ones((41, 2, 3), dtype=np.int64)
    with pytest.raises(ConfigError, match="at most 40 groups, and there are 41"):
        cross_auc(GroupScores(np.arange(3.0), n, n.astype(float), n.astype(float), None, False))


def test_without_scores_there_is_no_histogram() -> None:
    data = {"y": [1, 0], "p": [1, 0], "g": ["a", "b"]}
    evaluation = ek.evaluate(data, label="y", prediction="p", metrics=["recall"], slices=["g"]).evaluations[0]
    with pytest.raises(ConfigError, match="needs scores"):
        with_rest(evaluation, families(evaluation, ["g"])[0])


def test_units_are_at_most_the_groups_that_they_are_hashed_to() -> None:
    data = rows(3000)
    data["u"] = np.arange(3000)
    assert cross_auc(scored(data, unit="u")).units == GROUPS
