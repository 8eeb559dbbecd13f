"""Each slice against the rest of the rows: is the gap real, and which are the worst?

The rest is disjoint from the slice, so two independent estimates are compared; where units have rows on both sides,
their groups' influences are subtracted first. Ranking is by shrunk difference: sorting raw values picks small slices by
chance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.adjust import benjamini_hochberg, holm, shrink
from evalkit.collect import GROUPS
from evalkit.errors import ConfigError, listing
from evalkit.estimate import Estimate, estimate, group_influence, group_variance
from evalkit.interval import Intervals, critical, effective_rows, intervals
from evalkit.metric import Metric
from evalkit.money import IN_ALL
from evalkit.results import Evaluation, Result
from evalkit.statistic import Statistic
from evalkit.sums import AnySums, FieldSums, ScoreSums, regroup
from evalkit.tabulate import design_effect, keys_series

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_MOST_ENTRIES = 1 << 20
_LEAST_EXPECTED = 5


def differences(result: Result, names: Sequence[str] | None = None) -> pl.DataFrame:
    """Returns the table of each slice against the rest of the rows.

    Args:
        result: an evaluation with slices.
        names: metrics of the result; None: those with a direction and an analytic interval that do not grow with rows.

    Returns:
        A row for each model, metric and slice but overall, by model and metric and then by the size of `delta_shrunk`.
        `candidate` is the slice's value, `baseline` the rest's, `delta` candidate minus baseline. `p_adjusted` (Holm)
        and `q_value` (Benjamini-Hochberg) are over a model's slices and metrics.
    """
    import polars as pl

    frames = [_of_model(evaluation, _chosen(evaluation, names)) for evaluation in result.evaluations]
    return pl.concat(frames)


def worst(result: Result, metric: str, n: int) -> pl.DataFrame:
    """Returns the n slices that are worst against the rest of the rows in one metric, by shrunk difference."""
    import polars as pl

    chosen = dict(result.evaluations[0].metrics).get(result[metric].metrics[0])
    if chosen is None or chosen.better is None:
        raise ConfigError(f'"{metric}" has no direction: neither high nor low is worse.')
    table = differences(result, [result[metric].metrics[0]]).filter(pl.col("status") == "ok")
    return table.sort("delta_shrunk", descending=chosen.better == "lower", maintain_order=True).head(n)


def _testable(metric: Metric) -> bool:
    return metric.kind not in ("none", "bootstrap")


def _chosen(evaluation: Evaluation, names: Sequence[str] | None) -> list[tuple[str, Metric]]:
    if names is None:
        found = evaluation.metrics
        return [(n, m) for n, m in found if _testable(m) and m.better and m.name_of_function not in IN_ALL]
    known = dict(evaluation.metrics)
    for name in names:
        if name not in known:
            raise ConfigError(f'"{name}" was not evaluated; there are: {listing(known)}.')
        if not _testable(known[name]):
            raise ConfigError(f'"{name}" has no analytic interval, so its slices are not tested against the rest.')
    return [(name, known[name]) for name in names]


@dataclass(frozen=True)
class _Test:
    """One metric's slices against the rest; arrays are [slices], overall among them."""

    name: str
    slice: Estimate
    rest: Estimate
    own: Intervals
    delta: Floats
    variance: Floats
    low: Floats
    high: Floats
    p: Floats
    status: list[str]


def _of_model(evaluation: Evaluation, chosen: Sequence[tuple[str, Metric]]) -> pl.DataFrame:
    by_statistic: dict[str, list[tuple[str, Metric]]] = defaultdict(list)
    for name, metric in chosen:
        by_statistic[metric.statistic.identity].append((name, metric))
    tests: dict[str, _Test] = {}
    for identity, named in by_statistic.items():
        sums = evaluation.sums[identity]
        others = rest(sums, named[0][1].statistic)
        metrics = [metric for _, metric in named]
        pairs = zip(estimate(metrics, sums), estimate(metrics, others), strict=True)
        for (name, _), (own, other) in zip(named, pairs, strict=True):
            tests[name] = _test(name, own, other, sums, others, evaluation)
    return _table(evaluation, [tests[name] for name, _ in chosen])


