"""Callables that stand for one of our metrics, so that all groups are counted at once.

A function of scikit-learn or fairlearn, or a `functools.partial` of one, is known by its name and keywords; whatever
else is called group by group, as it is.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from evalkit.collect import Rows
from evalkit.errors import DataError
from evalkit.metric import Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

Reads = Literal["decisions", "rates", "either", "agreement", "selection", "mean", "numbers", "scores", "rows"]


@dataclass(frozen=True)
class Known:
    """A metric of ours, and how it reads y_true and y_pred.

    Attributes:
        metric: with its parameters bound.
        reads: what y_true and y_pred are to it, see `rows_of`.
        positive: the positive label; None: 1, and labels must be 0 and 1, or -1 and 1.
        complement: whether the value is 1 minus the metric's.
        undefined: what stands where the metric is undefined.
    """

    metric: Metric
    reads: Reads
    positive: Any = 1
    complement: bool = False
    undefined: float = np.nan

    def finished(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the values as the callable means them."""
        values = 1 - values if self.complement else values
        return np.where(np.isnan(values), self.undefined, values)


@dataclass(frozen=True)
class _Spec:
    metric: str
    reads: Reads
    positive: Any = 1
    complement: bool = False
    keywords: Mapping[str, Any] = field(default_factory=dict)


_DECIDED = {"pos_label": 1, "average": "binary", "labels": None, "zero_division": "warn"}
_RATED = {"pos_label": None}
_NUMBERS = {"multioutput": "uniform_average"}
_SPECS: dict[tuple[str, str], _Spec] = {
    ("sklearn.metrics", "accuracy_score"): _Spec("accuracy", "agreement", keywords={"normalize": True}),
    ("sklearn.metrics", "zero_one_loss"): _Spec("accuracy", "agreement", complement=True, keywords={"normalize": True}),
    ("sklearn.metrics", "precision_score"): _Spec("precision", "decisions", keywords=_DECIDED),
    ("sklearn.metrics", "recall_score"): _Spec("recall", "decisions", keywords=_DECIDED),
    ("sklearn.metrics", "f1_score"): _Spec("f1", "decisions", keywords=_DECIDED),
    ("sklearn.metrics", "fbeta_score"): _Spec("fbeta", "decisions", keywords={**_DECIDED, "beta": 1.0}),
    ("sklearn.metrics", "jaccard_score"): _Spec("jaccard", "decisions", keywords=_DECIDED),
    ("sklearn.metrics", "balanced_accuracy_score"): _Spec("balanced_accuracy", "either", keywords={"adjusted": False}),
    ("sklearn.metrics", "matthews_corrcoef"): _Spec("matthews_corrcoef", "either"),
    ("sklearn.metrics", "roc_auc_score"): _Spec("roc_auc", "scores", keywords={"average": "macro", "max_fpr": None}),
    ("sklearn.metrics", "average_precision_score"): _Spec(
        "average_precision", "scores", keywords={"average": "macro", "pos_label": 1}
    ),
    ("sklearn.metrics", "log_loss"): _Spec("log_loss", "scores", keywords={"normalize": True, "labels": None}),
    ("sklearn.metrics", "brier_score_loss"): _Spec(
        "brier_score", "scores", keywords={"pos_label": None, "labels": None, "scale_by_half": "auto"}
    ),
    ("sklearn.metrics", "mean_absolute_error"): _Spec("mae", "numbers", keywords=_NUMBERS),
    ("sklearn.metrics", "mean_squared_error"): _Spec("mse", "numbers", keywords=_NUMBERS),
    ("sklearn.metrics", "root_mean_squared_error"): _Spec("rmse", "numbers", keywords=_NUMBERS),
    ("sklearn.metrics", "r2_score"): _Spec("r2", "numbers", keywords={**_NUMBERS, "force_finite": True}),
}
_FAIRLEARN: dict[str, _Spec] = {
    "true_positive_rate": _Spec("recall", "rates", None, keywords=_RATED),
    "true_negative_rate": _Spec("specificity", "rates", None, keywords=_RATED),
    "false_positive_rate": _Spec("false_positive_rate", "rates", None, keywords=_RATED),
    "false_negative_rate": _Spec("false_negative_rate", "rates", None, keywords=_RATED),
    "selection_rate": _Spec("positive_prediction_rate", "selection", keywords={"pos_label": 1}),
    "mean_prediction": _Spec("mean_error", "mean"),
    "count": _Spec("count", "rows"),
}
for _module in ("fairlearn.metrics", "evalkit.fairness"):
    _SPECS |= {(_module, _name): _spec for _name, _spec in _FAIRLEARN.items()}


