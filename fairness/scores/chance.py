"""What a gap that is never negative is expected to be where there is none.

Distances between curves are above 0 even where groups are alike, the more so the fewer the rows. So such a number
stands beside its mean under equality, and the share of draws under equality that reach it is its p-value.

>>> Chance.of(0.3, np.array([0.1, 0.2, 0.3, 0.2]))
Chance(expected=0.2, p_value=0.4)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from evalkit.collect import GROUPS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DRAWS = 499


class Chance(NamedTuple):
    """What equality makes of a number.

    Attributes:
        expected: its mean where groups are alike.
        p_value: the share of draws where groups are alike that reach it, counting itself.
    """

    expected: float
    p_value: float

    @classmethod
    def of(cls, value: float, drawn: Floats) -> Chance:
        """Returns what draws under equality say of a value; NaN without draws."""
        if not len(drawn) or np.isnan(value):
            return cls(float("nan"), float("nan"))
        reached = int(np.count_nonzero(drawn >= value * (1 - 1e-9)))
        return cls(float(drawn.mean()), (1 + reached) / (1 + len(drawn)))


def reweighted(weight: Floats, square: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """Returns cells of independent rows with each row's weight times an exponential variable, [draws, ...].

    A cell's sum of those is a gamma variable with the cell's mean and variance. Source: Rubin (1981), The Bayesian
    bootstrap.

    Args:
        weight: [...] summed weights of cells.
        square: [...] summed squared weights.
        draws: how many.
        rng: draws.
    """
    held = weight > 0
    shape = np.divide(weight**2, square, out=np.ones_like(weight), where=held)
    scale = np.divide(square, weight, out=np.zeros_like(weight), where=held)
    return rng.standard_gamma(shape, (draws, *weight.shape)) * scale


def reweighted_units(place: NDArray[np.int64], unit: NDArray[np.int64], weight: Floats, times: Floats) -> Floats:
    """Returns cells of clustered rows with each group of units' weights times a number, [draws, cells].

    Args:
        place: [entries] the cell, up to `max(place)`.
        unit: [entries] the group of units.
        weight: [entries].
        times: [draws, groups of units] exponential variables.
    """
    cells = int(place.max(initial=-1)) + 1
    of_units = np.bincount(place * GROUPS + unit, weights=weight, minlength=cells * GROUPS).reshape(cells, GROUPS)
    return times @ of_units.T
