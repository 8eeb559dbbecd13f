"""Metrics of numeric predictions relative to the size of the label."""

from __future__ import annotations

import math
from typing import Any

from evalkit.metric import Fields, metric
from evalkit.statistic import Batch, statistic


@statistic(needs=("label", "prediction"))
def relative(batch: Batch) -> dict[str, Any]:
    """The error's size relative to the label's, and to the mean of both sizes.

    A label of 0 counts as the float64 epsilon (scikit-learn's rule); where label and prediction are 0, the symmetric
    error is 0.
    """
    import jax.numpy as jnp

    size = jnp.abs(batch.prediction - batch.label)
    label = jnp.maximum(jnp.abs(batch.label), 2.0**-52)
    both = jnp.abs(batch.label) + jnp.abs(batch.prediction)
    return {"to_label": size / label, "to_both": jnp.where(both == 0, 0.0, 2 * size / jnp.where(both == 0, 1.0, both))}


@metric(relative, range=(0, math.inf), better="lower", interval="log", task="regression", heavy="to_label")
def mape(s: Fields) -> Any:
    """Mean absolute error as a share of the label.

    Traps: explodes where labels are near 0. Source: scikit-learn `mean_absolute_percentage_error`.

    >>> mape([1.0, 2.0], [1.5, 1.0])
    0.5
    """
    return s.mean("to_label")


@metric(relative, range=(0, 2), better="lower", interval="logit", task="regression")
def smape(s: Fields) -> Any:
    """Mean of |error| / ((|label| + |prediction|) / 2), from 0 to 2.

    Source: Makridakis (1993), Accuracy measures; sktime `MeanAbsolutePercentageError(symmetric=True)`.

    >>> smape([1.0, 2.0], [3.0, 2.0])
    0.5
    """
    return s.mean("to_both")
