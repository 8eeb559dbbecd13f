"""Many questions at one error rate: the largest statistic of all by their joint covariance, or Holm's procedure.

Both go step by step from the smallest p-value on. By the joint covariance, questions that ask nearly the same (one
metric in overlapping slices, two metrics of one slice) cost little; without it every question counts in full.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from evalkit.adjust import holm

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MOST_JOINT = 1000
_DRAWS = 20_000


class Influence(NamedTuple):
    """What each row, or each group of units, tells of a quantity in each slice; entries that are left out are 0.

    Attributes:
        units: [entries] the row or group.
        slices: [entries] the slice.
        values: [entries] its influence.
    """

    units: NDArray[np.int64]
    slices: NDArray[np.int64]
    values: Floats


class Levels(NamedTuple):
    """What each question of a family is held against, [questions] each.

    Attributes:
        alpha: its own one-sided error rate: it is rejected if its p-value is at most this.
        adjusted: its adjusted p-value, held against the family's alpha; NaN where there is no test.
    """

    alpha: Floats
    adjusted: Floats


def by_holm(p: Floats, alpha: float) -> Levels:
    """Returns the levels of Holm's procedure; what is not rejected shares the alpha that is left. Source: Holm (1979).

    >>> by_holm(np.array([0.001, 0.04, np.nan, 0.3]), 0.05).alpha.round(4).tolist()
    [0.0167, 0.025, 0.025, 0.025]
    """
    adjusted = holm(p)
    tested = int(np.isfinite(p).sum())
    rejected = np.isfinite(p) & (adjusted <= alpha)
    steps = np.where(rejected, tested - _rank(p), tested - int(rejected.sum()))
    return Levels(alpha / np.maximum(steps, 1), adjusted)


def by_largest(p: Floats, correlation: Floats, alpha: float, seed: int = 0) -> Levels:
    """Returns the levels of the step-down procedure of the largest statistic.

    Source: Romano and Wolf (2005), Exact and approximate stepdown methods; statistics are taken as normal, with their
    own p-values and this correlation, and their largest is drawn.

    Args:
        p: [questions] one-sided p-values; NaN where there is no test.
        correlation: [questions, questions] of the statistics, large in the direction of small p-values.
        alpha: of the family.
        seed: fixes the draws.

    >>> alike = np.ones((3, 3))
    >>> by_largest(np.array([0.03, 0.03, 0.2]), alike, 0.05).alpha.round(2).tolist()
    [0.05, 0.05, 0.05]
    """
    from scipy import special

    held = np.flatnonzero(np.isfinite(p))
    order = held[np.argsort(p[held], kind="stable")]
    levels = by_holm(p, alpha)
    if not len(order):
        return levels
    largest = _largest(correlation[np.ix_(order, order)], seed)
    spared = len(largest) - 1 - max(int(alpha * (1 + len(largest))) - 1, 0)
    statistic = -special.ndtri(np.clip(p[order], 1e-300, 1.0))
    critical = np.empty(len(order))
    for step, column in enumerate(largest.T):
        critical[step:] = np.partition(column, spared)[spared]
        if statistic[step] <= critical[step]:
            break
    own = np.full(len(p), float(special.ndtr(-critical[-1])))
    own[order] = special.ndtr(-critical)
    share = (1 + (largest >= statistic).sum(0)) / (1 + len(largest))
    adjusted = np.full(len(p), np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(share), levels.adjusted[order])
    return Levels(np.maximum(own, levels.alpha), adjusted)


def _rank(p: Floats) -> NDArray[np.int64]:
    rank = np.empty(len(p), dtype=np.int64)
    rank[np.argsort(p, kind="stable")] = np.arange(len(p))
    return rank


def _largest(correlation: Floats, seed: int) -> Floats:
    """Draws the largest statistic of the k-th question and all after it, [draws, questions]."""
    size, vectors = np.linalg.eigh(correlation)
    half = vectors * np.sqrt(np.maximum(size, 0.0))
    draws = np.random.default_rng(seed).standard_normal((_DRAWS, len(correlation))) @ half.T
    largest: Floats = np.maximum.accumulate(draws[:, ::-1], axis=1)[:, ::-1]
    return largest


def correlations(parts: Sequence[tuple[Influence, NDArray[np.int64], int]]) -> Floats:
    """Returns the correlation of questions' statistics from the influences of rows or groups.

    Args:
        parts: for each quantity its influence, the slices asked about, and -1 where small values are harm, else 1.
    """
    from scipy import sparse

    columns, offset = [], 0
    for influence, places, sign in parts:
        column = np.full(int(max(influence.slices.max(initial=0), places.max(initial=0))) + 1, -1)
        column[places] = offset + np.arange(len(places))
        kept = column[influence.slices] >= 0
        columns.append((influence.units[kept], column[influence.slices[kept]], sign * influence.values[kept]))
        offset += len(places)
    units, place, values = (np.concatenate([c[i] for c in columns]) for i in range(3))
    matrix = sparse.coo_array((values, (units, place)), shape=(int(units.max(initial=0)) + 1, offset)).tocsr()
    covariance: Floats = (matrix.T @ matrix).toarray()
    error = np.sqrt(np.diag(covariance))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = covariance / np.outer(error, error)
    found[~np.isfinite(found)] = 0.0
    np.fill_diagonal(found, 1.0)
    return found
