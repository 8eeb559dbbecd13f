"""What a page is made of: parts, each a piece of HTML and the data that its script reads.

A part named `forest` is a function in `forest.py`, a template `forest.html` and, where it has data, a script
`forest.js` that registers itself with `report.part("forest", draw)`. Parts know nothing of one another.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from evalkit.errors import MissingExtra

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class Part:
    """One section of a page.

    Attributes:
        name: its anchor, and the name of its template and script.
        title: its heading.
        html: what it shows before, or without, its script.
        data: what its script reads, as JSON; None for a part without a script.
    """

    name: str
    title: str
    html: str
    data: Mapping[str, Any] | None = None

    @property
    def script(self) -> str:
        """The source of its script; empty without one."""
        return "" if self.data is None else source(f"{self.name}.js")


def source(name: str) -> str:
    """Returns the text of a file beside this one."""
    return files("evalkit.reports").joinpath(name).read_text(encoding="utf-8")


def render(template: str, **context: Any) -> str:
    """Returns a template filled in, every value escaped."""
    return _environment().get_template(template).render(**context)


@functools.cache
def _environment() -> Environment:
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ImportError:
        raise MissingExtra("jinja2", "reports") from None
    from evalkit.show import interval, number

    environment = Environment(
        loader=FunctionLoader(source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "words": words}
    environment.globals["interval"] = interval
    return environment


def words(status: str) -> str:
    """Writes a status for people: `too few rows`."""
    return status.replace("_", " ")
