"""Questions of rules on disparities: the largest gap between groups, in every level of the control features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from evalkit.contrast import Contrast, quantile
from evalkit.fairness.families import families
from evalkit.fairness.group_gap import Gap
from evalkit.fairness.joint import group_values
from evalkit.gates.questions import Question, Run, meant
from evalkit.gates.rules import DisparityRule
from evalkit.slicing.spec import slice_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_TYPICAL = 0.05


def of_disparity(rule: DisparityRule, run: Run) -> list[Question] | str:
    """Returns the question of a rule on a disparity; or why there is none: its metric was not evaluated.

    The gap of a family stands at the slice of all its rows. Groups with too few rows are in no gap, and are named.
    """
    asked = rule.disparity
    name = meant(asked.metric, run.candidate)
    if name is None:
        return f'"{asked.metric}" was not evaluated'
    found = families(run.candidate, [rule.attributes], rule.within)
    least = max(rule.min_rows, 1)
    of_groups = group_values(run.candidate, name, found, least)
    gaps = {values.family.whole: Gap.of(values) for values in of_groups}
    size = len(run.keys)
    support, rows, missing = np.zeros(size), np.zeros(size, dtype=np.int64), []
    for place, gap in gaps.items():
        e, held = gap.values.estimate, gap.values.held
        rows[place] = e.rows[0]
        support[place] = e.support[gap.held].min() if len(gap.held) else 0
        left = np.flatnonzero(~held & ~gap.values.family.unknown)
        missing += [(_text(gap, group), _few(gap, group, least)) for group in left.tolist()]
    nothing = np.full(size, np.nan)
    kind = "difference" if asked.difference is not None else "ratio"
    bound = asked.difference if asked.difference is not None else asked.ratio
    return [
        Question(
            metric=name,
            quantity=f"{kind} across {', '.join(rule.attributes)}",
            contrast=_contrast(gaps, size, kind),
            bound=float(bound or 0.0),
            side="at most" if kind == "difference" else "at least",
            places=np.array(sorted(gaps), dtype=np.int64),
            rows=rows,
            support=support,
            baseline=nothing,
            candidate=nothing,
            missing=tuple(missing),
        )
    ]


def _text(gap: Gap, group: int) -> str:
    family = gap.values.family
    return slice_text((*family.level, *family.groups[group]))


def _few(gap: Gap, group: int, least: int) -> str:
    e = gap.values.estimate
    if np.isnan(e.value[1 + group]):
        return "undefined"
    return f"a support of {int(e.support[1 + group]):,} rows, fewer than {least:,}: in no gap"


def _contrast(gaps: Mapping[int, Gap], size: int, kind: str) -> Contrast:
    """Returns the gaps as one contrast over all slices, each end holding for all pairs of groups."""
    value, error, why = np.full(size, np.nan), np.full(size, np.nan), ["undefined"] * size
    for place, gap in gaps.items():
        value[place] = gap.value if kind == "difference" else gap.ratio
        low, high = _ends_of(gap, kind)(_TYPICAL)
        why[place] = "" if np.isfinite(low) and np.isfinite(high) else _no_gap(gap)
        reach = float(quantile(np.array(_TYPICAL), np.array(np.inf)) + quantile(np.array(0.2), np.array(np.inf)))
        error[place] = gap.detectable(_TYPICAL) / reach if kind == "difference" else np.nan

    def ends(alpha: Floats) -> tuple[Floats, Floats]:
        low, high = np.full(size, np.nan), np.full(size, np.nan)
        for place, gap in gaps.items():
            low[place], high[place] = _ends_of(gap, kind)(float(alpha[place]))
        return low, high

    method = next((g.difference.method for g in gaps.values() if g.difference is not None), "none")
    return Contrast(value, ends, f"{method}, all pairs", error, np.full(size, np.inf), tuple(why))


def _ends_of(gap: Gap, kind: str) -> Callable[[float], tuple[float, float]]:
    return gap.interval if kind == "difference" else gap.ratio_interval


def _no_gap(gap: Gap) -> str:
    compared: Sequence[int] = gap.held.tolist()
    return "fewer than two groups have rows enough" if len(compared) < 2 else "no interval"
