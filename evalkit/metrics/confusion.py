"""Metrics of decisions: true and false positives and negatives at a threshold.

A score equal to the threshold is positive, as in scikit-learn; `strict=True` is TensorFlow Model Analysis' rule, by
which it is negative. Weights are sampling weights.
"""

from __future__ import annotations

from typing import Any

from evalkit.metric import metric, ratio, root
from evalkit.statistic import Batch, cells


@cells("tn", "fp", "fn", "tp", needs=("label", "decision"))
def confusion(batch: Batch, *, threshold: float | None = None, strict: bool = False) -> Any:
    """Each row is a true negative, false positive, false negative or true positive.

    Args:
        batch: label [rows] 0/1 and score [rows]; or prediction [rows] 0/1, where no threshold is given.
        threshold: decided in the scores' own dtype.
        strict: whether a score equal to the threshold is negative.

    Returns:
        [rows] int32, 2 * label + decision.
    """
    import jax.numpy as jnp

    if threshold is None:
        decision = batch.prediction
    else:
        bound = jnp.asarray(threshold, batch.score.dtype)
        decision = batch.score > bound if strict else batch.score >= bound
    return 2 * batch.label.astype(jnp.int32) + decision.astype(jnp.int32)


def _all(c: Any) -> Any:
    return c.tn + c.fp + c.fn + c.tp


def _positives(c: Any) -> Any:
    return c.tp + c.fn


def _negatives(c: Any) -> Any:
    return c.tn + c.fp


def _called(c: Any) -> Any:
    return c.tp + c.fp


def _passed(c: Any) -> Any:
    return c.tn + c.fn


def _hits_and_errors(c: Any) -> Any:
    return c.tp + c.fp + c.fn


def _rarer(c: Any) -> Any:
    import jax.numpy as jnp

    return jnp.minimum(_positives(c), _negatives(c))


def _rarer_call(c: Any) -> Any:
    import jax.numpy as jnp

    return jnp.minimum(_called(c), _passed(c))


@metric(confusion, range=(0, 1), better="higher", interval="wilson", support=_all)
def accuracy(c: Any) -> Any:
    """Share of rows decided rightly: (tp + tn) / rows.

    Traps: with 1% positives, deciding "negative" always has accuracy .99.

    Source: scikit-learn `accuracy_score`.

    >>> accuracy([1, 0, 1], [1, 0, 0])
    0.6666666666666666
    """
    return ratio(c.tp + c.tn, _all(c))


@metric(confusion, range=(0, 1), better="higher", interval="wilson", support=_positives)
def recall(c: Any) -> Any:
    """Share of positives decided positive: tp / (tp + fn). Also sensitivity, true positive rate.

    Undefined without positives. Source: scikit-learn `recall_score`.

    >>> recall([1, 0, 1], [1, 0, 0])
    0.5
    """
    return ratio(c.tp, _positives(c))


@metric(confusion, range=(0, 1), better="higher", interval="wilson", support=_negatives)
def specificity(c: Any) -> Any:
    """Share of negatives decided negative: tn / (tn + fp). Also true negative rate.

    Undefined without negatives. Source: scikit-learn `recall_score(pos_label=0)`.

    >>> specificity([1, 0, 0], [1, 0, 1])
    0.5
    """
    return ratio(c.tn, _negatives(c))


@metric(confusion, range=(0, 1), better="higher", interval="wilson", support=_called)
def precision(c: Any) -> Any:
    """Share of positive decisions that are right: tp / (tp + fp). Also positive predictive value.

    Undefined without positive decisions. Source: scikit-learn `precision_score`.

    >>> precision([1, 0, 1], [1, 1, 0])
    0.5
    """
    return ratio(c.tp, _called(c))


@metric(confusion, range=(0, 1), better="higher", interval="wilson", support=_passed)
def negative_predictive_value(c: Any) -> Any:
    """Share of negative decisions that are right: tn / (tn + fn).

    Undefined without negative decisions. Source: scikit-learn `precision_score(pos_label=0)`.

    >>> negative_predictive_value([1, 0, 1], [1, 0, 0])
    0.5
    """
    return ratio(c.tn, _passed(c))


