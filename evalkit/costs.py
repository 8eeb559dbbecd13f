"""The threshold of lowest expected cost, judged on rows that it was not chosen on.

A threshold flatters itself on the rows it was chosen on. Here each part of the rows is decided by the threshold that
the other parts choose. The threshold's own error, which shrinks only with the cube root of the rows, is shown as the
set of thresholds that are not significantly worse.

>>> from evalkit.costs import bayes_threshold, best_threshold
>>> bayes_threshold(fp=1, fn=9)
0.1
>>> data = {"y": [0, 1, 0, 1] * 50, "p": [0.1, 0.4, 0.3, 0.8] * 50}
>>> best = best_threshold(data, label="y", score="p", fp=1, fn=9)
>>> best.threshold, round(best.cost, 6), round(best.never, 6)
(0.4, 0.0, 4.5)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.collect import GROUPS
from evalkit.errors import ConfigError, DataError, UsageError
from evalkit.hashing import hash64, mix
from evalkit.interval import critical
from evalkit.rows import Columns, check, units
from evalkit.table import read

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

_MOST_THRESHOLDS = 400
_DRAWS = 2000


@dataclass(frozen=True)
class BestThreshold:
    """The threshold of lowest expected cost, and what is known of it; costs are means per row.

    Attributes:
        threshold: chosen on all rows; scores of at least this are positive. Infinite where never deciding positive is
            best.
        cost: expected cost, each row decided by the threshold that the other folds choose; NaN ends of the interval
            where those decisions all cost the same.
        low: lower end of its interval.
        high: upper end.
        in_sample: cost of `threshold` on the rows it was chosen on: too low.
        never: cost of never deciding positive.
        always: cost of always deciding positive.
        bayes: cost of the Bayes-optimal decisions were the scores calibrated; NaN for scores outside [0, 1].
        bayes_threshold: their threshold; NaN where each row has its own.
        as_good: ranges (low, high] of thresholds whose cost is not significantly above that of the folds' choices,
            tested together: with probability `level` every threshold outside is worse than those.
        of_folds: the threshold that each fold is decided by.
        rows: rows with a positive weight.
        level: the confidence level.
    """

    threshold: float
    cost: float
    low: float
    high: float
    in_sample: float
    never: float
    always: float
    bayes: float
    bayes_threshold: float
    as_good: tuple[tuple[float, float], ...]
    of_folds: tuple[float, ...]
    rows: int
    level: float


def bayes_threshold(tp: float = 0, fp: float = 1, fn: float = 1, tn: float = 0) -> float:
    """Returns the threshold of a calibrated probability above which deciding positive is expected to cost less.

    (fp - tn) / ((fp - tn) + (fn - tp)). It is 0 where positive is never the dearer decision, infinite where it never is
    the cheaper one, NaN where the decision makes no difference.

    Raises:
        ConfigError: deciding positive pays for negatives and not for positives, so that low scores should be positive.

    Source: Elkan (2001), The foundations of cost-sensitive learning.

    >>> bayes_threshold(tp=-20, fp=5), bayes_threshold(fp=0), bayes_threshold(fn=0)
    (0.19230769230769232, 0.0, inf)
    """
    alarm, miss = fp - tn, fn - tp
    if alarm == 0 and miss == 0:
        return math.nan
    if alarm < 0 and miss < 0:
        raise ConfigError(
            "Errors pay: a false positive costs less than a true negative, a false negative less than a true positive. "
            "Swap the costs, or the labels."
        )
    if alarm <= 0:
        return math.inf if miss < 0 else 0.0
    return alarm / (alarm + miss) if miss > 0 else math.inf


def best_threshold(
    data: Any,
    *,
    label: str,
    score: str,
    tp: float | str = 0,
    fp: float | str = 1,
    fn: float | str = 1,
    tn: float | str = 0,
    weight: str | None = None,
    unit: str | None = None,
    id: str | None = None,  # noqa: A002 - the contract's word
    prevalence: float | None = None,
    positive: Any = None,
    folds: int = 2,
    seed: int = 0,
    level: float = 0.95,
    drop_invalid: bool = False,
) -> BestThreshold:
    """Returns the threshold of lowest expected cost, judged by cross-fitting.

    Args:
        data: as of `evaluate`.
        label: the column of labels.
        score: the column of scores of the positive class.
        tp: cost of a true positive: a number, or a column of costs that depend on the row.
        fp: cost of a false positive, likewise.
        fn: cost of a false negative, likewise.
        tn: cost of a true negative, likewise.
        weight: the column of sampling weights.
        unit: the column of what was sampled; a unit's rows stay in one fold.
        id: the column that identifies a row; folds by it do not depend on the order of the rows.
        prevalence: share of positives where the threshold will be used; None: as in the data.
        positive: the positive label, where labels are not 0 and 1.
        folds: parts of the rows, by hash.
        seed: fixes the parts.
        level: the confidence level.
        drop_invalid: whether rows with null, NaN or infinite values are dropped instead of refused.

    Raises:
        UsageError: a column, a setting or the data are wrong.
    """
    costs = {"tp": tp, "fp": fp, "fn": fn, "tn": tn}
    _check_settings(folds, level, prevalence, costs)
    extra = tuple(dict.fromkeys(value for value in costs.values() if isinstance(value, str)))
    columns = Columns(label, score, None, weight, unit, id, extra)
    checked = check(
        read(data, columns.names()), columns, task="binary", positive=positive, drop_invalid=drop_invalid, grouped=True
    )
    rows = checked.rows
    named = unit or id
    key = np.arange(rows.n) if named is None else units(checked.frame[named])
    amounts = {name: rows.columns[value] if isinstance(value, str) else value for name, value in costs.items()}
    table = _Decisions(
        score=np.asarray(rows.score),
        positive=np.asarray(rows.label) == 1,
        weight=np.ones(rows.n) if rows.weight is None else rows.weight,
        fold=(mix(hash64(key) + mix(np.array([seed], dtype=np.int64).view(np.uint64))) % np.uint64(folds)).astype(
            np.int64
        ),
        group=np.asarray(rows.group),
        clustered=unit is not None,
        prevalence=prevalence,
        **amounts,
    )
    return _best(table, folds, level, rows.probabilities)


def _check_settings(folds: int, level: float, prevalence: float | None, costs: dict[str, float | str]) -> None:
    for name, cost in costs.items():
        if not isinstance(cost, str) and (isinstance(cost, bool) or not math.isfinite(cost)):
            raise ConfigError(f"{name} must be a finite number or the name of a column, not {cost!r}.")
    if not isinstance(folds, int):
        raise ConfigError(f"folds must be a whole number of at least 2, not {folds!r}.")
    if folds < 2:
        raise ConfigError(f"folds must be at least 2, not {folds}: a threshold is judged on rows it was not chosen on.")
    if not 0 < level < 1:
        raise ConfigError(f"level must lie between 0 and 1, such as 0.95; not {level!r}.")
    if prevalence is not None and not 0 < prevalence < 1:
        raise ConfigError(f"prevalence must lie between 0 and 1, not {prevalence!r}.")


@dataclass(frozen=True)
class _Decisions:
    """The rows to decide, [rows] each; costs are numbers or [rows]."""

    score: NDArray[Any]
    positive: Flags
    weight: Floats
    fold: NDArray[np.int64]
    group: NDArray[np.int32]
    clustered: bool
    prevalence: float | None
    tp: Any
    fp: Any
    fn: Any
    tn: Any

    @property
    def called(self) -> Floats:
        """What each row costs if decided positive."""
        return np.where(self.positive, self.tp, self.fp).astype(np.float64)

    @property
    def passed(self) -> Floats:
        """What each row costs if decided negative."""
        return np.where(self.positive, self.fn, self.tn).astype(np.float64)

    def shares(self, among: Flags | None = None) -> Floats:
        """Each row's share of the mean, 0 outside `among`; classes have the prevalence asked for."""
        weight = self.weight if among is None else np.where(among, self.weight, 0.0)
        if self.prevalence is None:
            return weight / weight.sum()
        of_class = np.bincount(self.positive, weights=weight, minlength=2)
        if not of_class.all():
            raise DataError("Another prevalence needs positives and negatives in every fold; there are too few rows.")
        return weight * np.where(self.positive, self.prevalence / of_class[1], (1 - self.prevalence) / of_class[0])

    def influence(self, values: Floats) -> Floats:
        """What each row moves the mean of values by: its share of the distance to the mean, or to its class's."""
        shares = self.shares()
        if self.prevalence is None:
            return shares * (values - shares @ values)
        of_class = np.bincount(self.positive, weights=shares * values) / np.bincount(self.positive, weights=shares)
        return shares * (values - of_class[self.positive.astype(np.int64)])


