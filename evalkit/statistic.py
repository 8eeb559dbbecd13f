"""What one row adds.

A statistic is a pure JAX function of a batch of rows. Its sums are all a metric ever sees, so shards, days and
machines add up. There are three forms, and the engine treats each in its own best way:

- `sums`: the function returns named values of each row, `{"error": [rows], ...}`; their weighted sums are kept.
- `cells`: every row falls in exactly one of a few named cells; the function returns the cell's index, and the engine
  counts in integers.
- `scores`: every row falls in the cell (its score, its label); the engine keeps one histogram of scores.

>>> import jax.numpy as jnp
>>> from evalkit.statistic import Batch, statistic
>>> @statistic(needs=("label", "prediction"))
... def errors(batch):
...     error = batch.prediction - batch.label
...     return {"error": error, "squared": error**2}
>>> errors.identity, errors.fields
('errors', ('weight', 'error', 'squared'))
>>> errors.rows(Batch(label=jnp.array([1.0, 2.0]), prediction=jnp.array([1.5, 2.0]))).tolist()
[[1.0, 0.5, 0.25], [1.0, 0.0, 0.0]]
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from evalkit.errors import ConfigError, listing, nearest

if TYPE_CHECKING:
    from jax import Array

Form = Literal["sums", "cells", "scores"]
Parameter = float | int | str | bool | None


@dataclass(frozen=True)
class Batch:
    """Rows as arrays: what a statistic may read.

    Attributes:
        label: [rows] int8 0/1 for binary tasks, float64 for regression.
        score: [rows] float32 or float64; the model's score of the positive class.
        prediction: [rows] int8 decisions, or float64 predictions.
        columns: other numeric columns by name, [rows] float64.
    """

    label: Any = None
    score: Any = None
    prediction: Any = None
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Statistic:
    """A named function of rows with its bound parameters; two with one identity are the same statistic.

    Attributes:
        name: the function's name.
        function: `(batch, **parameters)` to what `form` says.
        form: `sums`, `cells` or `scores`.
        cell_names: names of the cells, for `cells`.
        needs: roles of a batch it reads: `label`, `score`, `prediction`, `decision` (a prediction or a thresholded
            score), `probability` (a score in [0, 1]).
        parameters: bound values by name.
        pivoted: the function takes `pivot`, a float64 scalar or [rows], that it subtracts from large values.
        shift: for pivoted ones, `(from_pivot, to_pivot)` to the matrix [fields, fields] that moves the sums.
        needs_when: by the name of a parameter, what is needed where it is false, and where it is true.
        beside: `(parameters)` to another statistic that is collected with this one where there are scores, or None.
    """

    name: str
    function: Callable[..., Any]
    form: Form = "sums"
    cell_names: tuple[str, ...] = ()
    needs: tuple[str, ...] = ("label",)
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    pivoted: bool = False
    shift: Callable[[Any, Any], Any] | None = None
    needs_when: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=dict)
    beside: Callable[[Mapping[str, Parameter]], Statistic | None] | None = None

    def __post_init__(self) -> None:
        functools.update_wrapper(self, self.function)  # type: ignore[arg-type]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Statistic) and (self.identity, self.function) == (other.identity, other.function)

    def __hash__(self) -> int:
        return hash((self.identity, self.function))

    @functools.cached_property
    def identity(self) -> str:
        """The name and bound parameters, as written into saved sums."""
        return identify(self.name, self.parameters)

    @functools.cached_property
    def fields(self) -> tuple[str, ...]:
        """Names of the summed fields; `weight` comes first in the form `sums`."""
        return self.cell_names if self.form != "sums" else ("weight", *_names(self))

    def _values(self, batch: Batch, pivot: Any = 0.0) -> dict[str, Array]:
        extra = {"pivot": pivot} if self.pivoted else {}
        values: dict[str, Array] = self.function(batch, **self.parameters, **extra)
        return values

    def bind(self, **parameters: Parameter) -> Statistic:
        """Returns this statistic with parameters set."""
        bound = {**self.parameters, **parameters}
        needs = self.needs
        for key, (otherwise, where_true) in self.needs_when.items():
            needs = where_true if bound.get(key) else otherwise
        return replace(self, parameters=bound, needs=needs)

    def companion(self) -> Statistic | None:
        """Returns the statistic that is collected beside this one where there are scores."""
        return None if self.beside is None else self.beside(self.parameters)

    def cell(self, batch: Batch) -> Array:
        """Returns the index of each row's cell, [rows] int32 (form `cells`)."""
        result: Array = self.function(batch, **self.parameters)
        return result

    def rows(self, batch: Batch, pivot: Any = 0.0) -> Array:
        """Returns what each row of weight 1 adds, [rows, fields]."""
        import jax
        import jax.numpy as jnp

        if self.form == "cells":
            return jax.nn.one_hot(self.cell(batch), len(self.cell_names), dtype=jnp.float32)
        return jnp.stack(self.by_field(batch, pivot), axis=-1)

    def by_field(self, batch: Batch, pivot: Any = 0.0) -> tuple[Array, ...]:
        """Returns what each row of weight 1 adds to each field, [rows] each, in the form `sums`."""
        import jax.numpy as jnp

        values = tuple(self._values(batch, pivot).values())
        return (jnp.ones_like(values[0]), *values)


