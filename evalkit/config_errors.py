"""What pydantic finds wrong, in one sentence that names file, line, setting, what was there and what may be."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from evalkit.errors import listing, nearest
from evalkit.yaml_lines import Place, line_of

if TYPE_CHECKING:
    from pydantic import ValidationError

_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "string_too_short": "text that is not empty",
    "too_short": "a list that is not empty",
    "finite_number": "a finite number",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "literal_error": "{expected}",
}


def sentence(
    error: ValidationError,
    raw: Any,
    lines: dict[Place, int],
    file: str,
    choices: Callable[[Place], Sequence[str]],
) -> str:
    """Returns what to tell of an error.

    Args:
        error: pydantic's.
        raw: what the file held.
        lines: the line of each place.
        file: its name.
        choices: the settings that may stand at a place.
    """
    found = [(_place(e["loc"], raw), e) for e in error.errors()]
    unknown = next(((place, e) for place, e in found if e["type"] == "extra_forbidden"), None)
    place, first = unknown or max(found, key=lambda pair: len(pair[0]))
    where = f"{file}:{line_of(place, lines)}"
    if unknown:
        key, known = str(place[-1]), choices(place[:-1])
        return f'{where}: There is no setting "{key}".{nearest(key, known)} Settings: {listing(known, 40)}.'
    if first["type"] == "missing":
        return f"{where}: {_path((*place, str(first['loc'][-1])))} is missing."
    wanted = list(dict.fromkeys(_wanted(e) for other, e in found if other == place))
    return f"{where}: {_path(place)} must be {' or '.join(wanted)}, not {_written(first['input'])}."


def _place(location: Sequence[str | int], raw: Any) -> Place:
    """Leaves out what pydantic adds to name the branches of a union."""
    place: list[str | int] = []
    for part in location:
        inside_mapping = isinstance(raw, Mapping) and part in raw
        inside_list = isinstance(raw, list) and isinstance(part, int)
        if inside_mapping or inside_list:
            place.append(part)
            raw = cast("Any", raw)[part]
    return tuple(place)


def _wanted(error: Mapping[str, Any]) -> str:
    template = _WANTED.get(error["type"])
    return template.format(**error.get("ctx", {})).replace("'", '"') if template else str(error["msg"])


def _path(place: Place) -> str:
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return f'"{text}"' if text else "It all"


def _written(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False)
