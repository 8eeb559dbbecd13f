"""What metrics need summed: each statistic once, and of its products only those that a variance will read.

>>> from evalkit.metrics import find
>>> (need,) = needs([find("log_loss"), find("brier_score")])
>>> need.statistic.fields
('weight', 'label', 'score', 'squared', 'loss')
>>> [(need.statistic.fields[i], need.statistic.fields[j]) for i, j in need.products if i != j]
[('weight', 'squared'), ('weight', 'loss')]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, combinations_with_replacement
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit import score_keys
from evalkit.metric import Fields, Metric
from evalkit.metrics.column import every_row
from evalkit.metrics.confusion import confusion
from evalkit.metrics.score_histogram import score_histogram
from evalkit.statistic import Statistic, column_names

if TYPE_CHECKING:
    from evalkit.score_bins import ScoreBins


@dataclass(frozen=True)
class Need:
    """A statistic and how much of it is summed.

    Attributes:
        statistic: what each row adds.
        products: the pairs of fields whose products are summed too, for variances of independent rows.
        largest: the fields whose largest size is kept, to tell heavy tails.
        cells: the statistic from whose counts its sums follow, so that no row need be looked at; else None.
    """

    statistic: Statistic
    products: tuple[tuple[int, int], ...] = ()
    largest: tuple[int, ...] = ()
    cells: Statistic | None = None


def needs(metrics: Sequence[Metric], *, companions: bool = False, weighted: bool = True) -> list[Need]:
    """Returns what these metrics need, each statistic once.

    Args:
        metrics: with their parameters bound.
        companions: whether what curves need is collected beside them.
        weighted: whether rows have weights; without, what a row adds may follow from its cell alone.
    """
    of_statistic: dict[str, list[Metric]] = {}
    for metric in metrics:
        of_statistic.setdefault(metric.statistic.identity, []).append(metric)
    found = [_need(readers[0].statistic, readers) for readers in of_statistic.values()]
    beside = [need.statistic.companion() for need in found] if companions else []
    extra = {s.identity: s for s in beside if s is not None and s.identity not in of_statistic}
    found += [Need(statistic) for statistic in extra.values()]
    return found if weighted else [_following(need, found) for need in found]


def _following(need: Need, found: Sequence[Need]) -> Need:
    """Tells whether the sums follow from counts of another statistic that is needed as well."""
    parameters = need.statistic.parameters
    decided = need.statistic.form == "sums" and need.statistic.needs == ("label", "decision")
    if decided and not column_names(need.statistic):
        cells = confusion.bind(threshold=parameters.get("threshold"), strict=parameters.get("strict", False))
    elif need.statistic == every_row:
        cells = next((other.statistic for other in found if other.statistic.name == confusion.name), every_row)
    else:
        return need
    among = any(other.statistic == cells for other in found) and cells != need.statistic
    return replace(need, cells=cells) if among else need


def by_scores(need: Need, found: Sequence[Need], bins: ScoreBins) -> Need:
    """Tells whether counts of decisions follow from the histogram of scores, which is needed as well.

    Args:
        need: of rows without units.
        found: all that is needed.
        bins: of the scores, where distinct ones are too many.
    """
    first = first_called(need.statistic, bins.dtype, bins.probabilities)
    among = any(other.statistic == score_histogram for other in found)
    return replace(need, cells=score_histogram) if among and first is not None and bins.starts_at(first) else need


def first_called(statistic: Statistic, dtype: str, probabilities: bool) -> int | None:
    """Returns the lowest key of a score that is called positive; None where no such key tells.

    Args:
        statistic: counts of decisions, or another one.
        dtype: the scores' own.
        probabilities: how keys are made.
    """
    threshold = statistic.parameters.get("threshold")
    if statistic.name != confusion.name or not isinstance(threshold, float | int):
        return None
    bound = np.array([threshold], dtype)
    if not np.isfinite(bound[0]) or (probabilities and not 0 <= bound[0] <= 1):
        return None
    return int(score_keys.keys(bound, probabilities)[0]) + bool(statistic.parameters.get("strict"))


def _need(statistic: Statistic, readers: Sequence[Metric]) -> Need:
    if statistic.form != "sums":
        return Need(statistic)
    fields = range(len(statistic.fields))
    if statistic.pivoted or statistic.beside is not None:  # moving a pivot mixes products; curves read them all
        return Need(statistic, tuple(combinations_with_replacement(fields, 2)), tuple(fields))
    pairs = {(i, i) for i in fields}
    heavy = {statistic.fields.index(metric.heavy) for metric in readers if metric.heavy is not None}
    for metric in readers:
        pairs.update(combinations(sorted(_read(metric)), 2))
    return Need(statistic, tuple(sorted(pairs)), tuple(sorted(heavy)))


class _Recorded(Fields):
    """Fields that remember which of them were read."""

    def __init__(self, names: tuple[str, ...], values: Any, rows: Any) -> None:
        super().__init__(names, values, rows)
        self.read: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        value = super().__getattr__(name)
        self.read.add(self._names.index(name))
        return value


def _read(metric: Metric) -> set[int]:
    """Returns the places of the fields that a metric reads."""
    import jax

    read: set[int] = set()

    def evaluated(values: Any, rows: Any) -> Any:
        recorded = _Recorded(metric.statistic.fields, values, rows)
        value = metric.evaluate(recorded)
        read.update(recorded.read)
        return value

    fields = len(metric.statistic.fields)
    jax.eval_shape(evaluated, jax.ShapeDtypeStruct((fields,), "float32"), jax.ShapeDtypeStruct((), "float32"))  # type: ignore[no-untyped-call]
    return read