def known(function: Any, parameters: frozenset[str]) -> Known | None:
    """Returns what a callable stands for; None where it is to be called as it is.

    Args:
        function: the callable.
        parameters: the names of its parameters by row; only `sample_weight` is known.
    """
    if parameters - {"sample_weight"}:
        return None
    if isinstance(function, Metric):
        return Known(function, _reads(function)) if function.task is not None or function.name == "count" else None
    given: dict[str, Any] = {}
    while isinstance(function, functools.partial) and not function.args:
        given = {**function.keywords, **given}
        function = function.func
    spec = _spec_of(function)
    if spec is None or given.keys() - spec.keywords.keys():
        return None
    return _bound(spec, given)


def _spec_of(function: Any) -> _Spec | None:
    name = getattr(function, "__name__", "")
    for (module, own), spec in _SPECS.items():
        if own == name and getattr(sys.modules.get(module), name, None) is function:
            return spec
    return None


def _bound(spec: _Spec, given: Mapping[str, Any]) -> Known | None:
    """Returns what a function with these keywords stands for; None where we have no such variant."""
    from evalkit.metrics import find

    asked = {**spec.keywords, **given}
    positive = asked.pop("pos_label", spec.positive)
    division = asked.pop("zero_division", "warn")
    metric = find(spec.metric)
    if "beta" in asked:
        metric = metric.bind(beta=float(asked.pop("beta")))
    if any(not _same(value, spec.keywords[name]) for name, value in asked.items()):
        return None
    undefined = np.nan if division == "warn" else float(division)
    if spec.reads == "scores" and positive not in (None, 1):
        return None
    return Known(metric, spec.reads, positive, spec.complement, undefined)


def _same(value: Any, default: Any) -> bool:
    return value is default or (isinstance(value, str | bool | int | float) and value == default)


def _reads(metric: Metric) -> Reads:
    needs = metric.statistic.needs
    if metric.name == "count":
        return "rows"
    if metric.task == "regression":
        return "numbers"
    return "rates" if "decision" in needs and metric.parameters.get("threshold") is None else "scores"


# --- rows ---


def rows_of(asked: Known, truth: NDArray[Any], prediction: NDArray[Any], weight: NDArray[np.float64] | None) -> Rows:
    """Returns the rows that a metric reads, of labels that `require` has seen.

    Args:
        asked: `decisions` and `rates` compare both with the positive label, `either` with one of the two labels, no
            matter which; `agreement` is of equal values, `selection` of predictions alone, `mean` and `numbers` are of
            numbers, `scores` of labels and scores.
        truth: [rows].
        prediction: [rows].
        weight: [rows] positive, or None.

    Raises:
        DataError: labels, predictions or scores are not what the metric reads.
    """
    n, ones = len(truth), np.ones(len(truth), dtype=np.int8)
    if asked.reads == "rows":
        return Rows(n, label=ones)
    if asked.reads in ("decisions", "rates", "either"):
        positive = (
            _either(truth, prediction) if asked.reads == "either" else 1 if asked.positive is None else asked.positive
        )
        label, decision = ((side == positive).astype(np.int8) for side in (truth, prediction))
        return Rows(n, label=label, prediction=decision, weight=weight)
    if asked.reads == "agreement":
        return Rows(n, label=ones, prediction=(truth == prediction).astype(np.int8), weight=weight)
    if asked.reads == "selection":
        return Rows(n, label=ones, prediction=(prediction == asked.positive).astype(np.int8), weight=weight)
    if asked.reads == "scores":
        return _scored(truth, prediction, weight)
    zeros = np.zeros(n)
    label = zeros if asked.reads == "mean" else _numbers("y_true", truth)
    return Rows(n, label=label, prediction=_numbers("y_pred", prediction), weight=weight)


