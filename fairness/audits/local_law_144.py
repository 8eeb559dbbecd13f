"""The bias audit of New York City's Local Law 144 of 2021, on automated employment decision tools.

Selection rates, or scoring rates where a tool gives scores, of each sex, each race or ethnicity and each of their
crosses, and their impact ratios, with all that is to be published beside them.
Source: Rules of the City of New York, title 6, chapter 5, subchapter T, sections 5-300 to 5-304.

>>> counts = {"sex": [("male", 50, 92), ("female", 34, 76)]}
>>> found = audit_counts(counts, scored=True, date="2023-05-01", data_source="last year's tests")
>>> found.categories["impact_ratio"].round(4).to_list()
[1.0, 0.8232]
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from evalkit.errors import ConfigError, DataError, listing, nearest
from evalkit.fairness.audits.applicants import Counts, checked, counted
from evalkit.fairness.audits.audit import Audit, Table, day, joined, share, source_said

if TYPE_CHECKING:
    import polars as pl

MOST_EXCLUDED = 0.02
Kind = Literal["historical", "test"]
_UNTESTED = (
    "Whether a ratio is more than chance: the law asks for ratios and sets no limit; the four-fifths audit tests them.",
    "Whether the auditor is independent, as the law demands; this computes what one publishes.",
)
_TITLES = {"sex": "Sex categories", "race": "Race / ethnicity categories", "sex x race": "Intersectional categories"}


@dataclass(frozen=True)
class LocalLaw144:
    """The results that are to be published.

    Attributes:
        scored: whether rates are scoring rates: the share of a category whose score is above the sample's median.
        categories: `dimension` (sex, race, or both joined by ` x `), `category`, `applicants`, their `share` of the
            data (of those whose category is known), `selected` (or above the median), `rate`, `impact_ratio` and
            `excluded`; an impact ratio is missing where the category is left out or holds nobody, or where nobody was
            selected.
        titles: of the dimensions.
        unknown: of each dimension, the individuals whose category is not known; they are in no row of it.
        applicants: how many individuals there were.
        median: the median score of all; None of selections.
        date: of the audit.
        data_source: where the data come from, and what they are.
        kind: `historical` data, of the tool's use, or `test` data.
        explanation: of test data: why no historical data were used, and how the test data were made.
        justification: why categories of less than 2% are left out; None where none are.
        tool: what was audited.
        distributed: the distribution date, when the employer began to use the tool; None where that was not said.
    """

    scored: bool
    categories: pl.DataFrame
    titles: Mapping[str, str]
    unknown: Mapping[str, int]
    applicants: int
    median: float | None
    date: dt.date
    data_source: str
    kind: Kind
    explanation: str | None
    justification: str | None
    tool: str
    distributed: dt.date | None

    @property
    def audit(self) -> Audit:
        """The audit, ready to be read, saved and shown."""
        return Audit(
            standard="ll144",
            title=f"Bias audit under Local Law 144{f' of {self.tool}' if self.tool else ''}",
            facts=dict(_facts(self)),
            findings=tuple(_findings(self)),
            tables=tuple(_table(self, dimension) for dimension in self.dimensions),
            too_few=tuple(_too_few(self)),
            untested=_UNTESTED,
            notes=(_reading(scored=self.scored),),
            values=self.values,
        )

    @property
    def dimensions(self) -> list[str]:
        """The dimensions, in order."""
        return [str(name) for name in self.categories["dimension"].unique(maintain_order=True)]

    @property
    def values(self) -> dict[str, Any]:
        """Everything as plain values, numbers unrounded."""
        return {
            "tool": self.tool,
            "date": self.date.isoformat(),
            "distributed": None if self.distributed is None else self.distributed.isoformat(),
            "data_source": self.data_source,
            "data_kind": self.kind,
            "explanation": self.explanation,
            "rate": "scoring" if self.scored else "selection",
            "median": self.median,
            "applicants": self.applicants,
            "unknown": dict(self.unknown),
            "justification": self.justification,
            "categories": self.categories.to_dicts(),
        }

    def to_dict(self) -> dict[str, Any]:
        """Returns values and findings."""
        return self.audit.to_dict()

    def to_json(self) -> str:
        """Returns `to_dict` as JSON."""
        return self.audit.to_json()

    def to_markdown(self) -> str:
        """Returns a section for people."""
        return self.audit.to_markdown()


# --- what is said of them ---


def _facts(found: LocalLaw144) -> Iterator[tuple[str, str]]:
    if found.tool:
        yield "Tool", found.tool
    yield "Date of the audit", found.date.isoformat()
    said = "not stated" if found.distributed is None else found.distributed.isoformat()
    yield "Distribution date (the tool was first used)", said
    yield "Data", f"{found.data_source} ({found.kind} data)"
    if found.explanation:
        yield "Why not historical data, and how the test data were made", found.explanation
    yield "Individuals assessed", f"{found.applicants:,}"
    for dimension, number in found.unknown.items():
        yield f"Of unknown {dimension}", f"{number:,}"
    if found.median is not None:
        yield "Median score of the sample", f"{found.median:g}"
    if found.justification is not None:
        yield "Left out of impact ratios (less than 2% of the data)", found.justification


def _findings(found: LocalLaw144) -> Iterator[str]:
    for dimension in found.dimensions:
        yield _lowest(found, dimension)
    if found.distributed is None:
        yield (
            "Not ready to be published: the distribution date, on which the employer began to use the tool, must stand "
            "beside these results (section 5-303)."
        )
    until = _a_year_after(found.date).isoformat()
    yield f"A tool may be used within a year of its audit: on this one until {until} (section 5-301)."


def _lowest(found: LocalLaw144, dimension: str) -> str:
    """Returns a sentence on a dimension's lowest impact ratio."""
    own = found.categories.filter(dimension=dimension).drop_nulls("impact_ratio")
    if not own.height:
        return f"{dimension}: nobody {'scored above the median' if found.scored else 'was selected'}; no impact ratio."
    low = own.row(int(own["impact_ratio"].arg_min() or 0), named=True)
    high = own.row(int(own["impact_ratio"].arg_max() or 0), named=True)
    return (
        f"{dimension}: the lowest impact ratio is {low['impact_ratio']:.3f}, of {_of(low)}, against {_of(high)}, the "
        f"{'highest scoring' if found.scored else 'most selected'} category."
    )


