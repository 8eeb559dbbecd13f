"""What thresholds do on rows: objective, rates and gap, and how well these are known with the thresholds as given.

>>> import numpy as np
>>> from evalkit.fairness.thresholds.group_rows import GroupRows
>>> from evalkit.fairness.thresholds.objective import objective
>>> rows = GroupRows(np.array([0.2, 0.7, 0.7, 0.1]), np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1]), 2)
>>> judged(rows.scores(), ThresholdRule.of([0.5, 0.5]), objective("accuracy")).value
0.5
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from evalkit.fairness.group_scores import Entries, GroupScores
from evalkit.fairness.statistics.gaps import rate_gap
from evalkit.fairness.thresholds.criterion import rates_of
from evalkit.fairness.thresholds.objective import Objective
from evalkit.fairness.thresholds.threshold_rule import ThresholdRule
from evalkit.interval import critical, wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LEAST_CHANGED = 25
_LEAST_UNITS = 5


class Known(NamedTuple):
    """A number and its interval; NaN ends where rows are too few for one.

    Attributes:
        value: the number.
        low: lower end.
        high: upper end.
        variance: of its error.
        support: rows that decide how well it is known.
        degrees: of freedom of Student's t; infinite for independent rows.
    """

    value: float
    low: float
    high: float
    variance: float
    support: int
    degrees: float = math.inf


def judged(scores: GroupScores, rule: ThresholdRule, of: Objective, level: float = 0.95) -> Known:
    """Returns the objective of all rows under given thresholds.

    Shares of rows have Wilson's interval with effective rows, others Student's t; clustered rows by groups of units.
    Drawn decisions count with their probability.
    """
    value, influence = _mean(scores, rule.probability(scores.scores), of)
    variance, degrees = _variance(scores, influence), _degrees(scores)
    n = int(scores.count.sum())
    if of.is_rate:
        effective = _effective(value, variance, scores.weight, scores.square, degrees)
        low, high = wilson(np.array(value), np.array(effective), critical(level, degrees))
        return Known(value, float(low), float(high), variance, n, degrees)
    return _with_ends(value, variance, n, degrees, level)


def loss(scores: GroupScores, rule: ThresholdRule, other: ThresholdRule, of: Objective, level: float = 0.95) -> Known:
    """Returns how much worse a rule is than another on the same rows, in the objective's unit; above 0 is worse.

    Its support are the rows that the two decide differently; with fewer than 25 it has no interval.
    """
    sign = -1.0 if of.higher else 1.0
    mine, theirs = rule.probability(scores.scores), other.probability(scores.scores)
    (value, influence), (base, of_other) = _mean(scores, mine, of), _mean(scores, theirs, of)
    changed = int(scores.count.sum(1)[np.abs(mine - theirs) > 1e-12].sum())
    variance = _variance(scores, influence - of_other)
    return _with_ends(sign * (value - base), variance, changed, _degrees(scores), level)


def combined(parts: list[Known], weights: list[float], level: float, *, alike: bool = False) -> Known:
    """Returns the weighted mean of what is known of different rows.

    Args:
        parts: what is known of each.
        weights: of the parts.
        level: the confidence level.
        alike: whether their errors may go together, so that standard errors add instead of variances.
    """
    share = np.array(weights) / sum(weights)
    value = float(share @ [k.value for k in parts])
    error = share * np.sqrt([k.variance for k in parts])
    variance = float(error.sum() ** 2 if alike else error @ error)
    degrees = sum(k.degrees for k in parts)
    return _with_ends(value, variance, sum(k.support for k in parts), degrees, level)


def rates(scores: GroupScores, rule: ThresholdRule, criterion: str) -> Floats:
    """Returns the criterion's rates in each group under given thresholds, [rates, groups]; NaN without rows."""
    probability = rule.probability(scores.scores)
    return np.stack([_rate(scores, probability, name)[0] for name in rates_of(criterion)])


