"""Collects sums in this process, from rows in memory."""

from __future__ import annotations

from collections.abc import Sequence

from evalkit.collect import Options, Rows, collect
from evalkit.slicing.cubes import Cube
from evalkit.statistic import Statistic
from evalkit.sums import AnySums


def run(
    statistics: Sequence[Statistic], rows: Rows, cubes: Sequence[Cube], offsets: Sequence[int], options: Options
) -> dict[str, AnySums]:
    """Returns the sums of each statistic by its identity; see `evalkit.collect.collect`."""
    return collect(statistics, rows, cubes, offsets, options)
