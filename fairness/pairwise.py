"""Differences and ratios of a metric between groups, each with an interval at any error rate.

>>> import evalkit as ek
>>> from evalkit.fairness.families import families
>>> from evalkit.fairness.joint import group_values
>>> data = {"y": [1] * 100, "d": [1] * 30 + [0] * 20 + [1] * 15 + [0] * 35, "sex": ["f"] * 50 + ["m"] * 50}
>>> evaluation = ek.evaluate(data, label="y", prediction="d", metrics=["recall"], slices=["sex"]).evaluations[0]
>>> [values] = group_values(evaluation, "recall", families(evaluation, ["sex"]))
>>> difference = Sides.of(values, np.array([1]), np.array([2])).difference()
>>> [np.round(end, 2).tolist() for end in (difference.value, *difference.interval(0.025))]
[[0.3], [0.11], [0.47]]
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from evalkit import interval
from evalkit.contrast import Contrast
from evalkit.differences import between_groups, rest
from evalkit.estimate import Estimate, estimate
from evalkit.fairness.joint import GroupValues
from evalkit.fairness.statistics.two_rates import koopman, miettinen_nurminen
from evalkit.results import Evaluation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evalkit.contrast import Ends

    Floats = NDArray[np.float64]
    Places = NDArray[np.int64]

Rates = Literal["newcombe", "miettinen-nurminen"]
RATES = ("newcombe", "miettinen-nurminen")


@dataclass(frozen=True)
class Sides:
    """Two values of a metric in each of several comparisons; arrays are [comparisons].

    Attributes:
        first: what is compared.
        second: what it is compared with.
        error: standard error of first minus second.
        deff: the metric's design effect on all rows, for intervals of clustered proportions of 0 and 1.
        few: where rows are too few.
    """

    first: Estimate
    second: Estimate
    error: Floats
    deff: float
    few: NDArray[np.bool_]

    @classmethod
    def of(cls, values: GroupValues, first: Places, second: Places) -> Sides:
        """Returns groups against groups; place 0 is all rows, group i is 1 + i."""
        joint = values.covariance
        spread = joint[first, first] + joint[second, second] - 2 * joint[first, second]
        few = values.few[first] | values.few[second]
        error = np.sqrt(np.maximum(spread, 0.0))
        return cls(values.estimate.at(first), values.estimate.at(second), error, values.deff, few)

    @classmethod
    def of_rest(cls, evaluation: Evaluation, values: GroupValues) -> Sides:
        """Returns each group against the rest of the rows of its level."""
        metric = values.estimate.metric
        part = evaluation.sums[metric.statistic.identity].take(values.family.with_whole)
        others = rest(part, metric.statistic)
        [other] = estimate([metric], others)
        variance = np.diag(values.covariance) + other.variance
        if part.clustered:
            [own] = estimate([metric], part)
            other, variance = between_groups(own, other, part, others)
        groups = np.arange(1, len(values.few))
        few = values.few | interval.too_few(other, metric.kind)
        error = np.sqrt(variance)[groups]
        return cls(values.estimate.at(groups), other.at(groups), error, values.deff, few[groups])

    def turned(self) -> Sides:
        """Returns the second against the first."""
        return replace(self, first=self.second, second=self.first)

    @property
    def _errors(self) -> tuple[Floats, Floats]:
        return np.sqrt(self.first.variance), np.sqrt(self.second.variance)

    @property
    def _rho(self) -> Floats:
        """The correlation of the two values."""
        a, b = self._errors
        with np.errstate(all="ignore"):
            found = (a**2 + b**2 - self.error**2) / (2 * a * b)
        found = np.where(np.abs(found) < 1e-9, 0.0, found)
        return np.clip(np.where(np.isfinite(found), found, 0.0), -1, 1)

    def _ends(self, alpha: Floats) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
        with np.errstate(all="ignore"):
            first, second = (interval.ends(e, alpha, self.deff) for e in (self.first, self.second))
        return first, second

    def difference(self, rates: Rates = "newcombe") -> Contrast:
        """Returns first minus second; of proportions of independent groups that is Newcombe's interval.

        Args:
            rates: instead `miettinen-nurminen` for proportions of independent groups.

        Source: Zou and Donner (2008), MOVER.
        """
        from scipy import special

        a, b, rho = self.first.value, self.second.value, self._rho
        value = a - b

        def ends(alpha: Floats) -> tuple[Floats, Floats]:
            (low_a, high_a), (low_b, high_b) = self._ends(alpha)
            return value - _joined(a - low_a, high_b - b, rho), value + _joined(high_a - a, b - low_b, rho)

        kind = self.first.metric.kind
        if rates == "miettinen-nurminen" and self._counts is not None:
            counts = self._counts
            score: Ends = lambda alpha: miettinen_nurminen(*counts, -special.ndtri(alpha))  # noqa: E731
            return Contrast(value, score, "Miettinen-Nurminen", self.error, self._degrees, self._why(value))
        method = "Newcombe" if kind == "wilson" else f"MOVER of {kind}"
        return Contrast(value, ends, method, self.error, self._degrees, self._why(value))

    @functools.cached_property
    def _counts(self) -> tuple[Floats, Floats, Floats, Floats] | None:
        """Hits and rows of both sides, effective ones; None unless they are proportions of independent groups."""
        if (
            self.first.metric.kind != "wilson"
            or np.isfinite(self.first.groups).any()
            or self._rho[self.error > 0].any()
        ):
            return None
        with np.errstate(all="ignore"):
            n, m = (interval.effective_rows(e, self.deff) for e in (self.first, self.second))
        held = np.isfinite(n) & np.isfinite(m) & np.isfinite(self.first.value) & np.isfinite(self.second.value)
        n, m = np.where(held, n, 0.0), np.where(held, m, 0.0)
        return np.where(held, self.first.value * n, 0.0), n, np.where(held, self.second.value * m, 0.0), m

    def ratio(self) -> Contrast:
        """Returns first over second, of metrics that are never negative; of rates of independent groups Koopman's.

        Source: Koopman (1984); Donner and Zou (2012), Closed-form confidence intervals for functions of the normal mean
        and standard deviation, whose ratio has an interval from those of its parts.
        """
        from scipy import special

        a, b, rho = self.first.value, self.second.value, self._rho
        with np.errstate(all="ignore"):
            value = np.where(b > 0, a / b, np.nan)
            of_a, of_b = self._errors
            spread = of_a**2 - 2 * value * rho * of_a * of_b + (value * of_b) ** 2
            error = np.sqrt(np.maximum(spread, 0.0)) / b

        def ends(alpha: Floats) -> tuple[Floats, Floats]:
            (low_a, high_a), (low_b, high_b) = self._ends(alpha)
            return _ratio_end(a, b, low_a, high_b, rho, -1), _ratio_end(a, b, high_a, low_b, rho, 1)

        if self._counts is not None:
            counts = self._counts
            score: Ends = lambda alpha: koopman(*counts, -special.ndtri(alpha))  # noqa: E731
            return Contrast(value, score, "Koopman", error, self._degrees, self._why(value))
        return Contrast(value, ends, "MOVER of a ratio", error, self._degrees, self._why(value))

    @property
    def _degrees(self) -> Floats:
        fewer = np.fmin(self.first.groups, self.second.groups)
        return np.where(np.isfinite(fewer), np.maximum(fewer - 1, 1), np.inf)

    def _why(self, value: Floats) -> tuple[str, ...]:
        if self.first.metric.kind in ("none", "bootstrap"):
            bare = np.ones(len(value), dtype=bool)
        else:
            (low_a, _), (low_b, _) = self._ends(np.full(len(value), 0.025))
            bare = np.isnan(low_a) | np.isnan(low_b)
        reasons = np.select([np.isnan(value), self.few, bare], ["undefined", "too few rows", "no interval"], "")
        return tuple(reasons.tolist())


def _joined(x: Floats, y: Floats, rho: Floats) -> Floats:
    return np.sqrt(np.maximum(x**2 + y**2 - 2 * rho * x * y, 0.0))


def _ratio_end(a: Floats, b: Floats, end_a: Floats, end_b: Floats, rho: Floats, side: int) -> Floats:
    """Returns one end of a / b from the end of each that makes it extreme; infinite where b may be 0."""
    middle = a * b - rho * (a - end_a) * (end_b - b)
    inside = np.maximum(middle**2 - end_a * end_b * (2 * a - end_a) * (2 * b - end_b), 0.0)
    below = end_b * (2 * b - end_b)
    found = (middle + side * np.sqrt(inside)) / np.where(below > 0, below, np.nan)
    return np.where(below > 0, np.maximum(found, 0.0), np.where(np.isnan(end_b), np.nan, np.inf if side > 0 else 0.0))
