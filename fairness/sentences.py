"""What is known of gaps between groups, in sentences.

>>> import evalkit as ek
>>> from evalkit.fairness.gap_table import gaps
>>> data = {"y": [1] * 100, "d": [1] * 30 + [0] * 20 + [1] * 15 + [0] * 35, "sex": ["f"] * 50 + ["m"] * 50}
>>> result = ek.evaluate(data, label="y", prediction="d", metrics=["recall"], slices=["sex"])
>>> print(findings(gaps(result, ["sex"]))[0])
recall differs across sex: 0.3000 in sex=m, 0.6000 in sex=f, a gap of 0.3000 [0.1051, 0.4650] (q = 0.0026).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evalkit.show import number

if TYPE_CHECKING:
    import polars as pl

    from evalkit.fairness.assessment import Assessment

_MOST = 12


def findings(gaps: pl.DataFrame, *, several: bool = False) -> list[str]:
    """Returns what is shown of gaps: those flagged by q-value, those certified, and how many are not known.

    Args:
        gaps: the table that `evalkit.fairness.gap_table.gaps` returns.
        several: whether each sentence names the model.
    """
    import polars as pl

    told = [_told(row, several) for row in gaps.filter("flagged").sort("q_value").iter_rows(named=True)]
    small = gaps.filter(pl.col("certified") & ~pl.col("flagged"))
    told += [_certified(row, several) for row in small.iter_rows(named=True)]
    open_ = gaps.filter((pl.col("status") == "ok") & ~pl.col("flagged") & ~pl.col("certified"))
    if open_.height:
        names = _listed([_name(row, several) for row in open_.iter_rows(named=True)])
        told.append(f"Not known, for the gap is neither shown nor shown to be small: {names}.")
    few = too_few(gaps)
    return [*told, few] if few else told


def too_few(gaps: pl.DataFrame) -> str:
    """Returns the sentence that names the groups with too few rows for a claim; empty where there are none."""
    groups = {text for row in gaps["left_out"] for text in row.split("; ") if text}
    return f"Too few rows for a claim in one metric or more: {_listed(sorted(groups))}." if groups else ""


def _name(row: dict[str, Any], several: bool) -> str:
    level = "" if row["slice"] == "overall" else f" within {row['slice']}"
    return f"{row['model'] + ': ' if several else ''}{row['metric']} across {row['across']}{level}"


def _told(row: dict[str, Any], several: bool) -> str:
    own, across = _name(row, several).split(" across ", 1)
    small = f", within {row['within']:g} all the same" if row["certified"] else ""
    ends = [f"{number(row[f'{end}_value'])} in {row[end]}" for end in ("lowest", "highest")]
    gap = f"a gap of {_gap(row)} (q = {number(row['q_value'])}){small}"
    return f"{own} differs across {across}: {ends[0]}, {ends[1]}, {gap}."


def _certified(row: dict[str, Any], several: bool) -> str:
    return f"{_name(row, several)} is shown to lie within {row['within']:g}: a gap of {_gap(row)}."


def _gap(row: dict[str, Any]) -> str:
    return f"{number(row['value'])} [{number(row['low'])}, {number(row['high'])}]"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_MOST]) + (f" and {len(names) - _MOST} more" if len(names) > _MOST else "")


def section(assessment: Assessment) -> str:
    """Returns a section in Markdown: what was compared, what was found, and the gaps."""
    asked, gaps = assessment.asked, assessment.gaps
    reference = (
        asked.reference if isinstance(asked.reference, str) else ", ".join(map("=".join, asked.reference.items()))
    )
    several = len(assessment.result.models) > 1
    rows = assessment.result.evaluations[0].n
    lines = [
        "## Fairness",
        "",
        f"- Attributes: {', '.join(str(s) for s in asked.protected)}; groups are compared with: {reference}.",
        *([f"- Within levels of: {asked.control}."] if asked.control else []),
        f"- Rows: {rows:,}; groups with a support under {asked.min_rows:,} are in no gap.",
        f"- Bounds hold for all groups of an attribute together at {asked.level:.0%}.",
        f"- What is called a difference has q < {1 - asked.level:.2g} over all gaps below.",
        "",
        *(f"- {sentence}" for sentence in assessment.findings()),
        "",
        f"| {'Model | ' if several else ''}Across | Metric | Lowest | Highest | Gap | q | Finding |",
        f"|{'---|' if several else ''}---|---|---|---|---|---:|---|",
        *(_line(row, several) for row in gaps.iter_rows(named=True)),
    ]
    return "\n".join(lines) + "\n"


def _line(row: dict[str, Any], several: bool) -> str:
    across = row["across"] if row["slice"] == "overall" else f"{row['across']} within {row['slice']}"
    ends = [f"{row[end]} {number(row[end + '_value'])}" if row[end] else "" for end in ("lowest", "highest")]
    gap = _gap(row) if row["status"] == "ok" else row["finding"]
    q = number(row["q_value"]) if row["status"] == "ok" else ""
    cells = [row["model"]] if several else []
    cells += [across, row["metric"], *ends, gap, q, row["finding"]]
    return f"| {' | '.join(_cell(text) for text in cells)} |"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").splitlines())