def rest(sums: AnySums, statistic: Statistic) -> AnySums:
    """Returns the sums of all rows but each slice's; of scores without groups, and binned where slices are many."""
    if isinstance(sums, FieldSums):
        overall = sums.take(np.zeros(len(sums.total), dtype=np.int64))
        largest = None if sums.largest is None else np.full_like(sums.largest, np.nan)
        return replace(overall.add(sums.at_pivot(statistic, overall.pivot), -1), largest=largest)
    return _rest_of_scores(sums.margin())


def _rest_of_scores(sums: ScoreSums) -> ScoreSums:
    """Lays the overall histogram out for every slice and takes the slice's own away."""
    overall = sums.take(np.array([0]))
    if len(overall.keys) * sums.size > _MOST_ENTRIES:
        bins = overall.thinner_bins(max(_MOST_ENTRIES // sums.size, 16))
        overall, sums = overall.binned(bins), sums.binned(bins)
    size = len(overall.keys)
    place = np.searchsorted(overall.keys, sums.keys)

    def subtract(array: Any, own: Any) -> Any:
        laid = np.broadcast_to(array, (sums.size, size, 2)).copy()
        laid[sums.slices, place] -= own
        return laid.reshape(-1, 2)

    laid_out = ScoreSums(
        slices=np.repeat(np.arange(sums.size, dtype=np.int32), size),
        keys=np.tile(overall.keys, sums.size),
        groups=None,
        count=subtract(overall.count, sums.count),
        total=None if overall.total is None or sums.total is None else subtract(overall.total, sums.total),
        square=None if overall.square is None or sums.square is None else subtract(overall.square, sums.square),
        bins=sums.bins,
        dtype=sums.dtype,
        probabilities=sums.probabilities,
        size=sums.size,
    )
    return regroup(laid_out)


def _rest_influence(gradient: Floats, rest: ScoreSums, sums: ScoreSums) -> Floats:
    """Returns the influence of each group of units on the metric of each slice's rest, [slices, groups].

    The groups' sums in the rest are those of all rows minus the slice's, so they are not laid out for every slice.
    """
    from scipy import sparse

    if rest.bins is not None:
        sums = sums.binned(rest.bins)
    overall = sums.take(np.array([0]))
    if overall.groups is None or sums.groups is None:
        raise ValueError("no groups of units")
    keys = np.unique(overall.keys)
    slopes = np.zeros((sums.size, len(keys), 2))
    slopes[rest.slices, np.searchsorted(keys, rest.keys)] = gradient
    rows = np.searchsorted(keys, overall.keys)[:, None] * 2 + np.arange(2)
    columns = np.repeat(overall.groups[:, None], 2, axis=1)
    by_group = sparse.csr_array(
        (overall.weights.ravel(), (rows.ravel(), columns.ravel())), shape=(2 * len(keys), GROUPS)
    )
    every: Floats = np.asarray(by_group.T @ slopes.reshape(sums.size, -1).T).T
    own = (slopes[sums.slices, np.searchsorted(keys, sums.keys)] * sums.weights).sum(1)
    code = sums.slices.astype(np.int64) * GROUPS + sums.groups
    return every - np.bincount(code, weights=own, minlength=sums.size * GROUPS).reshape(sums.size, GROUPS)


def _test(name: str, own: Estimate, other: Estimate, sums: AnySums, others: AnySums, evaluation: Evaluation) -> _Test:
    level = evaluation.settings.level
    deff = design_effect(own)
    variance = own.variance + other.variance
    if sums.clustered:
        other, variance = between_groups(own, other, sums, others)
    own_interval, other_interval = (intervals(e, level, deff) for e in (own, other))
    with np.errstate(all="ignore"):
        delta = own.value - other.value
        statistic, low, high = _statistic(own, other, own_interval, other_interval, delta, variance, level, deff)
        p = _p_value(statistic, _degrees(own, other))
        if own.metric.kind == "wilson":
            p = _small_counts(p, own, other, deff)
    few = own_interval.few | other_interval.few | (own.support < evaluation.settings.min_rows)
    undefined = ~np.isfinite(delta)
    status = ["undefined" if u else "too_few_rows" if f else "ok" for u, f in zip(undefined, few, strict=True)]
    decided = np.array([s == "ok" for s in status]) & (variance > 0)
    hide = np.where(decided, 1.0, np.nan)
    return _Test(name, own, other, own_interval, delta, variance * hide, low * hide, high * hide, p * hide, status)


def between_groups(own: Estimate, other: Estimate, sums: AnySums, others: AnySums) -> tuple[Estimate, Floats]:
    """Returns the rest's estimate with its clustered variance, and the variance of slice minus rest.

    Groups with rows on both sides are taken together.
    """
    if isinstance(sums, FieldSums) and isinstance(others, FieldSums):
        mine = np.einsum("sgf,sf->sg", sums.total, own.gradient)
        theirs = np.einsum("sgf,sf->sg", others.total, other.gradient)
        held = (sums.count.sum(-1) > 0) | (others.count.sum(-1) > 0)
    elif isinstance(sums, ScoreSums) and isinstance(others, ScoreSums):
        mine = _widened(group_influence(sums, own.gradient)[0])
        slopes = other.gradient
        if sums.fine is not None:
            others = _rest_of_scores(sums.ungrouped())
            slopes = estimate([other.metric], others)[0].gradient
        theirs = _rest_influence(slopes, others, sums)
        rows = _rows_of_groups(sums)
        rest_rows = rows[0] - rows
        groups = (rest_rows > 0).sum(1).min(-1).astype(np.float64)
        other = replace(other, variance=group_variance(theirs, rest_rows.any(-1)), groups=groups)
        held = np.broadcast_to(rows[0].any(-1), theirs.shape)
    else:
        raise ValueError("sums of two forms")
    return other, group_variance(mine - theirs, held)


def _widened(by_group: Floats) -> Floats:
    return np.pad(by_group, ((0, 0), (0, GROUPS - by_group.shape[1])))


def _rows_of_groups(sums: ScoreSums) -> NDArray[np.int64]:
    """Returns the rows of each slice, group and label, [slices, groups, 2]."""
    if sums.groups is None:
        raise ValueError("no groups of units")
    rows = np.zeros((sums.size, GROUPS, 2), dtype=np.int64)
    np.add.at(rows, (sums.slices, sums.groups), sums.count)
    return rows


def _degrees(own: Estimate, other: Estimate) -> Floats:
    """Degrees of freedom: those of the groups; for metrics that are not proportions, of the rarer class too."""
    groups = np.fmin(own.groups, other.groups)
    if own.metric.kind in ("wilson", "mover"):
        return np.where(np.isfinite(groups), np.maximum(groups - 1, 1), np.inf)
    return np.maximum(np.fmin(groups, np.minimum(own.rarer, other.rarer)) - 1, 1)


def _statistic(
    own: Estimate,
    other: Estimate,
    own_interval: Intervals,
    other_interval: Intervals,
    delta: Floats,
    variance: Floats,
    level: float,
    deff: float,
) -> tuple[Floats, Floats, Floats]:
    """Returns the test statistic, and the interval of the difference."""
    kind = own.metric.kind
    shared = np.where((own.variance + other.variance) > 0, variance / (own.variance + other.variance), 1.0)
    if kind in ("wilson", "mover"):
        below = np.hypot(own.value - own_interval.low, other_interval.high - other.value) * np.sqrt(shared)
        above = np.hypot(own_interval.high - own.value, other.value - other_interval.low) * np.sqrt(shared)
        if kind == "mover":
            normal = critical(level)
            return delta * normal / np.where(delta > 0, below, above), delta - below, delta + above
        n, m = effective_rows(own, deff), effective_rows(other, deff)
        pooled = (n * own.value + m * other.value) / (n + m)
        error = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m) * shared)
        return delta / error, delta - below, delta + above
    reach = critical(level, _degrees(own, other)) * np.sqrt(variance)
    (a, variance_a), (b, variance_b) = scaled(own), scaled(other)
    return (a - b) / np.sqrt((variance_a + variance_b) * shared), delta - reach, delta + reach


