"""Metrics of numeric predictions that are means of a row's error."""

from __future__ import annotations

import math
from typing import Any

from evalkit.metric import Fields, metric, root
from evalkit.statistic import Batch, statistic


@statistic(needs=("label", "prediction"))
def errors(batch: Batch, *, cap: float | None = None) -> dict[str, Any]:
    """Prediction - label of each row, its square and its size.

    Args:
        batch: label and prediction [rows] float64.
        cap: errors beyond it, in the label's unit, count as this large; for heavy tails.
    """
    import jax.numpy as jnp

    error = batch.prediction - batch.label
    if cap is not None:
        error = jnp.clip(error, -cap, cap)
    return {"error": error, "squared": error**2, "absolute": jnp.abs(error)}


@metric(errors, range=(0, math.inf), better="lower", interval="log", task="regression", heavy="squared")
def mse(s: Fields) -> Any:
    """Mean squared error, in the label's unit squared.

    Traps: heavy tails; `mse(cap=...)` bounds each row's error. Source: scikit-learn `mean_squared_error`.

    >>> mse([1.0, 2.0], [1.5, 1.0])
    0.625
    """
    return s.mean("squared")


@metric(errors, range=(0, math.inf), better="lower", interval="log", task="regression", heavy="squared")
def rmse(s: Fields) -> Any:
    """Root of the mean squared error, in the label's unit.

    Source: scikit-learn `root_mean_squared_error`.

    >>> round(rmse([1.0, 2.0], [1.5, 1.0]), 6)
    0.790569
    """
    return root(s.mean("squared"))


@metric(errors, range=(0, math.inf), better="lower", interval="log", task="regression", heavy="absolute")
def mae(s: Fields) -> Any:
    """Mean absolute error, in the label's unit. Source: scikit-learn `mean_absolute_error`.

    >>> mae([1.0, 2.0], [1.5, 1.0])
    0.75
    """
    return s.mean("absolute")


@metric(errors, range=(-math.inf, math.inf), interval="delta", task="regression", heavy="absolute")
def mean_error(s: Fields) -> Any:
    """Mean of prediction - label, in the label's unit; above 0 the predictions are too high. Also bias.

    >>> mean_error([1.0, 2.0], [1.5, 1.0])
    -0.25
    """
    return s.mean("error")
