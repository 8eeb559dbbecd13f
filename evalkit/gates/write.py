"""A verdict's files, written whole or not at all, and what GitHub Actions is told.

>>> import tempfile
>>> from evalkit.gates.verdict import RuleOutcome, Verdict
>>> verdict = Verdict("new", "old", (RuleOutcome("floor", "metric", "certify", "pass"),))
>>> write(verdict, tempfile.mkdtemp(), environment={})
('gl-code-quality-report.json', 'junit.xml', 'verdict.json', 'verdict.md', 'verdict.sarif')
>>> to_github(verdict, environment={})
[]
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from evalkit.errors import InternalError, OutputError
from evalkit.gates import github, gitlab, junit, markdown, sarif, verdict_json
from evalkit.gates.verdict import Verdict
from evalkit.interrupts import held_back, unfinished

ROOTS = ("GITHUB_WORKSPACE", "CI_PROJECT_DIR")


def write(verdict: Verdict, folder: str | Path, environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Writes every form of a verdict into a folder, made where it is missing, and returns the names of the files.

    Files of these names are replaced, others in the folder are left alone; on any failure all are as before.

    Args:
        verdict: what the gate decided.
        folder: where to.
        environment: names the repository's root to GitHub and GitLab; that of the process by default.

    Raises:
        OutputError: the folder cannot be written.
        InternalError: the disk is full.
    """
    target = Path(folder)
    texts = _texts(verdict, os.environ if environment is None else environment)
    blocked = next((target / name for name in texts if (target / name).is_dir()), None)
    if blocked is not None:
        raise OutputError(f"{blocked} is a folder, where a file belongs; name another folder.")
    made = _first_missing(target)
    try:
        target.mkdir(parents=True, exist_ok=True)
        _placed(texts, target)
    except OSError as error:
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InternalError(f"The disk is full; nothing was written to {target}.") from error
        raise OutputError(f"Cannot write the verdict into {target}: {error.strerror or error}.") from error
    return tuple(sorted(texts))


def to_github(verdict: Verdict, environment: Mapping[str, str] | None = None) -> list[str]:
    """Appends the verdict to the summary of a GitHub job and returns the annotations, lines to print on stdout.

    Outside GitHub Actions it does nothing and returns none. What the step has already written counts towards the
    limit of its summary; where no room is left for even the sentence, nothing is added.

    Args:
        verdict: what the gate decided.
        environment: GITHUB_ACTIONS, GITHUB_STEP_SUMMARY and GITHUB_WORKSPACE; that of the process by default.

    Raises:
        OutputError: the summary cannot be written.
    """
    given = os.environ if environment is None else environment
    summary = given.get("GITHUB_STEP_SUMMARY", "")
    if summary:
        _append(verdict, Path(summary))
    if given.get("GITHUB_ACTIONS") != "true":
        return []
    return github.commands(replace(verdict, file=in_repository(verdict.file, given)))


def in_repository(file: str, environment: Mapping[str, str]) -> str:
    """Returns a file's path from the root of the repository, with forward slashes, as GitHub and GitLab link it.

    Args:
        file: as it was named, from the working directory or absolute; empty stays empty.
        environment: GITHUB_WORKSPACE or CI_PROJECT_DIR name the root; without either it is the working directory.
    """
    if not file:
        return ""
    root = next((environment[name] for name in ROOTS if environment.get(name)), os.curdir)
    absolute = Path(file).resolve()
    try:
        return absolute.relative_to(Path(root).resolve()).as_posix()
    except ValueError:
        return absolute.as_posix()


def _texts(verdict: Verdict, environment: Mapping[str, str]) -> dict[str, str]:
    placed = replace(verdict, file=in_repository(verdict.file, environment))
    return {
        "verdict.json": verdict_json.of(verdict),
        "verdict.md": markdown.of(verdict, markdown.MOST_BYTES - 1) + "\n",
        "junit.xml": junit.of(placed),
        "gl-code-quality-report.json": gitlab.of(placed),
        "verdict.sarif": sarif.of(placed),
    }


def _placed(texts: Mapping[str, str], target: Path) -> None:
    """Writes the files into a folder of their own, then moves them where they belong."""
    aside = Path(tempfile.mkdtemp(prefix=".verdict-", dir=target))
    try:
        with unfinished(aside):
            for name, text in texts.items():
                (aside / name).write_text(text, encoding="utf-8")
            with held_back():
                _swap(texts, aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _swap(names: Iterable[str], aside: Path, target: Path) -> None:
    """Puts new files in the place of old ones, or, where one cannot be, the old ones back."""
    begun = []
    try:
        for name in names:
            begun.append(name)
            if (target / name).exists():
                (target / name).replace(aside / f"{name}.old")
            (aside / name).replace(target / name)
    except OSError:
        for name in begun:
            if (aside / f"{name}.old").exists():
                (aside / f"{name}.old").replace(target / name)
            elif not (aside / name).exists():
                (target / name).unlink(missing_ok=True)
        raise


def _first_missing(folder: Path) -> Path | None:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    return missing[-1] if missing else None


def _append(verdict: Verdict, summary: Path) -> None:
    try:
        with summary.open("ab+") as file:
            held = file.seek(0, os.SEEK_END)
            file.seek(max(held - 1, 0))
            before = "" if not held else "\n" if file.read(1) == b"\n" else "\n\n"
            text = markdown.of(verdict, markdown.MOST_BYTES - held - len(before) - 1)
            if text:
                file.write(f"{before}{text}\n".encode())
    except OSError as error:
        raise OutputError(
            f"Cannot write the summary {summary} that GITHUB_STEP_SUMMARY names: {error.strerror or error}. "
            "Unset GITHUB_STEP_SUMMARY to go without."
        ) from error
