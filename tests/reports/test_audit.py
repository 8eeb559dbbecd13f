"""The page of an audit: everything is on it, and nothing else is fetched or run."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from evalkit.fairness.audits.audit import Audit
from evalkit.fairness.audits.four_fifths import four_fifths_counts
from evalkit.fairness.audits.local_law_144 import audit_counts
from evalkit.reports.audit import audit_page

HOSTILE = "</style><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
SAID: dict[str, Any] = {"date": "2026-05-01", "data_source": HOSTILE}
COUNTS = {"race": [(HOSTILE, 20, 100), ("a rather long name of a group of people", 60, 100), ("tiny", 1, 2)]}


def audits() -> list[Audit]:
    law = audit_counts(COUNTS, scored=False, tool=HOSTILE, exclude_small=True, justification="few", **SAID)
    return [law.audit, four_fifths_counts(COUNTS, tool=HOSTILE, **SAID).audit]


@pytest.mark.parametrize("audit", audits(), ids=lambda audit: audit.standard)
def test_the_page_holds_every_fact_finding_and_cell(audit: Audit) -> None:
    page = audit_page(audit)
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    from markupsafe import escape

    cells = [cell for table in audit.tables for row in table.rows for cell in row]
    for words in (*audit.facts, *audit.facts.values(), *audit.findings, *audit.too_few, *audit.untested, *cells):
        assert str(escape(words)) in text
    assert "<script" not in page
    assert "<img" not in page
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)=\"(?!#)", page)


def test_bounds_are_drawn_where_there_are_some() -> None:
    law, rule = (audit_page(audit) for audit in audits())
    assert "<svg" not in law
    assert rule.count("<svg") == 2
    assert 'class="badge worse">shown under .8<' in rule


@pytest.mark.slow
@pytest.mark.parametrize("audit", audits(), ids=lambda audit: audit.standard)
def test_the_page_opens_in_a_browser_wide_and_narrow_light_and_dark(audit: Audit, browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "audit.html"
    path.write_text(audit_page(audit), encoding="utf-8")
    browser.events.clear()
    backgrounds = set()
    for width, scheme in ((1200, "light"), (1200, "dark"), (320, "light")):
        browser.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        browser.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
        )
        browser.ask("Page.navigate", url=path.as_uri())
        deadline = time.monotonic() + 20
        while browser.run("document.readyState + location.href") != f"complete{path.as_uri()}":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert browser.run("document.documentElement.scrollWidth") <= width
        assert browser.run("document.title").endswith(HOSTILE)
        backgrounds.add(browser.run("getComputedStyle(document.body).backgroundColor"))
    assert len(backgrounds) == 2
    assert browser.problems == []
