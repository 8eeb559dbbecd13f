"""Fairness: disparities between groups, audits, and thresholds that trade them off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if __name__ != "evalkit.fairness":
    raise ImportError("This folder installs as evalkit.fairness: import evalkit.fairness, not fairness.")

if TYPE_CHECKING:
    from evalkit.fairness.assessment import assess as assess
    from evalkit.fairness.assessment import assess_result as assess_result
    from evalkit.fairness.frames.derived import (
        demographic_parity_difference as demographic_parity_difference,
    )
    from evalkit.fairness.frames.derived import (
        demographic_parity_ratio as demographic_parity_ratio,
    )
    from evalkit.fairness.frames.derived import (
        equal_opportunity_difference as equal_opportunity_difference,
    )
    from evalkit.fairness.frames.derived import (
        equal_opportunity_ratio as equal_opportunity_ratio,
    )
    from evalkit.fairness.frames.derived import (
        equalized_odds_difference as equalized_odds_difference,
    )
    from evalkit.fairness.frames.derived import (
        equalized_odds_ratio as equalized_odds_ratio,
    )
    from evalkit.fairness.frames.derived import (
        make_derived_metric as make_derived_metric,
    )
    from evalkit.fairness.frames.metric_frame import MetricFrame as MetricFrame
    from evalkit.fairness.frames.rates import (
        count as count,
    )
    from evalkit.fairness.frames.rates import (
        false_negative_rate as false_negative_rate,
    )
    from evalkit.fairness.frames.rates import (
        false_positive_rate as false_positive_rate,
    )
    from evalkit.fairness.frames.rates import (
        mean_prediction as mean_prediction,
    )
    from evalkit.fairness.frames.rates import (
        selection_rate as selection_rate,
    )
    from evalkit.fairness.frames.rates import (
        true_negative_rate as true_negative_rate,
    )
    from evalkit.fairness.frames.rates import (
        true_positive_rate as true_positive_rate,
    )

_HOMES = {
    "assessment": ("assess", "assess_result"),
    "frames.metric_frame": ("MetricFrame",),
    "frames.derived": (
        "make_derived_metric",
        "demographic_parity_difference",
        "demographic_parity_ratio",
        "equalized_odds_difference",
        "equalized_odds_ratio",
        "equal_opportunity_difference",
        "equal_opportunity_ratio",
    ),
    "frames.rates": (
        "true_positive_rate",
        "true_negative_rate",
        "false_positive_rate",
        "false_negative_rate",
        "mean_prediction",
        "selection_rate",
        "count",
    ),
}
_DERIVED = (
    "accuracy_score_difference",
    "accuracy_score_group_min",
    "accuracy_score_ratio",
    "balanced_accuracy_score_group_min",
    "f1_score_group_min",
    "false_negative_rate_difference",
    "false_negative_rate_ratio",
    "false_positive_rate_difference",
    "false_positive_rate_ratio",
    "log_loss_group_max",
    "mean_absolute_error_group_max",
    "mean_squared_error_group_max",
    "precision_score_group_min",
    "r2_score_group_min",
    "recall_score_group_min",
    "roc_auc_score_group_min",
    "selection_rate_difference",
    "selection_rate_ratio",
    "true_negative_rate_difference",
    "true_negative_rate_ratio",
    "true_positive_rate_difference",
    "true_positive_rate_ratio",
    "zero_one_loss_difference",
    "zero_one_loss_group_max",
    "zero_one_loss_ratio",
)
_PLOTS = ("plot_model_comparison", "plot_roc_curve_by_group")

__all__ = [*(name for names in _HOMES.values() for name in names), *_DERIVED, *_PLOTS]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    import importlib

    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"evalkit.fairness.{module}"), name)
    if name in _DERIVED:
        from evalkit.fairness.frames.derived import derived

        return derived(name)
    if name in _PLOTS:
        return _plot(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _plot(name: str) -> Any:
    """Returns fairlearn's own plot, which draws with Matplotlib whatever metrics it is given."""
    from evalkit.errors import MissingExtra

    try:
        import fairlearn.metrics
    except ImportError as error:
        raise MissingExtra("fairlearn", "fairness") from error
    return getattr(fairlearn.metrics, name)


def __dir__() -> list[str]:
    return sorted(__all__)
