"""The page is one file that needs nothing else, holds what it says, and is the same each time."""

from __future__ import annotations

import base64
import gzip
import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import OutputError
from evalkit.reports import write_report
from evalkit.reports.cells import cells
from evalkit.reports.forest import forest
from evalkit.reports.page import page, parts
from evalkit.results import Result

Write = Callable[[Result], Path]


class Tags(HTMLParser):
    """Every tag of a page with its attributes, and the text of its scripts by id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self._open: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._open = str(dict(attrs).get("id", "")) if tag == "script" else None

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self.scripts[self._open] = self.scripts.get(self._open, "") + data


def inflated(text: str, name: str) -> str:
    return gzip.decompress(base64.b64decode(Tags(text).scripts[name])).decode()


def held(path: Path) -> Any:
    """The data in a report."""
    return json.loads(inflated(path.read_text(), "packed-data"))


def test_nothing_is_fetched(two_models: Result, report: Write) -> None:
    tags = Tags(report(two_models).read_text()).found
    links = [value for _, attributes in tags for name, value in attributes.items() if name in ("src", "href", "action")]
    assert all(str(link).startswith("#") for link in links)
    [policy] = [a["content"] for tag, a in tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    assert str(policy).startswith("default-src 'none'; script-src 'sha256-")
    assert "connect-src" not in str(policy)
    assert not {tag for tag, _ in tags} & {"link", "iframe", "object", "img", "base"}


def test_plotly_is_in_the_page_once(two_models: Result, report: Write) -> None:
    path = report(two_models)
    assert "Plotly.newPlot" not in path.read_text()
    assert inflated(path.read_text(), "packed-plotly").count("* plotly.js v") == 1
    assert path.stat().st_size < 3_000_000


def test_the_same_result_gives_the_same_file(two_models: Result, tmp_path: Path) -> None:
    first, second = (write_report(two_models, tmp_path / name).read_bytes() for name in ("a.html", "b.html"))
    assert first == second


def test_names_cannot_break_out_of_the_page(two_models: Result, report: Write) -> None:
    tags = Tags(report(two_models).read_text())
    assert not [tag for tag, _ in tags.found if tag in ("img", "b")]
    assert sorted(tags.scripts) == ["", "packed-data", "packed-plotly"]


def test_the_data_hold_the_table_once(two_models: Result, report: Write) -> None:
    data = held(report(two_models))
    assert data["cells"] == cells(two_models)
    assert set(data["parts"]) == {"forest", "curves", "table"}


def test_a_title_is_the_models_names_unless_given(two_models: Result, tmp_path: Path) -> None:
    assert "<title>Evaluation of old and new</title>" in write_report(two_models, tmp_path / "a.html").read_text()
    given = write_report(two_models, tmp_path / "b.html", title="<Quarter> & more")
    assert "<title>&lt;Quarter&gt; &amp; more</title>" in given.read_text()


def test_a_page_of_one_part_holds_only_that_part(two_models: Result) -> None:
    text = page([forest(two_models)], cells(two_models), "One part")
    assert [a["id"] for tag, a in Tags(text).found if tag == "section"] == ["forest"]
    assert 'report.part("curves"' not in text


def test_the_parts_come_in_the_order_of_a_reviewers_questions(two_models: Result) -> None:
    assert [p.name for p in parts(two_models)] == ["summary", "differences", "forest", "curves", "table", "about"]


def test_controls_have_labels(two_models: Result, report: Write) -> None:
    text = report(two_models).read_text()
    for control in re.findall(r"<(?:select|input)[^>]*>", text):
        place = text.index(control)
        opened = text.rfind("<label", 0, place) > text.rfind("</label>", 0, place)
        assert opened or "aria-label" in control


def test_a_file_that_cannot_be_written_is_an_output_error(two_models: Result, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="Cannot write the report to"):
        write_report(two_models, tmp_path / "missing" / "report.html")


@pytest.mark.parametrize("package", ["plotly", "jinja2"])
def test_a_missing_package_is_named_with_its_extra(package: str) -> None:
    program = f"""
import sys
sys.modules["{package}"] = None
import evalkit as ek
from evalkit.errors import MissingExtra
from evalkit.reports import write_report
result = ek.evaluate({{"y": [1, 0], "p": [0.9, 0.2]}}, label="y", score="p", metrics=["accuracy"])
try:
    write_report(result, "never.html")
except MissingExtra as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == f"This needs {package}, which is not installed: pip install 'evalkit[reports]'.\n"


def test_importing_the_reports_loads_neither_plotly_nor_jinja() -> None:
    program = "import sys, evalkit.reports; print([m for m in ('plotly', 'jinja2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
