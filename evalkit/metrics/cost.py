"""What decisions cost: metrics of a cost for each of the four outcomes, in the costs' own unit.

Each of `tp`, `fp`, `fn` and `tn` is a number, or the name of a column for a cost that depends on the row; a benefit is
a negative cost. A row is decided as in `confusion`, or with `bayes=True` by its own Bayes-optimal threshold, which
needs calibrated probabilities and decides for what is expected to cost less.

>>> import evalkit as ek
>>> data = {"fraud": [1, 1, 0, 0], "p": [0.9, 0.2, 0.6, 0.1], "amount": [50.0, 8.0, 20.0, 30.0]}
>>> ek.evaluate(data, label="fraud", score="p", metrics=["total_cost@fn=amount,fp=5"]).value
13.0
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from evalkit.errors import ConfigError
from evalkit.metric import Fields, metric, ratio
from evalkit.metrics.confusion import confusion
from evalkit.statistic import Batch, Parameter, Statistic, keyword_parameters, statistic

_COSTS = ("tp", "fp", "fn", "tn", "cap")
_BY_BAYES = {"bayes": ("label", "probability")}


def _cost(batch: Batch, given: object, cap: float | None, dtype: Any) -> Any:
    """Returns one outcome's cost, a number or [rows], no larger than the cap."""
    if not isinstance(given, str):
        if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
            raise ConfigError(f"A cost must be a finite number or the name of a column, not {given!r}.")
        return given if cap is None else max(-cap, min(cap, given))
    values = batch.columns[given].astype(dtype)
    return values if cap is None else values.clip(-cap, cap)


def _costs(batch: Batch, label: Any, tp: Any, fp: Any, fn: Any, tn: Any, cap: float | None) -> tuple[Any, Any]:
    """Returns what each row costs if it is called positive, and if it is not, [rows] each."""
    if cap is not None and cap <= 0:
        raise ConfigError(f"cap must be above 0, not {cap!r}.")
    tp, fp, fn, tn = (_cost(batch, given, cap, label.dtype) for given in (tp, fp, fn, tn))
    return label * tp + (1 - label) * fp, label * fn + (1 - label) * tn


def _calls(batch: Batch, tp: Any, fp: Any, fn: Any, tn: Any, threshold: float | None, strict: bool, bayes: bool) -> Any:
    """Returns which rows are called positive, [rows] bool."""
    import jax.numpy as jnp

    if not bayes:
        return confusion.function(batch, threshold=threshold, strict=strict) % 2 == 1
    if threshold is not None:
        raise ConfigError("With bayes=true every row has a threshold of its own: leave threshold out.")
    p = batch.score.astype(jnp.zeros(()).dtype)
    tp, fp, fn, tn = (_cost(batch, given, None, p.dtype) for given in (tp, fp, fn, tn))
    missed, alarmed = p * (fn - tp), (1 - p) * (fp - tn)
    return missed > alarmed if strict else missed >= alarmed


def _label(batch: Batch) -> Any:
    import jax.numpy as jnp

    return batch.label.astype(jnp.zeros(()).dtype)


def _cost_and_label(
    batch: Batch,
    *,
    tp: float | str = 0,
    fp: float | str = 1,
    fn: float | str = 1,
    tn: float | str = 0,
    cap: float | None = None,
) -> Any:
    """Each row falls in the cell (its score, its label), and adds what calling it positive costs more.

    Returns:
        score and label [rows]; the cost if called minus the cost if not [rows]; the same of the squared costs [rows].
    """
    called, passed = _costs(batch, batch.label.astype(float), tp, fp, fn, tn, cap)
    return batch.score, batch.label, called - passed, called**2 - passed**2


cost_histogram = Statistic(
    "cost_histogram",
    _cost_and_label,
    "scores",
    ("negatives", "positives"),
    needs=("label", "score"),
    parameters=keyword_parameters(_cost_and_label),
)


def _histogram(parameters: Mapping[str, Parameter]) -> Statistic | None:
    """Returns the histogram that curves of costs by row need; that of scores is enough for constant costs."""
    costs = {name: parameters[name] for name in _COSTS}
    return cost_histogram.bind(**costs) if any(isinstance(value, str) for value in costs.values()) else None


