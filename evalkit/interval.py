"""Intervals from values and variances, by each metric's declared kind.

Which kind suits which metric, and what it reaches, was settled by simulation; `tests/test_coverage.py` repeats it.
Where rows are too few for a kind the answer is `too_few_rows`; where it is known to be rough, `approximate`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from evalkit.errors import ConfigError
from evalkit.estimate import Estimate
from evalkit.metric import Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Level = float | Floats
    Flags = NDArray[np.bool_]

MOST_EXACT_GROUPS = 40
_NEEDS = {
    "wilson": 1,
    "mover": 1,
    "atanh": 2,
    "log": 2,
    "logit": 2,
    "delong": 2,
    "delta": 2,
    "bootstrap": 10,
    "none": 1,
}
_LEAST_ROWS = 10
_FEW = 16  # places that are found faster without a sort
_LEAST_GROUPS = 5


class Interval(NamedTuple):
    """A confidence interval of one number."""

    low: float
    high: float


@dataclass(frozen=True)
class Bootstrap:
    """Ask for bootstrap intervals for every metric.

    Attributes:
        n: the number of replicates.
        seed: fixes the draws; the same in every part of the data.
    """

    n: int = 1000
    seed: int = 0


def bootstrap(n: int = 1000, seed: int = 0) -> Bootstrap:
    """Returns the setting `intervals=ek.bootstrap(1000)`: percentile intervals by Poisson weights."""
    if n < 20:
        raise ConfigError(f"A bootstrap needs at least 20 replicates, not {n}.")
    return Bootstrap(n, seed)


@dataclass(frozen=True)
class Intervals:
    """Intervals of one metric in every slice; arrays are [slices].

    Attributes:
        low: lower ends; NaN where there is none.
        high: upper ends.
        method: how they were made.
        approximate: where coverage or value is known to be rough.
        few: where the rows are too few for this kind.
        notes: why, for people; empty where there is nothing to say.
    """

    low: Floats
    high: Floats
    method: str
    approximate: Flags
    few: Flags
    notes: list[str]

    def methods(self) -> list[str]:
        """Returns how each slice's interval was made; `none` where there is none by nature."""
        if self.method != "none":
            return [self.method] * len(self.low)
        return ["delta on the logit" if np.isfinite(low) else "none" for low in self.low]


def intervals(e: Estimate, level: float, deff: float = 1.0, replicates: Floats | None = None) -> Intervals:
    """Returns the intervals of an estimate.

    Args:
        e: the estimate.
        level: the confidence level, such as .95.
        deff: the metric's design effect on all rows, for proportions of 0 and 1 of clustered rows.
        replicates: [replicates, slices] bootstrap values, where the kind or the user asks for them.
    """
    kind: Kind = "bootstrap" if replicates is not None else e.metric.kind
    clustered = bool(np.isfinite(e.groups).any())
    with np.errstate(all="ignore"):
        low, high = _METHODS[kind](e, level, deff) if replicates is None else _percentiles(level, replicates)
    few = too_few(e, kind)
    notes: list[list[str]] = [[] for _ in e.value]
    approximate = _flag(e, kind, clustered, notes)
    low, high = (np.where(few | np.isnan(e.value), np.nan, np.clip(end, *e.metric.range)) for end in (low, high))
    if kind == "none":
        approximate |= np.isfinite(low)
        _note_expected(e, notes)
    stepped = _stepped(replicates) if replicates is not None and clustered and e.binned else np.zeros(len(few), bool)
    low, high = (np.where(stepped, np.nan, end) for end in (low, high))
    for index in np.flatnonzero(stepped & ~few):
        notes[index].append("no interval: by unit, scores are binned too coarsely for one; give more memory")
    bare = ~few & np.isfinite(e.value) & np.isnan(low) & (kind != "none") & ~stepped
    for index in np.flatnonzero(bare):
        notes[index].append("no interval: the rows do not vary")
    outside = np.minimum(low, e.value), np.maximum(high, e.value)
    low, high = (np.where(np.isnan(end), np.nan, kept) for end, kept in zip((low, high), outside, strict=True))
    method = {"delong": "delong on the logit", "none": "none"}.get(kind, kind)
    if clustered and kind not in ("none", "bootstrap"):
        method += ", clustered"
    return Intervals(low, high, method, approximate, few, ["; ".join(n) for n in notes])


