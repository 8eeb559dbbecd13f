"""DeLong's test of two areas under the ROC curve, with one sort for each model."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from evalkit.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Counts = NDArray[np.int64]
    Flags = NDArray[np.bool_]
    Numbers = NDArray[np.generic]


class DeLong(NamedTuple):
    """DeLong's test of two areas under the ROC curve on the same rows.

    Attributes:
        aucs: the areas of baseline and candidate.
        variances: their variances; NaN with fewer than two rows of a class.
        covariance: the covariance of the two areas.
        delta: candidate minus baseline.
        se: the standard error of delta.
        z: delta over its standard error; NaN where that is 0.
        p_value: two-sided, of the normal distribution.
        p_t: two-sided, of Student's t with one degree of freedom less than rows of the rarer class.
    """

    aucs: tuple[float, float]
    variances: tuple[float, float]
    covariance: float
    delta: float
    se: float
    z: float
    p_value: float
    p_t: float


def delong(labels: ArrayLike, baseline: ArrayLike, candidate: ArrayLike) -> DeLong:
    """Returns DeLong's test that two models have the same area under the ROC curve on the same rows.

    With m positives and n negatives, a positive's placement is the share of negatives it scores above, ties half, and a
    negative's the share of positives that score above it; the covariance of two areas is that of the placements of
    positives over m plus that of negatives over n. One sort for each model. Ties are decided in the scores' own dtype.

    Source: DeLong, DeLong and Clarke-Pearson (1988); Sun and Xu (2014) for placements from ranks.

    Args:
        labels: [rows] 0 or 1.
        baseline: [rows] scores.
        candidate: [rows] scores of the other model.

    Raises:
        DataError: arrays of several shapes, labels but 0 and 1, one class only, or scores that are no numbers or NaN.

    >>> a, b = [0.9, 0.8, 0.4, 0.5, 0.3, 0.2, 0.1], [0.6, 0.7, 0.65, 0.62, 0.1, 0.3, 0.66]
    >>> test = delong([1, 1, 1, 0, 0, 0, 0], baseline=b, candidate=a)
    >>> print(f"{test.aucs[1]:.6f} against {test.aucs[0]:.6f}: z = {test.z:+.7f}, p {test.p_value:.7f}")
    0.916667 against 0.750000: z = +0.7071068, p 0.4795001
    """
    from scipy import special

    positive = _classes(labels)
    placed = [
        _placements(_scores(name, s, positive), positive)
        for name, s in (("baseline", baseline), ("candidate", candidate))
    ]
    pairs = np.array([above.size * below.size for above, below in placed], dtype=np.float64)
    old, new = (float(area) for area in np.array([above.sum() for above, _ in placed]) / (2 * pairs))
    first, second, covariance = (_placement_covariance(placed[i], placed[j]) for i, j in ((0, 0), (1, 1), (0, 1)))
    change = tuple(after - before for before, after in zip(*placed, strict=True))
    delta, se = float(change[0].sum() / (2 * pairs[0])), float(np.sqrt(_placement_covariance(change, change)))
    z = delta / se if se > 0 else float("nan")
    degrees = min(len(above) for above in placed[0]) - 1
    p_t = float(2 * special.stdtr(max(degrees, 1), -abs(z)))
    return DeLong((old, new), (first, second), covariance, delta, se, z, float(2 * special.ndtr(-abs(z))), p_t)


def _placements(score: Numbers, positive: Flags) -> tuple[Counts, Counts]:
    """Returns twice the negatives under each positive, and twice the positives over each negative; ties count once."""
    order = np.argsort(score)
    ordered, hits = score[order], positive[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    sizes = np.diff(starts, append=len(ordered))
    tied = np.add.reduceat(hits, starts, dtype=np.int64)
    upto = np.cumsum(tied)
    under = 2 * (np.cumsum(sizes) - upto) - (sizes - tied)
    over = 2 * (upto[-1] - upto) + tied
    twice = np.empty(len(score), dtype=np.int64)
    twice[order] = np.where(hits, np.repeat(under, sizes), np.repeat(over, sizes))
    return twice[positive], twice[~positive]


def _placement_covariance(first: tuple[Counts, ...], second: tuple[Counts, ...]) -> float:
    """Returns the covariance of two areas from twice their placements; exactly 0 where those do not vary."""
    sizes = [len(part) for part in first]
    if min(sizes) < 2:
        return float("nan")
    parts = []
    for size, others, a, b in zip(sizes, reversed(sizes), first, second, strict=True):
        x, y = (((c - c[0]) / (2.0 * others)) for c in (a, b))
        parts.append(float((x - x.mean()) @ (y - y.mean())) / (size - 1) / size)
    return sum(parts)


def _classes(labels: ArrayLike) -> Flags:
    found = np.asarray(labels)
    if found.ndim != 1:
        raise DataError(f"Labels are one for each row, not an array of shape {found.shape}.")
    wrong = found[(found != 0) & (found != 1)]
    if wrong.size:
        raise DataError(f"A label is {wrong[0]}; labels are 0 or 1.")
    positive = found == 1
    if positive.all() or not positive.any():
        rows = "no rows" if not found.size else f"only label {int(positive[0])}"
        raise DataError(f"An area under the ROC curve needs rows of both labels; there are {rows}.")
    return positive


def _scores(name: str, scores: ArrayLike, positive: Flags) -> Numbers:
    found = np.asarray(scores)
    if found.shape != positive.shape:
        raise DataError(f"Scores of the {name} have shape {found.shape} and labels {positive.shape}; give one a row.")
    if found.dtype.kind not in "iufb":
        raise DataError(f"Scores of the {name} are {found.dtype}; give numbers.")
    missing = int(np.isnan(found).sum()) if found.dtype.kind == "f" else 0
    if missing:
        raise DataError(f"Scores of the {name} are NaN in {missing} of {found.size} rows; drop them from both models.")
    return found
