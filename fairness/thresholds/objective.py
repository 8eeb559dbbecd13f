"""What thresholds are chosen for: accuracy, cost or selection, as an amount for each outcome of a decision.

>>> objective("accuracy").amounts()
(1.0, 0.0, 0.0, 1.0)
>>> from evalkit.money import Costs
>>> objective("cost", Costs(fn=700, fp=70)).amounts()
(0.0, 70.0, 700.0, 0.0)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from evalkit.errors import ConfigError, listing, nearest
from evalkit.money import Costs

Name = Literal["accuracy", "balanced_accuracy", "cost", "selection"]

_AMOUNTS: dict[str, tuple[float, float, float, float]] = {
    "accuracy": (1.0, 0.0, 0.0, 1.0),
    "balanced_accuracy": (1.0, 0.0, 0.0, 1.0),
    "selection": (1.0, 1.0, 0.0, 0.0),
}


@dataclass(frozen=True)
class Objective:
    """A mean over rows of an amount for each true positive, false positive, false negative and true negative.

    Attributes:
        name: `accuracy`, `balanced_accuracy` (both classes weigh the same), `cost` (a mean per row; lower is better) or
            `selection` (the share of rows decided positive).
        costs: of outcomes, for `cost`.
    """

    name: str
    costs: Costs = field(default_factory=Costs)

    @property
    def higher(self) -> bool:
        """Whether more of it is better."""
        return self.name != "cost"

    @property
    def by_class(self) -> bool:
        """Whether it is the mean of both classes' means instead of the mean of rows."""
        return self.name == "balanced_accuracy"

    @property
    def is_rate(self) -> bool:
        """Whether it is a share of rows."""
        return self.name in ("accuracy", "selection")

    def amounts(self) -> tuple[float, float, float, float]:
        """Returns the amounts of a true positive, false positive, false negative and true negative."""
        if self.name != "cost":
            return _AMOUNTS[self.name]
        tp, fp, fn, tn = (_number(self.costs, name) for name in ("tp", "fp", "fn", "tn"))
        return tp, fp, fn, tn


def objective(name: str, costs: Costs | None = None) -> Objective:
    """Returns an objective by its name.

    Args:
        name: see `Objective`.
        costs: what each outcome costs, constant amounts; needed for `cost`.

    Raises:
        ConfigError: no such objective, costs that are missing or depend on the row.
    """
    if name != "cost":
        if name not in _AMOUNTS:
            known = ["accuracy", "balanced_accuracy", "cost", "selection"]
            raise ConfigError(f"No objective {name!r}.{nearest(str(name), known)} There are: {listing(known)}.")
        return Objective(name)
    if costs is None:
        raise ConfigError('objective="cost" needs the costs of outcomes, such as costs=ek.Costs(fp=1, fn=9).')
    for setting in ("prevalence", "cap"):
        if getattr(costs, setting) is not None:
            raise ConfigError(f"Trade-offs read costs without {setting}: leave it out.")
    found = Objective(name, costs)
    found.amounts()
    return found


def _number(costs: Costs, name: str) -> float:
    amount = getattr(costs, name)
    if isinstance(amount, str):
        raise ConfigError(
            f'Trade-offs need the same costs for every row, but {name} is the column "{amount}": give a number.'
        )
    if isinstance(amount, bool) or not math.isfinite(amount):
        raise ConfigError(f"{name} must be a finite number, not {amount!r}.")
    return float(amount)
