"""Each group against a reference, in any metric: differences and ratios with intervals that hold together.

>>> import evalkit as ek
>>> data = {"y": [1] * 100, "d": [1] * 30 + [0] * 20 + [1] * 15 + [0] * 35, "sex": ["f"] * 50 + ["m"] * 50}
>>> result = ek.evaluate(data, label="y", prediction="d", metrics=["recall"], slices=["sex"])
>>> found = disparities(result, ["sex"], reference={"sex": "m"})
>>> found.select("slice", "candidate", "baseline", "delta", "ratio").row(0)
('sex=f', 0.6, 0.3, 0.3, 2.0)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from evalkit.adjust import benjamini_hochberg, shrink
from evalkit.errors import ConfigError, listing, nearest
from evalkit.fairness.families import Family, families
from evalkit.fairness.joint import GroupValues, group_values
from evalkit.fairness.pairwise import RATES, Rates, Sides
from evalkit.fairness.statistics.shrunk import empirical_bayes, structured
from evalkit.fairness.statistics.simultaneous import Largest
from evalkit.results import Evaluation, Result
from evalkit.slicing.spec import SliceKey, slice_text
from evalkit.tabulate import keys_series

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Reference = Literal["largest", "best", "overall", "rest"] | Mapping[str, str]
REFERENCES = ("largest", "best", "overall", "rest")
NUMBERS = (
    "baseline",
    "candidate",
    "delta",
    "delta_low",
    "delta_high",
    "ratio",
    "ratio_low",
    "ratio_high",
    "delta_shrunk",
    "value_shrunk",
    "value_structured",
    "p_value",
    "p_adjusted",
)


def disparities(
    result: Result,
    protected: Any,
    *,
    control: Any = (),
    reference: Reference = "largest",
    metrics: Sequence[str] | None = None,
    level: float = 0.95,
    min_rows: int | None = None,
    rates: Rates = "newcombe",
) -> pl.DataFrame:
    """Returns the table of every group against its reference.

    Args:
        result: an evaluation with slices by the protected attributes; see `evalkit.fairness.families.families`.
        protected: attributes, and lists of them for crosses.
        control: features that groups are compared within.
        reference: what groups are compared with: the `largest` group, the `best` in each metric (the highest, where a
            metric has no direction), all rows (`overall`), the `rest` of the rows, or chosen groups such as
            `{"race": "white"}`; attributes that are not named then have the largest.
        metrics: names of the result's metrics; None: those with an interval that are no counts.
        level: confidence that a family's intervals of a metric hold together.
        min_rows: groups with a smaller support have no interval; None: the result's.
        rates: the intervals of differences of rates, `newcombe` or `miettinen-nurminen`.

    Returns:
        The results table's columns, a row for each model, family, metric and group, with `across` and `reference`;
        `delta` is the group's value minus the reference's, `ratio` the group's over the reference's. `value_shrunk` is
        the value pulled to the groups' mean, `value_structured` of crosses
        of up to 400 groups to a regression on attributes. Intervals
        hold for all groups of a family together, `p_adjusted` is over these, `q_value` (Benjamini and Hochberg) over
        the model's table.

    Raises:
        ConfigError: an attribute, a reference or a metric is not there.
    """
    import polars as pl

    if rates not in RATES:
        raise ConfigError(f'rates is one of {listing(RATES)}, not "{rates}".{nearest(rates, RATES)}')
    frames = []
    for evaluation in result.evaluations:
        found = families(evaluation, protected, control)
        check_reference(found, reference)
        of_metrics = (group_values(evaluation, name, found, min_rows) for name in chosen(evaluation, metrics))
        rows = [_compared(evaluation, values, reference, level, rates) for each in of_metrics for values in each]
        frame = _table(evaluation, rows, level)
        q = benjamini_hochberg(frame["p_value"].to_numpy())
        frames.append(frame.with_columns(pl.Series("q_value", q)))
    return pl.concat(frames)


_NO_RATES = ("count", "prevalence", "total_cost", "cost_saved")


def chosen(evaluation: Evaluation, metrics: Sequence[str] | None) -> list[str]:
    """Returns the names of the metrics that groups are compared in; ConfigError for one that was not evaluated."""
    known = dict(evaluation.metrics)
    if metrics is None:
        found = [n for n, m in known.items() if m.name_of_function not in _NO_RATES and m.kind not in _BARE]
        if not found:
            raise ConfigError(f"Groups are compared in rates, means and the like; there are: {listing(known, 40)}.")
        return found
    for name in metrics:
        if name not in known:
            raise ConfigError(f'"{name}" was not evaluated.{nearest(name, known)} There are: {listing(known, 40)}.')
    return list(metrics)


_BARE = ("none", "bootstrap")
_MOST_STRUCTURED = 400  # groups: the regression inverts matrices of them, many times
UNKNOWN = "membership is not known: compared with no group"


@dataclass(frozen=True)
class _Rows:
    """The groups of a family in one metric."""

    values: GroupValues
    reference: list[SliceKey]
    own: tuple[Floats, Floats]
    numbers: Mapping[str, Floats]
    status: list[str]
    method: str


def _compared(evaluation: Evaluation, values: GroupValues, reference: Reference, level: float, rates: Rates) -> _Rows:
    groups = np.arange(1, 1 + len(values.family.groups))
    own = values.ends((1 - level) / 2) if values.analytic else (values.estimate.value * np.nan,) * 2
    against, sides, law, names = _sides(evaluation, values, reference)
    numbers = {name: np.full(len(groups), np.nan) for name in NUMBERS}
    e = values.estimate
    numbers["candidate"] = e.value[1:]
    numbers |= _shrunk(values)
    if sides is not None:
        unknown = values.family.unknown
        found = _numbers(sides, law, against, groups, level, rates, ratio=e.metric.range[0] >= 0)
        numbers |= {name: np.where(unknown, np.nan, of) for name, of in found.items()}
    few = values.few[1:] | (np.zeros(len(groups), bool) if sides is None else sides.few)
    status = [
        "undefined" if np.isnan(v) else "too_few_rows" if f else "ok" for v, f in zip(e.value[1:], few, strict=True)
    ]
    method = "none" if sides is None else sides.difference(rates).method
    return _Rows(values, names, (own[0][1:], own[1][1:]), numbers, status, method)


def _shrunk(values: GroupValues) -> dict[str, Floats]:
    """Returns the groups' values without part of their noise; of crosses also by a regression on their attributes."""
    if not values.analytic:
        return {}
    known = ~values.family.unknown & np.isfinite(values.estimate.value[1:])
    value, variance = values.estimate.value[1:], values.pooled_variance
    own = np.where(known & np.isfinite(variance), value, np.nan)
    variance = np.where(np.isfinite(own), variance, np.nan)
    found = {"value_shrunk": empirical_bayes(own, variance).value}
    if values.family.across.count(",") and np.isfinite(own).sum() <= _MOST_STRUCTURED:
        codes = np.array([[str(part) for _, part in key] for key in values.family.groups])
        found["value_structured"] = structured(own, variance, codes).value
    return found