@statistic(needs=("label", "decision"), needs_when=_BY_BAYES, beside=_histogram)
def decision_cost(
    batch: Batch,
    *,
    tp: float | str = 0,
    fp: float | str = 1,
    fn: float | str = 1,
    tn: float | str = 0,
    threshold: float | None = None,
    strict: bool = False,
    bayes: bool = False,
    cap: float | None = None,
) -> dict[str, Any]:
    """The cost of each row's decision, and of never deciding positive, apart for positives and negatives.

    Args:
        batch: label [rows] 0/1, score or prediction [rows], and the columns that hold costs [rows].
        tp: cost of a true positive; a number or a column, as the next three.
        fp: cost of a false positive.
        fn: cost of a false negative.
        tn: cost of a true negative.
        threshold: decided in the scores' own dtype.
        strict: whether a score equal to the threshold is negative.
        bayes: whether each row is decided by its own Bayes-optimal threshold.
        cap: costs beyond it, of either sign, count as this large; for heavy tails.
    """
    import jax.numpy as jnp

    y = _label(batch)
    called, passed = _costs(batch, y, tp, fp, fn, tn, cap)
    cost = jnp.where(_calls(batch, tp, fp, fn, tn, threshold, strict, bayes), called, passed)
    return {
        "label": y,
        "negative": 1 - y,
        "cost_positive": y * cost,
        "cost_negative": (1 - y) * cost,
        "never_positive": y * passed,
        "never_negative": (1 - y) * passed,
        "size": jnp.abs(cost),
    }


@statistic(needs=("label", "decision"), needs_when=_BY_BAYES)
def decision_saving(
    batch: Batch,
    *,
    versus: Literal["never", "always"] = "never",
    tp: float | str = 0,
    fp: float | str = 1,
    fn: float | str = 1,
    tn: float | str = 0,
    threshold: float | None = None,
    strict: bool = False,
    bayes: bool = False,
    cap: float | None = None,
) -> dict[str, Any]:
    """What each row's decision saves against always deciding the same; arguments as of `decision_cost`.

    Args:
        batch: as of `decision_cost`.
        versus: `never` deciding positive, or `always`.
        tp: cost of a true positive.
        fp: cost of a false positive.
        fn: cost of a false negative.
        tn: cost of a true negative.
        threshold: decided in the scores' own dtype.
        strict: whether a score equal to the threshold is negative.
        bayes: whether each row is decided by its own Bayes-optimal threshold.
        cap: bound of a cost.
    """
    import jax.numpy as jnp

    y = _label(batch)
    called, passed = _costs(batch, y, tp, fp, fn, tn, cap)
    cost = jnp.where(_calls(batch, tp, fp, fn, tn, threshold, strict, bayes), called, passed)
    saved = (passed if versus == "never" else called) - cost
    return {
        "label": y,
        "negative": 1 - y,
        "saved_positive": y * saved,
        "saved_negative": (1 - y) * saved,
        "size": jnp.abs(saved),
    }


@statistic(needs=("label", "decision"), needs_when=_BY_BAYES)
def cost_bounds(
    batch: Batch,
    *,
    tp: float | str = 0,
    fp: float | str = 1,
    fn: float | str = 1,
    tn: float | str = 0,
    threshold: float | None = None,
    strict: bool = False,
    bayes: bool = False,
    cap: float | None = None,
) -> dict[str, Any]:
    """The cost of each row's decision, of never and of always deciding positive; arguments as of `decision_cost`.

    Args:
        batch: as of `decision_cost`.
        tp: cost of a true positive.
        fp: cost of a false positive.
        fn: cost of a false negative.
        tn: cost of a true negative.
        threshold: decided in the scores' own dtype.
        strict: whether a score equal to the threshold is negative.
        bayes: whether each row is decided by its own Bayes-optimal threshold.
        cap: bound of a cost.
    """
    import jax.numpy as jnp

    y = _label(batch)
    called, passed = _costs(batch, y, tp, fp, fn, tn, cap)
    cost = jnp.where(_calls(batch, tp, fp, fn, tn, threshold, strict, bayes), called, passed)
    parts = {"cost": cost, "never": passed, "always": called}
    by_class = {f"{name}_positive": y * value for name, value in parts.items()}
    by_class |= {f"{name}_negative": (1 - y) * value for name, value in parts.items()}
    return {"label": y, "negative": 1 - y, **by_class, "size": jnp.abs(cost)}


