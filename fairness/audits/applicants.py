"""Who was selected, by group: what every audit of selections counts.

>>> people = {"sex": ["f", "f", "m", "m", "unknown"], "hired": [1, 0, 1, 1, 0]}
>>> found = counted(people, [("sex",)], selected="hired")
>>> found.attributes[0].counts, found.attributes[0].unknown, found.applicants
((('f', 1, 2), ('m', 2, 2)), 1, 5)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.errors import ConfigError, DataError, listing, nearest

if TYPE_CHECKING:
    import polars as pl

CROSS = " x "
MOST_GROUPS = 200
Counts = Sequence[tuple[str, int, int]]


@dataclass(frozen=True)
class Attribute:
    """The applicants by one attribute, or by a cross of attributes.

    Attributes:
        name: its columns, joined by ` x `.
        counts: of each group its name, the number selected and the number of applicants.
        unknown: applicants whose group is not known; they are in no group.
    """

    name: str
    counts: tuple[tuple[str, int, int], ...]
    unknown: int


@dataclass(frozen=True)
class Applicants:
    """Applicants counted by attributes.

    Attributes:
        attributes: in the order asked for.
        applicants: how many there are, whether their groups are known or not.
        median: the median score of all, where being above it counts as selected; else None.
    """

    attributes: tuple[Attribute, ...]
    applicants: int
    median: float | None


def counted(
    data: Any,
    attributes: Sequence[tuple[str, ...]],
    *,
    selected: str | None = None,
    score: str | None = None,
    threshold: float | None = None,
    unknown: Iterable[str] = (),
) -> Applicants:
    """Counts applicants and those selected, by attributes and crosses of them.

    Args:
        data: as `ek.evaluate` takes it, a row for each applicant.
        attributes: the columns of each attribute: one, or several for a cross.
        selected: the column that tells who was selected, of true and false or of 1 and 0.
        score: instead the column of scores.
        threshold: the lowest score that is selected; None: scores above the median of all.
        unknown: what stands for a group that is not known, besides missing and empty values and the word `unknown`.

    Raises:
        ColumnError: a column is not there.
        ConfigError: both or neither of selected and score, or a name for unknown that no column holds.
        DataError: selections or scores are missing or no such thing, or nobody's group is known.
    """
    import polars as pl

    from evalkit import table

    if (selected is None) == (score is None):
        raise ConfigError("Name either the column of selections or the column of scores.")
    if threshold is not None and score is None:
        raise ConfigError("A threshold is for scores; selections need none.")
    outcome = str(selected if score is None else score)
    columns = list(dict.fromkeys(name for attribute in attributes for name in attribute))
    if outcome in columns:
        raise ConfigError(f"{outcome} cannot be both an attribute of people and what is decided on them.")
    rows = table.read(data, [*columns, outcome])
    chosen, median = _scored(rows[outcome], threshold) if score is not None else (_selected(rows[outcome]), None)
    groups = [_text(rows[name]) for name in columns]
    names = _unknown_names(groups, [str(name) for name in unknown])
    frame = pl.DataFrame([_known(column, names) for column in groups])
    found = [_attribute(frame, attribute, chosen) for attribute in attributes]
    return Applicants(tuple(found), rows.height, median)


def _attribute(frame: pl.DataFrame, columns: tuple[str, ...], chosen: pl.Series) -> Attribute:
    import polars as pl

    name = CROSS.join(columns)
    group = pl.concat_str(*columns, separator=CROSS)  # null where one of them is
    held = frame.select(group=group).with_columns(chosen=chosen).drop_nulls("group")
    if not held.height:
        raise DataError(f"{name} is known of nobody.")
    counts = held.group_by("group").agg(pl.col("chosen").sum(), pl.len()).sort("group")
    return Attribute(name, tuple(counts.iter_rows()), frame.height - held.height)


def _text(column: pl.Series) -> pl.Series:
    """Returns groups as text without blanks around it."""
    import polars as pl

    if column.dtype.is_nested():
        raise DataError(f"{column.name} must hold one group for each applicant; it holds {column.dtype}.")
    text = column.cast(pl.String).str.strip_chars()
    if text.n_unique() > MOST_GROUPS:
        raise DataError(f"{column.name} has {text.n_unique():,} values, too many to be groups of people.")
    return text


def _unknown_names(columns: Sequence[pl.Series], names: Sequence[str]) -> set[str]:
    """Returns what stands for unknown, lower case; a name that no column holds is a misspelling."""
    held = {value for column in columns for value in column.unique() if value is not None} if names else set()
    lowered = {value.casefold() for value in held}
    for name in names:
        if name.strip().casefold() not in lowered:
            raise ConfigError(
                f'No applicant has the value "{name}", which is to stand for unknown.{nearest(name, held)} '
                f"Values: {listing(sorted(held))}."
            )
    return {name.strip().casefold() for name in ("unknown", *names)}


def _known(column: pl.Series, unknown: set[str]) -> pl.Series:
    """Returns groups, null where they are not known."""
    import polars as pl

    odd = [value for value in column.unique() if value is not None and (not value or value.casefold() in unknown)]
    kept = pl.when(pl.col(column.name).is_in(odd)).then(None).otherwise(pl.col(column.name))
    return column.to_frame().select(kept.alias(column.name)).to_series()


def _numbers(outcome: pl.Series, words: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    if outcome.null_count():
        raise DataError(f"{outcome.name} has {outcome.null_count():,} missing values.")
    if not outcome.dtype.is_numeric() and str(outcome.dtype) != "Boolean":
        raise DataError(
            f"{outcome.name} must hold {words}; it holds {listing(outcome.unique(maintain_order=True), 5)}."
        )
    return outcome.to_numpy().astype(np.float64)


def _selected(outcome: pl.Series) -> pl.Series:
    import polars as pl

    words = "true and false, or 1 and 0"
    values = _numbers(outcome, words)
    odd = values[~np.isin(values, (0, 1))]
    if len(odd):
        raise DataError(f"{outcome.name} must hold {words}; it holds {odd[0]:g}.")
    return pl.Series("chosen", values == 1)


def _scored(outcome: pl.Series, threshold: float | None) -> tuple[pl.Series, float | None]:
    """Returns who scored above the median of all, or at least the threshold, and the median."""
    import polars as pl

    values = _numbers(outcome, "scores")
    if not np.isfinite(values).all():
        raise DataError(f"{outcome.name} must hold finite scores.")
    if threshold is not None:
        if not np.isfinite(threshold):
            raise ConfigError(f"A threshold is a finite number, not {threshold!r}.")
        return pl.Series("chosen", values >= threshold), None
    median = float(np.median(values))
    return pl.Series("chosen", values > median), median


def checked(counts: Mapping[str, Counts]) -> None:
    """Raises DataError where counts cannot be.

    >>> checked({"sex": [("f", 5, 4)]})
    Traceback (most recent call last):
    evalkit.errors.DataError: f: 5 of 4 applicants cannot be.
    """
    for attribute, of in counts.items():
        names = [name for name, _, _ in of]
        for name, selected, applicants in of:
            if not 0 <= selected <= applicants:
                raise DataError(f"{name}: {selected:,} of {applicants:,} applicants cannot be.")
            if names.count(name) > 1:
                raise DataError(f"{attribute} names {name} more than once.")
