"""Generalized entropy of benefits: how unevenly a model's decisions treat people, within groups and between them.

A row's benefit is 1 + decision - label: 0 for a false negative, 1 where the decision is right, 2 for a false positive.

>>> generalized_entropy([0, 1, 1, 2]), round(generalized_entropy([0, 1, 1, 2], alpha=1), 4)
(0.25, 0.3466)
>>> parts = decomposition([0, 1, 1, 2], ["f", "f", "m", "m"])
>>> abs(parts.within + parts.between - parts.total) < 1e-12, round(parts.between, 3)
(True, 0.125)
>>> generalized_entropy_index([1, 1, 0, 0], [0, 1, 0, 1])  # as a metric: with slices, weights, units and intervals
0.25
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from evalkit.errors import ConfigError, DataError
from evalkit.estimate import estimate
from evalkit.fairness.criteria.group_cells import GroupCells
from evalkit.fairness.families import Family
from evalkit.fairness.measure import Measure
from evalkit.fairness.statistics.homogeneity import wald
from evalkit.interval import critical, ends
from evalkit.metric import metric, ratio
from evalkit.metrics.confusion import confusion
from evalkit.results import Evaluation

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

_CLEARLY = 5  # times what chance alone makes it
_BENEFITS = np.array([1.0, 2.0, 0.0, 1.0])  # of tn, fp, fn, tp


class Decomposition(NamedTuple):
    """An index of inequality and its two parts, which add up to it.

    Attributes:
        total: of all rows.
        within: what is left when all groups have the same mean benefit: the groups' own indices, weighted.
        between: of rows that all have the mean benefit of their group.
    """

    total: float
    within: float
    between: float


def generalized_entropy(benefit: ArrayLike, weight: ArrayLike | None = None, *, alpha: float = 2.0) -> float:
    """Returns the generalized entropy index of benefits, 0 where all are equal.

    With m their mean: mean((b / m)^alpha - 1) / (alpha (alpha - 1)); for alpha 1, Theil's index, mean(b / m log(b / m))
    with 0 log 0 = 0; for alpha 0, the mean log deviation, -mean(log(b / m)).

    Args:
        benefit: [rows] benefits, none negative.
        weight: [rows] weights.
        alpha: the higher, the more weight on large benefits; 2 is half the squared coefficient of variation.

    NaN without rows or where all benefits are 0; and where any is 0, for alpha of 0 or less.

    Source: Speicher et al. (2018), A unified approach to quantifying algorithmic unfairness; Shorrocks (1980).
    """
    b, w = _rows(benefit, weight, alpha)
    return _entropy(b, w, alpha)


def decomposition(
    benefit: ArrayLike, group: ArrayLike, weight: ArrayLike | None = None, *, alpha: float = 2.0
) -> Decomposition:
    """Returns the index of all rows, within groups and between them; the parts add up.

    A group with share s of the weight and mean benefit m_g counts s (m_g / m)^alpha of its own index within.

    Args:
        benefit: [rows] benefits, none negative.
        group: [rows] their groups.
        weight: [rows] weights.
        alpha: as in `generalized_entropy`.

    Source: Speicher et al. (2018); Shorrocks (1980), The class of additively decomposable inequality measures.
    """
    b, w = _rows(benefit, weight, alpha)
    codes = np.unique(np.asarray(group), return_inverse=True)[1]
    if len(codes) != len(b):
        raise DataError(f"There are {len(b):,} benefits and {len(codes):,} groups.")
    total = np.bincount(codes, weights=w).astype(np.float64)
    held = total > 0
    mean = np.divide(np.bincount(codes, weights=w * b), total, out=np.zeros(len(total)), where=held)
    own = np.array([_entropy(b[codes == g], w[codes == g], alpha) if held[g] else 0.0 for g in range(len(total))])
    return _joined(_entropy(b, w, alpha), own[held], total[held], mean[held], alpha)


def _joined(total: float, own: Floats, weight: Floats, mean: Floats, alpha: float) -> Decomposition:
    between = _entropy(mean, weight, alpha)
    if not weight.sum() > 0 or math.isnan(total):
        return Decomposition(total, float("nan"), float("nan"))
    whole = float(np.average(mean, weights=weight))
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = weight / weight.sum() * (mean / whole) ** alpha
        within = float(np.where(factor > 0, factor * own, 0.0).sum())
    return Decomposition(total, within, between)


def _rows(benefit: ArrayLike, weight: ArrayLike | None, alpha: float) -> tuple[Floats, Floats]:
    if not math.isfinite(alpha):
        raise ConfigError(f"alpha must be a number, not {alpha!r}.")
    b = np.asarray(benefit, dtype=np.float64)
    w = np.ones(len(b)) if weight is None else np.asarray(weight, dtype=np.float64)
    if len(w) != len(b):
        raise DataError(f"There are {len(b):,} benefits and {len(w):,} weights.")
    if not (np.isfinite(b).all() and (b >= 0).all() and np.isfinite(w).all() and (w >= 0).all()):
        raise DataError("Benefits and weights must be finite, and none negative.")
    return b, w


def _entropy(b: Floats, w: Floats, alpha: float) -> float:
    whole = w.sum()
    if not whole > 0 or not (w * b).sum() > 0 or (alpha <= 0 and (b[w > 0] == 0).any()):
        return float("nan")
    share = b / ((w * b).sum() / whole)
    kept = (w > 0) & (share > 0)
    if alpha == 0:
        return float(-(w[kept] * np.log(share[kept])).sum() / whole)
    if alpha == 1:
        return float((w[kept] * share[kept] * np.log(share[kept])).sum() / whole)
    power = np.zeros(len(b))
    power[kept] = share[kept] ** alpha
    return float((w * (power - 1)).sum() / whole / (alpha * (alpha - 1)))


def _all(c: Any) -> Any:
    return c.tn + c.fp + c.fn + c.tp


@metric(confusion, range=(0, math.inf), better="lower", interval="log", support=_all)
def generalized_entropy_index(c: Any, *, alpha: float = 2.0) -> Any:
    """Generalized entropy of the benefits 1 + decision - label; Theil's index for alpha 1.

    Undefined where all rows are false negatives, and with any false negative for alpha of 0 or less.

    Source: Speicher et al. (2018).

    >>> generalized_entropy_index([1, 1, 0, 0], [0, 1, 0, 1])
    0.25
    """
    import jax.numpy as jnp

    even, twice, rows = c.tn + c.tp, c.fp, _all(c)
    mean = ratio(even + 2 * twice, rows)
    safe = jnp.where(even + 2 * twice > 0, jnp.nan_to_num(mean), 1.0)
    known = jnp.where(even + 2 * twice > 0, 0.0, jnp.nan)
    if alpha <= 0:
        known = jnp.where(c.fn > 0, jnp.nan, known)
    if alpha == 0:
        value = jnp.log(safe) - ratio(twice, rows) * math.log(2)
    elif alpha == 1:
        value = ratio(2 * math.log(2) * twice, rows) / safe - jnp.log(safe)
    else:
        value = (ratio(even + 2.0**alpha * twice, rows) / safe**alpha - 1) / (alpha * (alpha - 1))
    return jnp.where(jnp.abs(value) < 1e-15, 0.0 * value, value) + known


def generalized_entropy_measures(
    evaluation: Evaluation,
    family: Family,
    *,
    alpha: float = 2.0,
    threshold: float | None = None,
    level: float = 0.95,
) -> list[Measure]:
    """Returns the index of each group and of all of them, and its parts within and between groups.

    Rows may be weighted or clustered. The part between groups cannot be below 0, and like any sum of squares is above
    it where all groups are alike: its p-value is of equal mean benefits, and it has an interval only where it is more
    than five times what would be expected then.

    Args:
        evaluation: with a metric of decisions, such as `recall@0.5`.
        family: the groups.
        alpha: as in `generalized_entropy`.
        threshold: which decisions, where several were evaluated.
        level: the confidence level.
    """
    cells = GroupCells.of(evaluation, family.places, threshold)
    bound = generalized_entropy_index.bind(alpha=alpha, **cells.statistic.parameters)
    [own] = estimate([bound], cells.sums)
    low, high = ends(own, (1 - level) / 2)
    name = f"generalized_entropy@alpha={alpha:g}"
    at = Measure(name, family.across, float("nan"), level=family.level, confidence=level, fair=0.0)
    found = [
        replace(at, group=group, value=float(own.value[g]), low=float(low[g]), high=float(high[g]), method="log")
        for g, group in enumerate(family.groups)
    ]
    found = [replace(m, rows=int(rows)) for m, rows in zip(found, cells.rows, strict=True)]
    at = replace(at, rows=int(cells.rows.sum()))
    parts = _of_cells(cells.weight, alpha)
    slopes = _gradients(cells.weight, alpha)
    variance = np.diag(cells.covariance(slopes))
    for part, value, spread in zip(("total", "within", "between"), parts, variance, strict=True):
        here = replace(at, metric=f"{name},part={part}", value=value)
        if part == "between":
            found.append(_between(here, cells, value, spread))
            continue
        found.append(_on_log(here, value, spread, cells.degrees))
    return found


def _of_cells(weight: Floats, alpha: float) -> Decomposition:
    total = weight.sum(1)
    held = total > 0
    mean = (weight @ _BENEFITS)[held] / total[held]
    own = np.array([_entropy(_BENEFITS, row, alpha) for row in weight[held]])
    if (mean == 0).any():
        own = np.where(mean == 0, 0.0, own)
    return _joined(_entropy(_BENEFITS, weight.sum(0), alpha), own, total[held], mean, alpha)


def _gradients(weight: Floats, alpha: float) -> Floats:
    """Returns the gradients of the total, within and between by `weight` [groups, 4], [3, groups, 4].

    Each index is a function of the sums of weight W, of w b = B and of w f(b) = F, with f = b^alpha, b log b or log b.
    """
    if alpha <= 0 and weight[:, 2].sum() > 0:
        return np.zeros((3, *weight.shape))
    with np.errstate(divide="ignore", invalid="ignore"):
        f = _kernel(_BENEFITS, alpha)
    whole = _slope(weight.sum(0) @ np.stack([np.ones(4), _BENEFITS, f], 1), _BENEFITS[None, :], f[None, :], alpha)
    total = np.broadcast_to(whole, weight.shape)
    mass = weight.sum(1)
    mean = np.divide(weight @ _BENEFITS, mass, out=np.zeros(len(mass)), where=mass > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        g = _kernel(mean, alpha)
        derivative = 1 / mean if alpha == 0 else 1 + np.log(mean) if alpha == 1 else alpha * mean ** (alpha - 1)
    derivative = np.where(np.isfinite(derivative), derivative, 0.0)
    sums = np.array([mass.sum(), (mass * mean).sum(), (mass * g).sum()])
    # a row moves its group's sum of f(mean) by f(mean) and its mean by b - mean
    between = _slope(
        sums,
        np.broadcast_to(_BENEFITS, weight.shape),
        g[:, None] + derivative[:, None] * (_BENEFITS[None, :] - mean[:, None]),
        alpha,
    )
    return np.stack([total, total - between, between])


def _kernel(b: Floats, alpha: float) -> Floats:
    """Returns log b, b log b or b^alpha, 0 where that is infinite or undefined."""
    found = np.log(b) if alpha == 0 else b * np.log(b) if alpha == 1 else b**alpha
    return np.where(np.isfinite(found), found, 0.0)


def _slope(sums: Floats, b: Floats, f: Floats, alpha: float) -> Floats:
    """Returns what a row of benefit b that adds f tells of the index at sums of (1, b, f)."""
    w, of_b, of_f = sums
    if not (w > 0 and of_b > 0):
        return np.zeros(np.broadcast_shapes(b.shape, f.shape))
    if alpha == 0:  # log(B / W) - F / W
        return b / of_b - 1 / w - f / w + of_f / w**2
    if alpha == 1:  # F / B - log(B / W)
        return f / of_b - of_f * b / of_b**2 - b / of_b + 1 / w
    scale = w ** (alpha - 1) / of_b**alpha  # F W^(alpha - 1) / B^alpha
    moved = f * scale + of_f * scale * ((alpha - 1) / w - alpha * b / of_b)
    return moved / (alpha * (alpha - 1))


def _on_log(at: Measure, value: float, variance: float, degrees: float) -> Measure:
    if not (value > 0 and variance > 0):
        return replace(at, note="" if math.isnan(value) else "no interval: the rows do not vary")
    reach = float(critical(at.confidence, degrees)) * variance**0.5 / value
    return replace(at, low=value * math.exp(-reach), high=value * math.exp(reach), method="log")


def _between(at: Measure, cells: GroupCells, value: float, variance: float) -> Measure:
    """The part between groups: what chance alone makes it, a test, and an interval well above that."""
    mass = cells.weight.sum(1)
    mean = np.divide(cells.weight @ _BENEFITS, mass, out=np.full(len(mass), np.nan), where=mass > 0)
    own = np.arange(len(mass))
    slope = np.zeros((len(mass), len(mass), 4))
    slope[own, own] = np.nan_to_num((_BENEFITS[None, :] - mean[:, None]) / mass[:, None])
    joint = cells.covariance(slope)
    share = mass / mass.sum()
    whole = float(np.nansum(share * mean))
    by_chance = (
        float((share * np.diag(joint)).sum() - share @ joint @ share) / (2 * whole**2) if whole > 0 else math.nan
    )
    test = wald(np.where(np.diag(joint) > 0, mean, np.nan), joint, error_degrees=cells.degrees)
    note = f"expected by chance alone: {by_chance:.2g}"
    made = _on_log(at, value, variance, cells.degrees) if value > _CLEARLY * by_chance else at
    return replace(made, p_value=float(test.p_value), note=note, fair=0.0)
