"""Curves of what decisions cost at every threshold, from the histogram of scores.

`cost` (threshold, expected cost of a row), `profit` (share called positive, expected profit of a row), `net_benefit`
(decision curve: the threshold probability, the model, treating all and none) and `cost_lines` (Drummond and Holte: the
lowest normalised cost at every mix of classes and costs). Costs that depend on the row come from the histogram of
costs that is collected beside `expected_cost` of columns. `cost_difference` sets two models against each other.

>>> import evalkit as ek
>>> from evalkit.cost_curves import cost_curve
>>> data = {"y": [0, 1, 0, 1] * 5, "p": [0.1, 0.4, 0.3, 0.8] * 5}
>>> result = ek.evaluate(data, label="y", score="p", metrics=["roc_auc"])
>>> cost_curve(result, "cost", fn=9)["cost"].to_list()
[4.5, 2.25, 0.0, 0.25, 0.5]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.collect import GROUPS
from evalkit.errors import ConfigError, UsageError, listing, nearest
from evalkit.interval import critical
from evalkit.results import Evaluation, Result
from evalkit.sums import FieldSums, ScoreSums

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    _Collected = tuple[FieldSums, tuple[str, ...], ScoreSums]

KINDS = ("cost", "cost_lines", "net_benefit", "profit")
_COSTS = ("tp", "fp", "fn", "tn")


def cost_curve(
    result: Result,
    kind: str,
    slice: str = "overall",  # noqa: A002
    model: str | None = None,
    *,
    tp: float | str = 0,
    fp: float | str = 1,
    fn: float | str = 1,
    tn: float | str = 0,
    prevalence: float | None = None,
    cap: float | None = None,
    points: int | None = 200,
) -> pl.DataFrame:
    """Returns the points of a cost curve of one slice and model, intervals pointwise at the evaluation's level.

    Args:
        result: of an evaluation with a metric of scores (roc_auc, ...); for costs in columns, with `expected_cost` of
            the same costs.
        kind: `cost` (columns threshold, cost, low, high) and `profit` (positive_prediction_rate, threshold, profit,
            low, high), each from the highest threshold, infinite, down; `net_benefit` (threshold, model, low, high,
            treat_all, treat_none) at threshold probabilities from .01 to .99; `cost_lines` (probability_cost,
            normalized_cost, threshold, never, always). The last two ask for no costs.
        slice: as in the table.
        model: its name; needed where there are several.
        tp: cost of a true positive: a number, or a column of costs that depend on the row.
        fp: cost of a false positive, likewise.
        fn: cost of a false negative, likewise.
        tn: cost of a true negative, likewise.
        prevalence: share of positives instead of the slice's own, for `cost` and `profit`.
        cap: costs beyond it, of either sign, count as this large. Costs in columns must have been evaluated with it;
            None takes those without a cap, or where there are only capped ones, these.
        points: the most thresholds of `cost` and `profit`, spread evenly over the rows; None: every distinct score.

    Raises:
        ConfigError: there is no such curve, slice or model, or what it needs was not collected.

    Source: Vickers and Elkin (2006), Decision curve analysis; Drummond and Holte (2006), Cost curves.
    """
    if kind not in KINDS:
        raise ConfigError(f'No curve "{kind}".{nearest(kind, KINDS)} Curves: {listing(KINDS)}.')
    evaluation, index = _found(result, slice, model)
    costs = {"tp": tp, "fp": fp, "fn": fn, "tn": tn}
    level = evaluation.settings.level
    if kind in ("net_benefit", "cost_lines"):
        sums = _histogram(evaluation, "score_histogram").take(np.array([index]))
        return _net_benefit(sums, level) if kind == "net_benefit" else _cost_lines(sums.margin())
    columns = any(isinstance(value, str) for value in costs.values())
    if columns:
        called = _of_rows(evaluation, index, _collected(evaluation, costs, cap), points)
    else:
        called = _of_constants(evaluation, index, _capped(costs, cap), points)
    mean, low, high = called.mean(level, prevalence)
    if kind == "cost":
        return _frame(threshold=called.thresholds, cost=mean, low=low, high=high)
    return _frame(
        positive_prediction_rate=called.share, threshold=called.thresholds, profit=-mean, low=-high, high=-low
    )


def _capped(costs: Mapping[str, Any], cap: float | None) -> dict[str, Any]:
    if cap is not None and not cap > 0:
        raise ConfigError(f"cap must be above 0, not {cap!r}.")
    return dict(costs) if cap is None else {name: max(-cap, min(cap, cost)) for name, cost in costs.items()}


def _found(result: Result, text: str, model: str | None) -> tuple[Evaluation, int]:
    names = [e.model for e in result.evaluations]
    if model is None and len(names) == 1:
        model = names[0]
    if model not in names:
        raise ConfigError(f"Name the model of the curve (model=...); there are: {listing(names)}.")
    evaluation = result.evaluations[names.index(model)]
    texts = evaluation.plan.texts
    if text not in texts:
        raise ConfigError(f'No slice "{text}" here.{nearest(text, texts)} There are: {listing(texts, 40)}.')
    return evaluation, texts.index(text)


def _histogram(evaluation: Evaluation, identity: str) -> ScoreSums:
    sums = evaluation.sums.get(identity)
    if not isinstance(sums, ScoreSums):
        raise ConfigError("There are no curves without a metric of scores, such as roc_auc.")
    return sums


def _frame(**columns: Any) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame(columns)


# --- sums of the rows called positive ---


@dataclass(frozen=True)
class _Places:
    """Thresholds from the highest down, and at which of them each entry of a histogram is first called positive."""

    thresholds: Floats
    place: NDArray[np.int64]

    @classmethod
    def of(cls, thresholds: Floats, scores: Floats) -> _Places:
        """Finds each score's place among descending thresholds; a score equal to one is called."""
        return cls(thresholds, len(thresholds) - np.searchsorted(thresholds[::-1], scores, side="right"))

    def called(self, values: Floats) -> Floats:
        """Sums values [entries, ...] over the entries called at each threshold, [thresholds, ...]."""
        size = len(self.thresholds) + 1
        flat = values.reshape(len(values), -1)
        sums = np.stack([np.bincount(self.place, weights=column, minlength=size) for column in flat.T], axis=1)
        return sums.cumsum(axis=0)[:-1].reshape(size - 1, *values.shape[1:])

    def called_by_group(self, values: Floats, groups: NDArray[np.int32]) -> Floats:
        """The same by group, values [entries, k] to [groups, thresholds, k]."""
        size = len(self.thresholds) + 1
        code = groups.astype(np.int64) * size + self.place
        sums = [np.bincount(code, weights=column, minlength=GROUPS * size) for column in values.T]
        return np.stack(sums, axis=-1).reshape(GROUPS, size, -1).cumsum(axis=1)[:, :-1]


