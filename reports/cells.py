"""The results table as the page's scripts read it: columns of numbers, and of places in lists of names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from evalkit.reports.measures import measures
from evalkit.results import Result
from evalkit.show import number, written

_DIGITS = 6


def cells(result: Result) -> dict[str, Any]:
    """Returns the table as lists; of a suppressed slice nothing but its name and status.

    Numbers keep six significant digits; NaN is null, infinities are strings. `text` and `interval` are the same
    numbers as every other output of evalkit writes them; `units` are those of the metrics in `names`.

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
    found = {name: coded(values) for name, values in {**columns, "state": states, "note": notes}.items()}
    units = {name: measure.unit for name, measure in measures(result).items()}
    of = [units.get(name, "") for name in table["metric"]]
    return {
        "names": {name: names for name, (names, _) in found.items()},
        "units": [units.get(name, "") for name in found["metric"][0]],
        **{name: places for name, (_, places) in found.items()},
        "value": [plain(v) for v in value],
        "low": [plain(v) for v in low],
        "high": [plain(v) for v in high],
        "text": [written(v, unit) for v, unit in zip(value, of, strict=True)],
        "interval": [_ends(*ends) for ends in zip(low, high, of, strict=True)],
        "rows": shown("rows"),
        "support": shown("support"),
    }


def _ends(low: float | None, high: float | None, unit: str) -> str:
    return "" if low is None or math.isnan(low) else f"[{written(low, unit)}, {written(high, unit)}]"


def plain(value: float | None) -> float | str | None:
    """Returns a number as JSON can hold it, in as many digits as it takes to be written alike.

    >>> plain(0.123456789), plain(0.30005000001), plain(float("inf")), plain(float("nan"))
    (0.123457, 0.30005000001, 'Infinity', None)
    """
    if value is None or math.isnan(value):
        return None
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    short = float(f"{value:.{_DIGITS}g}")
    return short if number(short) == number(value) else float(value)


def coded(values: Sequence[str]) -> tuple[list[str], list[int]]:
    """Returns the distinct values in order of appearance, and each value's place among them.

    >>> coded(["a", "b", "a"])
    (['a', 'b'], [0, 1, 0])
    """
    names = list(dict.fromkeys(values))
    place = {name: index for index, name in enumerate(names)}
    return names, [place[value] for value in values]
