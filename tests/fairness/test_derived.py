"""Every public name of fairlearn.metrics is here, and gives the same number."""

import functools
import warnings
from typing import Any

import fairlearn.metrics as theirs
import numpy as np
import pytest
import sklearn.metrics as skm

import evalkit.fairness as ours
from evalkit.errors import ConfigError, DataError

SCORES = ("log_loss", "roc_auc")
SCALARS = [
    name
    for name in theirs.__all__
    if name not in ("MetricFrame", "make_derived_metric", "plot_model_comparison", "plot_roc_curve_by_group")
]


def draw(name: str) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    label = rng.integers(0, 2, 300)
    scored = name.startswith(SCORES)
    return {"y_true": label, "y_pred": rng.random(300) if scored else rng.integers(0, 2, 300)}


def test_all_names_are_there() -> None:
    assert len(theirs.__all__) == 42
    assert sorted(ours.__all__) == sorted([*theirs.__all__, "assess", "assess_result"])
    assert all(callable(getattr(ours, name)) for name in ours.__all__)
    assert sorted(dir(ours)) == sorted(ours.__all__)
    with pytest.raises(AttributeError, match="no attribute 'parity'"):
        _ = ours.parity


@pytest.mark.parametrize(
    ("name", "weighted"), [*((name, True) for name in SCALARS), *((name, False) for name in SCALARS[::6])]
)
def test_each_gives_fairlearns_number(name: str, weighted: bool) -> None:
    call = draw(name)
    rng = np.random.default_rng(2)
    grouped = name.endswith(("_difference", "_ratio", "_group_min", "_group_max"))
    if grouped:
        call["sensitive_features"] = rng.choice(["a", "b", "c"], 300)
    if weighted and name != "count":
        call["sample_weight"] = rng.choice([0.5, 2.0], 300)
    mine, other = getattr(ours, name)(**call), getattr(theirs, name)(**call)
    assert mine == pytest.approx(other, rel=1e-9)
    if name.endswith(("_difference", "_ratio")) and "score" not in name:
        call["method"] = "to_overall"
        assert getattr(ours, name)(**call) == pytest.approx(getattr(theirs, name)(**call), rel=1e-9)


@pytest.mark.parametrize("agg", ["worst_case", "mean"])
@pytest.mark.parametrize("name", ["equalized_odds_difference", "equalized_odds_ratio"])
def test_odds_are_joined_as_fairlearn_does(name: str, agg: str) -> None:
    call = {**draw(name), "sensitive_features": np.arange(300) % 4, "agg": agg}
    assert getattr(ours, name)(**call) == pytest.approx(getattr(theirs, name)(**call))
    with pytest.raises(ValueError, match="agg must be worst_case or mean, not 'both'"):
        getattr(ours, name)(**{**call, "agg": "both"})


def test_odds_without_positives_are_undefined() -> None:
    call: dict[str, Any] = {"y_true": [0, 0, 0, 0], "y_pred": [1, 0, 0, 0], "sensitive_features": list("aabb")}
    assert np.isnan(ours.equalized_odds_difference(**call))
    assert np.isnan(ours.equal_opportunity_ratio(**call))
    assert np.isnan(ours.true_positive_rate([0, 0], [1, 0]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert theirs.equalized_odds_difference(**call) == 0.5


@pytest.mark.parametrize("transform", ["difference", "ratio", "group_min", "group_max"])
def test_metrics_are_derived_of_any_function(transform: Any) -> None:
    def within(y_true: Any, y_pred: Any, *, most: float, weight: Any) -> float:
        return float(((np.abs(y_true - y_pred) <= most) * weight).mean())

    call = draw("log_loss")
    both = [
        m.make_derived_metric(metric=within, transform=transform, sample_param_names=["weight"]) for m in (ours, theirs)
    ]
    groups = {"sensitive_features": np.arange(300) % 3, "weight": np.arange(300.0), "most": 0.4}
    assert both[0](**call, **groups) == pytest.approx(both[1](**call, **groups))
    bound = [m.make_derived_metric(metric=skm.fbeta_score, transform=transform) for m in (ours, theirs)]
    decided = {**draw("recall"), "sensitive_features": np.arange(300) % 3, "beta": 0.5, "sample_weight": np.ones(300)}
    assert bound[0](**decided) == pytest.approx(bound[1](**decided))


def test_what_cannot_be_derived_is_said() -> None:
    with pytest.raises(ConfigError, match="cannot be called"):
        ours.make_derived_metric(metric=3, transform="ratio")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="transform must be one of difference"):
        ours.make_derived_metric(metric=skm.f1_score, transform="mean")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="parameter named method"):
        ours.make_derived_metric(metric=ours.equal_opportunity_ratio, transform="ratio")
    with pytest.raises(DataError, match="y_true has 2 rows, but y_pred has 1"):
        ours.selection_rate([1, 0], [1])
    assert ours.selection_rate([0, 0], ["x", "y"], pos_label="x") == 0.5
    assert functools.partial(ours.selection_rate, pos_label=0)([1, 1], [0, 1]) == 0.5


def test_plots_are_fairlearns_own() -> None:
    assert ours.plot_model_comparison is theirs.plot_model_comparison
