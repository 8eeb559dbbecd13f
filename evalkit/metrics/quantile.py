"""The loss of predicted quantiles."""

from __future__ import annotations

import math
from typing import Any

from evalkit.metric import Fields, metric
from evalkit.statistic import Batch, statistic


@statistic(needs=("label", "prediction"))
def quantile(batch: Batch, *, alpha: float = 0.5) -> dict[str, Any]:
    """Pinball loss: alpha times the shortfall of the prediction, or 1 - alpha times its excess."""
    import jax.numpy as jnp

    shortfall = batch.label - batch.prediction
    return {"loss": jnp.maximum(alpha * shortfall, (alpha - 1) * shortfall)}


@metric(quantile, range=(0, math.inf), better="lower", interval="log", task="regression", heavy="loss")
def mean_pinball_loss(s: Fields) -> Any:
    """Mean loss of a predicted quantile `alpha`, in the label's unit. Also quantile loss.

    Source: scikit-learn `mean_pinball_loss`.

    >>> mean_pinball_loss([1.0, 2.0], [2.0, 2.0], alpha=0.25)
    0.375
    """
    return s.mean("loss")
