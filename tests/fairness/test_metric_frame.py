"""Our MetricFrame answers as fairlearn's wherever every denominator is positive, down to index, type and samples."""

import copy
import functools
import warnings
from typing import Any

import fairlearn.metrics as theirs
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sklearn.metrics as skm
from hypothesis import given, settings
from hypothesis import strategies as st

import evalkit as ek
import evalkit.fairness as ours
from evalkit.errors import DataError
from evalkit.fairness.frames import known as recognition

RECALL: Any = skm.recall_score
COUNTED: dict[str, Any] = {
    "accuracy": skm.accuracy_score,
    "loss": skm.zero_one_loss,
    "precision": skm.precision_score,
    "recall": skm.recall_score,
    "f1": skm.f1_score,
    "f2": functools.partial(skm.fbeta_score, beta=2),
    "jaccard": skm.jaccard_score,
    "selected": theirs.selection_rate,
    "tpr": theirs.true_positive_rate,
    "tnr": theirs.true_negative_rate,
    "fpr": theirs.false_positive_rate,
    "fnr": theirs.false_negative_rate,
}
SUMMED: dict[str, Any] = {
    "mean": theirs.mean_prediction,
    "mae": skm.mean_absolute_error,
    "mse": skm.mean_squared_error,
    "rmse": skm.root_mean_squared_error,
    "r2": skm.r2_score,
}
SCORED: dict[str, Any] = {
    "auc": skm.roc_auc_score,
    "precision": skm.average_precision_score,
    "brier": skm.brier_score_loss,
}
MANY = {**COUNTED, "mcc": skm.matthews_corrcoef, "balanced": skm.balanced_accuracy_score}
FEW = {name: MANY[name] for name in ("accuracy", "precision", "selected", "mcc")}


def draw(n: int = 3000, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "y_true": rng.integers(0, 2, n),
        "y_pred": rng.integers(0, 2, n),
        "g": rng.choice(["a", "b", "c"], n),
        "h": rng.choice([True, False], n),
        "c": rng.integers(1, 4, n),
        "d": rng.choice(["u", "v"], n),
        "w": rng.choice([0.5, 1.0, 2.5], n),
        "score": rng.random(n).astype(np.float64),
    }


def answers(frame: Any, *, sampled: bool = False) -> dict[str, Any]:
    found = {name: getattr(frame, name) for name in ("overall", "by_group", "control_levels", "sensitive_levels")}
    found |= {name: getattr(frame, name)() for name in ("group_min", "group_max")}
    for name in ("difference", "ratio"):
        for method in ("between_groups", "to_overall"):
            found[f"{name} {method}"] = getattr(frame, name)(method=method)
            if sampled:
                found[f"{name}_ci {method}"] = getattr(frame, f"{name}_ci")(method=method)
    if sampled:
        found |= {name: getattr(frame, name) for name in ("overall_ci", "by_group_ci")}
        found |= {name: getattr(frame, name)() for name in ("group_min_ci", "group_max_ci")}
    return found


def assert_alike(mine: Any, other: Any, rtol: float, words: str) -> None:
    if isinstance(other, pd.DataFrame):
        pd.testing.assert_frame_equal(mine, other, rtol=rtol, atol=1e-14, obj=words)
    elif isinstance(other, pd.Series):
        pd.testing.assert_series_equal(mine, other, rtol=rtol, atol=1e-14, obj=words)
    elif isinstance(other, list) and not isinstance(other[0], str):
        for one, another in zip(mine, other, strict=True):
            assert_alike(one, another, rtol, words)
    elif other is None or isinstance(other, list):
        assert mine == other
    else:
        assert mine == pytest.approx(other, rel=rtol, abs=1e-14), words