def gap(scores: GroupScores, rule: ThresholdRule, criterion: str, level: float = 0.95) -> Known:
    """Returns the largest difference of the criterion's rates between groups, with bounds that hold for all pairs.

    For equalized odds the larger of two gaps, each with bounds at half the error rate. Rows of a unit that are in
    several groups are taken as independent.
    """
    probability, names = rule.probability(scores.scores), rates_of(criterion)
    each = 1 - (1 - level) / len(names)
    found = []
    for name in names:
        rate, variance, weight, square = _rate(scores, probability, name)
        rows = [
            0.0 if math.isnan(r) else _effective(float(r), float(v), w, s, _degrees(part(scores, g)))
            for g, (r, v, w, s) in enumerate(zip(rate, variance, weight, square, strict=True))
        ]
        found.append(rate_gap(np.nan_to_num(rate) * rows, rows, level=each))
    value, low, high = (max(float(getattr(f, end)) for f in found) for end in ("value", "low", "high"))
    return Known(value, low, high, math.nan, int(scores.count.sum()), _degrees(scores))


def part(scores: GroupScores, group: int) -> GroupScores:
    """Returns the histogram of one group."""
    own = slice(group, group + 1)
    entries = scores.entries
    if entries is not None:
        at = entries.group == group
        entries = Entries(np.zeros(int(at.sum()), np.int64), entries.score[at], entries.unit[at], entries.weight[at])
    return GroupScores(scores.scores, scores.count[own], scores.weight[own], scores.square[own], entries, scores.binned)


def of_group(rule: ThresholdRule, group: int) -> ThresholdRule:
    """Returns the rule of one group."""
    return ThresholdRule(rule.thresholds[group : group + 1], rule.shares[group : group + 1])


def _mean(scores: GroupScores, probability: Floats, of: Objective) -> tuple[float, Floats]:
    """Returns the objective, and what a row of weight 1 moves it by, [groups, 2, scores]."""
    tp, fp, fn, tn = of.amounts()
    amounts = np.stack([probability * (fp - tn) + tn, probability * (tp - fn) + fn], axis=1)
    totals = scores.weight.sum((0, 2))
    of_labels = np.einsum("gls,gls->l", amounts, scores.weight)
    if of.by_class:
        with np.errstate(invalid="ignore", divide="ignore"):
            means = of_labels / totals
            return float(means.mean()), (amounts - means[None, :, None]) / (2 * totals[None, :, None])
    value = float(of_labels.sum() / totals.sum()) if totals.sum() else math.nan
    return value, (amounts - value) / totals.sum()


def _rate(scores: GroupScores, probability: Floats, name: str) -> tuple[Floats, Floats, Floats, Floats]:
    """Returns a rate of each group, its variance, and the weights and squares that it is a share of."""
    labels = {"selection_rate": [0, 1], "true_positive_rate": [1], "false_positive_rate": [0]}[name]
    counted = np.zeros((1, 2, 1))
    counted[0, labels] = 1.0
    totals = (scores.weight * counted).sum((1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = np.einsum("gs,gs->g", probability, (scores.weight * counted).sum(1)) / totals
        influence = counted * (probability[:, None, :] - rate[:, None, None]) / totals[:, None, None]
    variance = np.array([_variance(part(scores, g), influence[g : g + 1], labels) for g in range(scores.groups)])
    return rate, variance, scores.weight * counted, scores.square * counted


def _variance(scores: GroupScores, influence: Floats, labels: list[int] | None = None) -> float:
    """Returns the variance of what has such an influence, which sums to 0 over rows or over rows with these labels."""
    if scores.entries is not None:
        return float(scores.covariance(np.nan_to_num(influence)[None])[0, 0])
    n = int(scores.count[:, labels or [0, 1]].sum())
    return float((scores.square * influence**2).sum()) * n / max(n - 1, 1)


def _degrees(scores: GroupScores) -> float:
    if scores.entries is None:
        return math.inf
    return float(max(len(np.unique(scores.entries.unit)) - 1, 0))


def _effective(value: float, variance: float, weight: Floats, square: Floats, degrees: float) -> float:
    """Returns the effective number of rows behind a share, at most what weights allow; units where it is 0 or 1."""
    kish = float(weight.sum() ** 2 / square.sum())
    spread = value * (1 - value)
    if spread > 1e-12 and variance > 0:
        return min(spread / variance, kish)
    return kish if math.isinf(degrees) else min(kish, degrees + 1)


def _with_ends(value: float, variance: float, support: int, degrees: float, level: float) -> Known:
    enough = support >= LEAST_CHANGED and degrees >= _LEAST_UNITS - 1 and variance > 0
    reach = float(critical(level, degrees)) * math.sqrt(variance) if enough else math.nan
    return Known(value, value - reach, value + reach, variance, support, degrees)