def _numbers(
    sides: Sides,
    law: Largest,
    against: NDArray[np.int64] | None,
    groups: NDArray[np.int64],
    level: float,
    rates: Rates,
    *,
    ratio: bool,
) -> dict[str, Floats]:
    """Returns the columns of differences and ratios; of the reference itself they are 0 and 1."""
    from scipy import special

    itself = np.zeros(len(groups), bool) if against is None else against == groups
    each = np.full(len(groups), float(special.ndtr(-law.critical(1 - level))))
    difference = sides.difference(rates)
    low, high = difference.interval(each)
    p = np.where(itself, np.nan, difference.two_sided(0.0))
    delta = np.where(itself, 0.0, difference.value)
    numbers = {
        "baseline": sides.second.value,
        "delta": np.where(itself & np.isnan(sides.first.value), np.nan, delta),
        "delta_low": np.where(itself, np.nan, low),
        "delta_high": np.where(itself, np.nan, high),
        "delta_shrunk": shrink(np.where(itself, np.nan, difference.value), sides.error**2),
        "p_value": p,
        "p_adjusted": law.adjusted(p),
    }
    if ratio:
        contrast = sides.ratio()
        low, high = contrast.interval(each)
        numbers |= {
            "ratio": np.where(itself & (sides.first.value > 0), 1.0, contrast.value),
            "ratio_low": np.where(itself, np.nan, low),
            "ratio_high": np.where(itself, np.nan, high),
        }
    return numbers


def _sides(
    evaluation: Evaluation, values: GroupValues, reference: Reference
) -> tuple[NDArray[np.int64] | None, Sides | None, Largest, list[SliceKey]]:
    """Returns the place of each group's reference, the groups against it, their law, and how references are named."""
    family = values.family
    count = len(family.groups)
    groups = np.arange(1, 1 + count)
    nothing: tuple[None, None, Largest, list[SliceKey]] = (None, None, Largest(0, np.zeros(0)), [()] * count)
    if not values.analytic or not values.held.any():
        return nothing
    held = groups[values.held]
    if reference in ("overall", "rest"):
        contrasts = np.eye(1 + count)[held] - np.eye(1 + count)[0]
        law = Largest.of(values.covariance, contrasts)
        name: SliceKey = (("", "overall" if reference == "overall" else "rest"),)
        if reference == "rest":
            return None, Sides.of_rest(evaluation, values), law, [name] * count
        return None, Sides.of(values, groups, np.zeros(count, np.int64)), law, [name] * count
    place = _place(values, reference)
    if place is None:
        return nothing
    others = held[held != place]
    if reference == "best":
        law = Largest.of_all_pairs(values.covariance[np.ix_(held, held)])
    else:
        law = Largest.of(values.covariance, np.eye(1 + count)[others] - np.eye(1 + count)[place])
    against = np.full(count, place)
    return against, Sides.of(values, groups, against), law, [family.groups[place - 1]] * count


