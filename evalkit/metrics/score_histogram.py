"""Metrics of how scores rank and separate the classes, from the histogram of scores.

Exact while the histogram holds every distinct score; `approximate` with a bound where scores were binned.
"""

from __future__ import annotations

import math
from typing import Any

from evalkit.histogram import Histogram
from evalkit.metric import metric, ratio
from evalkit.statistic import Batch, Statistic


def _score_and_label(batch: Batch) -> Any:
    """Each row falls in the cell (its score, its label)."""
    return batch.score, batch.label


score_histogram = Statistic(
    "score_histogram", _score_and_label, "scores", ("negatives", "positives"), needs=("label", "score")
)


def rarer(c: Any) -> Any:
    """Returns the number of rows of the rarer class."""
    import jax.numpy as jnp

    return jnp.minimum(c.negatives, c.positives)


def _positives(c: Any) -> Any:
    return c.positives


def _share(part: Any, whole: Any) -> Any:
    import jax.numpy as jnp

    return jnp.where(whole == 0, 0.0, part / jnp.where(whole == 0, 1.0, whole))


def _finite(value: Any) -> Any:
    """Turns the infinity of an empty maximum into undefined."""
    import jax.numpy as jnp

    return jnp.where(jnp.isfinite(value), value, jnp.nan)


@metric(score_histogram, range=(0, 1), better="higher", interval="delong", support=rarer)
def roc_auc(h: Histogram) -> Any:
    """Probability that a random positive scores higher than a random negative; ties count one half.

    Undefined with a single class. Source: scikit-learn `roc_auc_score`; intervals after DeLong et al. (1988).

    >>> roc_auc([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1])
    0.75
    """
    wins = h.total(h.positives * (h.before(h.negatives) + h.negatives / 2))
    return ratio(wins, h.total(h.positives) * h.total(h.negatives))


@metric(score_histogram, range=(-1, 1), better="higher", interval="delong", support=rarer)
def gini(h: Histogram) -> Any:
    """Gini coefficient of the ranking, 2 roc_auc - 1.

    Undefined with a single class. Source: scikit-learn `roc_auc_score`.

    >>> gini([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1])
    0.5
    """
    return 2 * roc_auc.function(h) - 1


@metric(score_histogram, range=(0, 1), better="higher", interval="logit", support=rarer)
def average_precision(h: Histogram) -> Any:
    """Mean precision over the positives, each at its own score as threshold.

    Traps: it depends on the base rate; slices with other base rates are not comparable. Undefined without
    positives. Source: scikit-learn `average_precision_score`.

    >>> average_precision([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1])
    0.8333333333333333
    """
    precision = _share(h.above(h.positives), h.above(h.weights))
    return ratio(h.total(h.positives * precision), h.total(h.positives))


@metric(score_histogram, range=(0, 1), better="higher", interval="bootstrap", support=rarer)
def recall_at_precision(h: Histogram, *, precision: float = 0.9) -> Any:
    """Highest recall among the thresholds whose precision is at least `precision`.

    Undefined where no threshold reaches it. Source: scikit-learn `precision_recall_curve`.

    >>> recall_at_precision([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1], precision=0.6)
    1.0
    """
    import jax.numpy as jnp

    hits, called = h.above(h.positives), h.above(h.weights)
    reached = (hits >= precision * called * (1 - 1e-12)) & (h.weights > 0)
    recall = ratio(hits, h.spread(h.total(h.positives)))
    return _finite(h.highest(jnp.where(reached, recall, -jnp.inf)))


@metric(score_histogram, range=(0, 1), better="higher", interval="bootstrap", support=rarer)
def precision_at_recall(h: Histogram, *, recall: float = 0.8) -> Any:
    """Highest precision among the thresholds whose recall is at least `recall`.

    Undefined without positives. Source: scikit-learn `precision_recall_curve`.

    >>> precision_at_recall([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1], recall=1.0)
    0.6666666666666666
    """
    import jax.numpy as jnp

    hits = h.above(h.positives)
    whole = h.spread(h.total(h.positives))
    reached = (hits >= recall * whole * (1 - 1e-12)) & (h.weights > 0) & (whole > 0)
    return _finite(h.highest(jnp.where(reached, _share(hits, h.above(h.weights)), -jnp.inf)))


@metric(score_histogram, range=(0, 1), better="higher", interval="bootstrap", support=rarer)
def sensitivity_at_specificity(h: Histogram, *, specificity: float = 0.9) -> Any:
    """Highest recall among the thresholds whose specificity is at least `specificity`.

    The threshold above every score has specificity 1 and recall 0. Undefined with a single class. Source:
    scikit-learn `roc_curve`.

    >>> sensitivity_at_specificity([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1], specificity=0.5)
    1.0
    """
    import jax.numpy as jnp

    negatives, positives = h.total(h.negatives), h.total(h.positives)
    alarms = h.above(h.negatives)
    reached = h.spread(negatives) - alarms >= specificity * h.spread(negatives) * (1 - 1e-12)
    recall = jnp.where(reached, h.above(h.positives), 0.0)
    return jnp.where(negatives > 0, ratio(jnp.maximum(h.highest(recall), 0.0), positives), jnp.nan)


@metric(score_histogram, range=(-math.inf, math.inf), interval="bootstrap", support=_positives)
def threshold_at_recall(h: Histogram, *, recall: float = 0.8) -> Any:
    """Highest threshold at which recall is at least `recall`, in the scores' unit.

    Undefined without positives. Source: scikit-learn `precision_recall_curve`.

    >>> threshold_at_recall([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1], recall=0.5)
    0.9
    """
    import jax.numpy as jnp

    whole = h.spread(h.total(h.positives))
    reached = (h.above(h.positives) >= recall * whole * (1 - 1e-12)) & (h.weights > 0) & (whole > 0)
    return _finite(h.highest(jnp.where(reached, h.scores, -jnp.inf)))


def _separation_by_chance(h: Histogram) -> Any:
    """Expected Kolmogorov-Smirnov distance of scores that say nothing: sqrt(pi / 2) ln 2 sqrt(1/m + 1/n)."""
    import jax.numpy as jnp

    rate = ratio(1.0, h.total(h.negatives)) + ratio(1.0, h.total(h.positives))
    return math.sqrt(math.pi / 2) * math.log(2) * jnp.sqrt(rate)


@metric(score_histogram, range=(0, 1), better="higher", interval="none", support=rarer, baseline=_separation_by_chance)
def kolmogorov_smirnov(h: Histogram) -> Any:
    """Largest distance between the score distributions of positives and negatives.

    Traps: never negative, so it is above 0 for scores that say nothing; the note gives that expectation. Undefined
    with a single class. Source: SciPy `ks_2samp`.

    >>> kolmogorov_smirnov([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1])
    0.5
    """
    import jax.numpy as jnp

    negatives = ratio(h.before(h.negatives), h.spread(h.total(h.negatives)))
    positives = ratio(h.before(h.positives), h.spread(h.total(h.positives)))
    return _finite(h.highest(jnp.abs(negatives - positives)))