def too_few(e: Estimate, kind: Kind) -> Flags:
    """Returns where the rows are too few for a kind of interval, [slices]."""
    few = e.support < _NEEDS[kind]
    if kind == "none":
        return few
    if e.metric.statistic.form == "sums":
        few |= e.rows < _LEAST_ROWS
    if np.isfinite(e.groups).any():
        few |= e.groups < _LEAST_GROUPS
    return few


def ends(e: Estimate, alpha: Floats | float, deff: float = 1.0) -> tuple[Floats, Floats]:
    """Returns analytic ends, each of one-sided error rate alpha (a scalar or [slices]); NaN where rows are too few."""
    with np.errstate(all="ignore"):
        low, high = _METHODS[e.metric.kind](e, 1 - 2 * np.asarray(alpha, dtype=np.float64), deff)
    bare = too_few(e, e.metric.kind) | np.isnan(e.value)
    low, high = (np.where(bare, np.nan, np.clip(end, *e.metric.range)) for end in (low, high))
    return np.minimum(low, e.value), np.maximum(high, e.value)


class Roughness(NamedTuple):
    """Where an estimate's interval is known to be rough, and why, [slices]."""

    approximate: Flags
    notes: list[str]


def roughness(e: Estimate) -> Roughness:
    """Returns where the interval of a metric's own kind is known to be rough."""
    notes: list[list[str]] = [[] for _ in e.value]
    approximate = _flag(e, e.metric.kind, bool(np.isfinite(e.groups).any()), notes)
    return Roughness(approximate, ["; ".join(note) for note in notes])


def _flag(e: Estimate, kind: Kind, clustered: bool, notes: list[list[str]]) -> Flags:
    """Marks what is known to be rough, and says why."""
    defined = np.isfinite(e.value)
    approximate = np.zeros(len(e.value), dtype=bool)

    def mark(where: Flags, note: Callable[[int], str]) -> None:
        for index in np.flatnonzero(where & defined):
            approximate[index] = True
            notes[index].append(note(int(index)))

    if e.binned:
        mark(e.bound > 0, lambda i: f"scores binned: within {e.bound[i]:.1e}")
        mark(np.isnan(e.bound), lambda _: "scores binned")
    if kind == "delong":
        mark(e.support < 20, lambda i: f"{e.support[i]:.0f} rows of the rarer class")
    if kind in ("logit", "log", "delta", "atanh", "bootstrap") and e.metric.statistic.form != "cells":
        mark(
            e.rarer < 50,
            lambda i: f"{e.rarer[i]:.0f} rows of the rarer class" if e.metric.task == "binary" else f"{e.rows[i]} rows",
        )
    if clustered and kind != "none":
        mark(e.groups < MOST_EXACT_GROUPS, lambda i: f"{e.groups[i]:.0f} groups of units")
    mark(e.heavy < 100, _heavy_note(e))
    return approximate


def _heavy_note(e: Estimate) -> Callable[[int], str]:
    def note(index: int) -> str:
        share = e.largest_share[index]
        largest = "" if np.isnan(share) else f": the largest row is {share:.0%} of the sum"
        capped = "; see cap=" if "cap" in e.metric.parameters else ""
        return f"heavy tail{largest}{capped}"

    return note


def _note_expected(e: Estimate, notes: list[list[str]]) -> None:
    if e.metric.baseline is None:
        return
    for index in np.flatnonzero(np.isfinite(e.expected) & np.isfinite(e.value)):
        notes[index].append(f"expected by chance alone: {e.expected[index]:.4f}")


def critical(level: Level, degrees: Floats | float = np.inf) -> Floats:
    """Returns the two-sided critical value of Student's t, of the normal for infinite degrees of freedom."""
    from scipy import special

    wide = np.asarray(degrees, dtype=np.float64)
    finite = np.isfinite(wide)
    t = special.stdtrit(np.where(finite, np.maximum(wide, 1), 1), (1 + level) / 2)
    return np.where(finite, t, special.ndtri((1 + level) / 2))


def wilson(value: Floats, n: Floats, z: Floats) -> tuple[Floats, Floats]:
    """Returns Wilson's interval of proportions of n effective rows. Source: Wilson (1927)."""
    centre = (value + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(value * (1 - value) / n + z**2 / (4 * n**2))
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)


