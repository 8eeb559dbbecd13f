"""Metrics of predicted probabilities that are means over rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from evalkit.logarithm import log
from evalkit.metric import Fields, metric, ratio
from evalkit.statistic import Batch, statistic


@statistic(needs=("label", "probability"))
def probability(batch: Batch) -> dict[str, Any]:
    """Label, score, squared error and log loss of each row.

    Scores of 0 and 1 are moved inside by the machine epsilon of their dtype, as scikit-learn does.
    """
    import jax.numpy as jnp

    wide = jnp.zeros(()).dtype
    epsilon = float(np.finfo(batch.score.dtype).eps)
    score, label = batch.score.astype(wide), batch.label.astype(wide)
    inside = jnp.clip(score, epsilon, 1 - epsilon)
    loss = -log(jnp.where(batch.label == 1, inside, 1 - inside))
    return {"label": label, "score": score, "squared": (score - label) ** 2, "loss": loss}


@metric(probability, range=(0, math.inf), better="lower", interval="log", heavy="loss")
def log_loss(s: Fields) -> Any:
    """Mean negative log likelihood of the labels, in nats.

    Traps: one confident mistake dominates it. Source: scikit-learn `log_loss`.

    >>> round(log_loss([1, 0], [0.8, 0.4]), 6)
    0.366985
    """
    return s.mean("loss")


@metric(probability, range=(0, 1), better="lower", interval="logit")
def brier_score(s: Fields) -> Any:
    """Mean squared difference of label and score.

    Source: scikit-learn `brier_score_loss`.

    >>> round(brier_score([1, 0], [0.8, 0.4]), 6)
    0.1
    """
    return s.mean("squared")


@metric(probability, range=(0, math.inf), interval="log")
def calibration_ratio(s: Fields) -> Any:
    """Observed over expected positives: sum of labels / sum of scores; above 1 the scores are too low.

    The inverse of TensorFlow Model Analysis' `calibration`. Undefined where the scores sum to 0.

    >>> calibration_ratio([1, 0, 1], [0.5, 0.25, 0.25])
    2.0
    """
    return ratio(s.label, s.score)


@metric(probability, range=(0, 1), interval="logit")
def mean_score(s: Fields) -> Any:
    """Mean of the scores.

    >>> mean_score([1, 0], [0.75, 0.25])
    0.5
    """
    return s.mean("score")
