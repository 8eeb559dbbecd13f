"""The four-fifths rule, and what of it these counts can show.

The Uniform Guidelines on Employee Selection Procedures take a group's selection rate below four fifths of the highest
group's as evidence of adverse impact. With few people that happens by chance: of ten groups of 50 that are all selected
at a rate of .5, some group is below four fifths of another in 98% of samples. So each ratio comes with bounds that hold
for all pairs of groups at once, whichever group is highest, and each group is shown under .8, shown at or over .8, or
neither.

Source: 29 CFR 1607.4 D and the agencies' Questions and Answers 16 and 21, 44 FR 11996 (1979).

>>> found = four_fifths_counts({"sex": [("f", 40, 100), ("m", 80, 100)]}, date="2026-05-01", data_source="all of 2025")
>>> found.groups.select("group", "ratio", "low", "high", "claim").row(0)
('f', 0.5, 0.380..., 0.639..., 'shown under .8')
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.errors import ConfigError, DataError
from evalkit.fairness.audits.applicants import MOST_GROUPS, Counts, checked, counted
from evalkit.fairness.audits.audit import Audit, day, source_said
from evalkit.fairness.audits.pair_ratios import pair_ratios
from evalkit.fairness.statistics.gaps import rate_gap
from evalkit.fairness.statistics.simultaneous import tukey_critical
from evalkit.fairness.statistics.two_rates import koopman

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

LEAST_SHARE = 0.02
UNDER, OVER, OPEN = "shown under .8", "shown at or over .8", "not known"
TOO_FEW, SMALL = "too few applicants", "too small a share"
NOBODY, ALONE = "nobody was selected", "no other group"
_DRAWS = 10_000
_FIFTHS = 0.8


@dataclass(frozen=True)
class FourFifths:
    """The four-fifths rule of each attribute, with what can be shown.

    Attributes:
        groups: a row for each group: `attribute`, `group`, `applicants`, `share` (of those whose group is known),
            `selected`, `rate`, `claim`; and of those compared `reference` (the group with the highest observed rate),
            `ratio` (to it), `low` and `high` (bounds of the true rate over the truly highest rate), `under` (whether
            the observed ratio is under four fifths: the bare rule), `standard_deviations` (by which the rate lies below
            the reference's), `fisher_p` (two-sided, against the reference), `p_adjusted` (for the reference being
            chosen among all pairs), `one_person` (whether one selection more, and one fewer of the reference, would
            turn the order), `short` (selections lacking for four fifths) and `shows_from` (the highest observed ratio
            that would be shown under .8; missing where none would).
        attributes: a row for each attribute: `attribute`, `applicants`, `unknown`, `groups` (compared), `p_value` (of
            equal rates, Pearson's chi-square) and `by_chance` (how often groups of these sizes, all selected at one
            rate, break the bare rule).
        applicants: how many there were.
        level: the confidence that all bounds of an attribute hold.
        least_share: groups with a lower share of the applicants are not compared.
        date: of the audit.
        data_source: where the data come from, and what they are.
        tool: what was audited.
        selected: what counts as selected, in words.
    """

    groups: pl.DataFrame
    attributes: pl.DataFrame
    applicants: int
    level: float
    least_share: float
    date: dt.date
    data_source: str
    tool: str
    selected: str

    @property
    def audit(self) -> Audit:
        """The audit, ready to be read, saved and shown."""
        from evalkit.fairness.audits.four_fifths_text import written

        return written(self)

    @property
    def values(self) -> dict[str, Any]:
        """Everything as plain values, numbers unrounded."""
        return {
            "tool": self.tool,
            "date": self.date.isoformat(),
            "data_source": self.data_source,
            "selected": self.selected,
            "applicants": self.applicants,
            "level": self.level,
            "least_share": self.least_share,
            "attributes": self.attributes.to_dicts(),
            "groups": self.groups.to_dicts(),
        }


def four_fifths(
    data: Any,
    *,
    protected: Sequence[str | Sequence[str]],
    date: str | dt.date,
    data_source: str,
    selected: str | None = None,
    score: str | None = None,
    threshold: float | None = None,
    unknown: Iterable[str] = (),
    level: float = 0.95,
    least_share: float = LEAST_SHARE,
    tool: str = "",
) -> FourFifths:
    """Holds rows, one for each applicant, against the four-fifths rule.

    Args:
        data: as `ek.evaluate` takes it.
        protected: attributes: a column, or several for their intersection.
        date: of the audit, as YYYY-MM-DD.
        data_source: where the data come from, and what they are.
        selected: the column that tells who was selected, of true and false or of 1 and 0.
        score: instead the column of scores.
        threshold: the lowest score that is selected.
        unknown: what stands for an unknown group, besides missing and empty values and the word `unknown`.
        level: the confidence that all bounds of an attribute hold.
        least_share: groups with a lower share of the applicants are listed and not compared.
        tool: what is audited.

    Raises:
        ColumnError: a column is not there.
        ConfigError: a setting cannot hold.
        DataError: selections or scores are missing or no such thing.
    """
    crosses = list(dict.fromkeys((p,) if isinstance(p, str) else tuple(p) for p in protected))
    if not crosses:
        raise ConfigError("Name the protected attributes, such as protected=['sex', 'race', ['sex', 'race']].")
    if score is not None and threshold is None:
        raise ConfigError("The four-fifths rule is about who is selected: give the lowest score that is, as threshold.")
    found = counted(data, crosses, selected=selected, score=score, threshold=threshold, unknown=unknown)
    return four_fifths_counts(
        {attribute.name: attribute.counts for attribute in found.attributes},
        unknown={attribute.name: attribute.unknown for attribute in found.attributes},
        applicants=found.applicants,
        date=date,
        data_source=data_source,
        level=level,
        least_share=least_share,
        tool=tool,
        selected=selected if score is None else f"{score} of at least {threshold:g}",
    )


def four_fifths_counts(
    counts: Mapping[str, Counts],
    *,
    date: str | dt.date,
    data_source: str,
    unknown: Mapping[str, int] | None = None,
    applicants: int | None = None,
    level: float = 0.95,
    least_share: float = LEAST_SHARE,
    tool: str = "",
    selected: str | None = None,
) -> FourFifths:
    """Holds counts that are known already against the four-fifths rule.

    Args:
        counts: of each attribute its groups with the number selected and the number of applicants.
        date: of the audit, as YYYY-MM-DD.
        data_source: where the data come from, and what they are.
        unknown: of each attribute, the applicants whose group is not known.
        applicants: how many there were; None: those of the attribute that holds most, and its unknown ones.
        level: the confidence that all bounds of an attribute hold.
        least_share: groups with a lower share of the applicants are listed and not compared.
        tool: what is audited.
        selected: what counts as selected, in words.

    Raises:
        ConfigError: a setting cannot hold.
        DataError: counts are negative, or more are selected than there are.
    """
    import polars as pl

    checked(counts)
    if not 0 < level < 1:
        raise ConfigError(f"level must lie between 0 and 1, not {level!r}.")
    if not 0 <= least_share < 0.5:
        raise ConfigError(f"The least share of a group lies between 0 and 0.5, not {least_share!r}.")
    unknown = unknown or {}
    if not any(n for of in counts.values() for _, _, n in of):
        raise DataError("There are no applicants.")
    groups, attributes = [], []
    for name, of in counts.items():
        rows, whole = _attribute([row for row in of if row[2]], level, least_share)
        groups += [{"attribute": name, **row} for row in rows]
        attributes.append({"attribute": name, "unknown": unknown.get(name, 0), **whole})
    return FourFifths(
        groups=pl.DataFrame(groups, schema=_GROUPS),
        attributes=pl.DataFrame(attributes, schema=_ATTRIBUTES),
        applicants=max(a["applicants"] + a["unknown"] for a in attributes) if applicants is None else applicants,
        level=level,
        least_share=least_share,
        date=day("date", date),
        data_source=source_said(data_source),
        tool=tool,
        selected=selected or "",
    )


_GROUPS: dict[str, Any] = {
    "attribute": str,
    "group": str,
    "applicants": int,
    "share": float,
    "selected": int,
    "rate": float,
    "reference": str,
    "ratio": float,
    "low": float,
    "high": float,
    "under": bool,
    "claim": str,
    "standard_deviations": float,
    "fisher_p": float,
    "p_adjusted": float,
    "one_person": bool,
    "short": int,
    "shows_from": float,
}
_ATTRIBUTES: dict[str, Any] = {
    "attribute": str,
    "applicants": int,
    "unknown": int,
    "groups": int,
    "p_value": float,
    "by_chance": float,
}


def _attribute(
    counts: Sequence[tuple[str, int, int]], level: float, least_share: float
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Returns a row for each group, and one for all of them."""
    everyone = sum(n for _, _, n in counts)
    rows: list[dict[str, Any]] = [
        {"group": g, "applicants": n, "share": n / everyone, "selected": s, "rate": s / n, "claim": SMALL}
        for g, s, n in counts
    ]
    held = [row for row in rows if row["share"] >= least_share]
    x = np.array([row["selected"] for row in held], dtype=np.int64)
    n = np.array([row["applicants"] for row in held], dtype=np.int64)
    whole: dict[str, Any] = {"applicants": everyone, "groups": len(held), "p_value": None, "by_chance": None}
    if len(held) > MOST_GROUPS:
        raise DataError(
            f"{len(held):,} groups are too many to compare, more than {MOST_GROUPS}: raise the least share."
        )
    if len(held) < 2 or not x.any():
        for row in held:
            row["claim"] = NOBODY if len(held) > 1 else ALONE
        return rows, whole
    best = max(range(len(held)), key=lambda i: (x[i] / n[i], n[i]))
    names = [str(row["group"]) for row in held]
    for row, own in zip(held, _compared(x, n, best, level), strict=True):
        row |= {"reference": names[best], **own}
    gap = rate_gap(x, n)
    return rows, {**whole, "p_value": float(gap.p_value), "by_chance": by_chance(n, float(x.sum() / n.sum()))}


