"""What equality between groups would cost, as numbers for a table: on the rows thresholds are chosen on, and on others.

>>> import numpy as np
>>> import evalkit as ek
>>> rng = np.random.default_rng(0)
>>> y, sex = rng.integers(0, 2, 2000), rng.integers(0, 2, 2000)
>>> data = {"y": y, "p": rng.normal(size=2000) + y * (1 + sex), "sex": np.where(sex, "m", "f")}
>>> evaluation = ek.evaluate(data, label="y", score="p", metrics=["roc_auc"], slices=["sex"]).evaluations[0]
>>> for found in tradeoff_measures(evaluation, ["sex"], criteria=["equal_opportunity"]):
...     print(found.metric.partition("@")[0], round(found.value, 3))
equality_loss 0.007
equality_loss_held_out 0.003
equality_gap_held_out 0.059
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from evalkit.errors import DataError, UsageError
from evalkit.fairness.families import Family, families
from evalkit.fairness.group_scores import GroupScores
from evalkit.fairness.measure import Measure
from evalkit.fairness.thresholds.criterion import Criterion, rates_of
from evalkit.fairness.thresholds.equalize import Equalized, equalize
from evalkit.fairness.thresholds.held_out import held_out_check
from evalkit.fairness.thresholds.judged import Known
from evalkit.fairness.thresholds.objective import Name, Objective
from evalkit.fairness.thresholds.objective import objective as read_objective
from evalkit.money import Costs
from evalkit.results import Evaluation
from evalkit.slicing.spec import slice_text

_NAN = float("nan")


def tradeoff_measures(
    evaluation: Evaluation,
    protected: Any,
    control: Any = (),
    *,
    criteria: Sequence[Criterion] = ("demographic_parity", "equal_opportunity", "equalized_odds"),
    objective: Name | Objective = "accuracy",
    costs: Costs | None = None,
    within: float = 0.0,
    randomized: bool = True,
    seed: int = 0,
) -> list[Measure]:
    """Returns what equality of each criterion would cost in each family of groups.

    `equality_loss` is how much worse the objective gets, at best, on the rows that thresholds are chosen on, so it has
    no interval; its note holds the thresholds. `equality_loss_held_out` and `equality_gap_held_out` are what thresholds
    that half of the rows choose lose, and which gap they leave, on the other half; undefined where rows are not kept.

    Args:
        evaluation: with scores, and slices by the groups; its level is the intervals'.
        protected: the attributes.
        control: features within which groups are compared.
        criteria: what is equalized.
        objective: `accuracy`, `balanced_accuracy`, `cost` or `selection`.
        costs: what each outcome costs, for `cost`.
        within: the gap that is allowed.
        randomized: whether thresholds of a group may be mixed.
        seed: fixes the halves.

    Raises:
        ConfigError: a setting does not exist or cannot hold.
    """
    for criterion in criteria:
        rates_of(criterion)
    of = objective if isinstance(objective, Objective) else read_objective(objective, costs)
    settings = {"within": within, "randomized": randomized, "level": evaluation.settings.level}
    found = families(evaluation, protected, control)
    return [m for family in found for m in family_tradeoffs(evaluation, family, criteria, of, seed, **settings)]


def family_tradeoffs(
    evaluation: Evaluation,
    family: Family,
    criteria: Sequence[Criterion] = ("demographic_parity", "equal_opportunity", "equalized_odds"),
    of: Objective | None = None,
    seed: int = 0,
    **settings: Any,
) -> list[Measure]:
    """Returns what equality of each criterion would cost among the groups of one family; see `tradeoff_measures`."""
    scores = GroupScores.of(evaluation, family)
    aim = of or read_objective("accuracy", None)
    asked = {"within": 0.0, "randomized": True, "level": evaluation.settings.level, **settings}
    return [m for criterion in criteria for m in _of_family(evaluation, family, scores, criterion, aim, seed, asked)]


def _of_family(
    evaluation: Evaluation,
    family: Family,
    scores: GroupScores,
    criterion: Criterion,
    of: Objective,
    seed: int,
    settings: dict[str, Any],
) -> list[Measure]:
    named = f"criterion={criterion},objective={of.name}"
    rows, level = int(scores.count.sum()), settings["level"]

    def one(name: str, known: Known, method: str, note: str, **more: Any) -> Measure:
        few = math.isnan(known.low) and method != "none"
        return Measure(
            f"{name}@{named}",
            family.across,
            known.value,
            known.low,
            known.high,
            level=family.level,
            confidence=level,
            method=method if not few else "none",
            rows=rows,
            support=known.support,
            status="too_few_rows" if few else "ok",
            note=note,
            **more,
        )

    try:
        names = [slice_text(group) for group in family.groups]
        here = equalize(scores, criterion, of, names=names, **settings)
    except DataError as error:
        nothing = Known(_NAN, _NAN, _NAN, _NAN, 0)
        return [one("equality_loss", nothing, "none", str(error))]
    found = [
        one("equality_loss", here.loss._replace(low=_NAN, high=_NAN), "none", _note(here), approximate=scores.binned)
    ]
    try:
        judged = held_out_check(evaluation, family, criterion, of, seed=seed, **settings)
    except UsageError as error:
        nothing = Known(_NAN, _NAN, _NAN, _NAN, 0)
        names_of = ("equality_loss_held_out", "equality_gap_held_out")
        return [*found, *(one(name, nothing, "none", str(error)) for name in names_of)]
    halves = "Chosen on half of the rows and judged on the other half, both ways."
    return [
        *found,
        one(
            "equality_loss_held_out",
            judged.loss,
            "delta",
            f"{halves} On its own half it is {judged.in_sample_loss:.4g}.",
        ),
        one(
            "equality_gap_held_out",
            judged.gap,
            "newcombe",
            f"{halves} Without the criterion the gap is {judged.best_gap.value:.4g}.",
            fair=0.0,
            approximate=evaluation.settings.clustered,
        ),
    ]


def _note(found: Equalized) -> str:
    thresholds = f"Chosen on these rows, so it looks small. Thresholds: {found.rule.text(found.names)}."
    alike = " They decide all rows alike." if found.decides_alike else ""
    return f"{thresholds}{alike}{' ' if found.note else ''}{found.note}"
