"""Shuffling the labels of groups: what a permutation test shuffles, how often, and what it compares."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from evalkit.errors import ConfigError, DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]
    Statistic = Callable[[Codes], float]

_SAME = 1 + 1e-9  # sums of the same numbers in another order are ties


class Permutation(NamedTuple):
    """A permutation test that groups are alike.

    Attributes:
        statistic: sum over groups of (value - mean)^2 / error^2, the mean weighted by 1 / error^2; about chi-square
            with groups - 1 degrees of freedom. NaN for fewer than two groups.
        p_value: (1 + permutations with a statistic as large) / (1 + permutations); NaN for fewer than two groups.
        permutations: how many.
    """

    statistic: float
    p_value: float
    permutations: int


class Blocks(NamedTuple):
    """What is shuffled: rows, or rows of one unit and group.

    Attributes:
        of_row: [rows] the block of each row.
        group: [blocks] the group of each, blocks of a stratum together.
        ends: where strata end.
    """

    of_row: Codes
    group: Codes
    ends: Codes

    @classmethod
    def of(cls, code: Codes, stratum: Codes, units: ArrayLike | None) -> Blocks:
        """Returns blocks of rows of one unit and group, and their strata: the combination of their rows' strata."""
        block = np.arange(len(code))
        if units is not None:
            unit, _ = codes("units", units, code)
            _, block = np.unique(unit * (code.max() + 1) + code, return_inverse=True)
        group = np.zeros(block.max() + 1, np.int64)
        group[block] = code
        within = _combinations(block, stratum, len(group))
        order = np.argsort(within, kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        return cls(place[block], group[order], np.cumsum(np.bincount(within)))


def _combinations(block: Codes, stratum: Codes, blocks: int) -> Codes:
    """Returns a code of the set of strata that each block's rows lie in: the sum of random keys of its strata."""
    pairs = np.unique(block * (stratum.max() + 1) + stratum)
    keys = np.random.default_rng(0).integers(0, 2**63, stratum.max() + 1, dtype=np.uint64)
    sums = np.zeros(blocks, np.uint64)
    np.add.at(sums, pairs // (stratum.max() + 1), keys[pairs % (stratum.max() + 1)])
    return np.unique(sums, return_inverse=True)[1]


def shuffled(rng: np.random.Generator, blocks: Blocks, statistic: Statistic, permutations: int) -> Permutation:
    """Returns the test whose statistic is a function of the blocks' groups, shuffled within strata."""
    observed = statistic(blocks.group)
    group = blocks.group.copy()
    parts = np.split(group, blocks.ends[:-1])
    drawn = np.empty(permutations)
    for i in range(permutations):
        for part in parts:
            rng.shuffle(part)
        drawn[i] = statistic(group)
    return against(observed, drawn)


def against(observed: float, drawn: Floats) -> Permutation:
    """Returns the test of an observed statistic among [permutations] drawn ones."""
    larger = int((drawn * _SAME >= observed).sum())
    return Permutation(observed, (1 + larger) / (1 + len(drawn)), len(drawn))


def heterogeneity(value: Floats, squares: Floats, size: NDArray[np.number]) -> Floats:
    """Returns the weighted squared distances of [..., groups] values to their mean; squares / size^2 are variances."""
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where((squares > 0) & np.isfinite(value), size**2 / squares, 0.0)
        held = np.where(precision > 0, value, 0.0)
        mean = (precision * held).sum(-1, keepdims=True) / precision.sum(-1, keepdims=True)
    found: Floats = np.nan_to_num((precision * (held - mean) ** 2).sum(-1))
    return found


def codes(name: str, given: ArrayLike, like: Codes | None = None) -> tuple[Codes, int]:
    """Returns [rows] codes from 0 on of any values that sort, and how many there are."""
    found = np.asarray(given)
    if found.ndim != 1 or (like is not None and found.shape != like.shape) or not found.size:
        raise DataError(f'"{name}" has shape {found.shape}; give one for each row.')
    distinct, code = np.unique(found, return_inverse=True)
    return code.astype(np.int64), len(distinct)


def numbers(name: str, given: ArrayLike, like: Codes) -> Floats:
    """Returns [rows] finite numbers."""
    found = np.asarray(given, dtype=np.float64)
    if found.shape != like.shape:
        raise DataError(f'"{name}" has shape {found.shape} and groups {like.shape}; give one for each row.')
    if not np.isfinite(found).all():
        raise DataError(
            f'"{name}" is not finite in {(~np.isfinite(found)).sum()} of {found.size} rows; leave them out.'
        )
    return found


def generator(permutations: int, seed: int) -> np.random.Generator:
    """Returns the generator of a seed, for at least one permutation."""
    if permutations < 1:
        raise ConfigError(f"permutations is {permutations}; it is at least 1.")
    return np.random.default_rng(seed)