def _best(table: _Decisions, folds: int, level: float, probabilities: bool) -> BestThreshold:
    held = np.bincount(table.fold, minlength=folds)
    if not held.all():
        raise UsageError(f"{len(table.score):,} rows are too few for {folds} folds: one is empty.")
    extra, passed, shares = table.called - table.passed, table.passed, table.shares()
    choose = _Chooser(table.score)
    threshold, saving = choose(shares * extra)
    of_folds = np.array([choose(table.shares(table.fold != k) * extra)[0] for k in range(folds)])
    calls = table.score >= of_folds[table.fold].astype(table.score.dtype)
    cost, low, high = _mean(table, passed + extra * calls, level)
    never = float(shares @ passed)
    bayes, own = _bayes(table) if probabilities else (math.nan, math.nan)
    return BestThreshold(
        threshold=threshold,
        cost=cost,
        low=low,
        high=high,
        in_sample=never + saving,
        never=never,
        always=float(shares @ table.called),
        bayes=bayes,
        bayes_threshold=own,
        as_good=_as_good(table, shares * extra, choose, threshold, of_folds, calls, level),
        of_folds=tuple(float(t) for t in of_folds),
        rows=len(table.score),
        level=level,
    )


class _Chooser:
    """The thresholds there are, from the highest down, and the one of lowest cost; sorts the rows once."""

    def __init__(self, score: NDArray[Any]) -> None:
        self.order = np.argsort(-score)
        ordered = score[self.order]
        self.last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
        self.thresholds: Floats = np.append(np.inf, ordered[self.last].astype(np.float64))

    def __call__(self, amount: Floats) -> tuple[float, float]:
        """Returns the highest threshold that minimises the sum of the called rows' amounts, and that sum."""
        sums = np.append(0.0, amount[self.order].cumsum()[self.last])
        best = int(np.argmin(sums))
        return float(self.thresholds[best]), float(sums[best])


