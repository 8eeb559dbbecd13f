"""Sums move, add, subtract and coarsen as if the rows themselves had been counted anew."""

from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from evalkit import score_keys
from evalkit.compilation import scoped
from evalkit.errors import DataError
from evalkit.metrics.moments import moments
from evalkit.score_bins import ScoreBins
from evalkit.statistic import Batch
from evalkit.sums import FieldSums, ScoreSums, regroup

Entry = tuple[int, float, int, int, float]  # slice, score, group, label, weight
Cells = dict[tuple[int, int, int], tuple[list[int], list[float], list[float]]]

SLICES = 4
SCORES = [0.0, 0.1, 0.1 + 1e-12, 0.25, 0.5, 0.75, 1 - 1e-9, 1.0]
entries = st.lists(
    st.tuples(
        st.integers(0, SLICES - 1),
        st.sampled_from(SCORES),
        st.integers(0, 2),
        st.integers(0, 1),
        st.sampled_from([0.5, 1.0, 2.0]),
    ),
    max_size=25,
)


def counted(
    rows: list[Entry], *, grouped: bool = False, weighted: bool = True, probabilities: bool = True
) -> ScoreSums:
    """The histogram of rows, one unordered entry for each row first."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    labels = table[:, 3].astype(np.int64)
    one_hot = np.stack([1 - labels, labels], axis=1)
    weight = one_hot * table[:, 4:5]
    raw = ScoreSums(
        slices=table[:, 0].astype(np.int32),
        keys=np.asarray(score_keys.keys(table[:, 1].copy(), probabilities), dtype=np.int64),
        groups=table[:, 2].astype(np.int32) if grouped else None,
        count=one_hot,
        total=weight if weighted else None,
        square=weight**2 if weighted else None,
        bins=None,
        dtype="float64",
        probabilities=probabilities,
        size=SLICES,
    )
    return regroup(raw, ordered=False)


def held(sums: ScoreSums) -> Cells:
    """What a histogram says, as a dictionary."""
    groups = np.zeros(len(sums.keys), dtype=int) if sums.groups is None else sums.groups
    places = zip(sums.slices.tolist(), sums.keys.tolist(), groups.tolist(), strict=True)
    values = zip(sums.count.tolist(), sums.weights.tolist(), sums.squares.tolist(), strict=True)
    return dict(zip(places, values, strict=True))


def by_hand(rows: list[Entry], *, grouped: bool = False, bins: ScoreBins | None = None) -> Cells:
    """The same, from the rows."""
    cells: Cells = defaultdict(lambda: ([0, 0], [0.0, 0.0], [0.0, 0.0]))
    for slice_, score, group, label, weight in rows:
        key = int(score_keys.keys(np.array([score]), True)[0])
        key = key if bins is None else int(bins.starts[bins.of(np.array([key]))[0]])
        count, total, square = cells[slice_, key, group if grouped else 0]
        count[label] += 1
        total[label] += weight
        square[label] += weight**2
    return dict(sorted(cells.items()))


@given(entries, st.booleans())
def test_a_histogram_holds_each_slice_score_and_group_once_in_order(rows: list[Entry], grouped: bool) -> None:
    sums = counted(rows, grouped=grouped)
    assert held(sums) == by_hand(rows, grouped=grouped)
    assert list(held(sums)) == sorted(held(sums))


@given(entries, entries, st.booleans())
def test_histograms_add_as_their_rows_do(left: list[Entry], right: list[Entry], grouped: bool) -> None:
    added = counted(left, grouped=grouped).add(counted(right, grouped=grouped))
    assert held(added) == by_hand(left + right, grouped=grouped)


@given(entries, entries)
def test_a_histogram_taken_away_leaves_no_trace(left: list[Entry], right: list[Entry]) -> None:
    rest = counted(left + right).add(counted(right), sign=-1)
    assert held(rest) == by_hand(left)
    assert not len(counted(left).add(counted(left), sign=-1).keys)


@given(entries, entries)
def test_unweighted_and_weighted_histograms_add(left: list[Entry], right: list[Entry]) -> None:
    ones = [(*row[:4], 1.0) for row in left]
    assert held(counted(left, weighted=False).add(counted(right))) == by_hand(ones + right)


KEYS = np.asarray(score_keys.keys(np.array(SCORES), True), dtype=np.int64)
cuts = st.sets(st.sampled_from([*KEYS.tolist(), *(KEYS[2:6] - 1).tolist()])).map(
    lambda inner: ScoreBins(np.array(sorted({0, *inner}), dtype=np.int64), "float64", True)
)


@given(entries, cuts, st.booleans())
def test_bins_are_a_roll_up(rows: list[Entry], bins: ScoreBins, grouped: bool) -> None:
    coarse = counted(rows, grouped=grouped).binned(bins)
    assert held(coarse) == by_hand(rows, grouped=grouped, bins=bins)
    assert coarse.binned(bins) is coarse


@given(entries, entries, cuts, st.booleans())
def test_binned_then_added_is_added_then_binned(
    left: list[Entry], right: list[Entry], bins: ScoreBins, grouped: bool
) -> None:
    mine, theirs = counted(left, grouped=grouped), counted(right, grouped=grouped)
    assert held(mine.binned(bins).add(theirs.binned(bins))) == held(mine.add(theirs).binned(bins))
    assert held(mine.binned(bins).add(theirs)) == held(mine.add(theirs).binned(bins))


@given(entries, entries, cuts, cuts)
def test_histograms_add_at_the_bins_that_both_have(
    left: list[Entry], right: list[Entry], one: ScoreBins, other: ScoreBins
) -> None:
    added = counted(left).binned(one).add(counted(right).binned(other))
    assert added.bins == one.common(other)
    assert held(added) == by_hand(left + right, bins=one.common(other))


@given(st.lists(entries, min_size=3, max_size=3), st.lists(cuts, min_size=3, max_size=3))
def test_the_order_of_adding_histograms_of_other_bins_does_not_matter(
    parts: list[list[Entry]], bins: list[ScoreBins]
) -> None:
    a, b, c = (counted(part).binned(cut) for part, cut in zip(parts, bins, strict=True))
    assert held(a.add(b).add(c)) == held(a.add(b.add(c))) == held(c.add(b).add(a))


@given(entries, entries, cuts, cuts, cuts)
def test_a_fine_histogram_beside_groups_moves_with_them(
    left: list[Entry], right: list[Entry], coarse: ScoreBins, one: ScoreBins, other: ScoreBins
) -> None:
    """Groups at a few bins, values at many; the sum has both, whichever side had them."""

    def two_levels(rows: list[Entry], fine: ScoreBins) -> ScoreSums:
        return replace(counted(rows, grouped=True).binned(coarse), fine=counted(rows).binned(fine))

    both = two_levels(left, one).add(two_levels(right, other))
    assert held(both) == by_hand(left + right, grouped=True, bins=coarse)
    assert held(both.margin()) == by_hand(left + right, bins=one.common(other))
    mixed = counted(left, grouped=True).add(two_levels(right, other))
    assert held(mixed.margin()) == by_hand(left + right, bins=other)
    assert held(mixed.ungrouped()) == by_hand(left + right, bins=coarse)
    assert held(both.take(np.array([2, 0])).margin()) == held(both.margin().take(np.array([2, 0])))
    order = np.array([3, 1, 0, 2])
    assert held(both.place(order, 5).margin()) == held(both.margin().place(order, 5))


@given(entries, st.integers(1, 8), st.booleans())
def test_thinner_sums_hold_the_same_rows_in_fewer_bins(rows: list[Entry], most: int, grouped: bool) -> None:
    sums = counted(rows, grouped=grouped)
    thin = sums.thinner(most)
    assert thin.bins is not None
    assert len(np.unique(thin.keys)) <= 3 * most
    assert held(thin) == by_hand(rows, grouped=grouped, bins=thin.bins)


@given(entries, st.integers(1, 6), st.booleans())
def test_thinning_a_slice_joins_its_neighbours(rows: list[Entry], most: int, grouped: bool) -> None:
    sums = counted(rows, grouped=grouped)
    thin = sums.thinned(most)
    for index in range(SLICES):
        mine, whole = thin.take(np.array([index])), sums.take(np.array([index]))
        assert set(mine.keys) <= set(whole.keys)
        assert mine.count.sum(0).tolist() == whole.count.sum(0).tolist()
        assert len(np.unique(mine.keys)) <= max(2 * most + 1, most)
    assert held(sums.thinned(10**6)) == held(sums)


@given(entries)
def test_the_margin_forgets_groups(rows: list[Entry]) -> None:
    assert held(counted(rows, grouped=True).margin()) == by_hand(rows)


@given(entries, st.permutations(range(SLICES)))
def test_slices_are_placed_and_taken(rows: list[Entry], order: list[int]) -> None:
    sums = counted(rows)
    index = np.array(order, dtype=np.int64)
    placed = sums.place(index, SLICES + 2)
    assert held(placed) == by_hand([(order[row[0]], *row[1:]) for row in rows])
    assert placed.size == SLICES + 2
    assert held(placed.take(index)) == held(sums)
    some = sums.take(index[:2])
    assert held(some) == by_hand([(order.index(row[0]), *row[1:]) for row in rows if row[0] in order[:2]])


@given(entries, entries)
def test_scores_inside_and_outside_the_unit_interval_add(left: list[Entry], right: list[Entry]) -> None:
    logits = counted(right, probabilities=False)
    added = counted(left).add(logits)
    assert not added.probabilities
    scored = zip(added.slices.tolist(), added.scores().tolist(), added.count.tolist(), strict=True)
    expected = counted(left + right)
    again = zip(expected.slices.tolist(), expected.scores().tolist(), expected.count.tolist(), strict=True)
    assert list(scored) == list(again)


def test_histograms_of_different_dtypes_do_not_add() -> None:
    sums = counted([(0, 0.5, 0, 1, 1.0)])
    with pytest.raises(DataError, match="float64 in one evaluation and float32"):
        sums.add(replace(sums, dtype="float32"))
    with pytest.raises(DataError, match="Binned scores"):
        sums.binned(ScoreBins(np.array([0, 5]), "float64", True)).add(counted([(0, 0.5, 0, 1, 1)], probabilities=False))


@given(st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1))
def test_a_key_is_turned_back_into_its_score(scores: list[float]) -> None:
    values = np.array(scores)
    assert np.array_equal(score_keys.scores(score_keys.keys(values, True), "float64", True), values)


# --- sums of fields ---


def field_rows(n: int, seed: int) -> NDArray[np.float64]:
    generator = np.random.default_rng(seed)
    return np.column_stack([generator.normal(1000.0, 3.0, n), generator.normal(1001.0, 3.0, n)])


def field_sums(values: NDArray[np.float64], pivot: float) -> FieldSums:
    """Sums of moments of one slice, taken from values minus a pivot."""
    with scoped():
        fields = np.asarray(moments.rows(Batch(label=values[:, 0], prediction=values[:, 1]), pivot))
    square = np.einsum("ni,nj->ij", fields, fields)
    largest = np.abs(fields).max(axis=0)
    return FieldSums(np.array([[len(fields)]]), fields.sum(0)[None], square[None], largest[None], np.array([pivot]))


@pytest.mark.parametrize("pivot", [0.0, 990.0, 1000.0, 1003.5])
def test_moving_the_pivot_is_taking_the_moments_anew(pivot: float) -> None:
    values = field_rows(50, seed=1)
    moved, anew = field_sums(values, 995.0).at_pivot(moments, np.array([pivot])), field_sums(values, pivot)
    assert moved.pivot is not None
    assert moved.pivot.tolist() == [pivot]
    np.testing.assert_allclose(moved.total, anew.total, rtol=1e-9, atol=1e-6)
    assert moved.square is not None
    assert anew.square is not None
    np.testing.assert_allclose(moved.square, anew.square, rtol=1e-6, atol=1e-2)


def test_fields_add_subtract_and_are_exactly_zero_without_rows() -> None:
    values = field_rows(40, seed=2)
    left, right = field_sums(values[:15], 1000.0), field_sums(values[15:], 1000.0)
    added = left.add(right)
    np.testing.assert_allclose(added.total, field_sums(values, 1000.0).total)
    assert added.largest is not None
    assert np.array_equal(added.largest, np.maximum(np.asarray(left.largest), np.asarray(right.largest)))
    nothing = added.add(left, -1).add(right, -1)
    assert not nothing.count.any()
    assert not nothing.total.any()
    assert nothing.square is not None
    assert not nothing.square.any()
    assert nothing.largest is not None
    assert np.isnan(nothing.largest).all()


def tenths(weights: list[float]) -> FieldSums:
    """Four cells of a confusion matrix, with the given weights in the first."""
    count = np.array([[len(weights), 0, 0, 0]])
    total = np.array([[sum(weights), 0.0, 0.0, 0.0]])
    return FieldSums(count, total, total**2)


def test_rounding_never_passes_for_a_denominator() -> None:
    both, one, other = tenths([0.1, 0.2]), tenths([0.2]), tenths([0.1])
    left = both.add(one, -1).add(other, -1)
    assert 0.1 + 0.2 - 0.2 - 0.1 != 0
    assert left.total.tolist() == [[0.0, 0.0, 0.0, 0.0]]


def test_the_margin_of_clustered_sums_adds_groups() -> None:
    generator = np.random.default_rng(0)
    count, total = generator.integers(0, 5, (3, 8, 4)), generator.random((3, 8, 4))
    sums = FieldSums(count, total)
    assert sums.clustered
    margin = sums.margin()
    assert not margin.clustered
    assert np.array_equal(margin.count, count.sum(1))
    np.testing.assert_allclose(margin.total, total.sum(1))
    assert margin.margin() is margin


def test_fields_are_placed_and_taken() -> None:
    generator = np.random.default_rng(0)
    parts: dict[str, Any] = {"count": generator.integers(0, 9, (2, 4)), "total": generator.random((2, 4))}
    sums = FieldSums(**parts, square=parts["total"] ** 2, largest=parts["total"])
    index = np.array([3, 1])
    placed = sums.place(index, 5)
    assert not placed.total[[0, 2, 4]].any()
    for name in ("count", "total", "square", "largest"):
        assert np.array_equal(getattr(placed, name)[index], getattr(sums, name))
        assert np.array_equal(getattr(placed.take(index), name), getattr(sums, name))