def effective_rows(e: Estimate, deff: float) -> Floats:
    """Returns the effective number of rows behind a proportion.

    From its variance, at most what its weights allow; where the proportion is 0 or 1, what its weights allow, for
    clustered rows the groups while they are few, else the rows over the design effect.
    """
    linear = e.value * (1 - e.value) / e.variance
    cap = e.kish * e.srs
    within = (e.variance > 0) & (e.value > 0) & (e.value < 1)  # at 1 rounding may leave some variance
    if not np.isfinite(e.groups).any():
        weighted = np.abs(e.kish - e.support) > 1e-9 * e.support
        inside = np.where(weighted, np.minimum(cap, linear), linear)
        return np.where(within, inside, e.kish * np.minimum(e.srs, 1.0))
    many = e.groups >= 128
    edge = np.where(many, np.minimum(e.kish, np.maximum(e.group_kish, e.kish / max(deff, 1.0))), e.group_kish)
    return np.where(within, np.minimum(cap, linear), edge)


def _degrees(e: Estimate) -> Floats:
    """Degrees of freedom: groups - 1 for clustered rows, else infinite."""
    return np.where(np.isfinite(e.groups), np.maximum(e.groups - 1, 1), np.inf)


def _mean_degrees(e: Estimate) -> Floats:
    return np.where(np.isfinite(e.groups), np.maximum(e.groups - 1, 1), np.maximum(e.rows - 1.0, 1))


def _wilson(e: Estimate, level: Level, deff: float) -> tuple[Floats, Floats]:
    return wilson(e.value, effective_rows(e, deff), critical(level, _degrees(e)))


def _mover(e: Estimate, level: Level, deff: float) -> tuple[Floats, Floats]:
    """Adds the intervals of two proportions. Source: Zou and Donner (2008), MOVER."""
    if e.metric.parts is None:
        raise ConfigError(f'"{e.metric.name}" declares mover and no parts.')
    factor = e.metric.parts[1]
    first, second = e.parts
    (l1, u1), (l2, u2) = _wilson(first, level, deff), _wilson(second, level, deff)
    joint = e.variance / factor**2 - first.variance - second.variance
    correlation = joint / (2 * np.sqrt(first.variance * second.variance))
    correlation = np.where(np.isfinite(correlation) & np.isfinite(e.groups), np.clip(correlation, -1, 1), 0.0)

    def reach(a: Floats, b: Floats) -> Floats:
        return factor * np.sqrt(np.maximum(a**2 + b**2 + 2 * correlation * a * b, 0.0))

    low = e.value - reach(first.value - l1, second.value - l2)
    high = e.value + reach(u1 - first.value, u2 - second.value)
    return np.maximum(low, e.metric.range[0]), np.minimum(high, e.metric.range[1])


def _smooth(e: Estimate) -> tuple[Floats, Floats]:
    if e.metric.statistic.form == "cells":
        return e.smooth_value, np.sqrt(e.smooth_variance)
    return e.value, np.sqrt(e.variance)


def _atanh(e: Estimate, level: Level, _deff: float) -> tuple[Floats, Floats]:
    value, error = _smooth(e)
    inside = np.clip(value, -1 + 1e-12, 1 - 1e-12)
    reach = np.where(error > 0, critical(level, _degrees(e)) * error / (1 - inside**2), np.nan)
    return np.tanh(np.arctanh(inside) - reach), np.tanh(np.arctanh(inside) + reach)


def _log(e: Estimate, level: Level, _deff: float) -> tuple[Floats, Floats]:
    value, error = _smooth(e)
    degrees = _degrees(e) if e.metric.statistic.form == "cells" else _mean_degrees(e)
    value = np.where(value > 0, value, np.nan)
    reach = np.where(error > 0, critical(level, degrees) * error / value, np.nan)
    return value * np.exp(-reach), value * np.exp(reach)


