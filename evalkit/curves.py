"""Curves over every threshold, from the histogram of scores.

`roc` (false positive rate, recall), `precision_recall` (recall, precision), `calibration` (mean score, share of
positives with its interval, by bins of the score) and `gain` (share of rows called positive, share of positives among
them).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.errors import ConfigError, listing, nearest
from evalkit.interval import critical, wilson
from evalkit.results import Evaluation, Result
from evalkit.sums import ScoreSums

if TYPE_CHECKING:
    import polars as pl

KINDS = ("roc", "precision_recall", "calibration", "gain")


def curve(result: Result, kind: str, slice: str = "overall", model: str | None = None) -> pl.DataFrame:  # noqa: A002
    """Returns the points of a curve of one slice and model.

    Args:
        result: of an evaluation with a metric of scores (roc_auc, ...).
        kind: `roc` (columns threshold, false_positive_rate, recall), `precision_recall` (threshold, recall, precision),
            `gain` (threshold, positive_prediction_rate, recall), each from the highest threshold down; or `calibration`
            (mean_score, prevalence, low, high, rows), a row for each of ten bins that holds rows.
        slice: as in the table.
        model: its name; needed where there are several.

    Where costs were evaluated also their curves, with these costs: `cost`, `profit`, `net_benefit` and `cost_lines`;
    see `evalkit.cost_curves.cost_curve`.

    Raises:
        ConfigError: there is no such curve, slice or model, or no histogram of scores was collected.
    """
    from evalkit.cost_curves import KINDS as COST_KINDS
    from evalkit.cost_curves import cost_curve

    if kind in COST_KINDS:
        return cost_curve(result, kind, slice, model, **_costs(_evaluation(result, model), kind))
    if kind not in KINDS:
        known = (*KINDS, *COST_KINDS)
        raise ConfigError(f'No curve "{kind}".{nearest(kind, known)} Curves: {listing(known)}.')
    evaluation = _evaluation(result, model)
    sums = histogram(evaluation)
    texts = evaluation.plan.texts
    if slice not in texts:
        raise ConfigError(f'No slice "{slice}" here.{nearest(slice, texts)} There are: {listing(texts, 40)}.')
    one = sums.take(np.array([texts.index(slice)]))
    return _calibration(one, evaluation.settings.level) if kind == "calibration" else _by_threshold(one, kind)


def _costs(evaluation: Evaluation, kind: str) -> dict[str, Any]:
    """Returns the costs that were evaluated; none for curves that ask for none."""
    if kind in ("net_benefit", "cost_lines"):
        return {}
    bound = costs_of(evaluation)
    if bound is None:
        raise ConfigError(f'The curve "{kind}" needs costs: evaluate with costs=ek.Costs(fn=..., fp=...).')
    return bound


def costs_of(evaluation: Evaluation) -> dict[str, Any] | None:
    """Returns the costs, prevalence and cap that `expected_cost` was evaluated with; None where it was not."""
    metric = next((m for _, m in evaluation.metrics if m.name_of_function == "expected_cost"), None)
    if metric is None:
        return None
    return {name: metric.parameters[name] for name in ("tp", "fp", "fn", "tn", "prevalence", "cap")}


def histogram(evaluation: Evaluation) -> ScoreSums:
    """Returns an evaluation's histogram of scores, without groups."""
    sums = evaluation.sums.get("score_histogram")
    if not isinstance(sums, ScoreSums):
        raise ConfigError("There are no curves without a metric of scores, such as roc_auc.")
    return sums.margin()


def _evaluation(result: Result, model: str | None) -> Evaluation:
    names = [e.model for e in result.evaluations]
    if model is None and len(names) == 1:
        return result.evaluations[0]
    if model not in names:
        raise ConfigError(f"Name the model of the curve (model=...); there are: {listing(names)}.")
    return result.evaluations[names.index(model)]


def _by_threshold(sums: ScoreSums, kind: str) -> pl.DataFrame:
    import polars as pl

    weights = sums.weights[::-1]
    called = np.concatenate([np.zeros((1, 2)), weights.cumsum(axis=0)])
    thresholds = np.concatenate([[np.inf], sums.scores()[::-1]])
    total = called[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = {
            "false_positive_rate": called[:, 0] / total[0],
            "recall": called[:, 1] / total[1],
            "precision": called[:, 1] / called.sum(1),
            "positive_prediction_rate": called.sum(1) / total.sum(),
        }
    axes = {
        "roc": ("false_positive_rate", "recall"),
        "precision_recall": ("recall", "precision"),
        "gain": ("positive_prediction_rate", "recall"),
    }[kind]
    return pl.DataFrame({"threshold": thresholds, **{name: rates[name] for name in axes}})


def _calibration(sums: ScoreSums, level: float, bins: int = 10) -> pl.DataFrame:
    import polars as pl

    if not sums.probabilities:
        raise ConfigError("A calibration curve needs scores in [0, 1].")
    scores = sums.scores()
    place = np.clip((scores * bins).astype(np.int64), 0, bins - 1)
    held = np.unique(place)

    def by_bin(values: Any) -> Any:
        return np.bincount(place, weights=values, minlength=bins)[held]

    weight = by_bin(sums.weights.sum(1))
    effective = weight**2 / by_bin(sums.squares.sum(1))
    prevalence = by_bin(sums.weights[:, 1]) / weight
    low, high = wilson(prevalence, effective, critical(level))
    return pl.DataFrame(
        {
            "mean_score": by_bin(sums.weights.sum(1) * scores) / weight,
            "prevalence": prevalence,
            "low": low,
            "high": high,
            "rows": by_bin(sums.count.sum(1)).astype(np.int64),
        }
    )