@metric(confusion, range=(0, 1), better="lower", interval="wilson", support=_negatives)
def false_positive_rate(c: Any) -> Any:
    """Share of negatives decided positive: fp / (fp + tn) = 1 - specificity.

    Undefined without negatives. Source: scikit-learn `confusion_matrix`.

    >>> false_positive_rate([0, 0, 1], [1, 0, 1])
    0.5
    """
    return ratio(c.fp, _negatives(c))


@metric(confusion, range=(0, 1), better="lower", interval="wilson", support=_positives)
def false_negative_rate(c: Any) -> Any:
    """Share of positives decided negative: fn / (fn + tp) = 1 - recall.

    Undefined without positives. Source: scikit-learn `confusion_matrix`.

    >>> false_negative_rate([1, 1, 0], [1, 0, 0])
    0.5
    """
    return ratio(c.fn, _positives(c))


@metric(confusion, range=(0, 1), better="lower", interval="wilson", support=_called)
def false_discovery_rate(c: Any) -> Any:
    """Share of positive decisions that are wrong: fp / (tp + fp) = 1 - precision.

    Undefined without positive decisions. Source: scikit-learn `confusion_matrix`.

    >>> false_discovery_rate([1, 0, 1], [1, 1, 0])
    0.5
    """
    return ratio(c.fp, _called(c))


@metric(confusion, range=(0, 1), better="lower", interval="wilson", support=_passed)
def false_omission_rate(c: Any) -> Any:
    """Share of negative decisions that are wrong: fn / (tn + fn) = 1 - negative predictive value.

    Undefined without negative decisions. Source: scikit-learn `confusion_matrix`.

    >>> false_omission_rate([1, 0, 1], [1, 0, 0])
    0.5
    """
    return ratio(c.fn, _passed(c))


@metric(confusion, range=(0, 1), interval="wilson", support=_all)
def positive_prediction_rate(c: Any) -> Any:
    """Share of rows decided positive: (tp + fp) / rows. Also selection rate.

    Source: fairlearn `selection_rate`.

    >>> positive_prediction_rate([1, 0, 1, 0], [1, 0, 0, 0])
    0.25
    """
    return ratio(_called(c), _all(c))


@metric(confusion, range=(0, 1), interval="wilson", support=_all)
def prevalence(c: Any) -> Any:
    """Share of rows whose label is positive: (tp + fn) / rows. Also base rate.

    Source: the mean of the labels.

    >>> prevalence([1, 0, 1, 0], [1, 0, 0, 0])
    0.5
    """
    return ratio(_positives(c), _all(c))


@metric(confusion, range=(0, 1), better="higher", interval="wilson", support=_hits_and_errors)
def f1(c: Any) -> Any:
    """Harmonic mean of precision and recall: 2 tp / (2 tp + fp + fn).

    Undefined where nothing is positive, neither by label nor by decision. Source: scikit-learn `f1_score`.

    >>> f1([1, 0, 1], [1, 0, 0])
    0.6666666666666666
    """
    return ratio(2 * c.tp, 2 * c.tp + c.fp + c.fn)


@metric(confusion, range=(0, 1), better="higher", interval="wilson", support=_hits_and_errors)
def fbeta(c: Any, *, beta: float = 1.0) -> Any:
    """F-score in which recall counts beta times as much as precision.

    (1 + beta^2) tp / ((1 + beta^2) tp + beta^2 fn + fp). Undefined as f1 is. Source: scikit-learn `fbeta_score`.

    >>> fbeta([1, 0, 1], [1, 0, 0], beta=2.0)
    0.5555555555555556
    """
    hits = (1 + beta**2) * c.tp
    return ratio(hits, hits + beta**2 * c.fn + c.fp)


@metric(confusion, range=(0, 1), better="higher", interval="wilson", support=_hits_and_errors)
def jaccard(c: Any) -> Any:
    """Overlap of labels and decisions: tp / (tp + fp + fn).

    Undefined where nothing is positive, neither by label nor by decision. Source: scikit-learn `jaccard_score`.

    >>> jaccard([1, 0, 1], [1, 0, 0])
    0.5
    """
    return ratio(c.tp, _hits_and_errors(c))


@metric(confusion, range=(0, 1), better="higher", interval="mover", support=_rarer, parts=((recall, specificity), 0.5))
def balanced_accuracy(c: Any) -> Any:
    """Mean of recall and specificity.

    Undefined with a single class (scikit-learn warns and averages what there is). Source: scikit-learn
    `balanced_accuracy_score`.

    >>> balanced_accuracy([1, 0, 1], [1, 0, 0])
    0.75
    """
    return (recall.function(c) + specificity.function(c)) / 2


