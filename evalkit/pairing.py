"""Two evaluations of the same rows, slice by slice: what each row, or each group of units, tells of their difference.

The influence of a row on a metric is the metric's gradient at its slice's sums, looked up for the row. The influence on
a difference is the difference of influences, so its variance needs no covariance matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from evalkit import saved_rows, score_keys
from evalkit.collect import GROUPS, Rows
from evalkit.compilation import scoped
from evalkit.errors import InternalError, UsageError, listing
from evalkit.estimate import Estimate, group_influence, group_variance
from evalkit.metric import Metric
from evalkit.results import Evaluation, Plan
from evalkit.rows import Checked
from evalkit.slicing.cubes import cubes
from evalkit.slicing.spec import SliceKey
from evalkit.statistic import Batch, Statistic
from evalkit.sums import AnySums, FieldSums, ScoreSums

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

How = Literal["rows", "groups", "none"]
_SHOWN = 5
_MOST_NARROW = 65_535


@dataclass(frozen=True)
class Members:
    """The rows of the slices of one set.

    Attributes:
        slices: [members] int64, the slice of each member among all slices; -1 for none.
        rows: [members] int64, the row of each member; None: row i is member i.
    """

    slices: NDArray[np.int64]
    rows: NDArray[np.int64] | None = None

    def of(self, array: Any) -> Any:
        """Returns what each member's row holds in an array [rows]."""
        return array if self.rows is None else array[self.rows]


@dataclass(frozen=True)
class Pair:
    """Two evaluations with the same metrics and slices in the same order, and how their rows belong together.

    Attributes:
        baseline: one of them.
        candidate: the other; where rows are paired, row i of both is the same row.
        how: `rows`: the same rows; `groups`: the same groups of units, rows not kept; `none`: different rows.
        notes: what a reader must know: why they are not paired, which slices only one of them has.
        members: the rows of each set of slices, where rows are paired.
    """

    baseline: Evaluation
    candidate: Evaluation
    how: How
    notes: tuple[str, ...] = ()
    members: tuple[Members, ...] = ()

    @property
    def plan(self) -> Plan:
        """The slices of both."""
        return self.candidate.plan


def pair(baseline: Evaluation, candidate: Evaluation) -> Pair:
    """Returns two evaluations lined up.

    Raises:
        UsageError: they have no metric in common, or one is weighted, clustered or of another task than the other.
    """
    for setting in ("task", "weighted", "clustered", "positive"):
        mine, theirs = getattr(candidate.settings, setting), getattr(baseline.settings, setting)
        if mine != theirs:
            raise UsageError(
                f"{candidate.model} and {baseline.model} do not compare: {setting} is {mine!r} in one and {theirs!r} "
                "in the other."
            )
    baseline, candidate, notes = _same_metrics(baseline, candidate)
    how, baseline, why = _paired(baseline, candidate)
    notes += [] if how == "rows" else [why]
    baseline, candidate, missing = _same_slices(baseline, candidate)
    members = tuple(members_of(candidate)) if how == "rows" else ()
    return Pair(baseline, candidate, how, tuple(notes + missing), members)


def same_outputs(left: Evaluation, right: Evaluation) -> bool:
    """Returns whether two evaluations are of one model: equal scores and predictions, or without rows equal sums."""
    if left.rows is not None and right.rows is not None:
        mine, theirs = left.rows.rows, right.rows.rows
        return all(_equal(getattr(mine, role), getattr(theirs, role)) for role in ("score", "prediction"))
    shared = [name for name in left.sums if name in right.sums and name.startswith(("score", "confusion"))]
    return bool(shared) and all(_equal_sums(left.sums[name], right.sums[name]) for name in shared)


def _equal(left: Any, right: Any) -> bool:
    if left is None or right is None:
        return left is right
    return left.shape == right.shape and bool(np.array_equal(left, right))


def _equal_sums(left: AnySums, right: AnySums) -> bool:
    if isinstance(left, ScoreSums) and isinstance(right, ScoreSums):
        return _equal(left.keys, right.keys) and _equal(left.count, right.count)
    if isinstance(left, FieldSums) and isinstance(right, FieldSums):
        return _equal(left.count, right.count) and _equal(left.total, right.total)
    return False


# --- lining up ---


