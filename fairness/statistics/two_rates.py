"""Two independent proportions: intervals of their difference and ratio, and the tests that those intervals invert.

Counts may be effective numbers of rows, and the critical value a simultaneous one. A score interval ends exactly where
its test stops rejecting: the four-fifths rule is the test of a ratio of .8.

>>> interval = koopman(30, 100, 50, 100, z=1.96)
>>> print(f"{interval.low:.3f} to {interval.high:.3f}, p {ratio_test(30, 100, 50, 100, bound=0.8).below:.4f}")
0.417 to 0.852, p 0.0543
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from evalkit.errors import ConfigError, DataError
from evalkit.interval import wilson

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Score = Callable[[Floats], Floats]

_HALVINGS = 64
_FARTHEST_LOG = 300.0
_NEWTON = 2
_SMALL = 1e-3


class Ends(NamedTuple):
    """An interval; numbers, or arrays of the shape that counts and critical value broadcast to.

    Attributes:
        low: lower ends.
        high: upper ends.
    """

    low: Floats
    high: Floats


class ScoreTest(NamedTuple):
    """The score test of a bound; numbers, or arrays of the shape that counts and bound broadcast to.

    Attributes:
        z: the statistic, positive where the estimate lies above the bound; infinite where rows rule the bound out.
        above: p-value of the quantity lying above the bound.
        below: p-value of the quantity lying below the bound.
        two_sided: p-value of the quantity being another than the bound.
    """

    z: Floats
    above: Floats
    below: Floats
    two_sided: Floats


def counted(hits: ArrayLike, rows: ArrayLike) -> tuple[Floats, Floats]:
    """Returns hits and rows of one shape as floats.

    Raises:
        DataError: counts are negative, not finite, more hits than rows, or of shapes that do not fit.
    """
    x, n = np.asarray(hits, np.float64), np.asarray(rows, np.float64)
    try:
        x, n = np.broadcast_arrays(x, n)
    except ValueError:
        raise DataError(f"Hits have shape {x.shape} and rows {n.shape}, which do not fit.") from None
    if not (np.isfinite(x).all() and np.isfinite(n).all() and (x >= 0).all() and (x <= n).all()):
        raise DataError("Each group must have at least 0 hits, and at most as many as rows.")
    return x, n


def newcombe(x1: ArrayLike, n1: ArrayLike, x2: ArrayLike, n2: ArrayLike, z: ArrayLike) -> Ends:
    """Returns Newcombe's hybrid score interval of a difference of two proportions, the first minus the second.

    With Wilson's intervals [l1, u1] and [l2, u2] at the same z, the ends are
    p1 - p2 - sqrt((p1 - l1)^2 + (u2 - p2)^2) and p1 - p2 + sqrt((u1 - p1)^2 + (p2 - l2)^2). NaN without rows.

    Source: Newcombe (1998), Statistics in Medicine 17, 873-890, method 10.

    Args:
        x1: hits among the first rows, such as those selected; need not be whole.
        n1: the first rows; or their effective number.
        x2: hits among the second rows.
        n2: the second rows.
        z: the critical value of each side, such as 1.96; NaN gives NaN. All five broadcast.

    Raises:
        DataError: counts are negative, not finite, more hits than rows, or of shapes that do not fit.
        ConfigError: a critical value that is negative or infinite.

    >>> interval = newcombe(56, 70, 48, 80, z=1.959964)
    >>> print(f"{interval.low:.4f} to {interval.high:.4f}")
    0.0524 to 0.3339
    """
    p1, n1, p2, n2, critical = _arguments(x1, n1, x2, n2, z)
    with np.errstate(divide="ignore", invalid="ignore"):
        (l1, u1), (l2, u2) = wilson(p1, n1, critical), wilson(p2, n2, critical)
    difference = p1 - p2
    below = np.hypot(np.maximum(p1 - l1, 0.0), np.maximum(u2 - p2, 0.0))
    above = np.hypot(np.maximum(u1 - p1, 0.0), np.maximum(p2 - l2, 0.0))
    return Ends(np.maximum(difference - below, -1.0)[()], np.minimum(difference + above, 1.0)[()])


def miettinen_nurminen(x1: ArrayLike, n1: ArrayLike, x2: ArrayLike, n2: ArrayLike, z: ArrayLike) -> Ends:
    """Returns the score interval of a difference of two proportions: the bounds with |difference_test(...).z| <= z.

    Never empty, and of positive width unless z is 0; NaN without rows. Arguments and errors as of `newcombe`.

    Source: Miettinen and Nurminen (1985), Statistics in Medicine 4, 213-226.

    >>> interval = miettinen_nurminen(56, 70, 48, 80, z=1.959964)
    >>> print(f"{interval.low:.4f} to {interval.high:.4f}")
    0.0528 to 0.3382
    """
    p1, n1, p2, n2, critical = _arguments(x1, n1, x2, n2, z)
    low = _last_rejected(lambda d: _difference_score(p1, n1, p2, n2, d), critical, p1 - p2, -1.0)
    high = _last_rejected(lambda d: _difference_score(p2, n2, p1, n1, d), critical, p2 - p1, -1.0)
    return Ends(low[()], -high[()])


def koopman(
    x1: ArrayLike, n1: ArrayLike, x2: ArrayLike, n2: ArrayLike, z: ArrayLike, *, corrected: bool = False
) -> Ends:
    """Returns the score interval of a ratio of two proportions, the first over the second.

    It holds the bounds with |ratio_test(...).z| <= z. Without hits among the second rows no ratio is too high, and the
    upper end is infinite; without hits among the first the lower end is 0; without any hits each ratio fits as well as
    another, and the interval is [0, inf]. NaN without rows. Other arguments and errors as of `newcombe`.

    Source: Koopman (1984), Biometrics 40, 513-517; with the factor Miettinen and Nurminen (1985).

    Args:
        x1: hits among the first rows.
        n1: the first rows.
        x2: hits among the second rows.
        n2: the second rows.
        z: the critical value of each side.
        corrected: whether variances take Miettinen and Nurminen's factor N / (N - 1), N = n1 + n2; Koopman's do not.

    >>> interval = koopman(36, 40, 16, 80, z=1.959964)
    >>> print(f"{interval.low:.3f} to {interval.high:.3f}")
    2.940 to 7.152
    >>> koopman(3, 10, [0, 5], 10, z=1.96).high.round(2)
    array([ inf, 1.74])
    """
    p1, n1, p2, n2, critical = _arguments(x1, n1, x2, n2, z)

    def low(p: Floats, n: Floats, q: Floats, m: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            estimate = np.clip(np.log(p) - np.log(q), -_FARTHEST_LOG, _FARTHEST_LOG)
        end = np.exp(
            _last_rejected(
                lambda log: _ratio_score(p, n, q, m, np.exp(log), corrected), critical, estimate, -_FARTHEST_LOG
            )
        )
        return np.where(np.isnan(p + q + critical), np.nan, np.where(p > 0, end, 0.0))

    with np.errstate(divide="ignore"):
        return Ends(low(p1, n1, p2, n2)[()], (1 / low(p2, n2, p1, n1))[()])


def difference_test(x1: ArrayLike, n1: ArrayLike, x2: ArrayLike, n2: ArrayLike, bound: ArrayLike = 0.0) -> ScoreTest:
    """Returns the score test of a difference of two proportions being a bound.

    z = (p1 - p2 - bound) / sqrt(N / (N - 1) (q1 (1 - q1) / n1 + q2 (1 - q2) / n2)), with q1 - q2 = bound the likeliest
    such proportions, and N = n1 + n2. At the bound 0, z^2 is Pearson's chi-square times (N - 1) / N. NaN without rows.

    Source: Miettinen and Nurminen (1985); Farrington and Manning (1990) for q1 in closed form.

    Args:
        x1: hits among the first rows.
        n1: the first rows.
        x2: hits among the second rows.
        n2: the second rows.
        bound: a difference in [-1, 1]. All five broadcast.

    Raises:
        DataError: counts are negative, not finite, more hits than rows, or of shapes that do not fit.
        ConfigError: a bound outside [-1, 1].

    >>> test = difference_test(56, 70, 48, 80, bound=0.1)
    >>> print(f"z = {test.z:.3f}, p {test.above:.3f}")
    z = 1.343, p 0.090
    """
    p1, n1, p2, n2, limit = _arguments(x1, n1, x2, n2, 0.0, bound)
    if (np.abs(limit) > 1).any():
        raise ConfigError(f"A bound of a difference lies between -1 and 1, not {limit[np.abs(limit) > 1].flat[0]:g}.")
    return _test(_difference_score(p1, n1, p2, n2, limit))


def ratio_test(
    x1: ArrayLike, n1: ArrayLike, x2: ArrayLike, n2: ArrayLike, bound: ArrayLike = 1.0, *, corrected: bool = False
) -> ScoreTest:
    """Returns the score test of a ratio of two proportions being a bound.

    z = (p1 - bound p2) / sqrt(q1 (1 - q1) / n1 + bound^2 q2 (1 - q2) / n2), with q1 / q2 = bound the likeliest such
    proportions. Without any hits z is 0. NaN without rows. Other arguments and errors as of `difference_test`.

    Source: Koopman (1984); Miettinen and Nurminen (1985).

    Args:
        x1: hits among the first rows.
        n1: the first rows.
        x2: hits among the second rows.
        n2: the second rows.
        bound: a positive ratio; .8 for the four-fifths rule, whose breach `below` tests.
        corrected: whether variances take the factor N / (N - 1).

    >>> test = ratio_test([40, 30], 100, 50, 100, bound=0.8)
    >>> test.below.round(3)
    array([0.5  , 0.054])
    """
    p1, n1, p2, n2, limit = _arguments(x1, n1, x2, n2, 0.0, bound)
    if not ((limit > 0) & np.isfinite(limit)).all():
        raise ConfigError("A bound of a ratio is a positive number.")
    return _test(_ratio_score(p1, n1, p2, n2, limit, corrected))


def _arguments(
    x1: ArrayLike, n1: ArrayLike, x2: ArrayLike, n2: ArrayLike, z: ArrayLike, bound: ArrayLike | None = None
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Returns rates and rows, NaN without rows, and the critical value or bound; all of one shape."""
    (first, of_first), (second, of_second) = counted(x1, n1), counted(x2, n2)
    critical = np.asarray(z if bound is None else bound, np.float64)
    if bound is None and ((critical < 0) | np.isinf(critical)).any():
        raise ConfigError("A critical value is a finite number from 0 on.")
    try:
        found = np.broadcast_arrays(first, of_first, second, of_second, critical)
    except ValueError:
        shapes = f"{first.shape}, {second.shape} and {critical.shape}"
        raise DataError(
            f"Counts of two groups and what is asked of them have shapes {shapes}, which do not fit."
        ) from None
    x, n, y, m, critical = found
    n, m = (np.where(rows > 0, rows, np.nan) for rows in (n, m))
    return x / n, n, y / m, m, critical


