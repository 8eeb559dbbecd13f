"""Differential fairness: how many times as likely any decision is in one group as in another, on the log scale.

>>> round(differential_fairness([[70, 30], [40, 60]], concentration=0.0), 4)  # log(60 / 30)
0.6931
>>> found = epsilon([[70, 30], [40, 60]])
>>> round(found.value, 3), 0.3 < found.low < found.value < found.high < 1.2
(0.685, True)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from evalkit.errors import ConfigError, DataError
from evalkit.fairness.criteria.group_cells import FN, FP, TP, GroupCells
from evalkit.fairness.families import Family
from evalkit.fairness.measure import Measure
from evalkit.results import Evaluation

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

DRAWS = 4000
_MOST_CELLS = 1 << 25


@dataclass(frozen=True)
class Epsilon:
    """Differential fairness with a credible interval.

    Attributes:
        value: epsilon of the smoothed shares; NaN with fewer than two groups.
        low: lower end: the largest that any pair of groups is shown to differ by; 0 where none is.
        high: upper end: the largest that any pair may differ by.
    """

    value: float
    low: float
    high: float


def differential_fairness(counts: ArrayLike, *, concentration: float = 1.0) -> float:
    """Returns the smallest epsilon with e^-epsilon <= P(outcome | group) / P(outcome | other group) <= e^epsilon.

    Shares are smoothed, (count + a) / (rows + outcomes a) with a = concentration / outcomes: the posterior means under
    a symmetric Dirichlet prior.

    Args:
        counts: [groups, outcomes] rows, or their summed weights; of decisions the outcomes are no and yes.
        concentration: outcomes times a; 0 does not smooth, and epsilon is infinite where an outcome never happens in
            one group and does in another.

    Groups without rows are left out; NaN with fewer than two.

    Source: Foulds, Islam, Keya and Pan (2020), An intersectional definition of fairness; their concentration is 1.
    """
    held = _checked(counts, concentration)
    if len(held) < 2:
        return float("nan")
    smooth = held + concentration / held.shape[1]
    with np.errstate(divide="ignore"):
        log = np.log(smooth / smooth.sum(1, keepdims=True))
    alive = np.isfinite(log).any(0)
    return float((log[:, alive].max(0) - log[:, alive].min(0)).max())


def epsilon(
    counts: ArrayLike, *, concentration: float = 1.0, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> Epsilon:
    """Returns differential fairness with a credible interval.

    Shares are drawn from their Dirichlet posterior. Epsilon is a largest difference, and its own posterior percentiles
    leave out the truth where groups are alike: in every draw some pair differs. So the draws give a band that holds,
    with the probability `level`, the log ratio of every pair of groups and outcome at once, and the ends are what is in
    it.

    Args:
        counts: [groups, outcomes] effective numbers of rows.
        concentration: as in `differential_fairness`, and of the prior; must be positive.
        level: the probability that all log ratios lie in the band.
        draws: how many.
        seed: fixes them.

    Source: Foulds et al. (2020); Besag, Green, Higdon and Mengersen (1995) for the band by ranks.
    """
    held = _checked(counts, concentration)
    if not concentration > 0:
        raise ConfigError("A posterior needs a concentration above 0.")
    if len(held) < 2:
        return Epsilon(float("nan"), float("nan"), float("nan"))
    first, second = np.triu_indices(len(held), 1)
    if len(first) * held.shape[1] * draws > _MOST_CELLS:
        draws = max(_MOST_CELLS // (len(first) * held.shape[1]), 200)
    rng = np.random.default_rng(seed)
    drawn = rng.standard_gamma(held + concentration / held.shape[1], size=(draws, *held.shape))
    log = np.log(np.maximum(drawn, 1e-300))
    log -= np.log(drawn.sum(-1, keepdims=True))
    ratios = (log[:, first] - log[:, second]).reshape(draws, -1)
    low, high = _band(ratios, level)
    value = differential_fairness(held, concentration=concentration)
    ends = max(0.0, float(low.max()), float(-high.min())), max(float(high.max()), float(-low.min()))
    return Epsilon(value, min(ends[0], value), max(ends[1], value))


def _band(draws: Floats, level: float) -> tuple[Floats, Floats]:
    """Returns ends [columns] such that a share `level` of the draws [draws, columns] lies inside in every column.

    One rank wider than in these draws, which were fitted.
    """
    ordered = np.sort(draws, axis=0)
    ranks = np.argsort(np.argsort(draws, axis=0), axis=0)
    depth = np.sort(np.minimum(ranks, len(draws) - 1 - ranks).min(1))
    cut = max(int(depth[int(np.floor((1 - level) * len(draws)))]) - 1, 0)
    return ordered[cut], ordered[len(draws) - 1 - cut]


def _checked(counts: ArrayLike, concentration: float) -> Floats:
    """Returns the groups that hold rows."""
    of = np.asarray(counts, dtype=np.float64)
    if of.ndim != 2 or of.shape[1] < 2 or not (np.isfinite(of).all() and (of >= 0).all()):
        raise DataError("Counts must be [groups, outcomes] with at least two outcomes, none negative.")
    if not (np.isfinite(concentration) and concentration >= 0):
        raise ConfigError(f"The concentration must be at least 0, not {concentration!r}.")
    return of[of.sum(1) > 0]


def differential_fairness_measures(
    evaluation: Evaluation,
    family: Family,
    *,
    threshold: float | None = None,
    concentration: float = 1.0,
    level: float = 0.95,
    seed: int = 0,
) -> list[Measure]:
    """Returns epsilon of the decisions, of the labels, and what the decisions add to it: bias amplification.

    Groups are best the intersections of all protected attributes, such as `families(evaluation, [["race", "sex"]])`.
    Weighted or clustered rows count as so many as their shares are known by. The interval is credible: of the posterior
    of these groups under the prior, and made so that all pairs hold at once; amplification, a difference of two, takes
    each at half the error rate.

    Args:
        evaluation: with a metric of decisions, such as `recall@0.5`.
        family: the groups.
        threshold: which decisions, where several were evaluated.
        concentration: of the Dirichlet prior, over both outcomes.
        level: the probability of the interval.
        seed: fixes the posterior draws.
    """
    cells = GroupCells.of(evaluation, family.places, threshold)
    yes = {"decisions": cells.weight[:, [FP, TP]].sum(1), "labels": cells.weight[:, [FN, TP]].sum(1)}
    whole = cells.weight.sum(1)
    values, narrow, wide = {}, {}, {}
    rates = dict(zip(yes, cells.estimates("positive_prediction_rate", "prevalence"), strict=True))
    for of, chosen in yes.items():
        values[of] = differential_fairness(np.stack([whole - chosen, chosen], 1), concentration=concentration)
        rate = np.nan_to_num(rates[of].value)
        n = cells.rows_of(rates[of])
        effective = np.stack([n * (1 - rate), n * rate], 1)
        narrow[of], wide[of] = (
            epsilon(effective, concentration=concentration, level=p, seed=seed) for p in (level, (1 + level) / 2)
        )
    at = Measure("", family.across, float("nan"), level=family.level, confidence=level, fair=0.0)
    at = replace(at, rows=int(cells.rows.sum()), support=int(cells.rows[cells.rows > 0].min(initial=0)))
    at = replace(at, method="credible, all pairs at once", note=_note(cells))
    found = []
    for of, name in (("decisions", "differential_fairness"), ("labels", "differential_fairness@of=labels")):
        low, high = min(narrow[of].low, values[of]), max(narrow[of].high, values[of])
        found.append(replace(at, metric=name, value=values[of], low=low, high=high))
    value = values["decisions"] - values["labels"]
    low, high = wide["decisions"].low - wide["labels"].high, wide["decisions"].high - wide["labels"].low
    more = replace(at, metric="bias_amplification", value=value, low=low, high=high, fair=float("nan"))
    return [*found, replace(more, method="credible, of both bands")]


def _note(cells: GroupCells) -> str:
    empty = int((cells.rows == 0).sum())
    return f"{empty} groups without rows are left out" if empty else ""