@dataclass(frozen=True)
class _Amounts:
    """Sums of the rows' costs at each threshold, for negatives and positives.

    Attributes:
        thresholds: [thresholds] from the highest down.
        share: [thresholds] share of the weight that is called positive.
        first: [thresholds, 2] weight times cost.
        second: [thresholds, 2] the same, squared.
        cross: [thresholds, 2] squared weight times cost.
        weight: [2] summed weights.
        square: [2] summed squared weights.
        rows: [2] rows.
        by_group: [groups, thresholds, 2] the first by group of units; None where rows are independent.
        weight_by_group: [groups, 2].
    """

    thresholds: Floats
    share: Floats
    first: Floats
    second: Floats
    cross: Floats
    weight: Floats
    square: Floats
    rows: Floats
    by_group: Floats | None = None
    weight_by_group: Floats | None = None

    def mean(self, level: float, prevalence: float | None) -> tuple[Floats, Floats, Floats]:
        """Returns the mean cost of a row at each threshold, and the ends of its interval."""
        if prevalence is not None:
            if not 0 <= prevalence <= 1:
                raise ConfigError(f"prevalence must lie between 0 and 1, not {prevalence!r}.")
            scale = np.array([1 - prevalence, prevalence]) / np.where(self.weight > 0, self.weight, np.nan)
            of_class = self.first / np.where(self.weight > 0, self.weight, np.nan)
        else:
            scale = np.full(2, 1 / self.weight.sum())
            of_class = np.broadcast_to((self.first.sum(1) / self.weight.sum())[:, None], self.first.shape)
        mean = (scale * self.first).sum(1)
        if self.by_group is not None and self.weight_by_group is not None:
            influence = (scale * (self.by_group - of_class * self.weight_by_group[:, None])).sum(2)
            held = int((self.weight_by_group.sum(1) > 0).sum())
            variance, degrees = (influence**2).sum(0) * held / max(held - 1, 1), held - 1.0
        else:
            spread = self.second - 2 * of_class * self.cross + of_class**2 * self.square
            variance, degrees = (scale**2 * np.maximum(spread, 0.0)).sum(1), self.rows.sum() - 1
            variance *= self.rows.sum() / max(degrees, 1)
        return (mean, *_ends(mean, variance, level, degrees))


