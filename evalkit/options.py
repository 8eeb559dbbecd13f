"""What the commands' flags share."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import typer

from evalkit.console import Format

Job = Callable[[], int | None]


class Task(StrEnum):
    """What labels are."""

    binary = "binary"
    regression = "regression"


class EngineName(StrEnum):
    """What collects sums."""

    auto = "auto"
    memory = "memory"
    local = "local"
    pool = "pool"
    mesh = "mesh"
    beam = "beam"


Out = Annotated[
    str | None, typer.Option("--out", "-o", metavar="DIR", help="The folder that results are written into.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing folder of results, or file.")]
Printed = Annotated[Format, typer.Option("--format", help="How results are printed on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no messages on stderr.")]
Report = Annotated[
    bool | None,
    typer.Option("--report/--no-report", help="Whether report.html is written; by default where plotly is installed."),
]


def column(flag: str, words: str) -> Any:
    """Returns a flag that names a column."""
    return typer.Option(flag, metavar="COLUMN", help=words)
