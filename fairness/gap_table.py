"""The largest gap of every family in every metric: how large, whether it is real, whether it is shown to be small.

>>> import evalkit as ek
>>> data = {"y": [1] * 100, "d": [1] * 30 + [0] * 20 + [1] * 15 + [0] * 35, "sex": ["f"] * 50 + ["m"] * 50}
>>> result = ek.evaluate(data, label="y", prediction="d", metrics=["recall"], slices=["sex"])
>>> gaps(result, ["sex"], within=0.5).select("across", "value", "lowest", "highest", "finding").row(0)
('sex', 0.3, 'sex=m', 'sex=f', 'flagged; certified within 0.5')
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.adjust import benjamini_hochberg, holm
from evalkit.errors import ConfigError
from evalkit.fairness.disparities import chosen
from evalkit.fairness.families import families
from evalkit.fairness.group_gap import Gap
from evalkit.fairness.joint import group_values
from evalkit.fairness.pairwise import Rates
from evalkit.fairness.permuted import permuted
from evalkit.results import Evaluation, Result
from evalkit.slicing.spec import slice_text

if TYPE_CHECKING:
    import polars as pl

Within = float | Mapping[str, float] | None
_NAN = float("nan")


def gaps(
    result: Result,
    protected: Any,
    *,
    control: Any = (),
    metrics: Sequence[str] | None = None,
    level: float = 0.95,
    min_rows: int | None = None,
    within: Within = None,
    rates: Rates = "newcombe",
    permutations: int = 0,
    seed: int = 0,
) -> pl.DataFrame:
    """Returns the table of the largest gap of each metric between the groups of each family.

    Args:
        result: an evaluation with slices by the protected attributes.
        protected: attributes, and lists of them for crosses.
        control: features that groups are compared within.
        metrics: names of the result's metrics; None: those with an interval that are no counts.
        level: confidence of each gap's bounds.
        min_rows: groups with a smaller support are left out, and named; None: the result's.
        within: how large a gap may be, in each metric or by its name; says which gaps are certified to be so small.
        rates: the intervals of differences of rates, `newcombe` or `miettinen-nurminen`.
        permutations: where more than 0, `p_value` is that of so many permutations within the metric's denominator, for
            rates, means and AUCs of rows that were kept; 999 tell it down to .001.
        seed: fixes the permutations.

    Returns:
        A row for each model, family and metric. `value` is the highest minus the lowest group's value, `low` and `high`
        its bounds, which hold for all pairs of groups at once; `corrected` the gap without what noise adds on average;
        `ratio` the lowest over the highest. `p_value` tests that all groups are alike (`test` says how), `p_adjusted`
        (Holm) and `q_value` (Benjamini and Hochberg) are over the model's table. A gap is `flagged` if its q-value is
        under 1 - level and its bounds leave 0 out, `certified` if its upper bound is at most `within`; `finding` says
        both, or what is not known.

    Raises:
        ConfigError: an attribute or a metric is not there, or `within` is not positive.
    """
    import polars as pl

    limits = _limits(within)
    frames = []
    for evaluation in result.evaluations:
        found = families(evaluation, protected, control)
        names = chosen(evaluation, metrics)
        unknown = [name for name in limits if name and name not in names]
        if unknown:
            raise ConfigError(f'within names "{unknown[0]}", which is not among the metrics that are compared.')
        of_metrics = (group_values(evaluation, name, found, min_rows) for name in names)
        made = [Gap.of(values, rates) for each in of_metrics for values in each]
        rows = [_row(evaluation.model, gap, level, limits) for gap in made]
        if permutations:
            rows = [
                row | _shuffled(evaluation, gap, row["p_value"], permutations, seed)
                for row, gap in zip(rows, made, strict=True)
            ]
        frames.append(_judged(pl.DataFrame(rows), level))
    return pl.concat(frames)


def _limits(within: Within) -> Mapping[str, float]:
    """Returns how large gaps may be by the metric's name, or for all under an empty one."""
    limits = {"": within} if isinstance(within, int | float) else dict(within or {})
    for limit in limits.values():
        if not limit > 0:
            raise ConfigError(f"within is how large a gap may be, a number above 0, not {limit!r}.")
    return limits


