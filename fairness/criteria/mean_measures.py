"""Numbers about groups' means: the largest gap of any two, and each group's difference from a reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from evalkit.contrast import Contrast, student
from evalkit.fairness.criteria.group_means import GroupMeans
from evalkit.fairness.criteria.largest_gap import largest_gap
from evalkit.fairness.families import Family
from evalkit.fairness.measure import Measure
from evalkit.fairness.reference import reference_place
from evalkit.slicing.spec import SliceKey, slice_text

_FEWEST = 10


def mean_measures(
    name: str,
    means: GroupMeans,
    family: Family,
    *,
    reference: SliceKey | str | None = None,
    level: float = 0.95,
    binned: bool = False,
) -> list[Measure]:
    """Returns the largest gap, whose bounds hold for all pairs at once, and each group's difference from a reference.

    Args:
        name: what the gap is called; differences are `name_difference`.
        means: the groups' means.
        family: the groups.
        reference: the group that others are held against; None: the largest.
        level: the confidence level.
        binned: whether scores are binned, so that values are approximate.

    A group of fewer than 10 rows has no interval, and takes no part in the largest gap.
    """
    base = reference_place(family, reference, rows=means.rows)
    enough = means.rows >= _FEWEST
    note = "scores binned" if binned else ""
    of = largest_gap(np.where(enough, means.value, np.nan), means.covariance, level=level, degrees=means.degrees)
    at = Measure(name, family.across, of.value, of.low, of.high, level=family.level, confidence=level, fair=0.0)
    at = replace(at, rows=int(means.rows.sum()), support=int(means.rows[enough].min()) if enough.any() else 0)
    notes = [note] if note else []
    if of.highest >= 0:
        notes.append(f"{slice_text(family.groups[of.highest])} over {slice_text(family.groups[of.lowest])}")
    if left_out := [slice_text(g) for g, ok in zip(family.groups, enough, strict=True) if not ok]:
        notes.append(f"fewer than {_FEWEST} rows, left out: {', '.join(left_out)}")
    if np.isfinite(of.value) and np.isnan(of.low):
        notes.append("no bounds: the rows of a group do not vary")
    found = [
        replace(at, method="all pairs at once", p_value=of.p_value, approximate=binned, note="; ".join(notes)),
    ]
    others = [g for g in range(len(family.groups)) if g != base]
    return [*found, *(_difference(name, means, family, (g, base), enough, level, binned) for g in others)]


def _difference(
    name: str,
    means: GroupMeans,
    family: Family,
    pair: tuple[int, int],
    enough: np.ndarray,
    level: float,
    binned: bool,
) -> Measure:
    g, base = pair
    variance = means.covariance[g, g] + means.covariance[base, base] - 2 * means.covariance[g, base]
    value = np.array([means.value[g] - means.value[base]])
    test = student(value, np.sqrt(np.maximum([variance], 0.0)), np.array([_degrees(means, g, base)]), "Student's t")
    few = not (enough[g] and enough[base])
    at = Measure(f"{name}_difference", family.across, float(value[0]), level=family.level, group=family.groups[g])
    at = replace(at, reference=family.groups[base], confidence=level, fair=0.0, approximate=binned)
    at = replace(at, rows=int(means.rows[[g, base]].sum()), support=int(means.rows[[g, base]].min()))
    if few:
        return replace(at, status="too_few_rows", note=f"fewer than {_FEWEST} rows in a group")
    return by_student(at, test, 0)


def by_student(at: Measure, test: Contrast, place: int) -> Measure:
    """Returns a number with the interval and the p-value of its test, or with the reason why it has none."""
    low, high = (float(end[place]) for end in test.interval((1 - at.confidence) / 2))
    why = test.why[place] if np.isfinite(at.value) else ""
    note = "; ".join(text for text in (why, at.note) if text)
    method = "none" if test.why[place] else test.method
    return replace(at, low=low, high=high, method=method, p_value=float(test.two_sided()[place]), note=note)


def _degrees(means: GroupMeans, g: int, base: int) -> float:
    """Groups of units less 1, or Welch and Satterthwaite's of independent rows."""
    if np.isfinite(means.degrees):
        return means.degrees
    variance = np.diag(means.covariance)[[g, base]]
    each = variance**2 / np.maximum(means.rows[[g, base]] - 1, 1)
    return float(max(variance.sum() ** 2 / each.sum(), 1.0)) if each.sum() > 0 else 1.0
