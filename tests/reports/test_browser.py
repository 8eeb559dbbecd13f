"""The page in a real browser: it draws, it answers its controls, and it does nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from verdicts import every_outcome, failing

from evalkit.comparison import Comparison
from evalkit.cost_curves import cost_curve
from evalkit.money import amount
from evalkit.results import Result
from evalkit.show import number, signed

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


# --- a comparison and a verdict ---


def choose(browser: Browser, part: str, control: str, value: str) -> None:
    """Chooses a value as a reader would, and waits until plots are drawn."""
    browser.run(
        f"(() => {{ const s = document.querySelector('#{part} [name={control}]'); s.value = '{value}';"
        "s.dispatchEvent(new Event('change', { bubbles: true })); })()"
    )
    browser.run("new Promise((done) => setTimeout(done, 100))")


def listed(browser: Browser, block: str) -> list[list[str]]:
    """The cells of a table's rows as they are shown."""
    script = (
        f"[...document.querySelector('{block}').querySelectorAll('tbody tr')]"
        ".map((row) => [...row.cells].map((cell) => cell.firstChild ? cell.firstChild.textContent : ''))"
    )
    return [[str(cell) for cell in row] for row in browser.run(script)]


@pytest.mark.parametrize("fixture", ["comparison", "private", "costly"])
@pytest.mark.parametrize("width", [390, 1200])
def test_a_report_of_a_comparison_opens_without_errors_and_fits(
    fixture: str, width: int, request: pytest.FixtureRequest, browser: Browser, report: Callable[..., Path]
) -> None:
    found: Comparison = request.getfixturevalue(fixture)
    browser.open(report(found.result, comparison=found, verdict=every_outcome()), width=width)
    assert browser.run("document.getElementById('problem').textContent") == ""
    assert browser.problems == []
    assert browser.run("document.images.length") == 0
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert drawn(browser, "deltas") > 0


def test_the_plot_of_deltas_follows_the_metric_and_the_candidate(
    comparison: Comparison, browser: Browser, report: Callable[..., Path]
) -> None:
    browser.open(report(comparison.result, comparison=comparison))
    plotted = (
        "document.querySelector('#deltas [data-plot]').data.filter((t) => t.mode === 'markers' && t.name !== 'shrunk')"
    )
    for metric, candidate in (("roc_auc", "new"), ("log_loss", "new"), ("log_loss", "bad")):
        choose(browser, "deltas", "metric", metric)
        choose(browser, "deltas", "model", candidate)
        table = comparison.to_polars().filter(
            pl.col("model") == candidate, pl.col("metric") == metric, pl.col("delta").is_finite()
        )
        marks = browser.run(f"{plotted}.flatMap((t) => [...t.x])")
        assert sorted(marks) == pytest.approx(sorted(table["delta"]), rel=1e-4)
        assert browser.run("document.querySelector('#deltas [data-caption]').textContent").startswith(f"{metric} (")
        for kind in ("better", "worse"):
            sign = -1 if (kind == "better") == (metric == "log_loss") else 1
            expected = table.filter(pl.col("q_value") < 0.05, pl.col("delta") * sign > 0).height
            found = browser.run(f"{plotted}.filter((t) => t.name === '{kind}').flatMap((t) => [...t.x]).length")
            assert found == expected, (metric, candidate, kind)


def test_the_table_of_deltas_writes_numbers_as_python_does(
    comparison: Comparison, browser: Browser, report: Callable[..., Path]
) -> None:
    browser.open(report(comparison.result, comparison=comparison))
    choose(browser, "deltas", "metric", "accuracy")
    shown = {row[0]: row[1:] for row in listed(browser, "#deltas [data-grid]")}
    table = comparison.to_polars().filter(pl.col("model") == "new", pl.col("metric") == "accuracy")
    assert set(shown) == set(table["slice"])
    for row in table.filter(pl.col("p_value").is_finite()).iter_rows(named=True):
        found = shown[row["slice"]]
        assert found[:2] == [number(row["baseline"]), number(row["candidate"])]
        assert found[2].split(" ")[-1] == signed(row["delta"])
        assert found[3] == f"[{signed(row['delta_low'])}, {signed(row['delta_high'])}]"
        assert found[4:8] == [
            signed(row["delta_shrunk"]),
            *(number(row[c]) for c in ("p_value", "q_value", "detectable")),
        ]


NUMBERS = (0.0, 1 / 32, 3 / 32, -5 / 32, 0.12345, 1e-5, 0.00099996, 9.99996, 10.0, 12.5, 1234.5, 1235.5, -1e6, 1e-300)


@pytest.mark.parametrize("value", NUMBERS)
def test_a_number_in_the_page_is_written_as_everywhere_else(
    two_models: Result, browser: Browser, report: Write, value: float
) -> None:
    if browser.run("typeof report") != "object":
        browser.open(report(two_models))
    assert browser.run(f"report.text({value!r})") == number(value)
    assert browser.run(f"report.signed({value!r})") == signed(value)
    if abs(value) > 0.1:
        assert browser.run(f"report.amount({value!r}, 'USD')") == amount(value, "USD")


