"""One difference of each group to its reference over all levels of the control features: alike people compared.

>>> import evalkit as ek
>>> from evalkit.fairness.families import slice_sets
>>> data = {"y": [1, 0] * 60, "d": [1, 0, 0, 0, 0, 0] * 20, "sex": ["f", "f", "m"] * 40, "site": [1] * 60 + [2] * 60}
>>> result = ek.evaluate(data, label="y", prediction="d", metrics=["accuracy"], slices=slice_sets(["sex"], ["site"]))
>>> conditional(result, ["sex"], ["site"]).select("slice", "delta", "levels").row(0)
('sex=m', -0.25, 2)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.adjust import benjamini_hochberg
from evalkit.contrast import quantile, tail
from evalkit.estimate import estimate
from evalkit.fairness.disparities import Reference, check_reference, chosen, reference_text, references
from evalkit.fairness.families import Family, families
from evalkit.fairness.joint import GroupValues, group_values
from evalkit.pairing import group_influences
from evalkit.results import Evaluation, Result
from evalkit.slicing.spec import SliceKey, slice_text

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def conditional(
    result: Result,
    protected: Any,
    control: Any,
    *,
    reference: Reference = "largest",
    metrics: Sequence[str] | None = None,
    level: float = 0.95,
    min_rows: int | None = None,
) -> pl.DataFrame:
    """Returns the difference of each group to its reference, averaged over the levels of the control features.

    Levels are weighted by n m / (n + m) with the rows n of the group and m of the reference, as Mantel and Haenszel do
    for proportions, so that levels where either is rare count little. Levels where either has too few rows for an
    interval are left out.

    Args:
        result: an evaluation with slices by the attributes crossed with the control features.
        protected: attributes, and lists of them for crosses.
        control: features that groups are compared within.
        reference: `largest`, `best`, or groups by attribute; the group is that of all levels together.
        metrics: names of the result's metrics; None: those with an interval that are no counts.
        level: confidence of each interval; they are not simultaneous.
        min_rows: groups with a smaller support in a level are left out there; None: 1.

    Returns:
        A row for each model, attribute, metric and group but the reference: `delta` with its interval, `p_value`,
        `q_value` (over the model's table), and how many `levels` it is of.

    Source: Mantel and Haenszel (1959); Sato, Greenland and Robins (1989) for the difference of rates.
    """
    import polars as pl

    frames = []
    for evaluation in result.evaluations:
        found = families(evaluation, protected, control)
        check_reference(found, reference)
        asked = (reference, level, min_rows or 1)
        rows = [row for name in chosen(evaluation, metrics) for row in _of_metric(evaluation, name, found, *asked)]
        frame = pl.DataFrame(rows, schema=_schema())
        frames.append(frame.with_columns(pl.Series("q_value", benjamini_hochberg(frame["p_value"].to_numpy()))))
    return pl.concat(frames)


def _schema() -> dict[str, Any]:
    import polars as pl

    text = dict.fromkeys(("model", "slice", "metric", "across", "reference"), pl.String)
    numbers = dict.fromkeys(("delta", "low", "high", "level", "p_value"), pl.Float64)
    return {**text, **numbers, "levels": pl.Int64, "rows": pl.Int64}


def _of_metric(
    evaluation: Evaluation, name: str, found: Sequence[Family], reference: Reference, level: float, min_rows: int
) -> list[dict[str, Any]]:
    by_attribute: dict[str, list[GroupValues]] = defaultdict(list)
    for values in group_values(evaluation, name, found, min_rows):
        by_attribute[values.family.across].append(values)
    metric = dict(evaluation.metrics)[name]
    sums = evaluation.sums[metric.statistic.identity]
    told = group_influences(estimate([metric], sums)[0], sums) if sums.clustered else None
    rows = []
    for across, levels in by_attribute.items():
        chosen_group = references(levels, reference)
        for group in dict.fromkeys(key for values in levels for key in values.family.groups):
            if group == chosen_group or chosen_group is None or any(value is None for _, value in group):
                continue
            row = _averaged(levels, group, chosen_group, told, level)
            rows.append(
                {
                    "model": evaluation.model,
                    "slice": slice_text(group),
                    "metric": name,
                    "across": across,
                    "reference": reference_text(chosen_group),
                    "level": level,
                    **row,
                }
            )
    return rows


def _averaged(
    levels: Sequence[GroupValues], group: SliceKey, reference: SliceKey, told: Any, level: float
) -> dict[str, Any]:
    deltas, weights, variances, places, rows = [], [], [], [], 0
    for values in levels:
        keys = values.family.groups
        if group not in keys or reference not in keys:
            continue
        a, b = 1 + keys.index(group), 1 + keys.index(reference)
        e = values.estimate
        if values.few[[a, b]].any() or not np.isfinite(e.value[[a, b]]).all():
            continue
        n, m = float(e.rows[a]), float(e.rows[b])
        deltas.append(e.value[a] - e.value[b])
        weights.append(n * m / (n + m))
        variances.append(values.covariance[a, a] + values.covariance[b, b] - 2 * values.covariance[a, b])
        places.append((values.family.places[a - 1], values.family.places[b - 1]))
        rows += int(n + m)
    if not deltas:
        nothing = dict.fromkeys(("delta", "low", "high", "p_value"), float("nan"))
        return {**nothing, "levels": 0, "rows": 0}
    share = np.array(weights) / np.sum(weights)
    delta = float(share @ np.array(deltas))
    error, degrees = _error(share, np.array(variances), places, told)
    reach = float(quantile(np.array((1 - level) / 2), np.array(degrees))) * error
    p = 2 * float(tail(np.array(abs(delta) / error), np.array(degrees))) if error > 0 else float("nan")
    return {
        "delta": delta,
        "low": delta - reach if error > 0 else float("nan"),
        "high": delta + reach if error > 0 else float("nan"),
        "p_value": p,
        "levels": len(deltas),
        "rows": rows,
    }


def _error(share: Floats, variances: Floats, places: Sequence[tuple[Any, Any]], told: Any) -> tuple[float, float]:
    """Returns the standard error of the average and its degrees of freedom; of clustered rows from whole units."""
    if told is None:
        return float(np.sqrt(share**2 @ variances)), float("inf")
    influence, held = told
    amount = sum(w * (influence[a] - influence[b]) for w, (a, b) in zip(share, places, strict=True))
    inside = np.any([held[a] | held[b] for a, b in places], axis=0)
    units = int(inside.sum())
    if units < 2:
        return 0.0, 1.0
    own = np.asarray(amount)[inside]
    return float(np.sqrt(((own - own.mean()) ** 2).sum() * units / (units - 1))), float(units - 1)
