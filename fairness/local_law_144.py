"""The bias audit of New York City's Local Law 144 of 2021, on automated employment decision tools.

Selection rates, or scoring rates where a tool gives scores, of each sex, each race or ethnicity and each of their
crosses, and their impact ratios. Source: Rules of the City of New York, title 6, chapter 5, subchapter T.

>>> counts = {"sex": [("male", 50, 92), ("female", 34, 76)]}
>>> audit = audit_counts(counts, scored=True, date="2023-05-01", data_source="last year's tests")
>>> audit.categories["impact_ratio"].round(4).to_list()
[1.0, 0.8232]
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.errors import ConfigError, DataError, listing, nearest

if TYPE_CHECKING:
    import polars as pl

MOST_EXCLUDED = 0.02
_SUM = " x "
Counts = Sequence[tuple[str, int, int]]


@dataclass(frozen=True)
class Audit:
    """The results that are to be published.

    Attributes:
        scored: whether rates are scoring rates: the share of a category whose score is above the sample's median.
        categories: `dimension` (sex, race, or both joined by ` x `), `category`, `applicants`, their `share` of
            all, `selected` (or above the median), `rate`, `impact_ratio` and `excluded`; an impact ratio is missing
            where the category is left out or holds nobody, or where nobody was selected.
        unknown: of each dimension, the applicants whose category is not known; they are in no row of it.
        applicants: how many there were.
        median: the median score; None of selections.
        date: of the audit.
        data_source: where the data come from, and what they are.
        justification: why categories of less than 2% are left out; None where none are.
        tool: what was audited.
        distributed: when the tool was first used; None where that was not said.
    """

    scored: bool
    categories: pl.DataFrame
    unknown: Mapping[str, int]
    applicants: int
    median: float | None
    date: dt.date
    data_source: str
    justification: str | None
    tool: str
    distributed: dt.date | None

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain values, numbers unrounded."""
        return {
            "standard": "ll144",
            "tool": self.tool,
            "date": self.date.isoformat(),
            "distributed": None if self.distributed is None else self.distributed.isoformat(),
            "data_source": self.data_source,
            "rate": "scoring" if self.scored else "selection",
            "median": self.median,
            "applicants": self.applicants,
            "unknown": dict(self.unknown),
            "justification": self.justification,
            "categories": self.categories.to_dicts(),
        }

    def to_json(self) -> str:
        """Returns `to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def to_markdown(self) -> str:
        """Returns a section for people."""
        rate = "Scoring rate" if self.scored else "Selection rate"
        chosen = "Above the median" if self.scored else "Selected"
        lines = [f"## Bias audit under Local Law 144{f' of {self.tool}' if self.tool else ''}", ""]
        lines += [f"- Date of the audit: {self.date.isoformat()}"]
        if self.distributed is not None:
            lines.append(f"- Date the tool was first used: {self.distributed.isoformat()}")
        lines += [f"- Data: {self.data_source}", f"- Applicants: {self.applicants:,}"]
        if self.median is not None:
            lines.append(f"- Median score of the sample: {self.median:g}")
        if self.justification is not None:
            lines.append(f"- Left out of impact ratios (less than 2% of the data): {self.justification}")
        for dimension in self.categories["dimension"].unique(maintain_order=True):
            own = self.categories.filter(dimension=dimension)
            lines += ["", f"### {dimension}", "", f"| Category | Applicants | {chosen} | {rate} | Impact ratio |"]
            lines += ["|---|---:|---:|---:|---:|", *(_row(row) for row in own.iter_rows(named=True))]
            if dimension in self.unknown:
                lines += ["", f"{self.unknown[dimension]:,} applicants with an unknown category are not in this table."]
        return "\n".join(lines) + "\n"


def _row(row: Mapping[str, Any]) -> str:
    rate = "" if row["rate"] is None else f"{row['rate']:.1%}"
    ratio = "left out" if row["excluded"] else "" if row["impact_ratio"] is None else f"{row['impact_ratio']:.3f}"
    name = str(row["category"]).replace("|", "\\|")
    return f"| {name} | {row['applicants']:,} | {row['selected']:,} | {rate} | {ratio} |"


def audit_rows(
    data: Any,
    *,
    sex: str,
    race: str,
    date: str | dt.date,
    data_source: str,
    selected: str | None = None,
    score: str | None = None,
    unknown: Iterable[str] = ("unknown",),
    exclude: Iterable[str] = (),
    justification: str | None = None,
    tool: str = "",
    distributed: str | dt.date | None = None,
) -> Audit:
    """Audits rows, one for each applicant.

    Args:
        data: as `ek.evaluate` takes it.
        sex: the column of sexes.
        race: the column of races and ethnicities.
        date: of the audit, as YYYY-MM-DD.
        data_source: where the data come from, and what they are.
        selected: the column that tells who was selected, of true and false or of 1 and 0.
        score: instead the column of scores.
        unknown: what stands for an unknown category; missing values do too.
        exclude: categories of less than 2% to leave out of impact ratios, such as `Native American` or
            `female x Native American`.
        justification: why.
        tool: what is audited.
        distributed: when the tool was first used.

    Raises:
        ColumnError: a column is not there.
        ConfigError: a setting cannot hold, such as a category to leave out that holds 2% or more.
        DataError: selections or scores are missing or no such thing.
    """
    import polars as pl

    from evalkit import table

    if (selected is None) == (score is None):
        raise ConfigError("Name either the column of selections or the column of scores.")
    outcome = selected if score is None else score
    rows = table.read(data, [sex, race, str(outcome)])
    chosen, median = _chosen(rows[str(outcome)], scored=score is not None)
    names = [str(name) for name in unknown]
    frame = pl.DataFrame({"sex": _known(rows[sex], names), "race": _known(rows[race], names), "selected": chosen})
    frame = frame.with_columns(both=pl.col("sex") + _SUM + pl.col("race"))
    dimensions = {sex: "sex", race: "race", f"{sex}{_SUM}{race}": "both"}
    counts, missing = {}, {}
    for dimension, column in dimensions.items():
        held = frame.drop_nulls(column)
        missing[dimension] = frame.height - held.height
        of_category = held.group_by(column).agg(selected=pl.col("selected").sum(), applicants=pl.len()).sort(column)
        counts[dimension] = list(of_category.iter_rows())
    return audit_counts(
        counts,
        scored=score is not None,
        date=date,
        data_source=data_source,
        unknown=missing,
        exclude=exclude,
        justification=justification,
        applicants=frame.height,
        median=median,
        tool=tool,
        distributed=distributed,
    )


def audit_counts(
    counts: Mapping[str, Counts],
    *,
    scored: bool,
    date: str | dt.date,
    data_source: str,
    unknown: Mapping[str, int] | None = None,
    exclude: Iterable[str] = (),
    justification: str | None = None,
    applicants: int | None = None,
    median: float | None = None,
    tool: str = "",
    distributed: str | dt.date | None = None,
) -> Audit:
    """Audits counts that are known already.

    Args:
        counts: of each dimension, such as `sex`, the categories with the number selected, or above the median score,
            and the number of applicants.
        scored: whether these are scores.
        date: of the audit, as YYYY-MM-DD.
        data_source: where the data come from, and what they are.
        unknown: of each dimension, the applicants whose category is not known.
        exclude: categories of less than 2% to leave out of impact ratios.
        justification: why.
        applicants: how many there were; None: those of the dimension that holds most, and its unknown ones.
        median: the median score.
        tool: what is audited.
        distributed: when the tool was first used.

    Raises:
        ConfigError: a setting cannot hold.
        DataError: counts are negative, or more are selected than there are.
    """
    import polars as pl

    unknown = {} if unknown is None else dict(unknown)
    left_out = list(dict.fromkeys(exclude))
    if not data_source.strip():
        raise ConfigError("An audit says where its data come from: data_source is empty.")
    if bool(left_out) != bool(justification):
        raise ConfigError("Categories that are left out need a justification, and a justification needs categories.")
    total = {d: sum(n for _, _, n in of) + unknown.get(d, 0) for d, of in counts.items()}
    everyone = max(total.values(), default=0) if applicants is None else applicants
    if not everyone:
        raise DataError("There are no applicants.")
    known = {category for of in counts.values() for category, _, _ in of}
    for category in left_out:
        if category not in known:
            words = f"{nearest(category, known)} Categories: {listing(sorted(known))}."
            raise ConfigError(f'There is no category "{category}" to leave out.{words}')
    rows = [row for dimension, of in counts.items() for row in _rates(dimension, of, everyone, left_out)]
    types = {"dimension": pl.String, "category": pl.String, "applicants": pl.Int64, "share": pl.Float64}
    rest = {"selected": pl.Int64, "rate": pl.Float64, "impact_ratio": pl.Float64, "excluded": pl.Boolean}
    return Audit(
        scored=scored,
        categories=pl.DataFrame(rows, schema={**types, **rest}, orient="row"),
        unknown=unknown,
        applicants=everyone,
        median=median,
        date=_date("date", date),
        data_source=data_source,
        justification=justification,
        tool=tool,
        distributed=None if distributed is None else _date("distributed", distributed),
    )


def _rates(dimension: str, counts: Counts, everyone: int, left_out: Sequence[str]) -> list[tuple[Any, ...]]:
    """Returns a row for each category; impact ratios are of unrounded rates."""
    for category, selected, applicants in counts:
        if not 0 <= selected <= applicants:
            raise DataError(f"{category}: {selected:,} of {applicants:,} applicants cannot be.")
        if category in left_out and applicants >= MOST_EXCLUDED * everyone:
            share = applicants / everyone
            raise ConfigError(f"{category} holds {share:.1%} of the data; only less than 2% may be left out.")
    rates = {c: s / n for c, s, n in counts if n}
    highest = max((rate for category, rate in rates.items() if category not in left_out), default=0.0)
    rows = []
    for category, selected, applicants in counts:
        rate, excluded = rates.get(category), category in left_out
        ratio = None if rate is None or excluded or highest == 0 else rate / highest
        rows.append((dimension, category, applicants, applicants / everyone, selected, rate, ratio, excluded))
    return rows


def _known(column: pl.Series, unknown: Sequence[str]) -> pl.Series:
    """Returns categories as text, null where they are not known."""
    import polars as pl

    text = column.cast(pl.String)
    lowered = {name.casefold() for name in unknown}
    odd = [value for value in text.unique() if value is not None and (value.casefold() in lowered or not value.strip())]
    return text.to_frame("x").select(pl.when(pl.col("x").is_in(odd)).then(None).otherwise(pl.col("x")).alias("x"))["x"]


def _chosen(outcome: pl.Series, *, scored: bool) -> tuple[pl.Series, float | None]:
    """Returns who was selected, or scored above the median."""
    if outcome.null_count():
        raise DataError(f"{outcome.name} has {outcome.null_count():,} missing values.")
    if not outcome.dtype.is_numeric() and str(outcome.dtype) != "Boolean":
        raise DataError(f"{outcome.name} must hold {'scores' if scored else 'true and false, or 1 and 0'}.")
    values = outcome.to_numpy().astype(np.float64)
    if scored:
        if not np.isfinite(values).all():
            raise DataError(f"{outcome.name} must hold finite scores.")
        median = float(np.median(values))
        return outcome.to_frame("x").with_columns(x=values > median)["x"], median
    if not np.isin(values, (0, 1)).all():
        raise DataError(f"{outcome.name} must hold true and false, or 1 and 0.")
    return outcome.to_frame("x").with_columns(x=values == 1)["x"], None


def _date(name: str, value: str | dt.date) -> dt.date:
    try:
        return value if isinstance(value, dt.date) else dt.date.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} must be a date as YYYY-MM-DD, not {value!r}.") from error
