"""Tests of two models trained and tested on several splits of the same rows.

Their formulas are tested, not an error rate: no test from splits of one sample is known to hold one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from evalkit.errors import ConfigError, DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

_ROUNDING = 1e-10  # differences of metrics that agree to here do not vary


class ResampledT(NamedTuple):
    """The corrected resampled t-test.

    Attributes:
        delta: the mean difference.
        se: its corrected standard error.
        t: delta over its standard error; NaN where the differences do not vary.
        degrees: degrees of freedom.
        p_value: two-sided.
    """

    delta: float
    se: float
    t: float
    degrees: int
    p_value: float


class FiveByTwoF(NamedTuple):
    """The combined F-test of five repeats of twofold cross-validation.

    Attributes:
        delta: the mean difference.
        f: the statistic, with 10 and 5 degrees of freedom; NaN where no repeat's two differences differ.
        p_value: that a statistic is at least as large.
    """

    delta: float
    f: float
    p_value: float


def corrected_resampled_t(differences: ArrayLike, train_rows: int, test_rows: int) -> ResampledT:
    """Returns the t-test of differences from repeated training and testing, corrected for overlapping training sets.

    With J differences of mean d and variance s^2: t = d / sqrt((1/J + test_rows / train_rows) s^2), with J - 1 degrees
    of freedom. The correction is a heuristic; no error rate is promised.

    Source: Nadeau and Bengio (2003); Bouckaert and Frank (2004) for repeated cross-validation.

    Args:
        differences: candidate minus baseline, [repeats, folds] or flat.
        train_rows: rows that each model was trained on.
        test_rows: rows that each was tested on.

    Raises:
        DataError: fewer than two differences, or one that is not finite.
        ConfigError: numbers of rows that are not positive.

    >>> test = corrected_resampled_t([0.02, 0.01, 0.03, 0.02, 0.04], train_rows=80, test_rows=20)
    >>> print(f"t = {test.t:.4f} with {test.degrees} degrees of freedom, p {test.p_value:.4f}")
    t = 3.1379 with 4 degrees of freedom, p 0.0349
    """
    from scipy import special

    values = _differences(differences).ravel()
    if values.size < 2:
        raise DataError(f"A t-test needs at least two differences, not {values.size}.")
    for name, rows in (("train_rows", train_rows), ("test_rows", test_rows)):
        if not rows > 0:
            raise ConfigError(f'"{name}" is {rows}; give the positive number of rows of one split.')
    spread = float(np.std(values, ddof=1))
    delta, degrees = float(values.mean()), values.size - 1
    se = float(np.sqrt(1 / values.size + test_rows / train_rows)) * spread
    t = delta / se if _varies(spread, values) else float("nan")
    return ResampledT(delta, se, t, degrees, float(2 * special.stdtr(degrees, -abs(t))))


def five_by_two_cv_f(differences: ArrayLike) -> FiveByTwoF:
    """Returns the combined F-test of differences from five repeats of twofold cross-validation.

    With p_ij the difference of repeat i and fold j, and s_i^2 = (p_i1 - p_i2)^2 / 2:
    F = sum p_ij^2 / (2 sum s_i^2), with 10 and 5 degrees of freedom.

    Source: Alpaydin (1999), Neural Computation 11.

    Args:
        differences: [5, 2] candidate minus baseline.

    Raises:
        DataError: another shape, or a difference that is not finite.

    >>> test = five_by_two_cv_f([[0.02, 0.03], [0.01, 0.04], [0.03, 0.03], [0.02, 0.01], [0.05, 0.02]])
    >>> print(f"F = {test.f:.4f}, p {test.p_value:.4f}")
    F = 4.1000, p 0.0664
    """
    from scipy import special

    values = _differences(differences)
    if values.shape != (5, 2):
        raise DataError(f"Differences of five repeats of two folds are an array of shape (5, 2), not {values.shape}.")
    spread = float(np.hypot.reduce(values[:, 0] - values[:, 1]))
    f = float((values**2).sum()) / spread**2 if _varies(spread, values) else float("nan")
    return FiveByTwoF(float(values.mean()), f, float(special.fdtrc(10, 5, f)))


def _differences(differences: ArrayLike) -> Floats:
    found = np.asarray(differences, dtype=np.float64)
    if not np.isfinite(found).all():
        raise DataError(
            "A difference is not finite; leave out splits on which the metric is undefined for either model."
        )
    return found


def _varies(spread: float, values: Floats) -> bool:
    return spread > _ROUNDING * float(np.abs(values).max())