def _test(z: Floats) -> ScoreTest:
    from scipy import special

    above, below = special.ndtr(-z), special.ndtr(z)
    return ScoreTest(z[()], above[()], below[()], np.minimum(2 * np.minimum(above, below), 1.0)[()])


def _last_rejected(score: Score, critical: Floats, estimate: Floats, least: float) -> Floats:
    """Returns the lowest bound that is not rejected, by halving between the estimate and the least bound.

    0 is tried first, so that the end's sign is the test's answer to the last digit.
    """
    inside, outside = estimate, np.full(estimate.shape, least)
    middle = np.where(estimate > 0, 0.0, (inside + outside) / 2)
    for _ in range(_HALVINGS):
        rejects = score(middle) > critical
        outside, inside = np.where(rejects, middle, outside), np.where(rejects, inside, middle)
        middle = (outside + inside) / 2
    unbounded = score(np.full(estimate.shape, least)) <= critical
    return np.where(np.isnan(estimate + critical), np.nan, np.where(unbounded, least, inside))


def _studentized(away: Floats, variance: Floats) -> Floats:
    """Returns distances over their errors; 0 where there is no distance, and infinite where only a distance."""
    with np.errstate(divide="ignore", invalid="ignore"):
        near = np.abs(away) <= 4 * np.finfo(np.float64).eps
        return np.where(near, 0.0, away / np.sqrt(np.maximum(variance, 0.0)))