def _mean(table: _Decisions, values: Floats, level: float) -> tuple[float, float, float]:
    """Returns the mean of values and the ends of its interval; NaN ends where values do not vary."""
    mean, influence = float(table.shares() @ values), table.influence(values)
    if table.clustered:
        by_group: Floats = np.bincount(table.group, weights=influence, minlength=GROUPS).astype(np.float64)
        influence = by_group[np.unique(table.group)]
    n = len(influence)
    variance = float(influence @ influence) * n / max(n - 1, 1)
    reach = float(critical(level, n - 1.0)) * math.sqrt(variance) if n > 1 and variance > 1e-28 * mean**2 else math.nan
    return mean, mean - reach, mean + reach


def _bayes(table: _Decisions) -> tuple[float, float]:
    """Returns the cost of deciding each row by its expected costs, and the one threshold that this is."""
    miss, alarm = np.asarray(table.fn - table.tp, np.float64), np.asarray(table.fp - table.tn, np.float64)
    if table.prevalence is not None:
        base = float(np.average(table.positive, weights=table.weight))
        miss, alarm = miss * table.prevalence / base, alarm * (1 - table.prevalence) / (1 - base)
    p = table.score.astype(np.float64)
    calls = p * miss >= (1 - p) * alarm
    cost = float(table.shares() @ np.where(calls, table.called, table.passed))
    one = miss.ndim == alarm.ndim == 0 and not (miss < 0 and alarm < 0)
    return cost, bayes_threshold(fp=float(alarm), fn=float(miss)) if one else math.nan