def _place(values: GroupValues, reference: Reference) -> int | None:
    """Returns the place of the reference group; None where it has no value here."""
    if isinstance(reference, str) and reference not in REFERENCES:
        raise ConfigError(f'No reference "{reference}".{nearest(reference, REFERENCES)} Use {listing(REFERENCES)}.')
    e, held = values.estimate, 1 + np.flatnonzero(values.held)
    if isinstance(reference, Mapping):
        if _names(reference, values.family.across):
            return _named(values.family, reference)
    elif reference == "best":
        of_held = e.value[held]
        return int(held[of_held.argmin() if e.metric.better == "lower" else of_held.argmax()])
    return int(held[np.argmax(e.rows[held])])


def _names(reference: Mapping[str, str], across: str) -> bool:
    """Returns whether a group is named for every attribute of a cross."""
    return all(column in reference for column in across.split(","))


def _named(family: Family, reference: Mapping[str, str]) -> int | None:
    """Returns the place of the group that is named; None where a level of the control features has no such group."""
    for place, key in enumerate(family.groups):
        if all(str(value) == str(reference[column]) for column, value in key):
            return place + 1
    return None


def check_reference(found: Sequence[Family], reference: Reference) -> None:
    """Raises ConfigError where a group is named to compare with that no level of the control features has."""
    if not isinstance(reference, Mapping):
        return
    for across in dict.fromkeys(family.across for family in found if _names(reference, family.across)):
        levels = [family for family in found if family.across == across]
        if all(_named(family, reference) is None for family in levels):
            known = list(dict.fromkeys(slice_text(key) for family in levels for key in family.groups))
            text = slice_text(tuple((column, str(reference[column])) for column in across.split(",")))
            raise ConfigError(f'No group "{text}" to compare with.{nearest(text, known)} Groups: {listing(known, 20)}.')


def _table(evaluation: Evaluation, rows: Sequence[_Rows], level: float) -> pl.DataFrame:
    import polars as pl

    def joined(parts: Sequence[Any]) -> Floats:
        return np.concatenate([np.asarray(part, dtype=np.float64) for part in parts]) if parts else np.zeros(0)

    def each(of: Any, dtype: Any) -> pl.Series:
        return pl.Series([of(row, i) for row in rows for i in range(len(row.status))], dtype=dtype)

    keys = [(*row.values.family.level, *key) for row in rows for key in row.values.family.groups]
    estimates = [row.values.estimate for row in rows]
    return pl.DataFrame(
        {
            "model": pl.repeat(evaluation.model, len(keys), eager=True, dtype=pl.String),
            "slice": pl.Series([slice_text(key) for key in keys], dtype=pl.String),
            "metric": each(lambda row, _: row.values.name, pl.String),
            "across": each(lambda row, _: row.values.family.across, pl.String),
            "reference": each(lambda row, i: reference_text(row.reference[i]), pl.String),
            "value": joined([e.value[1:] for e in estimates]),
            "low": joined([row.own[0] for row in rows]),
            "high": joined([row.own[1] for row in rows]),
            "level": pl.repeat(level, len(keys), eager=True, dtype=pl.Float64),
            "method": each(lambda row, _: row.method, pl.String),
            "rows": joined([e.rows[1:] for e in estimates]).astype(np.int64),
            "support": joined([e.support[1:] for e in estimates]).astype(np.int64),
            "weight": joined([e.weight[1:] for e in estimates]),
            "status": each(lambda row, i: row.status[i], pl.String),
            "approximate": each(lambda row, i: bool(row.values.approximate[i + 1]), pl.Boolean),
            "note": each(_note, pl.String),
            **{name: joined([row.numbers[name] for row in rows]) for name in NUMBERS},
            "slice_key": keys_series(keys),
        }
    )


def _note(row: _Rows, place: int) -> str:
    unknown = UNKNOWN if row.values.family.unknown[place] else ""
    return "; ".join(note for note in (unknown, row.values.notes[place + 1]) if note)


def references(levels: Sequence[GroupValues], reference: Reference) -> SliceKey | None:
    """Returns the group that others are compared with in all levels of the control features together.

    None where there is none. A reference that is no group, `overall` or `rest`, is refused.
    """
    if reference in ("overall", "rest"):
        raise ConfigError(f'Groups are averaged over levels against a group, not against "{reference}".')
    found = [(values, _place(values, reference)) for values in levels if values.held.any()]
    keys = [values.family.groups[place - 1] for values, place in found if place is not None]
    if isinstance(reference, Mapping) and found and _names(reference, found[0][0].family.across):
        return keys[0] if keys else None
    rows: dict[SliceKey, float] = {}
    for values, _ in found:
        for place in np.flatnonzero(values.held):
            e, key = values.estimate, values.family.groups[place]
            amount = float(keys.count(key)) if reference == "best" else float(e.rows[1 + place])
            rows[key] = rows.get(key, 0.0) + amount
    return max(rows, key=lambda key: rows[key]) if rows else None


def reference_text(key: SliceKey) -> str:
    """Writes a reference for people."""
    return key[0][1] or "" if len(key) == 1 and key[0][0] == "" else slice_text(key) if key else ""
