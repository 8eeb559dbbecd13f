"""The page that holds a report's parts: one HTML file that needs no network.

>>> import tempfile
>>> from pathlib import Path
>>> import evalkit as ek
>>> from evalkit.reports import write_report
>>> data = {"y": [1, 0, 1, 0], "p": [0.9, 0.2, 0.4, 0.1], "sex": ["f", "f", "m", "m"]}
>>> result = ek.evaluate(data, label="y", score="p", name="mine", slices=["sex"])
>>> with tempfile.TemporaryDirectory() as folder:
...     path = write_report(result, Path(folder) / "report.html")
...     "<title>Evaluation of mine</title>" in path.read_text()
True

Plotly and the data are inside, compressed; a policy forbids every request and every script but the page's own two.
"""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.errors import MissingExtra, OutputError
from evalkit.interrupts import unfinished
from evalkit.reports.about import about
from evalkit.reports.cells import cells
from evalkit.reports.costs import costly, costs
from evalkit.reports.curves import curves
from evalkit.reports.deltas import deltas
from evalkit.reports.differences import differences
from evalkit.reports.fairness import fairness
from evalkit.reports.flips import flips
from evalkit.reports.forest import forest
from evalkit.reports.levels import levels
from evalkit.reports.part import Part, render, source
from evalkit.reports.summary import summary
from evalkit.reports.table import table
from evalkit.reports.verdict import verdict as decision
from evalkit.results import Result

if TYPE_CHECKING:
    from evalkit.comparison import Comparison
    from evalkit.fairness.assessment import Assessment
    from evalkit.gates.verdict import Verdict


def write_report(
    result: Result,
    path: str | Path,
    *,
    title: str | None = None,
    run: Mapping[str, object] | None = None,
    comparison: Comparison | None = None,
    verdict: Verdict | None = None,
    assessments: Sequence[Assessment] = (),
) -> Path:
    """Writes an evaluation, and what was compared and decided, as one HTML file and returns its path.

    Args:
        result: of an evaluation.
        path: the file; an existing one is replaced.
        title: by default the models' names.
        run: what else is known of the run, such as `run.json`; shown in the last part.
        comparison: of the result's models; adds deltas and changed decisions.
        verdict: of a gate; comes first.
        assessments: of the models' fairness; add groups and gaps.

    Raises:
        MissingExtra: Plotly or Jinja is not installed.
        OutputError: the file cannot be written.
    """
    plotly()
    made = parts(result, run, comparison, verdict, assessments)
    text = page(made, cells(result), title or _title(result, comparison))
    path = Path(path)
    try:
        aside = path.with_name(f".{path.name}-unfinished")
        with unfinished(aside):
            aside.write_text(text, encoding="utf-8", newline="\n")
            aside.replace(path)
    except OSError as error:
        raise OutputError(f"Cannot write the report to {path}: {error.strerror or error}.") from error
    return path


def parts(
    result: Result,
    run: Mapping[str, object] | None = None,
    comparison: Comparison | None = None,
    verdict: Verdict | None = None,
    assessments: Sequence[Assessment] = (),
) -> list[Part]:
    """Returns the parts of a report in the order a reviewer reads them."""
    return [
        *([] if verdict is None else [decision(result, verdict)]),
        summary(result, comparison),
        *([] if comparison is None else [deltas(result, comparison), flips(result, comparison)]),
        *([costs(result, comparison)] if costly(result) else []),
        *(_of_fairness(assessment, number) for number, assessment in enumerate(assessments)),
        differences(result),
        forest(result),
        curves(result),
        table(result),
        about(result, run),
    ]


def _of_fairness(assessment: Assessment, number: int) -> Part:
    name = f"fairness-{number}" if number else "fairness"
    return fairness(assessment, name) if assessment.asked.control is None else levels(assessment, name)


def _title(result: Result, comparison: Comparison | None) -> str:
    if comparison is None:
        return f"Evaluation of {_joined(result.models)}"
    return f"{_joined(comparison.candidates)} against {comparison.baseline}"


def page(made: Sequence[Part], shared: Mapping[str, Any], title: str) -> str:
    """Returns parts as one HTML page.

    Args:
        made: the parts, in order.
        shared: the results table as `cells` gives it, which every part's script may read.
        title: of the page.
    """
    script = "\n".join([source("page.js"), *(part.script for part in made if part.script), "report.open();\n"])
    data = {"cells": shared, "parts": {part.name: part.data for part in made if part.data is not None}}
    library = plotly()
    return render(
        "page.html",
        title=title,
        parts=made,
        style=source("page.css"),
        script=script,
        policy=_policy([script, library]),
        data=packed(json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))),
        plotly=packed(library) if any(part.data is not None for part in made) else "",
    )


def _joined(names: Sequence[str]) -> str:
    """Joins names for a title.

    >>> _joined(["a", "b", "c"]), _joined(["a"]), _joined(list("abcdef"))
    ('a, b and c', 'a', 'a, b, c and 3 more')
    """
    shown = [*names[:3], f"{len(names) - 3} more"] if len(names) > 4 else [*names]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _policy(scripts: Sequence[str]) -> str:
    """Returns a Content-Security-Policy that lets these scripts run, and nothing be fetched."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


@functools.cache
def plotly() -> str:
    """Returns the source of Plotly's script."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise MissingExtra("plotly", "reports") from None
    text: str = get_plotlyjs()
    return text


@functools.lru_cache(maxsize=4)
def packed(text: str) -> str:
    """Returns a text compressed with gzip, in base 64.

    >>> gzip.decompress(base64.b64decode(packed("</script>"))).decode()
    '</script>'
    """
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=9, mtime=0)).decode()
