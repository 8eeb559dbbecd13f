"""The parts of fairness: every group and gap has a row, intervals lie in their plots, and names are only text."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalkit.fairness.assessment import Assessment, assess
from evalkit.reports.fairness import _MARGIN, _WIDTH, fairness
from evalkit.reports.levels import _HEIGHT, _LEFT, levels
from evalkit.reports.levels import _WIDTH as _PLOT
from evalkit.reports.page import parts
from evalkit.reports.part import Part
from evalkit.show import interval, number, signed
from evalkit.slicing.spec import slice_text

HOSTILE = "</script><img src=x onerror=\"document.title='owned'\"><b>&lt;"


def people(n: int = 800) -> dict[str, Any]:
    rng = np.random.default_rng(2)
    group = rng.choice(["a", HOSTILE], n).astype(object)
    group[:5] = "rare"
    y = rng.integers(0, 2, n)
    return {
        "y": y,
        "z": rng.integers(0, 2, n),
        "d": (rng.random(n) < 0.2 + 0.3 * y + 0.2 * (group == "a")).astype(int),
        "g": group.tolist(),
        "h": rng.choice(["u", "v"], n),
        "site": rng.choice(["1", "10", HOSTILE], n),
    }


def made(**more: Any) -> Assessment:
    asked: dict[str, Any] = {"protected": ["g", "h"], "metrics": ["recall", "accuracy"], "criteria": False, **more}
    return assess(people(), label=asked.pop("label", "y"), prediction="d", **asked)


@pytest.fixture(scope="module")
def assessment() -> Assessment:
    return made(within=0.25, criteria=True)


@pytest.fixture(scope="module")
def by_site() -> Assessment:
    return made(label=None, labels={"one": "y", "two": "z"}, protected=["g"], metrics=["recall"], control=["site"])


def text(html: str) -> str:
    """The words that a part shows."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html.replace("<wbr>", ""))))


def table_rows(part: Part, kind: str) -> list[str]:
    tables = re.findall(rf'<table class="plain[^"]* ?{kind}">.*?</table>', part.html, re.DOTALL)
    return [text(row) for table in tables for row in re.findall(r"<tr>.*?</tr>", table, re.DOTALL)[1:]]


def test_every_gap_has_a_row_with_what_is_shown_of_it(assessment: Assessment) -> None:
    shown = table_rows(fairness(assessment), "gaps")
    assert len(shown) == assessment.gaps.height
    for row, gap in zip(shown, assessment.gaps.sort("across", maintain_order=True).iter_rows(named=True), strict=True):
        assert row.strip().startswith(gap["metric"])
        assert f"{number(gap['value'])} {interval(gap['low'], gap['high'])}" in row
        assert (gap["lowest"] in row, gap["highest"] in row) == (True, True)
        assert ("▲ flagged" in row) == gap["flagged"]
        assert ("✓ within 0.25" in row) == gap["certified"]
    words = text(fairness(assessment).html)
    flagged, certified = assessment.gaps["flagged"].sum(), assessment.gaps["certified"] & ~assessment.gaps["flagged"]
    assert f"Of 4 gaps between groups, {flagged} is shown to be real; {certified.sum()} of the others" in words
    assert "Too few rows for a claim in one metric or more: g=rare." in words


def test_every_group_has_a_row_with_its_difference_to_the_reference(assessment: Assessment) -> None:
    shown = table_rows(fairness(assessment), "groups")
    ordered = [
        row
        for across in ("g", "h")
        for metric in ("recall", "accuracy")
        for row in assessment.groups.filter(across=across, metric=metric).iter_rows(named=True)
    ]
    assert len(shown) == len(ordered) == 10
    for row, group in zip(shown, ordered, strict=True):
        assert f"{group['slice']} {number(group['value'])}" in row
        if group["slice"] == group["reference"]:
            assert " reference " in row
        elif group["delta"] == group["delta"]:
            assert signed(group["delta"]) in row
        assert ("too few rows" in row) == (group["status"] == "too_few_rows")
        assert "nan" not in row


