"""What `evalkit init` does: it looks at data and writes settings that run, with what else there is as comments."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.config import parse
from evalkit.console import Format, out, say
from evalkit.errors import DataError, OutputError
from evalkit.guess import Guess, guess
from evalkit.yaml_text import scalar, write_whole

if TYPE_CHECKING:
    import polars as pl

MOST_SLICES = 12
_PARTS, _PART_ROWS = 5, 20_000
_HEAD = (
    "# Settings of `evalkit evaluate`; every one is described in docs/config.md. Guesses from some rows: check them.\n"
)
_METRICS = {
    "binary": ("roc_auc", "precision@0.7", "recall@0.7", "log_loss"),
    "regression": ("mae", "rmse", "r2"),
}


def run(data: str, file: str, *, overwrite: bool, form: Format, quiet: bool) -> None:
    """Guesses what the columns of the data are, writes the settings and prints the guesses.

    Args:
        data: a file, folder or glob.
        file: the file to write.
        overwrite: whether it may be replaced.
        form: how the guesses are printed.
        quiet: whether messages are left out.

    Raises:
        OutputError: the file exists or cannot be written.
        DataError: the data cannot be read.
    """
    target = Path(file)
    if target.is_dir():
        raise OutputError(f"{target} is a folder; name a file, such as {target / 'evalkit.yaml'}.")
    if target.exists() and not overwrite:
        raise OutputError(f"{target} exists; choose another file with --out, or --overwrite it.")
    found = guess(sample(data))
    text = settings(found, _as_seen_from(data, target.parent))
    parse(text, str(target))
    write_whole(text, target)
    if form is Format.json:
        out(json.dumps(asdict(found), indent=1, default=str))
    else:
        out("\n".join(_told(found)))
    if found.label and (found.scores or found.predictions):
        say(f"Written: {target}. Next: evalkit evaluate --config {target}", quiet=quiet)
    else:
        say(f"Written: {target}. Fill in what could not be guessed, marked TODO.", quiet=quiet)


def sample(data: str) -> pl.DataFrame:
    """Returns up to 100,000 rows from five places of the data, since files are often sorted."""
    import polars as pl

    from evalkit.table import scan

    lazy = scan(data)
    try:
        rows = int(lazy.select(pl.len()).collect().item())
        if rows <= _PARTS * _PART_ROWS:
            frame = lazy.collect()
        else:
            starts = [part * (rows - _PART_ROWS) // (_PARTS - 1) for part in range(_PARTS)]
            frame = pl.concat([lazy.slice(start, _PART_ROWS).collect() for start in starts])
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read {data}: {(str(error).splitlines() or ['it is damaged'])[0]}") from error
    if not rows:
        raise DataError(f"{data} holds no rows.")
    return frame


def settings(found: Guess, data: str) -> str:
    """Returns the text of evalkit.yaml for a guess."""
    return _HEAD + "\n".join(_lines(found, data)) + "\n"


def _lines(found: Guess, data: str) -> Iterator[str]:
    yield f"data: {scalar(data)}"
    yield f"label: {scalar(found.label)}" if found.label else "# TODO  label: COLUMN"
    if found.positive is not None:
        yield f"positive: {scalar(found.positive)}  # the other label is negative"
    yield from _outputs(found)
    yield f"task: {found.task}"
    for role, column, words in (
        ("weight", found.weight, "sampling weights"),
        ("unit", found.unit, "what was sampled, such as a user; intervals are clustered by it"),
        ("id", found.id, "what identifies a row, for paired comparisons"),
    ):
        yield f"{role}: {scalar(column)}  # {words}" if column else f"# {role}: COLUMN  # {words}"
    yield ""
    yield "# By default a set of metrics for the task."
    yield "# metrics:"
    yield from (f"#   - {name}" for name in _METRICS[found.task])
    yield ""
    yield from _slices(found)
    yield ""
    yield "# level: 0.95              # of the intervals"
    yield "# intervals: {bootstrap: {n: 1000, seed: 0}}"
    yield "# min_rows: 30             # smaller slices are too_few_rows"
    yield "# suppress_below: 10       # smaller slices are hidden everywhere, for privacy"
    yield "# out: evaluation          # the folder that results are written into"
    yield from _decisions(found)


def _decisions(found: Guess) -> Iterator[str]:
    """The parts that compare, price and gate, as comments that hold once their marks are taken away."""
    models = [scalar(column) for column in found.scores or found.predictions]
    baseline, candidate = models[:2] if len(models) > 1 else ("OLD_COLUMN", "NEW_COLUMN")
    headline = _METRICS[found.task][0]
    yield ""
    yield "# `evalkit compare`: docs/compare.md"
    yield "# compare:"
    yield f"#   baseline: {baseline}       # a model or column, a folder of results, prior or majority"
    yield f"#   candidates: [{candidate}]"
    if found.task == "binary":
        yield ""
        yield "# What errors cost, numbers or columns: docs/costs.md"
        yield "# costs: {false_positive: 1, false_negative: 10, currency: USD, unit: customer}"
    yield ""
    yield "# `evalkit fairness`: docs/fairness.md"
    yield "# fairness:"
    yield f"#   protected: [{', '.join(map(scalar, found.slices[:2])) or 'COLUMN'}]   # whose treatment is compared"
    yield "#   within: 0.05       # how large a gap may be: what is certified"
    yield ""
    yield "# `evalkit gate`: docs/gate.md"
    yield "# gate:"
    yield "#   rules:"
    yield f"#     - {{metric: {headline}, delta: 0, margin: 0.01}}   # not worse by more than .01, shown"
    yield f"#     - {{metric: {headline}, slices: all, delta: 0}}    # in no slice shown to be worse"


def _outputs(found: Guess) -> Iterator[str]:
    role, columns = ("score", found.scores) if found.scores else ("prediction", found.predictions)
    if not columns:
        yield "# TODO  score: COLUMN  # of the positive class; or prediction: COLUMN"
    elif len(columns) == 1:
        yield f"{role}: {scalar(columns[0])}"
    else:
        yield f"models:  # columns that could be models' {role}s"
        yield from (f"  - {role}: {scalar(column)}" for column in columns)


def _slices(found: Guess) -> Iterator[str]:
    written = [*map(_written, found.slices), *(_written(name, bins=4) for name in found.binned)]
    yield "# Columns, crosses ([sex, race]), bins (age=edges(30, 45)), conditions ({name: young, where: age < 30})."
    yield "slices:" if written else "# slices:"
    yield from (f"  - {line}" for line in written[:MOST_SLICES])
    yield from (f"  # - {line}" for line in written[MOST_SLICES:])
    if len(found.slices) > 1:
        yield f"  # - [{', '.join(scalar(name) for name in found.slices[:2])}]"


def _written(name: str, bins: int | None = None) -> str:
    """Writes a slice as text where its column's name allows it, else as a mapping."""
    if re.search(r"[,=()\[\]\"']|^\s|\s$", name):
        return f"{{column: {scalar(name)}" + (f", quantiles: {bins}}}" if bins else "}")
    return scalar(name if bins is None else f"{name}=quantiles({bins})")


def _told(found: Guess) -> Iterator[str]:
    for role, value in asdict(found).items():
        shown = ", ".join(map(str, value)) if isinstance(value, tuple) else value
        if role == "positive" and value is None:
            continue
        yield f"{role:12}{'-' if shown is None or shown == '' else shown}"


def _as_seen_from(data: str, folder: Path) -> str:
    """Returns a path or glob as the settings' file must name it."""
    path = Path(data).expanduser()
    if path.is_absolute() or "://" in data or folder == Path():
        return data
    return os.path.relpath(path, folder)
