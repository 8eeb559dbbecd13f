"""The results table as the page's scripts read it: columns of numbers, and of places in lists of names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from evalkit.results import Result
from evalkit.show import interval, number

_DIGITS = 6


def cells(result: Result) -> dict[str, Any]:
    """Returns the table as lists; of a suppressed slice nothing but its name and status.

    Numbers keep six significant digits; NaN is null, infinities are strings. `text` and `interval` are the same
    numbers as every other output of evalkit writes them.

    >>> import evalkit as ek
    >>> result = ek.evaluate({"y": [1, 0], "p": [0.9, 0.2]}, label="y", score="p", metrics=["accuracy"])
    >>> table = cells(result)
    >>> table["names"]["metric"], table["metric"], table["text"]
    (['accuracy'], [0], ['1.0000'])
    """
    table = result.to_polars()
    hidden = (table["status"] == "suppressed").to_list()

    def shown(column: str) -> list[Any]:
        return [None if gone else value for value, gone in zip(table[column].to_list(), hidden, strict=True)]

    value, low, high = shown("value"), shown("low"), shown("high")
    notes = [note or "" for note in shown("note")]
    states = [
        "approximate" if status == "ok" and rough else status.replace("_", " ")
        for status, rough in zip(table["status"], table["approximate"], strict=True)
    ]
    columns = {"model": list(table["model"]), "slice": list(table["slice"]), "metric": list(table["metric"])}
    coded = {name: _coded(values) for name, values in {**columns, "state": states, "note": notes}.items()}
    return {
        "names": {name: names for name, (names, _) in coded.items()},
        **{name: places for name, (_, places) in coded.items()},
        "value": [plain(v) for v in value],
        "low": [plain(v) for v in low],
        "high": [plain(v) for v in high],
        "text": [number(v) for v in value],
        "interval": [interval(a, b) for a, b in zip(low, high, strict=True)],
        "rows": shown("rows"),
        "support": shown("support"),
    }


def plain(value: float | None) -> float | str | None:
    """Returns a number as JSON can hold it."""
    if value is None or math.isnan(value):
        return None
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return float(f"{value:.{_DIGITS}g}")


def _coded(values: Sequence[str]) -> tuple[list[str], list[int]]:
    names = list(dict.fromkeys(values))
    place = {name: index for index, name in enumerate(names)}
    return names, [place[value] for value in values]