def compare(rtol: float = 1e-12, *, sampled: bool = False, **call: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = answers(theirs.MetricFrame(**copy.deepcopy(call)), sampled=sampled)
    mine = answers(ours.MetricFrame(**call), sampled=sampled)
    for words, answer in other.items():
        assert_alike(mine[words], answer, rtol, words)


GIVEN: dict[str, Any] = {
    "array": lambda d: {"sensitive_features": d["g"]},
    "list": lambda d: {"sensitive_features": d["g"].tolist()},
    "series": lambda d: {"sensitive_features": pd.Series(d["g"], name="race")},
    "category": lambda d: {"sensitive_features": pd.Series(d["g"], dtype="category", name="race")},
    "two columns": lambda d: {"sensitive_features": np.stack([d["c"], d["c"][::-1]], axis=1)},
    "mapping": lambda d: {"sensitive_features": {"race": d["g"], "sex": d["h"]}},
    "control": lambda d: {"sensitive_features": d["g"], "control_features": pd.Series(d["c"], name="age")},
    "two controls": lambda d: {
        "sensitive_features": pd.DataFrame({"race": d["g"], "sex": d["h"]}),
        "control_features": pd.DataFrame({"age": d["c"], "site": d["d"]}),
    },
}


def product_mean(y_true: Any, y_pred: Any) -> float:
    return float((y_true * y_pred).mean())


@pytest.mark.parametrize(
    ("features", "metrics"),
    [
        *((name, FEW) for name in GIVEN),
        *((name, skm.recall_score) for name in ("list", "mapping", "two controls")),
        *((name, theirs.count) for name in ("series", "control")),
        *((name, {"n": theirs.count, "mean": product_mean}) for name in ("two columns", "control")),
    ],
)
def test_answers_have_the_index_and_the_type_of_fairlearns(features: str, metrics: Any) -> None:
    d = draw(1000)
    compare(metrics=metrics, y_true=d["y_true"], y_pred=d["y_pred"], **GIVEN[features](d))


def test_every_metric_that_is_counted_or_summed_is_fairlearns() -> None:
    d = draw(1000)
    control = GIVEN["control"](d)
    number = {"y_true": d["score"] * 3 - 1, "y_pred": d["w"] + d["score"]}
    compare(metrics=MANY, y_true=d["y_true"], y_pred=d["y_pred"], **control)
    compare(1e-9, metrics=SUMMED, **number, **control)
    compare(1e-9, metrics={**SCORED, "loss": skm.log_loss}, y_true=d["y_true"], y_pred=d["score"], **control)


@pytest.mark.parametrize(
    ("metrics", "features", "seed"),
    [
        (FEW, "control", 7),
        (SCORED, "array", 7),
        (SUMMED, "array", 7),
        (skm.recall_score, "control", np.random.RandomState(3)),
    ],
    ids=["counts", "scores", "sums", "one"],
)
def test_bootstrap_samples_are_those_of_fairlearn(metrics: Any, features: str, seed: Any) -> None:
    d = draw(400)
    predicted = d["score"] if metrics is SCORED else d["y_pred"]
    samples: dict[str, Any] = {"n_boot": 4, "ci_quantiles": [0.05, 0.5, 0.95], "random_state": seed}
    call = {"metrics": metrics, "y_true": d["y_true"], "y_pred": predicted, **GIVEN[features](d)}
    compare(1e-9, sampled=True, **call, **samples)


@pytest.mark.parametrize("metrics", [COUNTED, SUMMED, SCORED], ids=["counts", "sums", "scores"])
def test_weights_are_those_of_fairlearn_and_may_be_given_once(metrics: Any) -> None:
    d = draw(500)
    predicted = d["score"] if metrics is SCORED else d["y_pred"]
    each = {name: {"sample_weight": d["w"]} for name in metrics}
    call = {"metrics": metrics, "y_true": d["y_true"], "y_pred": predicted, "sensitive_features": d["g"]}
    samples = {"n_boot": 2, "ci_quantiles": [0.1, 0.9], "random_state": 1}
    compare(1e-9, sampled=True, **call, sample_params=each, **samples)
    once, all_of_them = (ours.MetricFrame(**call, sample_params=p) for p in ({"sample_weight": d["w"]}, each))
    pd.testing.assert_frame_equal(once.by_group, all_of_them.by_group, check_exact=True)
    some = ours.MetricFrame(
        **{**call, "metrics": {**metrics, "n": ours.count}}, sample_params={"sample_weight": d["w"]}
    )
    assert some.by_group["n"].sum() == 500


@settings(max_examples=15)
@given(st.data())
def test_small_frames_agree_where_every_denominator_is_positive(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 12))
    few = st.integers(0, 1)
    columns = {
        name: np.array(data.draw(st.lists(values, min_size=n, max_size=n)))
        for name, values in (
            ("y_true", few), ("y_pred", few), ("g", st.sampled_from("ab")), ("h", few), ("c", st.sampled_from("uv"))
        )
    }  # fmt: skip
    weight = np.array(data.draw(st.lists(st.sampled_from([1.0, 0.25, 3.0]), min_size=n, max_size=n)))
    control = data.draw(st.booleans())
    call: dict[str, Any] = {"y_true": columns["y_true"], "y_pred": columns["y_pred"]}
    call["sensitive_features"] = (
        {"g": columns["g"], "h": columns["h"]} if data.draw(st.booleans()) else columns["g"].tolist()
    )
    if control:
        call["control_features"] = columns["c"].tolist()
    weighted = data.draw(st.booleans())
    counted = {name: COUNTED[name] for name in ("accuracy", "loss", "precision", "f1", "jaccard", "selected", "fpr")}
    metrics = {**counted, "n": theirs.count}
    if weighted:
        call["sample_params"] = {name: {"sample_weight": weight} for name in counted}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = theirs.MetricFrame(metrics=metrics, **call)
    mine = ours.MetricFrame(metrics=metrics, **call)
    assert mine.by_group.index.equals(other.by_group.index)
    for ours_, theirs_ in ((mine.overall, other.overall), (mine.by_group, other.by_group)):
        undefined = np.isnan(ours_.to_numpy(np.float64)) & ~np.isnan(theirs_.to_numpy(np.float64))
        np.testing.assert_allclose(ours_.where(~undefined, 0.0), theirs_.where(~undefined, 0.0), rtol=1e-12)
        assert not undefined[..., [list(metrics).index(name) for name in ("accuracy", "loss", "selected", "n")]].any()
    absent = other.by_group["n"].isna()
    assert (mine.by_group["n"].isna() == absent).all()
    held = ~mine.by_group.isna().drop(columns="n").loc[~absent].any().any()
    if held:
        for name in ("difference", "ratio"):
            np.testing.assert_allclose(getattr(mine, name)(), getattr(other, name)(), rtol=1e-12, atol=1e-14)


