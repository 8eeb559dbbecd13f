"""Deviances of numeric predictions: twice the log likelihood lost against a perfect prediction."""

from __future__ import annotations

import math
from typing import Any

from evalkit.metric import Fields, metric
from evalkit.statistic import Batch, statistic


def _times_log(x: Any, y: Any) -> Any:
    """Returns x log(x / y), 0 where x is 0."""
    import jax.numpy as jnp

    positive = x > 0
    return jnp.where(positive, x * jnp.log(jnp.where(positive, x, 1.0) / y), 0.0)


@statistic(needs=("label", "prediction", "label not negative", "prediction positive"))
def poisson(batch: Batch) -> dict[str, Any]:
    """Unit deviance of the Poisson distribution."""
    y, p = batch.label, batch.prediction
    return {"deviance": 2 * (_times_log(y, p) - y + p)}


@statistic(needs=("label", "prediction", "label positive", "prediction positive"))
def gamma(batch: Batch) -> dict[str, Any]:
    """Unit deviance of the gamma distribution."""
    import jax.numpy as jnp

    y, p = batch.label, batch.prediction
    return {"deviance": 2 * (jnp.log(p / y) + y / p - 1)}


@statistic(needs=("label", "prediction", "label not negative", "prediction positive"))
def tweedie(batch: Batch, *, power: float = 1.5) -> dict[str, Any]:
    """Unit deviance of the compound Poisson-gamma distribution, 1 < power < 2."""
    y, p = batch.label, batch.prediction
    first = y ** (2 - power) / ((1 - power) * (2 - power))
    return {"deviance": 2 * (first - y * p ** (1 - power) / (1 - power) + p ** (2 - power) / (2 - power))}


@metric(poisson, range=(0, math.inf), better="lower", interval="log", task="regression", heavy="deviance")
def mean_poisson_deviance(s: Fields) -> Any:
    """Mean deviance for counts; labels must not be negative, predictions must be positive.

    Source: scikit-learn `mean_poisson_deviance`.

    >>> round(mean_poisson_deviance([0.0, 2.0], [1.0, 2.0]), 6)
    1.0
    """
    return s.mean("deviance")


@metric(gamma, range=(0, math.inf), better="lower", interval="log", task="regression", heavy="deviance")
def mean_gamma_deviance(s: Fields) -> Any:
    """Mean deviance for positive amounts; labels and predictions must be positive.

    Source: scikit-learn `mean_gamma_deviance`.

    >>> round(mean_gamma_deviance([1.0, 2.0], [2.0, 2.0]), 6)
    0.193147
    """
    return s.mean("deviance")


@metric(tweedie, range=(0, math.inf), better="lower", interval="log", task="regression", heavy="deviance")
def mean_tweedie_deviance(s: Fields) -> Any:
    """Mean deviance for amounts that are often 0 (insurance claims); 1 < power < 2.

    Labels must not be negative, predictions must be positive. Source: scikit-learn `mean_tweedie_deviance`.

    >>> round(mean_tweedie_deviance([0.0, 1.0], [1.0, 1.0]), 6)
    2.0
    """
    return s.mean("deviance")
