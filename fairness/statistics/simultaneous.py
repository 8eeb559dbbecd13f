"""Critical values that hold for many contrasts of groups at once: the largest of their statistics.

>>> pairs = Largest.of(np.eye(3), all_pairs(3))
>>> abs(float(pairs.critical(0.05)) - tukey_critical(3, 0.95)) < 0.05, round(float(pairs.critical(1e-9)), 1)
(True, 6.3)
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evalkit.combined import correlations

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

_DRAWS = 20_000
_LEAST_BEYOND = 40
_MOST_DRAWN = 300


def all_pairs(groups: int) -> Floats:
    """Returns the contrasts of each group minus each later one, [pairs, groups]."""
    first, second = np.triu_indices(groups, 1)
    rows = np.arange(len(first))
    contrasts = np.zeros((len(first), groups))
    contrasts[rows, first], contrasts[rows, second] = 1.0, -1.0
    return contrasts


@dataclass(frozen=True)
class Largest:
    """The law of the largest size of several standardised contrasts, all true contrasts being 0.

    Attributes:
        contrasts: how many there are.
        draws: [draws] the largest size in each draw, ascending; empty where the law is that of Tukey's range.
        groups: the groups of Tukey's range.
    """

    contrasts: int
    draws: Floats
    groups: int = 0

    @classmethod
    def of(cls, covariance: Floats, contrasts: Floats) -> Largest:
        """Returns the law of contrasts of jointly normal values.

        Args:
            covariance: [values, values].
            contrasts: [contrasts, values].

        Of very many contrasts of independent values the law is that of Tukey's range, which is never too small (Hayter,
        1984). A contrast that does not vary counts as one that is independent of the others.
        """
        if len(contrasts) <= 1:
            return cls(len(contrasts), np.zeros(0))
        if len(contrasts) > _MOST_DRAWN:
            return cls(len(contrasts), np.zeros(0), int((contrasts != 0).any(0).sum()))
        correlation = correlations(contrasts @ covariance @ contrasts.T)
        return cls(len(contrasts), _largest(correlation.round(9).tobytes(), len(contrasts)))

    @classmethod
    def of_all_pairs(cls, covariance: Floats) -> Largest:
        """Returns the law of the differences of all pairs of values, [values, values] their covariance."""
        groups = len(covariance)
        pairs = groups * (groups - 1) // 2
        if pairs > _MOST_DRAWN:  # a matrix of contrasts would be large
            return cls(pairs, np.zeros(0), groups)
        return cls.of(covariance, all_pairs(groups))

    def critical(self, alpha: ArrayLike) -> Floats:
        """Returns what the largest size exceeds with probability alpha, an array like alpha.

        Where alpha is too small for draws, Bonferroni's inequality gives it, which is never too small.
        """
        from scipy import special

        wide = np.asarray(alpha, dtype=np.float64)
        bound = -special.ndtri(np.clip(wide / (2 * max(self.contrasts, 1)), 1e-300, 0.5))
        if self.groups:
            return np.where(wide >= 1e-6, np.minimum(bound, _tukey(wide, self.groups)), bound)
        spared = np.floor(wide * len(self.draws)).astype(np.int64)
        if not len(self.draws):
            return np.asarray(bound)
        found = self.draws[np.clip(len(self.draws) - spared, 0, len(self.draws) - 1)]
        return np.where(spared >= _LEAST_BEYOND, np.minimum(found, bound), bound)

    def each(self, alpha: ArrayLike) -> Floats:
        """Returns the one-sided error rate of each contrast's ends at which all hold together but for alpha."""
        from scipy import special

        return np.asarray(special.ndtr(-self.critical(alpha)))

    def adjusted(self, p_value: Floats) -> Floats:
        """Returns p-values adjusted for all contrasts; NaN stays NaN."""
        from scipy import special

        size = -special.ndtri(np.clip(p_value, 1e-300, 1.0) / 2)
        bound = np.minimum(p_value * max(self.contrasts, 1), 1.0)
        if self.groups:
            return np.where(size < 6, np.minimum(bound, _tukey_tail(size, self.groups)), bound)
        if not len(self.draws):
            return bound
        beyond = len(self.draws) - np.searchsorted(self.draws, np.nan_to_num(size), side="left")
        share = np.where(beyond >= _LEAST_BEYOND, np.minimum(beyond / len(self.draws), bound), bound)
        return np.where(np.isfinite(p_value), np.maximum(share, p_value), np.nan)


@functools.lru_cache(maxsize=64)
def tukey_critical(groups: int, level: float) -> float:
    """Returns the critical value of the largest of all pairs' standardised differences; NaN for fewer than two groups.

    >>> round(tukey_critical(2, 0.95), 2), round(tukey_critical(10, 0.95), 2)
    (1.96, 3.16)
    """
    from scipy import stats

    return float(stats.studentized_range.ppf(level, groups, np.inf)) / 2**0.5 if groups > 1 else float("nan")


@functools.lru_cache(maxsize=256)
def _largest(correlation: bytes, size: int) -> Floats:
    """Draws the largest size of jointly normal statistics, in ascending order.

    The root of the correlation is the symmetric one, since there is only one of it: eigenvectors of equal eigenvalues,
    and so the draws, would differ from machine to machine.
    """
    matrix = np.frombuffer(correlation).reshape(size, size)
    spread, vectors = np.linalg.eigh(matrix)
    root = vectors * np.sqrt(np.where(spread > 1e-9, spread, 0.0)) @ vectors.T
    drawn = np.random.default_rng(0).standard_normal((_DRAWS, size)) @ root
    return np.sort(np.abs(drawn).max(1))


def _tukey(alpha: Floats, groups: int) -> Floats:
    """Returns the critical value of all pairs' statistics by Tukey's range."""
    shared = np.unique(alpha)
    found = {a: tukey_critical(groups, 1 - a) for a in shared[shared >= 1e-6].tolist()}
    return np.asarray(np.vectorize(lambda a: found.get(float(a), np.inf), otypes=[np.float64])(alpha))


def _tukey_tail(size: Floats, groups: int) -> Floats:
    from scipy import stats

    known = np.where(np.isfinite(size), size, 0.0)
    return np.asarray(stats.studentized_range.sf(known * 2**0.5, groups, np.inf))