def scaled(e: Estimate) -> tuple[Floats, Floats]:
    """The value and its variance on the scale of its interval; metrics of cells with half a row more in each."""
    value, variance = e.value, e.variance
    if e.metric.statistic.form == "cells":
        value, variance = e.smooth_value, e.smooth_variance
    if e.metric.kind in ("logit", "delong"):
        low, high = e.metric.range
        share = np.clip((value - low) / (high - low), 1e-15, 1 - 1e-15)
        return np.log(share) - np.log1p(-share), variance / (share * (1 - share) * (high - low)) ** 2
    if e.metric.kind == "atanh":
        inside = np.clip(value, -1 + 1e-12, 1 - 1e-12)
        return np.arctanh(inside), variance / (1 - inside**2) ** 2
    if e.metric.kind == "log":
        return np.log(value), variance / value**2
    return value, variance


def _p_value(statistic: Floats, degrees: Floats) -> Floats:
    from scipy import special

    below = -np.abs(statistic)
    finite = np.isfinite(degrees)
    return 2 * np.where(finite, special.stdtr(np.where(finite, degrees, 1), below), special.ndtr(below))


def _small_counts(p: Floats, own: Estimate, other: Estimate, deff: float) -> Floats:
    """Replaces the normal p-value by the mid-p of Fisher's exact test where under 5 rows are expected in a cell."""
    n, m = (np.nan_to_num(np.round(effective_rows(e, deff)), posinf=0).astype(np.int64) for e in (own, other))
    hits, all_hits = np.round(own.value * n), np.round(own.value * n) + np.round(other.value * m)
    pooled = all_hits / np.maximum(n + m, 1)
    small = (np.minimum(pooled, 1 - pooled) * np.minimum(n, m) < _LEAST_EXPECTED) & np.isfinite(p)
    result = p.copy()
    if not small.any():
        return result
    from scipy import stats

    for index in np.flatnonzero(small):
        law = stats.hypergeom(n[index] + m[index], int(all_hits[index]), n[index])
        k = int(hits[index])
        lower, upper = law.cdf(k) - law.pmf(k) / 2, law.sf(k) + law.pmf(k) / 2
        result[index] = min(1.0, 2 * min(lower, upper))
    return result