def _compared(x: Integers, n: Integers, best: int, level: float) -> list[dict[str, Any]]:
    """Returns what is known of each group's rate over the highest."""
    z = tukey_critical(len(x), level)
    low_of_pair = pair_ratios(x, n, level=level)
    # The rate over the highest is the least of a group's ratios to all groups, so bounds of all pairs bound it,
    # whichever group is truly highest.
    low = low_of_pair.min(axis=1)
    high = 1 / low_of_pair.max(axis=0)
    most = _most_shown_under(x, n, z)
    rate = x / n
    pairs = len(x) * (len(x) - 1) // 2
    found = []
    for i in range(len(x)):
        shown = {
            "ratio": float(rate[i] / rate[best]),
            "low": float(low[i]),
            "high": float(high[i]),
            "claim": _claim(float(low[i]), float(high[i]), few=most[i] < 0),
        }
        found.append(shown | _against(x, n, i, best))
        if i != best:
            p = _fisher(x, n, i, best)
            shows = None if most[i] < 0 else float(most[i] / n[i] / rate[best])
            found[-1] |= {"fisher_p": p, "p_adjusted": min(1.0, p * pairs), "shows_from": shows}
    return found


def _against(x: Integers, n: Integers, i: int, best: int) -> dict[str, Any]:
    """Returns what is counted of a group against the highest, in whole numbers."""
    own, size, highest, its = int(x[i]), int(n[i]), int(x[best]), int(n[best])
    counts: dict[str, Any] = {
        "under": 5 * own * its < 4 * highest * size,
        "short": max(0, -(-4 * highest * size // (5 * its)) - own),
    }
    if i != best:
        counts["one_person"] = (own + 1) * its > (highest - 1) * size
        counts["standard_deviations"] = _standard_deviations(own, size, highest, its)
    return counts


def _claim(low: float, high: float, *, few: bool) -> str:
    if high < _FIFTHS:
        return UNDER
    if low >= _FIFTHS:
        return OVER
    return TOO_FEW if few else OPEN


def _fisher(x: Integers, n: Integers, i: int, best: int) -> float:
    from scipy import stats

    table = np.array([[x[i], n[i] - x[i]], [x[best], n[best] - x[best]]])
    return float(stats.fisher_exact(table)[1])


def _standard_deviations(own: int, size: int, highest: int, its: int) -> float:
    """Returns by how many pooled standard errors a rate lies below the highest; 0 where both are 1."""
    pooled = (own + highest) / (size + its)
    error = float(np.sqrt(pooled * (1 - pooled) * (1 / size + 1 / its)))
    return (highest / its - own / size) / error if error > 0 else 0.0


def _most_shown_under(x: Integers, n: Integers, z: float) -> Integers:
    """Returns of each group the most selections with which it would be shown under .8 of another; -1: not with none.

    By halving the numbers of selections between -1 and all, against each other group.
    """
    size = n[:, None]
    low, high = np.full((len(n), len(n)), -1), np.broadcast_to(size, (len(n), len(n)))
    while (held := low + 1 < high).any():
        middle = (low + high) // 2
        under = koopman(x, n, np.maximum(middle, 0), size, z).low > 1 / _FIFTHS
        low, high = np.where(held & under, middle, low), np.where(held & ~under, middle, high)
    np.fill_diagonal(low, -1)
    return np.asarray(low.max(axis=1), dtype=np.int64)


def by_chance(applicants: Integers, rate: float) -> float:
    """Returns how often groups that are all selected at one rate break the bare rule: some ratio is under four fifths.

    Args:
        applicants: [groups] of each group.
        rate: of selection, the same for all.

    From 10,000 draws with a fixed seed: within .01 of the truth.

    >>> round(by_chance(np.full(10, 50), 0.5), 2)
    0.98
    """
    drawn = np.random.default_rng(144).binomial(applicants, rate, (_DRAWS, len(applicants))) / applicants
    four_fifths_of_highest = _FIFTHS * drawn.max(axis=1) * (1 - 1e-12)  # exactly four fifths is not under it
    return float(np.mean(drawn.min(axis=1) < four_fifths_of_highest))
