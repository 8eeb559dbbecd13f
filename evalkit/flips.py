"""Which decisions changed between two models on the same rows: fixed, broken, churn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evalkit import saved_rows
from evalkit.errors import ConfigError, UsageError
from evalkit.interval import critical, wilson
from evalkit.pairing import Pair
from evalkit.results import Evaluation

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    Flags = NDArray[np.bool_]


def by_slice(pair: Pair, threshold: float | None = None) -> pl.DataFrame:
    """Returns a row for each slice.

    Columns: slice, rows, changed, fixed (the baseline was wrong, the candidate is right), broken (the reverse),
    to_positive, to_negative, churn (changed over rows) with low and high (Wilson, rows taken as independent).

    Raises:
        UsageError: rows are not paired, or labels are not binary.
    """
    import polars as pl

    label, before, after = _decisions(pair, threshold)
    size = len(pair.plan.slices)
    changed = before != after
    kinds = {
        "changed": changed,
        "fixed": changed & (after == label),
        "broken": changed & (before == label),
        "to_positive": changed & after,
        "to_negative": changed & before,
    }
    counts = {name: np.zeros(size, dtype=np.int64) for name in ("rows", *kinds)}
    for members in pair.members:
        inside = members.slices >= 0
        for name, flags in (("rows", np.ones(len(label), dtype=bool)), *kinds.items()):
            counts[name] += np.bincount(members.slices[inside & members.of(flags)], minlength=size)
    rows = counts["rows"].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        churn = counts["changed"] / rows
        low, high = wilson(churn, rows, critical(pair.candidate.settings.level))
    return pl.DataFrame({"slice": pair.plan.texts, **counts, "churn": churn, "low": low, "high": high})


def can_tell(pair: Pair) -> bool:
    """Returns whether the models' decisions are known without a threshold of the user's."""
    if pair.how != "rows" or pair.candidate.settings.task != "binary":
        return False
    held = [e.rows.rows for e in (pair.baseline, pair.candidate) if e.rows is not None]
    return all(r.label is not None and (r.prediction is not None or r.probabilities) for r in held)


def rows(pair: Pair, threshold: float | None = None, n: int | None = None) -> pl.DataFrame:
    """Returns the rows whose decision changed, broken ones first, then by how far the score moved.

    Columns: id, label, baseline and candidate (decisions), kind (`fixed` or `broken`), baseline_score and
    candidate_score where there are scores, and `slice:DIMENSION` for each dimension of the slices.

    Raises:
        UsageError: rows are not paired, labels are not binary, or slices are suppressed.
    """
    import polars as pl

    if pair.plan.hidden:
        raise UsageError("Rows are not shown where slices are suppressed: they would reveal the hidden ones.")
    label, before, after = _decisions(pair, threshold)
    place = np.flatnonzero(before != after)
    broken = before[place] == label[place]
    mine, theirs = (None if e.rows is None else e.rows.rows.score for e in (pair.candidate, pair.baseline))
    moved = np.zeros(len(place))
    if mine is not None and theirs is not None:
        moved = np.abs(mine[place].astype(np.float64) - theirs[place])
    order = np.lexsort((place, -moved, ~broken))[:n]
    place, broken = place[order], broken[order]
    columns = [
        saved_rows.ids(pair.candidate)[place].alias("id"),
        pl.Series("label", label[place].astype(np.int8)),
        pl.Series("baseline", before[place].astype(np.int8)),
        pl.Series("candidate", after[place].astype(np.int8)),
        pl.Series("kind", np.where(broken, "broken", "fixed")),
    ]
    scores = {"baseline_score": theirs, "candidate_score": mine}
    columns += [pl.Series(name, values[place]) for name, values in scores.items() if values is not None]
    for dimension, coded in saved_rows.dimensions(pair.candidate).items():
        if coded.rows is None:
            texts = pl.Series([*coded.values, None], dtype=pl.String)
            codes = np.where(coded.codes < 0, len(coded.values), coded.codes)[place]
            columns.append(texts.gather(codes).alias(f"slice:{dimension}"))
    return pl.DataFrame(columns)


def _decisions(pair: Pair, threshold: float | None) -> tuple[Flags, Flags, Flags]:
    """Returns labels and both models' decisions, [rows] each."""
    if pair.how != "rows" or pair.candidate.rows is None:
        raise UsageError("Flips need the rows of both models, paired.")
    if pair.candidate.settings.task != "binary" or pair.candidate.rows.rows.label is None:
        raise UsageError("Flips are of decisions: labels must be binary.")
    label = pair.candidate.rows.rows.label == 1
    return label, decided(pair.baseline, threshold), decided(pair.candidate, threshold)


def decided(evaluation: Evaluation, threshold: float | None) -> Flags:
    """Returns a model's decision of each row: its prediction where there is one and no threshold is given.

    Raises:
        ConfigError: scores lie outside [0, 1] and no threshold is given, or there are only predictions to threshold.
    """
    if evaluation.rows is None:
        raise UsageError("no rows are kept")
    rows = evaluation.rows.rows
    if threshold is None and rows.prediction is not None:
        return np.asarray(rows.prediction == 1)
    if rows.score is None:
        raise ConfigError(f"{evaluation.model} has predictions only; a threshold needs scores.")
    if threshold is None and not rows.probabilities:
        raise ConfigError(f"Scores of {evaluation.model} lie outside [0, 1]: give a threshold.")
    bound = rows.score.dtype.type(0.5 if threshold is None else threshold)
    return np.asarray(rows.score > bound if evaluation.settings.strict else rows.score >= bound)
