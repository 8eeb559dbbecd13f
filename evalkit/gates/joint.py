"""The joint covariance of a gate's questions, from what each row or group of units tells of each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from evalkit.estimate import Estimate
from evalkit.gates.families import Influence
from evalkit.gates.questions import Question, Run
from evalkit.pairing import RowInfluences, group_influences, members_of
from evalkit.results import Evaluation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def influence(question: Question, run: Run) -> Influence | None:
    """Returns the influence of rows, or of groups where rows are clustered, on a question's quantity in each slice.

    None where there is none: rows were not kept or not paired, or the metric is not smooth and was bootstrapped.
    """
    if question.contrast.method in ("bootstrap", "none"):
        return None
    candidate, _ = run.value(question.metric)
    if question.quantity == "value":
        return _of([(run.candidate, candidate, np.ones(len(run.keys)))], run)
    if run.pair is None or run.pair.how == "none" or question.quantity not in ("delta", "relative delta"):
        return None
    delta = run.deltas[question.metric]
    sign = np.sign(np.nan_to_num(delta.baseline.value)) * question.bound
    factor = 1 + sign if question.quantity == "relative delta" else np.ones(len(run.keys))
    return _of(
        [(run.pair.candidate, delta.candidate, np.ones(len(factor))), (run.pair.baseline, delta.baseline, -factor)], run
    )


def _of(terms: Sequence[tuple[Evaluation, Estimate, Floats]], run: Run) -> Influence | None:
    """Returns the influence on a sum of estimates, each times a factor by slice."""
    sums = [evaluation.sums[e.metric.statistic.identity] for evaluation, e, _ in terms]
    if all(s.clustered for s in sums):
        parts = [group_influences(e, s)[0] * factor[:, None] for (_, e, factor), s in zip(terms, sums, strict=True)]
        width = max(part.shape[1] for part in parts)
        whole = sum(np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts)
        slices, groups = np.nonzero(np.asarray(whole))
        return Influence(groups, slices, np.asarray(whole)[slices, groups])
    if any(evaluation.rows is None for evaluation, _, _ in terms):
        return None
    members = members_of(run.candidate) if run.pair is None or not run.pair.members else run.pair.members
    found: list[Influence] = []
    readers: list[Callable[..., Callable[[Floats], Floats]]] = [
        RowInfluences(evaluation, e.metric.statistic, s).at for (evaluation, e, _), s in zip(terms, sums, strict=True)
    ]
    for of_set in members:
        slices = np.maximum(of_set.slices, 0)
        amount = np.zeros(len(slices))
        for read, (_, e, factor) in zip(readers, terms, strict=True):
            amount += read(of_set)(e.gradient) * factor[slices]
        told = np.flatnonzero(amount)
        rows = told if of_set.rows is None else of_set.rows[told]
        found.append(Influence(rows, of_set.slices[told], amount[told]))
    return Influence(*(np.concatenate([getattr(part, name) for part in found]) for name in Influence._fields))
