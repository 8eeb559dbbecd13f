"""What `evalkit demo` does: three models on real data, that of the RAND Health Insurance Experiment."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.console import Format, progress, say, view
from evalkit.job import (
    STEPS_OF_A_MODEL,
    after,
    can_report,
    require_free,
    require_report,
    tell_written,
    written,
)

if TYPE_CHECKING:
    import polars as pl

    from evalkit.results import Result

FOLDER = "evalkit-demo"
MODELS = ("baseline", "candidate", "year_one")
SLICES = (
    "sex",
    "race",
    "age=edges(18, 35, 50)",
    "income=quantiles(4)",
    "site",
    ("sex", "race"),
    ("race", "income=quantiles(4)"),
)
QUESTION = (
    "Predicted: will a person's medical spending in the next year be above the 80th percentile of everybody's "
    "(130 to 150 dollars)?"
)
DATA = (
    "Data: the RAND Health Insurance Experiment of 1974 to 1982, a row for each person and year, of families that no "
    "model was trained on; intervals are clustered by family."
)
ABOUT = (
    "Models: baseline (demographics and health), candidate (and this year's use of care), "
    "year_one (overfitted to one year, worse)."
)


def run(folder: str | None, *, overwrite: bool, report: bool | None, form: Format, quiet: bool) -> None:
    """Evaluates the demo's models, prints and writes the results.

    Args:
        folder: where to; None: `evalkit-demo`, which may be replaced if a demo wrote it.
        overwrite: whether another existing folder of results is replaced.
        report: whether report.html is written; None: where its extra is installed.
        form: how results are printed.
        quiet: whether progress and messages are left out.

    Raises:
        MissingExtra: the `demo` extra is not installed.
        OutputError: the folder may not be written.
    """
    target = Path(folder or FOLDER)
    overwrite = overwrite or (folder is None and _may_replace(target))
    require_free(target, overwrite=overwrite)
    require_report(report)
    say("\n".join((QUESTION, DATA, ABOUT, "")), quiet=quiet)
    with progress(3 + STEPS_OF_A_MODEL * len(MODELS), quiet=quiet) as step:
        from evalkit.demo_models import scored_test

        step("training three models")
        rows = scored_test()
        result = _evaluated(rows, step)
        step("estimating intervals")
        shown = view(result, form)
        step(f"writing {target}")
        written(result, target, overwrite=overwrite, report=report, command="demo")
    shown()
    tell_written(target, report=report, quiet=quiet)
    best = target / ("report.html" if can_report() and report is not False else "metrics.json")
    say(f"Open {best} to see everything.", quiet=quiet)


def _may_replace(target: Path) -> bool:
    """Returns whether the default folder is there, and evalkit's own; refuses what somebody else put there."""
    if not target.exists():
        return False
    from evalkit.storage import require_own

    require_own(target)
    return True


def _evaluated(rows: pl.DataFrame, step: Callable[[str], None]) -> Result:
    from evalkit.evaluate import evaluate

    one, *others = (
        evaluate(
            rows,
            label="label",
            score=model,
            unit="family",
            id="row_id",
            slices=SLICES,
            progress=after(step, f" {model}"),
        )
        for model in MODELS
    )
    return functools.reduce(operator.or_, others, one)
