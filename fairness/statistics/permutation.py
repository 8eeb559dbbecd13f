"""Permutation tests that groups are alike: labels of groups are shuffled within the metric's denominator, by unit.

Shuffled over all rows, groups with other base rates differ in more than the metric, and a fair one is rejected too
often: a false positive rate is given its negatives only, an area under the curve is shuffled within each class
(`permutation_auc.py`). The statistic is studentised, so that groups may differ in what the metric does not measure.

>>> hits, groups = np.repeat([1, 0, 1, 0], [30, 20, 12, 38]), np.repeat([0, 1], 50)
>>> permutation_test(hits, groups).p_value
0.001
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evalkit.errors import DataError
from evalkit.fairness.statistics.shuffling import (
    Blocks,
    Permutation,
    against,
    codes,
    generator,
    heterogeneity,
    numbers,
    shuffled,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]


def permutation_test(
    values: ArrayLike,
    groups: ArrayLike,
    *,
    strata: ArrayLike | None = None,
    units: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    permutations: int = 999,
    seed: int = 0,
) -> Permutation:
    """Returns the permutation test that groups have one mean; of a rate, 0 and 1 for the rows of its denominator.

    Each group's error comes of its own rows, and of one more at the variance of all, so that it is never 0 among
    unequal values. Values that take two numbers, unweighted and without units, are drawn from the multivariate
    hypergeometric law, in a time that hardly grows with rows; others are shuffled, in a time of rows x permutations.

    Args:
        values: [rows] numbers.
        groups: [rows] the group of each row, of any type that sorts.
        strata: [rows] labels are shuffled within a stratum only, and each stratum's mean is taken off its values.
        units: [rows] rows of one unit and group stay together, and errors are between units. Such blocks are shuffled
            among those whose rows lie in the same strata.
        weights: [rows] sampling weights, 0 or more.
        permutations: how many; 999 tell p down to .001.
        seed: of the generator; the same seed gives the same answer.

    Raises:
        DataError: arrays of several lengths, values that are not finite, or weights that are negative.
        ConfigError: fewer than one permutation.

    Source: Chung and Romano (2013), Annals of Statistics 41, for studentised permutation tests; Phipson and Smyth
    (2010) for the p-value.

    >>> errors, groups, people = [3, 1, 2, 9, 7, 8, 8, 2], list("aaaabbbb"), [1, 1, 2, 2, 3, 3, 4, 4]
    >>> permutation_test(errors, groups, units=people, permutations=199).p_value
    0.725
    """
    code, count = codes("groups", groups)
    value = numbers("values", values, code)
    stratum, of_strata = (np.zeros_like(code), 1) if strata is None else codes("strata", strata, code)
    rng = generator(permutations, seed)
    if count < 2:
        return Permutation(np.nan, np.nan, permutations)
    if weights is None and units is None:
        low, high = np.full(of_strata, np.inf), np.full(of_strata, -np.inf)
        np.minimum.at(low, stratum, value)
        np.maximum.at(high, stratum, value)
        if ((value == low[stratum]) | (value == high[stratum])).all():
            hit = (value == high[stratum]) & (low < high)[stratum]
            return _of_counts(rng, hit, code * of_strata + stratum, (count, of_strata), high - low, permutations)
    weight = np.ones(len(code)) if weights is None else numbers("weights", weights, code)
    if (weight < 0).any():
        raise DataError(f"A weight is {weight.min():g}; weights are 0 or more.")
    with np.errstate(invalid="ignore"):
        means = np.bincount(stratum, weight * value) / np.bincount(stratum, weight)
    blocks = Blocks.of(code, stratum, units)
    total = np.bincount(blocks.of_row, weight * (value - np.nan_to_num(means)[stratum]), len(blocks.group))
    size = np.bincount(blocks.of_row, weight, len(blocks.group))
    moments = (size, total, total**2, total * size, size**2)

    def statistic(group: Codes) -> float:
        w, t, tt, tw, ww = (np.bincount(group, moment, count) for moment in moments)
        mean = np.divide(t, w, out=np.full(count, np.nan), where=w > 0)
        squares = np.maximum(tt - 2 * mean * tw + mean**2 * ww, 0.0)
        one_more = np.nansum(squares) / len(group)
        return float(heterogeneity(mean, squares + one_more, w))

    return shuffled(rng, blocks, statistic, permutations)


def _of_counts(
    rng: np.random.Generator,
    hit: NDArray[np.bool_],
    cell: Codes,
    shape: tuple[int, int],
    step: Floats,
    permutations: int,
) -> Permutation:
    """Draws each stratum's hits by group from their law; values are `step` where there is a hit, less the mean."""
    rows, hits = (np.bincount(of, minlength=shape[0] * shape[1]).reshape(shape) for of in (cell, cell[hit]))
    share = hits.sum(0) / np.maximum(rows.sum(0), 1)
    on, off = step * (1 - share), -step * share
    drawn = [
        rng.multivariate_hypergeometric(rows[:, s], hits[:, s].sum(), permutations, method="marginals")
        for s in range(shape[1])
    ]
    every = np.concatenate([hits[None], np.stack(drawn, axis=-1)]).astype(np.float64)
    n = rows.sum(1).astype(np.float64)
    total = every @ on + (rows - every) @ off
    squares = np.maximum(every @ on**2 + (rows - every) @ off**2 - total**2 / n, 0.0)
    one_more = squares.sum(-1, keepdims=True) / n.sum()
    statistic = heterogeneity(total / n, squares + one_more, n)
    return against(float(statistic[0]), statistic[1:])
