"""Which rates of groups a criterion asks to be equal.

>>> rates_of("equalized_odds")
('true_positive_rate', 'false_positive_rate')
"""

from __future__ import annotations

from typing import Literal

from evalkit.errors import ConfigError, listing, nearest

Criterion = Literal["demographic_parity", "equal_opportunity", "predictive_equality", "equalized_odds"]

_RATES: dict[str, tuple[str, ...]] = {
    "demographic_parity": ("selection_rate",),
    "equal_opportunity": ("true_positive_rate",),
    "predictive_equality": ("false_positive_rate",),
    "equalized_odds": ("true_positive_rate", "false_positive_rate"),
}
CRITERIA = tuple(_RATES)


def rates_of(criterion: str) -> tuple[str, ...]:
    """Returns the rates that are equal where a criterion holds.

    Raises:
        ConfigError: there is no such criterion.

    Source: Hardt, Price and Srebro (2016), Equality of opportunity in supervised learning; for predictive equality
    Corbett-Davies et al. (2017), Algorithmic decision making and the cost of fairness.
    """
    if criterion not in _RATES:
        raise ConfigError(
            f"No criterion {criterion!r} has thresholds that equalize it.{nearest(str(criterion), _RATES)} "
            f"There are: {listing(_RATES)}."
        )
    return _RATES[criterion]
