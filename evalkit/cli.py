"""The commands. This module parses; what a command does is imported when it runs, so that `--help` is immediate.

A command returns what is to be done, and `main` does it where every error becomes an exit code and one sentence.
"""

from __future__ import annotations

import functools
import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, cast

import typer

from evalkit import cli_decide, cli_fairness
from evalkit.console import Format
from evalkit.exit_codes import DONE, guarded
from evalkit.interrupts import INTERRUPTED, end_at_once
from evalkit.options import EngineName, Job, Out, Overwrite, Printed, Quiet, Report, Task, column

app = typer.Typer(
    help="Evaluate models on every slice of the data, with intervals.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback(invoke_without_command=True)
def _version(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        import evalkit

        typer.echo(f"evalkit {evalkit.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit


@app.command()
def init(
    data: Annotated[str, typer.Argument(help="A file, folder or glob: Parquet, CSV, Arrow, NDJSON.")],
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE", help="The file to write.")] = "evalkit.yaml",
    overwrite: Overwrite = False,
    form: Printed = Format.table,
    quiet: Quiet = False,
) -> Job:
    """Look at the data and write a commented evalkit.yaml."""
    from evalkit import init as module

    return functools.partial(module.run, data, out, overwrite=overwrite, form=form, quiet=quiet)


@app.command()
def demo(
    out: Out = None,
    overwrite: Overwrite = False,
    report: Report = None,
    form: Printed = Format.table,
    quiet: Quiet = False,
) -> Job:
    """Evaluate three models on real data; no download."""
    from evalkit import demo as module

    return functools.partial(module.run, out, overwrite=overwrite, report=report, form=form, quiet=quiet)


@app.command()
def evaluate(
    data: Annotated[
        list[str] | None,
        typer.Argument(help="Files, folders, globs or URLs (Parquet, CSV, Arrow, NDJSON, TFRecord), or a database's."),
    ] = None,
    config: Annotated[
        str | None, typer.Option("--config", "-c", metavar="FILE", help="Settings; evalkit.yaml if no data are named.")
    ] = None,
    sql: Annotated[str | None, typer.Option(metavar="SELECT", help="The query, where DATA is a database.")] = None,
    where: Annotated[
        str | None, typer.Option(metavar="SQL", help="Only rows for which this is true: \"country = 'de'\".")
    ] = None,
    label: Annotated[str | None, column("--label", "Labels.")] = None,
    labels: Annotated[
        list[str] | None, typer.Option(metavar="NAME=COLUMN", help="Several labels to judge against; repeat.")
    ] = None,
    score: Annotated[
        list[str] | None, column("--score", "Scores of the positive class; repeat for more models.")
    ] = None,
    prediction: Annotated[
        list[str] | None, column("--prediction", "Decisions, or predicted numbers; repeat for more models.")
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option(help="The model's name in the results; repeat for more models.")
    ] = None,
    weight: Annotated[str | None, column("--weight", "Sampling weights.")] = None,
    unit: Annotated[str | None, column("--unit", "What was sampled, such as a user: clusters the intervals.")] = None,
    row_id: Annotated[str | None, column("--id", "What identifies a row.")] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="roc_auc, precision@0.7, ...; repeat. By default a set for the task.")
    ] = None,
    slices: Annotated[
        list[str] | None, typer.Option("--slice", help="sex, sex,race, age=edges(30, 45), ...; repeat.")
    ] = None,
    task: Annotated[Task | None, typer.Option(help="By default told by the data.")] = None,
    positive: Annotated[str | None, typer.Option(help="The positive label, where labels are not 0 and 1.")] = None,
    strict: Annotated[
        bool | None, typer.Option("--strict/--no-strict", help="Whether a score equal to the threshold is negative.")
    ] = None,
    level: Annotated[float | None, typer.Option(help="The confidence level. [default: 0.95]")] = None,
    min_rows: Annotated[int | None, typer.Option(help="Smaller slices are too_few_rows. [default: 1]")] = None,
    suppress_below: Annotated[int | None, typer.Option(help="Smaller slices are hidden. [default: 0]")] = None,
    max_slices: Annotated[int | None, typer.Option(help="The most slices of one set. [default: 10000]")] = None,
    drop_invalid: Annotated[
        bool | None, typer.Option("--drop-invalid/--no-drop-invalid", help="Drop rows with missing or infinite values.")
    ] = None,
    bootstrap: Annotated[int | None, typer.Option(metavar="N", help="Bootstrap intervals of N replicates.")] = None,
    seed: Annotated[int | None, typer.Option(help="Fixes the bootstrap's draws. [default: 0]")] = None,
    engine: Annotated[
        EngineName | None,
        typer.Option(help="What collects sums; options of a cluster's runner follow after --. [default: auto]"),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Parts read at once. [default: processors + 1]")] = None,
    memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="What sums may take; beyond, scores are binned. [default: 512MB]")
    ] = None,
    skip_damaged: Annotated[
        bool | None,
        typer.Option("--skip-damaged/--no-skip-damaged", help="Leave out files that cannot be read, and name them."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run into --out that did not finish.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Only say what would be read and summed, and the memory it takes.")
    ] = False,
    rows: Annotated[bool | None, typer.Option("--rows/--no-rows", help="Whether rows.parquet is written.")] = None,
    cache: Annotated[
        bool | None, typer.Option("--cache/--no-cache", help="Whether compiled functions are kept for the next run.")
    ] = None,
    out: Out = None,
    overwrite: Overwrite = False,
    report: Report = None,
    form: Printed = Format.table,
    quiet: Quiet = False,
) -> Job:
    """Evaluate models' outputs in files: every metric of every slice."""
    from evalkit.flags import evaluate_job

    flags = {
        "label": label,
        "labels": labels,
        "score": score,
        "prediction": prediction,
        "name": name,
        "weight": weight,
        "unit": unit,
        "id": row_id,
        "metrics": metric,
        "slices": slices,
        "task": None if task is None else task.value,
        "positive": positive,
        "strict": strict,
        "level": level,
        "min_rows": min_rows,
        "suppress_below": suppress_below,
        "max_slices": max_slices,
        "drop_invalid": drop_invalid,
        "bootstrap": bootstrap,
        "seed": seed,
        "sql": sql,
        "where": where,
        "engine": None if engine is None else engine.value,
        "workers": workers,
        "memory": memory,
        "skip_damaged": skip_damaged,
        "rows": rows,
        "cache": cache,
        "out": out,
        "report": report,
    }
    job = functools.partial(evaluate_job, config, data or [], flags, overwrite=overwrite, form=form, quiet=quiet)
    return functools.partial(job, resume=resume, explain=explain)


@app.command()
def merge(
    folders: Annotated[list[str], typer.Argument(metavar="DIR...", help="Folders of results of the same settings.")],
    out: Annotated[str, typer.Option("--out", "-o", metavar="DIR", help="The folder that the merged results go into.")],
    slices: Annotated[
        list[str] | None,
        typer.Option("--slice", metavar="SPEC", help="Keep these slices alone, added up from finer ones; repeatable."),
    ] = None,
    overwrite: Overwrite = False,
    report: Report = None,
    form: Printed = Format.table,
    quiet: Quiet = False,
) -> Job:
    """Add the results of several parts of the data."""
    from evalkit import saved

    return functools.partial(
        saved.merge, folders, out, slices=slices or (), overwrite=overwrite, report=report, form=form, quiet=quiet
    )


@app.command()
def report(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="A folder of results.")],
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="FILE", help="The file. [default: DIR/report.html]")
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> Job:
    """Write the report of saved results: one HTML file."""
    from evalkit import saved

    return functools.partial(saved.report, folder, out, overwrite=overwrite, quiet=quiet)


