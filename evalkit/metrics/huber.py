"""The Huber loss."""

from __future__ import annotations

import math
from typing import Any

from evalkit.metric import Fields, metric
from evalkit.statistic import Batch, statistic


@statistic(needs=("label", "prediction"))
def huber(batch: Batch, *, delta: float = 1.0) -> dict[str, Any]:
    """Half the squared error up to `delta`, linear beyond it."""
    import jax.numpy as jnp

    size = jnp.abs(batch.prediction - batch.label)
    return {"loss": jnp.where(size <= delta, size**2 / 2, delta * (size - delta / 2))}


@metric(huber, range=(0, math.inf), better="lower", interval="log", task="regression", heavy="loss")
def huber_loss(s: Fields) -> Any:
    """Mean Huber loss: squared for errors up to `delta`, linear beyond.

    Source: Huber (1964), Robust estimation of a location parameter; SciPy `huber`.

    >>> huber_loss([0.0, 0.0], [1.0, 3.0], delta=1.0)
    1.5
    """
    return s.mean("loss")
