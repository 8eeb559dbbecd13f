"""verdict.json: everything that a verdict holds, for programs; its fields are those of `evalkit.gates.verdict`.

>>> from evalkit.gates.verdict import RuleOutcome, Verdict
>>> verdict = Verdict("new", "old", (RuleOutcome("floor", "metric", "certify", "skipped", why="there is no baseline"),))
>>> read(of(verdict)) == verdict
True
"""

from __future__ import annotations

import functools
import inspect
import json
import math
import re
import types
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from evalkit.errors import DataError
from evalkit.gates.verdict import SCHEMA, Finding, RuleOutcome, Verdict, Waiver

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TEXT = {"type": "string"}

# What is worked out of the fields is written too, so that no program has to; reading leaves it out.
_DERIVED: dict[type, dict[str, tuple[Callable[[Any], Any], dict[str, Any], str]]] = {
    Verdict: {
        "schema": (lambda _: SCHEMA, {"const": SCHEMA}, "the version of this schema; fields may be added within one"),
        "outcome": (
            lambda v: v.outcome,
            {"enum": ["pass", "fail", "insufficient", "skipped"]},
            "of the whole: `fail` before `insufficient` before `pass`; `skipped` where no rule was evaluated",
        ),
        "exit_code": (
            lambda v: v.exit_code,
            {"enum": [0, 1, 3]},
            "what the command ends with: 0 passed, 1 blocked, 3 insufficient evidence or no rule evaluated",
        ),
        "sentence": (lambda v: v.sentence, _TEXT, "the verdict in words"),
        "used": (lambda v: v.used, _TEXT, "`times_used` in words"),
        "waivers": (
            lambda v: [_plain(Waiver, rule.waiver) for rule in v.waived],
            {"type": "array", "items": {"$ref": "#/$defs/Waiver"}},
            "every waiver that overrode a rule",
        ),
    },
    RuleOutcome: {
        "standing": (
            lambda r: r.standing,
            {"enum": ["FAIL", "INSUFFICIENT", "WAIVED", "WARN", "SKIPPED", "PASS"]},
            "the outcome as it is printed, waivers and severity taken into account",
        ),
        "sentence": (lambda r: r.sentence, _TEXT, "the outcome in words"),
    },
    Finding: {
        "margin": (
            lambda f: _plain(float, f.margin),
            {"type": ["number", "null"]},
            "how far the value lies inside the bound, in the quantity's unit; negative beyond it",
        ),
        "sentence": (lambda f: f.sentence, _TEXT, "the finding in words"),
    },
    Waiver: {"sentence": (lambda w: w.sentence, _TEXT, "the waiver in words")},
}


def of(verdict: Verdict) -> str:
    """Returns a verdict as JSON text; a number that is undefined or infinite is null."""
    return json.dumps(_plain(Verdict, verdict), indent=1, allow_nan=False) + "\n"