def _ends(mean: Floats, variance: Floats, level: float, degrees: float) -> tuple[Floats, Floats]:
    """Returns the ends of intervals; NaN where nothing varies."""
    varies = variance > 1e-24 * np.maximum(mean**2, 1e-300)
    reach = np.where(varies, critical(level, max(degrees, 1.0)) * np.sqrt(variance), np.nan)
    return mean - reach, mean + reach


def _thresholds(sums: ScoreSums, points: int | None) -> Floats:
    """Returns infinity and distinct scores, all or some that are evenly spread over the rows, highest first."""
    margin = sums.margin()
    every = margin.scores()
    if points is not None and len(every) + 1 > points:
        if points < 3:
            raise ConfigError(f"points must be at least 3, not {points}.")
        rows = margin.count.sum(1).cumsum()
        every = every[np.unique(np.searchsorted(rows, np.linspace(1, rows[-1], points - 1)))]
    return np.append(np.inf, every[::-1])


def _of_constants(evaluation: Evaluation, index: int, costs: Mapping[str, Any], points: int | None) -> _Amounts:
    sums = _histogram(evaluation, "score_histogram").take(np.array([index]))
    called, passed = np.array([costs["fp"], costs["tp"]], float), np.array([costs["tn"], costs["fn"]], float)
    return _with_constants(sums, _thresholds(sums, points), called, passed)


def _with_constants(sums: ScoreSums, thresholds: Floats, called: Floats, passed: Floats) -> _Amounts:
    """Adds up costs [2] or [thresholds, 2] of rows called and not called positive."""
    places = _Places.of(thresholds, sums.scores())
    weights, squares = places.called(sums.weights), places.called(sums.squares)
    weight, square = sums.weights.sum(0), sums.squares.sum(0)
    by_group = weight_by_group = None
    if sums.groups is not None:
        grouped = places.called_by_group(sums.weights, sums.groups)
        weight_by_group = _by_group(sums.weights, sums.groups)
        by_group = grouped * called + (weight_by_group[:, None] - grouped) * passed
    return _Amounts(
        thresholds=thresholds,
        share=weights.sum(1) / weight.sum(),
        first=weights * called + (weight - weights) * passed,
        second=squares * called**2 + (square - squares) * passed**2,
        cross=squares * called + (square - squares) * passed,
        weight=weight,
        square=square,
        rows=sums.count.sum(0).astype(np.float64),
        by_group=by_group,
        weight_by_group=weight_by_group,
    )


def _by_group(values: Floats, groups: NDArray[np.int32]) -> Floats:
    sums = [np.bincount(groups, weights=column, minlength=GROUPS) for column in values.T]
    return np.stack(sums, axis=1).astype(np.float64)


