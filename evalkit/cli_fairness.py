"""The commands of fairness. They parse; what they do is imported when they run."""

from __future__ import annotations

import functools
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from evalkit.console import Format
from evalkit.errors import nearest
from evalkit.options import Job, Out, Overwrite, Printed, Quiet, Report, column

_DEFAULT = "assess"


class Standard(StrEnum):
    """What an audit is held against."""

    ll144 = "ll144"
    four_fifths = "four-fifths"


class RateInterval(StrEnum):
    """Intervals of differences of rates."""

    newcombe = "newcombe"
    miettinen_nurminen = "miettinen-nurminen"


class Constraint(StrEnum):
    """What a mitigation equalizes."""

    demographic_parity = "demographic_parity"
    equal_opportunity = "equal_opportunity"
    predictive_equality = "predictive_equality"
    equalized_odds = "equalized_odds"


class DataKind(StrEnum):
    """Where the data of an audit come from."""

    historical = "historical"
    test = "test"


class _Fairness(TyperGroup):
    """`evalkit fairness DATA` assesses a model; `evalkit fairness audit` is a command of its own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Puts the command in that is meant where none is named."""
        first = args[0] if args else ""
        mistyped = bool(nearest(first, self.commands)) and not Path(first).exists()
        if first not in self.commands and first != "--help" and not mistyped:
            args = [_DEFAULT, *args]
        rest: list[str] = super().parse_args(ctx, args)
        return rest


fairness = typer.Typer(
    cls=_Fairness,
    help="Tell whether groups of people are treated alike: evalkit fairness DATA --protected COLUMN ...",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def add_commands(app: typer.Typer) -> None:
    """Adds the commands of fairness."""
    app.add_typer(fairness, name="fairness")


@fairness.command()
def assess(
    data: Annotated[
        list[str] | None, typer.Argument(help="Files, folders, globs or URLs (Parquet, CSV, Arrow, NDJSON, TFRecord).")
    ] = None,
    config: Annotated[
        str | None, typer.Option("--config", "-c", metavar="FILE", help="Settings; evalkit.yaml if no data are named.")
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
    name: Annotated[list[str] | None, typer.Option(help="The model's name; repeat for more models.")] = None,
    protected: Annotated[
        list[str] | None,
        typer.Option(metavar="SPEC", help="sex, race, race,sex for a cross, age=edges(40), ...; repeat."),
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(help="largest, best, overall, rest, or race=white for each attribute; repeat. [default: largest]"),
    ] = None,
    control: Annotated[
        list[str] | None, typer.Option(metavar="SPEC", help="Compare groups within its levels; repeat for a cross.")
    ] = None,
    membership: Annotated[
        list[str] | None,
        typer.Option(metavar="ATTRIBUTE=GROUP:COLUMN,...", help="Groups known as probabilities; repeat."),
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="recall, roc_auc, ...; repeat. By default rates of selection and errors.")
    ] = None,
    within: Annotated[
        list[str] | None,
        typer.Option(metavar="[METRIC=]GAP", help="How large a gap may be: what is certified; repeat."),
    ] = None,
    min_rows: Annotated[
        int | None, typer.Option(help="Groups with a smaller support are in no gap. [default: 30]")
    ] = None,
    pool_below: Annotated[int | None, typer.Option(help="Groups with fewer rows are one, other. [default: 0]")] = None,
    rates: Annotated[
        RateInterval | None, typer.Option(help="Intervals of differences of rates. [default: newcombe]")
    ] = None,
    permutations: Annotated[
        int | None, typer.Option(metavar="N", help="Test that groups are alike by N permutations. [default: 0]")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Fixes permutations and draws. [default: 0]")] = None,
    criteria: Annotated[
        bool | None, typer.Option("--criteria/--no-criteria", help="Whether criteria beside gaps are computed.")
    ] = None,
    mitigate: Annotated[
        Constraint | None,
        typer.Option(help="Judge fairlearn's threshold_optimizer under this criterion beside the model."),
    ] = None,
    weight: Annotated[str | None, column("--weight", "Sampling weights.")] = None,
    unit: Annotated[str | None, column("--unit", "What was sampled, such as a user: clusters the intervals.")] = None,
    row_id: Annotated[str | None, column("--id", "What identifies a row.")] = None,
    positive: Annotated[str | None, typer.Option(help="The positive label, where labels are not 0 and 1.")] = None,
    level: Annotated[float | None, typer.Option(help="The confidence level. [default: 0.95]")] = None,
    drop_invalid: Annotated[
        bool | None, typer.Option("--drop-invalid/--no-drop-invalid", help="Drop rows with missing or infinite values.")
    ] = None,
    where: Annotated[str | None, typer.Option(metavar="SQL", help="Only rows for which this is true.")] = None,
    out: Out = None,
    overwrite: Overwrite = False,
    report: Report = None,
    form: Printed = Format.table,
    quiet: Quiet = False,
) -> Job:
    """Compare protected groups in every metric: which gaps are real, which are shown to be small."""
    from evalkit.flags import fairness_job

    flags = {
        "label": label,
        "labels": labels,
        "score": score,
        "prediction": prediction,
        "name": name,
        "weight": weight,
        "unit": unit,
        "id": row_id,
        "positive": positive,
        "level": level,
        "drop_invalid": drop_invalid,
        "where": where,
        "out": out,
        "report": report,
    }
    asked = {
        "protected": protected,
        "reference": reference,
        "control": control,
        "membership": membership,
        "metrics": metric,
        "within": within,
        "min_rows": min_rows,
        "pool_below": pool_below,
        "rates": None if rates is None else rates.value,
        "permutations": permutations,
        "seed": seed,
        "criteria": criteria,
        "mitigate": None if mitigate is None else mitigate.value,
    }
    return functools.partial(
        fairness_job, config, data or [], flags, asked, overwrite=overwrite, form=form, quiet=quiet
    )


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
