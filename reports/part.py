"""What a page is made of: parts, each a piece of HTML and the data that its script reads.

A part named `forest` is a function in `forest.py`, a template `forest.html` and, where it has data, a script
`forest.js` that registers itself with `report.part("forest", draw)`. Parts know nothing of one another.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from evalkit.errors import MissingExtra

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


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
    from evalkit.gates.entries import printable
    from evalkit.show import interval, number, written

    environment = Environment(
        loader=FunctionLoader(source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "written": written, "signed": _signed, "words": words}
    environment.filters |= {"after": after, "printable": printable, "breakable": breakable}
    environment.globals["interval"] = interval
    return environment


def _signed(value: float | None, unit: str = "") -> str:
    from evalkit.show import signed

    return "-" if value is None or math.isnan(value) else signed(value, unit)


def breakable(name: str) -> Markup:
    """Returns a metric's name, escaped, that may be broken into lines where its words end.

    >>> str(breakable("expected_cost@fn=1,fp=<b>"))
    'expected_<wbr>cost@<wbr>fn=1,<wbr>fp=&lt;b&gt;'
    """
    from markupsafe import Markup, escape

    return Markup(re.sub("([_@,])", r"\1<wbr>", str(escape(name))))


def after(unit: str) -> str:
    """Returns a unit as it follows a number.

    >>> after("USD per row"), after("")
    (' USD per row', '')
    """
    return f" {unit}" if unit else ""


def words(status: str) -> str:
    """Writes a status for people: `too few rows`."""
    return status.replace("_", " ")