def _per_row(s: Fields, name: str, prevalence: float | None) -> Any:
    """Returns the mean of an amount, or its means over positives and negatives weighted by another prevalence."""
    positive, negative = getattr(s, f"{name}_positive"), getattr(s, f"{name}_negative")
    if prevalence is None:
        return ratio(positive + negative, s.weight)
    if not 0 <= prevalence <= 1:
        raise ConfigError(f"prevalence must lie between 0 and 1, not {prevalence!r}.")
    return prevalence * ratio(positive, s.label) + (1 - prevalence) * ratio(negative, s.negative)


_MONEY: Any = {"range": (-math.inf, math.inf), "interval": "delta", "heavy": "size"}


@metric(decision_cost, better="lower", **_MONEY)
def expected_cost(s: Fields, *, prevalence: float | None = None) -> Any:
    """Mean cost of a row's decision, in the costs' unit; at another prevalence of positives where one is given.

    (tp n_tp + fp n_fp + fn n_fn + tn n_tn) / rows. With `prevalence` the mean over positives times it, plus the mean
    over negatives times the rest: undefined without one of them.

    Traps: heavy tails where costs are columns; `expected_cost(cap=...)` bounds each row's cost. With `bayes` and
    `prevalence` rows are still decided as the scores say, not as they would at that prevalence. Source: Elkan (2001),
    The foundations of cost-sensitive learning.

    >>> expected_cost([1, 1, 0, 0], [0.9, 0.2, 0.6, 0.1], fn=10, fp=2)
    3.0
    """
    return _per_row(s, "cost", prevalence)


@metric(decision_cost, better="lower", **_MONEY)
def total_cost(s: Fields) -> Any:
    """Weighted sum of the costs of all decisions, in the costs' unit.

    Traps: it grows with the rows; compare slices by `expected_cost`. What these rows cost is known; the interval is for
    as many rows (as much weight) like these, so it is that of `expected_cost` times their number.

    >>> total_cost([1, 1, 0, 0], [0.9, 0.2, 0.6, 0.1], fn=10, fp=2)
    12.0
    """
    import jax
    import jax.numpy as jnp

    cost = s.cost_positive + s.cost_negative
    mean = jnp.where(s.weight == 0, 0.0, ratio(cost, s.weight))
    return cost - jax.lax.stop_gradient(mean) * (s.weight - jax.lax.stop_gradient(s.weight))


@metric(decision_saving, better="higher", **_MONEY)
def cost_saved(s: Fields, *, prevalence: float | None = None) -> Any:
    """Mean saving of a row's decision against never (or always) deciding positive; above 0 it saves.

    Source: the difference of two expected costs, Elkan (2001).

    >>> cost_saved([1, 1, 0, 0], [0.9, 0.2, 0.6, 0.1], fn=10, fp=2)
    2.0
    >>> cost_saved([1, 1, 0, 0], [0.9, 0.2, 0.6, 0.1], fn=10, fp=2, versus="always")
    -2.0
    """
    return _per_row(s, "saved", prevalence)


@metric(decision_saving, better="higher", **_MONEY)
def value_per_positive(s: Fields, *, prevalence: float | None = None) -> Any:
    """Saving against never (or always) deciding positive, for each positive there is.

    Undefined without positives. With `prevalence` false alarms are as many for each positive as there would be.

    >>> value_per_positive([1, 1, 0, 0], [0.9, 0.2, 0.6, 0.1], fn=10, fp=2)
    4.0
    """
    if prevalence is None:
        return ratio(s.saved_positive + s.saved_negative, s.label)
    return ratio(_per_row(s, "saved", prevalence), prevalence)


@metric(cost_bounds, better="lower", **_MONEY)
def normalized_cost(s: Fields, *, prevalence: float | None = None) -> Any:
    """Expected cost over the smaller of never and always deciding positive; below 1 the model earns its keep.

    Undefined unless that smaller cost is positive: with benefits as negative costs the quotient would turn around, and
    `cost_saved` says what is meant. Source: Drummond and Holte (2006), Cost curves.

    >>> normalized_cost([1, 1, 0, 0], [0.9, 0.2, 0.6, 0.1], fn=10, fp=2)
    3.0
    """
    import jax.numpy as jnp

    least = jnp.minimum(_per_row(s, "never", prevalence), _per_row(s, "always", prevalence))
    return ratio(_per_row(s, "cost", prevalence), jnp.where(least > 0, least, 0.0))
