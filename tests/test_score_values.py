"""Values of many entries are those of few; bounds hold whatever order the rows of a bin have."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from evalkit import dense_scores, score_keys, score_values
from evalkit import estimate as estimates
from evalkit.collect import Options, Rows, collect
from evalkit.dense_scores import resolution, score_sums_of
from evalkit.estimate import estimate
from evalkit.metrics import catalog
from evalkit.needs import needs
from evalkit.score_bins import ScoreBins
from evalkit.slicing.cubes import Cube, RollUp
from evalkit.sums import ScoreSums

NAMES = [name for name, metric in catalog().items() if metric.statistic.identity == "score_histogram"]
METRICS = [catalog()[name] for name in NAMES]


def histogram(n: int, slices: int, *, budget: int = 1 << 30, seed: int = 0, **more: Any) -> ScoreSums:
    """A histogram of random rows, each in the overall slice and in one other."""
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < 0.2).astype(np.int8)
    score = np.where(label == 1, rng.beta(3, 2, n), rng.beta(2, 4, n))
    cell = rng.integers(0, slices, n).astype(np.int32)
    whole = RollUp(0, ((),), np.zeros(slices, np.int32))
    each = RollUp(1, tuple((("s", str(i)),) for i in range(slices)), np.arange(slices, dtype=np.int32))
    cubes = [Cube(cell, slices, (whole, each))]
    arrays = {name: make(rng, n) for name, make in more.items()}
    rows = Rows(n=n, label=label, score=score, probabilities=True, **arrays)
    options = Options(budget_bytes=budget)
    [sums] = collect(needs([catalog()["roc_auc"]]), rows, cubes, [0, 1, 1 + slices], options).values()
    assert isinstance(sums, ScoreSums)
    return sums


def weights(rng: np.random.Generator, n: int) -> Any:
    return rng.choice([0.5, 1.0, 3.0], n)


def groups(rng: np.random.Generator, n: int) -> Any:
    return rng.integers(0, 256, n).astype(np.int32)


@pytest.mark.parametrize("weighted", [False, True], ids=["counts", "weights"])
@pytest.mark.parametrize("binned", [False, True], ids=["exact", "binned"])
def test_blocks_of_slices_give_what_one_pass_gives(
    monkeypatch: pytest.MonkeyPatch, weighted: bool, binned: bool
) -> None:
    more: dict[str, Any] = {"weight": weights} if weighted else {}
    sums = histogram(30_000, 7, budget=400_000 if binned else 1 << 30, **more)
    assert (sums.bins is not None) == binned
    once = score_values.values_of(METRICS, sums, gradients=True, bounded=True)
    monkeypatch.setattr(score_values, "_SMALL", 0)
    monkeypatch.setattr(score_values, "_BLOCK", 1 << 14)
    for gradients in (True, False):
        blocks = score_values.values_of(METRICS, sums, gradients=gradients, bounded=True)
        np.testing.assert_allclose(blocks.value, once.value, rtol=1e-7, atol=1e-10)
        np.testing.assert_allclose(blocks.expected, once.expected, rtol=1e-7)
        np.testing.assert_allclose(blocks.binning, once.binning, rtol=1e-7, atol=1e-12)
    again = score_values.values_of(METRICS, sums, gradients=True).gradient
    assert again is not None
    assert once.gradient is not None
    for name, mine, other in zip(NAMES, again, once.gradient, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-9 * np.abs(other).max() + 1e-15, err_msg=name)


def counted(*of_slices: tuple[Any, Any]) -> ScoreSums:
    """A histogram of the scores and labels of each slice."""
    parts = []
    for number, (score, label) in enumerate(of_slices):
        keys, place = np.unique(score_keys.keys(np.asarray(score, np.float64), True), return_inverse=True)
        count = np.zeros((len(keys), 2), np.int64)
        np.add.at(count, (place, np.asarray(label, np.int64)), 1)
        parts.append((np.full(len(keys), number, np.int32), keys.astype(np.int64), count))
    slices, keys, count = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return ScoreSums(slices, keys, None, count, None, None, None, "float64", True, len(of_slices))


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def hard_fits(rng: np.random.Generator) -> dict[str, tuple[Any, Any]]:
    """Scores whose calibration is hard to fit from a coarse histogram."""
    n = 5000
    forest = rng.beta(0.3, 0.3, n)
    voted = rng.random(n) < forest
    forest = np.where(rng.random(n) < 0.3, np.round(forest), forest)
    odds = np.sort(rng.normal(0, 2, n))
    split = np.arange(n) >= n // 2
    nearly = split.copy()
    nearly[n // 2 - 2], nearly[n // 2 + 1] = True, False
    heavy = np.clip(rng.standard_t(1, n) * 5, -36, 36)
    return {
        "saturated": (forest, voted),
        "separated": (sigmoid(odds), split),
        "nearly separated": (sigmoid(odds), nearly),
        "heavy tails": (sigmoid(heavy), rng.random(n) < 0.001),
        "too extreme": (sigmoid(np.clip(10 * odds, -36, 36)), rng.random(n) < sigmoid(odds)),
        "one class": (sigmoid(odds), np.zeros(n, bool)),
        "reversed": (sigmoid(odds), rng.random(n) < sigmoid(-5 * odds)),
    }


@pytest.mark.parametrize("seed", range(3))
def test_hard_calibrations_of_large_histograms_are_those_of_small_ones(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    cases = hard_fits(np.random.default_rng(seed))
    metrics = [catalog()[name] for name in ("calibration_slope", "calibration_intercept")]
    sums = counted(*cases.values())
    small = score_values.values_of(metrics, sums, gradients=False).value
    monkeypatch.setattr(score_values, "_SMALL", 0)
    large = score_values.values_of(metrics, sums, gradients=False).value
    assert np.isnan(small[0]).tolist() == [name in ("separated", "one class") for name in cases]
    np.testing.assert_allclose(large, small, rtol=1e-6, atol=1e-9)


def test_slices_without_entries_are_undefined_in_large_histograms(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    score = rng.random(300)
    rows = score, rng.random(300) < score
    sums = counted(rows, rows)
    with_empty = sums.place(np.array([1, 3]), 6)
    monkeypatch.setattr(score_values, "_SMALL", 0)
    monkeypatch.setattr(score_values, "_BLOCK", 64)
    for gradients in (True, False):
        full, found = (score_values.values_of(METRICS, s, gradients=gradients).value for s in (sums, with_empty))
        np.testing.assert_allclose(found[:, [1, 3]], full, rtol=1e-7)
        assert np.isnan(found[:, [0, 2, 4, 5]]).all()


GRADED = ("average_precision", "calibration_slope", "roc_auc")


@pytest.mark.parametrize("more", [{}, {"weight": weights}, {"group": groups}], ids=["rows", "weights", "groups"])
def test_standard_errors_of_a_thinned_histogram_are_those_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    sums = histogram(100_000, 3, **more)
    whole = estimate(METRICS, sums)
    monkeypatch.setattr(estimates, "_MOST_GRADED", 2000)
    for thin, exact in zip(estimate(METRICS, sums), whole, strict=True):
        np.testing.assert_allclose(thin.value, exact.value, rtol=1e-7, atol=1e-10)
        if exact.metric.kind not in ("bootstrap", "none"):
            np.testing.assert_allclose(np.sqrt(thin.variance), np.sqrt(exact.variance), rtol=5e-3)
        if exact.metric.name in GRADED:  # each is compiled by itself
            np.testing.assert_allclose(
                thin.gradient, exact.gradient, rtol=1e-5, atol=1e-9 * np.abs(exact.gradient).max() + 1e-15
            )


def test_binned_clustered_sums_take_values_from_the_fine_histogram() -> None:
    exact, binned = histogram(100_000, 3, group=groups), histogram(100_000, 3, group=groups, budget=2_000_000)
    assert binned.fine is not None
    assert binned.bins is not None
    assert len(np.unique(binned.keys)) < 600 < len(np.unique(binned.fine.keys))
    for name in ("roc_auc", "average_precision"):
        [mine], [other] = estimate([catalog()[name]], binned), estimate([catalog()[name]], exact)
        assert (np.abs(mine.value - other.value) <= mine.bound + 1e-12).all()
        assert (mine.bound < 5e-3).all()
        np.testing.assert_allclose(np.sqrt(mine.variance), np.sqrt(other.variance), rtol=0.02)


# --- bounds ---

rows = st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.sampled_from([1.0, 1.0, 0.5, 2.5])), min_size=2)


@settings(max_examples=200)
@given(rows, st.sets(st.integers(1, 9)), st.booleans())
def test_a_bound_holds_for_the_scores_within_the_bins(
    drawn: list[tuple[int, bool, float]], inner: set[int], weighted: bool
) -> None:
    place, positive, weight = (np.array(column) for column in zip(*drawn, strict=True))
    if positive.all() or not positive.any():
        return
    score, label = place / 10, positive.astype(np.int8)
    used = weight if weighted else np.ones(len(label))
    inner_keys = score_keys.keys(np.array(sorted(inner)) / 10, True)
    bins = ScoreBins(np.concatenate([[0], inner_keys]).astype(np.int64), "float64", True)
    data = Rows(len(label), label, score, weight=used if weighted else None, probabilities=True)
    cube = Cube(np.zeros(len(label), np.int32), 1, (RollUp(0, ((),), np.zeros(1, np.int32)),))
    [sums] = collect(needs([catalog()["roc_auc"]]), data, [cube], [0, 1], Options()).values()
    assert isinstance(sums, ScoreSums)
    area, precision = estimate([catalog()["roc_auc"], catalog()["average_precision"]], sums.binned(bins))
    exact = roc_auc_score(label, score, sample_weight=used)
    assert abs(area.value[0] - exact) <= area.bound[0] + 1e-12
    exact = average_precision_score(label, score, sample_weight=used)
    assert abs(precision.value[0] - exact) <= precision.bound[0] + 1e-12


def in_bins(label: Any, each: int) -> estimates.Estimate:
    """The average precision of rows in descending order of their scores, where a bin holds so many neighbours."""
    n = len(label)
    order = np.arange(n, dtype=np.float64)[::-1] / n
    data = Rows(n, label.astype(np.int8), order, probabilities=True)
    cube = Cube(np.zeros(n, np.int32), 1, (RollUp(0, ((),), np.zeros(1, np.int32)),))
    [sums] = collect(needs([catalog()["roc_auc"]]), data, [cube], [0, 1], Options()).values()
    assert isinstance(sums, ScoreSums)
    starts = score_keys.keys(np.sort(order[::-each][1:]), True) - 1
    bins = ScoreBins(np.concatenate([[0], starts]).astype(np.int64), "float64", True)
    [found] = estimate([catalog()["average_precision"]], sums.binned(bins))
    assert found.rows[0] == n
    return found


def test_the_bound_of_average_precision_is_nearly_reached() -> None:
    """Ten bins of 20 positives and 20 negatives, in each bin positives first, or last."""
    label = np.tile(np.repeat([1, 0], 20), 10)
    for ordered in (label, 1 - label):
        found = in_bins(ordered, 40)
        away = abs(found.value[0] - average_precision_score(ordered, np.arange(400)[::-1]))
        assert 0.3 * found.bound[0] < away <= found.bound[0]


@pytest.mark.parametrize("seed", range(5))
def test_an_average_precision_of_small_bins_is_the_middle_of_all_orders_within_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, each = 6000, int(rng.integers(2, 12))
    label = (rng.random(n) < np.linspace(0.9, 0.05, n)).astype(np.int64)
    found = in_bins(label, each)
    within = np.arange(n) // each
    worst = average_precision_score(label[np.lexsort((label, within))], np.arange(n)[::-1])
    best, tied = (average_precision_score(label, above - within) for above in (label / 2, 0))
    assert worst < tied < best
    assert found.value[0] == pytest.approx((worst + best) / 2, abs=0.02 * (best - worst))
    assert found.bound[0] == pytest.approx((best - worst) / 2, rel=0.04)
    assert abs(found.value[0] - average_precision_score(label, np.arange(n)[::-1])) <= found.bound[0]


# --- from cells to slices ---


def roll_ups(cells: int) -> Iterable[RollUp]:
    yield RollUp(0, ((),), np.zeros(cells, np.int32))
    yield RollUp(1, tuple((("a", str(i)),) for i in range(3)), (np.arange(cells) % 3).astype(np.int32))
    partial = np.where(np.arange(cells) % 2 == 1, np.arange(cells) // 2, -1).astype(np.int32)
    yield RollUp(2, tuple((("b", str(i)),) for i in range(cells // 2)), partial)


@pytest.mark.parametrize("width", [8, 1500])
def test_entries_of_slices_are_sums_of_their_cells(width: int) -> None:
    rng = np.random.default_rng(0)
    cells, offsets = 12, [0, 1, 4, 10]
    count = rng.poisson(0.7, (cells, width, 2))
    total = count * 1.5
    bins = ScoreBins(np.arange(width, dtype=np.int64) * 1000, "float64", True)
    kept = list(roll_ups(cells))
    sums = score_sums_of([({"count": count, "total": total, "square": total * 1.5}, kept)], bins, offsets)
    for roll_up in kept:
        for index in range(len(roll_up.keys)):
            expected = count[roll_up.slices == index].sum(0)
            own = sums.slices == offsets[roll_up.slice_set] + index
            dense = np.zeros((width, 2), dtype=np.int64)
            dense[bins.of(sums.keys[own])] = sums.count[own]
            assert np.array_equal(dense, expected)
            assert sums.count[own].any(axis=1).all()
    np.testing.assert_allclose(sums.weights, 1.5 * sums.count)
    np.testing.assert_allclose(sums.squares, 2.25 * sums.count)


@pytest.mark.parametrize("weighted", [False, True])
def test_dense_histograms_take_half_of_the_budget(weighted: bool) -> None:
    for cells in (1, 100, 500, 100_000):
        most = resolution(cells, weighted=weighted, budget_bytes=1 << 29)
        assert most == 16 or most * cells * 2 * (20 if weighted else 4) <= 1 << 28
        assert 16 <= most <= 16384


def tables(weighted: bool, *, slices: int = 6, width: int = 900) -> tuple[ScoreSums, ScoreSums]:
    """The same histogram as a table, and as entries."""
    rng = np.random.default_rng(5)
    starts = np.append(0, score_keys.keys(np.linspace(0, 1, width + 1)[1:-1], True)).astype(np.int64)
    bins = ScoreBins(starts, "float64", True)
    rate = np.linspace(0.02, 0.9, width)
    mean = rng.choice([0.3, 3.0, 20.0], slices)[:, None, None] * np.stack([1 - rate, rate], axis=1)
    table: dict[str, Any] = {"count": rng.poisson(mean).astype(np.int32)}
    table["count"][-1] = 0
    if weighted:
        table["total"] = table["count"] * rng.uniform(0.5, 2, table["count"].shape)
        table["square"] = table["total"] ** 2 * 1.2 / np.maximum(table["count"], 1)
    return ScoreSums.of_table(table, bins), ScoreSums.of_table(table, bins).laid_out()


@pytest.mark.parametrize("weighted", [False, True], ids=["counts", "weights"])
def test_a_table_gives_what_its_entries_give(monkeypatch: pytest.MonkeyPatch, weighted: bool) -> None:
    table, entries = tables(weighted)
    assert table.table is not None
    assert entries.table is None
    assert table.weighted == entries.weighted == weighted
    assert table.entries == entries.entries == len(entries.keys)
    for name in ("count", "total", "square") if weighted else ("count",):
        np.testing.assert_allclose(table.totals(name), entries.totals(name), rtol=1e-12)
    expected = score_values.values_of(METRICS, entries, gradients=False, bounded=True)
    for block in (1 << 10, 1 << 17):
        monkeypatch.setattr(score_values, "_TABLE_BLOCK", block)
        found = score_values.values_of(METRICS, table, gradients=False, bounded=True)
        np.testing.assert_allclose(found.value, expected.value, rtol=1e-7, atol=1e-10)
        np.testing.assert_allclose(found.expected, expected.expected, rtol=1e-7)
        np.testing.assert_allclose(found.binning, expected.binning, rtol=1e-7, atol=1e-12)
    assert "keys" not in vars(table)
    thin, exact = (sums.thinned(32) for sums in (table, entries))
    assert np.array_equal(thin.keys, exact.keys)
    np.testing.assert_allclose(thin.weights, exact.weights)


def test_a_large_and_full_histogram_stays_a_table_until_entries_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    bins = ScoreBins(np.arange(500, dtype=np.int64) * 1000, "float64", True)
    [_, each, *_] = roll_ups(3)
    for rate, small, kept in ((2.0, 0, True), (0.01, 0, False), (2.0, 1 << 18, False)):
        monkeypatch.setattr(dense_scores, "_SMALL", small)
        count = rng.poisson(rate, (3, 500, 2)).astype(np.int32)
        sums = score_sums_of([({"count": count}, [each])], bins, [0, 0, 3])
        assert (sums.table is not None) == kept
        assert np.array_equal(sums.between(1, 2).count, count[1][count[1].any(axis=1)])
        assert np.array_equal(sums.bin_numbers, bins.of(sums.keys))
        assert sums.count.dtype == np.int64


def test_sums_that_are_no_table_have_no_further_attributes() -> None:
    _, entries = tables(False)
    with pytest.raises(AttributeError, match="'ScoreSums' object has no attribute 'keyz'"):
        entries.keyz  # type: ignore[attr-defined]  # noqa: B018
