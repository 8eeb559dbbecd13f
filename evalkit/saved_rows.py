"""The rows of a result beside its sums, in `rows.parquet`: so that two runs on the same data compare paired.

A row holds `id`, `label`, `score:MODEL` and `prediction:MODEL` of each model, `weight`, `unit`, `column:NAME` for
columns that metrics read, and `slice:DIMENSION` for each dimension of the slices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.collect import GROUPS, Rows
from evalkit.errors import DataError, InternalError
from evalkit.hashing import group_of
from evalkit.results import Evaluation, Result
from evalkit.rows import Checked, Task, units
from evalkit.slicing.encode import Coded, encode
from evalkit.slicing.spec import Dimension, SliceSet

if TYPE_CHECKING:
    import polars as pl

FILE = "rows.parquet"


def dimensions(evaluation: Evaluation) -> dict[Dimension, Coded]:
    """Returns each dimension of an evaluation's slices as codes of its rows."""
    checked = _checked(evaluation)
    if checked.coded is not None:
        return dict(checked.coded)
    limit = max((len(keys) for keys in evaluation.plan.keys), default=1)
    return encode(_single(evaluation), checked.frame, max(limit, checked.rows.n))


def ids(evaluation: Evaluation) -> pl.Series:
    """Returns what identifies each row: its `id`, or its place where there is none."""
    import polars as pl

    checked = _checked(evaluation)
    column = evaluation.settings.columns.id
    return checked.frame[column] if column else pl.Series("id", np.arange(checked.rows.n))


def same_rows(left: Evaluation, right: Evaluation) -> bool:
    """Returns whether two evaluations are of the same rows in the same order, by ids and labels."""
    if left.rows is None or right.rows is None or left.rows.rows.n != right.rows.rows.n:
        return False
    label, other = left.rows.rows.label, right.rows.rows.label
    same = label is None or (other is not None and bool(np.array_equal(label, other)))
    if left.settings.columns.id and right.settings.columns.id:
        mine, theirs = ids(left), ids(right)
        return same and mine.dtype == theirs.dtype and bool((mine == theirs).all())
    return same


def _checked(evaluation: Evaluation) -> Checked:
    if evaluation.rows is None:
        raise InternalError("no rows are kept")
    return evaluation.rows


def _single(evaluation: Evaluation) -> list[SliceSet]:
    sets = evaluation.plan.slice_sets[1:]
    return [SliceSet((d,)) for d in dict.fromkeys(d for s in sets for d in s.dimensions)]


# --- writing ---


def write(result: Result, folder: Path) -> list[str]:
    """Writes the rows and returns the file's name; nothing where models were evaluated on different rows."""
    kept = [evaluation for evaluation in result.evaluations if evaluation.rows is not None]
    if not kept or len(kept) < len(result.evaluations):
        return []
    first = kept[0]
    frame = _frame(first)
    for other in kept[1:]:
        if not same_rows(first, other):
            return []
        frame = frame.with_columns(_outputs(other))
    frame.write_parquet(folder / FILE)
    return [FILE]


def _outputs(evaluation: Evaluation) -> list[pl.Series]:
    import polars as pl

    rows = _checked(evaluation).rows
    found = {"score": rows.score, "prediction": rows.prediction}
    return [pl.Series(f"{role}:{evaluation.model}", values) for role, values in found.items() if values is not None]


def _frame(evaluation: Evaluation) -> pl.DataFrame:
    import polars as pl

    checked, columns = _checked(evaluation), evaluation.settings.columns
    rows = checked.rows
    series = [ids(evaluation).alias("id")]
    if rows.label is not None:
        series.append(pl.Series("label", rows.label))
    series += _outputs(evaluation)
    if rows.weight is not None:
        series.append(pl.Series("weight", rows.weight))
    if columns.unit:
        series.append(checked.frame[columns.unit].alias("unit"))
    series += [pl.Series(f"column:{name}", values) for name, values in rows.columns.items()]
    series += [_written(dimension, coded, rows.n) for dimension, coded in dimensions(evaluation).items()]
    return pl.DataFrame(series)


def _written(dimension: Dimension, coded: Coded, n: int) -> pl.Series:
    """Writes a dimension as the text of its values, or lists of these where a row may be in several slices."""
    import polars as pl

    values = pl.Series([*coded.values, None], dtype=pl.String)
    texts = values.gather(np.where(coded.codes < 0, len(coded.values), coded.codes))
    if coded.rows is None:
        return texts.cast(pl.Categorical).alias(f"slice:{dimension}")
    members = pl.DataFrame({"row": coded.rows, "text": texts}).filter(pl.Series(coded.codes >= 0))
    lists = members.group_by("row").agg("text")
    every = pl.DataFrame({"row": np.arange(n)}).join(lists, on="row", how="left", maintain_order="left")
    return every["text"].fill_null([]).alias(f"slice:{dimension}")


# --- reading ---


def read(folder: Path, evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Returns the evaluations with their rows, where the folder holds them.

    Raises:
        DataError: the file cannot be read, or is of other models.
    """
    import polars as pl

    file = folder / FILE
    if not file.exists():
        return list(evaluations)
    try:
        frame = pl.read_parquet(file)
        coded: dict[tuple[Dimension, ...], dict[Dimension, Coded]] = {}
        found = []
        for evaluation in evaluations:
            single = tuple(s.dimensions[0] for s in _single(evaluation))
            if single not in coded:
                coded[single] = {d: _read_dimension(frame, d, evaluation) for d in single}
            found.append(replace(evaluation, rows=_read_rows(frame, evaluation, coded[single])))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{file} cannot be read: {(str(error).splitlines() or ['it is damaged'])[0]}") from error
    return found


def _read_dimension(frame: pl.DataFrame, dimension: Dimension, evaluation: Evaluation) -> Coded:
    column = Dimension(f"slice:{dimension}")
    coded = encode([SliceSet((column,))], frame, max(frame.height, 1))[column]
    if dimension.form not in ("where", "values") or None not in coded.values:
        return coded
    plan = evaluation.plan
    own = [keys for slices, keys in zip(plan.slice_sets, plan.keys, strict=True) if dimension in slices.dimensions]
    if any(pair == (dimension.name, None) for keys in own for key in keys for pair in key):
        return coded  # null is one of the values asked for
    null = coded.values.index(None)
    codes = np.where(coded.codes == null, -1, coded.codes).astype(np.int32)
    return replace(coded, codes=codes, values=tuple(v for v in coded.values if v is not None), partial=True)


def _read_rows(frame: pl.DataFrame, evaluation: Evaluation, coded: Mapping[Dimension, Coded]) -> Checked:
    settings = evaluation.settings

    def array(name: str) -> Any:
        return frame[name].to_numpy() if name in frame.columns else None

    score, unit = array(f"score:{evaluation.model}"), settings.columns.unit
    if unit is not None:
        group = group_of(units(frame["unit"]), GROUPS)
    elif settings.bootstrap is not None:
        group = group_of(units(frame["id"]), GROUPS)
    else:
        group = None
    rows = Rows(
        n=frame.height,
        label=array("label"),
        score=score,
        prediction=array(f"prediction:{evaluation.model}"),
        columns={name: array(f"column:{name}") for name in settings.columns.extra},
        weight=array("weight"),
        group=group,
        probabilities=score is not None and bool(score.min() >= 0 and score.max() <= 1),
    )
    held = {"id": settings.columns.id, "unit": unit}
    known = frame.select(frame[role].alias(name) for role, name in held.items() if name is not None)
    task: Task = "regression" if settings.task == "regression" else "binary"
    return Checked(rows, known, task, evaluation.dropped, settings.positive, coded)
