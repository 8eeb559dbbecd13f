"""What sums mean.

A metric is a pure JAX function of one statistic's sums, with its range, its direction and its kind of interval.
Everything else (slices, weights, intervals, merging, devices) is inherited.

>>> import evalkit as ek
>>> from evalkit.metrics.confusion import confusion
>>> @ek.metric(confusion, range=(0, 1), better="higher", interval="wilson", support=lambda c: c.tp + c.fp)
... def hits(c):
...     return ek.ratio(c.tp, c.tp + c.fp)
>>> hits([1, 0, 1], [0.9, 0.8, 0.1])
0.5
>>> hits(threshold=0.85).name
'hits@threshold=0.85'
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from evalkit.errors import ConfigError, listing, nearest
from evalkit.statistic import Parameter, Statistic, identify, keyword_parameters, refuse_unknown, text_parameters

if TYPE_CHECKING:
    from jax import Array

Kind = Literal["wilson", "mover", "atanh", "log", "logit", "delong", "delta", "bootstrap", "none"]
Direction = Literal["higher", "lower"]


class Fields:
    """The sums of one slice, read by name: `fields.tp`; `fields.rows` is the number of rows.

    Args:
        names: the fields' names.
        values: [fields] float64.
        rows: scalar; rows with a positive weight.
    """

    def __init__(self, names: tuple[str, ...], values: Any, rows: Any) -> None:
        self._names, self._values, self.rows = names, values, rows

    def __getattr__(self, name: str) -> Any:
        try:
            return self._values[..., self._names.index(name)]
        except ValueError:
            raise AttributeError(f"no field {name!r}; there are: {', '.join(self._names)}") from None

    def mean(self, name: str) -> Any:
        """Returns a field's sum over the sum of weights; NaN without rows."""
        return ratio(getattr(self, name), self.weight)


def ratio(numerator: Any, denominator: Any) -> Array:
    """Returns numerator / denominator, NaN where the denominator is 0, with finite gradients everywhere.

    >>> float(ratio(1.0, 4.0)), float(ratio(1.0, 0.0))
    (0.25, nan)
    """
    import jax.numpy as jnp

    empty = denominator == 0
    result: Array = jnp.where(empty, jnp.nan, numerator / jnp.where(empty, 1.0, denominator))
    return result


def root(value: Any) -> Array:
    """Returns the square root, with gradient 0 where the value is not positive.

    >>> float(root(4.0)), float(root(0.0))
    (2.0, 0.0)
    """
    import jax.numpy as jnp

    positive = value > 0
    result: Array = jnp.where(positive, jnp.sqrt(jnp.where(positive, value, 1.0)), 0.0 * value)
    return result