def _of_rows(evaluation: Evaluation, index: int, collected: _Collected, points: int | None) -> _Amounts:
    """Adds the cost histogram to the cost of calling nobody, which `expected_cost` holds.

    The squared weights times costs are not kept: weights are taken as unrelated to costs.
    """
    fields, names, histogram = collected
    one, sums = fields.take(np.array([index])), histogram.take(np.array([index]))
    margin = one.margin()

    def field(part: Any, name: str) -> Any:
        return np.stack([part[..., names.index(f"{name}negative")], part[..., names.index(f"{name}positive")]], axis=-1)

    total = margin.total[0]
    weight = np.array([total[names.index("negative")], total[names.index("label")]])
    places = _Places.of(_thresholds(sums, points), sums.scores())
    first = field(total, "never_") + places.called(sums.weights)
    square, second = weight, np.zeros_like(first)
    by_group = weight_by_group = None
    if one.clustered and sums.groups is not None:
        grouped = one.total[0]
        weight_by_group = np.stack([grouped[:, names.index("negative")], grouped[:, names.index("label")]], axis=1)
        by_group = field(grouped, "never_")[:, None] + places.called_by_group(sums.weights, sums.groups)
    elif one.square is not None:
        diagonal = np.diagonal(one.square[0])
        square = np.array([diagonal[names.index("negative")], diagonal[names.index("label")]])
        second = field(diagonal, "never_") + places.called(sums.squares)
    rows = sums.count.sum(0).astype(np.float64)
    return _Amounts(
        thresholds=places.thresholds,
        share=_share(evaluation, index, places.thresholds, sums),
        first=first,
        second=second,
        cross=first * square / np.where(weight > 0, weight, 1.0),
        weight=weight,
        square=square,
        rows=rows,
        by_group=by_group,
        weight_by_group=weight_by_group,
    )


def _share(evaluation: Evaluation, index: int, thresholds: Floats, sums: ScoreSums) -> Floats:
    """Returns the share of the weight that is called; NaN where weights were not collected beside the costs."""
    weights = sums.count.astype(np.float64)
    if evaluation.settings.weighted:
        scores = evaluation.sums.get("score_histogram")
        if not isinstance(scores, ScoreSums):
            return np.full(len(thresholds), np.nan)
        sums = scores.take(np.array([index]))
        weights = sums.weights
    return np.asarray(_Places.of(thresholds, sums.scores()).called(weights).sum(1) / weights.sum())


def _collected(evaluation: Evaluation, costs: Mapping[str, Any], cap: float | None) -> _Collected:
    """Finds the sums of `expected_cost` or `total_cost` with these costs, and their histogram."""
    statistics = {m.statistic.identity: m.statistic for _, m in evaluation.metrics}.values()
    of_costs = [s for s in statistics if s.name == "decision_cost"]
    for statistic in sorted(of_costs, key=lambda s: s.parameters["cap"] is not None):
        own = statistic.parameters["cap"]
        if cap not in (None, own) or any(statistic.parameters[n] != v for n, v in costs.items()):
            continue
        beside = statistic.companion()
        fields = evaluation.sums[statistic.identity]
        histogram = evaluation.sums.get(beside.identity) if beside is not None else None
        if isinstance(fields, FieldSums) and isinstance(histogram, ScoreSums):
            return fields, statistic.fields, histogram
    asked = {**costs, **({} if cap is None else {"cap": cap})}
    given = ",".join(f"{name}={asked[name]}" for name in sorted(asked))
    raise ConfigError(
        f'A curve of these costs needs the metric "expected_cost@{given}", and scores, in the evaluation.'
    )


# --- decision curves and cost lines ---


def _net_benefit(sums: ScoreSums, level: float) -> pl.DataFrame:
    if not sums.probabilities:
        raise ConfigError("A decision curve needs scores in [0, 1].")
    chosen = np.arange(99, 0, -1) / 100
    odds = chosen / (1 - chosen)
    benefit = np.stack([-odds, np.ones(99)], axis=1)
    thresholds = chosen.astype(sums.dtype).astype(np.float64)
    model, low, high = _with_constants(sums, thresholds, benefit, np.zeros(2)).mean(level, None)
    share = sums.weights.sum(0) / sums.weights.sum()
    frame = _frame(
        threshold=chosen,
        model=model,
        low=low,
        high=high,
        treat_all=share[1] - share[0] * odds,
        treat_none=np.zeros(99),
    )
    return frame.reverse()


def _cost_lines(sums: ScoreSums, points: int = 101) -> pl.DataFrame:
    """Finds at each mix the threshold of lowest cost: chosen on the same rows, so a little too low."""
    weight = sums.weights.sum(0)
    if not weight.all():
        raise ConfigError("A cost curve needs positives and negatives in the slice.")
    thresholds = np.append(np.inf, sums.scores()[::-1])
    called = np.concatenate([np.zeros((1, 2)), sums.weights[::-1].cumsum(0)]) / weight
    misses, alarms = 1 - called[:, 1], called[:, 0]
    mix = np.linspace(0, 1, points)
    best = np.array([int(np.argmin(misses * x + alarms * (1 - x))) for x in mix])
    return _frame(
        probability_cost=mix,
        normalized_cost=np.maximum(misses[best] * mix + alarms[best] * (1 - mix), 0.0),
        threshold=thresholds[best],
        never=mix,
        always=1 - mix,
    )


