"""From a rule to questions: one bound on one quantity in some slices, as a contrast that can be held against it.

A kind of rule is a settings model in `rules.py` and a function here that asks its questions of a run; deciding them,
error rates over all rules and the verdict are the same for every kind.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from evalkit import interval
from evalkit.collect import GROUPS
from evalkit.contrast import Contrast, replicated
from evalkit.deltas import REPLICATES, Delta, deltas
from evalkit.errors import nearest
from evalkit.estimate import Estimate, estimate
from evalkit.gates.rules import DisparityRule, MetricRule, matches
from evalkit.gates.verdict import Side
from evalkit.metric import Metric
from evalkit.money import unit_of
from evalkit.pairing import Pair
from evalkit.resample import replicates
from evalkit.results import Evaluation
from evalkit.slicing.spec import SliceKey
from evalkit.sums import FieldSums
from evalkit.tabulate import design_effect

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Question:
    """One bound on one quantity in some slices; arrays are over all slices of the run.

    Attributes:
        metric: the metric's name.
        quantity: `value`, `delta`, `relative delta`, or what another kind measures.
        contrast: the quantity.
        bound: what it is held against, inclusive.
        side: which side of the bound it must be on.
        places: the slices that are asked about.
        rows: rows of each slice.
        support: rows that the metric reads.
        baseline: the baseline's values; NaN without one.
        candidate: the candidate's values.
        unit: of the quantity; empty for plain numbers.
        missing: what was asked about and cannot be, and why: slices that are not there, groups with too few rows.
    """

    metric: str
    quantity: str
    contrast: Contrast
    bound: float
    side: Side
    places: NDArray[np.int64]
    rows: NDArray[np.int64]
    support: Floats
    baseline: Floats
    candidate: Floats
    unit: str = ""
    missing: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Run:
    """What rules ask questions of: a candidate, and a baseline where there is one.

    Attributes:
        candidate: its evaluation, with the slices of the pair.
        pair: candidate and baseline lined up; None without a baseline.
        metrics: names of the metrics that rules are on.
    """

    candidate: Evaluation
    pair: Pair | None
    metrics: tuple[str, ...]
    _values: dict[str, tuple[Estimate, Contrast]] = field(default_factory=dict, repr=False)

    @property
    def texts(self) -> tuple[str, ...]:
        """Every slice as people read it."""
        return self.candidate.plan.texts

    @property
    def keys(self) -> tuple[SliceKey, ...]:
        """Every slice."""
        return self.candidate.plan.slices

    @functools.cached_property
    def deltas(self) -> Mapping[str, Delta]:
        """Candidate minus baseline of the rules' metrics; empty without a baseline."""
        return {} if self.pair is None else deltas(self.pair, self.metrics)

    def value(self, name: str) -> tuple[Estimate, Contrast]:
        """Returns a metric's values in every slice."""
        if name not in self._values:
            metric = dict(self.candidate.metrics)[name]
            self._values[name] = values(self.candidate, metric)
        return self._values[name]


def values(evaluation: Evaluation, metric: Metric) -> tuple[Estimate, Contrast]:
    """Returns a metric's estimate and its values as a contrast, with the interval that the results table shows."""
    sums = evaluation.sums[metric.statistic.identity]
    [e] = estimate([metric], sums)
    few = interval.too_few(e, metric.kind)
    why = tuple("undefined" if np.isnan(v) else "too few rows" if f else "" for v, f in zip(e.value, few, strict=True))
    asked = evaluation.settings.bootstrap
    if metric.kind == "bootstrap" or (asked and metric.kind != "none"):
        n, seed = (asked.n, asked.seed) if asked else (REPLICATES, 0)
        if not (isinstance(sums, FieldSums) and not sums.clustered):
            return e, replicated(e.value, replicates([metric], sums, n, seed, evaluation.plan.slices)[0]).without(why)
    deff = design_effect(e)
    low, _ = interval.ends(e, 0.025, deff)
    bare = tuple(
        w or ("no interval: the rows do not vary" if np.isnan(end) else "") for w, end in zip(why, low, strict=True)
    )
    degrees = np.where(np.isfinite(e.groups), np.minimum(e.groups, GROUPS) - 1, np.inf)
    error = np.sqrt(e.variance)
    error = np.where(error > 0, error, np.nan)
    return e, Contrast(e.value, lambda alpha: interval.ends(e, alpha, deff), metric.kind, error, degrees, bare)


def of_rule(rule: MetricRule | DisparityRule, run: Run) -> list[Question] | str:
    """Returns a rule's questions; or why there are none."""
    if isinstance(rule, DisparityRule):
        from evalkit.gates.disparity import of_disparity

        return of_disparity(rule, run)
    return of_metric(rule, run)


def of_metric(rule: MetricRule, run: Run) -> list[Question] | str:
    """Returns a rule's questions; or why there are none: its metric was not evaluated, or there is no baseline."""
    known = dict(run.candidate.metrics)
    name = meant(rule.metric, run.candidate)
    if name is None:
        return f'"{rule.metric}" was not evaluated'
    if rule.value is None and run.pair is None:
        return NO_BASELINE
    if rule.value is None and name not in run.deltas:
        return f'"{name}" was not evaluated for the baseline'
    places, missing = _places(rule, run)
    e, of_values = run.value(name)
    delta = run.deltas.get(name)
    nothing = np.full(len(run.keys), np.nan)
    asked = []
    for quantity, bound, side in rule.bounds():
        contrast, support = of_values, e.support
        if delta is not None and quantity != "value":
            support = np.minimum(delta.candidate.support, delta.baseline.support)
        if delta is not None and quantity == "delta":
            contrast = delta.contrast
        elif delta is not None and quantity == "relative delta":
            contrast = delta.relative()
        asked.append(
            Question(
                metric=name,
                quantity=quantity,
                contrast=contrast,
                bound=bound,
                side=side,
                places=places,
                rows=e.rows,
                support=support,
                baseline=nothing if delta is None else delta.baseline.value,
                candidate=e.value,
                unit=unit_of(known[name], run.candidate.settings) if quantity != "relative delta" else "",
                missing=missing,
            )
        )
    return asked


def meant(written: str, evaluation: Evaluation) -> str | None:
    """Returns the evaluated metric that a rule means; None where it was not evaluated.

    A name without parameters that was not evaluated as such means the first of its function: `expected_cost` is the one
    with the costs of the settings.
    """
    from evalkit.metrics import find

    metric = find(written)
    known = dict(evaluation.metrics)
    if metric.name in known:
        return metric.name
    if "@" in written:
        return None
    return next((name for name, m in known.items() if m.name_of_function == metric.name_of_function), None)


NO_BASELINE = "there is no baseline to compare with"


def _places(rule: MetricRule, run: Run) -> tuple[NDArray[np.int64], tuple[tuple[str, str], ...]]:
    """Returns the slices that a rule asks about, and those it names that are not there, with the reason."""
    found: dict[int, None] = {}
    missing = []
    for text in rule.wanted:
        places = _matching(text, run.keys, run.texts)
        if not places:
            near = nearest(text, run.texts)
            missing.append((text, "there is no such slice in the data" + (near and f".{near}")))
        found.update(dict.fromkeys(places))
    return np.array(sorted(found), dtype=np.int64), tuple(missing)


def _matching(text: str, keys: Sequence[SliceKey], texts: Sequence[str]) -> list[int]:
    if text == "overall":
        return [0]
    pairs = enumerate(zip(keys, texts, strict=True))
    return [i for i, (key, whole) in pairs if i and (text == "all" or matches(text, key, whole))]
