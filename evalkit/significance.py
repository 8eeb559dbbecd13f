"""Paired tests: is a candidate better than a baseline on the same rows?

Of decisions, from counts of rows that one model has right and the other wrong: McNemar's test, and the difference of
two proportions with Tango's score interval and with the conditional mid-p. Of scores: `delong`. Of repeated training:
`corrected_resampled_t` and `five_by_two_cv_f`. Without variation there is no evidence: a p-value is NaN, or 1 where no
row tells the models apart.

    >>> from evalkit.significance import conditional_interval, mcnemar
    >>> interval = conditional_interval(300, lost=2, gained=9, alpha=0.025)
    >>> print(f"{interval.low:.4f} to {interval.high:.4f}, p {mcnemar(lost=2, gained=9).p_value:.4f}")
    0.0013 to 0.0343, p 0.0386
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np

from evalkit.delong import DeLong, delong
from evalkit.errors import ConfigError, DataError, nearest
from evalkit.resampled import FiveByTwoF, ResampledT, corrected_resampled_t, five_by_two_cv_f

__all__ = [
    "DeLong",
    "FiveByTwoF",
    "McNemar",
    "PairedInterval",
    "ResampledT",
    "conditional_interval",
    "conditional_mid_p",
    "corrected_resampled_t",
    "delong",
    "five_by_two_cv_f",
    "mcnemar",
    "tango_interval",
    "tango_z",
]

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]

Method = Literal["mid-p", "exact", "asymptotic", "corrected"]
Alternative = Literal["two-sided", "better", "worse"]
Side = Literal["greater", "less"]
_HALVINGS = 60


class McNemar(NamedTuple):
    """McNemar's test; numbers, or arrays of the shape of the counts.

    Attributes:
        statistic: chi-square with one degree of freedom, NaN without discordant rows; for `mid-p` and `exact` the
            smaller of the two counts.
        p_value: 1 where no row is discordant.
    """

    statistic: Floats
    p_value: Floats


class PairedInterval(NamedTuple):
    """An interval of a difference of two proportions; numbers, or arrays of the shape of the counts.

    Attributes:
        low: lower ends, in [-1, 1].
        high: upper ends, in [-1, 1].
    """

    low: Floats
    high: Floats


def mcnemar(
    lost: ArrayLike, gained: ArrayLike, method: Method = "mid-p", alternative: Alternative = "two-sided"
) -> McNemar:
    """Returns McNemar's test that two models are right equally often.

    Given the discordant rows, `gained` is binomial with a share of one half. `exact` adds up its tail, `mid-p` counts
    the observed number half, `asymptotic` is (gained - lost)^2 / (gained + lost), and `corrected` takes 1 from
    |gained - lost| first, down to 0. `exact` and `corrected` reject in less than alpha; use `mid-p`.

    Source: McNemar (1947); Edwards (1948); Fagerland, Lydersen and Laake (2013) for the mid-p.

    Args:
        lost: rows that only the baseline has right; a whole number or an array of them.
        gained: rows that only the candidate has right; of a shape that broadcasts with `lost`.
        method: how the p-value is found.
        alternative: `better` asks whether the candidate is better, `worse` whether it is worse.

    Raises:
        DataError: counts that are negative, no whole numbers or of shapes that do not fit.
        ConfigError: an unknown method or alternative.

    >>> test = mcnemar(lost=121, gained=59)
    >>> print(f"{test.p_value:.5e}")
    3.26665e-06
    >>> mcnemar([121, 0], [59, 0], method="asymptotic").statistic.round(6)
    array([21.355556,       nan])
    """
    from scipy import special

    _one_of("method", method, get_args(Method))
    _one_of("alternative", alternative, get_args(Alternative))
    lost, gained = _counts(lost=lost, gained=gained)
    total = lost + gained
    away = {"better": gained - lost, "worse": lost - gained}.get(alternative, np.abs(gained - lost))
    sides = 2 if alternative == "two-sided" else 1
    if method in ("mid-p", "exact"):
        seen = (total + away) // 2
        p = _upper(seen, total, 0.5) if method == "exact" else _upper_mid(seen, total, 0.5)
        statistic = np.minimum(lost, gained).astype(np.float64)
    else:
        correction = 1 if method == "corrected" else 0
        short = away - correction if sides == 1 else np.maximum(away - correction, 0)
        p = special.ndtr(-short / np.sqrt(np.maximum(total, 1)))
        statistic = np.maximum(np.abs(gained - lost) - correction, 0) ** 2 / np.where(total > 0, total, np.nan)
    return McNemar(statistic[()], np.where(total > 0, np.minimum(sides * p, 1.0), 1.0)[()])


def tango_z(n: ArrayLike, lost: ArrayLike, gained: ArrayLike, bound: ArrayLike) -> Floats:
    """Returns the score statistic of a difference of two paired proportions being a bound.

    The difference is candidate minus baseline, (gained - lost) / n; its variance is the one that is likeliest if the
    difference were the bound, so it is not 0 where no row is discordant. At the bound 0 it is McNemar's without
    correction. A p-value that the difference is at most the bound is `scipy.special.ndtr(-z)`, at least the bound
    `ndtr(z)`. NaN without rows; infinite at a bound of -1 or 1 that the rows rule out.

    Source: Tango (1998), Statistics in Medicine 17.

    Args:
        n: all rows.
        lost: rows that only the baseline has right.
        gained: rows that only the candidate has right.
        bound: a difference in [-1, 1]. All four broadcast.

    Raises:
        DataError: counts that are negative, no whole numbers, more than n, or of shapes that do not fit.
        ConfigError: a bound outside [-1, 1].

    >>> print(f"{tango_z(100, lost=2, gained=6, bound=0.0):.4f}, {tango_z(100, 0, 0, -0.05):.4f}")
    1.4142, 2.2942
    """
    n, lost, gained = _paired(n, lost, gained)
    return _score(n, lost, gained, _within("bound", bound, -1.0, 1.0))


def tango_interval(n: ArrayLike, lost: ArrayLike, gained: ArrayLike, z: ArrayLike) -> PairedInterval:
    """Returns the score interval of a difference of two paired proportions: the bounds with |tango_z| at most z.

    Source: Tango (1998), Statistics in Medicine 17. NaN without rows.

    Args:
        n: all rows.
        lost: rows that only the baseline has right.
        gained: rows that only the candidate has right.
        z: the critical value of each side, such as 1.96. All four broadcast.

    Raises:
        DataError: counts that are negative, no whole numbers, more than n, or of shapes that do not fit.
        ConfigError: a critical value that is negative or not finite.

    >>> interval = tango_interval(21, lost=7, gained=1, z=1.959964)
    >>> print(f"{interval.low:.4f} to {interval.high:.4f}")
    -0.5172 to -0.0260
    """
    n, lost, gained = _paired(n, lost, gained)
    critical = _within("z", z, 0.0, np.finfo(np.float64).max)
    return PairedInterval(_score_end(n, lost, gained, critical), -_score_end(n, gained, lost, critical))


def conditional_mid_p(
    n: ArrayLike, lost: ArrayLike, gained: ArrayLike, bound: ArrayLike, side: Side = "greater"
) -> Floats:
    """Returns the one-sided mid-p of a difference of two paired proportions, given the number of discordant rows.

    Of d = lost + gained discordant rows, `gained` is binomial with a share pi, and the difference is d/n (2 pi - 1).
    At the bound 0 this is McNemar's mid-p, whatever the true share of discordant rows; at other bounds d/n is taken for
    that share as if it were known, so that a bound beyond d/n has a p-value of 0 or 1: prefer `tango_z` there. Without
    discordant rows 1 at the bound 0 and NaN at any other.

    Source: Fagerland, Lydersen and Laake (2013) for the mid-p.

    Args:
        n: all rows.
        lost: rows that only the baseline has right.
        gained: rows that only the candidate has right.
        bound: a difference in [-1, 1]. All four broadcast.
        side: `greater` asks whether the difference is greater than the bound, `less` whether it is less.

    Raises:
        DataError: counts that are negative, no whole numbers, more than n, or of shapes that do not fit.
        ConfigError: a bound outside [-1, 1], or an unknown side.

    >>> print(f"{conditional_mid_p(300, lost=2, gained=9, bound=0.0):.6f}")
    0.019287
    """
    _one_of("side", side, get_args(Side))
    n, lost, gained = _paired(n, lost, gained)
    limit = _within("bound", bound, -1.0, 1.0)
    if side == "less":
        lost, gained, limit = gained, lost, -limit
    total = lost + gained
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = limit * n / total
    slack = 1 + 8 * np.finfo(np.float64).eps
    p = _upper_mid(gained, total, np.clip((1 + np.nan_to_num(ratio)) / 2, 0.0, 1.0))
    p = np.where(ratio > slack, 1.0, np.where(ratio < -slack, 0.0, p))
    return np.where(total > 0, p, np.where((limit == 0) & (n > 0), 1.0, np.nan))[()]


def conditional_interval(n: ArrayLike, lost: ArrayLike, gained: ArrayLike, alpha: ArrayLike) -> PairedInterval:
    """Returns the interval of a difference of two paired proportions: the bounds not rejected.

    Not rejected are the bounds whose `conditional_mid_p` is at least `alpha` on both sides, so .025 is a level of 95%.
    It excludes 0 exactly when McNemar's one-sided mid-p is below alpha, and covers 95% of equal models. Where most
    discordant rows favour one model it is too short, since their number counts as known (74% with 5 lost and 45 gained
    of 1,000 expected): use `tango_interval` there. Without discordant rows there is none (NaN).

    Source: Fagerland, Lydersen and Laake (2013) for the mid-p.

    Args:
        n: all rows.
        lost: rows that only the baseline has right.
        gained: rows that only the candidate has right.
        alpha: the error of each side, between 0 and .5. All four broadcast.

    Raises:
        DataError: counts that are negative, no whole numbers, more than n, or of shapes that do not fit.
        ConfigError: an alpha outside (0, .5).

    >>> interval = conditional_interval(300, lost=2, gained=9, alpha=[0.025, 0.01])
    >>> interval.low.round(4), interval.high.round(4)
    (array([ 0.0013, -0.003 ]), array([0.0343, 0.0352]))
    """
    n, lost, gained = _paired(n, lost, gained)
    error = _within("alpha", alpha, 0.0, 0.5, open_ends=True)
    return PairedInterval(_mid_end(n, lost, gained, error), -_mid_end(n, gained, lost, error))


def _upper(seen: Counts, total: Counts, share: Floats | float) -> Floats:
    """Returns the binomial probability of at least `seen`; exact to the last digits far in the tail."""
    from scipy import special

    tail = special.betainc(np.maximum(seen, 1), np.maximum(total - seen + 1, 1), share)
    return np.where(seen <= 0, 1.0, np.where(seen > total, 0.0, tail))


def _upper_mid(seen: Counts, total: Counts, share: Floats | float) -> Floats:
    return (_upper(seen, total, share) + _upper(seen + 1, total, share)) / 2


def _score(n: Counts, lost: Counts, gained: Counts, bound: Floats) -> Floats:
    """Returns Tango's statistic; of negative bounds by exchanging the models: then one root is not negative."""
    down = bound < 0
    less, more = np.where(down, gained, lost), np.where(down, lost, gained)
    size = np.abs(bound)
    product = size * (1 - size)
    with np.errstate(divide="ignore", invalid="ignore"):
        linear = (2 * n - more + less) * size - (more + less)
        root = np.sqrt(linear**2 + 8 * n * less * product)
        share = np.where(linear > 0, 2 * less * product / (linear + root), (root - linear) / (4 * n))
        away = more - less - n * size
        z = np.where((away == 0) & (n > 0), 0.0, away / np.sqrt(n * (2 * share + product)))
    return np.where(down, -z, z)[()]