def read(text: str | bytes) -> Verdict:
    """Returns the verdict that was written as JSON text; null numbers are NaN.

    Raises:
        DataError: it is not a verdict, or of a schema that this version of evalkit does not know.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise DataError(f"This is not a verdict: no JSON ({error}). Name a verdict.json that evalkit wrote.") from error
    version = document.get("schema") if isinstance(document, dict) else None
    if version != SCHEMA:
        raise DataError(
            f"This is not a verdict that can be read: its schema is {version!r}, where {SCHEMA} is known. "
            "A newer evalkit may have written it."
        )
    try:
        verdict: Verdict = _parsed(Verdict, document)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"This verdict is broken: {type(error).__name__} {error}. Write it anew.") from error
    return verdict


def schema() -> dict[str, Any]:
    """Returns the JSON Schema of verdict.json."""
    classes = (RuleOutcome, Finding, Waiver)
    return {
        "$schema": DIALECT,
        "$id": f"urn:evalkit:verdict:{SCHEMA}",
        "title": "verdict.json",
        **_described(Verdict),
        "$defs": {each.__name__: _described(each) for each in classes},
    }


def _plain(hint: Any, value: Any) -> Any:
    """Returns a value of a type as JSON takes it."""
    if value is None:
        return None
    if is_dataclass(hint):
        derived = _DERIVED[_class(hint)]
        own = {name: _plain(each, getattr(value, name)) for name, each in _hints(_class(hint)).items()}
        return {**{name: make(value) for name, (make, _, _) in derived.items()}, **own}
    if hint is float:
        return float(value) if math.isfinite(value) else None
    if hint in (int, bool, str):
        return hint(value)
    if get_origin(hint) is tuple:
        return [_plain(each, item) for each, item in zip(_items(hint, len(value)), value, strict=True)]
    if get_origin(hint) in (Union, types.UnionType):
        return _plain(_given(hint), value)
    if get_origin(hint) is dict:
        return json.loads(json.dumps(value, default=str))
    return str(value)


def _parsed(hint: Any, value: Any) -> Any:
    """Returns what JSON held, as the type wants it."""
    if is_dataclass(hint):
        return _class(hint)(**{name: _parsed(each, value[name]) for name, each in _hints(_class(hint)).items()})
    if hint is float:
        return math.nan if value is None else float(value)
    if get_origin(hint) is tuple:
        return tuple(_parsed(each, item) for each, item in zip(_items(hint, len(value)), value, strict=True))
    if get_origin(hint) in (Union, types.UnionType):
        return None if value is None else _parsed(_given(hint), value)
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise ValueError(f"{value!r} is none of {', '.join(get_args(hint))}")
        return value
    expected = get_origin(hint) or hint
    if not isinstance(value, expected):
        raise TypeError(f"{value!r} where {expected.__name__} belongs")
    return value


def _described(kind: type) -> dict[str, Any]:
    """Returns the schema of a class, its fields described in the words of its docstring."""
    words = _words(kind)
    derived = {name: {**form, "description": said} for name, (_, form, said) in _DERIVED[kind].items()}
    own = {name: {**_form(hint), "description": words.get(name, "")} for name, hint in _hints(kind).items()}
    properties = {**derived, **own}
    title = (inspect.getdoc(kind) or "").splitlines()[0]
    return {"type": "object", "description": title, "properties": properties, "required": list(properties)}


def _form(hint: Any) -> dict[str, Any]:
    if is_dataclass(hint):
        return {"$ref": f"#/$defs/{_class(hint).__name__}"}
    if hint is float:
        return {"type": ["number", "null"]}
    if get_origin(hint) is Literal:
        return {"enum": list(get_args(hint))}
    if get_origin(hint) in (Union, types.UnionType):
        return {"anyOf": [_form(_given(hint)), {"type": "null"}]}
    if get_origin(hint) is tuple:
        return _array(get_args(hint))
    return {"type": {str: "string", int: "integer", bool: "boolean"}.get(hint, "object")}


def _array(items: tuple[Any, ...]) -> dict[str, Any]:
    if len(items) == 2 and items[1] is ...:
        return {"type": "array", "items": _form(items[0])}
    return {
        "type": "array",
        "prefixItems": [_form(item) for item in items],
        "minItems": len(items),
        "maxItems": len(items),
    }


def _items(hint: Any, length: int) -> list[Any]:
    items = get_args(hint)
    return [items[0]] * length if len(items) == 2 and items[1] is ... else list(items)


def _given(hint: Any) -> Any:
    """Returns the type in `type | None`."""
    return next(each for each in get_args(hint) if each is not types.NoneType)


def _class(hint: Any) -> type:
    """Returns a type as what it is; type checkers take a dataclass for its instance, too."""
    return hint


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {name: hints[name] for name in inspect.get_annotations(kind)}


def _words(kind: type) -> dict[str, str]:
    """Returns what a docstring says of each attribute."""
    said = (inspect.getdoc(kind) or "").partition("Attributes:\n")[2]
    return {
        name: " ".join(text.split()).rstrip(".")
        for name, text in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", said, flags=re.MULTILINE)
    }