def test_one_group_differs_from_nothing() -> None:
    frame = ours.MetricFrame(
        metrics={"a": skm.accuracy_score, "s": ours.selection_rate}, y_true=[1, 0], y_pred=[1, 1],
        sensitive_features=["x", "x"],
    )  # fmt: skip
    assert frame.difference().tolist() == [0.0, 0.0]
    assert frame.ratio().tolist() == [1.0, 1.0]


# --- where ours differs on purpose ---


def test_a_rate_without_a_denominator_is_undefined_and_not_zero() -> None:
    call: dict[str, Any] = {"y_true": [1, 1, 0, 0], "y_pred": [1, 0, 0, 1], "sensitive_features": ["a", "a", "b", "b"]}
    metrics = {"tpr": theirs.true_positive_rate, "recall": skm.recall_score, "fpr": theirs.false_positive_rate}
    frame = ours.MetricFrame(metrics=metrics, **call)
    assert np.isnan(frame.by_group.loc["b", ["tpr", "recall"]].to_numpy(np.float64)).all()
    assert frame.by_group["fpr"].isna().tolist() == [True, False]
    assert frame.difference()["tpr"] == 0.0
    other = theirs.MetricFrame(metrics={"tpr": theirs.true_positive_rate}, **call)
    assert other.by_group["tpr"].tolist() == [0.5, 0.0]
    asked = functools.partial(RECALL, zero_division=0.0)
    assert ours.MetricFrame(metrics={"r": asked}, **call).by_group["r"].tolist() == [0.5, 0.0]


def test_words_as_labels_need_a_positive_one() -> None:
    call: dict[str, Any] = {
        "y_true": ["yes", "no", "yes", "no"],
        "y_pred": ["yes", "no", "no", "no"],
        "sensitive_features": ["a", "a", "b", "b"],
    }
    assert theirs.demographic_parity_difference(**call) == 0.0
    with pytest.raises(DataError, match="No value of y_pred is the positive one, 1; there are 'no', 'yes'"):
        ours.demographic_parity_difference(**call)
    for metric in (skm.recall_score, ours.true_positive_rate):
        with pytest.raises(DataError, match="pos_label"):
            ours.MetricFrame(metrics={"r": metric}, **call)
    selected = functools.partial(ours.selection_rate, pos_label="yes")
    recall = functools.partial(RECALL, pos_label="yes")
    frame = ours.MetricFrame(metrics={"s": selected, "r": recall, "a": skm.accuracy_score}, **call)
    assert frame.by_group.to_numpy().tolist() == [[0.5, 1.0, 1.0], [0.0, 0.0, 0.5]]


