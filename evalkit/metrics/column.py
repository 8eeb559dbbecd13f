"""Counts, means and sums of any numeric column."""

from __future__ import annotations

import math
from typing import Any

from evalkit.metric import Fields, metric
from evalkit.statistic import Batch, cells, statistic


@cells("rows", needs=())
def every_row(batch: Batch) -> Any:
    """Every row falls in the one cell."""
    import jax.numpy as jnp

    held = (batch.label, batch.score, batch.prediction, *batch.columns.values())
    return jnp.zeros(next(values for values in held if values is not None).shape, jnp.int32)


@statistic(needs=())
def column_values(batch: Batch, *, column: str | None = None) -> dict[str, Any]:
    """The value of one column in each row and its size; 1 where no column is named."""
    import jax.numpy as jnp

    if column is None:
        held = (batch.label, batch.score, batch.prediction, *batch.columns.values())
        first = next(values for values in held if values is not None)
        value = jnp.ones(first.shape)
    else:
        value = batch.columns[column]
    return {"value": value, "size": jnp.abs(value)}


@metric(column_values, range=(-math.inf, math.inf), interval="delta", task=None, heavy="size")
def mean(s: Fields) -> Any:
    """Weighted mean of a column, in its unit.

    >>> mean([1.0, 2.0, 6.0])
    3.0
    """
    return s.mean("value")


@metric(column_values, range=(-math.inf, math.inf), interval="none", task=None)
def total(s: Fields) -> Any:
    """Weighted sum of a column, in its unit.

    >>> total([1.0, 2.0, 6.0])
    9.0
    """
    return s.value


@metric(every_row, range=(0, math.inf), interval="none", task=None)
def count(s: Fields) -> Any:
    """Number of rows with a positive weight. With weights, `weight` in the table is their sum.

    >>> count([1.0, 2.0, 6.0])
    3.0
    """
    return s.rows
