"""AUCs of groups, their differences and the largest of those, held against bounds.

An AUC has DeLong's interval on the logit, with Student's t of the rarer side. A difference is put together from its two
AUCs' intervals and their correlation, so that it keeps to [-1, 1] and allows for few rows. The largest of many
differences is above 0 even where groups are alike: its bounds are those that hold for all pairs at once.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from evalkit.contrast import Contrast, mover, quantile
from evalkit.fairness.scores.cross_auc import CrossAuc, MeanAuc
from evalkit.fairness.statistics.simultaneous import Largest
from evalkit.interval import MOST_EXACT_GROUPS, wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_NOTHING = 1e-20  # variances that are rounding
_FEWEST = 2
_FEW = 20
_FEWEST_UNITS = 5


class LargestDifference(NamedTuple):
    """The largest of several differences, without sign.

    Attributes:
        value: NaN where none is defined.
        low: lower bound of the true one; 0 where no difference is shown.
        high: upper bound.
        p_value: of all differences being 0; adjusted for how many there are.
        pair: the place of the pair that it is of.
    """

    value: float
    low: float
    high: float
    p_value: float
    pair: int


@dataclass(frozen=True)
class AucContrasts:
    """Means of cells of one matrix, with their joint covariance; arrays are [quantities].

    Attributes:
        value: the AUCs.
        covariance: [quantities, quantities].
        rarer: effective number of rows of the smaller side.
        units: groups of units; infinite where rows are independent.
        binned: whether scores are binned.
    """

    value: Floats
    covariance: Floats
    rarer: Floats
    units: float
    binned: bool

    @classmethod
    def of(cls, auc: CrossAuc, quantities: Sequence[MeanAuc]) -> AucContrasts:
        """Returns the contrasts of means of cells."""
        covariance = auc.covariance(quantities)
        small = np.diag(covariance) <= _NOTHING
        covariance = np.where(small | small[:, None], 0.0, covariance)
        value, rarer = (np.array([getattr(q, name) for q in quantities]) for name in ("value", "rarer"))
        return cls(value, covariance, rarer, auc.units, auc.binned)

    @property
    def method(self) -> str:
        """How the interval of one AUC is made."""
        return "delong on the logit" + (", clustered" if np.isfinite(self.units) else "")

    def take(self, places: NDArray[np.int64]) -> AucContrasts:
        """Returns some of them."""
        joint = self.covariance[np.ix_(places, places)]
        return replace(self, value=self.value[places], covariance=joint, rarer=self.rarer[places])

    def each(self) -> Contrast:
        """Returns each AUC."""
        return Contrast(
            value=self.value,
            ends=self._ends,
            method=self.method,
            error=np.sqrt(self._variance),
            degrees=self._degrees,
            why=tuple(self.missing(i) for i in range(len(self.value))),
        )

    def differences(self, pairs: NDArray[np.int64]) -> Contrast:
        """Returns differences of two, [pairs].

        Args:
            pairs: [pairs, 2] the places of the first and of the second.
        """
        first, second = (self.take(column) for column in pairs.T)
        between = self.covariance[pairs[:, 0], pairs[:, 1]]
        own = first._variance, second._variance
        degrees = np.minimum(first._degrees, second._degrees)
        found = mover(
            (first.value, first._ends), (second.value, second._ends), (*own, own[0] + own[1] - 2 * between), degrees
        )
        why = tuple(first.missing(i) or second.missing(i) for i in range(len(pairs)))
        return replace(found, method=f"MOVER of {self.method}", why=why)

    def largest(self, pairs: NDArray[np.int64], level: float) -> LargestDifference:
        """Returns the largest of differences with bounds that hold for all of them at once.

        Each interval is at the error rate that the law of the largest statistic gives it, so few rows widen it as they
        do alone.

        Args:
            pairs: [pairs, 2] the places of the first and of the second.
            level: the confidence that all bounds hold.

        Source: Hothorn, Bretz and Westfall (2008), Simultaneous inference in general parametric models.
        """
        found = self.differences(pairs)
        held = np.flatnonzero(found.testable)
        if not len(held):
            return LargestDifference(np.nan, np.nan, np.nan, np.nan, 0)
        own = np.eye(len(self.value))
        law = Largest.of(self.covariance, (own[pairs[:, 0]] - own[pairs[:, 1]])[held])
        low, high = (end[held] for end in found.interval(law.each(1 - level)))
        sizes = np.abs(found.value[held])
        return LargestDifference(
            value=float(sizes.max()),
            low=float(np.maximum(np.maximum(low, -high).max(), 0.0)),
            high=float(np.maximum(np.abs(low), np.abs(high)).max()),
            p_value=float(np.nanmin(law.adjusted(found.two_sided()[held]))),
            pair=int(held[np.argmax(sizes)]),
        )

    def missing(self, place: int) -> str:
        """Says why an AUC has no interval; nothing where it has one."""
        if np.isnan(self.value[place]):
            return "undefined: a side holds no rows"
        if self.rarer[place] < _FEWEST:
            return "a side holds one row alone"
        return f"{self.units:.0f} groups of units are too few" if self.units < _FEWEST_UNITS else ""

    def rough(self, *places: int) -> str:
        """Says why values or intervals are rough; nothing where they are not."""
        rarer = min(self.rarer[place] for place in places)
        found = ["scores binned"] if self.binned else []
        found += [f"{rarer:.0f} rows of the rarer side"] if rarer < _FEW else []
        found += [f"{self.units:.0f} groups of units"] if self.units < MOST_EXACT_GROUPS else []
        return "; ".join(found)

    @functools.cached_property
    def _variance(self) -> Floats:
        return np.diag(self.covariance)

    @functools.cached_property
    def _degrees(self) -> Floats:
        return np.maximum(np.minimum(self.rarer, self.units) - 1, 1)

    @functools.cached_property
    def _logit(self) -> tuple[Floats, Floats]:
        """Each AUC and its standard error on the logit."""
        inside = np.clip(np.where(np.isnan(self.value), 0.5, self.value), 1e-15, 1 - 1e-15)
        return np.log(inside) - np.log1p(-inside), np.sqrt(self._variance) / (inside * (1 - inside))

    @functools.cached_property
    def _edge(self) -> NDArray[np.bool_]:
        return (self._variance <= 0) | (self.value <= 0) | (self.value >= 1)

    def _ends(self, alpha: Floats) -> tuple[Floats, Floats]:
        """Ends on the logit; at 0 and 1, or without variance, Wilson's of the rows of the rarer side."""
        z = quantile(alpha, self._degrees)
        centre, error = self._logit
        reach = np.clip(z * error, -700, 700)
        low, high = 1 / (1 + np.exp(reach - centre)), 1 / (1 + np.exp(-reach - centre))
        if not self._edge.any():
            return low, high
        wide = wilson(self.value, np.maximum(np.minimum(self.rarer, self.units), 1), z)
        return np.where(self._edge, wide[0], low), np.where(self._edge, wide[1], high)
