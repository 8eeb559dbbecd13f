"""Documentation runs, and says what is there."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from evalkit.metrics import catalog

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def _blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", [page for page in PAGES if _blocks(page)], ids=lambda page: page.name)
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in _blocks(page):
        exec(compile(block, str(page), "exec"), names)
    assert names


def _metrics_page() -> str:
    lines = [
        "# Metrics",
        "",
        "Written by `UPDATE_DOCS=1 python -m pytest tests/test_docs.py` from the metrics themselves.",
        "",
        "| metric | what it is | range | better | interval | parameters |",
        "|---|---|---|---|---|---|",
    ]
    for name, metric in catalog().items():
        what = (metric.__doc__ or "").strip().splitlines()[0].replace("|", "\\|")
        low, high = metric.range
        parameters = ", ".join(f"`{key}`" for key in metric.all_parameters())
        lines.append(
            f"| `{name}` | {what} | [{low:g}, {high:g}] | {metric.better or ''} | {metric.kind} | {parameters} |"
        )
    return "\n".join(lines) + "\n"


def test_the_page_of_metrics_is_up_to_date() -> None:
    page = ROOT / "docs" / "metrics.md"
    if os.environ.get("UPDATE_DOCS"):
        page.write_text(_metrics_page(), encoding="utf-8")
    assert page.read_text(encoding="utf-8") == _metrics_page(), "run: UPDATE_DOCS=1 python -m pytest tests/test_docs.py"


def test_links_between_pages_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "ARCHITECTURE.md"]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), (page.name, link)


def test_every_example_of_a_metric_is_collected() -> None:
    import doctest
    import importlib

    finder = doctest.DocTestFinder()
    for name, metric in catalog().items():
        module = importlib.import_module(metric.function.__module__)
        examples = [t for t in finder.find(module) if t.name.endswith(f".{name}") and t.examples]
        assert examples, f"the example of {name} does not run"