def _same_metrics(baseline: Evaluation, candidate: Evaluation) -> tuple[Evaluation, Evaluation, list[str]]:
    known = dict(baseline.metrics)
    shared = [name for name, m in candidate.metrics if name in known and known[name].function is m.function]
    if not shared:
        raise UsageError(f"{candidate.model} and {baseline.model} have no metric in common.")
    left_out = [name for name, _ in (*candidate.metrics, *baseline.metrics) if name not in shared]
    notes = [f"Of one model alone, not compared: {listing(left_out, _SHOWN)}."] if left_out else []
    kept = [replace(e, metrics=tuple((n, dict(e.metrics)[n]) for n in shared)) for e in (baseline, candidate)]
    return kept[0], kept[1], notes


def _paired(baseline: Evaluation, candidate: Evaluation) -> tuple[How, Evaluation, str]:
    if baseline.rows is not None and candidate.rows is not None:
        if saved_rows.same_rows(baseline, candidate):
            return "rows", baseline, ""
        order, why = _matching_order(baseline, candidate)
        if order is not None:
            return "rows", replace(baseline, rows=_reordered(baseline.rows, order)), ""
        return "none", baseline, f"Not paired: {why}; the models are compared as if on independent rows."
    if _same_groups(baseline, candidate):
        return "groups", baseline, "Paired by groups of units, which hold the same numbers of rows in both runs."
    which = [e.model for e in (baseline, candidate) if e.rows is None]
    return "none", baseline, f"Not paired: no rows were kept of {' and '.join(which)}; compared as independent."


def _matching_order(baseline: Evaluation, candidate: Evaluation) -> tuple[NDArray[np.int64] | None, str]:
    """Returns the order of the baseline's rows that makes them the candidate's; or why there is none."""
    if not (baseline.settings.columns.id and candidate.settings.columns.id):
        return None, "rows or labels differ, and there is no id to match rows by"
    theirs, mine = saved_rows.ids(baseline), saved_rows.ids(candidate)
    if theirs.n_unique() < len(theirs) or mine.n_unique() < len(mine):
        return None, "ids are not unique"
    order = matches(mine, theirs)
    if len(mine) != len(theirs) or order is None or (order < 0).any():
        return None, "the two runs hold different ids"
    if baseline.rows is None or candidate.rows is None:
        return None, "no rows"
    label, other = candidate.rows.rows.label, baseline.rows.rows.label
    if label is not None and (other is None or not np.array_equal(label, other[order])):
        return None, "labels of the same ids differ"
    return order, ""


def matches(wanted: pl.Series, held: pl.Series) -> NDArray[np.int64] | None:
    """Returns the place of each wanted id among those held, -1 where it is not there; None for other types."""
    import polars as pl

    if wanted.dtype != held.dtype:
        return None
    known = pl.DataFrame({"id": held, "place": np.arange(len(held))})
    joined = pl.DataFrame({"id": wanted}).join(known, on="id", how="left", maintain_order="left")
    return joined["place"].fill_null(-1).to_numpy()


def _reordered(checked: Checked, order: NDArray[np.int64]) -> Checked:
    rows = checked.rows
    held = {name: getattr(rows, name) for name in ("label", "score", "prediction", "weight", "group")}
    arrays: dict[str, Any] = {name: None if values is None else values[order] for name, values in held.items()}
    columns = {name: values[order] for name, values in rows.columns.items()}
    return replace(checked, rows=replace(rows, columns=columns, **arrays), frame=checked.frame[order], coded=None)


def _same_groups(left: Evaluation, right: Evaluation) -> bool:
    """Whether clustered sums, whose rows are gone, have the same rows, and labels, in each group of each slice."""
    if not (left.settings.clustered and right.settings.clustered) or left.plan.slices != right.plan.slices:
        return False
    shared = [name for name in left.sums if name in right.sums]
    return bool(shared) and all(_equal(_by_group(left.sums[name]), _by_group(right.sums[name])) for name in shared)


def _by_group(sums: AnySums) -> NDArray[np.int64]:
    """Counts rows by slice and group; of decisions and scores also by label."""
    if isinstance(sums, FieldSums):
        count = sums.count
        return count.reshape(*count.shape[:-1], 2, 2).sum(-1) if count.shape[-1] == 4 else count.sum(-1)
    if sums.groups is None:
        raise InternalError("no groups of units")
    place = (sums.slices.astype(np.int64) * GROUPS + sums.groups) * 2
    held = np.zeros(sums.size * GROUPS * 2, dtype=np.int64)
    for label in (0, 1):
        held += np.bincount(place + label, weights=sums.count[:, label], minlength=len(held)).astype(np.int64)
    return held