def _on_logit(e: Estimate, z: Floats, fallback: Floats) -> tuple[Floats, Floats]:
    """An interval on the logit of the metric's range; at its ends, or without variance, Wilson's of `fallback` rows."""
    bottom, top = e.metric.range
    width = top - bottom
    share = (e.value - bottom) / width
    error = np.sqrt(e.variance) / width
    inside = np.clip(share, 1e-15, 1 - 1e-15)
    reach = z * error / (inside * (1 - inside))
    centre = np.log(inside) - np.log1p(-inside)
    low, high = 1 / (1 + np.exp(-(centre - reach))), 1 / (1 + np.exp(-(centre + reach)))
    edge = (e.variance <= 0) | (share <= 0) | (share >= 1)
    wide = wilson(np.clip(share, 0, 1), np.maximum(fallback, 1), z)
    return bottom + width * np.where(edge, wide[0], low), bottom + width * np.where(edge, wide[1], high)


def _logit(e: Estimate, level: Level, _deff: float) -> tuple[Floats, Floats]:
    return _on_logit(e, critical(level, _mean_degrees(e)), np.minimum(e.rarer, e.kish))


def _delong(e: Estimate, level: Level, _deff: float) -> tuple[Floats, Floats]:
    """Source: DeLong et al. (1988), on the logit, with Student's t of the rarer class."""
    rarer = np.minimum(e.support, e.kish)
    degrees = np.maximum(np.where(np.isfinite(e.groups), np.minimum(e.groups, rarer), rarer) - 1, 1)
    return _on_logit(e, critical(level, degrees), np.where(np.isfinite(e.groups), np.minimum(e.groups, rarer), rarer))


def _delta(e: Estimate, level: Level, _deff: float) -> tuple[Floats, Floats]:
    reach = critical(level, _mean_degrees(e)) * np.sqrt(e.variance)
    reach = np.where(e.variance > 0, reach, np.nan)
    return np.maximum(e.value - reach, e.metric.range[0]), np.minimum(e.value + reach, e.metric.range[1])


def _none(e: Estimate, level: Level, _deff: float) -> tuple[Floats, Floats]:
    """No interval, except well above the value expected by chance, where the metric is smooth."""
    low, high = _on_logit(e, critical(level, _mean_degrees(e)), e.rarer)
    well_above = (e.value > 2 * e.expected) & (e.variance > 0) & (e.support >= _LEAST_ROWS)
    return np.where(well_above, low, np.nan), np.where(well_above, high, np.nan)


_FEWEST_STEPS = 10


def _percentiles(level: float, replicates: Floats) -> tuple[Floats, Floats]:
    """Percentiles of the replicates in which the metric is defined, where those are at least 90%."""
    defined = np.isfinite(replicates.T)
    last = np.maximum(defined.sum(1) - 1, 0)
    places = [share * last for share in ((1 - level) / 2, (1 + level) / 2)]
    needed = np.unique(np.concatenate([end(place).astype(np.int64) for place in places for end in (np.floor, np.ceil)]))
    values = np.where(defined, replicates.T, np.nan)
    ordered = np.partition(values, needed, axis=1) if len(needed) < _FEW else np.sort(values, axis=1)
    enough = defined.mean(1) >= 0.9
    low, high = (np.where(enough, _at_places(ordered, place), np.nan) for place in places)
    return low, high


def _stepped(replicates: Floats) -> Flags:
    """Returns where replicates take so few values that their percentiles are the bins' edges, [slices]."""
    ordered = np.sort(replicates, axis=0)
    return np.asarray((np.diff(ordered, axis=0) > 0).sum(0) < _FEWEST_STEPS)


def _at_places(ordered: Floats, places: Floats) -> Floats:
    """The values at fractional places of each row, linear between neighbours."""
    rows = np.arange(len(ordered))
    below, above = (ordered[rows, end(places).astype(np.int64)] for end in (np.floor, np.ceil))
    return np.asarray(below + (above - below) * (places - np.floor(places)))


def _bootstrap(e: Estimate, _level: Level, _deff: float) -> tuple[Floats, Floats]:
    raise ConfigError(f'"{e.metric.name}" needs bootstrap replicates.')


_METHODS: dict[Kind, Callable[[Estimate, Any, float], tuple[Floats, Floats]]] = {
    "wilson": _wilson,
    "mover": _mover,
    "atanh": _atanh,
    "log": _log,
    "logit": _logit,
    "delong": _delong,
    "delta": _delta,
    "none": _none,
    "bootstrap": _bootstrap,
}
