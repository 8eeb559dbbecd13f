"""The commands that decide: compare and gate. They parse; what they do is imported when they run."""

from __future__ import annotations

import functools
from enum import StrEnum
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from evalkit.console import Format
from evalkit.options import Job, Out, Overwrite, Printed, Quiet, Report, Task, column

Config = Annotated[
    str | None, typer.Option("--config", "-c", metavar="FILE", help="Settings; evalkit.yaml if no data are named.")
]
RulesFile = Annotated[
    str | None,
    typer.Option("--config", "-c", metavar="FILE", help="Settings with rules; by default gate.yaml or evalkit.yaml."),
]
Cache = Annotated[
    bool | None, typer.Option("--cache/--no-cache", help="Whether compiled functions are kept for the next run.")
]


class MarginKind(StrEnum):
    """What a margin is measured in."""

    absolute = "absolute"
    relative = "relative"


class _Gate(TyperGroup):
    """`evalkit gate RUN` decides; `evalkit gate init` and `power` are commands of their own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Puts the command in that is meant where none is named."""
        first = args[0] if args else ""
        if first not in self.commands:
            args = ["decide", *args]
        rest: list[str] = super().parse_args(ctx, args)
        return rest


gate = typer.Typer(
    cls=_Gate,
    help="Decide whether a candidate may ship.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def add_commands(app: typer.Typer) -> None:
    """Adds the commands that decide."""
    app.command()(compare)
    app.add_typer(gate, name="gate")


def compare(
    data: Annotated[list[str] | None, typer.Argument(help="Files, a folder or a glob; or a folder of results.")] = None,
    config: Config = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="NAME", help="A column, a model, a folder of results, prior or majority.")
    ] = None,
    candidate: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A column or model; repeat for several.")
    ] = None,
    baseline_data: Annotated[
        str | None, typer.Option(metavar="FILE", help="Another table that holds the baseline; needs --id.")
    ] = None,
    label: Annotated[str | None, column("--label", "Labels.")] = None,
    weight: Annotated[str | None, column("--weight", "Sampling weights.")] = None,
    unit: Annotated[str | None, column("--unit", "What was sampled, such as a user: clusters the intervals.")] = None,
    row_id: Annotated[str | None, column("--id", "What identifies a row.")] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="roc_auc, precision@0.7, ...; repeat. By default a set for the task.")
    ] = None,
    slices: Annotated[
        list[str] | None, typer.Option("--slice", help="sex, sex,race, age=edges(30, 45), ...; repeat.")
    ] = None,
    margin: Annotated[
        float | None, typer.Option(help="How much worse a candidate may be: tests non-inferiority and equivalence.")
    ] = None,
    margin_kind: Annotated[
        MarginKind | None, typer.Option(help="In the metric's unit, or a share of the baseline. [default: absolute]")
    ] = None,
    same_model: Annotated[
        bool | None, typer.Option("--same-model", help="Allow one model under two names: an A/A check.")
    ] = None,
    task: Annotated[Task | None, typer.Option(help="By default told by the data.")] = None,
    positive: Annotated[str | None, typer.Option(help="The positive label, where labels are not 0 and 1.")] = None,
    level: Annotated[float | None, typer.Option(help="The confidence level. [default: 0.95]")] = None,
    min_rows: Annotated[int | None, typer.Option(help="Smaller slices are too_few_rows. [default: 1]")] = None,
    suppress_below: Annotated[int | None, typer.Option(help="Smaller slices are hidden. [default: 0]")] = None,
    drop_invalid: Annotated[
        bool | None, typer.Option("--drop-invalid/--no-drop-invalid", help="Drop rows with missing or infinite values.")
    ] = None,
    bootstrap: Annotated[int | None, typer.Option(metavar="N", help="Bootstrap intervals of N replicates.")] = None,
    seed: Annotated[int | None, typer.Option(help="Fixes the bootstrap's draws. [default: 0]")] = None,
    cache: Cache = None,
    out: Out = None,
    overwrite: Overwrite = False,
    report: Report = None,
    form: Printed = Format.table,
    quiet: Quiet = False,
) -> Job:
    """Compare candidates with a baseline: every metric of every slice, paired row by row."""
    from evalkit.flags import compare_job

    flags = {
        "label": label,
        "weight": weight,
        "unit": unit,
        "id": row_id,
        "metrics": metric,
        "slices": slices,
        "task": None if task is None else task.value,
        "positive": positive,
        "level": level,
        "min_rows": min_rows,
        "suppress_below": suppress_below,
        "drop_invalid": drop_invalid,
        "bootstrap": bootstrap,
        "seed": seed,
        "cache": cache,
        "out": out,
        "report": report,
    }
    compared = {
        "baseline": baseline,
        "candidates": candidate,
        "baseline_data": baseline_data,
        "margin": margin,
        "margin_kind": None if margin_kind is None else margin_kind.value,
        "same_model": same_model,
    }
    return functools.partial(
        compare_job, config, data or [], flags, compared, overwrite=overwrite, form=form, quiet=quiet
    )