def _score_end(n: Counts, lost: Counts, gained: Counts, z: Floats) -> Floats:
    """Returns the lower end of Tango's interval: the least bound that is not rejected.

    0 is tried first, so that the end's sign is the test's answer to the last digit.
    """
    value = (gained - lost) / np.where(n > 0, n, np.nan)
    positive = value > 0
    rejects = _score(n, lost, gained, np.zeros_like(value)) > z
    outside, inside = np.where(positive & rejects, 0.0, -1.0), np.where(positive & ~rejects, 0.0, value)
    for _ in range(_HALVINGS):
        middle = (outside + inside) / 2
        rejects = _score(n, lost, gained, middle) > z
        outside, inside = np.where(rejects, middle, outside), np.where(rejects, inside, middle)
    return inside[()]


def _mid_end(n: Counts, lost: Counts, gained: Counts, alpha: Floats) -> Floats:
    """Returns the lower end of the conditional interval, by halving the binomial share from 1/2 on."""
    total = lost + gained
    shape = np.broadcast_shapes(total.shape, alpha.shape)
    outside, inside = np.zeros(shape), np.ones(shape)
    for _ in range(_HALVINGS):
        middle = (outside + inside) / 2
        rejects = _upper_mid(gained, total, middle) < alpha
        outside, inside = np.where(rejects, middle, outside), np.where(rejects, inside, middle)
    return ((2 * inside - 1) * total / np.where(total > 0, n, np.nan))[()]


