"""A permutation test that groups have one area under the ROC curve: labels of groups are shuffled within each class."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from evalkit.errors import DataError
from evalkit.fairness.statistics.shuffling import (
    Blocks,
    Permutation,
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
    Flags = NDArray[np.bool_]


def permutation_test_auc(
    scores: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike,
    *,
    units: ArrayLike | None = None,
    permutations: int = 999,
    seed: int = 0,
) -> Permutation:
    """Returns the permutation test that groups have one area under the ROC curve within themselves.

    Labels of groups are shuffled among positives and among negatives. Errors are DeLong's, with one more row of each
    class at the variance of all groups; by unit, squares of the units' summed placements. Groups without both classes
    are left out.

    Args:
        scores: [rows] numbers.
        labels: [rows] 0 or 1.
        groups: [rows] the group of each row, of any type that sorts.
        units: [rows] rows of one unit and group stay together, and are shuffled among blocks with the same classes.
        permutations: how many.
        seed: of the generator.

    Raises:
        DataError: arrays of several lengths, scores that are not finite, or labels but 0 and 1.
        ConfigError: fewer than one permutation.

    Source: DeLong, DeLong and Clarke-Pearson (1988); Obuchowski (1997) by unit; Pauly, Asendorf and Konietschke (2016)
    for studentised permutation of areas.

    >>> scores, labels = np.tile([4, 3, 2, 1], 20), np.tile([1, 0, 1, 0], 20)
    >>> labels[40:] = 1 - labels[40:]
    >>> permutation_test_auc(scores, labels, np.repeat(["a", "b"], 40), permutations=199).p_value
    0.005
    """
    code, _ = codes("groups", groups)
    score = numbers("scores", scores, code)
    truth = numbers("labels", labels, code)
    if not np.isin(truth, (0, 1)).all():
        raise DataError(f"A label is {truth[~np.isin(truth, (0, 1))][0]:g}; labels are 0 or 1.")
    of_unit = None if units is None else codes("units", units, code)[0]
    rng = generator(permutations, seed)
    both = (np.bincount(code, truth) > 0) & (np.bincount(code, 1 - truth) > 0)
    kept = np.flatnonzero(both[code])
    kept = kept[np.argsort(score[kept], kind="stable")]
    if both.sum() < 2:
        return Permutation(np.nan, np.nan, permutations)
    code, positive, ordered = (np.cumsum(both) - 1)[code[kept]], truth[kept] == 1, score[kept]
    tie = np.cumsum(np.append(False, ordered[1:] != ordered[:-1]))
    blocks = Blocks.of(code, positive.astype(np.int64), None if of_unit is None else of_unit[kept])

    def statistic(group: Codes) -> float:
        return float(heterogeneity(*group_areas(group, blocks.of_row, positive, tie, int(both.sum())), np.ones(1)))

    return shuffled(rng, blocks, statistic, permutations)


class Areas(NamedTuple):
    """Areas under the ROC curve within groups.

    Attributes:
        area: [groups]; NaN without both classes.
        variance: [groups] as if there were one more row of each class.
    """

    area: Floats
    variance: Floats


def group_areas(group: Codes, of_row: Codes, positive: Flags, tie: Codes, count: int) -> Areas:
    """Returns each group's area and its variance, from the placements of its rows within it.

    Args:
        group: [blocks] the group of each block.
        of_row: [rows] the block of each row; rows come by rising score.
        positive: [rows] whether a row is one.
        tie: [rows] numbers distinct scores.
        count: number of groups.
    """
    order = np.argsort(group[of_row], kind="stable")
    by, hit, tied = group[of_row][order], positive[order], tie[order]
    m, n = (np.bincount(by[hit == which], minlength=count) for which in (True, False))
    below, above = _placements(by, hit, tied, m, n)
    with np.errstate(divide="ignore", invalid="ignore"):
        placed = np.where(hit, below / n[by], above / m[by])
        area = np.bincount(by, np.where(hit, placed, 0.0), count) / m
        away = placed - area[by]
        of_block = np.bincount(of_row[order], away / np.where(hit, m[by], n[by]), len(group))
        more = [np.nanmean(away[hit == which] ** 2) / size**2 for which, size in ((True, m), (False, n))]
    return Areas(area, np.bincount(group, of_block**2, count) + more[0] + more[1])


def _placements(by: Codes, hit: Flags, tied: Codes, m: Codes, n: Codes) -> tuple[Floats, Floats]:
    """Returns how many negatives of its group a row scores above, and positives score above it; ties half."""
    first = np.flatnonzero(np.append(True, (by[1:] != by[:-1]) | (tied[1:] != tied[:-1])))
    sizes, of = np.diff(first, append=len(by)), by[first]
    hits = np.add.reduceat(hit, first, dtype=np.int64)
    misses = sizes - hits
    below = np.cumsum(misses) - misses / 2 - (np.cumsum(n) - n)[of]
    above = np.cumsum(m)[of] - (np.cumsum(hits) - hits / 2)
    return np.repeat(below, sizes), np.repeat(above, sizes)
