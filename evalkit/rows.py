"""From a frame to checked rows: labels, scores, predictions, weights and units as arrays.

Everything wrong with the data is found here, before anything is counted, and said in one sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from evalkit.collect import GROUPS, Rows
from evalkit.errors import DataError, UsageError, listing
from evalkit.hashing import group_of, hash64

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from evalkit.slicing.encode import Coded
    from evalkit.slicing.spec import Dimension

Task = Literal["binary", "regression"]


@dataclass(frozen=True)
class Columns:
    """Which column plays which part.

    Attributes:
        label: what is predicted.
        score: the model's score of the positive class.
        prediction: decisions, or numbers in regression.
        weight: sampling weights.
        unit: what was sampled or randomised.
        id: identifies a row.
        extra: numeric columns that metrics read.
    """

    label: str | None = None
    score: str | None = None
    prediction: str | None = None
    weight: str | None = None
    unit: str | None = None
    id: str | None = None
    extra: tuple[str, ...] = ()

    def names(self) -> list[str]:
        """Returns the columns, each once."""
        parts = (self.label, self.score, self.prediction, self.weight, self.unit, self.id, *self.extra)
        return list(dict.fromkeys(name for name in parts if name is not None))


@dataclass(frozen=True)
class Origin:
    """Where rows stand in a larger whole, and what is known of all of it.

    Attributes:
        name: the file, for messages.
        start: the number of rows before these in the file.
        labels: the positive and the negative label.
        probabilities: whether all scores lie in [0, 1].
    """

    name: str = ""
    start: int = 0
    labels: tuple[Any, Any] | None = None
    probabilities: bool | None = None

    def numbers(self, n: int) -> NDArray[np.uint64]:
        """Returns a number for each of n rows that does not depend on how the file is cut."""
        numbers = np.arange(self.start, self.start + n).astype(np.uint64)
        return numbers + hash64([self.name]) if self.name else numbers

    def row(self, mask: NDArray[np.bool_]) -> str:
        """Names the first row of a mask."""
        of = f" of {self.name}" if self.name else ""
        return f"row {self.start + int(mask.argmax()):,}{of} (counting from 0)"


@dataclass(frozen=True)
class Checked:
    """Rows that may be evaluated.

    Attributes:
        rows: as arrays.
        frame: the frame's rows that were kept.
        task: what the labels are.
        dropped: how many rows were dropped as invalid.
        positive: the label that is positive, for binary tasks.
        coded: the slices' dimensions of rows read from a folder; None where the frame holds what slices read.
    """

    rows: Rows
    frame: pl.DataFrame
    task: Task
    dropped: int
    positive: Any
    coded: Mapping[Dimension, Coded] | None = None


def check(
    frame: pl.DataFrame,
    columns: Columns,
    *,
    task: Task | None,
    positive: Any,
    drop_invalid: bool,
    grouped: bool = False,
    origin: Origin | None = None,
) -> Checked:
    """Returns the rows of a frame, or raises DataError for what cannot be evaluated.

    Args:
        frame: the columns.
        columns: their parts.
        task: None to tell by the data.
        positive: the positive label, where labels are not 0 and 1.
        drop_invalid: whether rows with null, NaN or infinite values are dropped instead of refused.
        grouped: whether rows without units are hashed to groups all the same.
        origin: what the whole, of which the frame is a part, is known to hold; None: the frame is the whole.
    """
    place = origin or Origin()
    numbers = place.numbers(frame.height) if grouped else np.zeros(0, dtype=np.uint64)
    invalid = _invalid(frame, columns)
    weights = None if columns.weight is None else _weights(frame[columns.weight], place)
    dropped = 0
    if invalid:
        bad = np.logical_or.reduce([mask for _, mask, _ in invalid])
        if not drop_invalid:
            name, mask, what = invalid[0]
            raise DataError(
                f'"{name}" has {int(mask.sum()):,} {what}, the first in {place.row(mask)}; '
                "repair them, or drop such rows with drop_invalid."
            )
        dropped = int(bad.sum())
        frame = frame.filter(~bad)
        weights = None if weights is None else weights[~bad]
        numbers = numbers[~bad] if grouped else numbers
    if weights is not None and (weights == 0).any():
        frame = frame.filter(weights > 0)
        numbers = numbers[weights > 0] if grouped else numbers
        weights = weights[weights > 0]
    if not frame.height and origin is None:
        raise DataError("No valid rows are left." if dropped else "Every row has weight 0.")
    score = None if columns.score is None else _floats(frame[columns.score], "scores")
    label, prediction, task, positive = _label_and_prediction(frame, columns, task, positive, place)
    group = None
    if columns.unit is not None:
        group = group_of(units(frame[columns.unit]), GROUPS)
    elif grouped:
        group = group_of(units(frame[columns.id]) if columns.id else numbers, GROUPS)
    rows = Rows(
        n=frame.height,
        label=label,
        score=score,
        prediction=prediction,
        columns={name: _floats(frame[name], "values").astype(np.float64) for name in columns.extra},
        weight=weights,
        group=group,
        probabilities=_within_one(score, columns, place),
    )
    return Checked(rows, frame, task, dropped, positive)


def _within_one(score: NDArray[Any] | None, columns: Columns, place: Origin) -> bool:
    """Returns whether all scores lie in [0, 1]; what was said of the whole holds for every part."""
    if score is None or place.probabilities is False:
        return False
    inside = not len(score) or bool(score.min() >= 0 and score.max() <= 1)
    if place.probabilities and not inside:
        outside = (score < 0) | (score > 1)
        raise DataError(
            f'"{columns.score}" holds {score[outside.argmax()]:g} in {place.row(outside)}, where scores before lie in '
            "[0, 1]: give data that can be read twice, such as a file."
        )
    return inside


def kept(frame: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    """Returns the rows that are evaluated: valid ones with a positive weight."""
    frame, _ = valid_in_all(frame, [columns])
    return frame if columns.weight is None else frame.filter(frame[columns.weight] > 0)


def valid_in_all(frame: pl.DataFrame, roles: Sequence[Columns]) -> tuple[pl.DataFrame, int]:
    """Returns the rows that are valid for every model, and how many are not."""
    masks = [mask for columns in roles for _, mask, _ in _invalid(frame, columns)]
    if not masks:
        return frame, 0
    bad = np.logical_or.reduce(masks)
    return frame.filter(~bad), int(bad.sum())


def _invalid(frame: pl.DataFrame, columns: Columns) -> list[tuple[str, NDArray[np.bool_], str]]:
    found = []
    numeric = [columns.score, columns.prediction, columns.label, columns.weight, *columns.extra]
    for name in dict.fromkeys(n for n in (*numeric, columns.unit) if n is not None):
        series = frame[name]
        if series.null_count():
            found.append((name, series.is_null().to_numpy(), "missing values"))
        if series.dtype.is_float():
            values = series.to_numpy()
            finite = np.isfinite(values)
            if not finite.all():
                mask = ~finite & ~series.is_null().to_numpy()
                if mask.any():
                    found.append((name, mask, "NaN or infinite values"))
    return found


def _weights(series: pl.Series, place: Origin) -> NDArray[np.float64]:
    weights = _floats(series, "weights").astype(np.float64)
    negative = weights < 0
    if negative.any():
        raise DataError(
            f'"{series.name}" has {int(negative.sum()):,} negative weights, the first in {place.row(negative)}.'
        )
    return weights


def _floats(series: pl.Series, what: str) -> NDArray[Any]:
    import polars as pl

    if series.dtype in (pl.Float32, pl.Float64):
        return series.to_numpy()
    if series.dtype.is_numeric() or series.dtype == pl.Boolean:
        return series.cast(pl.Float64).to_numpy()
    if series.dtype == pl.Object:
        raise DataError(f'"{series.name}" holds mixed types; {what} must be numbers.')
    raise DataError(f'"{series.name}" is {series.dtype}; {what} must be numbers.')


def units(series: pl.Series) -> Any:
    """Returns units or ids as an array that hashes alike wherever they were read."""
    import polars as pl

    if series.dtype.is_numeric() or series.dtype == pl.Boolean:
        return series.to_numpy()
    return series.cast(pl.String).to_numpy()


def _label_and_prediction(
    frame: pl.DataFrame, columns: Columns, task: Task | None, positive: Any, place: Origin
) -> tuple[Any, Any, Task, Any]:
    label = None if columns.label is None else frame[columns.label]
    prediction = None if columns.prediction is None else frame[columns.prediction]
    if label is None:
        return None, None if prediction is None else _floats(prediction, "predictions"), task or "binary", None
    if task is None:
        task = "binary" if columns.score is not None or positive is not None or _looks_binary(label) else "regression"
    if task == "regression":
        if prediction is None:
            raise UsageError("Regression needs prediction=, the column of predicted numbers.")
        return (
            _floats(label, "labels").astype(np.float64),
            _floats(prediction, "predictions").astype(np.float64),
            task,
            None,
        )
    if place.labels is not None:
        positive, negative = place.labels
        codes = _known_labels(label, positive, negative, place)
    else:
        codes, positive, negative = _binary(label, positive)
    return codes, None if prediction is None else _decisions(prediction, positive, negative), task, positive


def _known_labels(label: pl.Series, positive: Any, negative: Any, place: Origin) -> NDArray[np.int8]:
    """Returns 0 and 1 of labels of which both values are known."""
    values: Any = label.to_numpy() if label.dtype.is_integer() else label
    ones = np.asarray(values == positive)
    strange = ~ones if negative is None else ~(ones | np.asarray(values == negative))
    if strange.any():
        raise DataError(
            f'"{label.name}" holds {label[int(strange.argmax())]!r} in {place.row(strange)}; the labels are '
            f"{positive!r} and {negative!r}."
        )
    return ones.view(np.int8)


def _looks_binary(label: pl.Series) -> bool:
    if not label.dtype.is_numeric():
        return True
    zero_or_one = bool(((label == 0) | (label == 1)).all())
    return zero_or_one or (not label.dtype.is_float() and label.n_unique() <= 2)


def _binary(label: pl.Series, positive: Any) -> tuple[NDArray[np.int8], Any, Any]:
    import polars as pl

    if label.dtype == pl.Object:
        raise DataError(f'Labels in "{label.name}" hold mixed types; make them 0 and 1, or text.')
    if positive is None and label.dtype == pl.Boolean:
        return label.to_numpy().astype(np.int8), True, False
    if positive is None and label.dtype.is_numeric():
        values = label.to_numpy()
        ones = values == 1
        if bool((ones | (values == 0)).all()):
            return ones.astype(np.int8), 1, 0
    distinct = label.unique().sort().head(21).to_list()
    shown = listing([repr(v) for v in distinct], 5)
    if len(distinct) > 2:
        more = "more than 20" if len(distinct) > 20 else str(len(distinct))
        raise DataError(f'Labels in "{label.name}" are not binary: {more} values ({shown}).')
    if positive is None:
        raise DataError(f'Labels in "{label.name}" are {shown}, not 0 and 1: say which is positive (positive=...).')
    positive = _same_type(positive, distinct)
    if positive not in distinct:
        raise DataError(f'No label in "{label.name}" is {positive!r}; the labels are {shown}.')
    negative = next((v for v in distinct if v != positive), None)
    return (label == positive).to_numpy().astype(np.int8), positive, negative


def _same_type(positive: Any, distinct: Sequence[Any]) -> Any:
    """Reads a positive label written as text, as on the command line, as what the column holds."""
    if isinstance(positive, str) and distinct and not isinstance(distinct[0], str):
        return next((v for v in distinct if str(v).lower() == positive.lower() or str(v) == f"{positive}.0"), positive)
    return positive


def _decisions(prediction: pl.Series, positive: Any, negative: Any) -> NDArray[np.int8]:
    distinct = prediction.unique().head(21).to_list()
    allowed = [positive, negative] if negative is not None else [positive, *distinct[:2]]
    strange = [v for v in distinct if v not in allowed]
    if strange or len(distinct) > 2:
        raise DataError(
            f'Predictions in "{prediction.name}" hold {listing([repr(v) for v in strange or distinct], 5)}, '
            "which is no label; scores go into score=, and numeric labels need task=regression."
        )
    return (prediction == positive).to_numpy().astype(np.int8)


def require_probabilities(rows: Rows, column: str, metric: str) -> None:
    """Raises DataError where a metric needs scores in [0, 1] and they are not."""
    if rows.score is None or rows.probabilities:
        return
    outside = (rows.score < 0) | (rows.score > 1)
    raise DataError(
        f'"{metric}" needs probabilities, but "{column}" has {int(outside.sum()):,} scores outside [0, 1], the '
        f"first in row {int(outside.argmax()):,} (counting from 0)."
    )


_CONDITIONS: Mapping[str, tuple[str, Any]] = {
    "above -1": ("labels and predictions above -1", lambda y, p: (y > -1) & (p > -1)),
    "label not negative": ("labels of at least 0", lambda y, _: y >= 0),
    "label positive": ("labels above 0", lambda y, _: y > 0),
    "prediction positive": ("predictions above 0", lambda _, p: p > 0),
}


def require_condition(rows: Rows, need: str, metric: str) -> None:
    """Raises DataError where a regression metric's condition on values fails."""
    if need not in _CONDITIONS or rows.label is None or rows.prediction is None:
        return
    words, test = _CONDITIONS[need]
    fails = ~test(rows.label, rows.prediction)
    if fails.any():
        raise DataError(
            f'"{metric}" needs {words}; {int(fails.sum()):,} rows are not, the first is row {int(fails.argmax()):,} '
            "(counting from 0)."
        )
