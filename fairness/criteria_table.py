"""Every criterion of fairness that an evaluation's sums tell, for the groups of each attribute.

>>> import evalkit as ek
>>> data = {"y": [1, 0] * 100, "p": [0.9, 0.2, 0.6, 0.4, 0.3] * 40, "sex": ["f", "f", "m", "m"] * 50}
>>> result = ek.evaluate(data, label="y", score="p", metrics=["recall", "roc_auc"], slices=["sex"])
>>> measures, _ = criteria_measures(result.evaluations[0], ["sex"])
>>> [round(m.value, 2) for m in measures if m.metric in ("equalized_odds_difference", "xauc_gap")]
[0.0, 0.0]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from evalkit.errors import EvalkitError
from evalkit.fairness.criteria.average_odds import average_odds_measures
from evalkit.fairness.criteria.balance import balance_measures
from evalkit.fairness.criteria.calibration import calibration_measures
from evalkit.fairness.criteria.catalog import CRITERIA, Criterion
from evalkit.fairness.criteria.conditional_disparity import conditional_disparity_measures
from evalkit.fairness.criteria.differential import differential_fairness_measures
from evalkit.fairness.criteria.effect_size import cohens_h_measures, standardized_mean_difference_measures
from evalkit.fairness.criteria.inequality import generalized_entropy_measures
from evalkit.fairness.criteria.lift import lift_measures
from evalkit.fairness.criteria.multicalibration import multicalibration_measures
from evalkit.fairness.criteria.treatment_equality import treatment_equality_measures
from evalkit.fairness.families import Family, families
from evalkit.fairness.group_gap import Gap
from evalkit.fairness.joint import group_values
from evalkit.fairness.measure import Measure
from evalkit.fairness.pairwise import Rates
from evalkit.fairness.scores.distribution_gaps import distribution_measures
from evalkit.fairness.scores.score_gaps import score_measures
from evalkit.fairness.thresholds.tradeoff_measures import family_tradeoffs
from evalkit.metrics import find
from evalkit.results import Evaluation
from evalkit.slicing.spec import SliceKey, slice_text
from evalkit.sums import ScoreSums

_OF_DECISIONS = (treatment_equality_measures, average_odds_measures, cohens_h_measures)
_OF_SCORES = (balance_measures, standardized_mean_difference_measures)


def criteria_measures(
    evaluation: Evaluation,
    protected: Any,
    *,
    control: Any = (),
    reference: Mapping[str, str] | str = "largest",
    level: float = 0.95,
    min_rows: int = 1,
    rates: Rates = "newcombe",
    seed: int = 0,
) -> tuple[list[Measure], list[str]]:
    """Returns the criteria of every family of groups, and a sentence for each that could not be computed.

    Args:
        evaluation: with slices by the attributes, crossed with the control features.
        protected: attributes, and lists of them for crosses.
        control: features that groups are compared within.
        reference: groups by attribute; else the largest group of each family.
        level: confidence of intervals.
        min_rows: groups with a smaller support are in no gap.
        rates: the intervals of differences of rates.
        seed: of permutations and draws.
    """
    found: list[Measure] = []
    left: list[str] = []
    all_families = []
    for whole in families(evaluation, protected, control):
        family = whole.only(~whole.unknown)
        all_families.append(family)
        if len(family.groups) < 2:
            continue
        found += _gap_criteria(evaluation, family, level, min_rows, rates)
        for make in _makers(evaluation, family, whole, _reference(family, reference), level, seed):
            try:
                found += [m for m in make() if all(value is not None for _, value in m.group)]
            except EvalkitError as error:
                left.append(f"{family.across}: {error}")
    if any(family.level for family in all_families):
        for across in dict.fromkeys(family.across for family in all_families):
            strata = [family for family in all_families if family.across == across]
            try:
                found += conditional_disparity_measures(evaluation, strata, level=level)
            except EvalkitError as error:
                left.append(f"{across}: {error}")
    return found, list(dict.fromkeys(left))


def _reference(family: Family, reference: Mapping[str, str] | str) -> SliceKey | None:
    """Returns the group that is named for every attribute of a family; None for the largest."""
    if isinstance(reference, str):
        return None
    wanted = {name: str(value) for name, value in reference.items()}
    for key in family.groups:
        if all(name in wanted and wanted[name] == str(value) for name, value in key):
            return key
    return None


def _makers(
    evaluation: Evaluation, family: Family, whole: Family, reference: SliceKey | None, level: float, seed: int
) -> Iterator[Callable[[], list[Measure]]]:
    """Yields what computes each criterion that the evaluation has the sums for."""

    def of(make: Callable[..., list[Measure]], **more: Any) -> Callable[[], list[Measure]]:
        return lambda: make(evaluation, family, level=level, **more)

    decisions = _confusion(evaluation) is not None
    scores = any(isinstance(sums, ScoreSums) for sums in evaluation.sums.values())
    if decisions:
        yield from (of(make, reference=reference) for make in _OF_DECISIONS)
        yield of(differential_fairness_measures, seed=seed)
        for alpha in (1.0, 2.0):
            yield of(generalized_entropy_measures, alpha=alpha)
    if scores:
        yield from (of(make, reference=reference) for make in _OF_SCORES)
        yield lambda: lift_measures(evaluation, whole, level=level)
        yield of(score_measures, reference=reference, seed=seed)
        if _probabilities(evaluation):
            yield of(calibration_measures, reference=reference, seed=seed)
            yield of(multicalibration_measures)
        yield lambda: family_tradeoffs(evaluation, family, seed=seed, level=level)
    if scores or evaluation.settings.task == "regression":
        yield of(distribution_measures, reference=reference, seed=seed)


def _probabilities(evaluation: Evaluation) -> bool:
    return all(s.probabilities for s in evaluation.sums.values() if isinstance(s, ScoreSums))


def _confusion(evaluation: Evaluation) -> Any:
    """Returns the counts of decisions that metrics read; None where there are none."""
    return next((m.statistic for _, m in evaluation.metrics if m.statistic.name == "confusion"), None)


def _gap_criteria(evaluation: Evaluation, family: Family, level: float, min_rows: int, rates: Rates) -> list[Measure]:
    """Returns the criteria that are the largest gaps of metrics of decisions."""
    statistic = _confusion(evaluation)
    if statistic is None:
        return []
    asked = [criterion for criterion in CRITERIA.values() if criterion.combined != "own"]
    names = list(dict.fromkeys(name for criterion in asked for name in criterion.metrics))
    of_decisions = tuple((name, replace(find(name), statistic=statistic)) for name in names)
    counted = replace(evaluation, metrics=of_decisions)
    gaps = {name: Gap.of(group_values(counted, name, [family], min_rows)[0], rates) for name in names}
    return [_combined(criterion, [gaps[name] for name in criterion.metrics], level) for criterion in asked]


def _combined(criterion: Criterion, gaps: Sequence[Gap], level: float) -> Measure:
    """Returns the largest of the gaps, with bounds that hold for all of them, or the ratio of one."""
    ratio = criterion.combined == "ratio"
    alpha = 1 - level ** (1 / len(gaps))  # Sidak's
    ends = [gap.ratio_interval(alpha) if ratio else gap.interval(alpha) for gap in gaps]
    values = [gap.ratio if ratio else gap.value for gap in gaps]
    whole = all(value == value for value in values)
    nothing = float("nan")
    p = float(np.min([gap.p_value for gap in gaps])) if whole else nothing
    family, e = gaps[0].values.family, gaps[0].values.estimate
    lowest, highest = (family.groups[place] for place in gaps[0].extremes) if whole and len(gaps) == 1 else ((), ())
    left = {slice_text(g) for gap in gaps for g, held in zip(family.groups, gap.values.held, strict=True) if not held}
    notes = [f"{slice_text(lowest)} to {slice_text(highest)}"] if lowest else []
    notes += [f"too few rows: {', '.join(sorted(left))}"] if left else []
    return Measure(
        f"{criterion.name}_{'ratio' if ratio else 'difference'}",
        family.across,
        max(values) if whole else nothing,
        low=float(np.fmax.reduce([low for low, _ in ends])) if whole else nothing,
        high=float(np.max([high for _, high in ends])) if whole else nothing,
        level=family.level,
        confidence=level,
        method="all pairs at once",
        p_value=1 - (1 - p) ** len(gaps),
        rows=int(e.rows[0]),
        support=min(int(gap.values.estimate.support[gap.held].min(initial=0)) for gap in gaps),
        fair=1.0 if ratio else 0.0,
        status="ok" if whole else "too_few_rows",
        note="; ".join(notes),
    )
