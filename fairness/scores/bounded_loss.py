"""Bounded group loss: the largest loss of any group, with bounds, and whether it is shown to be small enough.

>>> import evalkit as ek
>>> from evalkit.fairness.families import families
>>> data = {"y": [1.0, 2.0, 3.0, 4.0] * 9, "p": [1.0, 2.5, 3.0, 6.0] * 9, "sex": ["f", "f", "m", "m"] * 9}
>>> evaluation = ek.evaluate(data, label="y", prediction="p", metrics=["mse"], slices=["sex"]).evaluations[0]
>>> found = bounded_group_loss(evaluation, families(evaluation, ["sex"])[0], "mse", most=9.0)
>>> found.value, found.note
(2.0, 'of sex=m; shown to be at most 9; 18 rows...')
"""

from __future__ import annotations

import numpy as np

from evalkit import metrics as catalog
from evalkit.errors import ConfigError, listing
from evalkit.estimate import estimate
from evalkit.fairness.families import Family
from evalkit.fairness.measure import Measure
from evalkit.interval import ends, intervals
from evalkit.results import Evaluation
from evalkit.slicing.spec import slice_text


def bounded_group_loss(
    evaluation: Evaluation, family: Family, loss: str, *, most: float | None = None, level: float = 0.95
) -> Measure:
    """Returns the largest loss of any group.

    The upper bound is the largest of the groups' upper ends, each at (1 - level) / 2: the group whose true loss is the
    largest exceeds its own with that probability at most, so it needs no allowance for how many groups there are. The
    lower bound picks the largest among them, and has one.

    Args:
        evaluation: with the metric of the loss.
        family: the groups.
        loss: a metric of which less is better, such as `mse`, `mae`, `log_loss` or `brier_score`.
        most: a bound that the loss of every group should keep; the note says whether that is shown, or shown not to be.
        level: the confidence of the interval.

    Raises:
        ConfigError: the loss was not evaluated, or more of it is better.

    Source: Agarwal, Dudik and Wu (2019), Fair regression: quantitative definitions and reduction-based algorithms.
    """
    known = dict(evaluation.metrics)
    metric = known.get(loss) or catalog.find(loss)
    if metric.better != "lower":
        raise ConfigError(f'"{loss}" is no loss: more of it is not worse. Losses are mse, mae, log_loss and such.')
    if metric.statistic.identity not in evaluation.sums:
        raise ConfigError(f'"{loss}" was not evaluated; evaluated were {listing(list(known))}.')
    [found] = estimate([metric], evaluation.sums[metric.statistic.identity].take(family.places))
    each = intervals(found, level)
    low, _ = ends(found, (1 - level) / 2 / max(len(family.groups), 1))
    held = np.flatnonzero(np.isfinite(found.value))
    bounded = bool(len(held)) and bool(np.isfinite(each.high[held]).all())
    worst = int(held[np.argmax(found.value[held])]) if len(held) else None
    high = float(each.high[held].max()) if bounded else float("nan")
    notes = [] if worst is None else [f"of {slice_text(family.groups[worst])}"]
    notes += [] if bounded or worst is None else ["no bounds: the rows of a group are too few"]
    lowest = float(low[held].max()) if bounded else float("nan")
    notes += _shown(lowest, high, most) if bounded and most is not None else []
    notes += [each.notes[worst]] if worst is not None and each.notes[worst] else []
    rough = int(each.approximate[held].sum())
    notes += [f"bounds are rough in {rough} groups"] if rough > 1 else []
    return Measure(
        metric=f"bounded_group_loss@loss={loss}",
        across=family.across,
        value=float("nan") if worst is None else float(found.value[worst]),
        low=lowest,
        high=high,
        level=family.level,
        confidence=level,
        method=f"largest of groups, {each.method}" if bounded else "none",
        rows=int(found.rows[held].sum()),
        support=int(found.support[held].min()) if len(held) else 0,
        status="ok" if bounded else "too_few_rows",
        approximate=rough > 0,
        note="; ".join(notes),
    )


def _shown(low: float, high: float, most: float) -> list[str]:
    """Says whether a bound is shown to be kept."""
    if high <= most:
        return [f"shown to be at most {most:g}"]
    return [f"shown to be above {most:g}" if low > most else f"not shown to be at most {most:g}"]
