"""What `evalkit evaluate` does: settings in, results printed and written."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from evalkit.config import Config, Intervals, Model, in_bytes
from evalkit.console import Format, RowsRead, Steps, out, progress, say, view
from evalkit.errors import ConfigError, MissingExtra, OutputError, listing

if TYPE_CHECKING:
    from evalkit.results import Result

STEPS_OF_A_MODEL = 4


def run(
    config: Config,
    *,
    overwrite: bool,
    form: Format,
    quiet: bool,
    resume: bool = False,
    options: Sequence[str] = (),
) -> None:
    """Evaluates every model of the settings, writes the results if there is a folder for them, and prints them.

    Args:
        config: the settings.
        overwrite: whether an existing folder of results is replaced.
        form: how results are printed.
        quiet: whether progress and messages are left out.
        resume: whether a run that did not finish is gone on with.
        options: of the engine.

    Raises:
        UsageError: settings, data or folder are wrong.
    """
    models = config.evaluated()
    _check(config)
    engine = engine_of(config, options)
    folder = prepare(config, overwrite=overwrite)
    unfinished = None if folder is None else folder.with_name(f"{folder.name}.unfinished")
    _settle_unfinished(unfinished, resume=resume, overwrite=overwrite)
    with progress(STEPS_OF_A_MODEL * len(models) + 2, quiet=quiet) as step:
        result = evaluated(config, models, step, engine=engine, unfinished=unfinished)
        step("estimating intervals")
        shown = view(result, form)
        if folder is not None:
            step(f"writing {folder}")
            written(result, folder, overwrite=overwrite, report=config.report)
    if unfinished is not None:
        shutil.rmtree(unfinished, ignore_errors=True)
    shown()
    for evaluation in result.evaluations:
        if evaluation.skipped:
            say(f"{evaluation.model}: files left out as damaged: {listing(evaluation.skipped)}.")
    if folder is not None:
        tell_written(folder, report=config.report, quiet=quiet)


def explain(config: Config, *, quiet: bool, options: Sequence[str] = ()) -> None:
    """Prints what an evaluation would read and sum, and what memory it would take."""
    from evalkit.explain import explain as plan

    _check(config)
    engine_of(config, options)
    with progress(len(config.evaluated()), quiet=quiet) as step:
        texts = []
        for model in config.evaluated():
            step(f"looking at the data for {model.title}")
            asked = {**settings(config), "label": config.label or next(iter((config.labels or {}).values()), None)}
            asked |= {"score": model.score, "prediction": model.prediction, "name": model.title}
            texts.append(plan(data_of(config), **asked, engine=config.engine))
    out("\n\n".join(texts))


def engine_of(config: Config, options: Sequence[str] = ()) -> Any:
    """Returns the engine that the settings name."""
    if options and config.engine != "beam":
        raise ConfigError(f'"{options[0]}" is an option of a cluster\'s runner: add --engine beam.')
    if config.engine == "pool":
        from evalkit.engines.pool import pool

        return pool(config.workers)
    if config.engine == "mesh":
        from evalkit.engines.devices import mesh

        return mesh(workers=config.workers)
    if config.engine == "beam":
        from evalkit.engines.beam import beam

        return beam(options)
    return config.engine


def _settle_unfinished(unfinished: Path | None, *, resume: bool, overwrite: bool) -> None:
    """Refuses to lose what a run that was killed had summed; with overwrite it is removed."""
    if unfinished is None:
        if resume:
            raise ConfigError("--resume needs --out DIR, the folder of the run that did not finish.")
        return
    if resume and not unfinished.is_dir():
        raise ConfigError(f"There is no unfinished run to go on with: no folder {unfinished}. Leave --resume out.")
    if unfinished.is_dir() and not resume:
        if not overwrite:
            raise OutputError(
                f"{unfinished} holds the sums of a run that did not finish: go on with it by --resume, or start anew "
                "with --overwrite."
            )
        shutil.rmtree(unfinished)


def evaluated(
    config: Config, models: list[Model], step: Steps, *, engine: Any = "auto", unfinished: Path | None = None
) -> Result:
    """Returns the evaluation of the models, all in one table."""
    from evalkit.evaluate import evaluate

    data = data_of(config)
    shared = {**settings(config), "labels": config.labels, "keep_rows": config.rows, "engine": engine}
    result: Result | None = None
    for model in models:
        words = f" {model.title}" if len(models) > 1 else ""
        one = evaluate(
            data,
            score=model.score,
            prediction=model.prediction,
            name=model.title,
            progress=after(step, words),
            read_rows=RowsRead(step, words),
            unfinished=None if unfinished is None else unfinished / _folder_of(model.title),
            **shared,
        )
        result = one if result is None else result | one
    if result is None:
        raise ConfigError("models is empty.")
    return result


def _folder_of(title: str) -> str:
    """Returns a name of a folder that no other title has; a title may be `..` or hold a slash.

    >>> _folder_of("old model"), _folder_of("..")
    ('old model', '%2E%2E')
    """
    return quote(title, safe=" ").replace(".", "%2E")


def prepare(config: Config, *, overwrite: bool) -> Path | None:
    """Returns the folder that results go into, None where they are only printed; refuses it before any work is done."""
    if not config.cache:
        os.environ["EVALKIT_CACHE"] = "off"
    if config.out is None:
        return None
    folder = Path(config.out)
    require_free(folder, overwrite=overwrite)
    require_report(config.report)
    return folder


def settings(config: Config) -> dict[str, Any]:
    """Returns the settings of an evaluation as keyword arguments."""
    from evalkit.interval import bootstrap

    asked = config.intervals
    return {
        **config.model_dump(
            include={"label", "weight", "unit", "id", "task", "positive", "level", "min_rows", "suppress_below"}
        ),
        **config.model_dump(include={"metrics", "slices", "max_slices", "strict", "drop_invalid", "skip_damaged"}),
        "workers": config.workers,
        "budget_bytes": _budget(config),
        "intervals": bootstrap(asked.bootstrap.n, asked.bootstrap.seed) if isinstance(asked, Intervals) else "analytic",
        "costs": None if config.costs is None else config.costs.bound(),
    }


def _budget(config: Config) -> int:
    try:
        return in_bytes(config.memory)
    except ValueError as error:
        raise ConfigError(f"--memory is {error}.") from None


def one_or_many(config: Config) -> Any:
    """Returns the data as `evaluate` takes them: one path, or several."""
    return config.data[0] if isinstance(config.data, list) and len(config.data) == 1 else config.data


def data_of(config: Config) -> Any:
    """Returns the data as `evaluate` takes them, with the query and the filter that the settings name."""
    if config.sql is None and config.where is None:
        return one_or_many(config)
    from evalkit.sources.source import open_source

    return open_source(one_or_many(config), sql=config.sql, where=config.where, skip_damaged=config.skip_damaged)


def after(step: Callable[[str], None], words: str) -> Callable[[str], None]:
    """Returns a function that begins a step, its name followed by these words."""
    return lambda text: step(text + words)


def require_free(folder: Path, *, overwrite: bool) -> None:
    """Raises OutputError where a folder may not be written, before anything is computed.

    Only a folder that holds results is ever replaced: `--out . --overwrite` must not remove a project.
    """
    if not folder.exists():
        return
    if not overwrite:
        raise OutputError(f"{folder} exists; choose another folder, or --overwrite it.")
    from evalkit.storage import require_own

    require_own(folder)


def can_report() -> bool:
    """Returns whether the `reports` extra is installed."""
    return not _missing_for_reports()


def _missing_for_reports() -> list[str]:
    return [name for name in ("plotly", "jinja2") if importlib.util.find_spec(name) is None]


def require_report(report: bool | None) -> None:
    """Raises MissingExtra where a report is required and cannot be made."""
    missing = _missing_for_reports()
    if report and missing:
        raise MissingExtra(missing[0], "reports")


def written(result: Result, folder: Path, *, overwrite: bool, report: bool | None, command: str = "evaluate") -> None:
    """Writes a result into its folder."""
    from evalkit.gates.ledger import times
    from evalkit.storage import save

    extra = {"command": command, "gates": times(result.evaluations[0])}
    save(result, folder, overwrite=overwrite, report=report, extra=extra)


def tell_written(folder: Path, *, report: bool | None, quiet: bool) -> None:
    """Says which files were written, and if there is no report, why."""
    files = sorted(path.name + ("/" if path.is_dir() else "") for path in folder.iterdir())
    say(f"Written to {folder}: {', '.join(files)}.", quiet=quiet)
    if report is None and not can_report():
        say("No report.html: pip install 'evalkit[reports]'.", quiet=quiet)


def _check(config: Config) -> None:
    if config.data is None:
        raise ConfigError(
            "Name the data: `evalkit evaluate predictions.parquet --label y --score p`, or data: in evalkit.yaml."
        )
    if config.label is not None and config.labels is not None:
        raise ConfigError("Give label or labels, not both.")
    if config.label is None and config.labels is None and config.metrics is None:
        raise ConfigError("Name the column of labels: --label COLUMN, or label: in evalkit.yaml.")
    lacking = [m for m in config.evaluated() if m.score is None and m.prediction is None]
    if (config.label or config.labels) and lacking:
        raise ConfigError("Name the column of scores (--score COLUMN) or of predictions (--prediction COLUMN).")
