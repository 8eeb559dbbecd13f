"""Frontiers against brute force, and the laws they keep."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threshold_rows import every_choice, made, rows

import evalkit as ek
from evalkit.errors import ConfigError, DataError
from evalkit.fairness import MetricFrame, false_positive_rate, selection_rate, true_positive_rate
from evalkit.fairness.thresholds.criterion import CRITERIA
from evalkit.fairness.thresholds.group_rows import GroupRows
from evalkit.fairness.thresholds.objective import objective
from evalkit.fairness.thresholds.tradeoffs import frontier

OBJECTIVES = [objective("accuracy"), objective("cost", ek.Costs(tp=-1, fp=2, fn=5)), objective("balanced_accuracy")]


@settings(max_examples=25, deadline=None)
@given(rows(groups=3, most=5), st.sampled_from(CRITERIA), st.sampled_from(OBJECTIVES))
def test_the_frontier_is_that_of_every_choice_of_thresholds(of: GroupRows, criterion, wanted) -> None:  # type: ignore[no-untyped-def]
    gap, gain = every_choice(of, criterion, wanted)
    found = frontier(of.scores(), criterion=criterion, objective=wanted, points=None)
    best = np.array([gain[gap <= d + 1e-12].max() for d in found.disparity])
    assert found.value * (1 if wanted.higher else -1) == pytest.approx(best, abs=1e-12)
    for allowed in np.unique(gap):  # nothing is missing between points
        reached = found.value[found.at(allowed)] * (1 if wanted.higher else -1)
        assert reached == pytest.approx(gain[gap <= allowed + 1e-12].max(), abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(rows(groups=3, most=9), st.sampled_from(CRITERIA), st.sampled_from(OBJECTIVES), st.booleans())
def test_no_point_beats_another_and_common_never_beats_by_group(of: GroupRows, criterion, wanted, mixed) -> None:  # type: ignore[no-untyped-def]
    scores, sign = of.scores(), 1 if wanted.higher else -1
    own = frontier(scores, criterion=criterion, objective=wanted, points=None)
    common = frontier(scores, criterion=criterion, objective=wanted, thresholds="common", points=None)
    some = frontier(scores, criterion=criterion, objective=wanted, points=7, randomized=mixed)
    for each in (own, common, some):
        assert (np.diff(each.disparity) > 0).all()
        assert (np.diff(sign * each.value) > 0).all()
    assert all(
        sign * own.value[own.at(d)] >= sign * v - 1e-12 for d, v in zip(common.disparity, common.value, strict=True)
    )
    if mixed:
        for allowed, value in zip(some.disparity, some.value, strict=True):
            assert sign * value >= sign * own.value[own.at(allowed)] - 1e-9
    else:
        assert {(round(d, 9), round(v, 9)) for d, v in zip(some.disparity, some.value, strict=True)} <= {
            (round(d, 9), round(v, 9)) for d, v in zip(own.disparity, own.value, strict=True)
        }


@pytest.mark.parametrize("criterion", CRITERIA)
def test_the_thresholds_of_a_point_make_its_disparity_and_its_accuracy(criterion: str) -> None:
    of = made(300, 3, seed=1)
    found = frontier(of.scores(), criterion=criterion, points=9)  # type: ignore[arg-type]
    for gap, value, rule in zip(found.disparity, found.value, found.rules, strict=True):
        decided = of.score >= np.array([t[0] for t in rule.thresholds])[of.group]
        rates: dict[str, list[Any]] = {
            "demographic_parity": [selection_rate],
            "equal_opportunity": [true_positive_rate],
            "predictive_equality": [false_positive_rate],
            "equalized_odds": [true_positive_rate, false_positive_rate],
        }
        frame = MetricFrame(
            metrics={r.__name__: r for r in rates[criterion]},
            y_true=of.label,
            y_pred=decided.astype(int),
            sensitive_features=of.group,
        )
        assert np.asarray(frame.difference()).max() == pytest.approx(gap, abs=1e-12)
        assert (decided == of.label).mean() == pytest.approx(value, abs=1e-12)


def test_selecting_everybody_is_the_whole_frontier_of_selection() -> None:
    found = frontier(made(60, 2, seed=0).scores(), objective="selection")
    assert (found.disparity.tolist(), found.value.tolist(), found.alike.tolist()) == ([0.0], [1.0], [True])
    assert np.isnan(found.smallest_gap)


def test_the_smallest_gap_is_of_rules_that_look_at_scores() -> None:
    found = frontier(made(400, 2, seed=0, decimals=3).scores(), criterion="equalized_odds", points=None)
    assert found.alike[0]
    assert found.disparity[0] == 0
    assert 0 < found.smallest_gap == found.disparity[1]


def test_a_group_without_positives_is_in_no_disparity_and_said_so() -> None:
    of = made(90, 3, seed=2)
    label = np.where(of.group == 2, 0, of.label)
    found = frontier(
        GroupRows(of.score, label, of.group, 3).scores(), criterion="equal_opportunity", names=["a", "b", "c"]
    )
    assert found.note == "Not compared, for want of rows: c."
    assert all(np.isinf(rule.thresholds[2][0]) for rule in found.rules)


def test_the_frame_has_a_threshold_for_each_group_and_lists_of_them_where_mixed() -> None:
    scores = made(90, 2, seed=2).scores()
    assert frontier(scores, names=["f", "m"]).to_polars().columns == [
        "disparity",
        "accuracy",
        "threshold:f",
        "threshold:m",
    ]
    mixed = frontier(scores, names=["f", "m"], randomized=True, points=5).to_polars()
    assert mixed.columns[2:] == ["threshold:f", "share:f", "threshold:m", "share:m"]
    assert mixed["share:f"].list.sum().to_list() == pytest.approx([1.0] * mixed.height)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"criterion": "parity"}, "No criterion 'parity'"),
        ({"objective": "acuracy"}, 'Did you mean "accuracy"'),
        ({"objective": "cost"}, "needs the costs of outcomes"),
        ({"objective": "cost", "costs": ek.Costs(fn="price")}, 'fn is the column "price"'),
        ({"thresholds": "each"}, "thresholds must be"),
        ({"points": 1}, "points must be at least 2"),
        ({"randomized": True, "points": None}, "endless"),
        ({"names": ["a"]}, "There are 2 groups, but 1 names"),
    ],
)
def test_what_cannot_be_asked_is_refused(wrong, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=message):
        frontier(made(40, 2, seed=0).scores(), **wrong)


def test_one_group_has_no_disparity() -> None:
    with pytest.raises(DataError, match="Fewer than two groups hold rows for selection_rate"):
        frontier(made(40, 1, seed=0).scores())