def _of(row: Mapping[str, Any]) -> str:
    return f"{row['category']} ({row['selected']:,} of {row['applicants']:,})"


def _too_few(found: LocalLaw144) -> Iterator[str]:
    """Says which categories of less than 2% are in the impact ratios all the same."""
    for dimension in found.dimensions:
        own = found.categories.filter(dimension=dimension, excluded=False)
        small = [row["category"] for row in own.to_dicts() if row["share"] < MOST_EXCLUDED]
        if small:
            words = ("holds", "is", "its ratio rests") if len(small) == 1 else ("hold", "are", "their ratios rest")
            yield (
                f"{dimension}: {joined(small)} {words[0]} less than 2% of the data and {words[1]} not left out; "
                f"{words[2]} on few people."
            )


def _reading(*, scored: bool) -> str:
    if scored:
        return (
            "Scoring rate: the share of a category's individuals whose score is above the median score of the full "
            "sample. Impact ratio: a category's scoring rate over that of the highest scoring category, from unrounded "
            "rates. Source: Rules of the City of New York, title 6, sections 5-300 to 5-304."
        )
    return (
        "Selection rate: the share of a category's individuals who were selected to move forward, or assigned a "
        "classification. Impact ratio: a category's selection rate over that of the most selected category, from "
        "unrounded rates. Source: Rules of the City of New York, title 6, sections 5-300 to 5-304."
    )


def _table(found: LocalLaw144, dimension: str) -> Table:
    chosen, rate = ("Above the median", "Scoring rate") if found.scored else ("Selected", "Selection rate")
    rows = tuple(_row(row) for row in found.categories.filter(dimension=dimension).iter_rows(named=True))
    note = ""
    if dimension in found.unknown:
        note = f"{found.unknown[dimension]:,} applicants with an unknown category are not in this table."
    title = found.titles.get(dimension, dimension)
    return Table(title, ("Category", "Applicants", chosen, rate, "Impact ratio"), rows, note=note)


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    ratio = "left out" if row["excluded"] else "" if row["impact_ratio"] is None else f"{row['impact_ratio']:.3f}"
    return str(row["category"]), f"{row['applicants']:,}", f"{row['selected']:,}", share(row["rate"]), ratio


def _a_year_after(date: dt.date) -> dt.date:
    """Returns the same day a year later, of February 29th the 28th.

    >>> _a_year_after(dt.date(2024, 2, 29))
    datetime.date(2025, 2, 28)
    """
    leap = (date.month, date.day) == (2, 29)
    return date.replace(year=date.year + 1, day=28 if leap else date.day)