def _same_slices(baseline: Evaluation, candidate: Evaluation) -> tuple[Evaluation, Evaluation, list[str]]:
    if baseline.plan == candidate.plan:
        return baseline, candidate, []
    theirs, mine = _numbered(baseline.plan), _numbered(candidate.plan)
    kept = [key for key in mine if key in theirs]
    notes = []
    for evaluation, own, other in ((candidate, mine, theirs), (baseline, theirs, mine)):
        texts = [evaluation.plan.texts[own[key]] for key in own if key not in other]
        if texts:
            notes.append(f"{len(texts):,} slices only in {evaluation.model}: {listing(texts, _SHOWN)}.")
    return _only(baseline, kept, theirs), _only(candidate, kept, mine), notes


_Named = tuple[Any, SliceKey]


def _numbered(plan: Plan) -> dict[_Named, int]:
    sets = [s for s, keys in zip(plan.slice_sets, plan.keys, strict=True) for _ in keys]
    return {(s, key): place for place, (s, key) in enumerate(zip(sets, plan.slices, strict=True))}


def _only(evaluation: Evaluation, kept: Sequence[_Named], own: dict[_Named, int]) -> Evaluation:
    index = np.array([own[key] for key in kept], dtype=np.int64)
    sets = tuple(dict.fromkeys(s for s, _ in kept))
    plan = Plan(sets, tuple(tuple(key for of, key in kept if of == s) for s in sets))
    return replace(evaluation, plan=plan, sums={name: sums.take(index) for name, sums in evaluation.sums.items()})


def members_of(evaluation: Evaluation) -> list[Members]:
    """Returns the rows of each set of slices, numbered as in the plan."""
    if evaluation.rows is None:
        raise UsageError("no rows are kept")
    plan, n = evaluation.plan, evaluation.rows.rows.n
    coded = saved_rows.dimensions(evaluation)
    offsets = plan.offsets
    found: dict[int, Members] = {}
    for cube in cubes(plan.slice_sets, coded, n, max(n, 1)):
        for roll_up in cube.roll_ups:
            known = {key: place for place, key in enumerate(plan.keys[roll_up.slice_set])}
            start = offsets[roll_up.slice_set]
            place = np.array([known[k] + start if k in known else -1 for k in roll_up.keys] + [-1], dtype=np.int64)
            found[roll_up.slice_set] = Members(place[roll_up.slices[cube.codes]], cube.rows)
    return [found[index] for index in sorted(found)]


# --- influences ---


@dataclass(frozen=True)
class JointCells:
    """Rows by slice, the baseline's cell and the candidate's; arrays are [slices, cells, cells].

    Attributes:
        count: rows.
        total: their weights.
        square: their squared weights.
        fourth: the fourth powers of their weights.
    """

    count: NDArray[np.int64]
    total: Floats
    square: Floats
    fourth: Floats

    def variance(self, candidate: Floats, baseline: Floats) -> Floats:
        """Returns the variance of candidate minus baseline from their gradients [slices, cells], [slices]."""
        difference = candidate[:, None, :] - baseline[:, :, None]
        n = np.maximum(self.count.sum((1, 2)), 1)
        centre = (self.total * difference).sum((1, 2)) ** 2 / n
        return _above_rounding((self.square * difference**2).sum((1, 2)), centre)

    def degrees(self, candidate: Floats, baseline: Floats, *, proportions: bool) -> Floats:
        """Returns the degrees of freedom that a variance of candidate minus baseline has, [slices]; at least 1.

        They are the effective number of rows that tell the models apart, less 1. With a row's squared influence q (at
        weight 1) that is (sum w^2 q)^2 / sum w^4 q^2 (Satterthwaite, each row with one degree). The intervals of
        proportions allow for the weights themselves, and there it is (sum w q)^2 / sum w^2 q^2. Without weights both
        are about the rows that changed.
        """
        squared = (candidate[:, None, :] - baseline[:, :, None]) ** 2
        weight, its_square = (self.total, self.square) if proportions else (self.square, self.fourth)
        whole, each = (weight * squared).sum((1, 2)) ** 2, (its_square * squared**2).sum((1, 2))
        return np.maximum(np.where(each > 0, whole / np.where(each > 0, each, 1.0), 0.0) - 1, 1)