def _row(model: str, gap: Gap, level: float, limits: Mapping[str, float]) -> dict[str, Any]:
    values, alpha = gap.values, 1 - level
    family, e = values.family, values.estimate
    compared = gap.pairs is not None
    low, high = gap.interval(alpha)
    ratio_low, ratio_high = gap.ratio_interval(alpha)
    ends = [family.groups[place] for place in gap.extremes] if compared else [(), ()]
    left = [
        g for g, held, unknown in zip(family.groups, values.held, family.unknown, strict=True) if not held | unknown
    ]
    limit = limits.get(values.name, limits.get("", _NAN))
    status = "ok" if np.isfinite(low) else "undefined" if not np.isfinite(e.value[1:]).any() else "too_few_rows"
    return {
        "model": model,
        "slice": slice_text(family.level),
        "metric": values.name,
        "across": family.across,
        "value": gap.value,
        "low": low,
        "high": high,
        "level": level,
        "method": gap.difference.method if gap.difference is not None else "none",
        "lowest": slice_text(ends[0]) if compared else "",
        "highest": slice_text(ends[1]) if compared else "",
        "lowest_value": float(e.value[gap.held].min()) if compared else _NAN,
        "highest_value": float(e.value[gap.held].max()) if compared else _NAN,
        "ratio": gap.ratio,
        "ratio_low": ratio_low,
        "ratio_high": ratio_high,
        "corrected": gap.corrected,
        "p_value": gap.p_value,
        "test": "chi-square" if values.estimate.metric.kind == "wilson" else "Wald",
        "detectable": gap.detectable(alpha),
        "within": limit,
        "groups": len(gap.held),
        "known": int((~family.unknown).sum()),
        "rows": int(e.rows[0]),
        "support": int(e.support[gap.held].min()) if compared else 0,
        "left_out": "; ".join(slice_text(key) for key in left),
        "status": status,
        "approximate": bool(values.approximate[gap.held].any()),
        "note": "; ".join(dict.fromkeys(values.notes[place] for place in gap.held if values.notes[place])),
        "slice_key": [{"column": column, "value": value} for column, value in family.level],
    }


def _shuffled(evaluation: Evaluation, gap: Gap, p: float, permutations: int, seed: int) -> dict[str, Any]:
    """Returns the p-value by permutation, where the metric has one."""
    if not np.isfinite(p):
        return {}
    compared = gap.values.family.only(gap.values.held)
    found = permuted(evaluation, gap.values.name, compared, permutations=permutations, seed=seed)
    return {"p_value": found, "test": "permutation"} if np.isfinite(found) else {}


def _judged(frame: pl.DataFrame, level: float) -> pl.DataFrame:
    """Adds what is shown of each gap."""
    import polars as pl

    p = frame["p_value"].to_numpy()
    q = benjamini_hochberg(p)
    with np.errstate(invalid="ignore"):
        flagged = (q < 1 - level) & (frame["low"].to_numpy() > 0)
        certified = frame["high"].to_numpy() <= frame["within"].to_numpy()
    rows = zip(flagged, certified, frame["within"], frame["status"], frame["detectable"], frame["known"], strict=True)
    return frame.drop("known").with_columns(
        pl.Series("p_adjusted", holm(p)),
        pl.Series("q_value", q),
        pl.Series("flagged", flagged),
        pl.Series("certified", certified & frame["within"].is_not_nan().to_numpy()),
        pl.Series("finding", [_finding(*row) for row in rows], dtype=pl.String),
    )


def _finding(flagged: bool, certified: bool, within: float, status: str, detectable: float, known: int) -> str:
    """Says what is shown of a gap, in a few words."""
    if known < 2:
        return "one group only" if known else "no group is known"
    if status != "ok":
        return "too few rows" if status == "too_few_rows" else "undefined"
    shown = ["flagged"] if flagged else []
    shown += [f"certified within {within:g}"] if certified else []
    return "; ".join(shown) or f"not shown; gaps from {detectable:.2g} on would be"
