"""What `evalkit compare` does: candidates against a baseline, printed and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.config import Compare, Config
from evalkit.console import Format, progress, say
from evalkit.errors import ConfigError, DataError, OutputError
from evalkit.job import data_of, one_or_many, prepare, settings, tell_written

if TYPE_CHECKING:
    from evalkit.comparison import Comparison

_STEPS = 12


def run(config: Config, *, overwrite: bool, form: Format, quiet: bool) -> None:
    """Compares what the settings name, writes the results if there is a folder for them, and prints them.

    Args:
        config: the settings.
        overwrite: whether an existing folder of results is replaced.
        form: how results are printed.
        quiet: whether progress and messages are left out.

    Raises:
        UsageError: settings, data or folder are wrong; or the models are one and the same.
    """
    from evalkit.compare_view import view

    data = one_or_many(config)
    if config.out is not None and is_results(data) and Path(config.out).resolve() == Path(data).resolve():
        raise OutputError(f"{config.out} holds the results that are compared; choose another folder with --out.")
    folder = prepare(config, overwrite=overwrite)
    with progress(_STEPS, quiet=quiet) as step:
        comparison = compared(config, step)
        step("estimating differences")
        shown = view(comparison, form)
        if folder is not None:
            step(f"writing {folder}")
            written(comparison, folder, overwrite=overwrite, report=config.report, command="compare")
    shown()
    if folder is not None:
        tell_written(folder, report=config.report, quiet=quiet)
    for note in comparison.notes:
        say(note, quiet=quiet)


def compared(config: Config, step: Callable[[str], None]) -> Comparison:
    """Returns the comparison that settings ask for.

    Raises:
        ConfigError: no baseline, candidate or data are named.
    """
    from evalkit.compare import compare
    from evalkit.sources.files import is_url

    asked = config.compare or Compare()
    data = one_or_many(config)
    if data is None:
        raise ConfigError(
            "Name the data or a folder of results: `evalkit compare predictions.parquet --label y --baseline old "
            "--candidate new`, or data: in evalkit.yaml."
        )
    if config.labels is not None:
        raise ConfigError("Models are compared on one label: give label, not labels.")
    if asked.baseline is None:
        raise ConfigError("Name the baseline: --baseline COLUMN, or baseline: under compare: in evalkit.yaml.")
    margins: dict[str, Any] = {
        "margin": asked.margin,
        "margin_kind": asked.margin_kind,
        "same_model": asked.same_model,
    }
    if is_results(data):
        step(f"reading {data}")
        if asked.baseline_data is not None:
            raise ConfigError("Results are compared as they are: leave out baseline_data.")
        return compare(data, baseline=asked.baseline, candidate=asked.candidates, **margins)
    is_path = isinstance(data, str) and not is_url(data)
    if is_path and not any(mark in data for mark in "*?[") and not Path(data).exists():
        raise DataError(f"There is no file or folder {data}.")
    baseline, candidates, output = _columns(config, asked)
    return compare(
        data_of(config),
        baseline=baseline,
        candidate=candidates,
        output=output,
        baseline_data=asked.baseline_data,
        progress=step,
        **settings(config),
        **margins,
    )


def is_results(data: Any) -> bool:
    """Returns whether data are the folder of a saved result."""
    return isinstance(data, str) and (Path(data) / "sums" / "plan.json").exists()


def _columns(config: Config, asked: Compare) -> tuple[str | dict[str, str], Mapping[str, str], Any]:
    """Returns the baseline's column, the candidates' by name, and whether columns are scores or predictions."""
    from evalkit.compare import CONSTANTS

    known = {m.title: m for m in config.evaluated() if m.score or m.prediction}
    baseline = known.get(asked.baseline or "")
    names = asked.candidates or [title for title in known if known[title] is not baseline]
    if not names:
        raise ConfigError("Name the candidate: --candidate COLUMN, or candidates: under compare: in evalkit.yaml.")
    roles = {("score" if m.score else "prediction") for m in (known[n] for n in names if n in known)}
    columns = {name: _column(known[name]) if name in known else name for name in names}
    of_baseline = asked.baseline if baseline is None else _column(baseline)
    if of_baseline is None:
        raise ConfigError("Name the baseline.")
    output = roles.pop() if len(roles) == 1 and (baseline is not None or of_baseline in CONSTANTS) else None
    return (of_baseline if baseline is None else {baseline.title: of_baseline}), columns, output


def _column(model: Any) -> str:
    return str(model.score or model.prediction)


def written(comparison: Comparison, folder: Path, *, overwrite: bool, report: bool | None, command: str) -> None:
    """Writes a comparison into its folder."""
    from evalkit.gates.ledger import times
    from evalkit.storage import save

    save(
        comparison.result,
        folder,
        overwrite=overwrite,
        report=report,
        extra={"command": command, "gates": times(comparison.pairs[0].candidate)},
        comparison=comparison,
    )
