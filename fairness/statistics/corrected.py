"""How far groups really are apart: the variance between them and their largest gap, less what noise adds.

Estimates vary between groups even where true values do not, so the variance between estimates and the highest minus the
lowest of them are too large on average, the more so the smaller groups are.

>>> values, variances = [0.60, 0.48, 0.18, 0.45], [0.0049, 0.0051, 0.0030, 0.0050]
>>> between = corrected_variance(values, variances)
>>> print(f"{between.raw:.4f}, corrected {between.value:.4f}: {between.low:.4f} to {between.high:.4f}")
0.0314, corrected 0.0269: 0.0097 to 0.0558
>>> gap = corrected_gap(values, variances)
>>> print(f"{gap.raw:.2f}, corrected {gap.value:.2f}")
0.42, corrected 0.41
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from evalkit.errors import ConfigError, DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

Method = Literal["inverted", "percentile"]
_HALVINGS = 40
_POINTS = 2001
_SIGMAS = 8.0


class Between(NamedTuple):
    """The variance between groups' true values, in the metric's unit squared; arrays are [...].

    Attributes:
        value: the corrected variance, unbiased; below 0 where groups differ by less than noise. NaN for fewer than two.
        error: its standard error.
        low: lower end of its interval, 0 or more.
        high: upper end.
        raw: the variance between the estimates, which noise makes too large.
    """

    value: Floats
    error: Floats
    low: Floats
    high: Floats
    raw: Floats


class Gap(NamedTuple):
    """The largest gap between groups; arrays are [...].

    Attributes:
        value: the gap less its bias; below 0 where noise alone makes a larger one. NaN for fewer than two groups.
        raw: highest minus lowest estimate.
        bias: what noise adds on average.
    """

    value: Floats
    raw: Floats
    bias: Floats


def corrected_variance(
    values: ArrayLike,
    variances: ArrayLike,
    *,
    level: float = 0.95,
    method: Method = "inverted",
    draws: int = 2000,
    seed: int = 0,
) -> Between:
    """Returns the variance between groups less what noise adds, with an interval from doubly corrected draws.

    value = sum (v - mean v)^2 / (K - 1) - mean s^2. A bootstrap draw v + e has the noise once more, so its variance is
    corrected twice: less 2 mean s^2. `percentile` takes quantiles of such draws, as the paper does. `inverted` takes
    the variances at which the observed one is no outlier: the observed pattern of values is scaled until a share of
    (1 - level) / 2 of its draws lies beyond. At 95%, in simulations of 3 to 50 groups, `inverted` holds the truth in 93
    to 98% and `percentile` in 95 to 100%; where groups differ the former leaves 0 out in 58% when the latter does in
    21%.

    error^2 = 2 tr (A S)^2 + 4 (v' A S A v - tr (A S)^2), the bracket at least 0, with A = (I - 1/K) / (K - 1).

    Args:
        values: [..., groups] of a metric, estimated independently; NaN is left out.
        variances: [..., groups] squared standard errors; unbiased ones, of rates p (1 - p) / (n - 1).
        level: of the interval.
        method: how the interval is found.
        draws: bootstrap draws, from normal distributions.
        seed: of the generator; the same seed gives the same answer.

    Raises:
        DataError: shapes that do not fit, or a negative variance.
        ConfigError: a level outside (0, 1), an unknown method, or fewer than two draws.

    Source: Lum, Zhang and Bower (2022), De-biasing "bias" measurement, FAccT, for both corrections and `percentile`.

    >>> corrected_variance([0.5, 0.5, 0.5], [0.01, 0.01, 0.01]).value.round(4)
    np.float64(-0.01)
    """
    if not 0 < level < 1 or draws < 2:
        raise ConfigError(f"level must lie between 0 and 1, and draws be 2 or more, not {level!r} and {draws!r}.")
    if method not in ("inverted", "percentile"):
        raise ConfigError(f'method is "inverted" or "percentile", not {method!r}.')
    v, s2, held = _groups(values, variances)
    k = np.maximum(held.sum(-1), 2)
    away, raw = _spread(v, held)
    noise = np.where(held, s2, 0.0).sum(-1) / k
    trace = ((s2**2).sum(-1) + (s2.sum(-1) ** 2 - (s2**2).sum(-1)) / (k - 1) ** 2) / k**2
    along = (s2 * away**2).sum(-1) / (k - 1) ** 2
    error = np.sqrt(2 * trace + 4 * np.maximum(along - trace, 0.0))
    drawn = np.random.default_rng(seed).normal(size=(draws, *v.shape)) * np.sqrt(s2)
    alpha = (1 - level) / 2
    if method == "percentile":
        doubly = _spread(v + drawn, held)[1] - 2 * noise
        low, high = (np.maximum(np.quantile(doubly, share, axis=0), 0.0) for share in (alpha, 1 - alpha))
    else:
        low, high = (_inverted(away, raw, _spread(drawn, held), k, share) for share in (alpha, 1 - alpha))
    several = held.sum(-1) > 1
    return Between(*(np.where(several, of, np.nan)[()] for of in (raw - noise, error, low, high, raw)))


def corrected_gap(values: ArrayLike, variances: ArrayLike) -> Gap:
    """Returns the largest gap between groups less what noise adds to it.

    The bias is that of groups like these: values shrunk towards their mean until their variance is the corrected one,
    c = mean + sqrt(t / (t + s^2)) (v - mean) with t = `corrected_variance` or 0, and E range(c + noise) - range(c), the
    expectation by numerical integration. So of groups that are alike the whole expected range is taken off, and of
    groups that are far apart hardly anything. Bounds of the gap are `rate_gap`'s; this is its size.

    Args:
        values: [..., groups] of a metric, estimated independently; NaN is left out.
        variances: [..., groups] squared standard errors.

    Raises:
        DataError: shapes that do not fit, or a negative variance.

    Source: a parametric bootstrap correction (Efron and Tibshirani 1993, chapter 10) at constrained empirical Bayes
    values (Louis 1984; Ghosh 1992). Lum, Zhang and Bower (2022) show the bias, and correct the variance only.

    >>> corrected_gap([0.2, 0.2, 0.8, 0.8], [0.0001] * 4).value.round(3)
    np.float64(0.589)
    """
    v, s2, held = _groups(values, variances)
    k = np.maximum(held.sum(-1), 2)
    away, raw = _spread(v, held)
    between = np.maximum(raw - s2.sum(-1) / k, 0.0)[..., None]
    with np.errstate(invalid="ignore"):
        share = np.where(between > 0, np.sqrt(between / (between + s2)), 0.0)
    centre = share * away
    bias = np.full(v.shape[:-1], np.nan)
    for at in np.ndindex(bias.shape):
        own = held[at]
        if own.sum() > 1:
            bias[at] = _expected_range(centre[at][own], np.sqrt(s2[at][own])) - np.ptp(centre[at][own])
    of_held = (np.where(held, v, fill) for fill in (-np.inf, np.inf))
    gap = np.where(held.sum(-1) > 1, next(of_held).max(-1) - next(of_held).min(-1), np.nan)
    return Gap((gap - bias)[()], gap[()], bias[()])


def _groups(values: ArrayLike, variances: ArrayLike) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Returns values and variances, 0 where there is no group, and where there is one."""
    v, s2 = np.asarray(values, np.float64), np.asarray(variances, np.float64)
    if v.shape != s2.shape or not v.ndim:
        raise DataError(f"Values have shape {v.shape} and variances {s2.shape}; give one of each a group.")
    if (s2 < 0).any():
        raise DataError(f"A variance is {s2[s2 < 0].flat[0]:g}; it is 0 or more.")
    held = np.isfinite(v) & np.isfinite(s2)
    return np.where(held, v, 0.0), np.where(held, s2, 0.0), held


def _spread(v: Floats, held: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Returns distances to the mean of groups, 0 where there is none, and their variance."""
    k = np.maximum(held.sum(-1), 2)
    away = np.where(held, v - (np.where(held, v, 0.0).sum(-1) / k)[..., None], 0.0)
    return away, (away**2).sum(-1) / (k - 1)


def _inverted(away: Floats, raw: Floats, noise: tuple[Floats, Floats], k: NDArray[np.int64], share: float) -> Floats:
    """Returns the variance at which a share of draws are as large as the raw one, by halving its root.

    A draw at the root t is t^2 + 2 t a + b, with a its noise along the pattern and b the noise's own variance.
    """
    pattern = away / np.sqrt(np.where(raw > 0, raw, 1.0))[..., None]
    drawn, b = noise
    a = (pattern * drawn).sum(-1) / (k - 1)
    low, high = np.zeros(raw.shape), 2 * np.abs(a).max(0) + np.sqrt(raw)
    none = (b >= raw).mean(0) >= share
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        fewer = (middle**2 + 2 * middle * a + b >= raw).mean(0) < share
        low, high = np.where(fewer, middle, low), np.where(fewer, high, middle)
    return np.where(none, 0.0, low**2)


def _expected_range(centre: Floats, error: Floats) -> float:
    """Returns E(max - min) of independent normals: the integral of 1 - prod F - prod (1 - F)."""
    from scipy import special

    if not error.any():
        return float(np.ptp(centre))
    reach = _SIGMAS * error.max()
    x = np.linspace(centre.min() - reach, centre.max() + reach, _POINTS)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (x - centre[:, None]) / error[:, None]
    z = np.where(np.isnan(z), 0.0, z)
    return float(np.trapezoid(1 - special.ndtr(z).prod(0) - special.ndtr(-z).prod(0), x))
