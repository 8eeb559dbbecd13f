"""The four-fifths audit in words and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evalkit.fairness.audits.audit import Audit, Table, Tone, joined, share
from evalkit.fairness.audits.four_fifths import ALONE, NOBODY, OPEN, OVER, SMALL, TOO_FEW, UNDER, FourFifths

_SIGNIFICANT = 0.05
_TONES: Mapping[str, Tone] = {
    UNDER: "bad",
    OVER: "good",
    OPEN: "open",
    TOO_FEW: "open",
    SMALL: "open",
    NOBODY: "open",
    ALONE: "open",
}
_UNTESTED = (
    "Whether the selection is valid for the job, whether recruiting made a group's applicants atypical or discouraged "
    "some, and each step of a selection of several steps (29 CFR 1607.4 C and D)."
)
_HEADERS = (
    "Group",
    "Applicants",
    "Selected",
    "Rate",
    "Ratio [bounds]",
    "Claim",
    "SDs below",
    "p (adjusted)",
    "Lacking",
    "Shown from",
)


def written(found: FourFifths) -> Audit:
    """Returns the audit, ready to be read, saved and shown."""
    attributes = [(a, found.groups.filter(attribute=a["attribute"]).to_dicts()) for a in found.attributes.to_dicts()]
    return Audit(
        standard="four-fifths",
        title=f"Four-fifths rule{f': {found.tool}' if found.tool else ''}",
        facts=dict(_facts(found)),
        findings=tuple(sentence for a, groups in attributes for sentence in _findings(a, groups)),
        tables=tuple(_table(a, groups) for a, groups in attributes),
        too_few=tuple(sentence for a, groups in attributes for sentence in _too_few(a, groups, found)),
        untested=(_UNTESTED,),
        notes=tuple(_notes(found)),
        values=found.values,
    )


def _facts(found: FourFifths) -> Iterator[tuple[str, str]]:
    if found.tool:
        yield "Tool", found.tool
    yield "Date of the audit", found.date.isoformat()
    yield "Data", found.data_source
    if found.selected:
        yield "Counted as selected", found.selected
    yield "Applicants", f"{found.applicants:,}"
    for row in found.attributes.to_dicts():
        if row["unknown"]:
            yield f"Of unknown {row['attribute']}, in no comparison of it", f"{row['unknown']:,}"


def _findings(attribute: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    name = attribute["attribute"]
    if attribute["by_chance"] is None:
        why = "nobody was selected" if attribute["groups"] > 1 else "fewer than two groups are large enough"
        yield f"{name}: nothing can be compared, {why}."
        return
    for group in groups:
        if group["claim"] == UNDER:
            yield f"{name}: {_ratio(group)} is shown to be under four fifths of the highest rate."
    over = [group["group"] for group in groups if group["claim"] == OVER]
    if over:
        yield f"{name}: {joined(over)} {_are(over)} shown to be selected at four fifths of the highest rate or more."
    open_ = [_ratio(group) if group["under"] else group["group"] for group in groups if group["claim"] == OPEN]
    if open_:
        yield f"{name}: not known, in either direction, of {joined(open_)}."
    yield _bare(attribute, groups)
    yield from _smaller(name, groups)


def _bare(attribute: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> str:
    """Says what the bare rule says, how often chance alone says so, and where one person decides."""
    broken = [group for group in groups if group["under"]]
    names = [group["group"] for group in broken]
    said = f"is broken by {joined(names)}" if broken else "is kept by all groups"
    words = (
        f"{attribute['attribute']}: the bare rule, observed ratios without bounds, {said}; with groups of these "
        f"sizes, all selected at one rate, chance alone breaks it in {attribute['by_chance']:.0%} of samples."
    )
    one = [group["group"] for group in broken if group["one_person"]]
    if one:
        words += (
            f" One person selected instead of another would turn the order of {joined(one)} and the highest group: too "
            "small a difference to act on (Questions and Answers 21)."
        )
    return words


def _smaller(name: str, groups: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Names groups within the bare rule whose rates differ all the same."""
    differ = [
        _ratio(group)
        for group in groups
        if group["under"] is False and (group["p_adjusted"] is not None and group["p_adjusted"] < _SIGNIFICANT)
    ]
    if differ:
        yield (
            f"{name}: {joined(differ)} {'keeps' if len(differ) == 1 else 'keep'} the bare rule at a rate that is shown "
            "to be lower; such a difference may be adverse impact too where it matters in practice (29 CFR 1607.4 D)."
        )