# --- how they are computed ---


def audit_rows(
    data: Any,
    *,
    sex: str,
    race: str,
    date: str | dt.date,
    data_source: str,
    selected: str | None = None,
    score: str | None = None,
    unknown: Iterable[str] = (),
    kind: str = "historical",
    explanation: str | None = None,
    exclude: Iterable[str] = (),
    exclude_small: bool = False,
    justification: str | None = None,
    tool: str = "",
    distributed: str | dt.date | None = None,
) -> LocalLaw144:
    """Audits rows, one for each applicant.

    A tool that classifies people into several groups is audited for each group, with a column that tells who is in it.

    Args:
        data: as `ek.evaluate` takes it.
        sex: the column of sexes.
        race: the column of races and ethnicities.
        date: of the audit, as YYYY-MM-DD.
        data_source: where the data come from, and what they are.
        selected: the column that tells who was selected, of true and false or of 1 and 0.
        score: instead the column of scores.
        unknown: what stands for an unknown category, besides missing and empty values and the word `unknown`.
        kind: `historical` data, of the tool's use, or `test` data.
        explanation: of test data: why no historical data were used, and how the test data were made.
        exclude: categories of less than 2% to leave out of impact ratios, such as `Native American`,
            `female x Native American`, or `race=other` where several dimensions have that category.
        exclude_small: leave out all categories of less than 2%.
        justification: why.
        tool: what is audited.
        distributed: when the employer began to use the tool, as YYYY-MM-DD.

    Raises:
        ColumnError: a column is not there.
        ConfigError: a setting cannot hold, such as a category to leave out that holds 2% or more.
        DataError: selections or scores are missing or no such thing.
    """
    if sex == race:
        raise ConfigError(f"Sex and race / ethnicity are two columns; both are {sex}.")
    found = counted(data, [(sex,), (race,), (sex, race)], selected=selected, score=score, unknown=unknown)
    names = [attribute.name for attribute in found.attributes]
    return audit_counts(
        {attribute.name: attribute.counts for attribute in found.attributes},
        scored=score is not None,
        date=date,
        data_source=data_source,
        unknown={attribute.name: attribute.unknown for attribute in found.attributes},
        titles=dict(zip(names, _TITLES.values(), strict=True)),
        kind=kind,
        explanation=explanation,
        exclude=exclude,
        exclude_small=exclude_small,
        justification=justification,
        applicants=found.applicants,
        median=found.median,
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
    titles: Mapping[str, str] | None = None,
    kind: str = "historical",
    explanation: str | None = None,
    exclude: Iterable[str] = (),
    exclude_small: bool = False,
    justification: str | None = None,
    applicants: int | None = None,
    median: float | None = None,
    tool: str = "",
    distributed: str | dt.date | None = None,
) -> LocalLaw144:
    """Audits counts that are known already.

    Args:
        counts: of each dimension, such as `sex`, the categories with the number selected, or above the median score,
            and the number of applicants.
        scored: whether these are scores.
        date: of the audit, as YYYY-MM-DD.
        data_source: where the data come from, and what they are.
        unknown: of each dimension, the applicants whose category is not known.
        titles: of the dimensions.
        kind: `historical` data, of the tool's use, or `test` data.
        explanation: of test data: why no historical data were used, and how the test data were made.
        exclude: categories of less than 2% to leave out of impact ratios, or `dimension=category`.
        exclude_small: leave out all categories of less than 2%.
        justification: why.
        applicants: how many there were; None: those of the dimension that holds most, and its unknown ones. A dimension
            may hold fewer, where categories are not shown.
        median: the median score.
        tool: what is audited.
        distributed: when the employer began to use the tool, as YYYY-MM-DD.

    Raises:
        ConfigError: a setting cannot hold.
        DataError: counts are negative, or more are selected than there are.
    """
    checked(counts)
    unknown = {} if unknown is None else dict(unknown)
    everyone = _everyone(counts, unknown, applicants)
    source = source_said(data_source)
    left_out = _left_out(counts, unknown, everyone, exclude, small=exclude_small)
    _justified(left_out, justification, asked=exclude_small)
    return LocalLaw144(
        scored=scored,
        categories=_categories(counts, unknown, everyone, left_out),
        titles={**_TITLES, **(titles or {})},
        unknown=unknown,
        applicants=everyone,
        median=median,
        date=day("date", date),
        data_source=source,
        kind=_kind(kind, explanation),
        explanation=explanation or None,
        justification=justification if left_out else None,
        tool=tool,
        distributed=None if distributed is None else day("distributed", distributed),
    )


