"""Candidate minus baseline for every metric and slice of a pair, each as a contrast with its own kind of test.

- Proportions of the same rows (accuracy, recall, false_positive_rate, ...), rows independent and unweighted: McNemar's
  mid-p and Tango's score interval, from the rows that changed.
- Other proportions (precision, f1) and weighted or clustered ones: Wilson intervals joined by their correlation.
- Sums of two proportions (balanced_accuracy): their differences' intervals joined.
- Costs: likewise by t, with two made-up rows for expensive errors that are too rare to have changed.
- roc_auc and all others: the variance of the difference of influences, Student's t.
- Metrics of chosen thresholds, or where the user asks for it: a bootstrap that draws both models' rows together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit import interval, resample, saved_rows
from evalkit.collect import GROUPS
from evalkit.contrast import (
    LEAST_CHANGED,
    Contrast,
    mover,
    paired_proportions,
    quantile,
    replicated,
    share,
    student,
    total,
)
from evalkit.errors import InternalError
from evalkit.estimate import Estimate, estimate, values_and_gradients
from evalkit.hashing import group_of
from evalkit.metric import Metric
from evalkit.needs import needs
from evalkit.pairing import JointCells, Pair, joint_cells, joint_variances
from evalkit.rare_costs import made_up_variance
from evalkit.recollect import layout
from evalkit.results import Evaluation
from evalkit.rows import units
from evalkit.sums import AnySums, FieldSums
from evalkit.tabulate import design_effect

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evalkit.contrast import Ends

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]

REPLICATES = 1000
NO_TEST = "no test"
_OUTPUTS = {"score", "prediction", "decision", "probability"}
_CELLS = ("tn", "fp", "fn", "tp")


@dataclass(frozen=True)
class Delta:
    """One metric of a pair in every slice.

    Attributes:
        name: the metric's name.
        metric: the candidate's metric.
        baseline: the baseline's estimate.
        candidate: the candidate's estimate.
        contrast: candidate minus baseline.
        variance: of candidate minus baseline.
        changed: rows whose decision changed; -1 where that is not known, or the metric reads no decisions.
        scaled: from factors k [slices] to the contrast candidate - k baseline.
    """

    name: str
    metric: Metric
    baseline: Estimate
    candidate: Estimate
    contrast: Contrast
    variance: Floats
    changed: Counts
    scaled: Callable[[Floats], Contrast]

    def relative(self) -> Contrast:
        """Returns candidate minus baseline as a share of |baseline|, the baseline's own variance allowed for."""
        sign = np.sign(self.baseline.value)
        return share(lambda r: self.scaled(1 + r * sign), self.contrast.value, np.abs(self.baseline.value))


def deltas(pair: Pair, names: Sequence[str] | None = None) -> dict[str, Delta]:
    """Returns the deltas of a pair's metrics by name, in their order.

    Args:
        pair: two evaluations lined up.
        names: only these metrics; None: all.
    """
    wanted = [name for name, _ in pair.candidate.metrics if names is None or name in names]
    by_statistic: dict[str, list[str]] = defaultdict(list)
    mine, theirs = dict(pair.candidate.metrics), dict(pair.baseline.metrics)
    for name in wanted:
        by_statistic[mine[name].statistic.identity].append(name)
    found: dict[str, Delta] = {}
    for identity, together in by_statistic.items():
        other_identity = theirs[together[0]].statistic.identity
        sums, others = pair.candidate.sums[identity], pair.baseline.sums[other_identity]
        candidates = estimate([mine[n] for n in together], sums)
        baselines = estimate([theirs[n] for n in together], others)
        drawn = _draws(pair, [(n, mine[n], theirs[n]) for n in together])
        joint = joint_cells(pair, mine[together[0]], theirs[together[0]])
        changes = _Changes(joint, len(pair.plan.slices))
        variances = joint_variances(pair, candidates, baselines, (sums, others), joint)
        for name, candidate, baseline, variance in zip(together, candidates, baselines, variances, strict=True):
            found[name] = _delta(name, pair, candidate, baseline, variance, (sums, others), drawn.get(name), changes)
    return {name: found[name] for name in wanted}


