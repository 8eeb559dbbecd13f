"""Values of small groups, shrunk by how much of what sets them apart is noise.

`empirical_bayes` shrinks towards the mean of groups. `structured` shrinks intersections of attributes, such as sex and
race, towards what their attributes say together: it learns from large groups how much each attribute matters.

>>> sex, race = [0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2]
>>> values, variances = [0.70, 0.60, 0.90, 0.60, 0.51, 0.20], [0.001, 0.001, 0.04, 0.001, 0.001, 0.04]
>>> structured(values, variances, np.stack([sex, race], axis=1)).value.round(2).tolist()
[0.69, 0.61, 0.64, 0.6, 0.51, 0.55]
>>> empirical_bayes(values, variances).value.round(2).tolist()
[0.7, 0.6, 0.7, 0.6, 0.51, 0.46]
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from evalkit.adjust import heterogeneity, shrink
from evalkit.errors import ConfigError, DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


class Shrunk(NamedTuple):
    """Shrunk values of groups; arrays are [groups], NaN where a group has no value or no positive variance.

    Attributes:
        value: shrunk values.
        error: their standard errors, with the uncertainty of the mean and of how much is shrunk.
        fitted: what they are shrunk towards.
        spread: standard deviation of true effects, in the metric's unit, of attributes and their crosses by position:
            (0,) is the first attribute alone, (0, 1) what the first two add together; the longest is what is left of
            single groups. Crosses that cannot be told from others are absent.
    """

    value: Floats
    error: Floats
    fitted: Floats
    spread: dict[tuple[int, ...], float]


def empirical_bayes(values: ArrayLike, variances: ArrayLike) -> Shrunk:
    """Returns values shrunk towards their weighted mean.

    mean + t / (t + s^2) (v - mean), with t the variance between true values at which the weighted squares are as large
    as expected.

    Args:
        values: [groups] of a metric, estimated independently.
        variances: [groups] squared standard errors, positive. Rates of 0 and 1 need one too, and a rate's own variance
            goes with the rate: give p (1 - p) / n with p of all groups.

    Raises:
        DataError: arrays that do not fit, or a negative variance.

    Source: Paule and Mandel (1982) for t; Prasad and Rao (1990) for errors.

    >>> found = empirical_bayes([0.9, 0.5, 0.6], [0.04, 0.002, 0.002])
    >>> found.value.round(3).tolist(), found.error.round(3).tolist(), found.fitted.round(3).tolist()
    ([0.699, 0.51, 0.6], [0.181, 0.047, 0.047], [0.603, 0.603, 0.603])
    """
    v, s2, held = _groups(values, variances)
    value, fitted, error = (np.full(len(v), np.nan) for _ in range(3))
    between = heterogeneity(v, s2).between if held.sum() > 1 else 0.0
    if held.any():
        weight = 1 / (between**2 + s2[held])
        value[held] = shrink(v[held], s2[held], to_mean=True)
        fitted[held] = (weight * v[held]).sum() / weight.sum()
        error[held] = _errors(s2[held], between**2)
    return Shrunk(value, error, fitted, {(0,): between})


def _errors(s2: Floats, between: float) -> Floats:
    """Returns the errors of `_Model` where each group has its own effect alone, without matrices of all groups."""
    scale = s2.max()  # variances may be so small that their weights' squares overflow
    s2, between = s2 / scale, between / scale
    weight = 1 / (between + s2)
    total, square = weight.sum(), (weight**2).sum()

    def projected(x: Floats) -> Floats:
        return np.asarray(weight * (x - (weight @ x) / total))

    once = weight - weight**2 / total  # diagonals of P, of P P and of P P P
    twice = weight**2 - 2 * weight**3 / total + square * weight**2 / total**2
    thrice = weight * (twice - projected(projected(weight)) / total)
    information = float(twice.sum()) / 2
    added = thrice / information if len(s2) > 1 else np.zeros_like(s2)
    return np.sqrt(scale * np.maximum(s2 - s2**2 * once + 2 * s2**2 * np.maximum(added, 0.0), 0.0))


def structured(values: ArrayLike, variances: ArrayLike, attributes: ArrayLike, *, order: int = 2) -> Shrunk:
    """Returns values of intersections shrunk towards a regression on their attributes, and the rest of each shrunk too.

    v = mean + sum of effects of attributes + of their crosses up to `order` + of the group + noise. Effects of one
    attribute or cross are draws of one variance, which the data choose by restricted maximum likelihood, so that an
    attribute that does not matter is shrunk away, one that does is not, and where attributes do not add up the groups
    keep what is theirs. This is the paper's weighted regression on attributes and crosses, with a ridge for each in
    place of one lasso: its penalties and errors have closed forms.

    Args:
        values: [groups] of a metric, one for each intersection, estimated independently.
        variances: [groups] squared standard errors, positive; of rates see `empirical_bayes`.
        attributes: [groups, attributes] codes of what the groups are intersections of, of any type that sorts.
        order: how many attributes are crossed; 1 leaves crosses to the groups themselves.

    Raises:
        DataError: arrays that do not fit, or a negative variance.
        ConfigError: an order below 1.

    Source: Herlihy, Truong, Chouldechova and Dudik (2024), A structured regression approach for evaluating model
    performance across intersectional subgroups, FAccT; Patterson and Thompson (1971) for the variances; Prasad and Rao
    (1990) for errors.

    >>> sex, race = np.repeat([0, 1], 4), np.tile([0, 1, 2, 3], 2)
    >>> values = 0.5 + 0.2 * sex + np.array([0.01, -0.01, 0.02, -0.02, 0.01, 0.0, -0.01, 0.01])
    >>> found = structured(values, np.full(8, 0.001), np.stack([sex, race], axis=1))
    >>> found.value.round(2).tolist()
    [0.5, 0.5, 0.5, 0.5, 0.7, 0.7, 0.7, 0.7]
    >>> {cross: round(spread, 2) for cross, spread in found.spread.items()}
    {(0,): 0.14, (1,): 0.0, (0, 1): 0.0}
    """
    if order < 1:
        raise ConfigError(f"order is {order}; it is at least 1.")
    v, s2, held = _groups(values, variances)
    codes = np.asarray(attributes)
    if codes.ndim != 2 or len(codes) != len(v):
        raise DataError(f"Attributes have shape {codes.shape}; give [groups, attributes] for {len(v)} groups.")
    value, fitted, error = (np.full(len(v), np.nan) for _ in range(3))
    if not held.any():
        return Shrunk(value, error, fitted, {})
    kernels = _kernels(codes[held], order)
    model = _Model(v[held], s2[held], list(kernels.values()))
    between = model.likeliest()
    pulled = model.projection(between) @ model.v
    value[held] = model.v - model.s2 * pulled
    fitted[held] = value[held] - between[-1] * pulled
    error[held] = model.errors(between)
    return Shrunk(value, error, fitted, dict(zip(kernels, np.sqrt(between).tolist(), strict=True)))


def _groups(values: ArrayLike, variances: ArrayLike) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    v, s2 = np.asarray(values, np.float64), np.asarray(variances, np.float64)
    if v.shape != s2.shape or v.ndim != 1:
        raise DataError(f"Values have shape {v.shape} and variances {s2.shape}; give one of each a group.")
    if (s2 < 0).any():
        raise DataError(f"A variance is {s2[s2 < 0][0]:g}; it is 0 or more.")
    return v, s2, np.isfinite(v) & np.isfinite(s2) & (s2 > 0)


def _kernels(codes: NDArray[np.generic], order: int) -> dict[tuple[int, ...], Floats]:
    """Returns which groups share an effect, by cross of attributes; last what each group has alone."""
    size, count = codes.shape
    level = np.stack([np.unique(of, return_inverse=True)[1] for of in codes.T], axis=1)
    found: dict[tuple[int, ...], Floats] = {}
    known = [np.ones((size, size)), np.eye(size)]
    for width in range(1, min(order, count - 1) + 1):
        for cross in itertools.combinations(range(count), width):
            of = level[:, cross]
            shared = (of[:, None] == of[None]).all(-1).astype(np.float64)
            if not any(np.array_equal(shared, other) for other in known):
                found[cross] = shared
                known.append(shared)
    return {**found, tuple(range(count)): np.eye(size)}


class _Model(NamedTuple):
    """Values with known noise around one mean, and effects of unknown variances.

    Attributes:
        v: [groups] values.
        s2: [groups] variances of their noise.
        kernels: for each variance, [groups, groups] 1 where two groups share an effect.
    """

    v: Floats
    s2: Floats
    kernels: list[Floats]

    def projection(self, between: Floats) -> Floats:
        """Returns P = W - W 1 1' W / 1' W 1, with W the inverse of the values' covariance."""
        return self._solved(between)[0]

    def _solved(self, between: Floats) -> tuple[Floats, float]:
        covariance = np.diag(self.s2) + sum(t * kernel for t, kernel in zip(between, self.kernels, strict=True))
        inverse = np.linalg.inv(covariance)
        weight = inverse.sum(0)
        determinants = float(np.linalg.slogdet(covariance)[1] + np.log(weight.sum()))
        return inverse - np.outer(weight, weight) / weight.sum(), determinants

    def likeliest(self) -> Floats:
        """Returns the variances of restricted maximum likelihood, 0 or more."""
        from scipy import optimize

        scale = max(float(np.var(self.v)), float(self.s2.min()))

        def unlikely(share: Floats) -> tuple[float, Floats]:
            projection, determinants = self._solved(scale * share)
            pulled = projection @ self.v
            slopes = [(projection * kernel).sum() - pulled @ kernel @ pulled for kernel in self.kernels]
            return (determinants + float(self.v @ pulled)) / 2, scale * np.array(slopes) / 2

        start = np.full(len(self.kernels), 0.5 / len(self.kernels))
        bounds = [(0.0, None)] * len(self.kernels)
        found = optimize.minimize(unlikely, start, jac=True, method="L-BFGS-B", bounds=bounds)
        return np.asarray(scale * found.x)

    def errors(self, between: Floats) -> Floats:
        """Returns the standard errors of shrunk values: R - R P R, and twice what unknown variances add."""
        projection = self.projection(between)
        moved = [projection @ kernel @ projection for kernel in self.kernels]
        information = np.array([[(a * kernel).sum() / 2 for kernel in self.kernels] for a in moved])
        unsure = np.linalg.pinv(information, hermitian=True)
        added = np.zeros(len(self.v))
        for (i, a), (j, kernel) in itertools.product(enumerate(moved), enumerate(self.kernels)):
            added += unsure[i, j] * np.einsum("gh,hg->g", a @ kernel, projection)
        known = self.s2 - self.s2**2 * np.diagonal(projection)
        return np.sqrt(np.maximum(known + 2 * self.s2**2 * np.maximum(added, 0.0), 0.0))