@pytest.mark.parametrize(
    "make",
    [
        lambda d: pl.DataFrame({"race": d["g"], "sex": d["d"]}),
        lambda d: pa.table({"race": d["g"], "sex": d["d"]}),
        lambda d: {"race": pl.Series("x", d["g"], dtype=pl.Categorical), "sex": pa.chunked_array([d["d"]])},
    ],
    ids=["polars", "arrow", "mapping"],
)
def test_names_of_columns_of_any_table_are_kept(make: Any) -> None:
    d = draw(200)
    frame = ours.MetricFrame(
        metrics={"s": ours.selection_rate},
        y_true=pl.Series(d["y_true"]),
        y_pred=d["y_pred"],
        sensitive_features=make(d),
    )
    plain = {"race": d["g"].tolist(), "sex": d["d"].tolist()}
    other = ours.MetricFrame(
        metrics={"s": ours.selection_rate}, y_true=d["y_true"], y_pred=d["y_pred"], sensitive_features=plain
    )
    assert frame.sensitive_levels == ["race", "sex"]
    pd.testing.assert_frame_equal(frame.by_group, other.by_group)
    series = ours.MetricFrame(
        metrics=ours.count, y_true=d["y_true"], y_pred=d["y_pred"], sensitive_features=pl.Series("race", d["g"])
    )
    assert series.by_group.index.name == "race"
    assert series.by_group.to_dict() == {k: int((d["g"] == k).sum()) for k in "abc"}


def test_metrics_of_ours_and_functions_of_anyones_stand_side_by_side() -> None:
    d = draw(300)
    calls = []

    def share(y_true: Any, y_pred: Any, *, extra: Any) -> float:
        calls.append(len(y_pred))
        return float((y_true * extra).sum())

    frame = ours.MetricFrame(
        metrics={"f1": ek.metrics.f1, "auc": ek.metrics.roc_auc, "share": share, "table": skm.confusion_matrix},
        y_true=d["y_true"], y_pred=d["y_pred"], sensitive_features=d["g"],
        sample_params={"share": {"extra": d["score"]}},
    )  # fmt: skip
    assert sorted(calls) == sorted([300, *(int((d["g"] == k).sum()) for k in "abc")])
    for k in "abc":
        own = d["g"] == k
        assert frame.by_group["f1"][k] == pytest.approx(skm.f1_score(d["y_true"][own], d["y_pred"][own]))
        assert frame.by_group["auc"][k] == pytest.approx(skm.roc_auc_score(d["y_true"][own], d["y_pred"][own]))
        table = skm.confusion_matrix(d["y_true"][own], d["y_pred"][own])
        assert np.array_equal(frame.by_group["table"][k], table)
    assert np.array_equal(frame.overall["table"], skm.confusion_matrix(d["y_true"], d["y_pred"]))
    assert np.isnan(frame.difference()["table"])
    with pytest.raises(DataError, match="more than a scalar"):
        frame.group_min()


@pytest.mark.parametrize("metrics", [skm.confusion_matrix, {"t": skm.confusion_matrix, "a": skm.accuracy_score}])
def test_more_than_scalars_stand_in_their_groups_where_crosses_are_empty(metrics: Any) -> None:
    d = draw(60)
    keep = ~((d["c"] == 2) & (d["d"] == "u")) & ~((d["g"] == "a") & (d["c"] == 1))
    call: dict[str, Any] = {"y_true": d["y_true"][keep], "y_pred": d["y_pred"][keep], "metrics": metrics}
    call["sensitive_features"] = d["g"][keep]
    call["control_features"] = pd.DataFrame({"age": d["c"][keep], "site": d["d"][keep]})
    mine, other = ours.MetricFrame(**call), theirs.MetricFrame(**call)
    for answer, expected in ((mine.by_group, other.by_group), (mine.overall, other.overall)):
        assert answer.index.equals(expected.index)
        columns = [(answer, expected)] if callable(metrics) else [(answer[n], expected[n]) for n in metrics]
        for column, expected_column in columns:
            for value, expected_value in zip(column, expected_column, strict=True):
                np.testing.assert_allclose(np.asarray(value, float), np.asarray(expected_value, float))