def _delta(
    name: str,
    pair: Pair,
    candidate: Estimate,
    baseline: Estimate,
    variance: Floats,
    sums: tuple[AnySums, AnySums],
    draws: tuple[Floats, Floats] | None,
    changes: _Changes,
) -> Delta:
    few = tuple(_few(candidate, baseline))
    nothing = np.zeros(len(candidate.value))
    untested = _untested(candidate.metric)
    if untested:
        why = tuple(untested for _ in candidate.value)
        plain = replace(student(candidate.value - baseline.value, nothing, nothing, "none"), why=why)
        return Delta(name, candidate.metric, baseline, candidate, plain, nothing, changes.all, lambda _: plain)
    if draws is not None:
        of_candidate, of_baseline = draws
        plain = replicated(candidate.value - baseline.value, of_candidate - of_baseline).without(few)
        return Delta(
            name,
            candidate.metric,
            baseline,
            candidate,
            plain,
            plain.error**2,
            changes.all,
            lambda k: replicated(candidate.value - k * baseline.value, of_candidate - k * of_baseline).without(few),
        )
    tested = variance + made_up_variance(pair, candidate, sums[0])
    plain = _plain(pair, candidate, baseline, tested, changes, sums).without(few)
    return Delta(
        name,
        candidate.metric,
        baseline,
        candidate,
        plain,
        variance,
        changes.all,
        lambda k: _scaled(pair, candidate, baseline, tested, k, changes).without(few),
    )


def _untested(metric: Metric) -> str:
    """Says why a metric's differences have no test; empty where they have one."""
    cells = common_rows(metric)
    same = not _OUTPUTS & set(metric.statistic.needs)
    if same or (cells is not None and cells[1][0] == cells[1][1] and cells[1][2] == cells[1][3]):
        return f"{NO_TEST}: it does not depend on the model"
    return f"{NO_TEST}: it has no interval" if metric.kind == "none" else ""


def _few(candidate: Estimate, baseline: Estimate) -> list[str]:
    """Says in which slices rows are too few for the metric's kind of interval."""
    kind = candidate.metric.kind
    few = interval.too_few(candidate, kind) | interval.too_few(baseline, kind)
    value = candidate.value - baseline.value
    return ["undefined" if np.isnan(v) else "too few rows" if f else "" for v, f in zip(value, few, strict=True)]


# --- kinds ---


def _plain(
    pair: Pair,
    candidate: Estimate,
    baseline: Estimate,
    variance: Floats,
    changes: _Changes,
    sums: tuple[AnySums, AnySums],
) -> Contrast:
    metric = candidate.metric
    counted = pair.how == "rows" and not pair.candidate.settings.weighted and not sums[0].clustered
    if metric.kind == "wilson" and counted:
        rows_of = common_rows(metric)
        if rows_of is not None:
            return paired_proportions(*changes.of(*rows_of))
    if metric.kind == "mover" and metric.parts is not None:
        variances = joint_variances(pair, candidate.parts, baseline.parts, sums, changes.joint)
        parts = [
            _plain(pair, one, other, of_both, changes, sums)
            for one, other, of_both in zip(candidate.parts, baseline.parts, variances, strict=True)
        ]
        if all(part.method.startswith("McNemar") for part in parts):
            return total(parts[0], parts[1], metric.parts[1])
    return _scaled(pair, candidate, baseline, variance, np.ones(len(variance)), changes)


def _scaled(
    pair: Pair, candidate: Estimate, baseline: Estimate, variance: Floats, factor: Floats, changes: _Changes
) -> Contrast:
    """Candidate minus factor times baseline, from their variances and that of their difference."""
    degrees = _degrees(candidate, baseline)
    if not np.isfinite(candidate.groups).any():
        degrees = np.fmin(degrees, changes.degrees(candidate, baseline))
    if candidate.metric.kind == "wilson":
        first, second = (_wilson_ends(e, degrees) for e in (candidate, baseline))
        return mover(first, second, (candidate.variance, baseline.variance, variance), degrees, factor)
    covariance = (candidate.variance + baseline.variance - variance) / 2
    spread = candidate.variance + factor**2 * baseline.variance - 2 * factor * covariance
    spread = np.where(variance > 0, spread, np.where(factor == 1, 0.0, spread))
    method = "DeLong, t" if candidate.metric.kind == "delong" else "influence, t"
    made = student(candidate.value - factor * baseline.value, np.sqrt(np.maximum(spread, 0)), degrees, method)
    if candidate.metric.statistic.form != "cells" or pair.how != "rows":
        return made
    few = (changes.all >= 0) & (changes.all < LEAST_CHANGED)
    return made.without(tuple(f"{c} changed decisions" if f else "" for c, f in zip(changes.all, few, strict=True)))


def _wilson_ends(e: Estimate, degrees: Floats) -> tuple[Floats, Ends]:
    """A proportion and its ends; of independent rows by the t of `degrees`."""
    from scipy import special

    deff = design_effect(e)
    if np.isfinite(e.groups).any():  # its ends use the t of groups
        return e.value, lambda alpha: interval.ends(e, alpha, deff)
    return e.value, lambda alpha: interval.ends(e, special.ndtr(-quantile(alpha, degrees)), deff)


