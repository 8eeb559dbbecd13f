"""Settings written: values as YAML reads them back, and files written whole or not at all."""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

from evalkit.errors import OutputError
from evalkit.interrupts import unfinished
from evalkit.yaml_lines import read

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./ -]*[A-Za-z0-9_*]|[A-Za-z_]")


def scalar(value: Any) -> str:
    """Writes a value so that YAML, in a list in brackets too, reads the same value.

    >>> scalar("age"), scalar("yes: no"), scalar("12"), scalar(1)
    ('age', '"yes: no"', '"12"', '1')
    """
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value.replace("=quantiles(4)", "")) and read(value, "")[0] == value
        return value if plain else json.dumps(value, ensure_ascii=False)
    return json.dumps(value, default=str)


def write_whole(text: str, target: Path) -> None:
    """Writes a file whole or not at all."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
    except OSError as error:
        raise OutputError(f"Cannot write {target}: {error.strerror or error}.") from error
    aside = Path(name)
    try:
        with unfinished(aside), os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        aside.chmod(0o644)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)
