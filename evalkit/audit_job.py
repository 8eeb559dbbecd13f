"""What `evalkit fairness audit` does: counts applicants, prints the audit, and writes it in every form."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.console import Format, out, progress, say, table
from evalkit.errors import ConfigError, MissingExtra
from evalkit.job import require_free

if TYPE_CHECKING:
    from evalkit.fairness.audits.audit import Audit


@dataclass(frozen=True)
class Asked:
    """What was asked for; see the flags of `evalkit fairness audit`. None is what was left out."""

    data: Sequence[str]
    standard: str
    date: str
    data_source: str
    sex: str | None
    race: str | None
    protected: Sequence[str]
    selected: str | None
    score: str | None
    threshold: float | None
    unknown: Sequence[str]
    tool: str
    distributed: str | None
    data_kind: str | None
    explanation: str | None
    exclude: Sequence[str]
    exclude_small: bool
    justification: str | None
    level: float | None
    least_share: float | None


# The flags that one standard alone takes.
_OWN = {
    "ll144": ("distributed", "data_kind", "explanation", "exclude", "exclude_small", "justification"),
    "four-fifths": ("protected", "threshold", "level", "least_share"),
}


def run(asked: Asked, folder: str | None, *, overwrite: bool, form: Format, quiet: bool) -> None:
    """Audits, writes the audit if there is a folder for it, and prints it.

    Raises:
        UsageError: settings, data or folder are wrong.
    """
    _check(asked)
    target = None if folder is None else Path(folder)
    if target is not None:
        require_free(target, overwrite=overwrite)
    files: list[str] = []
    with progress(2, quiet=quiet) as step:
        step("counting applicants")
        audit = _audit(asked)
        if target is not None:
            step(f"writing {target}")
            files = write(audit, target)
    _show(audit, form)
    if target is not None:
        say(f"Written to {target}: {', '.join(sorted(files))}.", quiet=quiet)
        if "audit.html" not in files:
            say("No audit.html: pip install 'evalkit[reports]'.", quiet=quiet)


def _check(asked: Asked) -> None:
    """Refuses flags that are missing, or belong to another standard."""
    for standard, names in _OWN.items():
        for name in names:
            if standard != asked.standard and getattr(asked, name) not in (None, False, []):
                flag = f"--{name.replace('_', '-')}"
                raise ConfigError(f"{flag} is of --standard {standard}; leave it out with {asked.standard}.")
    if asked.selected is not None and asked.score is not None:
        raise ConfigError("Name either --selected COLUMN or --score COLUMN, not both.")
    if asked.selected is None and asked.score is None:
        raise ConfigError("Say who was selected: --selected COLUMN, or scores with --score COLUMN.")
    if asked.standard == "ll144" and (asked.sex is None or asked.race is None):
        raise ConfigError("Local Law 144 is about sex and race / ethnicity: name both, --sex COLUMN and --race COLUMN.")
    if asked.standard == "four-fifths":
        if asked.sex is None and asked.race is None and not asked.protected:
            raise ConfigError("Name who is protected: --sex COLUMN, --race COLUMN or --protected COLUMN.")
        if asked.score is not None and asked.threshold is None:
            raise ConfigError("The four-fifths rule is about who is selected: say from which score on, --threshold.")
        if asked.score is None and asked.threshold is not None:
            raise ConfigError("--threshold is for scores: name them by --score COLUMN.")


def _audit(asked: Asked) -> Audit:
    data: Any = asked.data[0] if len(asked.data) == 1 else list(asked.data)
    shared: dict[str, Any] = {
        "date": asked.date,
        "data_source": asked.data_source,
        "selected": asked.selected,
        "score": asked.score,
        "unknown": asked.unknown,
        "tool": asked.tool,
    }
    if asked.standard == "ll144":
        from evalkit.fairness.audits.local_law_144 import audit_rows

        return audit_rows(
            data,
            sex=str(asked.sex),
            race=str(asked.race),
            distributed=asked.distributed,
            kind=asked.data_kind or "historical",
            explanation=asked.explanation,
            exclude=asked.exclude,
            exclude_small=asked.exclude_small,
            justification=asked.justification,
            **shared,
        ).audit
    from evalkit.fairness.audits.four_fifths import LEAST_SHARE, four_fifths

    return four_fifths(
        data,
        protected=_protected(asked),
        threshold=asked.threshold,
        level=0.95 if asked.level is None else asked.level,
        least_share=LEAST_SHARE if asked.least_share is None else asked.least_share,
        **shared,
    ).audit


def _protected(asked: Asked) -> list[list[str]]:
    """Returns sex, race, both together, and what else was named."""
    named = [[name] for name in (asked.sex, asked.race) if name is not None]
    both = [[name for [name] in named]] if len(named) == 2 else []
    return [*named, *both, *([name.strip() for name in spec.split(",")] for spec in asked.protected)]


def _show(audit: Audit, form: Format) -> None:
    if form is Format.json:
        out(audit.to_json())
        return
    out(f"{audit.title}\n")
    for name, value in audit.facts.items():
        out(f"{name}: {value}")
    for part in audit.tables:
        out(f"\n{part.title}")
        table(part.headers, part.rows)
        if part.note:
            out(part.note)
    out("")
    for sentence in (*audit.findings, *audit.too_few):
        out(f"- {sentence}")


def write(audit: Audit, folder: Path) -> list[str]:
    """Writes an audit as JSON, Markdown and, with the `reports` extra, a page; returns the files.

    Args:
        audit: of any standard.
        folder: made anew or replaced, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    from evalkit.storage import written_aside

    files = {"audit.json": f"{audit.to_json()}\n", "audit.md": audit.to_markdown(level=1)}
    try:
        from evalkit.reports.audit import audit_page

        files["audit.html"] = audit_page(audit)
    except MissingExtra:
        pass
    files["run.json"] = json.dumps(_run(audit, [*files, "run.json"]), indent=2) + "\n"
    with written_aside(folder) as aside:
        for name, text in files.items():
            (aside / name).write_text(text, encoding="utf-8", newline="\n")
    return list(files)


def _run(audit: Audit, files: list[str]) -> dict[str, Any]:
    """Returns what was run; it also tells later that the folder is evalkit's."""
    import evalkit

    versions = {"evalkit": evalkit.__version__, "python": platform.python_version()}
    return {"command": "fairness audit", "standard": audit.standard, "versions": versions, "files": sorted(files)}