def _degrees(candidate: Estimate, baseline: Estimate) -> Floats:
    """Degrees of freedom of each model alone: groups - 1; for what is no proportion those of the rarer class too."""
    groups = np.fmin(candidate.groups, baseline.groups)
    if candidate.metric.kind in ("wilson", "mover"):
        return np.where(np.isfinite(groups), np.maximum(groups - 1, 1), np.inf)
    rarer = np.minimum(candidate.rarer, baseline.rarer)
    return np.maximum(np.fmin(groups, rarer) - 1, 1)


# --- rows that changed ---


def common_rows(metric: Metric) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """Returns which cells a proportion is of and which of these it counts, [4] each; None where models differ in rows.

    A metric of decisions is a proportion of rows that both models share if, with one row in a single cell, it is 0 or
    1, and whether it is defined depends on the row's label alone.

    >>> from evalkit import metrics
    >>> [cells.tolist() for cells in common_rows(metrics.recall)]
    [[False, False, True, True], [False, False, False, True]]
    >>> common_rows(metrics.precision) is None
    True
    """
    if metric.statistic.form != "cells" or metric.statistic.cell_names != _CELLS:
        return None
    values = values_and_gradients([metric], np.eye(4), np.ones(4))[0][0]
    of = np.isfinite(values)
    if not of.any() or (of[0] != of[1]) or (of[2] != of[3]) or not np.isin(values[of], (0.0, 1.0)).all():
        return None
    return of, values == 1


class _Changes:
    """The rows of each slice by both models' cells; None where they are not known."""

    def __init__(self, joint: JointCells | None, size: int) -> None:
        self.joint, self._size = joint, size

    @property
    def all(self) -> Counts:
        """Rows whose cell changed, [slices]; -1 where that is not known."""
        if self.joint is None:
            return np.full(self._size, -1)
        count = self.joint.count
        return count.sum((1, 2)) - np.trace(count, axis1=1, axis2=2)

    def degrees(self, candidate: Estimate, baseline: Estimate) -> Floats:
        """Degrees of freedom from the rows that tell a metric's two values apart, [slices]; infinite if unknown."""
        if self.joint is None:
            return np.full(self._size, np.inf)
        wilson = candidate.metric.kind == "wilson"
        return self.joint.degrees(candidate.gradient, baseline.gradient, proportions=wilson)

    def of(self, cells: NDArray[np.bool_], counted: NDArray[np.bool_]) -> tuple[Counts, Counts, Counts]:
        """Returns rows in these cells, and of them those that only the baseline has counted, only the candidate."""
        if self.joint is None:
            raise InternalError("no rows are kept")
        count = self.joint.count
        rows = count[:, cells].sum((1, 2))
        lost = count[:, cells & counted][:, :, cells & ~counted].sum((1, 2))
        gained = count[:, cells & ~counted][:, :, cells & counted].sum((1, 2))
        return rows, lost, gained


# --- bootstrap ---


def _draws(pair: Pair, metrics: Sequence[tuple[str, Metric, Metric]]) -> Mapping[str, tuple[Floats, Floats]]:
    """Returns replicates of candidate and baseline [replicates, slices], drawn together where rows are paired."""
    asked = pair.candidate.settings.bootstrap
    chosen = [entry for entry in metrics if entry[1].kind == "bootstrap" or (asked and entry[1].kind != "none")]
    if not chosen:
        return {}
    n, seed = (asked.n, asked.seed) if asked else (REPLICATES, 0)
    found = []
    for evaluation, place in ((pair.candidate, 1), (pair.baseline, 2)):
        of_model: list[Any] = [entry[place] for entry in chosen]
        sums = evaluation.sums[of_model[0].statistic.identity]
        if not sums.clustered and pair.how == "rows":
            sums = _grouped(evaluation, of_model[0], pair)
        if isinstance(sums, FieldSums) and not sums.clustered:
            return {}
        alone = pair.how == "none" and place == 2
        found.append(resample.replicates(of_model, sums, n, seed + 1 if alone else seed, evaluation.plan.slices))
    return {entry[0]: (found[0][i], found[1][i]) for i, entry in enumerate(chosen)}


def _grouped(evaluation: Evaluation, metric: Metric, pair: Pair) -> AnySums:
    """Collects a statistic again with rows hashed into groups, which are then drawn for both models alike."""
    if evaluation.rows is None:
        raise InternalError("no rows are kept")
    group = group_of(units(saved_rows.ids(pair.candidate)), GROUPS)
    where = layout(pair.candidate)
    return where.sums(needs([metric]), replace(evaluation.rows.rows, group=group))[metric.statistic.identity]