# --- a candidate against a baseline ---


def cost_difference(
    labels: Any,
    baseline_scores: Any,
    candidate_scores: Any,
    thresholds: Any = None,
    *,
    tp: Any = 0,
    fp: Any = 1,
    fn: Any = 1,
    tn: Any = 0,
    weight: Any = None,
    group: Any = None,
    level: float = 0.95,
    seed: int = 0,
) -> pl.DataFrame:
    """Returns the candidate's expected cost minus the baseline's at each threshold; below 0 the candidate costs less.

    A row counts only at thresholds between its two scores, so sums and squares at all thresholds are three histograms.
    Two made-up rows of opposite sign are added to the variance: where no row differs, a cost of exactly the same is
    not shown with certainty.

    Args:
        labels: [rows] 0 and 1.
        baseline_scores: [rows].
        candidate_scores: [rows], of the same rows.
        thresholds: the same for both models; None: up to 99, evenly spread over both models' scores.
        tp: cost of a true positive: a number or [rows].
        fp: cost of a false positive, likewise.
        fn: cost of a false negative, likewise.
        tn: cost of a true negative, likewise.
        weight: [rows] sampling weights.
        group: [rows] integers in [0, 256), the group of each row's unit; None where rows are independent.
        level: the confidence level.
        seed: fixes the draws behind the simultaneous band.

    Returns:
        A row for each threshold, ascending: threshold, difference, low, high (each alone), low_all, high_all (all
        thresholds together, by the largest deviation), rows (how many are decided differently).

    Raises:
        UsageError: the arrays differ in length.
    """
    positive = np.asarray(labels) == 1
    amount = np.where(positive, np.subtract(tp, fn), np.subtract(fp, tn)).astype(np.float64)
    if thresholds is None:
        both = np.concatenate([np.asarray(baseline_scores), np.asarray(candidate_scores)])
        thresholds = np.unique(np.quantile(both, np.linspace(0.01, 0.99, 99), method="inverted_cdf"))
    pair = _Pair.of(positive, baseline_scores, candidate_scores, thresholds, amount, weight, group)
    return pair.frame(np.ones((len(pair.thresholds), 2)), "difference", level, seed)


def net_benefit_difference(
    labels: Any,
    baseline_scores: Any,
    candidate_scores: Any,
    thresholds: Any = None,
    *,
    weight: Any = None,
    group: Any = None,
    level: float = 0.95,
    seed: int = 0,
) -> pl.DataFrame:
    """Returns the candidate's net benefit minus the baseline's at each threshold probability; above 0 it is better.

    Args:
        labels: [rows] 0 and 1.
        baseline_scores: [rows] probabilities.
        candidate_scores: [rows] probabilities of the same rows.
        thresholds: threshold probabilities; None: .01 to .99.
        weight: [rows] sampling weights.
        group: [rows] integers in [0, 256), the group of each row's unit.
        level: the confidence level.
        seed: fixes the draws behind the simultaneous band.

    Returns:
        The columns of `cost_difference`.

    Raises:
        UsageError: the arrays differ in length.
    """
    positive = np.asarray(labels) == 1
    chosen = np.unique(np.arange(1, 100) / 100 if thresholds is None else np.asarray(thresholds, dtype=np.float64))
    if len(chosen) and not 0 < chosen[0] <= chosen[-1] < 1:
        raise ConfigError("Threshold probabilities must lie between 0 and 1.")
    pair = _Pair.of(positive, baseline_scores, candidate_scores, chosen, np.ones(len(positive)), weight, group)
    descending = chosen[::-1]
    benefit = np.stack([-descending / (1 - descending), np.ones(len(chosen))], axis=1)
    return pair.frame(benefit, "difference", level, seed)


