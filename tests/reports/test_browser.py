"""The page in a real browser: it draws, it answers its controls, and it does nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalkit.results import Result

pytestmark = pytest.mark.slow

Write = Callable[[Result], Path]
Browser = Any  # the class in conftest.py, which cannot be imported from here


def drawn(browser: Browser, part: str) -> int:
    """The number of lines and marks that a part's plots show."""
    return int(browser.run(f"document.querySelectorAll('#{part} .js-line, #{part} .point').length"))


def column(browser: Browser, name: str) -> list[str]:
    place = f"[...document.querySelectorAll('#table th[data-column]')].findIndex((h) => h.dataset.column === '{name}')"
    cells = f"[...document.querySelectorAll('#table tbody tr')].map((row) => row.cells[{place}].textContent)"
    return [str(cell) for cell in browser.run(cells)]


@pytest.mark.parametrize("fixture", ["two_models", "suppressed", "regression", "unsliced"])
def test_a_report_opens_without_errors_and_without_the_network(
    fixture: str, request: pytest.FixtureRequest, browser: Browser, report: Write
) -> None:
    browser.open(report(request.getfixturevalue(fixture)))
    assert browser.run("document.getElementById('problem').textContent") == ""
    assert browser.run("document.documentElement.dataset.state") == "ready"
    assert browser.problems == []
    assert drawn(browser, "forest") > 0
    assert column(browser, "slice")[0] == "overall"


def test_a_hostile_name_is_only_text(two_models: Result, browser: Browser, report: Write) -> None:
    browser.open(report(two_models))
    shown = browser.run("document.querySelector('#forest').textContent + document.querySelector('#table').textContent")
    assert "<img src=x onerror=" in shown
    assert browser.run("document.images.length") == 0
    assert browser.run("document.title") == "Evaluation of old and new"


def test_a_script_that_gets_in_all_the_same_does_not_run(two_models: Result, browser: Browser, tmp_path: Path) -> None:
    from evalkit.reports.cells import cells
    from evalkit.reports.page import page
    from evalkit.reports.part import Part

    attack = "<script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"
    path = tmp_path / "attacked.html"
    path.write_text(page([Part("note", "Note", attack)], cells(two_models), "Safe"))
    browser.open(path)
    assert browser.run("document.title") == "Safe"


def test_suppressed_and_undefined_slices_are_shown_as_such(
    suppressed: Result, two_models: Result, browser: Browser, report: Write
) -> None:
    browser.open(report(suppressed))
    assert "suppressed" in browser.run("document.querySelector('#forest').textContent")
    browser.open(report(two_models))
    assert "undefined" in browser.run("document.querySelector('#forest').textContent")


def test_the_forest_plot_follows_its_controls(two_models: Result, browser: Browser, report: Write) -> None:
    browser.open(report(two_models))
    both = drawn(browser, "forest")
    browser.run("document.querySelector('#forest input[value=\"1\"]').click()")
    assert 0 < drawn(browser, "forest") < both
    browser.run(
        "const s = document.querySelector('#forest [name=metric]'); s.value = 'log_loss';"
        "s.dispatchEvent(new Event('change', { bubbles: true }))"
    )
    assert browser.run("document.querySelector('#forest [data-caption]').textContent").startswith("log_loss (↓ lower")


def test_curves_are_laid_over_one_another_as_chosen(two_models: Result, browser: Browser, report: Write) -> None:
    browser.open(report(two_models))
    before = browser.run("document.querySelectorAll('#curves [data-keys] li').length")
    browser.run("document.querySelector('#curves input:checked').click()")
    assert browser.run("document.querySelectorAll('#curves [data-keys] li').length") == before - 1
    browser.run(
        "const m = document.querySelector('#curves [name=model]'); m.value = 'all';"
        "m.dispatchEvent(new Event('change', { bubbles: true }))"
    )
    assert browser.run("document.querySelectorAll('#curves [data-keys] li').length") == 2 * (before - 1)


def test_the_table_sorts_by_number_with_missing_values_last(
    two_models: Result, browser: Browser, report: Write
) -> None:
    browser.open(report(two_models))
    click = "document.querySelector('#table th[data-column=value] button').click()"
    browser.run(f"document.querySelector('[data-everything]').click(); {click}")
    for descending in (False, True):
        shown = [float(cell.replace(",", "")) if cell != "-" else None for cell in column(browser, "value")]
        known = [value for value in shown if value is not None]
        assert known == sorted(known, reverse=descending)
        assert shown[: len(known)] == known
        assert len(known) < len(shown)
        browser.run(click)


def test_the_table_filters_by_text_and_by_choice(two_models: Result, browser: Browser, report: Write) -> None:
    browser.open(report(two_models))
    browser.run(
        "const f = document.querySelector('#table form'); f.elements.find.value = 'E=LARGE size';"
        "f.elements.model.value = '1'; f.dispatchEvent(new Event('input', { bubbles: true }))"
    )
    assert set(column(browser, "slice")) == {"size=large"}
    assert set(column(browser, "model")) == {"new"}
    assert len(column(browser, "metric")) == len(two_models.metrics)


@pytest.mark.parametrize("width", [320, 375, 768])
def test_a_narrow_page_does_not_scroll_sideways(
    two_models: Result, browser: Browser, report: Write, width: int
) -> None:
    browser.open(report(two_models), width=width)
    assert browser.run("document.documentElement.scrollWidth") <= width


def test_plots_follow_the_colours_of_the_page(two_models: Result, browser: Browser, report: Write) -> None:
    read = "getComputedStyle(document.querySelector('#forest .xtick text')).fill"
    path = report(two_models)
    browser.open(path)
    light = browser.run(read)
    browser.open(path, dark=True)
    assert browser.run(read) != light


def test_printing_is_in_light_colours(two_models: Result, browser: Browser, report: Write) -> None:
    browser.open(report(two_models), dark=True)
    browser.run("addEventListener('beforeprint', () => { window.ink = report.look().ink; })")
    browser.ask("Page.printToPDF")
    assert browser.run("window.ink") == "#1c2430"


def test_an_old_browser_is_told_what_it_lacks(two_models: Result, browser: Browser, report: Write) -> None:
    script = browser.ask("Page.addScriptToEvaluateOnNewDocument", source="delete window.DecompressionStream")
    browser.open(report(two_models))
    browser.ask("Page.removeScriptToEvaluateOnNewDocument", identifier=script["identifier"])
    assert "need a newer browser" in browser.run("document.getElementById('problem').textContent")
