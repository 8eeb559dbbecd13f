"""The commands of fairness. They parse; what they do is imported when they run."""

from __future__ import annotations

import functools
from enum import StrEnum
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from evalkit.console import Format
from evalkit.options import Job, Out, Overwrite, Printed, Quiet, column

# `evalkit fairness DATA` is this command; a group that has no such command has none without a name.
_DEFAULT = "assess"


class Standard(StrEnum):
    """What an audit is held against."""

    ll144 = "ll144"
    four_fifths = "four-fifths"


class DataKind(StrEnum):
    """Where the data of an audit come from."""

    historical = "historical"
    test = "test"


class _Fairness(TyperGroup):
    """`evalkit fairness DATA` assesses a model; `evalkit fairness audit` is a command of its own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Puts the command in that is meant where none is named."""
        first = args[0] if args else ""
        if first not in self.commands and first != "--help" and _DEFAULT in self.commands:
            args = [_DEFAULT, *args]
        rest: list[str] = super().parse_args(ctx, args)
        return rest


fairness = typer.Typer(
    cls=_Fairness,
    help="Tell whether groups of people are treated alike.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def add_commands(app: typer.Typer) -> None:
    """Adds the commands of fairness."""
    app.add_typer(fairness, name="fairness")


@fairness.callback()
def _group() -> None:
    """Keeps a group of one command a group."""


@fairness.command()
def audit(
    data: Annotated[list[str], typer.Argument(help="Files, folders, globs or URLs: a row for each applicant.")],
    standard: Annotated[Standard, typer.Option(help="What the audit is held against.")],
    date: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="The date of the audit.")],
    data_source: Annotated[str, typer.Option(metavar="TEXT", help="Where the data come from, and what they are.")],
    sex: Annotated[str | None, column("--sex", "Sexes.")] = None,
    race: Annotated[str | None, column("--race", "Races and ethnicities.")] = None,
    protected: Annotated[
        list[str] | None, column("--protected", "four-fifths: other attributes; age,sex is an intersection; repeat.")
    ] = None,
    selected: Annotated[str | None, column("--selected", "Who was selected: true and false, or 1 and 0.")] = None,
    score: Annotated[str | None, column("--score", "Scores, instead of selections.")] = None,
    threshold: Annotated[float | None, typer.Option(help="four-fifths: the lowest score that is selected.")] = None,
    unknown: Annotated[
        list[str] | None,
        typer.Option(metavar="VALUE", help="Stands for a group that is not known, as missing does; repeat."),
    ] = None,
    tool: Annotated[str, typer.Option(metavar="NAME", help="What is audited.")] = "",
    distributed: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="ll144: when the employer began to use the tool.")
    ] = None,
    data_kind: Annotated[
        DataKind | None, typer.Option(help="ll144: whether data are of the tool's use. [default: historical]")
    ] = None,
    explanation: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="ll144: why test data, and how they were made."),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="CATEGORY", help="ll144: a category under 2% to leave out of impact ratios; repeat."),
    ] = None,
    exclude_small: Annotated[bool, typer.Option("--exclude-small", help="ll144: leave out all under 2%.")] = False,
    justification: Annotated[
        str | None, typer.Option(metavar="TEXT", help="ll144: why categories are left out.")
    ] = None,
    level: Annotated[float | None, typer.Option(help="four-fifths: the confidence level. [default: 0.95]")] = None,
    least_share: Annotated[
        float | None, typer.Option(help="four-fifths: smaller groups are not compared. [default: 0.02]")
    ] = None,
    out: Out = None,
    overwrite: Overwrite = False,
    form: Printed = Format.table,
    quiet: Quiet = False,
) -> Job:
    """Audit selections under Local Law 144 of New York City, or by the four-fifths rule."""
    from evalkit import audit_job

    asked = audit_job.Asked(
        data=data,
        standard=standard.value,
        date=date,
        data_source=data_source,
        sex=sex,
        race=race,
        protected=protected or [],
        selected=selected,
        score=score,
        threshold=threshold,
        unknown=unknown or [],
        tool=tool,
        distributed=distributed,
        data_kind=None if data_kind is None else data_kind.value,
        explanation=explanation,
        exclude=exclude or [],
        exclude_small=exclude_small,
        justification=justification,
        level=level,
        least_share=least_share,
    )
    return functools.partial(audit_job.run, asked, out, overwrite=overwrite, form=form, quiet=quiet)