@metric(confusion, range=(-1, 1), better="higher", interval="mover", support=_rarer, parts=((recall, specificity), 1.0))
def informedness(c: Any) -> Any:
    """Recall + specificity - 1. Also Youden's J.

    Undefined with a single class. Source: scikit-learn `balanced_accuracy_score(adjusted=True)`.

    >>> informedness([1, 0, 1], [1, 0, 0])
    0.5
    """
    return recall.function(c) + specificity.function(c) - 1


@metric(
    confusion,
    range=(-1, 1),
    better="higher",
    interval="mover",
    support=_rarer_call,
    parts=((precision, negative_predictive_value), 1.0),
)
def markedness(c: Any) -> Any:
    """Precision + negative predictive value - 1.

    Undefined where every row is decided alike. Source: Powers (2011), Evaluation: from precision, recall and
    F-measure to ROC, informedness, markedness and correlation.

    >>> markedness([1, 0, 1], [1, 0, 0])
    0.5
    """
    return precision.function(c) + negative_predictive_value.function(c) - 1


@metric(confusion, range=(-1, 1), better="higher", interval="atanh", support=_rarer)
def matthews_corrcoef(c: Any) -> Any:
    """Correlation of labels and decisions, from -1 to 1.

    (tp tn - fp fn) / sqrt((tp + fp) (tp + fn) (tn + fp) (tn + fn)). Undefined where a factor is 0 (scikit-learn
    says 0). Source: scikit-learn `matthews_corrcoef`.

    >>> round(matthews_corrcoef([1, 0, 1, 0], [1, 0, 0, 0]), 6)
    0.57735
    """
    predicted = root(_called(c)) * root(_passed(c))
    return ratio(c.tp * c.tn - c.fp * c.fn, predicted * root(_positives(c)) * root(_negatives(c)))


@metric(confusion, range=(-1, 1), better="higher", interval="atanh", support=_rarer)
def cohen_kappa(c: Any) -> Any:
    """Agreement of labels and decisions beyond chance: (observed - expected) / (1 - expected).

    In counts 2 (tp tn - fp fn) / ((tp + fp) (fp + tn) + (tp + fn) (fn + tn)), whose denominator is a sum, so that
    rounding never makes a number of what is undefined.

    Undefined where labels and decisions are all of one class. Source: scikit-learn `cohen_kappa_score`.

    >>> cohen_kappa([1, 0, 1, 0], [1, 0, 0, 0])
    0.5
    """
    return ratio(2 * (c.tp * c.tn - c.fp * c.fn), _called(c) * _negatives(c) + _positives(c) * _passed(c))


@metric(confusion, range=(0, float("inf")), better="higher", interval="log", support=_rarer)
def positive_likelihood_ratio(c: Any) -> Any:
    """How much a positive decision raises the odds of a positive: recall / false positive rate.

    Undefined without false positives. Source: scikit-learn `class_likelihood_ratios`.

    >>> positive_likelihood_ratio([1, 0, 1, 0], [1, 0, 0, 1])
    1.0
    """
    return ratio(c.tp * _negatives(c), c.fp * _positives(c))


@metric(confusion, range=(0, float("inf")), better="lower", interval="log", support=_rarer)
def negative_likelihood_ratio(c: Any) -> Any:
    """How much a negative decision changes the odds of a positive: false negative rate / specificity.

    Undefined without true negatives. Source: scikit-learn `class_likelihood_ratios`.

    >>> negative_likelihood_ratio([1, 0, 1, 0], [1, 0, 0, 1])
    1.0
    """
    return ratio(c.fn * _negatives(c), c.tn * _positives(c))


@metric(confusion, range=(0, float("inf")), better="higher", interval="log", support=_rarer)
def diagnostic_odds_ratio(c: Any) -> Any:
    """Odds of a positive decision among positives over those among negatives: tp tn / (fp fn).

    Undefined without false positives or without false negatives. Source: Glas et al. (2003), The diagnostic odds
    ratio.

    >>> diagnostic_odds_ratio([1, 0, 1, 0], [1, 0, 0, 1])
    1.0
    """
    return ratio(c.tp * c.tn, c.fp * c.fn)
