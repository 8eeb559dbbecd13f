"""Which column is what, guessed from names and values.

>>> import polars as pl
>>> frame = pl.DataFrame({"y": [0, 1, 0, 1], "p": [0.1, 0.7, 0.4, 0.8], "sex": ["f", "m", "m", "f"]})
>>> found = guess(frame)
>>> found.label, found.scores, found.slices
('y', ('p',), ('sex',))
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import polars as pl

MOST_VALUES = 20
_NAMES = {
    "label": "label|labels|y|y_true|ytrue|target|outcome|truth|ground_truth|actual|class|response|converted|clicked|"
    "churn|churned",
    "score": "score|scores|p|prob|probability|proba|p_hat|phat|y_score|y_prob|y_proba|yscore|pred_proba",
    "prediction": "prediction|predictions|predicted|pred|y_pred|ypred|y_hat|yhat|decision",
    "weight": "weight|weights|sample_weight|sampling_weight|w",
    "unit": "unit|user|customer|patient|person|family|household|account|client|member|query|session|device|subject|"
    "group",
    "id": "id|row_id|rowid|uuid|guid|index|key|row|row_number",
}
_SCORE_PARTS = {"score", "scores", "prob", "proba", "probability"}
_PREDICTION_PARTS = {"pred", "prediction", "predicted", "predictions"}
_POSITIVE = ("yes", "true", "positive", "pos", "1", "y", "t", "churn", "churned", "bad", "fraud", "spam", "default")


@dataclass(frozen=True)
class Guess:
    """What the columns seem to be; None or empty where nothing fits.

    Attributes:
        label: the column of labels.
        scores: columns of scores, each a model's.
        predictions: columns of decisions or predicted numbers, where there are no scores.
        weight: the column of weights.
        unit: the column of what was sampled.
        id: the column that identifies a row.
        task: what the labels are.
        positive: the positive label, where labels are not 0 and 1.
        slices: columns of few values.
        binned: numeric columns of many values.
        left: columns that fit nothing.
    """

    label: str | None
    scores: tuple[str, ...]
    predictions: tuple[str, ...]
    weight: str | None
    unit: str | None
    id: str | None
    task: Literal["binary", "regression"]
    positive: Any
    slices: tuple[str, ...]
    binned: tuple[str, ...]
    left: tuple[str, ...]


def guess(frame: pl.DataFrame) -> Guess:
    """Returns what the columns of some rows seem to be."""
    columns = [_Column(frame[name]) for name in frame.columns if not frame[name].dtype.is_nested()]
    rest = {column.name: column for column in columns}
    label = _take(rest, _label(columns))
    binary = label is None or label.two_values
    scores = [_take(rest, c) for c in _scores(list(rest.values()))] if binary else []
    predictions = [_take(rest, c) for c in _predictions(list(rest.values()), label)] if label and not scores else []
    weight = _take(rest, _named(rest, "weight", lambda c: c.numeric and not c.negative))
    row_id = _take(rest, _named(rest, "id", lambda c: c.unique) or _named_like_an_id(rest, unique=True))
    unit = _take(rest, _unit(rest) or _named_like_an_id(rest, unique=False))
    few = [c.name for c in rest.values() if c.few]
    many = [c.name for c in rest.values() if c.numeric and not c.few and not c.identifies]
    return Guess(
        label=_name(label),
        scores=tuple(c.name for c in scores if c),
        predictions=tuple(c.name for c in predictions if c),
        weight=_name(weight),
        unit=_name(unit),
        id=_name(row_id),
        task="binary" if binary else "regression",
        positive=None if label is None or not binary else _positive(label),
        slices=tuple(few),
        binned=tuple(many),
        left=tuple(name for name in frame.columns if name in rest and name not in {*few, *many}),
    )


class _Column:
    """What guessing needs to know of a column."""

    def __init__(self, series: pl.Series) -> None:
        import polars as pl

        known = series.drop_nulls()
        if series.dtype.is_float():
            known = known.drop_nans()
        self.name = series.name
        self.words = set(re.split(r"[^a-z0-9]+", series.name.lower()))
        self.float = series.dtype.is_float()
        self.numeric = series.dtype.is_numeric()
        self.text = series.dtype in (pl.String, pl.Boolean) or isinstance(series.dtype, pl.Categorical | pl.Enum)
        self.rows = len(series)
        self.complete = len(known) == len(series)
        self.distinct = known.n_unique()
        self.values = known.unique().sort().to_list() if self.distinct <= MOST_VALUES else []
        low, high = (known.min(), known.max()) if self.numeric and len(known) else (None, None)
        self.share = self.float and low is not None and low >= 0 and high <= 1  # type: ignore[operator]
        self.negative = low is not None and low < 0  # type: ignore[operator]
        self.rarest = known.value_counts(sort=True)[series.name][-1] if self.two_values else None

    @property
    def two_values(self) -> bool:
        return self.distinct == 2

    @property
    def zero_one(self) -> bool:
        return self.two_values and self.values in ([0, 1], [False, True])

    @property
    def few(self) -> bool:
        return (self.text or self.numeric) and 1 < self.distinct <= MOST_VALUES

    @property
    def unique(self) -> bool:
        return self.complete and self.distinct == self.rows and not self.float

    @property
    def identifies(self) -> bool:
        return self.unique or "id" in self.words or (self.repeats and _is_unit(self))

    @property
    def repeats(self) -> bool:
        return self.complete and MOST_VALUES < self.distinct < self.rows and not self.float


def _take(rest: dict[str, _Column], column: _Column | None) -> _Column | None:
    return None if column is None else rest.pop(column.name)


def _name(column: _Column | None) -> str | None:
    return None if column is None else column.name


def _is_named(column: _Column, role: str) -> bool:
    return re.fullmatch(_NAMES[role], column.name.lower()) is not None


def _named(columns: dict[str, _Column], role: str, fits: Any) -> _Column | None:
    return next((c for c in columns.values() if _is_named(c, role) and fits(c)), None)


def _unit(columns: dict[str, _Column]) -> _Column | None:
    """Returns the coarsest of the columns named like units: a family rather than a person."""
    named = [c for c in columns.values() if c.repeats and _is_unit(c)]
    return min(named, key=lambda c: c.distinct, default=None)


def _is_unit(column: _Column) -> bool:
    """Tells `user`, and `user_id`."""
    named_id = "id" in column.words and any(re.fullmatch(_NAMES["unit"], word) for word in column.words)
    return named_id or _is_named(column, "unit")


def _named_like_an_id(columns: dict[str, _Column], *, unique: bool) -> _Column | None:
    like = [c for c in columns.values() if c.words & {"id", "uuid", "guid"}]
    return next((c for c in like if (c.unique if unique else c.repeats)), None)


def _label(columns: Sequence[_Column]) -> _Column | None:
    named = [c for c in columns if _is_named(c, "label") and c.distinct > 1 and (c.numeric or c.two_values)]
    zero_one = [c for c in columns if c.zero_one and not _is_named(c, "prediction") and c.numeric]
    candidates = named or (zero_one if len(zero_one) == 1 else [])
    return next(iter(candidates), None)


def _scores(columns: Sequence[_Column]) -> list[_Column]:
    scores = [c for c in columns if c.float and not c.two_values and c.complete and not _is_named(c, "weight")]
    named = [c for c in scores if _is_named(c, "score") or c.words & _SCORE_PARTS]
    predicted = [c for c in scores if c.share and c.words & _PREDICTION_PARTS]
    return named or predicted or [c for c in scores if c.share and c.distinct > MOST_VALUES]


def _predictions(columns: Sequence[_Column], label: _Column) -> list[_Column]:
    named = [c for c in columns if _is_named(c, "prediction") or c.words & _PREDICTION_PARTS]
    fits = [c for c in named if c.complete]
    if not label.two_values:
        return [c for c in fits if c.numeric]
    return [c for c in fits if c.values and set(c.values) <= set(label.values)]


def _positive(label: _Column) -> Any:
    """Returns the positive label of two: by its word, else the rarer."""
    if label.zero_one:
        return None
    known = {str(value).strip().lower(): value for value in label.values}
    return next((known[word] for word in _POSITIVE if word in known), label.rarest)
