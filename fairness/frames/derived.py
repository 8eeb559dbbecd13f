"""One number for the disparity of a metric, as fairlearn names them: `selection_rate_difference(y_true, y_pred, ...)`.

>>> from evalkit.fairness import demographic_parity_difference
>>> demographic_parity_difference([1, 1, 1, 1], [1, 1, 1, 0], sensitive_features=["f", "f", "m", "m"])
0.5
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Literal

from evalkit.errors import ConfigError
from evalkit.fairness.frames import rates
from evalkit.fairness.frames.metric_frame import Method, MetricFrame

Aggregate = Literal["worst_case", "mean"]

_TRANSFORMS = ("difference", "group_min", "group_max", "ratio")
_OF_RATES = dict.fromkeys(
    ("true_positive_rate", "true_negative_rate", "false_positive_rate", "false_negative_rate", "selection_rate"),
    ("difference", "ratio"),
)
_OF_SKLEARN = {
    "accuracy_score": ("difference", "ratio", "group_min"),
    "zero_one_loss": ("difference", "ratio", "group_max"),
    "balanced_accuracy_score": ("group_min",),
    "precision_score": ("group_min",),
    "recall_score": ("group_min",),
    "roc_auc_score": ("group_min",),
    "mean_absolute_error": ("group_max",),
    "mean_squared_error": ("group_max",),
    "r2_score": ("group_min",),
    "f1_score": ("group_min",),
    "log_loss": ("group_max",),
}
DERIVED = tuple(
    f"{metric}_{transform}" for of in (_OF_RATES, _OF_SKLEARN) for metric, made in of.items() for transform in made
)
"""The names that `derived` gives."""


class _Derived:
    """A metric of two arrays and groups; see `make_derived_metric`."""

    def __init__(self, metric: Callable[..., Any], transform: str, by_row: tuple[str, ...]) -> None:
        self._metric, self._transform, self._by_row = metric, transform, by_row
        self.__name__ = f"{getattr(metric, '__name__', 'metric')}_{transform}"

    def __call__(self, y_true: Any, y_pred: Any, *, sensitive_features: Any, **parameters: Any) -> Any:
        asked = {"method": parameters.pop("method")} if "method" in parameters else {}
        by_row = {name: parameters.pop(name) for name in self._by_row if name in parameters}
        function = functools.partial(self._metric, **parameters) if parameters else self._metric
        frame = MetricFrame(
            metrics={"value": function},
            y_true=y_true,
            y_pred=y_pred,
            sensitive_features=sensitive_features,
            sample_params={"value": by_row},
        )
        return getattr(frame, self._transform)(**asked)["value"]


def make_derived_metric(
    *,
    metric: Callable[..., Any],
    transform: Literal["difference", "group_min", "group_max", "ratio"],
    sample_param_names: list[str] | None = None,
) -> Callable[..., Any]:
    """Returns a function `(y_true, y_pred, *, sensitive_features, ...)` to one number.

    Args:
        metric: a function of y_true and y_pred.
        transform: a method of `MetricFrame`; `method=` is passed on to it.
        sample_param_names: the parameters that hold a value for each row; None: `sample_weight`.

    Raises:
        ConfigError: the metric cannot be called, has a parameter `method`, or there is no such transform.
    """
    if not callable(metric):
        raise ConfigError(f"The metric is {metric!r}, which cannot be called.")
    if "method" in inspect.signature(metric).parameters:
        raise ConfigError("The metric has a parameter named method, which is the transform's.")
    if transform not in _TRANSFORMS:
        raise ConfigError(f"transform must be one of {', '.join(_TRANSFORMS)}, not {transform!r}.")
    names = ("sample_weight",) if sample_param_names is None else tuple(sample_param_names)
    return _Derived(metric, transform, names)


@functools.cache
def derived(name: str) -> Callable[..., Any]:
    """Returns one of the functions that `DERIVED` names."""
    for of in (_OF_RATES, _OF_SKLEARN):
        for metric, transforms in of.items():
            for transform in transforms:
                if name == f"{metric}_{transform}":
                    return make_derived_metric(metric=_function(metric), transform=transform)  # type: ignore[arg-type]
    raise AttributeError(name)


def _function(name: str) -> Callable[..., Any]:
    if name in _OF_RATES:
        function: Callable[..., Any] = getattr(rates, name)
        return function
    import sklearn.metrics

    found: Callable[..., Any] = getattr(sklearn.metrics, name)
    return found


def demographic_parity_difference(
    y_true: Any, y_pred: Any, *, sensitive_features: Any, method: Method = "between_groups", sample_weight: Any = None
) -> float:
    """Largest difference of the selection rate between groups, or to all rows (`method="to_overall"`).

    Source: fairlearn; Agarwal et al. (2018).
    """
    frame = _frame(rates.selection_rate, y_true, y_pred, sensitive_features, sample_weight)
    return float(frame.difference(method=method))


def demographic_parity_ratio(
    y_true: Any, y_pred: Any, *, sensitive_features: Any, method: Method = "between_groups", sample_weight: Any = None
) -> float:
    """Lowest ratio of selection rates of groups; see `demographic_parity_difference`."""
    frame = _frame(rates.selection_rate, y_true, y_pred, sensitive_features, sample_weight)
    return float(frame.ratio(method=method))


def equal_opportunity_difference(
    y_true: Any, y_pred: Any, *, sensitive_features: Any, method: Method = "between_groups", sample_weight: Any = None
) -> float:
    """Largest difference of the true positive rate between groups. Source: fairlearn; Hardt et al. (2016)."""
    frame = _frame(rates.true_positive_rate, y_true, y_pred, sensitive_features, sample_weight)
    return float(frame.difference(method=method))


def equal_opportunity_ratio(
    y_true: Any, y_pred: Any, *, sensitive_features: Any, method: Method = "between_groups", sample_weight: Any = None
) -> float:
    """Lowest ratio of true positive rates of groups; see `equal_opportunity_difference`."""
    frame = _frame(rates.true_positive_rate, y_true, y_pred, sensitive_features, sample_weight)
    return float(frame.ratio(method=method))


def equalized_odds_difference(
    y_true: Any,
    y_pred: Any,
    *,
    sensitive_features: Any,
    method: Method = "between_groups",
    sample_weight: Any = None,
    agg: Aggregate = "worst_case",
) -> float:
    """Larger of the differences of true and of false positive rates, or their mean (`agg="mean"`).

    NaN where one of them is defined in no group. Source: fairlearn; Hardt et al. (2016).
    """
    found = _odds(y_true, y_pred, sensitive_features, sample_weight, agg).difference(method=method)
    return float(found.max(skipna=False) if agg == "worst_case" else found.mean(skipna=False))


def equalized_odds_ratio(
    y_true: Any,
    y_pred: Any,
    *,
    sensitive_features: Any,
    method: Method = "between_groups",
    sample_weight: Any = None,
    agg: Aggregate = "worst_case",
) -> float:
    """Lower of the ratios of true and of false positive rates; see `equalized_odds_difference`."""
    found = _odds(y_true, y_pred, sensitive_features, sample_weight, agg).ratio(method=method)
    return float(found.min(skipna=False) if agg == "worst_case" else found.mean(skipna=False))


def _odds(y_true: Any, y_pred: Any, sensitive_features: Any, sample_weight: Any, agg: str) -> MetricFrame:
    if agg not in ("worst_case", "mean"):
        raise ConfigError(f"agg must be worst_case or mean, not {agg!r}.")
    both = {"tpr": rates.true_positive_rate, "fpr": rates.false_positive_rate}
    return _frame(both, y_true, y_pred, sensitive_features, sample_weight)


def _frame(metrics: Any, y_true: Any, y_pred: Any, sensitive_features: Any, weight: Any) -> MetricFrame:
    return MetricFrame(
        metrics=metrics,
        y_true=y_true,
        y_pred=y_pred,
        sensitive_features=sensitive_features,
        sample_params={"sample_weight": weight},
    )