def joint_cells(pair: Pair, candidate: Metric, baseline: Metric) -> JointCells | None:
    """Returns the rows by both models' cells of a statistic; None where rows are not paired or it has no cells."""
    if pair.how != "rows" or candidate.statistic.form != "cells" or pair.candidate.rows is None:
        return None
    width, size = len(candidate.statistic.cell_names), len(pair.plan.slices)
    both = cells_of(pair.baseline, baseline) * width + cells_of(pair.candidate, candidate)
    weight = pair.candidate.rows.rows.weight
    amounts = [None] if weight is None else [None, weight, weight**2, weight**4]
    tables = np.zeros((len(amounts), size * width**2))
    for members in pair.members:
        inside = members.slices >= 0
        place = (members.slices * width**2 + members.of(both))[inside]
        for i, amount in enumerate(amounts):
            held = None if amount is None else members.of(amount)[inside]
            tables[i] += np.bincount(place, weights=held, minlength=tables.shape[1])
    shaped = tables.reshape(len(amounts), size, width, width)
    total, square, fourth = (shaped[0],) * 3 if weight is None else shaped[1:]
    return JointCells(shaped[0].astype(np.int64), total, square, fourth)


def cells_of(evaluation: Evaluation, metric: Metric) -> NDArray[np.int64]:
    """Returns the cell of each row, [rows]; rows must be kept."""
    with scoped():
        return np.asarray(metric.statistic.cell(_batch(_rows(evaluation)))).astype(np.int64)


def _rows(evaluation: Evaluation) -> Rows:
    if evaluation.rows is None:
        raise InternalError("no rows are kept")
    return evaluation.rows.rows


def _batch(rows: Rows, place: NDArray[np.int64] | None = None) -> Batch:
    def taken(array: Any) -> Any:
        return array if array is None or place is None else array[place]

    columns = {name: taken(values) for name, values in rows.columns.items()}
    return Batch(taken(rows.label), taken(rows.score), taken(rows.prediction), columns)


class RowInfluences:
    """What each row adds, to first order, to the metrics that read one statistic; what they share is found once."""

    def __init__(self, evaluation: Evaluation, statistic: Statistic, sums: AnySums) -> None:
        self._rows, self._statistic, self._sums = _rows(evaluation), statistic, sums
        self._values: Floats | None = None
        if isinstance(sums, ScoreSums):
            keys = score_keys.keys(self._rows.score, sums.probabilities)
            self._keys = keys if sums.bins is None else sums.bins.of(keys)
            self._by_key = np.argsort(self._keys)
        elif not statistic.pivoted:
            with scoped():
                self._values = np.asarray(statistic.rows(_batch(self._rows), 0.0), dtype=np.float64)

    def at(self, members: Members) -> Callable[[Floats], Floats]:
        """Returns a function from a metric's gradient to the influences of members; 0 outside all slices."""
        inside, slices = members.slices >= 0, np.maximum(members.slices, 0)
        weight = inside.astype(np.float64)
        if self._rows.weight is not None:
            weight *= members.of(self._rows.weight)
        if isinstance(self._sums, ScoreSums):
            place = 2 * self._entries(members, self._sums) + members.of(self._rows.label)
            return lambda gradient: gradient.reshape(-1)[place] * weight
        values = self._values_at(members, slices)
        return lambda gradient: np.einsum("mf,mf->m", values, gradient[slices]) * weight

    def _values_at(self, members: Members, slices: NDArray[np.int64]) -> Floats:
        if self._values is not None:
            values: Floats = members.of(self._values)
            return values
        pivot = 0.0 if self._sums.pivot is None else self._sums.pivot[slices]  # type: ignore[union-attr]
        with scoped():
            return np.asarray(self._statistic.rows(_batch(self._rows, members.rows), pivot), dtype=np.float64)

    def _entries(self, members: Members, sums: ScoreSums) -> NDArray[np.int64]:
        """Returns each member's entry of the histogram; entries stand in order of slice and score key."""
        order = self._by_key
        if members.rows is not None:
            rank = np.empty_like(order)
            rank[order] = np.arange(len(order))
            order = np.argsort(rank[members.rows])
        narrow = members.slices.max(initial=0) < _MOST_NARROW  # which NumPy sorts in time linear in the rows
        number = (members.slices + 1).astype(np.uint16 if narrow else np.int64)
        order = order[np.argsort(number[order], kind="stable")]
        order = order[np.searchsorted(members.slices[order], 0) :]
        slices, key = members.slices[order], members.of(self._keys)[order]
        new = np.ones(len(order), dtype=bool)
        new[1:] = (slices[1:] != slices[:-1]) | (key[1:] != key[:-1])
        start = np.searchsorted(sums.slices, slices[0]) if len(slices) else 0
        entry = np.zeros(len(members.slices), dtype=np.int64)
        entry[order] = start + np.cumsum(new) - 1
        return entry


