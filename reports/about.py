"""The last part: what was run, in enough detail to run it again, and what the metrics mean."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import evalkit
from evalkit.reports.measures import measures
from evalkit.reports.part import Part, render
from evalkit.reports.slices import groups
from evalkit.results import Evaluation, Result
from evalkit.tabulate import hidden_summary

_PACKAGES = ("jax", "numpy", "polars", "plotly")


def about(result: Result, run: Mapping[str, object] | None = None) -> Part:
    """Returns the part that tells settings, data, versions, slice sets and metrics.

    Args:
        result: of an evaluation.
        run: what else is known of the run (`run.json`), shown as it is.
    """
    evaluations = [e for e in result.evaluations if e.model in result.models]
    settings = {e.model: dict(_settings(e)) for e in evaluations}
    names = list(dict.fromkeys(name for values in settings.values() for name in values))
    return Part(
        "about",
        "What was run",
        render(
            "about.html",
            models=list(settings),
            settings=[(name, [settings[model].get(name, "") for model in settings]) for name in names],
            groups=groups(result),
            measures=measures(result).values(),
            versions=_versions(),
            run=list(flat(run or {})),
        ),
    )


def flat(values: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Returns nested mappings as pairs of a dotted name and a text.

    >>> list(flat({"data": {"rows": 3, "columns": ["y", "p"]}, "note": None}))
    [('data.rows', '3'), ('data.columns', 'y, p'), ('note', '-')]
    """
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{name}.")
        else:
            yield name, _text(value)


def _text(value: Any) -> str:
    if value is None or (isinstance(value, Mapping | list | tuple) and not value):
        return "-"
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value)
    return str(value)


def _settings(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    settings = evaluation.settings
    yield "data", evaluation.source or "-"
    yield "rows", f"{evaluation.n:,}"
    yield "dropped as invalid", f"{evaluation.dropped:,}"
    yield "task", settings.task
    for field in fields(settings.columns):
        value = getattr(settings.columns, field.name)
        if value:
            yield field.name, _text(value)
    if settings.task == "binary":
        yield "positive label", _text(settings.positive)
        yield "score at the threshold", "negative" if settings.strict else "positive"
    yield "confidence level", f"{settings.level:g}"
    drawn = settings.bootstrap
    yield "intervals", f"bootstrap, {drawn.n:,} replicates, seed {drawn.seed}" if drawn else "analytic"
    yield "rows are", f"clustered by {settings.columns.unit}" if settings.clustered else "independent"
    yield "min_rows", f"{settings.min_rows:,}"
    yield "suppress_below", f"{settings.suppress_below:,}"
    yield "suppressed", hidden_summary(evaluation.plan) or "nothing"


def _versions() -> list[tuple[str, str]]:
    found = [("evalkit", evalkit.__version__), ("Python", platform.python_version())]
    for package in _PACKAGES:
        try:
            found.append((package, version(package)))
        except PackageNotFoundError:
            continue
    return found