@gate.command()
def decide(
    data: Annotated[list[str] | None, typer.Argument(metavar="[RUN]", help="A folder of results, or data.")] = None,
    config: RulesFile = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="NAME", help="A model, column, folder of results, prior or majority.")
    ] = None,
    candidate: Annotated[str | None, typer.Option(metavar="NAME", help="The model that is to ship.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only check settings, those named too: exit code 0 or 2, no data are read.")
    ] = False,
    ledger: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Counts the gates of these data; off for none. [default: the cache folder]"),
    ] = None,
    out: Out = None,
    overwrite: Overwrite = False,
    report: Report = None,
    form: Printed = Format.table,
    quiet: Quiet = False,
) -> Job:
    """Hold a candidate against rules; exit code 0 passed, 1 blocked, 3 insufficient evidence.

    `evalkit gate init --from RUN` writes rules from a past run, `evalkit gate power RUN` says what rules would catch.
    """
    from evalkit.gate_job import Asked, run

    asked = Asked(
        config=config,
        data=data or [],
        baseline=baseline,
        candidate=candidate,
        ledger=ledger,
        out=out,
        report=report,
        overwrite=overwrite,
        check=check,
    )
    return functools.partial(run, asked, form=form, quiet=quiet)


@gate.command()
def init(
    run: Annotated[str, typer.Option("--from", metavar="RUN", help="The folder of a past run's results.")],
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Whose results, where there are several.")] = None,
    margin: Annotated[float, typer.Option(help="How far beyond its interval a bound lies.")] = 0.01,
    metric: Annotated[
        list[str] | None, typer.Option(help="Repeat; by default every metric with a direction and an interval.")
    ] = None,
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE", help="The file to write.")] = "gate.yaml",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> Job:
    """Write rules from a past run: each metric's bound is the end of its interval less a margin."""
    from evalkit import gate_tools

    return functools.partial(
        gate_tools.init, run, out, model=model, margin=margin, metrics=metric or [], overwrite=overwrite, quiet=quiet
    )


@gate.command()
def power(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A folder of results with rows, of the champion.")],
    config: RulesFile = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="The champion, where there are several.")] = None,
    churn: Annotated[float, typer.Option(help="The share of rows that equal models score differently.")] = 0.05,
    drop: Annotated[float, typer.Option(help="The accuracy that a worse model loses.")] = 0.05,
    slices: Annotated[str, typer.Option("--slice", help="Where it loses it.")] = "overall",
    replicates: Annotated[int, typer.Option(metavar="N", help="How often each is replayed.")] = 200,
    seed: Annotated[int, typer.Option(help="Fixes the draws.")] = 0,
    form: Printed = Format.table,
    quiet: Quiet = False,
) -> Job:
    """Replay rules on a champion: how often they block an equal model, and catch a worse one."""
    from evalkit import gate_tools

    return functools.partial(
        gate_tools.power,
        run,
        config,
        model=model,
        churn=churn,
        drop=drop,
        slice=slices,
        replicates=replicates,
        seed=seed,
        form=form,
        quiet=quiet,
    )