def joint_variances(
    pair: Pair,
    candidates: Sequence[Estimate],
    baselines: Sequence[Estimate],
    sums: tuple[AnySums, AnySums],
    joint: JointCells | None,
) -> list[Floats]:
    """Returns the variance of candidate minus baseline of metrics that read the same statistic, [slices] each.

    Args:
        pair: the two evaluations.
        candidates: the metrics' estimates.
        baselines: the same metrics' estimates for the baseline.
        sums: the candidate's sums of their statistic and the baseline's.
        joint: their rows by both models' cells, of `joint_cells`.
    """
    both = list(zip(candidates, baselines, strict=True))
    if pair.how == "none":
        return [mine.variance + theirs.variance for mine, theirs in both]
    if all(s.clustered for s in sums):
        return [_between_groups(*each, sums) for each in both]
    if joint is not None:
        return [joint.variance(mine.gradient, theirs.gradient) for mine, theirs in both]
    result = np.zeros((len(both), len(pair.plan.slices)))
    own = RowInfluences(pair.candidate, candidates[0].metric.statistic, sums[0])
    other = RowInfluences(pair.baseline, baselines[0].metric.statistic, sums[1])
    for members in pair.members:
        of_candidate, of_baseline = own.at(members), other.at(members)
        for i, (mine, theirs) in enumerate(both):
            result[i] += _spread(of_candidate(mine.gradient) - of_baseline(theirs.gradient), members, pair, mine)
    return list(result)


def _between_groups(candidate: Estimate, baseline: Estimate, sums: tuple[AnySums, AnySums]) -> Floats:
    mine, held = group_influences(candidate, sums[0])
    theirs, also = group_influences(baseline, sums[1])
    width = max(mine.shape[1], theirs.shape[1])
    mine, theirs, held, also = (_widened(a, width) for a in (mine, theirs, held, also))
    return group_variance(mine - theirs, held | also)


def group_influences(e: Estimate, sums: AnySums) -> tuple[Floats, NDArray[np.bool_]]:
    """Returns each group's influence on a metric in each slice [slices, groups], and where groups hold rows."""
    if isinstance(sums, ScoreSums):
        return group_influence(sums, e.gradient)
    return np.einsum("sgf,sf->sg", sums.total, e.gradient), sums.count.sum(-1) > 0


def _widened(array: Any, width: int) -> Any:
    return np.pad(array, ((0, 0), (0, width - array.shape[1])))


def _spread(difference: Floats, members: Members, pair: Pair, e: Estimate) -> Floats:
    """Sums squared influences by slice, less their mean's; for DeLong's metrics apart for each class."""
    size = len(e.value)
    inside = members.slices >= 0
    place, d = (members.slices, difference) if inside.all() else (members.slices[inside], difference[inside])
    if e.metric.kind == "delong":
        label = members.of(_rows(pair.candidate).label)[inside]
        return _centred(d, 2 * place + label, 2 * size, 1).reshape(size, 2).sum(1)
    return _centred(d, place, size, 1 if e.metric.statistic.form == "sums" else 0)


def _centred(d: Floats, slices: NDArray[np.int64], size: int, lost: int) -> Floats:
    n = np.bincount(slices, minlength=size)
    total, square = (np.bincount(slices, weights=d**power, minlength=size).astype(np.float64) for power in (1, 2))
    spread = _above_rounding(square, total**2 / np.maximum(n, 1))
    return spread * n / np.maximum(n - lost, 1)


def _above_rounding(square: Floats, centre: Floats) -> Floats:
    """Returns their difference; 0 where it is no more than rounding."""
    spread = square - centre
    return np.where(spread <= 1e-12 * square, 0.0, spread)