@dataclass(eq=False)
class Metric:
    """A named function of one statistic's sums.

    Called with positional arrays it computes one number, like scikit-learn; called with keywords alone it returns
    the metric with those parameters bound.

    Attributes:
        name_of_function: the name without parameters.
        statistic: what it reads, its parameters unbound or bound.
        function: `(sums, **parameters)` to a scalar.
        range: the lowest and highest value it can take.
        better: `higher`, `lower`, or None where neither is.
        kind: the kind of interval.
        support: a function of the sums' fields to the number of rows the metric reads.
        parts: for `mover`, the two metrics it adds, and the factor on their sum.
        task: `binary` or `regression`; None fits any.
        baseline: for `none`, a function of the sums to the value expected without any real effect.
        heavy: the mean of the field named here is a mean of unbounded values; heavy tails are flagged.
        parameters: bound values, its statistic's parameters among them.
    """

    name_of_function: str
    statistic: Statistic
    function: Callable[..., Any]
    range: tuple[float, float]
    better: Direction | None
    kind: Kind
    support: Callable[[Any], Any] | None = None
    parts: tuple[tuple[Metric, Metric], float] | None = None
    task: Literal["binary", "regression"] | None = "binary"
    baseline: Callable[..., Any] | None = None
    heavy: str | None = None
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    def __post_init__(self) -> None:
        functools.update_wrapper(self, self.function)

    @property
    def name(self) -> str:
        """The name with its bound parameters: `precision@threshold=0.7`."""
        defaults = self.all_parameters()
        given = {key: value for key, value in self.parameters.items() if value != defaults.get(key)}
        return identify(self.name_of_function, given)

    def all_parameters(self) -> dict[str, Parameter]:
        """Returns the parameters it takes, its statistic's among them, with their defaults."""
        return {**keyword_parameters(self.function), **keyword_parameters(self.statistic.function)}

    @property
    def first_parameter(self) -> str | None:
        """The parameter that `name@value` sets."""
        return next(iter(self.all_parameters()), None)

    def bind(self, **parameters: Parameter) -> Metric:
        """Returns this metric with parameters set; ConfigError for one that it does not have."""
        defaults = self.all_parameters()
        refuse_unknown(self.name_of_function, parameters, defaults)
        for key, value in parameters.items():
            self._check_text(key, value)
        reads = keyword_parameters(self.statistic.function)
        statistic = self.statistic.bind(**{k: v for k, v in parameters.items() if k in reads})
        parts = None
        if self.parts is not None:
            (first, second), factor = self.parts
            parts = ((first._bind_known(parameters), second._bind_known(parameters)), factor)
        return replace(self, statistic=statistic, parameters={**self.parameters, **parameters}, parts=parts)

    def text_parameters(self) -> dict[str, tuple[str, ...]]:
        """Returns the parameters that may be text, each with its choices; without choices it names a column."""
        return {**text_parameters(self.function), **text_parameters(self.statistic.function)}

    def _check_text(self, key: str, value: Parameter) -> None:
        choices = self.text_parameters().get(key)
        if choices is None and isinstance(value, str):
            raise ConfigError(f'"{key}" of {self.name_of_function} must be a number, not "{value}".')
        if isinstance(value, float) and math.isnan(value):
            raise ConfigError(f'"{key}" of {self.name_of_function} must be a number, not NaN.')
        if choices == () and key != "column" and isinstance(value, str) and _reads_as_number(value):
            raise ConfigError(
                f'"{key}" of {self.name_of_function} is the text "{value}": give the number, or rename such a column.'
            )
        if choices and value not in choices:
            raise ConfigError(
                f'"{key}" of {self.name_of_function} must be one of {listing(choices)}, not "{value}".'
                f"{nearest(str(value), choices)}"
            )

    def _bind_known(self, parameters: Mapping[str, Parameter]) -> Metric:
        return self.bind(**{key: value for key, value in parameters.items() if key in self.all_parameters()})

    def evaluate(self, sums: Any) -> Array:
        """Returns the metric of one slice's sums, a scalar."""
        own = keyword_parameters(self.function)
        bound = {key: self.parameters.get(key, default) for key, default in own.items()}
        result: Array = self.function(sums, **bound)
        return result

    def __call__(self, *arrays: Any, weight: Any = None, **parameters: Parameter) -> Any:
        """Computes the metric of `(labels, scores or predictions)`, or binds parameters.

        Args:
            *arrays: two arrays [rows], labels first; or none to bind. A metric of a column takes one array.
            weight: [rows] sampling weights.
            **parameters: the metric's parameters.
        """
        metric = self.bind(**parameters) if parameters else self
        if not arrays:
            if weight is not None:
                raise ConfigError(f'"{self.name}" needs labels and scores beside weights.')
            return metric
        return metric._alone(arrays, weight).value

    def interval(
        self, *arrays: Any, weight: Any = None, unit: Any = None, level: float = 0.95, **parameters: Parameter
    ) -> Any:
        """Returns the interval (low, high) of the metric of `(labels, scores or predictions)`.

        Args:
            *arrays: two arrays [rows], labels first.
            weight: [rows] sampling weights.
            unit: [rows] what was sampled (a user); rows of one unit are not independent.
            level: the confidence level.
            **parameters: the metric's parameters.
        """
        metric = self.bind(**parameters) if parameters else self
        result = metric._alone(arrays, weight, unit, level)
        return result.interval

    def _alone(self, arrays: tuple[Any, ...], weight: Any, unit: Any = None, level: float = 0.95) -> Any:
        from evalkit.evaluate import evaluate_arrays

        return evaluate_arrays(self, arrays, weight=weight, unit=unit, level=level)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles a metric by its name in its module, and what is bound to it."""
        return _restored, (self.function.__module__, self.function.__qualname__, dict(self.parameters))

    def __repr__(self) -> str:
        return f"<metric {self.name}>"


def _restored(module: str, name: str, parameters: Mapping[str, Parameter]) -> Metric:
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    if not isinstance(found, Metric):
        raise TypeError(f"{name} in {module} is no metric, but {type(found).__name__}")
    return found.bind(**parameters)


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def metric(
    statistic: Statistic,
    *,
    range: tuple[float, float],  # noqa: A002 - the field's word
    interval: Kind,
    better: Direction | None = None,
    support: Callable[[Any], Any] | None = None,
    parts: tuple[tuple[Metric, Metric], float] | None = None,
    task: Literal["binary", "regression"] | None = "binary",
    baseline: Callable[..., Any] | None = None,
    heavy: str | None = None,
) -> Callable[[Callable[..., Any]], Metric]:
    """Makes a metric of a function of one statistic's sums; see `Metric` for the arguments."""

    def decorate(function: Callable[..., Any]) -> Metric:
        defaults = keyword_parameters(function)
        return Metric(
            function.__name__,
            statistic,
            function,
            range,
            better,
            interval,
            support,
            parts,
            task,
            baseline,
            heavy,
            {**defaults, **statistic.parameters},
        )

    return decorate
