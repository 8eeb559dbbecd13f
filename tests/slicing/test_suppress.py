"""An attacker who sees every published count cannot tell the size of a group that is too small to be shown.

The attacker knows which slices exist (hidden ones are listed by name), so that every slice holds at least one row, and
solves for the smallest and the largest number of rows that each hidden slice can hold.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linprog

import evalkit as ek
from evalkit.errors import DataError
from evalkit.slicing.spec import SliceKey
from evalkit.slicing.suppress import suppressed

Table = NDArray[np.int64]
Set = dict[SliceKey, int]
BELOW = 5


def one_way(name: str, counts: Sequence[int]) -> Set:
    """The slices of one column."""
    return {((name, str(i)),): int(n) for i, n in enumerate(counts) if n}


def two_way(table: Table) -> Set:
    """The slices of a cross of two columns."""
    cells = product(range(table.shape[0]), range(table.shape[1]))
    return {(("a", str(i)), ("b", str(j))): int(table[i, j]) for i, j in cells if table[i, j]}


def ranges(table: Table, published: Sequence[tuple[NDArray[np.bool_], int]]) -> Any:
    """A function from a slice to the least and the most rows it can hold, given the published sums of cells."""
    present = (table > 0).ravel()
    rows = np.array([mask.ravel()[present] for mask, _ in published], dtype=np.float64)
    sums = np.array([n for _, n in published], dtype=np.float64)

    def of(mask: NDArray[np.bool_]) -> tuple[float, float]:
        target = mask.ravel()[present].astype(np.float64)
        ends = [linprog(sign * target, A_eq=rows, b_eq=sums, bounds=(1, None), method="highs") for sign in (1, -1)]
        low, high = (float(target @ np.asarray(end.x)) for end in ends)
        return low, high

    return of


def masks(table: Table) -> dict[SliceKey, NDArray[np.bool_]]:
    """The cells of each slice of `a`, `b` and their cross."""
    shape = table.shape
    found: dict[SliceKey, NDArray[np.bool_]] = {}
    for i in range(shape[0]):
        found[(("a", str(i)),)] = np.arange(shape[0])[:, None].repeat(shape[1], 1) == i
    for j in range(shape[1]):
        found[(("b", str(j)),)] = np.arange(shape[1])[None, :].repeat(shape[0], 0) == j
    for i, j in product(*map(range, shape)):
        found[("a", str(i)), ("b", str(j))] = found[(("a", str(i)),)] & found[(("b", str(j)),)]
    return found


def exposed(table: Table, sets: Sequence[Set], below: int) -> list[SliceKey]:
    """The slices of fewer than `below` rows whose size the published counts leave no doubt about."""
    hidden = suppressed(sets, int(table.sum()), below)
    cells = masks(table)
    published = [(np.ones(table.shape, dtype=bool), int(table.sum()))]
    for slices, gone in zip(sets, hidden, strict=True):
        published += [(cells[key], n) for key, n in slices.items() if key not in gone]
    possible = ranges(table, published)
    small = [key for slices in sets for key, n in slices.items() if n < below]
    assert all(any(key in gone for gone in hidden) for key in small)
    if all(set(slices) == gone for slices, gone in zip(sets, hidden, strict=True)):
        return []  # only the number of all rows is left
    return [key for key in small if np.ptp(possible(cells[key])) < 0.5]


counts = st.one_of(st.integers(0, 7), st.integers(0, 40))


@given(st.lists(counts, min_size=1, max_size=6), st.integers(2, 8))
def test_no_small_slice_of_one_column_can_be_told(values: list[int], below: int) -> None:
    table = np.array(values)[:, None]
    if table.sum() >= below:
        assert exposed(table, [one_way("a", values)], below) == []


@st.composite
def tables(draw: st.DrawFn) -> Table:
    shape = draw(st.tuples(st.integers(2, 4), st.integers(2, 4)))
    cells = st.lists(counts, min_size=shape[0] * shape[1], max_size=shape[0] * shape[1])
    return np.array(draw(cells)).reshape(shape)


@settings(max_examples=100)
@given(tables())
def test_no_small_slice_of_a_cross_and_its_columns_can_be_told(table: Table) -> None:
    if table.sum() >= BELOW:
        sets = [one_way("a", table.sum(1)), one_way("b", table.sum(0)), two_way(table)]
        assert exposed(table, sets, BELOW) == []


@settings(max_examples=50)
@given(tables())
def test_no_small_slice_of_a_cross_alone_can_be_told(table: Table) -> None:
    if table.sum() >= BELOW:
        assert exposed(table, [two_way(table)], BELOW) == []


@given(st.lists(st.integers(BELOW, 50), min_size=1, max_size=6))
def test_nothing_is_hidden_where_nothing_is_small(values: list[int]) -> None:
    assert suppressed([one_way("a", values)], sum(values), BELOW) == [set()]


def test_rows_in_no_slice_are_protected_as_a_slice_is() -> None:
    chosen = one_way("a", [20, 30])
    assert suppressed([chosen], 50, BELOW) == [set()]
    assert suppressed([chosen], 52, BELOW) == [{(("a", "0"),)}]


ROWS = pl.DataFrame(
    {
        "y": [0, 1] * 60,
        "p": np.linspace(0.01, 0.99, 120),
        "s": ["f"] * 70 + ["m"] * 43 + ["x"] * 4 + ["z"] * 3,
    }
)


def suppress(frame: pl.DataFrame, below: int) -> Any:
    return ek.evaluate(frame, label="y", score="p", metrics=["accuracy", "roc_auc"], slices=["s"], suppress_below=below)


def test_a_hidden_slice_keeps_its_name_and_nothing_else() -> None:
    table = suppress(ROWS, BELOW).to_polars().filter(pl.col("slice").is_in(["s=x", "s=z"]))
    assert table["status"].unique().to_list() == ["suppressed"]
    for column in ("value", "low", "high", "rows", "support", "weight"):
        assert table[column].null_count() == table.height


def test_no_sums_and_no_rows_of_hidden_slices_are_kept() -> None:
    [evaluation] = suppress(ROWS, BELOW).evaluations
    assert evaluation.rows is None
    assert [len(keys) for keys in evaluation.plan.keys] == [1, 2]
    assert {sums.total.shape[0] for sums in evaluation.sums.values() if hasattr(sums, "largest")} == {3}


def test_too_few_rows_altogether_are_refused() -> None:
    with pytest.raises(DataError, match="fewer than suppress_below=1,000"):
        suppress(ROWS, 1000)


def test_suppressed_results_do_not_add() -> None:
    result = suppress(ROWS, BELOW)
    with pytest.raises(ek.EvalkitError, match="suppressed slices do not add"):
        _ = result + result