def _everyone(counts: Mapping[str, Counts], unknown: Mapping[str, int], applicants: int | None) -> int:
    """Returns how many individuals there were."""
    for dimension, number in unknown.items():
        if dimension not in counts:
            raise ConfigError(f'unknown names "{dimension}", which is not counted.{nearest(dimension, counts)}')
        if number < 0:
            raise DataError(f"{dimension}: {number:,} applicants of unknown category cannot be.")
    total = {d: sum(n for _, _, n in of) + unknown.get(d, 0) for d, of in counts.items()}
    everyone = max(total.values(), default=0) if applicants is None else applicants
    if not everyone:
        raise DataError("There are no applicants.")
    for dimension, number in total.items():
        if number > everyone:
            raise DataError(f"{dimension} counts {number:,} applicants, more than the {everyone:,} that there are.")
    return everyone


def _left_out(
    counts: Mapping[str, Counts], unknown: Mapping[str, int], everyone: int, exclude: Iterable[str], *, small: bool
) -> set[tuple[str, str]]:
    """Returns the dimension and name of each category that is left out of impact ratios."""
    shares = {(d, c): n / max(everyone - unknown.get(d, 0), 1) for d, of in counts.items() for c, _, n in of}
    found = {place for place, held in shares.items() if small and held < MOST_EXCLUDED}
    for name in dict.fromkeys(exclude):
        meant = [place for place in shares if name in (place[1], "=".join(place))]
        if not meant:
            known = list(dict.fromkeys(category for _, category in shares))
            words = f"{nearest(name, known)} Categories: {listing(known)}."
            raise ConfigError(f'There is no category "{name}" to leave out.{words}')
        for dimension, category in meant:
            if shares[dimension, category] >= MOST_EXCLUDED:
                raise ConfigError(
                    f"{category} holds {shares[dimension, category]:.1%} of the data ({dimension}); only less than 2% "
                    "may be left out."
                )
        found.update(meant)
    return found


def _justified(left_out: set[tuple[str, str]], justification: str | None, *, asked: bool) -> None:
    said = bool(justification and justification.strip())
    if left_out and not said:
        raise ConfigError(
            f"Categories that are left out ({listing(sorted(c for _, c in left_out), 5)}) need a justification."
        )
    if said and not left_out and not asked:
        raise ConfigError("A justification needs categories that are left out, and none are.")


def _kind(kind: str, explanation: str | None) -> Kind:
    for known in get_args(Kind):
        if kind == known:
            said = bool(explanation and explanation.strip())
            if known == "test" and not said:
                raise ConfigError(
                    "An audit of test data says why no historical data were used and how the test data were made: "
                    "give an explanation."
                )
            if known == "historical" and said:
                raise ConfigError("An explanation is for test data; the kind of these data is historical.")
            return known
    raise ConfigError(f"Data are historical or test, not {kind!r}.")


def _categories(
    counts: Mapping[str, Counts], unknown: Mapping[str, int], everyone: int, left_out: set[tuple[str, str]]
) -> pl.DataFrame:
    import polars as pl

    rows = []
    for dimension, of in counts.items():
        out = {category for known, category in left_out if known == dimension}
        rows += [(dimension, *row) for row in _rates(of, everyone - unknown.get(dimension, 0), out)]
    types = {"dimension": pl.String, "category": pl.String, "applicants": pl.Int64, "share": pl.Float64}
    rest = {"selected": pl.Int64, "rate": pl.Float64, "impact_ratio": pl.Float64, "excluded": pl.Boolean}
    return pl.DataFrame(rows, schema={**types, **rest}, orient="row")


def _rates(counts: Sequence[tuple[str, int, int]], known: int, left_out: set[str]) -> Iterator[tuple[Any, ...]]:
    """Yields a row for each category; impact ratios are of unrounded rates."""
    rates = {c: s / n for c, s, n in counts if n}
    highest = max((rate for category, rate in rates.items() if category not in left_out), default=0.0)
    for category, selected, applicants in counts:
        rate, excluded = rates.get(category), category in left_out
        ratio = None if rate is None or excluded or highest == 0 else rate / highest
        yield category, applicants, applicants / known if known else 0.0, selected, rate, ratio, excluded
