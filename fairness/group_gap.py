"""The largest gap between the groups of a family in one metric, with bounds that hold for all pairs of groups at once.

>>> import evalkit as ek
>>> from evalkit.fairness.families import families
>>> from evalkit.fairness.joint import group_values
>>> hits, rows = [30, 24, 9], 50
>>> data = {"d": sum([[1] * h + [0] * (rows - h) for h in hits], []), "g": ["a"] * 50 + ["b"] * 50 + ["c"] * 50}
>>> result = ek.evaluate({**data, "y": [1] * 150}, label="y", prediction="d", metrics=["recall"], slices=["g"])
>>> evaluation = result.evaluations[0]
>>> gap = Gap.of(group_values(evaluation, "recall", families(evaluation, ["g"]))[0])
>>> round(gap.value, 2), [round(end, 2) for end in gap.interval(0.05)], gap.flagged(0.05), gap.certified(0.7, 0.05)
(0.42, [0.19, 0.59], True, True)
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evalkit.contrast import POWER, Contrast
from evalkit.differences import scaled
from evalkit.fairness.joint import GroupValues
from evalkit.fairness.pairwise import Rates, Sides
from evalkit.fairness.statistics.corrected import corrected_gap
from evalkit.fairness.statistics.homogeneity import wald
from evalkit.fairness.statistics.simultaneous import Largest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Gap:
    """The highest minus the lowest value of a metric among the groups of a family.

    Attributes:
        values: the groups' values.
        held: [held] the places of the groups that are compared, in `values`.
        pairs: all pairs of them, each once.
        largest: the law of the largest of the pairs' statistics.
        rates: the intervals of differences of rates.
    """

    values: GroupValues
    held: NDArray[np.int64]
    pairs: Sides | None
    largest: Largest
    rates: Rates = "newcombe"

    @classmethod
    def of(cls, values: GroupValues, rates: Rates = "newcombe") -> Gap:
        """Returns the gap; groups without a value, or with too few rows, are left out."""
        held = 1 + np.flatnonzero(values.held)
        if len(held) < 2:
            return cls(values, held, None, Largest(0, np.zeros(0)), rates)
        first, second = np.triu_indices(len(held), 1)
        law = Largest.of_all_pairs(values.covariance[np.ix_(held, held)])
        return cls(values, held, Sides.of(values, held[first], held[second]), law, rates)

    @property
    def _of_held(self) -> Floats:
        return self.values.estimate.value[self.held]

    @property
    def value(self) -> float:
        """The gap; NaN where fewer than two groups are compared."""
        return float(np.ptp(self._of_held)) if self.pairs is not None else float("nan")

    @property
    def ratio(self) -> float:
        """The lowest over the highest value; NaN where that is 0, or values may be negative."""
        if self.pairs is None or not self.has_ratio or self._of_held.max() <= 0:
            return float("nan")
        return float(self._of_held.min() / self._of_held.max())

    @property
    def corrected(self) -> float:
        """The gap without what noise adds to it on average; it may be under 0. NaN for fewer than two groups."""
        if self.pairs is None:
            return float("nan")
        variance = self.values.pooled_variance[self.held - 1]
        return float(corrected_gap(self._of_held, variance).value) if (variance > 0).all() else float("nan")

    @property
    def has_ratio(self) -> bool:
        """Whether the metric is never negative, so that ratios mean something."""
        return self.values.estimate.metric.range[0] >= 0

    @property
    def extremes(self) -> tuple[int, int]:
        """The groups with the lowest and the highest value, counted from 0 among the family's groups."""
        order = np.argsort(self._of_held, kind="stable")
        return int(self.held[order[0]]) - 1, int(self.held[order[-1]]) - 1

    @functools.cached_property
    def difference(self) -> Contrast | None:
        """The differences of all pairs; None without a pair."""
        return None if self.pairs is None else self.pairs.difference(self.rates)

    def _each(self, alpha: float) -> Floats:
        """Returns the one-sided error rate of each pair's ends so that all hold together but for alpha."""
        from scipy import special

        size = 0 if self.pairs is None else len(self.pairs.error)
        return np.full(size, float(special.ndtr(-self.largest.critical(alpha))))

    def interval(self, alpha: float) -> tuple[float, float]:
        """Returns the bounds of the true gap that hold together but for alpha; NaN where a pair has none."""
        if self.difference is None or not self.difference.testable.any():
            return float("nan"), float("nan")
        low, high = self.difference.interval(self._each(alpha))
        most = float(np.maximum(high, -low).max()) if self.difference.testable.all() else float("nan")
        width = self.values.estimate.metric.range[1] - self.values.estimate.metric.range[0]
        least = float(np.fmax.reduce(np.maximum(low, -high)))
        return float(np.maximum(least, 0.0)), float(np.minimum(most, width))

    def ratio_interval(self, alpha: float) -> tuple[float, float]:
        """Returns the bounds of the true ratio of the lowest to the highest value."""
        if self.difference is None or self.pairs is None or np.isnan(self.ratio) or not self.difference.testable.all():
            return float("nan"), float("nan")
        each = self._each(alpha)
        both = [self.pairs.ratio(), self.pairs.turned().ratio()]
        ends = np.array([contrast.interval(each) for contrast in both])
        ends = np.where(np.isnan(ends), np.inf, ends)  # over a value of 0: the pair turned round tells of it
        low, high = float(ends[:, 0].min()), float(ends[:, 1].min())
        return min(low, 1.0), min(high, 1.0)

    @functools.cached_property
    def p_value(self) -> float:
        """The p-value of all groups having the same value; of proportions a chi-square test.

        Of other metrics Wald's, on the scale of their interval, with Student's degrees of freedom.
        """
        if self.pairs is None:
            return float("nan")
        values, variance, degrees = _on_scale(self.values, self.held)
        correlation = _correlation(self.values.covariance[np.ix_(self.held, self.held)])
        covariance = correlation * np.sqrt(np.outer(variance, variance))
        return float(wald(values, covariance, error_degrees=max(degrees, 1.0)).p_value)

    def flagged(self, alpha: float) -> bool:
        """Returns whether a gap is shown: values are not all alike, and bounds leave 0 out."""
        return bool(self.p_value < alpha and self.interval(alpha)[0] > 0)

    def certified(self, most: float, alpha: float) -> bool:
        """Returns whether the true gap is shown to be at most so large, at error rate alpha."""
        return bool(self.interval(alpha)[1] <= most)

    def detectable(self, alpha: float) -> float:
        """Returns the smallest gap that a pair of middling standard error shows with a probability of 80%."""
        from scipy import special

        if self.pairs is None:
            return float("nan")
        reach = float(self.largest.critical(alpha)) + float(special.ndtri(POWER))
        return reach * float(np.median(self.pairs.error))


def _correlation(covariance: Floats) -> Floats:
    error = np.sqrt(np.diag(covariance))
    with np.errstate(all="ignore"):
        found = np.nan_to_num(covariance / np.outer(error, error))
    np.fill_diagonal(found, 1.0)
    return found


def _on_scale(values: GroupValues, held: NDArray[np.int64]) -> tuple[Floats, Floats, float]:
    """Returns values and variances as a test of equal values takes them, and its degrees of freedom."""
    e = values.estimate.at(held)
    groups = e.groups[np.isfinite(e.groups)]
    degrees = float(groups.min()) - 1 if len(groups) else float("inf")
    if e.metric.kind == "wilson":
        return e.value, values.pooled_variance[held - 1], degrees
    with np.errstate(all="ignore"):
        value, variance = scaled(e)
    rarer = e.rarer[np.isfinite(e.rarer)]
    return value, variance, min(degrees, float(rarer.min()) - 1) if len(rarer) else degrees
