"""Fairness of single rows: are rows that are alike decided alike, and does a changed group change the decision.

>>> import numpy as np
>>> consistency([[0.0], [0.1], [5.0], [5.1]], [1, 1, 0, 1], neighbours=1)
0.5
>>> found = flips([0.9, 0.8, 0.2, 0.4], [0.7, 0.3, 0.1, 0.6])
>>> found.rows, found.positive_to_negative, found.negative_to_positive, found.rate
(4.0, 1.0, 1.0, 0.5)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.contrast import paired_proportions
from evalkit.errors import ConfigError, DataError, MissingExtra
from evalkit.fairness.measure import Measure
from evalkit.slicing.spec import SliceKey

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


# --- nearest neighbours ---


def consistency(
    features: ArrayLike,
    prediction: ArrayLike,
    *,
    neighbours: int = 5,
    scale: bool = True,
    with_self: bool = False,
    weight: ArrayLike | None = None,
) -> float:
    """Returns 1 - mean |prediction - mean prediction of the nearest neighbours|, between 0 and 1.

    Args:
        features: [rows, features] numbers; what is alike is by Euclidean distance.
        prediction: [rows] decisions 0 and 1, or scores in [0, 1].
        neighbours: how many.
        scale: divide each feature by its standard deviation first, so that its unit does not matter; Zemel et al. and
            AI Fairness 360 take features as they are (`scale=False`).
        with_self: count a row as its own nearest neighbour, as AI Fairness 360 does, which flatters by up to
            1 / neighbours.
        weight: [rows] weights of rows in the mean.

    Source: Zemel et al. (2013), Learning fair representations.
    """
    own = row_consistency(features, prediction, neighbours=neighbours, scale=scale, with_self=with_self)
    return float(np.average(own, weights=None if weight is None else np.asarray(weight, np.float64)))


def row_consistency(
    features: ArrayLike,
    prediction: ArrayLike,
    *,
    neighbours: int = 5,
    scale: bool = True,
    with_self: bool = False,
) -> Floats:
    """Returns 1 - |prediction - mean prediction of the nearest neighbours| of each row, [rows]; see `consistency`.

    Raises:
        MissingExtra: scikit-learn is not installed.
        DataError: features or predictions are no finite numbers, or there are too few rows.
    """
    try:
        from sklearn.neighbors import NearestNeighbors
    except ImportError as error:
        raise MissingExtra("scikit-learn", "demo") from error
    x, p = np.asarray(features, np.float64), np.asarray(prediction, np.float64)
    if x.ndim != 2 or len(x) != len(p):
        raise DataError(f"Features must be [rows, features] of {len(p):,} rows, not of shape {list(x.shape)}.")
    if not (np.isfinite(x).all() and np.isfinite(p).all() and (p >= 0).all() and (p <= 1).all()):
        raise DataError("Features must be finite numbers, and predictions lie in [0, 1].")
    if neighbours < 1 or len(x) < neighbours + (not with_self):
        raise DataError(f"{len(x):,} rows do not have {neighbours:,} neighbours each; ask for fewer, at least 1.")
    if scale:
        spread = x.std(0)
        x = x / np.where(spread > 0, spread, 1.0)
    model = NearestNeighbors(n_neighbors=neighbours).fit(x)
    near = model.kneighbors(x if with_self else None, return_distance=False)
    return 1 - np.abs(p - p[near].mean(1))


def consistency_measures(
    features: ArrayLike,
    prediction: ArrayLike,
    group: Iterable[Any],
    *,
    across: str,
    neighbours: int = 5,
    scale: bool = True,
    with_self: bool = False,
    weight: ArrayLike | None = None,
) -> list[Measure]:
    """Returns the consistency of all rows and of each group's; neighbours are of any group.

    Rows share neighbours, so they are not independent, and there is no interval.

    Args:
        features: [rows, features]; leave the protected attribute out, or rows of other groups are never near.
        prediction: [rows] decisions or scores.
        group: [rows] groups.
        across: what the groups are of, such as `sex`.
        neighbours: how many.
        scale: see `consistency`.
        with_self: see `consistency`.
        weight: [rows] weights.
    """
    own = row_consistency(features, prediction, neighbours=neighbours, scale=scale, with_self=with_self)
    groups = np.asarray([str(g) for g in group])
    w = np.ones(len(own)) if weight is None else np.asarray(weight, np.float64)
    if not len(groups) == len(own) == len(w):
        raise DataError(f"There are {len(own):,} rows, {len(groups):,} groups and {len(w):,} weights.")
    at = Measure(f"consistency@neighbours={neighbours}", across, float("nan"), fair=1.0)
    at = replace(at, note="no interval: rows share neighbours")
    found = [replace(at, value=_mean(own, w), rows=len(own))]
    for g in np.unique(groups):
        inside = groups == g
        key: SliceKey = ((across, str(g)),)
        found.append(replace(at, group=key, value=_mean(own[inside], w[inside]), rows=int(inside.sum())))
    return found


def _mean(values: Floats, weight: Floats) -> float:
    return float(np.average(values, weights=weight)) if weight.sum() > 0 else float("nan")


# --- counterfactuals ---


@dataclass(frozen=True)
class Flips:
    """Decisions on rows and on their counterfactuals, as summed weights.

    Attributes:
        positive: rows decided positive.
        negative: rows decided negative.
        positive_to_negative: of those positive, those whose counterfactual is negative.
        negative_to_positive: of those negative, those whose counterfactual is positive.
    """

    positive: float
    negative: float
    positive_to_negative: float
    negative_to_positive: float

    @property
    def rows(self) -> float:
        """All rows."""
        return self.positive + self.negative

    @property
    def rate(self) -> float:
        """The share of all rows whose decision flips; NaN without rows."""
        return self.share(self.positive_to_negative + self.negative_to_positive)

    def share(self, of: float) -> float:
        """Returns a number of rows as a share of all; NaN without rows."""
        return of / self.rows if self.rows > 0 else float("nan")


def flips(
    prediction: ArrayLike,
    counterfactual: ArrayLike,
    *,
    threshold: float = 0.5,
    strict: bool = False,
    weight: ArrayLike | None = None,
) -> Flips:
    """Counts the decisions that change when rows are replaced by their counterfactuals.

    Args:
        prediction: [rows] scores, or decisions 0 and 1.
        counterfactual: [rows] the same model's of the same rows with their group, or what names it, changed.
        threshold: from which score a decision is positive.
        strict: a score equal to the threshold is negative, TensorFlow Model Analysis' rule.
        weight: [rows] weights.

    Source: TensorFlow Model Analysis, addons/fairness/metrics/counterfactual_fairness; Garg et al. (2019).
    """
    before, after, w = _paired(prediction, counterfactual, weight, threshold, strict)
    return Flips(
        positive=float(w[before].sum()),
        negative=float(w[~before].sum()),
        positive_to_negative=float(w[before & ~after].sum()),
        negative_to_positive=float(w[~before & after].sum()),
    )


def _paired(
    prediction: Any, counterfactual: Any, weight: Any, threshold: float, strict: bool
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], Floats]:
    left, right = np.asarray(prediction), np.asarray(counterfactual)
    w = np.ones(len(left)) if weight is None else np.asarray(weight, np.float64)
    if left.ndim != 1 or not left.shape == right.shape == w.shape:
        raise DataError(
            f"Predictions {list(left.shape)}, counterfactuals {list(right.shape)} and weights {list(w.shape)} must be "
            "of the same rows."
        )
    if not (np.isfinite(left).all() and np.isfinite(right).all() and np.isfinite(w).all() and (w >= 0).all()):
        raise DataError("Predictions, counterfactuals and weights must be finite numbers, and no weight negative.")
    if strict:
        return left > threshold, right > threshold, w
    return left >= threshold, right >= threshold, w


def flip_measures(
    prediction: ArrayLike,
    counterfactual: ArrayLike,
    group: Iterable[Any] | None = None,
    *,
    across: str,
    threshold: float = 0.5,
    strict: bool = False,
    weight: ArrayLike | None = None,
    unit: Iterable[Any] | None = None,
    level: float = 0.95,
) -> list[Measure]:
    """Returns shares and numbers of decisions that flip, of all rows and of each group.

    `counterfactual_flip_rate`, `..._positive_to_negative` and `..._negative_to_positive` are shares of all rows, as in
    TensorFlow Model Analysis, with Wilson's intervals (of effective rows where they are weighted or clustered);
    `counterfactual_flip_count` is their number. `counterfactual_shift`, the share that gains minus the share that
    loses, has a test of flips going both ways equally often: McNemar's, of independent rows without weights.

    Args:
        prediction: [rows] scores, or decisions 0 and 1.
        counterfactual: [rows] of the same rows.
        group: [rows] groups; None: all rows alone.
        across: what was changed, such as `sex`.
        threshold: from which score a decision is positive.
        strict: see `flips`.
        weight: [rows] weights.
        unit: [rows] what was sampled, such as a user.
        level: the confidence level.
    """
    if not 0 < level < 1:
        raise ConfigError(f"level must lie between 0 and 1, not {level!r}.")
    before, after, w = _paired(prediction, counterfactual, weight, threshold, strict)
    groups = None if group is None else [str(g) for g in group]
    data: dict[str, Any] = {
        "flip": (before != after).astype(np.int8),
        "lost": (before & ~after).astype(np.int8),
        "gained": (~before & after).astype(np.int8),
    }
    table = _rates(data, groups, None if weight is None else w, unit, level, len(before))
    found = []
    for name in [None, *dict.fromkeys(groups or [])]:
        inside = np.ones(len(before), dtype=bool) if name is None else np.asarray(groups) == name
        key: SliceKey = () if name is None else ((across, str(name)),)
        at = Measure(
            "", across, float("nan"), group=key, confidence=level, fair=0.0, rows=int((inside & (w > 0)).sum())
        )
        for of, metric in _FLIPS.items():
            if (of, name) in table:
                found.append(replace(at, metric=metric, **table[of, name]))
        changed = float(w[inside & (before != after)].sum())
        found.append(replace(at, metric="counterfactual_flip_count", value=changed))
        found.append(_shift(at, before[inside], after[inside], w[inside], weight is None and unit is None))
    return found


_FLIPS = {
    "flip": "counterfactual_flip_rate",
    "lost": "counterfactual_flip_rate_positive_to_negative",
    "gained": "counterfactual_flip_rate_negative_to_positive",
}


def _rates(
    data: dict[str, Any],
    groups: list[str] | None,
    weight: Floats | None,
    unit: Iterable[Any] | None,
    level: float,
    rows: int,
) -> dict[tuple[str, str | None], dict[str, Any]]:
    """Evaluates each share, overall and by group."""
    from evalkit.evaluate import evaluate

    columns: dict[str, Any] = {} if weight is None else {"weight": weight}
    columns |= {} if groups is None else {"group": groups}
    columns |= {} if unit is None else {"unit": list(unit)}
    for name, values in columns.items():
        if len(values) != rows:
            raise DataError(f"There are {rows:,} predictions, but {len(values):,} of {name}.")
    roles: dict[str, Any] = {name: name for name in ("weight", "unit") if name in columns}
    found: dict[tuple[str, str | None], dict[str, Any]] = {}
    for of, values in data.items():
        frame: pl.DataFrame = evaluate(
            {**columns, "flips": values},
            label="flips",
            prediction="flips",
            metrics=["positive_prediction_rate"],
            slices=["group"] if groups is not None else [],
            level=level,
            **roles,
        ).to_polars()
        for row in frame.iter_rows(named=True):
            pairs = row["slice_key"]
            place = None if row["slice"] == "overall" else str(next(iter(pairs))["value"])
            kept = ("value", "low", "high", "method", "support", "approximate", "note", "status")
            found[of, place] = {key: row[key] for key in kept}
    return found


def _shift(at: Measure, before: Any, after: Any, weight: Floats, plain: bool) -> Measure:
    """Returns the share that gains minus the share that loses."""
    gained, lost = weight[~before & after].sum(), weight[before & ~after].sum()
    value = float((gained - lost) / weight.sum()) if weight.sum() > 0 else float("nan")
    at = replace(at, metric="counterfactual_shift", value=value)
    if not plain or not len(before):
        return replace(at, note="no interval: rows are weighted or clustered" if len(before) else "")
    of = paired_proportions(*(np.array([int(n)]) for n in (len(before), lost, gained)))
    low, high = (float(end[0]) for end in of.interval((1 - at.confidence) / 2))
    return replace(at, low=low, high=high, p_value=float(of.two_sided(0.0)[0]), method=of.method)