def test_the_questions_of_a_rule_are_listed_when_it_is_opened(
    two_models: Result, browser: Browser, report: Callable[..., Path]
) -> None:
    browser.open(report(two_models, verdict=failing(500)))
    browser.run("document.querySelector('#verdict details').open = true")
    browser.run("new Promise((done) => setTimeout(done, 50))")
    assert len(listed(browser, "#verdict details")) == 150
    browser.run("document.querySelector('#verdict [data-everything]').click()")
    assert len(listed(browser, "#verdict details")) == 500
    browser.run("document.querySelector('#verdict th[data-column=subject] button').click()")
    browser.run("document.querySelector('#verdict th[data-column=subject] button').click()")
    assert listed(browser, "#verdict details")[0][1] == "recall on race=000499"


def test_a_verdict_can_be_read_without_colour(
    two_models: Result, browser: Browser, report: Callable[..., Path]
) -> None:
    browser.open(report(two_models, verdict=every_outcome()))
    words = browser.run("[...document.querySelectorAll('#verdict .rule > div > .outcome')].map((o) => o.textContent)")
    assert words == [rule.standing for rule in every_outcome().worst_first]
    red = browser.run("getComputedStyle(document.querySelector('#verdict .waiver')).color")
    assert red == "rgb(179, 0, 27)"


def test_a_failure_can_be_read_on_paper(two_models: Result, browser: Browser, report: Callable[..., Path]) -> None:
    browser.open(report(two_models, verdict=every_outcome()))
    browser.ask("Emulation.setEmulatedMedia", media="print")
    style = "getComputedStyle(document.querySelector('#verdict .rule .outcome.fail'))"
    assert browser.run(f"{style}.color") == "rgb(179, 0, 27)"
    assert browser.run(f"{style}.backgroundColor") == "rgba(0, 0, 0, 0)"
    browser.ask("Emulation.setEmulatedMedia", media="")


def test_metrics_of_money_name_their_unit_in_the_table_of_all_results(
    costly: Comparison, browser: Browser, report: Callable[..., Path]
) -> None:
    browser.open(report(costly.result, comparison=costly))
    choose(browser, "table", "metric", str(costly.result.metrics.index("total_cost@fn=40,fp=5")))
    browser.run("document.querySelector('#table form').dispatchEvent(new Event('input', { bubbles: true }))")
    assert set(browser.run("[...document.querySelectorAll('#table tbody .small')].map((s) => s.textContent)")) == {
        "USD"
    }
    table = costly.result.to_polars().filter(pl.col("metric") == "total_cost@fn=40,fp=5")
    assert column(browser, "value") == [amount(value) for value in table["value"]]


def test_changed_decisions_are_listed_by_slice(
    comparison: Comparison, browser: Browser, report: Callable[..., Path]
) -> None:
    browser.open(report(comparison.result, comparison=comparison))
    browser.run("document.querySelector('#flips [data-grid]').open = true")
    browser.run("new Promise((done) => setTimeout(done, 50))")
    shown = listed(browser, "#flips [data-grid]")
    table = comparison.flips("new")
    assert [row[0] for row in shown] == table["slice"].to_list()
    assert [row[1] for row in shown] == [f"{changed:,}" for changed in table["changed"]]


def test_curves_of_cost_follow_the_slice_and_the_costs(
    costly: Comparison, browser: Browser, report: Callable[..., Path]
) -> None:
    browser.open(report(costly.result, comparison=costly))
    read = "[...document.querySelector('#costs [data-plot=cost]').data.find((t) => t.name === 'new').y]"
    first = browser.run(read)
    choose(browser, "costs", "slice", "group=plain")
    second = browser.run(read)
    choose(browser, "costs", "spec", "1")
    third = browser.run(read)
    for spec, found, text in (({"fn": 40, "fp": 5}, first, "overall"), ({"fn": 40, "fp": 5}, second, "group=plain")):
        expected = cost_curve(costly.result, "cost", text, "new", points=100, **spec)["cost"]
        assert found == pytest.approx(expected.to_list(), rel=1e-3)
    assert third == pytest.approx(
        cost_curve(costly.result, "cost", "group=plain", "new", points=100, fn="price")["cost"].to_list(), rel=1e-3
    )


def test_costs_by_slice_follow_the_metric(costly: Comparison, browser: Browser, report: Callable[..., Path]) -> None:
    browser.open(report(costly.result, comparison=costly))
    choose(browser, "costs", "metric", "total_cost@fn=40,fp=5")
    shown = listed(browser, "#costs [data-grid]")
    table = costly.result.to_polars().filter(pl.col("model") == "old", pl.col("metric") == "total_cost@fn=40,fp=5")
    assert [row[1] for row in shown] == [amount(value, "USD") for value in table["value"]]
