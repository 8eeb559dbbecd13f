"""Metrics of numeric predictions on the log scale."""

from __future__ import annotations

import math
from typing import Any

from evalkit.metric import Fields, metric
from evalkit.statistic import Batch, statistic


@statistic(needs=("label", "prediction", "above -1"))
def logarithmic(batch: Batch) -> dict[str, Any]:
    """The squared difference of log(1 + prediction) and log(1 + label)."""
    import jax.numpy as jnp

    return {"squared": (jnp.log1p(batch.prediction) - jnp.log1p(batch.label)) ** 2}


@metric(logarithmic, range=(0, math.inf), better="lower", interval="log", task="regression", heavy="squared")
def mean_squared_log_error(s: Fields) -> Any:
    """Mean squared difference of log(1 + prediction) and log(1 + label); both must be above -1.

    Source: scikit-learn `mean_squared_log_error`.

    >>> round(mean_squared_log_error([0.0, 1.0], [1.0, 1.0]), 6)
    0.240227
    """
    return s.mean("squared")
