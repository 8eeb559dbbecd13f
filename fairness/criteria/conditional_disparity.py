"""Conditional demographic disparity, in the two forms that go by the name.

The demographic disparity of a group is its share of the rows rejected minus its share of those accepted. Both forms ask
for it within strata, such as the departments that people applied to:

- **Wachter, Mittelstadt and Russell** compare the two shares in each stratum by itself and show them side by side:
  there is conditional disparity in a stratum where the group has the larger share of the rejected. Nothing is averaged.
- **Amazon SageMaker Clarify** averages the disparities of the strata, weighted by their rows, into one number, in which
  strata of opposite signs cancel; and it takes a share of nobody as 0, where we leave such a stratum out.

>>> rejected = [[100, 50], [10, 40]]  # two strata, two groups
>>> accepted = [[60, 40], [20, 60]]
>>> demographic_disparity(rejected, accepted).round(4).tolist()
[[0.0667, -0.0667], [-0.05, 0.05]]
>>> clarify_disparity(rejected, accepted).round(4).tolist()
[0.0268, -0.0268]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from evalkit.combined import combined
from evalkit.contrast import quantile, tail
from evalkit.errors import ConfigError
from evalkit.fairness.criteria.group_cells import FN, FP, TN, TP, GroupCells
from evalkit.fairness.families import Family
from evalkit.fairness.measure import Measure
from evalkit.fairness.statistics.simultaneous import Largest
from evalkit.interval import critical, wilson
from evalkit.results import Evaluation
from evalkit.slicing.spec import SliceKey, slice_text

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

Empty = Literal["omit", "zero"]
_ROUGH = 5


def demographic_disparity(rejected: ArrayLike, accepted: ArrayLike, *, empty: Empty = "omit") -> Floats:
    """Returns each group's share of the rejected minus its share of the accepted.

    Args:
        rejected: [..., groups] rows rejected, or their summed weights.
        accepted: [..., groups] rows accepted.
        empty: where nobody was rejected, or nobody accepted: `omit` makes the disparity NaN, `zero` that share 0.

    Source: Wachter, Mittelstadt and Russell (2021), Why fairness cannot be automated.
    """
    _check(empty)
    shares = [_share(np.asarray(of, np.float64), empty) for of in (rejected, accepted)]
    return shares[0] - shares[1]


def _check(empty: str) -> None:
    if empty not in ("omit", "zero"):
        raise ConfigError(f'empty must be "omit" or "zero", not {empty!r}.')


def _share(of: Floats, empty: Empty) -> Floats:
    total = of.sum(-1, keepdims=True)
    nothing = np.full(of.shape, 0.0 if empty == "zero" else np.nan)
    return np.divide(of, total, out=nothing, where=total > 0)


def clarify_disparity(rejected: ArrayLike, accepted: ArrayLike, *, empty: Empty = "omit") -> Floats:
    """Returns each group's demographic disparity averaged over strata, weighted by their rows.

    Args:
        rejected: [strata, groups] rows rejected, or their summed weights.
        accepted: [strata, groups] rows accepted.
        empty: a stratum in which nobody was rejected, or nobody accepted, is left out (`omit`), or has a share of 0
            there (`zero`, as Clarify does).

    Returns:
        [groups]; NaN without strata.

    Source: Amazon SageMaker Clarify, CDD; Das et al. (2021), Fairness measures for machine learning in finance.
    """
    within = demographic_disparity(rejected, accepted, empty=empty)
    rows = (np.asarray(rejected, np.float64) + np.asarray(accepted, np.float64)).sum(-1, keepdims=True)
    kept = np.isfinite(within).all(-1, keepdims=True) & (rows > 0)
    weight = np.where(kept, rows, 0.0)
    whole = weight.sum(0)
    return np.divide(
        (weight * np.where(kept, within, 0.0)).sum(0),
        whole,
        out=np.full(within.shape[-1], np.nan),
        where=whole > 0,
    )


def conditional_disparity_measures(
    evaluation: Evaluation,
    strata: Sequence[Family],
    *,
    threshold: float | None = None,
    empty: Empty = "omit",
    level: float = 0.95,
) -> list[Measure]:
    """Returns the demographic disparity of each group: of all rows, in each stratum, and both conditional forms.

    `conditional_demographic_disparity@form=clarify` is the average, with an interval by the delta method in which the
    sizes of strata are random too. `demographic_disparity` in a level of the control features is Wachter's comparison;
    its bounds and p-values hold for all strata of the group at once (Newcombe's intervals), and so
    does `conditional_demographic_disparity@form=wachter`, the largest disparity of any stratum. Rows may be weighted or
    clustered.

    Args:
        evaluation: with a metric of decisions; positive decisions are accepted.
        strata: the families of one attribute in the levels of the control features.
        threshold: which decisions, where several were evaluated.
        empty: see `clarify_disparity`.
        level: the confidence level.

    Raises:
        ConfigError: families are of several attributes, or of one level alone.
    """
    _check(empty)
    if not strata or len({f.across for f in strata}) > 1 or any(not f.level for f in strata):
        raise ConfigError(
            "Conditional disparity needs the families of one attribute within levels of control features: "
            'families(evaluation, ["sex"], control=["department"]).'
        )
    table = _Table.of(evaluation, strata, threshold)
    found = []
    for g, group in enumerate(table.groups):
        at = Measure("demographic_disparity", strata[0].across, float("nan"), group=group, confidence=level, fair=0.0)
        found.append(_compared(table, at, g, [slice(None)], level)[0])
        within = [
            replace(m, level=family.level)
            for m, family in zip(
                _compared(table, at, g, [slice(i, i + 1) for i in range(len(strata))], level), strata, strict=True
            )
        ]
        found += [*within, _worst(at, within), _average(table, at, g, empty)]
    return found


@dataclass(frozen=True)
class _Table:
    """Rejected and accepted rows by stratum and group.

    Attributes:
        groups: the groups of any stratum.
        cells: their decisions, those of a stratum after another's.
        places: [strata, groups] where they stand among them; -1 for none.
        weight: [2, strata, groups] summed weights of rejected and accepted rows.
        square: [2, strata, groups] summed squared weights.
        count: [2, strata, groups] rows.
    """

    groups: tuple[SliceKey, ...]
    cells: GroupCells
    places: NDArray[np.int64]
    weight: Floats
    square: Floats
    count: NDArray[np.int64]

    @classmethod
    def of(cls, evaluation: Evaluation, strata: Sequence[Family], threshold: float | None) -> _Table:
        groups = tuple(dict.fromkeys(g for family in strata for g in family.groups))
        cells = GroupCells.of(evaluation, np.concatenate([f.places for f in strata]), threshold)
        places, start = np.full((len(strata), len(groups)), -1), 0
        for i, family in enumerate(strata):
            places[i, [groups.index(g) for g in family.groups]] = np.arange(start, start + len(family.groups))
            start += len(family.groups)

        def laid(of: NDArray[np.generic]) -> Floats:
            sides = np.stack([of[:, [TN, FN]].sum(1), of[:, [FP, TP]].sum(1)]).astype(np.float64)
            return np.where(places >= 0, sides[:, places], 0.0)

        square = cells.weight if cells.sums.square is None else cells.sums.square
        return cls(groups, cells, places, laid(cells.weight), laid(square), laid(cells.count).astype(np.int64))

    def influence(self, told: Floats) -> Floats:
        """Lays out what a row of [2, strata, groups] tells, as [cells' groups, 4]."""
        flat = np.zeros((len(self.cells.rows), 4))
        held = self.places >= 0
        for side, columns in enumerate(([TN, FN], [FP, TP])):
            for column in columns:
                flat[self.places[held], column] = told[side][held]
        return flat


def _share_influence(table: _Table, g: int, own: slice) -> tuple[Floats, Floats]:
    """Returns a group's shares of the rejected and of the accepted [2], and their gradients [2, cells' groups, 4]."""
    weight = table.weight[:, own]
    total = weight.sum((1, 2))
    value = np.divide(weight[..., g].sum(1), total, out=np.full(2, np.nan), where=total > 0)
    gradients = []
    for side in (0, 1):
        told = np.zeros(table.weight.shape)
        if total[side] > 0:
            told[side, own] = -value[side] / total[side]
            told[side, own, g] += 1 / total[side]
        gradients.append(table.influence(told))
    return value, np.stack(gradients)


def _compared(table: _Table, at: Measure, g: int, parts: Sequence[slice], level: float) -> list[Measure]:
    """Returns a group's disparity in each part, with bounds that hold for all of them at once."""
    of = [_share_influence(table, g, own) for own in parts]
    defined = [bool(np.isfinite(value).all()) for value, _ in of]
    joined = table.cells.covariance(np.stack([gradient[0] - gradient[1] for _, gradient in of]))
    law = Largest.of(joined, np.eye(len(of))[defined])
    degrees = np.array(table.cells.degrees)
    z = quantile(law.each(1 - level), degrees)
    found = []
    for (value, gradient), own, is_defined in zip(of, parts, defined, strict=True):
        count = table.count[:, own].sum((1, 2))
        here = replace(at, rows=int(count.sum()), support=int(count.min()))
        if not is_defined:
            found.append(replace(here, note="nobody was rejected" if count[0] == 0 else "nobody was accepted"))
            continue
        joint = table.cells.covariance(gradient)
        n = _effective(table, value, np.diag(joint), own)
        low, high = wilson(value, n, z)
        made = combined(value, low, high, [1, -1], joint)
        pooled = float((n * value).sum() / n.sum())
        error = (pooled * (1 - pooled) * (1 / n).sum()) ** 0.5
        score = float(made.value) / error if error > 0 else 0.0
        p_value = law.adjusted(2 * tail(np.array(abs(score)), degrees))
        method = "Newcombe" if len(parts) == 1 else "Newcombe, all strata at once"
        here = replace(here, value=float(made.value), low=float(made.low), high=float(made.high), method=method)
        found.append(replace(here, p_value=float(p_value)))
    return found


def _effective(table: _Table, value: Floats, variance: Floats, own: slice) -> Floats:
    """Returns the effective numbers of rejected and of accepted rows behind a share, [2]."""
    square = table.square[:, own].sum((1, 2))
    kish = np.divide(table.weight[:, own].sum((1, 2)) ** 2, square, out=np.ones(2), where=square > 0)
    if np.isfinite(table.cells.degrees):
        kish = np.where((value > 0) & (value < 1), kish, np.minimum(kish, table.cells.degrees + 1))
    linear = np.divide(value * (1 - value), variance, out=kish.copy(), where=variance > 0)
    return np.minimum(kish, linear)


def _worst(at: Measure, within: Sequence[Measure]) -> Measure:
    """Returns the largest disparity of any stratum, and names those in which it is shown."""
    held = [m for m in within if np.isfinite(m.value)]
    at = replace(at, metric="conditional_demographic_disparity@form=wachter", rows=sum(m.rows for m in within))
    if not held:
        return replace(at, note="in every stratum nobody was rejected, or nobody accepted")
    shown = [slice_text(m.level) for m in held if m.low > 0]
    note = f"shown in {', '.join(shown)}" if shown else "shown in no stratum"
    largest = max(held, key=lambda m: m.value)
    return replace(
        at,
        value=largest.value,
        low=max(m.low for m in held),
        high=max(m.high for m in held),
        support=largest.support,
        method="Newcombe, all strata at once",
        note=f"largest in {slice_text(largest.level)}; {note}",
    )


def _average(table: _Table, at: Measure, g: int, empty: Empty) -> Measure:
    """Returns Clarify's average, by the delta method."""
    rejected, accepted = table.weight
    within = demographic_disparity(rejected, accepted, empty=empty)[:, g]
    rows = table.weight.sum((0, 2))
    kept = np.isfinite(within) & (rows > 0)
    value = float(clarify_disparity(rejected, accepted, empty=empty)[g])
    count = table.count.sum(2)
    at = replace(at, metric="conditional_demographic_disparity@form=clarify", value=value, rows=int(count.sum()))
    if not kept.any():
        return replace(at, note="in every stratum nobody was rejected, or nobody accepted")
    whole = rows[kept].sum()
    influence = np.zeros((len(table.cells.rows), 4))
    for i in np.flatnonzero(kept):
        _, gradient = _share_influence(table, g, slice(i, i + 1))
        influence += rows[i] / whole * (gradient[0] - gradient[1])
    size = np.where(kept, (np.where(kept, within, 0.0) - value) / whole, 0.0)
    influence += table.influence(np.broadcast_to(size[None, :, None], table.weight.shape))
    error = float(np.sqrt(max(table.cells.covariance(influence[None])[0, 0], 0.0)))
    notes = []
    if left_out := int((~kept & (rows > 0)).sum()):
        notes.append(f"{left_out} strata in which nobody was rejected or nobody accepted are left out")
    rough = bool((count[:, kept].min(0) < _ROUGH).any())
    if rough:
        notes.append(f"strata with fewer than {_ROUGH} rejected or accepted")
    if not error > 0:
        return replace(at, note="; ".join([*notes, "no interval: the rows do not vary"]))
    reach = float(critical(at.confidence, table.cells.degrees)) * error
    p_value = float(2 * tail(np.array(abs(value) / error), np.array(table.cells.degrees)))
    at = replace(at, low=max(value - reach, -1.0), high=min(value + reach, 1.0), method="delta", p_value=p_value)
    return replace(at, support=int(count[:, kept].sum(1).min()), approximate=rough, note="; ".join(notes))
