"""The same evaluation over rows with other outputs or groups: its slices stay, its sums are collected again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from evalkit import saved_rows
from evalkit.collect import Options, Rows, collect
from evalkit.needs import Need, needs
from evalkit.results import Evaluation
from evalkit.slicing.cubes import Cube, cubes
from evalkit.sums import AnySums


@dataclass(frozen=True)
class Layout:
    """Where the rows of an evaluation fall, computed once for many collections.

    Attributes:
        cells: cubes over its rows.
        offsets: of the slices as the cubes number them.
        taken: for each slice of the plan its number among these.
    """

    cells: Sequence[Cube]
    offsets: Sequence[int]
    taken: np.ndarray[tuple[int], np.dtype[np.int64]]

    def sums(self, needs: Sequence[Need], rows: Rows) -> dict[str, AnySums]:
        """Returns the sums of these rows in the plan's slices, by the identity of the statistic."""
        found = collect(needs, rows, self.cells, self.offsets, Options())
        return {identity: sums.take(self.taken) for identity, sums in found.items()}


def layout(evaluation: Evaluation) -> Layout:
    """Returns the layout of an evaluation that keeps its rows."""
    if evaluation.rows is None:
        raise ValueError("no rows are kept")
    plan, n = evaluation.plan, evaluation.rows.rows.n
    cells = cubes(plan.slice_sets, saved_rows.dimensions(evaluation), n, max(n, 1))
    keys = {roll_up.slice_set: roll_up.keys for cube in cells for roll_up in cube.roll_ups}
    offsets = [0, *np.cumsum([len(keys[i]) for i in range(len(plan.slice_sets))]).tolist()]
    found = {(i, key): offsets[i] + j for i in keys for j, key in enumerate(keys[i])}
    wanted = [(i, key) for i, of_set in enumerate(plan.keys) for key in of_set]
    return Layout(cells, offsets, np.array([found[key] for key in wanted], dtype=np.int64))


def recollected(evaluation: Evaluation, rows: Rows, where: Layout) -> Evaluation:
    """Returns the evaluation of other rows in the same places."""
    if evaluation.rows is None:
        raise ValueError("no rows are kept")
    sums = where.sums(needs([m for _, m in evaluation.metrics], weighted=rows.weight is not None), rows)
    return replace(evaluation, sums=sums, rows=replace(evaluation.rows, rows=rows))