def test_every_function_that_fairlearn_derives_metrics_of_is_counted_at_once() -> None:
    names = [name for name in theirs.__all__ if name in recognition._FAIRLEARN]
    assert len(names) == 7
    for name in names:
        for module in (theirs, ours):
            assert recognition.known(getattr(module, name), frozenset()) is not None
    assert recognition.known(skm.recall_score, frozenset({"sample_weight"})) is not None
    assert recognition.known(skm.recall_score, frozenset({"other"})) is None
    assert recognition.known(functools.partial(skm.recall_score, average="macro"), frozenset()) is None
    assert recognition.known(functools.partial(skm.accuracy_score, normalize=False), frozenset()) is None

    def recall_score(y_true: Any, y_pred: Any) -> float:
        return float(len(y_true) == len(y_pred))

    assert recognition.known(recall_score, frozenset()) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"y_pred": [1, 0]}, "y_true has 4 rows, but y_pred has 2"),
        ({"y_true": [], "y_pred": []}, "There are no rows"),
        ({"sensitive_features": ["a", "b"]}, "has 2 rows, but y_true has 4"),
        ({"sensitive_features": ["a", None, "b", "b"]}, "has 1 missing values"),
        ({"sensitive_features": [["a"], ["b"], ["a"], ["b"]]}, "one scalar for each row"),
        ({"sensitive_features": pd.Series(list("abab"), name=3)}, "must be text, not 3"),
        ({"sensitive_features": {"x": list("abab")}, "control_features": {"x": list("abba")}}, "Two features"),
        ({"metrics": {"m": 3}}, "The metric m is 3, which cannot be called"),
        ({"metrics": {"m": skm.recall_score}, "y_true": [0, 1, 2, 1]}, "needs two labels; there are 0, 1, 2"),
        ({"metrics": {"m": skm.log_loss}, "y_pred": [0.1, 0.2, 1.5, 0.3]}, "y_pred goes from 0.1 to 1.5"),
        ({"metrics": {"m": skm.mean_squared_error}, "y_pred": [0.1, 0.2, np.nan, 0.3]}, "hold finite numbers"),
        ({"sample_params": [1]}, "sample_params must be a dict"),
        ({"sample_params": {"r": {}}}, "r, which is no metric here"),
        ({"sample_params": {"sample_weight": [1, 1, 1, -1]}}, "finite numbers that are not negative"),
        ({"sample_params": {"sample_weight": [1, 1]}}, "has 2 rows, but y_true has 4"),
        ({"n_boot": 3}, "needs both n_boot and ci_quantiles"),
        ({"n_boot": 0, "ci_quantiles": [0.5]}, "n_boot must be a whole number, at least 1, not 0"),
        ({"n_boot": 3, "ci_quantiles": [1]}, "floats between 0 and 1"),
        ({"n_boot": 3, "ci_quantiles": [0.5], "random_state": "x"}, "random_state must be a whole number"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_in_a_sentence(change: dict[str, Any], words: str) -> None:
    call: dict[str, Any] = {
        "metrics": {"m": skm.accuracy_score}, "y_true": [0, 1, 0, 1], "y_pred": [0, 1, 1, 1],
        "sensitive_features": list("abab"),
    }  # fmt: skip
    with pytest.raises(ValueError, match=words) as raised:
        ours.MetricFrame(**{**call, **change})
    assert isinstance(raised.value, ek.EvalkitError)


def test_methods_and_samples_that_are_not_there_are_said() -> None:
    frame = ours.MetricFrame(metrics=ours.count, y_true=[1, 0], y_pred=[1, 0], sensitive_features=["a", "b"])
    with pytest.raises(ValueError, match="method must be between_groups or to_overall, not 'both'"):
        frame.difference(method="both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="errors must be raise or coerce"):
        frame.group_min(errors="ignore")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no bootstrap samples"):
        _ = frame.by_group_ci
    with pytest.warns(UserWarning, match="no __name__"):
        ours.MetricFrame(
            metrics=functools.partial(skm.accuracy_score), y_true=[1, 0], y_pred=[1, 0], sensitive_features=["a", "b"]
        )