def _table(evaluation: Evaluation, tests: Sequence[_Test]) -> pl.DataFrame:
    import polars as pl

    plan = evaluation.plan
    size = len(plan.slices)
    index = np.arange(1, size)
    order = np.tile(index, len(tests))

    def joined(arrays: Sequence[Any]) -> Any:
        return np.concatenate([np.asarray(a)[index] for a in arrays]) if arrays else np.zeros(0)

    p = joined([t.p for t in tests])
    columns = {
        "candidate": [t.slice.value for t in tests],
        "baseline": [t.rest.value for t in tests],
        "delta": [t.delta for t in tests],
        "delta_low": [t.low for t in tests],
        "delta_high": [t.high for t in tests],
        "delta_shrunk": [np.append(np.nan, shrink(t.delta[1:], t.variance[1:])) for t in tests],
    }
    frame = pl.DataFrame(
        {
            "model": pl.repeat(evaluation.model, len(order), eager=True, dtype=pl.String),
            "slice": pl.Series(plan.texts, dtype=pl.String).gather(order),
            "metric": pl.Series([t.name for t in tests for _ in index], dtype=pl.String),
            "value": joined([t.slice.value for t in tests]).astype(np.float64),
            "low": joined([t.own.low for t in tests]).astype(np.float64),
            "high": joined([t.own.high for t in tests]).astype(np.float64),
            "rows": joined([t.slice.rows for t in tests]).astype(np.int64),
            "support": joined([t.slice.support for t in tests]).astype(np.int64),
            "status": pl.Series([s for t in tests for s in t.status[1:]], dtype=pl.String),
            **{name: joined(arrays).astype(np.float64) for name, arrays in columns.items()},
            "p_value": p,
            "p_adjusted": holm(p),
            "q_value": benjamini_hochberg(p),
            "slice_key": keys_series(plan.slices).gather(order),
        }
    )
    rank = pl.Series(np.repeat(np.arange(len(tests)), len(index)))
    by_size = np.nan_to_num(np.abs(frame["delta_shrunk"].to_numpy()), nan=-1.0)
    return (
        frame.with_columns(rank=rank, size=by_size)
        .sort(["rank", "size"], descending=[False, True], maintain_order=True)
        .drop("rank", "size")
    )