def test_criteria_are_told_with_what_they_ask_for(assessment: Assessment) -> None:
    shown = table_rows(fairness(assessment), "criteria")
    row = next(row for row in shown if row.strip().startswith("equalized_odds_difference"))
    value = assessment.criteria.filter(metric="equalized_odds_difference@across=g")["value"][0]
    assert number(value) in row
    assert "Decisions are independent of the group given the label" in row


def test_intervals_are_drawn_inside_the_plot_and_around_the_value(assessment: Assessment) -> None:
    lines = re.findall(r'<line x1="([\d.-]+)" x2="([\d.-]+)".*?<circle cx="([\d.-]+)"', fairness(assessment).html)
    assert len(lines) == assessment.groups.filter(status="ok").height
    for low, high, middle in (map(float, line) for line in lines):
        assert _MARGIN <= low <= middle <= high <= _WIDTH - _MARGIN
        assert low < high
    assert {_MARGIN, _WIDTH - _MARGIN} <= {float(end) for line in lines for end in line}


def test_names_of_groups_are_only_text(assessment: Assessment, by_site: Assessment) -> None:
    for part in (fairness(assessment), levels(by_site)):
        assert "<img" not in part.html
        assert "<b>" not in part.html
        assert slice_text((("g", HOSTILE),)) in text(part.html)


def test_without_a_gap_that_is_shown_it_says_so() -> None:
    words = text(fairness(made(protected=["h"])).html)
    assert "No gap between groups is shown." in words
    assert "not known gaps from 0." in words


def test_levels_show_every_level_group_and_average(by_site: Assessment) -> None:
    part = levels(by_site)
    shown = [text(row) for row in re.findall(r"<tr>\s*<td>\d.*?</tr>", part.html, re.DOTALL)]
    assert len(shown) == by_site.gaps.height == 6
    for row, gap in zip(shown, by_site.gaps.iter_rows(named=True), strict=True):
        assert gap["slice"] in row
        assert gap["finding"] in row
        own = by_site.groups.filter(model=gap["model"]).filter(gap_level(by_site, gap["slice"]))
        for group in own.iter_rows(named=True):
            assert f" {number(group['value'])} " in row
    words = text(part.html)
    assert by_site.conditional is not None
    for average in by_site.conditional.iter_rows(named=True):
        assert f"Over all levels {average['slice']} differs from {average['reference']} by" in words
    assert "nan" not in words
    for heading in by_site.result.models:
        assert f"<h3>{heading}" in part.html


def gap_level(by_site: Assessment, level: str) -> Any:
    import polars as pl

    assert level in set(by_site.gaps["slice"])
    return pl.col("slice").str.starts_with(f"{level}, ")


def test_levels_are_drawn_inside_the_plot(by_site: Assessment) -> None:
    html = levels(by_site).html
    marks = re.findall(
        r'<line x1="([\d.-]+)" x2="\1" y1="([\d.-]+)" y2="([\d.-]+)"/><circle cx="\1" cy="([\d.-]+)"', html
    )
    assert len(marks) == by_site.groups.filter(by_site.groups["value"].is_finite()).height
    for x, low, high, middle in (map(float, mark) for mark in marks):
        assert _LEFT <= x <= _PLOT
        assert 0 <= high <= middle <= low <= _HEIGHT


def test_a_page_has_a_part_for_every_assessment(assessment: Assessment, by_site: Assessment) -> None:
    names = [part.name for part in parts(assessment.result, {}, None, None, [assessment, by_site])]
    assert [name for name in names if name.startswith("fairness")] == ["fairness", "fairness-1"]


@pytest.mark.slow
def test_the_page_opens_without_errors_wide_and_narrow(
    assessment: Assessment, by_site: Assessment, browser: Any, report: Callable[..., Path]
) -> None:
    path = report(assessment.result, assessments=[assessment, by_site])
    for width in (1200, 400):
        browser.open(path, width=width)
        assert browser.problems == []
        assert browser.run("document.images.length") == 0
        assert browser.run("document.documentElement.scrollWidth") <= width
        assert browser.run("document.querySelectorAll('#fairness table.gaps tbody tr').length") == 4
        assert browser.run("document.querySelectorAll('#fairness-1 svg.levels circle').length") > 6
