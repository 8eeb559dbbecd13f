r"""YAML with the line of every key, and without its surprises.

`yes`, `no`, `on` and `off` are text, as are dates and `12:30`; `true` and `false` are booleans. A key that is written
twice is refused.

>>> value, lines = read("label: y\nslices:\n  - sex\n", "evalkit.yaml")
>>> value, lines[("slices", 0)]
({'label': 'y', 'slices': ['sex']}, 3)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import yaml

from evalkit.errors import ConfigError

Place = tuple[str | int, ...]
_CORE = {
    "null": (r"~|null|Null|NULL|", "~nN"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+", "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
}

_CONSTRUCT: dict[str, Callable[[str], Any]] = {
    "null": lambda text: None,  # noqa: ARG005
    "bool": lambda text: text.lower() == "true",
    "int": int,
    "float": lambda text: float(text.lower().replace(".inf", "inf").replace(".nan", "nan")),
    "str": str,
}


class _Loader(yaml.SafeLoader):
    """PyYAML's, which follows YAML 1.1, with the plain scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own form


for _tag, (_pattern, _first) in _CORE.items():
    _firsts: list[Any] = [*_first, ""] if _tag == "null" else [*_first]
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _firsts)


def read(text: str, file: str) -> tuple[Any, dict[Place, int]]:
    """Returns what the text says and the line, from 1, of each key and each item of a list.

    Args:
        text: the YAML.
        file: its name, for messages.

    Raises:
        ConfigError: the text is no YAML, or a key is there twice.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{file}:{mark.line + 1}" if mark else file
        raise ConfigError(f"{place}: This is no YAML: {error.problem or error.context}.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: This is no YAML: {str(error).splitlines()[0]}.") from error
    lines: dict[Place, int] = {}
    return (None if node is None else _value(node, (), lines, file, ())), lines


def line_of(place: Place, lines: dict[Place, int]) -> int:
    """Returns the line of a place, or of what is nearest around it."""
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 1)


def _value(node: Any, place: Place, lines: dict[Place, int], file: str, around: tuple[int, ...]) -> Any:
    here = node.start_mark.line + 1
    if id(node) in around:
        raise ConfigError(f"{file}:{here}: This alias contains itself.")
    lines.setdefault(place, here)
    inner = (*around, id(node))
    if isinstance(node, yaml.MappingNode):
        keys = _keys(node, place, lines, file)
        return {key: _value(child, (*place, key), lines, file, inner) for key, child in keys}
    if isinstance(node, yaml.SequenceNode):
        return [_value(child, (*place, index), lines, file, inner) for index, child in enumerate(node.value)]
    return _scalar(node, file)


def _keys(node: Any, place: Place, lines: dict[Place, int], file: str) -> Iterator[tuple[str, Any]]:
    seen: dict[str, int] = {}
    for key_node, child in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError(f"{file}:{line}: A key must be a word, not a list or a mapping.")
        key = str(key_node.value)
        if key in seen:
            raise ConfigError(f'{file}:{line}: "{key}" is set twice, first in line {seen[key]}.')
        seen[key] = lines[*place, key] = line
        yield key, child


def _scalar(node: Any, file: str) -> Any:
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    text = str(node.value)
    try:
        return _CONSTRUCT[kind](text)
    except (KeyError, ValueError):
        line = node.start_mark.line + 1
        raise ConfigError(f'{file}:{line}: "{text}" with the tag {node.tag} cannot be read.') from None
