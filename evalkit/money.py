"""What errors cost, as settings; and what amounts of money are written as.

>>> costs = Costs(fn=700, fp="price", currency="USD", unit="person and year")
>>> costs.metrics()[0].name
'expected_cost@fn=700,fp=price'
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalkit.metric import Metric
    from evalkit.results import Settings
    from evalkit.statistic import Parameter

_PER_ROW = ("expected_cost", "cost_saved")
IN_ALL = ("total_cost",)
_PER_POSITIVE = ("value_per_positive",)
COST_METRICS = (*_PER_ROW, *IN_ALL, *_PER_POSITIVE, "normalized_cost")


@dataclass(frozen=True)
class Costs:
    """What each outcome of a decision costs; a benefit is a negative cost.

    Attributes:
        tp: of a true positive: a number, or the name of a column for a cost that depends on the row.
        fp: of a false positive.
        fn: of a false negative.
        tn: of a true negative.
        currency: of the amounts, such as `USD`; empty for plain numbers.
        unit: what a row is, for `USD per customer`.
        prevalence: the share of positives where the model will be used; None: that of the rows.
        threshold: from which on a score is decided positive; None: 0.5, or the model's own predictions.
        cap: no row costs more than this, either way; None: no cap.
    """

    tp: float | str = 0
    fp: float | str = 1
    fn: float | str = 1
    tn: float | str = 0
    currency: str = ""
    unit: str = "row"
    prevalence: float | None = None
    threshold: float | None = None
    cap: float | None = None

    def metrics(self) -> list[Metric]:
        """Returns the metrics of cost with these costs bound."""
        from evalkit.metrics import catalog

        known = catalog()
        names = ("expected_cost", "cost_saved", "normalized_cost", "total_cost", "value_per_positive")
        metrics = [self._bound(known[name]) for name in names]
        return [*metrics[:2], metrics[1].bind(versus="always"), *metrics[2:]]

    def _bound(self, metric: Metric) -> Metric:
        given: dict[str, Parameter] = {name: getattr(self, name) for name in ("tp", "fp", "fn", "tn")}
        optional = {name: getattr(self, name) for name in ("prevalence", "threshold", "cap")}
        taken = metric.all_parameters()
        given |= {name: value for name, value in optional.items() if value is not None and name in taken}
        return metric.bind(**given)


def is_cost(metric: Metric) -> bool:
    """Returns whether a metric is one of cost."""
    return metric.name_of_function in COST_METRICS


def unit_of(metric: Metric, settings: Settings) -> str:
    """Returns the unit of a metric: `USD per row` for costs where a currency is set; empty for plain numbers."""
    name = metric.name_of_function
    if not settings.currency:
        return ""
    if name in _PER_ROW:
        return f"{settings.currency} per {settings.cost_unit}"
    if name in IN_ALL:
        return settings.currency
    return f"{settings.currency} per positive" if name in _PER_POSITIVE else ""


def amount(value: float, currency: str = "") -> str:
    """Writes an amount with two decimals, without them from 10,000 on.

    >>> amount(-1234.5, "USD"), amount(1234567.8), amount(float("nan"))
    ('-USD 1,234.50', '1,234,568', '-')
    """
    if math.isnan(value):
        return "-"
    size = f"{abs(value):,.2f}" if abs(value) < 10_000 else f"{abs(value):,.0f}"
    return f"{'-' if value < 0 else ''}{currency}{' ' if currency else ''}{size}"