@functools.lru_cache(maxsize=1024)
def _names(statistic: Statistic) -> tuple[str, ...]:
    """Returns the names of the values that a statistic's function returns."""
    import jax

    names: list[str] = []

    def read(one: Any) -> None:
        columns = dict.fromkeys(column_names(statistic), one)
        names.extend(statistic._values(Batch(one, one, one, columns)))

    jax.eval_shape(read, jax.ShapeDtypeStruct((1,), "float32"))  # type: ignore[no-untyped-call]
    return tuple(names)


def column_names(statistic: Statistic) -> tuple[str, ...]:
    """Returns the columns that a statistic reads besides label, score and prediction."""
    texts = text_parameters(statistic.function)
    columns = [value for key, value in statistic.parameters.items() if isinstance(value, str) and not texts.get(key)]
    return tuple(dict.fromkeys(columns))


@functools.cache
def text_parameters(function: Callable[..., Any]) -> dict[str, tuple[str, ...]]:
    """Returns a function's parameters that may be text, each with its choices; without choices it names a column.

    >>> from typing import Literal
    >>> def saving(batch, *, price: float | str = 1, versus: Literal["never", "always"] = "never", cap: float = 9): ...
    >>> text_parameters(saving)
    {'price': (), 'versus': ('never', 'always')}
    """
    found: dict[str, tuple[str, ...]] = {}
    for parameter in inspect.signature(function).parameters.values():
        hint = parameter.annotation if isinstance(parameter.annotation, str) else repr(parameter.annotation)
        choices = re.search(r"Literal\[(.*?)\]", hint)
        if parameter.kind is not parameter.KEYWORD_ONLY:
            continue
        if choices:
            found[parameter.name] = tuple(re.findall(r"[\"'](.*?)[\"']", choices[1]))
        elif parameter.name == "column" or re.search(r"\bstr\b", hint):
            found[parameter.name] = ()
    return found


def identify(name: str, parameters: Mapping[str, Parameter]) -> str:
    """Returns `name@key=value,...` with the keys in order; unset parameters are left out.

    >>> identify("confusion", {"threshold": 0.5, "strict": False})
    'confusion@threshold=0.5'
    """
    given = {key: value for key, value in sorted(parameters.items()) if value is not None and value is not False}
    parts = [f"{key}={write(value)}" for key, value in given.items()]
    return "@".join([name, ",".join(parts)]) if parts else name


def write(value: Parameter) -> str:
    """Writes a parameter's value as it stands in a metric's name."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


@functools.cache
def keyword_parameters(function: Callable[..., Any]) -> dict[str, Parameter]:
    """Returns a function's keyword-only parameters with their defaults."""
    kinds = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in kinds if p.kind is p.KEYWORD_ONLY and p.name != "pivot"}


def refuse_unknown(name: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Raises ConfigError for a parameter that a metric or statistic does not have."""
    for key in given:
        if key not in known:
            has = f"It has: {listing(known)}." if known else "It has none."
            raise ConfigError(f'"{name}" has no parameter "{key}".{nearest(key, known)} {has}')


def statistic(
    *,
    needs: tuple[str, ...],
    shift: Callable[[Any, Any], Any] | None = None,
    needs_when: Mapping[str, tuple[str, ...]] | None = None,
    beside: Callable[[Mapping[str, Parameter]], Statistic | None] | None = None,
) -> Callable[[Callable[..., Any]], Statistic]:
    """Makes a statistic of a function from a batch to named values of each row.

    Args:
        needs: the roles that the function reads.
        shift: for functions with a `pivot` argument, the matrix that moves sums from one pivot to another.
        needs_when: by the name of a parameter, the roles read instead where it is true.
        beside: from the bound parameters to another statistic to collect where there are scores, or None.
    """

    def decorate(function: Callable[..., Any]) -> Statistic:
        defaults = keyword_parameters(function)
        instead = {key: (needs, roles) for key, roles in (needs_when or {}).items()}
        return Statistic(
            function.__name__,
            function,
            "sums",
            (),
            needs,
            defaults,
            pivoted=shift is not None,
            shift=shift,
            needs_when=instead,
            beside=beside,
        )

    return decorate


def cells(*names: str, needs: tuple[str, ...]) -> Callable[[Callable[..., Any]], Statistic]:
    """Makes a statistic of a function from a batch to the index of each row's cell.

    Args:
        *names: the cells, in the order of their indices.
        needs: the roles that the function reads.
    """

    def decorate(function: Callable[..., Any]) -> Statistic:
        return Statistic(function.__name__, function, "cells", names, needs, keyword_parameters(function))

    return decorate