def _as_good(
    table: _Decisions,
    amount: Floats,
    choose: _Chooser,
    threshold: float,
    of_folds: Floats,
    calls: Flags,
    level: float,
) -> tuple[tuple[float, float], ...]:
    """Returns ranges of thresholds whose cost is not significantly above that of the folds' choices.

    For each row the difference at a threshold is not zero only between that threshold and its fold's, so sums and
    squares at all thresholds are histograms and running sums. One made-up row that speaks for the threshold is added
    to each difference: where few rows lie between, a rare expensive error that did not happen to occur is no evidence.
    """
    grid, exact = _grid(choose, threshold, of_folds)
    place = len(grid) - np.searchsorted(grid[::-1], table.score.astype(np.float64), side="right")
    width = len(grid) + 1
    own = np.bincount(table.group, weights=amount * calls, minlength=GROUPS)
    called = np.bincount(table.group * width + place, weights=amount, minlength=GROUPS * width)
    by_group = called.reshape(GROUPS, width).cumsum(1)[:, :-1] - own[:, None]
    by_group = by_group[np.bincount(table.group, minlength=GROUPS) > 0]
    groups, difference = len(by_group), by_group.sum(0)
    centred = (by_group - difference / groups) * math.sqrt(groups / max(groups - 1, 1))
    variance = (centred**2).sum(0) if table.clustered else _between(table, amount, place, grid, of_folds)
    made_up = _adverse(amount, grid, of_folds)
    error = np.sqrt(variance + made_up**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(error > 0, (difference - made_up) / error, 0.0)
        scaled = np.where(error > 0, centred / error, 0.0)
    draws = np.random.default_rng(0).standard_normal((_DRAWS, groups)) @ scaled
    bound = float(np.quantile(draws.max(1), level))
    if table.clustered:
        bound *= float(critical(level, groups - 1.0) / critical(level))
    keep = (statistic <= max(bound, float(critical(2 * level - 1)) if level > 0.5 else 0.0)) | (grid == threshold)
    return _ranges(grid, keep, exact)


def _grid(choose: _Chooser, threshold: float, of_folds: Floats) -> tuple[Floats, bool]:
    """Returns the thresholds tried, from the highest down, and whether they are all that there are."""
    every = choose.thresholds
    if len(every) <= _MOST_THRESHOLDS:
        return every, True
    ranks = np.linspace(0, len(choose.order) - 1, _MOST_THRESHOLDS)
    some = every[1 + np.searchsorted(choose.last, ranks)]
    return np.unique(np.concatenate([[np.inf], some, [threshold], of_folds]))[::-1], False


def _between(table: _Decisions, amount: Floats, place: Any, grid: Floats, of_folds: Floats) -> Floats:
    """Sums the squared amounts of the rows between each threshold and their fold's."""
    width = len(grid) + 1
    squares = np.bincount(table.fold * width + place, weights=amount**2, minlength=len(of_folds) * width)
    running = squares.reshape(len(of_folds), width).cumsum(1)[:, :-1]
    own = np.searchsorted(-grid, -of_folds)
    return np.abs(running - running[np.arange(len(of_folds)), own][:, None]).sum(0)


def _adverse(amount: Floats, grid: Floats, of_folds: Floats) -> Floats:
    """Returns the size of a row that speaks for each threshold against those of the folds."""
    dear, cheap = _size(amount[amount > 0]), _size(amount[amount < 0])
    either = max(dear, cheap)
    return np.where(grid > of_folds.max(), dear, np.where(grid < of_folds.min(), cheap, either))


def _size(values: Floats) -> float:
    return float(np.sqrt((values**2).mean())) if len(values) else 0.0


def _ranges(grid: Floats, keep: Flags, exact: bool) -> tuple[tuple[float, float], ...]:
    """Joins neighbouring thresholds; a range starts above the next lower threshold tried."""
    ascending, kept = grid[::-1], keep[::-1]
    edges = np.flatnonzero(np.diff(np.concatenate([[False], kept, [False]]).astype(np.int8)))
    last = len(ascending) - 1
    found = []
    for start, stop in edges.reshape(-1, 2).tolist():
        high = stop - 1 if exact else min(stop, last)
        found.append((float(ascending[max(start - 1, 0)]) if start else -math.inf, float(ascending[high])))
    return tuple(found)
