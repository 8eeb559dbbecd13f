"""Metrics of numeric predictions that need means, variances and the covariance of labels and predictions."""

from __future__ import annotations

import math
from typing import Any

from evalkit.metric import Fields, metric, ratio, root
from evalkit.statistic import Batch, statistic


def _shift(old: Any, new: Any) -> list[list[Any]]:
    """Moves sums of (1, y, p, yy, pp, yp, squared error), taken of values minus `old`, to values minus `new`."""
    d = old - new
    return [
        [1, 0, 0, 0, 0, 0, 0],
        [d, 1, 0, 0, 0, 0, 0],
        [d, 0, 1, 0, 0, 0, 0],
        [d * d, 2 * d, 0, 1, 0, 0, 0],
        [d * d, 0, 2 * d, 0, 1, 0, 0],
        [d * d, d, d, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 1],
    ]


@statistic(needs=("label", "prediction"), shift=_shift)
def moments(batch: Batch, *, pivot: float = 0.0) -> dict[str, Any]:
    """First and second moments of label and prediction, both minus a pivot near them, and the squared error.

    Args:
        batch: label and prediction [rows] float64.
        pivot: subtracted first, so that large values lose no precision.
    """
    y, p = batch.label - pivot, batch.prediction - pivot
    return {"y": y, "p": p, "yy": y * y, "pp": p * p, "yp": y * p, "squared": (p - y) ** 2}


def _variance(s: Fields, pair: str) -> Any:
    """Returns the variance (`yy`, `pp`) or covariance (`yp`), exactly 0 of one row or where only rounding is left."""
    import jax.numpy as jnp

    left, right = s.mean(pair[0]), s.mean(pair[1])
    value = s.mean(pair) - left * right
    noise = 1e-13 * (jnp.abs(s.mean(pair)) + jnp.abs(left * right))
    return jnp.where((jnp.abs(value) <= noise) | (s.rows < 2), 0.0, value)


@metric(moments, range=(-math.inf, 1), better="higher", interval="delta", task="regression", heavy="squared")
def r2(s: Fields) -> Any:
    """Share of the labels' variance explained: 1 - squared error / variance of the labels.

    Undefined where all labels are equal (scikit-learn says 0 or 1). Source: scikit-learn `r2_score`.

    >>> r2([1.0, 2.0, 3.0], [1.0, 2.0, 2.0])
    0.5
    """
    return 1 - ratio(s.mean("squared"), _variance(s, "yy"))


@metric(moments, range=(-math.inf, 1), better="higher", interval="delta", task="regression", heavy="squared")
def explained_variance(s: Fields) -> Any:
    """Share of the labels' variance explained, a constant error forgiven.

    Undefined where all labels are equal. Source: scikit-learn `explained_variance_score`.

    >>> round(explained_variance([1.0, 2.0, 3.0], [2.0, 3.0, 4.0]), 9)
    1.0
    """
    of_error = _variance(s, "yy") - 2 * _variance(s, "yp") + _variance(s, "pp")
    return 1 - ratio(of_error, _variance(s, "yy"))


@metric(moments, range=(-1, 1), better="higher", interval="atanh", task="regression", heavy="squared")
def pearson_r(s: Fields) -> Any:
    """Linear correlation of labels and predictions.

    Undefined where either is constant. Source: SciPy `pearsonr`.

    >>> round(pearson_r([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]), 9)
    1.0
    """
    return ratio(_variance(s, "yp"), root(_variance(s, "yy")) * root(_variance(s, "pp")))
