"""Multicalibration and predictive sufficiency: is the mean label the mean score in every group and bin of the score.

>>> import numpy as np, evalkit as ek
>>> from evalkit.fairness.families import families
>>> rng = np.random.default_rng(0)
>>> p, sex = rng.uniform(size=2000), rng.choice(["f", "m"], 2000)
>>> y = (rng.uniform(size=2000) < np.where(sex == "f", p**2, p)).astype(int)
>>> evaluation = ek.evaluate({"y": y, "p": p, "sex": sex}, label="y", score="p", slices=["sex"]).evaluations[0]
>>> found = multicalibration_measures(evaluation, families(evaluation, ["sex"])[0], bins=5)
>>> [(m.metric, round(m.value, 2), round(m.low, 2), m.p_value < 1e-6) for m in found]
[('multicalibration_error@bins=5', 0.32, 0.24, True), ('predictive_sufficiency@bins=5', 0.29, 0.18, True)]
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from evalkit.contrast import quantile, tail
from evalkit.errors import ConfigError, DataError
from evalkit.fairness.criteria.group_means import degrees_of, sampling_covariance
from evalkit.fairness.families import Family
from evalkit.fairness.group_scores import GroupScores
from evalkit.fairness.measure import Measure
from evalkit.fairness.statistics.simultaneous import Largest
from evalkit.results import Evaluation
from evalkit.slicing.spec import slice_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_LEAST_VARIANCE = 5.0
_MOST_CELLS = 1 << 25


@dataclass(frozen=True)
class BinnedGaps:
    """Mean label - mean score of groups in bins of the score; arrays are [groups, bins].

    Attributes:
        edges: [bins, 2] lowest and highest score of each bin.
        value: the gaps; NaN where a cell holds too few rows.
        error: their standard errors.
        null_error: standard errors were the scores the true probabilities.
        rows: rows of each cell.
        covariance: [cells, cells] of the gaps that are defined, in order.
        degrees: degrees of freedom: groups of units less 1; infinite where rows are independent.
        kept: which cells are defined.
    """

    edges: Floats
    value: Floats
    error: Floats
    null_error: Floats
    rows: NDArray[np.int64]
    covariance: Floats
    degrees: float
    kept: NDArray[np.bool_]


def binned_gaps(scores: GroupScores, *, bins: int = 10) -> BinnedGaps:
    """Returns mean label - mean score in each group and bin.

    Bins hold about equally much weight of all groups together; rows of one score are in one bin. A cell is left out
    where the sum of s (1 - s) over its rows is under 5: there a gap's law is far from normal.

    Args:
        scores: the groups; scores are probabilities.
        bins: how many.

    Raises:
        ConfigError: the number of bins is no whole number above 0.
        DataError: scores lie outside [0, 1].

    Source: Hebert-Johnson, Kim, Reingold and Rothblum (2018), Multicalibration.
    """
    if bins < 1:
        raise ConfigError(f"bins must be a whole number above 0, not {bins!r}.")
    s = scores.scores
    if len(s) and not (s.min() >= 0 and s.max() <= 1):
        raise DataError(f"Calibration is of scores in [0, 1]; these go from {s.min():g} to {s.max():g}.")
    pooled = scores.weight.sum((0, 1))
    middle = np.cumsum(pooled) - pooled / 2
    code = np.minimum((middle / max(float(pooled.sum()), 1e-300) * bins).astype(np.int64), bins - 1)
    present, code = np.unique(code, return_inverse=True)
    one_hot = (code[:, None] == np.arange(len(present))).astype(np.float64)
    residual = np.stack([-s, 1 - s])
    weight = np.einsum("gls,sb->gb", scores.weight, one_hot)
    rows = np.einsum("gls,sb->gb", scores.count, one_hot).astype(np.int64)
    spread = np.einsum("gls,s,sb->gb", scores.count, s * (1 - s), one_hot)
    kept = spread >= _LEAST_VARIANCE
    total = np.einsum("gls,ls,sb->gb", scores.weight, residual, one_hot)
    value = np.divide(total, weight, out=np.full(weight.shape, np.nan), where=kept)
    null = np.einsum("gls,s,sb->gb", scores.square, s * (1 - s), one_hot)
    null_error = np.divide(np.sqrt(null), weight, out=np.full(weight.shape, np.nan), where=kept)
    cells = np.argwhere(kept)
    covariance = _covariance(scores, cells, value, weight, code, residual)
    error = np.full(weight.shape, np.nan)
    error[kept] = np.sqrt(np.maximum(np.diag(covariance), _least(scores, one_hot, rows, weight)[kept]))
    edges = np.array([[s[code == b].min(), s[code == b].max()] for b in range(len(present))]).reshape(-1, 2)
    return BinnedGaps(edges, value, error, null_error, rows, covariance, degrees_of(scores), kept)


def _least(scores: GroupScores, one_hot: Floats, rows: NDArray[np.int64], weight: Floats) -> Floats:
    """Returns variances of mean labels with two more of either label, so that equal labels are not certain."""
    positives = np.einsum("gs,sb->gb", scores.count[:, 1], one_hot)
    rate = (positives + 2) / (rows + 4)
    square = np.einsum("gls,sb->gb", scores.square, one_hot)
    return rate * (1 - rate) * np.divide(square, weight**2, out=np.zeros(weight.shape), where=weight > 0)


def _covariance(
    scores: GroupScores,
    cells: NDArray[np.int64],
    value: Floats,
    weight: Floats,
    code: NDArray[np.int64],
    residual: Floats,
) -> Floats:
    """Returns the covariance of gaps; of independent rows cells are independent."""
    slopes = [
        np.where(code == b, (residual - value[g, b]) / weight[g, b], 0.0)  # [2, scores]
        for g, b in cells
    ]
    if scores.entries is None or not slopes:
        variances = [(scores.square[g] * slope**2).sum() for (g, _), slope in zip(cells, slopes, strict=True)]
        return np.diag(np.array(variances, dtype=np.float64))
    if len(cells) * scores.weight.size > _MOST_CELLS:
        raise DataError(
            f"{len(cells):,} cells of {scores.weight.size:,} scores of clustered rows are too many: ask for fewer bins."
        )
    influence = np.zeros((len(cells), *scores.weight.shape))
    for i, ((g, _), slope) in enumerate(zip(cells, slopes, strict=True)):
        influence[i, g] = slope
    return sampling_covariance(scores, influence)


def multicalibration_measures(
    evaluation: Evaluation, family: Family, *, bins: int = 10, level: float = 0.95
) -> list[Measure]:
    """Returns the largest calibration gap of any group and bin, and the largest difference of two groups in one bin.

    Both have bounds and p-values that hold for all cells, or all pairs, at once. `multicalibration_error` is
    tested with the variance that right scores would have, or with that seen where rows are weighted or clustered;
    `predictive_sufficiency`, that labels are independent of the group given the score, compares what groups' labels
    exceed their scores by, so that scores that lie differently within a bin do no harm.

    Args:
        evaluation: with a metric of scores, such as `roc_auc`; scores are probabilities.
        family: the groups.
        bins: how many bins of the score, of about equal weight.
        level: the confidence level.

    Source: Hebert-Johnson et al. (2018); Barocas, Hardt and Narayanan (2023), sufficiency.
    """
    scores = GroupScores.of(evaluation, family)
    of = binned_gaps(scores, bins=bins)
    at = Measure(f"multicalibration_error@bins={bins}", family.across, float("nan"), level=family.level, fair=0.0)
    at = replace(at, confidence=level, rows=int(of.rows.sum()), approximate=scores.binned)
    left_out = int((~of.kept & (of.rows > 0)).sum())
    notes = [f"{left_out} cells with too few rows are left out"] if left_out else []
    notes += ["scores binned"] if scores.binned else []
    as_seen = evaluation.settings.weighted or evaluation.settings.clustered
    tested = of.error if as_seen else of.null_error
    return [_largest(at, of, tested, family, notes), _sufficiency(at, of, family, bins, notes)]


def _largest(at: Measure, of: BinnedGaps, tested: Floats, family: Family, notes: list[str]) -> Measure:
    questions = int(of.kept.sum())
    if not questions:
        return replace(at, note="; ".join(notes) or "no rows")
    law = Largest.of(of.covariance, np.eye(questions))
    z = float(quantile(law.each(1 - at.confidence), np.array(of.degrees)))
    p_value = law.adjusted(2 * tail(np.abs(of.value / tested)[of.kept], np.array(of.degrees))).min()
    size = np.where(of.kept, np.abs(of.value), -np.inf)
    g, b = np.unravel_index(int(size.argmax()), size.shape)
    where = f"{slice_text(family.groups[g])}, scores {_text(of.edges[b])}"
    return replace(
        at,
        value=float(size[g, b]),
        low=max(0.0, float(np.nanmax(size - z * of.error))),
        high=min(1.0, float(np.nanmax(size + z * of.error))),
        support=int(of.rows[g, b]),
        method="all cells at once",
        p_value=float(p_value),
        note="; ".join([f"largest in {where}", *notes]),
    )


def _sufficiency(at: Measure, of: BinnedGaps, family: Family, bins: int, notes: list[str]) -> Measure:
    at = replace(at, metric=f"predictive_sufficiency@bins={bins}")
    cells = np.argwhere(of.kept)
    first, second = np.triu_indices(len(cells), 1)
    together = cells[first, 1] == cells[second, 1]
    first, second = first[together], second[together]
    if not len(first):
        return replace(at, note="; ".join(["no bin holds two groups", *notes]))
    value = np.abs(of.value[of.kept][first] - of.value[of.kept][second])
    scale = np.divide(
        of.error[of.kept], np.sqrt(np.diag(of.covariance)), out=np.ones(len(cells)), where=np.diag(of.covariance) > 0
    )
    joint = of.covariance * np.outer(scale, scale)
    own = np.eye(len(cells))
    contrasts = own[first] - own[second]
    error = np.sqrt(np.maximum(np.einsum("pc,cd,pd->p", contrasts, joint, contrasts, optimize=True), 0.0))
    law = Largest.of(joint, contrasts)
    z = float(quantile(law.each(1 - at.confidence), np.array(of.degrees)))
    most = int(value.argmax())
    groups = [slice_text(family.groups[cells[side[most], 0]]) for side in (first, second)]
    ratios = np.divide(value, error, out=np.zeros(len(value)), where=error > 0)
    return replace(
        at,
        value=float(value[most]),
        low=max(0.0, float((value - z * error).max())),
        high=min(2.0, float((value + z * error).max())),
        support=int(min(of.rows[of.kept][first[most]], of.rows[of.kept][second[most]])),
        method="all pairs at once",
        p_value=float(law.adjusted(2 * tail(ratios, np.array(of.degrees))).min()),
        note="; ".join([f"largest of {' and '.join(groups)}, scores {_text(of.edges[cells[first[most], 1]])}", *notes]),
    )


def _text(edges: Floats) -> str:
    return f"{edges[0]:.3g} to {edges[1]:.3g}"