def _too_few(attribute: Mapping[str, Any], groups: Sequence[Mapping[str, Any]], found: FourFifths) -> Iterator[str]:
    few = [f"{group['group']} ({group['applicants']:,})" for group in groups if group["claim"] == TOO_FEW]
    if few:
        yield (
            f"{attribute['attribute']}: too few applicants in {joined(few)}: even with nobody selected, a ratio under "
            "four fifths would not be shown."
        )
    small = [f"{group['group']} ({group['applicants']:,})" for group in groups if group["claim"] == SMALL]
    if small:
        yield (
            f"{attribute['attribute']}: {joined(small)} {'holds' if len(small) == 1 else 'hold'} less than "
            f"{found.least_share:.0%} of the applicants and {_are(small)} not compared (Questions and Answers 16)."
        )


def _ratio(group: Mapping[str, Any]) -> str:
    """Writes a group with its ratio and bounds: `black (ratio 0.610 [0.480, 0.770])`."""
    return f"{group['group']} (ratio {group['ratio']:.3f} [{group['low']:.3f}, {group['high']:.3f}])"


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _notes(found: FourFifths) -> Iterator[str]:
    yield (
        "Ratio: a group's selection rate over the highest observed one. Bounds: of the true rate over the truly "
        f"highest; all bounds of an attribute hold together with {found.level:.0%} confidence, whichever group is "
        "highest. SDs below: standard errors below the highest rate; more than two or three is what courts and "
        "agencies call significant, of two groups named beforehand. p: Fisher's exact test against the highest group, "
        "times the number of pairs, since the data chose it. Lacking: further selections to reach four fifths. Shown "
        "from: the highest observed ratio that would be shown under .8 with so many applicants."
    )
    yield (
        f"Groups of less than {found.least_share:.0%} of the applicants are left out, as the Guidelines leave out "
        "those of less than 2% of the labor force or workforce. The Guidelines compare sexes, and races; what falls on "
        "both together shows in neither, so intersections may be compared too."
    )
    yield (
        "A ratio under four fifths is evidence, not proof; it may be chance where numbers are small, and smaller "
        "differences may matter where they are significant. Source: Uniform Guidelines on Employee Selection "
        "Procedures, 29 CFR 1607.4 D, and Questions and Answers, 44 FR 11996."
    )


def _table(attribute: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> Table:
    reference = next((group["reference"] for group in groups if group["reference"]), None)
    note = "" if reference is None else f"Highest observed rate: {reference}."
    if attribute["p_value"] is not None:
        note += f" That all rates are equal has p = {attribute['p_value']:.2g}."
    if attribute["unknown"]:
        note += f" {attribute['unknown']:,} applicants of unknown {attribute['attribute']} are not in this table."
    rows = tuple(_row(group) for group in groups)
    return Table(
        title=attribute["attribute"],
        headers=_HEADERS,
        rows=rows,
        words=frozenset({5}),
        note=note.strip(),
        tones=_TONES,
        spans=tuple(None if g["low"] is None else (g["low"], g["ratio"], g["high"]) for g in groups),
        limit=0.8,
    )


def _row(group: Mapping[str, Any]) -> tuple[str, ...]:
    def number(name: str, form: str) -> str:
        return "" if group[name] is None else format(group[name], form)

    bounds = "" if group["low"] is None else f" [{group['low']:.3f}, {group['high']:.3f}]"
    lacking = f"{group['short']:,}" if group["short"] else ""
    return (
        group["group"],
        f"{group['applicants']:,}",
        f"{group['selected']:,}",
        share(group["rate"]),
        number("ratio", ".3f") + bounds,
        group["claim"],
        number("standard_deviations", ".1f"),
        number("p_adjusted", ".2g"),
        lacking,
        number("shows_from", ".2f"),
    )
