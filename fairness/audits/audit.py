"""What every audit is made of: facts, findings in sentences, and tables, in forms for people and for programs.

>>> table = Table("sex", ("Category", "Applicants"), (("f", "76"), ("m", "92")))
>>> audit = Audit("ll144", "Bias audit", {"Date": "2023-05-01"}, ("All is said.",), (table,))
>>> print(audit.to_markdown())
## Bias audit
<BLANKLINE>
- Date: 2023-05-01
<BLANKLINE>
### Findings
<BLANKLINE>
- All is said.
<BLANKLINE>
### sex
<BLANKLINE>
| Category | Applicants |
|---|---:|
| f | 76 |
| m | 92 |
<BLANKLINE>
>>> audit.to_dict()["findings"]
['All is said.']

`evalkit.reports.audit.audit_page` makes a page of it.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from evalkit.errors import ConfigError

Tone = Literal["bad", "good", "open"]
# Bars would end a cell; the others would be read as Markdown or HTML.
_SPECIAL = re.compile(r"[|`*<>\\]|^[\[#+-]|\](?=[(\[:])|(?<![^\W_])_|_(?![^\W_])")


@dataclass(frozen=True)
class Table:
    """A table of an audit, as it is read.

    Attributes:
        title: its heading.
        headers: of the columns.
        rows: of texts; the first names the row.
        words: the places of columns that hold words; the first does, the others hold numbers.
        note: what a reader must know of it.
        tones: what a cell's text means: something `bad`, `good`, or `open`.
        spans: of each row a lower bound, a value and an upper bound between 0 and 1, to be drawn; None without. Empty
            where nothing is drawn.
        limit: what the spans are held against.
    """

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: frozenset[int] = frozenset()
    note: str = ""
    tones: Mapping[str, Tone] = field(default_factory=dict)
    spans: tuple[tuple[float, float, float] | None, ...] = ()
    limit: float | None = None

    def is_number(self, place: int) -> bool:
        """Returns whether a column holds numbers."""
        return place > 0 and place not in self.words


@dataclass(frozen=True)
class Audit:
    """An audit, ready to be read, saved and shown.

    Attributes:
        standard: its short name, such as `ll144`.
        title: its heading.
        facts: what was audited, when, and on which data, by name.
        findings: sentences, the most important first.
        tables: what the findings are drawn from.
        too_few: groups of which nothing can be claimed, and why, as sentences.
        untested: what the audit says nothing about, as sentences.
        notes: how it is to be read.
        values: everything as plain values, numbers unrounded, for programs.
    """

    standard: str
    title: str
    facts: Mapping[str, str]
    findings: tuple[str, ...]
    tables: tuple[Table, ...]
    too_few: tuple[str, ...] = ()
    untested: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Returns values and sentences; missing numbers are None."""
        words = {name: list(getattr(self, name)) for name in ("findings", "too_few", "untested", "notes")}
        return {"standard": self.standard, "title": self.title, **self.values, **words}

    def to_json(self) -> str:
        """Returns `to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)

    def to_markdown(self, level: int = 2) -> str:
        """Returns the audit for people, its heading of this level."""
        return "\n".join(self._lines("#" * level)) + "\n"

    def _lines(self, mark: str) -> Iterator[str]:
        yield f"{mark} {plain(self.title)}"
        yield ""
        yield from (f"- {plain(name)}: {plain(value)}" for name, value in self.facts.items())
        yield from _listed(f"{mark}# Findings", (*self.findings, *self.too_few))
        for table in self.tables:
            yield from ("", f"{mark}# {plain(table.title)}", "", *_grid(table))
            yield from ("", plain(table.note)) if table.note else ()
        yield from _listed(f"{mark}# Not tested", self.untested)
        yield from _listed(f"{mark}# How to read it", self.notes)


def _listed(heading: str, sentences: tuple[str, ...]) -> Iterator[str]:
    if sentences:
        yield from ("", heading, "", *(f"- {plain(sentence)}" for sentence in sentences))


def _grid(table: Table) -> Iterator[str]:
    yield f"| {' | '.join(map(plain, table.headers))} |"
    yield "|" + "|".join("---:" if table.is_number(i) else "---" for i in range(len(table.headers))) + "|"
    yield from (f"| {' | '.join(map(plain, row))} |" for row in table.rows)


def plain(text: str) -> str:
    r"""Returns text that Markdown shows as it is, on one line.

    >>> print(plain("a|b <i>" + chr(10) + "snake_case"))
    a\|b \<i\> snake_case
    """
    return _SPECIAL.sub(lambda found: f"\\{found[0]}", " ".join(text.split()))


def share(value: float | None) -> str:
    """Writes a share as a percentage, and nothing where there is none.

    >>> share(0.375), share(None)
    ('37.5%', '')
    """
    return "" if value is None else f"{value:.1%}"


def joined(words: list[str], most: int = 8) -> str:
    """Joins names for a sentence.

    >>> joined(["a", "b", "c"]), joined(["a"]), joined(list("abcdefghijk"), most=3)
    ('a, b and c', 'a', 'a, b, c and 8 more')
    """
    shown = [*words[:most], f"{len(words) - most} more"] if len(words) > most + 1 else words
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def day(name: str, value: str | dt.date) -> dt.date:
    """Returns a date that was said as YYYY-MM-DD.

    >>> day("date", "2023-05-01")
    datetime.date(2023, 5, 1)
    """
    if isinstance(value, dt.datetime):
        return value.date()
    if isinstance(value, dt.date):
        return value
    try:
        found = dt.date.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} must be a date as YYYY-MM-DD, not {value!r}.") from error
    if found.isoformat() != value:
        raise ConfigError(f"{name} must be a date as YYYY-MM-DD, not {value!r}.")
    return found


def source_said(data_source: str) -> str:
    """Returns where data come from, which every audit must say."""
    if not data_source.strip():
        raise ConfigError("An audit says where its data come from: data_source is empty.")
    return data_source.strip()