@app.command()
def schema() -> Job:
    """Print the JSON Schema of evalkit.yaml, for editors."""
    return _print_schema


cli_decide.add_commands(app)
cli_fairness.add_commands(app)


def _print_schema() -> None:
    import json

    from evalkit.config import schema as of_settings
    from evalkit.console import out

    out(json.dumps(of_settings(), indent=2))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code."""
    if arguments is None:
        end_at_once()
    _open_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a value that the terminal cannot show is no failure
    jobs: list[Any] = []
    code = guarded(lambda: jobs.append(_parsed(arguments)))
    if code != DONE or not callable(jobs[0] if jobs else None):
        return code or (jobs[0] if jobs and isinstance(jobs[0], int) else DONE)
    return guarded(jobs[0])


def _open_closed() -> None:
    """Lets what is printed go nowhere where a stream is closed (`>&-`), for Python then has none."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - open to the end


def _parsed(arguments: Sequence[str] | None) -> Job | int:
    """Returns what the command line asks to be done; an exit code where there is nothing to do."""
    command = typer.main.get_command(app)
    try:
        job = command.main(
            args=list(sys.argv[1:] if arguments is None else arguments), prog_name="evalkit", standalone_mode=False
        )
    except typer.Abort:
        return INTERRUPTED
    except SystemExit:  # typer's answer to a reader of --help that is gone
        return DONE
    return cast("Job", job) if callable(job) else int(job or DONE)
