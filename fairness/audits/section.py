"""A short section on fairness in Markdown, such as a model card takes up.

>>> print(section(measured="recall by sex", people={"Rows": "4,000 of 2025"}, findings=["sex: no gap is shown."]))
## Fairness
<BLANKLINE>
Measured: recall by sex.
<BLANKLINE>
- Rows: 4,000 of 2025
<BLANKLINE>
### Findings
<BLANKLINE>
- sex: no gap is shown.
<BLANKLINE>
### Not tested
<BLANKLINE>
- Nothing is said of what was not measured: other groups, other measures, and data of another time or place.
<BLANKLINE>
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from evalkit.errors import ConfigError
from evalkit.fairness.audits.audit import Audit, plain

_ALWAYS = "Nothing is said of what was not measured: other groups, other measures, and data of another time or place."


def section(
    *,
    measured: str,
    people: Mapping[str, str],
    findings: Sequence[str],
    too_few: Sequence[str] = (),
    untested: Sequence[str] = (),
    level: int = 2,
) -> str:
    """Returns what was measured, on whom, what was found, and what nobody can tell from it.

    Args:
        measured: what was, in a few words, such as `recall and precision by sex, race and both`.
        people: facts on whom it was measured, by name: data, rows, date.
        findings: sentences, largest gaps first, with their bounds.
        too_few: sentences on groups of too few rows.
        untested: sentences on what was not tested; that other groups and data were not is always said.
        level: of the heading.

    Raises:
        ConfigError: there are no findings; that nothing was found is one.
    """
    if not findings:
        raise ConfigError("A section on fairness needs findings, if only that no gap is shown.")
    if not 1 <= level <= 5:
        raise ConfigError(f"A heading's level lies between 1 and 5, not {level!r}.")
    return "\n".join(_lines("#" * level, measured, people, findings, too_few, untested)) + "\n"


def section_of(audit: Audit, *, level: int = 2) -> str:
    """Returns the section of an audit, without its tables.

    >>> audit = Audit("four-fifths", "Four-fifths rule", {"Data": "2025"}, ("sex: all is well.",), ())
    >>> section_of(audit).splitlines()[2]
    'Measured: Four-fifths rule.'
    """
    return section(
        measured=audit.title,
        people=audit.facts,
        findings=audit.findings,
        too_few=audit.too_few,
        untested=audit.untested,
        level=level,
    )


def _lines(
    mark: str,
    measured: str,
    people: Mapping[str, str],
    findings: Sequence[str],
    too_few: Sequence[str],
    untested: Sequence[str],
) -> Iterator[str]:
    yield from (f"{mark} Fairness", "", f"Measured: {plain(measured).rstrip('.')}.")
    if people:
        yield from ("", *(f"- {plain(name)}: {plain(value)}" for name, value in people.items()))
    parts = {"Findings": findings, "Too few rows": too_few, "Not tested": (*untested, _ALWAYS)}
    for title, sentences in parts.items():
        if sentences:
            yield from ("", f"{mark}# {title}", "", *(f"- {plain(sentence)}" for sentence in sentences))
