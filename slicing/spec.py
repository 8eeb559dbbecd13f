"""What a slice is: questions about rows, and their written forms.

A slice set is one question (a column, bins of it, a condition, a cross of these); a slice is one of its values.

>>> [str(s) for s in parse(["sex", ["sex", "race"], "age=edges(30, 45)", {"column": "income", "quantiles": 4}])]
['sex', 'sex,race', 'age=edges(30, 45)', 'income=quantiles(4)']
>>> slice_text((("race", "black"), ("sex", None)))
'race=black, sex=null'
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from evalkit.errors import ConfigError

Form = Literal["column", "values", "edges", "quantiles", "top", "where"]
SliceKey = tuple[tuple[str, str | None], ...]
OVERALL: SliceKey = ()
OTHER = "other"
RESERVED = {"overall": "all rows", "all": "every slice"}
_FORMS = ("values", "edges", "quantiles", "top", "where")
_FORM_HELP = "COLUMN, COLUMN=[a, b], COLUMN=edges(30, 45), COLUMN=quantiles(4), COLUMN=top(20) or NAME=where(SQL)"


def edge_text(edge: float) -> str:
    """Writes an edge in as few digits as say it exactly: `30`, `0.1`, `1234567.5`, `inf`.

    >>> edge_text(30.0), edge_text(1234567.5), edge_text(0.1 + 0.2)
    ('30', '1234567.5', '0.30000000000000004')
    """
    return f"{edge:g}" if float(f"{edge:g}") == edge else repr(float(edge))


class Expression(str):
    """A Polars expression, known by its text: equal texts are equal conditions."""

    expression: Any

    def __new__(cls, expression: Any) -> Expression:
        """Keeps the expression beside its text."""
        text = super().__new__(cls, str(expression))
        text.expression = expression
        return text


@dataclass(frozen=True)
class Dimension:
    """One question about a row.

    Attributes:
        name: the column, or the condition's name.
        form: how its values are made.
        argument: the chosen values, the edges, the number of quantile bins, the number of values kept (once frozen
            a pair, that number and the values), or the condition (SQL text or a Polars expression).
    """

    name: str
    form: Form = "column"
    argument: Any = None

    @property
    def column(self) -> str | None:
        """The column it reads; None for conditions, which may read several."""
        return None if self.form == "where" else self.name

    def __str__(self) -> str:
        if self.form == "column":
            return self.name
        if self.form == "values":
            return f"{self.name}=[{', '.join(str(v) for v in self.argument)}]"
        if self.form == "edges":
            return f"{self.name}=edges({', '.join(edge_text(v) for v in self.argument)})"
        argument = self.argument[0] if isinstance(self.argument, tuple) else self.argument
        return f"{self.name}={self.form}({argument})"


@dataclass(frozen=True)
class SliceSet:
    """A question about rows: one dimension, or the cross of several. Without dimensions it is all rows."""

    dimensions: tuple[Dimension, ...] = ()

    def __str__(self) -> str:
        return ",".join(str(d) for d in self.dimensions) or "overall"


def by(
    column: str,
    *,
    values: Sequence[Any] | None = None,
    edges: Sequence[float] | None = None,
    quantiles: int | None = None,
    top: int | None = None,
) -> Dimension:
    """Slices by a column: by each value, by chosen ones, by bins, or by the most frequent ones.

    Args:
        column: the column's name. A list-valued column puts a row in several slices.
        values: the values to keep, each a slice.
        edges: inner edges of bins, ascending: `[30, 45]` gives (-inf, 30), [30, 45), [45, inf).
        quantiles: the number of bins with equally many rows; their edges are frozen before counting.
        top: how many of the most frequent values to keep; the rest are one slice, `other`.
    """
    forms = {"values": values, "edges": edges, "quantiles": quantiles, "top": top}
    given = {name: value for name, value in forms.items() if value is not None}
    if len(given) > 1:
        raise ConfigError(f'Slices by "{column}" take one of values, edges, quantiles, top; not {" and ".join(given)}.')
    if not given:
        return Dimension(column)
    form, argument = next(iter(given.items()))
    return _checked(column, form, argument)


def where(name: str, condition: Any) -> Dimension:
    """A slice of the rows that satisfy a condition.

    Args:
        name: the slice's name.
        condition: a Polars expression, or SQL such as `age < 30 AND sex = 'female'`.
    """
    if name in RESERVED:
        raise ConfigError(f'A condition cannot be named "{name}": that means {RESERVED[name]}.')
    return Dimension(name, "where", condition if isinstance(condition, str) else Expression(condition))


def _checked(column: str, form: str, argument: Any) -> Dimension:
    what = f'"{column}={form}(...)"'
    if form in ("quantiles", "top"):
        least = 2 if form == "quantiles" else 1
        if isinstance(argument, bool) or not isinstance(argument, int) or argument < least:
            raise ConfigError(f"{what} needs a whole number of at least {least}, not {argument!r}.")
        return Dimension(column, "quantiles" if form == "quantiles" else "top", argument)
    if isinstance(argument, str) or not isinstance(argument, Iterable):
        raise ConfigError(f"{what} needs a list, not {argument!r}.")
    items = tuple(argument)
    if not items:
        raise ConfigError(f"{what} needs at least one {'edge' if form == 'edges' else 'value'}.")
    if form == "values":
        return Dimension(column, "values", items)
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in items)
    if not numbers or list(items) != sorted(set(items)):
        raise ConfigError(f"{what} needs finite numbers in ascending order, not {list(items)}.")
    return Dimension(column, "edges", tuple(float(v) for v in items))


def parse(specs: Any) -> list[SliceSet]:
    """Returns the slice sets of what a user wrote, overall not among them, each once.

    Args:
        specs: a list of column names, written forms, mappings (`{"column": "age", "edges": [30]}` or
            `{"name": "young", "where": "age < 30"}`), dimensions made by `by` and `where`, or lists of these for a
            cross; or a single one of them but a list.
    """
    if isinstance(specs, str | Mapping | Dimension | SliceSet):
        specs = [specs]
    if specs is not None and not isinstance(specs, Iterable):
        raise ConfigError(f"{specs!r} is not a slice; write {_FORM_HELP}.")
    sets = [_slice_set(spec) for spec in specs or ()]
    return list(dict.fromkeys(sets))


def _slice_set(spec: Any) -> SliceSet:
    if isinstance(spec, SliceSet):
        return spec
    if isinstance(spec, str):
        return SliceSet(tuple(_distinct([_written(part) for part in _split(spec)], spec)))
    if isinstance(spec, Mapping | Dimension):
        return SliceSet((_dimension(spec),))
    if isinstance(spec, Iterable):
        return SliceSet(tuple(_distinct([_dimension(part) for part in spec], spec)))
    raise ConfigError(f"{spec!r} is not a slice; write {_FORM_HELP}.")


def _distinct(dimensions: list[Dimension], spec: Any) -> list[Dimension]:
    names = [d.name for d in dimensions]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"The cross {spec!r} needs different columns.")
    return dimensions


def _dimension(spec: Any) -> Dimension:
    if isinstance(spec, Dimension):
        return spec
    if isinstance(spec, str):
        return _written(spec)
    if isinstance(spec, Mapping):
        return _mapped(dict(spec))
    raise ConfigError(f"{spec!r} is not a slice; write {_FORM_HELP}.")


def _mapped(spec: dict[str, Any]) -> Dimension:
    if set(spec) == {"name", "where"}:
        return where(str(spec["name"]), spec["where"])
    column = spec.pop("column", None)
    if isinstance(column, str) and set(spec) <= set(_FORMS[:4]):
        return by(column, **spec)
    if column is None and len(spec) == 1:
        ((name, values),) = spec.items()
        return by(str(name), values=values if isinstance(values, list | tuple) else [values])
    raise ConfigError(
        f"{spec!r} is not a slice; a mapping has `column` and one of values, edges, quantiles, top; "
        "or `name` and `where`."
    )


def _split(text: str) -> list[str]:
    """Splits at commas outside brackets and quotes."""
    parts, depth, quote, current = [], 0, "", ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        else:
            depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0 and not quote:
            parts.append(current)
            current = ""
        else:
            current += character
    if depth or quote:
        raise ConfigError(f'The slice "{text}" has an open bracket or quote.')
    return [part.strip() for part in [*parts, current]]


def _written(text: str) -> Dimension:
    name, equals, form = (part.strip() for part in text.partition("="))
    if not name:
        raise ConfigError(f'"{text}" is not a slice; write {_FORM_HELP}.')
    if not equals:
        return Dimension(name)
    if form.startswith("[") and form.endswith("]"):
        return _checked(name, "values", [_value(v) for v in _split(form[1:-1])])
    match = re.fullmatch(r"(\w+)\((.*)\)", form, flags=re.DOTALL)
    if not match or match[1] not in _FORMS:
        raise ConfigError(f'"{text}" is not a slice; write {_FORM_HELP}.')
    kind, inside = match[1], match[2].strip()
    if kind == "where":
        return where(name, inside)
    items = [_value(v) for v in _split(inside)]
    return _checked(name, kind, items[0] if kind in ("quantiles", "top") and len(items) == 1 else items)


def _value(text: str) -> Any:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return {"true": True, "false": False, "null": None}.get(text, text)


def slice_text(key: SliceKey) -> str:
    """Writes a slice for people: `overall`, `race=black, sex=female`; odd values are quoted, a null is `null`."""
    return ", ".join(_pair_text(name, value) for name, value in key) or "overall"


def _pair_text(name: str, value: str | None) -> str:
    if value is None:
        return f"{name}=null"
    if value == "":
        return f'{name}=""'
    binned = re.fullmatch(r"[\[(]\S+, \S+\)", value) is not None
    odd = (", " in value and not binned) or "=" in value or '"' in value or value == "null"
    if odd:
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'{name}="{escaped}"'
    return f"{name}={value}"
