"""The metrics of a result as its reader needs them explained."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from evalkit.metric import Metric
from evalkit.money import unit_of
from evalkit.results import Result
from evalkit.show import named

_ARROWS = {"higher": "↑ higher is better", "lower": "↓ lower is better"}


@dataclass(frozen=True)
class Measure:
    """A metric's name, direction and meaning.

    Attributes:
        name: as in the table.
        better: `higher`, `lower`, or empty where neither is.
        meaning: the first sentence of its docstring.
        method: how its intervals were made.
        unit: `USD per row` for amounts of money; empty for plain numbers.
        short: its name for people: without what its costs are, where that is no other metric's.
    """

    name: str
    better: str
    meaning: str
    method: str
    unit: str = ""
    short: str = ""

    @property
    def title(self) -> str:
        """Its name for people, with its unit where it has one."""
        return f"{self.short} ({self.unit})" if self.unit else self.short

    @property
    def direction(self) -> str:
        """Its direction in words; empty where there is none."""
        return _ARROWS.get(self.better, "")

    def worse(self, delta: float) -> bool | None:
        """Returns whether a change by delta is for the worse; None where the metric has no direction."""
        return None if not self.better or delta == 0 else (delta < 0) == (self.better == "higher")


def measures(result: Result) -> dict[str, Measure]:
    """Returns the metrics in a result's table by name, in its order.

    >>> import evalkit as ek
    >>> result = ek.evaluate({"y": [1, 0], "p": [0.9, 0.2]}, label="y", score="p", metrics=["accuracy"])
    >>> measures(result)["accuracy"].direction
    '↑ higher is better'
    """
    known: dict[str, Metric] = {name: metric for e in reversed(result.evaluations) for name, metric in e.metrics}
    settings = result.evaluations[0].settings
    methods: dict[str, set[str]] = {}
    for name, method in result.to_polars().select("metric", "method").unique().iter_rows():
        methods.setdefault(name, set()).add(method)
    units = {name: unit_of(metric, settings) for name, metric in known.items()}
    short = {name: named(name) for name in known}
    alike = Counter(short.values())
    return {
        name: Measure(
            name,
            known[name].better or "",
            _meaning(known[name]),
            "; ".join(sorted(methods[name])),
            units[name],
            short[name] if alike[short[name]] == 1 else name,
        )
        for name in result.metrics
        if name in known
    }


def headline(result: Result) -> str:
    """Returns the metric to show first: the first that has a direction, else the first."""
    found = measures(result)
    return next((name for name, measure in found.items() if measure.better), result.metrics[0])


def _meaning(metric: Metric) -> str:
    paragraph = (metric.function.__doc__ or "").strip().split("\n\n")[0]
    return " ".join(paragraph.replace("`", "").split())
