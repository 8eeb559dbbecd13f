"""What `evalkit merge` and `evalkit report` do with results in folders."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.console import Format, Steps, progress, say, view
from evalkit.errors import DataError, OutputError, UsageError
from evalkit.job import require_free, require_report, tell_written, written

if TYPE_CHECKING:
    from evalkit.comparison import Comparison
    from evalkit.fairness.assessment import Assessment
    from evalkit.gates.verdict import Verdict
    from evalkit.results import Result

_READERS = 2


def merge(
    folders: Sequence[str],
    out: str,
    *,
    slices: Sequence[str] = (),
    overwrite: bool,
    report: bool | None,
    form: Format,
    quiet: bool,
) -> None:
    """Adds the results in folders, rolls them up to the slices that are named, writes and prints them."""
    from evalkit.results import total

    target = Path(out)
    require_free(target, overwrite=overwrite)
    require_report(report)
    if len(folders) < 2:
        raise UsageError("Name two or more folders of results to add.")
    places = [Path(folder).resolve() for folder in folders]
    twice = next((folder for folder, place in zip(folders, places, strict=True) if places.count(place) > 1), None)
    if twice is not None:
        raise UsageError(f"{twice} is named twice; its rows would count twice.")
    with progress(len(folders) + 2, quiet=quiet) as step:
        result = total(_read(folders, step))
        result = result.roll_up(*slices) if slices else result
        step("estimating intervals")
        shown = view(result, form)
        step(f"writing {target}")
        written(result, target, overwrite=overwrite, report=report, command="merge")
    shown()
    tell_written(target, report=report, quiet=quiet)


def _read(folders: Sequence[str], step: Steps) -> Iterator[Result]:
    """Yields the results in folders; the next ones are read while one is used."""
    from evalkit.storage import load

    with ThreadPoolExecutor(_READERS) as pool:
        waiting = deque(pool.submit(load, folder) for folder in folders[: 2 * _READERS])
        for place, folder in enumerate(folders):
            step(f"reading {folder}")
            result = waiting.popleft().result()
            if place + 2 * _READERS < len(folders):
                waiting.append(pool.submit(load, folders[place + 2 * _READERS]))
            yield result


def report(folder: str, out: str | None, *, overwrite: bool, quiet: bool) -> None:
    """Writes the report of the results in a folder, into it (replacing the one there) unless another file is named."""
    from evalkit.storage import load

    target = Path(folder) / "report.html" if out is None else Path(out)
    require_report(True)
    if out is not None and target.exists() and not overwrite:
        raise OutputError(f"{target} exists; choose another file, or --overwrite it.")
    if out is not None and (target.is_dir() or not target.parent.is_dir()):
        raise OutputError(f"{target} is no file that can be written; name one, such as report.html.")
    with progress(2, quiet=quiet) as step:
        step(f"reading {folder}")
        run = _run(Path(folder))
        result = load(folder, rows=True)
        comparison, verdict = _compared(result, run), _verdict(Path(folder))
        step(f"writing {target}")
        from evalkit.reports import write_report

        aside = target.with_name(f".{target.name}.part")
        try:
            assessments = _assessed(Path(folder), result, run)
            write_report(result, aside, run=run, comparison=comparison, verdict=verdict, assessments=assessments)
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)
    say(f"Written: {target}", quiet=quiet)


def _compared(result: Result, run: Mapping[str, Any]) -> Comparison | None:
    """Returns the comparison that a run says it made; None where it made none."""
    made = run.get("comparison")
    if not made:
        return None
    from evalkit.compare import compare

    return compare(
        result,
        baseline=made["baseline"],
        candidate=made["candidates"],
        margin=made["margin"],
        margin_kind=made["margin_kind"],
        same_model=True,
    )


def _assessed(folder: Path, result: Result, run: Mapping[str, Any]) -> list[Assessment]:
    """Returns the assessments of fairness that a run says it made, of its own models first."""
    from evalkit.fairness.assessment import assess_result
    from evalkit.results import Result
    from evalkit.storage import load

    found = []
    if run.get("fairness"):
        asked = dict(run["fairness"])
        of_models = asked.pop("models", result.models)
        kept = Result([e for e in result.evaluations if e.model in of_models])
        found.append(assess_result(kept, **asked))
    for name in run.get("also", ()):
        found += _assessed(folder / name, load(folder / name, rows=True), _run(folder / name))
    return found


def _verdict(folder: Path) -> Verdict | None:
    """Returns the verdict beside results; None where there is none."""
    from evalkit.gates.verdict_json import read

    file = folder / "verdict.json"
    return read(file.read_text(encoding="utf-8")) if file.exists() else None


def _run(folder: Path) -> dict[str, Any]:
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / 'run.json'} cannot be read: {error}") from error
    return dict(run)