@dataclass(frozen=True)
class _Pair:
    """Sums over the rows that two models decide differently, for negatives and positives.

    Attributes:
        thresholds: [thresholds] from the highest down.
        first: [thresholds, 2] weight times amount, plus where the candidate alone calls, minus where the baseline does.
        second: [thresholds, 2] its square, of all rows decided differently.
        rows: [thresholds] rows decided differently.
        by_group: [groups, thresholds, 2] the first by group, of groups that hold rows.
        weight: summed weights.
        typical: [2] root mean square of weight times amount.
        n: the number of rows.
        clustered: whether groups are of units, and not only for drawing.
    """

    thresholds: Floats
    first: Floats
    second: Floats
    rows: Floats
    by_group: Floats
    weight: float
    typical: Floats
    n: int
    clustered: bool

    @classmethod
    def of(
        cls, positive: Any, baseline: Any, candidate: Any, thresholds: Any, amount: Floats, weight: Any, group: Any
    ) -> _Pair:
        """Adds up the rows once for every threshold."""
        scores = np.asarray(baseline), np.asarray(candidate)
        n = len(positive)
        if any(len(s) != n for s in (*scores, amount)):
            raise UsageError("Labels, scores and costs of a comparison must be of the same rows.")
        descending = np.unique(np.asarray(thresholds, dtype=np.float64))[::-1]
        w = np.ones(n) if weight is None else np.asarray(weight, dtype=np.float64)
        groups = (np.arange(n) % GROUPS if group is None else np.asarray(group)).astype(np.int32)
        added = np.zeros((n, 2))
        added[np.arange(n), positive.astype(np.int64)] = w * amount
        old, new = (_Places.of(descending.astype(s.dtype).astype(np.float64), s.astype(np.float64)) for s in scores)
        both = replace(new, place=np.maximum(old.place, new.place))

        def differently(values: Floats) -> Floats:
            return old.called(values) + new.called(values) - 2 * both.called(values)

        of_class = np.stack([~positive, positive], axis=1)
        counted = np.maximum((added != 0).sum(0), 1)
        return cls(
            thresholds=descending,
            first=new.called(added) - old.called(added),
            second=np.maximum(differently(added**2), 0.0),
            rows=differently(of_class.astype(np.float64)).sum(1),
            by_group=(new.called_by_group(added, groups) - old.called_by_group(added, groups))[np.unique(groups)],
            weight=float(w.sum()),
            typical=np.sqrt((added**2).sum(0) / counted),
            n=n,
            clustered=group is not None,
        )

    def frame(self, factor: Floats, name: str, level: float, seed: int) -> pl.DataFrame:
        """Returns differences and bands, amounts multiplied by [thresholds, 2]."""
        difference = (self.first * factor).sum(1) / self.weight
        by_group = (self.by_group * factor).sum(2) / self.weight
        held = len(by_group)
        centred = by_group - difference / held
        if self.clustered:
            variance = (centred**2).sum(0) * held / max(held - 1, 1)
        else:
            squares = (self.second * factor**2).sum(1) / self.weight**2
            variance = np.maximum(squares - difference**2 / self.n, 0.0)
        made_up = 2 * ((self.typical * factor) ** 2).max(1) / self.weight**2
        error = np.sqrt(variance + made_up)
        degrees = held - 1.0 if self.clustered else self.n - 1.0
        alone = float(critical(level, max(degrees, 1.0)))
        together = max(alone / float(critical(level)) * _largest(centred, error, level, seed), alone)
        return _frame(
            threshold=self.thresholds,
            **{name: difference},
            low=difference - alone * error,
            high=difference + alone * error,
            low_all=difference - together * error,
            high_all=difference + together * error,
            rows=np.round(self.rows).astype(np.int64),
        ).reverse()


def _largest(centred: Floats, error: Floats, level: float, seed: int, draws: int = 2000) -> float:
    """Returns the quantile of the largest standardised deviation over all thresholds, by Gaussian multipliers."""
    scaled = np.divide(centred, error, out=np.zeros_like(centred), where=error > 0)
    drawn = np.random.default_rng(seed).standard_normal((draws, len(centred))) @ scaled
    return float(np.quantile(np.abs(drawn).max(1), level)) if centred.size else 0.0