def has_two_labels(truth: NDArray[Any], prediction: NDArray[Any]) -> bool:
    """Returns whether there are at most two labels."""
    return len({*_distinct(truth), *_distinct(prediction)}) <= 2


def _either(truth: NDArray[Any], prediction: NDArray[Any]) -> Any:
    """Returns one of two labels, the same whatever their order."""
    return max({*_distinct(truth), *_distinct(prediction)}, key=str)


def require(asked: Known, truth: NDArray[Any], prediction: NDArray[Any]) -> None:
    """Refuses labels, predictions and scores that a metric cannot read.

    Raises:
        DataError: they are not what the metric reads.
    """
    if asked.reads in ("decisions", "rates"):
        _require_labels(asked, {*_distinct(truth), *_distinct(prediction)})
    elif asked.reads == "selection":
        _require_label("y_pred", prediction, asked.positive)
    elif asked.reads == "scores":
        _require_scores(asked, truth, prediction)


def _require_labels(asked: Known, values: set[Any]) -> None:
    if asked.positive is None and not (values <= {0, 1} or values <= {-1, 1}):
        raise DataError(
            f"{asked.metric.name} needs labels 0 and 1, or -1 and 1, or a pos_label; there are {_listed(values)}."
        )
    if len(values) > 2:
        raise DataError(f"{asked.metric.name} needs two labels; there are {_listed(values)}.")
    positive = 1 if asked.positive is None else asked.positive
    if positive not in values and not values <= {0, -1}:
        raise DataError(f"No label is the positive one, {positive!r}; there are {_listed(values)}: name pos_label.")


def _require_label(name: str, values: NDArray[Any], positive: Any) -> None:
    if values.dtype.kind in "biuf" and isinstance(positive, int | float | np.number):
        return
    distinct = _distinct(values)
    if positive not in distinct:
        raise DataError(f"No value of {name} is the positive one, {positive!r}; there are {_listed(distinct)}.")


def _distinct(values: NDArray[Any]) -> list[Any]:
    """Returns the distinct values, three at most of integers."""
    if values.dtype.kind == "b":
        return [flag for flag in (False, True) if (values == flag).any()]
    if values.dtype.kind in "iu" and len(values):
        ends = {int(values.min()), int(values.max())}
        inner = values[(values != min(ends)) & (values != max(ends))]
        return sorted(ends | ({int(inner[0])} if len(inner) else set()))
    found = list(dict.fromkeys(values.tolist())) if values.dtype.kind == "O" else np.unique(values).tolist()
    if any(value is None or value != value for value in found):
        raise DataError("Labels and predictions must not be missing.")
    return found


def _listed(values: Any) -> str:
    shown = sorted(values, key=str)
    return ", ".join(repr(value) for value in shown[:5]) + (", ..." if len(shown) > 5 else "")


def _numbers(name: str, values: NDArray[Any]) -> NDArray[np.float64]:
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} must hold numbers.") from error
    if not np.isfinite(numbers).all():
        raise DataError(f"{name} must hold finite numbers.")
    return numbers


def _require_scores(asked: Known, truth: NDArray[Any], prediction: NDArray[Any]) -> None:
    labels = _distinct(truth)
    if not (set(labels) <= {0, 1} or set(labels) <= {-1, 1}):
        raise DataError(f"{asked.metric.name} needs labels 0 and 1, or -1 and 1; there are {_listed(labels)}.")
    scores = _numbers("y_pred", prediction)
    if "probability" in asked.metric.statistic.needs and not _is_unit(scores):
        ends = f"{scores.min():g} to {scores.max():g}"
        raise DataError(f"{asked.metric.name} needs probabilities: y_pred goes from {ends}.")


def _is_unit(scores: NDArray[Any]) -> bool:
    return bool(len(scores)) and float(scores.min()) >= 0 and float(scores.max()) <= 1


def _scored(truth: NDArray[Any], prediction: NDArray[Any], weight: NDArray[np.float64] | None) -> Rows:
    score = prediction if prediction.dtype in (np.float32, np.float64) else prediction.astype(np.float64)
    label = (truth == 1).astype(np.int8)
    return Rows(len(truth), label=label, score=score, weight=weight, probabilities=_is_unit(score))