def _counts(**named: ArrayLike) -> list[Counts]:
    found = []
    for name, value in named.items():
        count = np.asarray(value)
        if count.dtype.kind not in "iu":
            raise DataError(f'"{name}" is {count.dtype}; give whole numbers of rows.')
        if (count < 0).any():
            raise DataError(f'"{name}" holds {count.min()}; a number of rows is 0 or more.')
        found.append(count.astype(np.int64))
    try:
        return list(np.broadcast_arrays(*found))
    except ValueError:
        shapes = ", ".join(f'"{name}" {count.shape}' for name, count in zip(named, found, strict=True))
        raise DataError(f"Counts have shapes that do not fit: {shapes}.") from None


def _paired(n: ArrayLike, lost: ArrayLike, gained: ArrayLike) -> list[Counts]:
    counts = _counts(n=n, lost=lost, gained=gained)
    rows, discordant = counts[0], counts[1] + counts[2]
    over = np.flatnonzero(discordant > rows)
    if over.size:
        most, held = discordant.flat[over[0]], rows.flat[over[0]]
        raise DataError(f'"lost" and "gained" are {most} rows together, of "n" {held}; n counts every row.')
    return counts


def _within(name: str, value: ArrayLike, low: float, high: float, open_ends: bool = False) -> Floats:
    found = np.asarray(value, dtype=np.float64)
    inside = (found > low) & (found < high) if open_ends else (found >= low) & (found <= high)
    if not inside.all():
        ends = f"between {low:g} and {high:g}" if high <= 1 else "a finite number from 0 on"
        raise ConfigError(f'"{name}" is {found[~inside].flat[0]:g}; it is {ends}.')
    return found


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f'"{name}" is "{value}"; it is one of {", ".join(choices)}.{nearest(value, choices)}')