def _difference_score(p1: Floats, n1: Floats, p2: Floats, n2: Floats, bound: Floats) -> Floats:
    q1, q2 = _restricted(p1, n1, p2, n2, bound)
    variance = q1 * (1 - q1) / n1 + q2 * (1 - q2) / n2
    return _studentized(p1 - p2 - bound, variance * _factor(n1 + n2))


def _factor(rows: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return rows / np.maximum(rows - 1, 0.0)


def _restricted(p1: Floats, n1: Floats, p2: Floats, n2: Floats, bound: Floats) -> tuple[Floats, Floats]:
    """Returns the likeliest proportions with q1 - q2 = bound; frequent ones by their misses, which are small."""
    frequent = p1 + p2 > 1
    first, of_first = np.where(frequent, 1 - p2, p1), np.where(frequent, n2, n1)
    second, of_second = np.where(frequent, 1 - p1, p2), np.where(frequent, n1, n2)
    root = _middle_root(first, second, of_second / of_first, bound)
    q1 = np.clip(root, np.maximum(bound, 0.0), np.minimum(1 + bound, 1.0))
    q2 = np.clip(q1 - bound, 0.0, 1.0)
    return np.where(frequent, 1 - q2, q1), np.where(frequent, 1 - q1, q2)


def _middle_root(p1: Floats, p2: Floats, ratio: Floats, bound: Floats) -> Floats:
    """Takes the cubic's largest root, which stands apart, in closed form; then the larger root of the quadratic left.

    Its coefficients come of the cubic's last two, so that roots near 0 keep their digits; so do Newton's steps.
    """
    a = 1 + ratio
    b = -(1 + ratio + p1 + ratio * p2 + bound * (ratio + 2))
    c = bound**2 + bound * (2 * p1 + ratio + 1) + p1 + ratio * p2
    d = -p1 * bound * (1 + bound)
    cube = (b / (3 * a)) ** 3 - b * c / (6 * a**2) + d / (2 * a)
    size = np.sqrt(np.maximum((b / (3 * a)) ** 2 - c / (3 * a), 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = np.where(size > 0, np.clip(-cube / size**3, -1.0, 1.0), 0.0)
        largest = 2 * size * np.cos(np.arccos(cosine) / 3) - b / (3 * a)
        product = -d / largest
        linear = (product - c) / largest
        root = (np.sqrt(np.maximum(linear**2 - 4 * a * product, 0.0)) - linear) / (2 * a)
        for _ in range(_NEWTON):
            step = (((a * root + b) * root + c) * root + d) / ((3 * a * root + 2 * b) * root + c)
            root = np.where(np.abs(step) < _SMALL * np.abs(root), root - step, root)
    return root


def _ratio_score(p1: Floats, n1: Floats, p2: Floats, n2: Floats, bound: Floats, corrected: bool) -> Floats:
    """The likeliest second proportion is the smaller root of a quadratic, written without cancellation."""
    hits = n1 * p1 + n2 * p2
    linear = bound * (n1 + n2 * p2) + n1 * p1 + n2
    root = np.sqrt(np.maximum(linear**2 - 4 * bound * (n1 + n2) * hits, 0.0))
    q2 = np.minimum(2 * hits / (linear + root), np.minimum(1.0, 1 / bound))
    q1 = np.minimum(bound * q2, 1.0)
    variance = q1 * (1 - q1) / n1 + bound**2 * q2 * (1 - q2) / n2
    return _studentized(p1 - bound * p2, variance * (_factor(n1 + n2) if corrected else 1.0))
