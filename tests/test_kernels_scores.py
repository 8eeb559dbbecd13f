"""Histograms of scores that grow while rows stream past, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evalkit import score_keys
from evalkit.kernels import ScoreCounts, score_bins

BINS, SHIFT = 40, 16


def _settings(dtype: str = "float32", weighted: bool = False, **more: Any) -> dict[str, Any]:
    shift = SHIFT if dtype == "float32" else SHIFT + 29
    low, high = (int(key) >> shift for key in score_keys.keys(np.array([0.01, 1.0], dtype), probabilities=True))
    table = np.sort(np.random.default_rng(0).integers(0, BINS, high - low + 1)).astype(np.int32)
    fixed = {"bins": BINS, "table": table, "shift": shift, "lowest": low, "probabilities": True, "weighted": weighted}
    return {**fixed, **more}


def _rows(n: int, cells: int, seed: int = 0, dtype: str = "float32") -> Any:
    rng = np.random.default_rng(seed)
    score = rng.beta(1, 3, n).astype(dtype)
    label, codes = (rng.random(n) < score).astype(np.int8), rng.integers(0, cells, n).astype(np.int32)
    return score, label, codes, rng.lognormal(0, 2, n)


def _add(counts: ScoreCounts, rows: Any, cells: int, square: Any = None) -> None:
    score, label, codes, weight = rows
    counts.add(score, label, codes, weight if counts.weighted else None, cells, square)


def _bins(rows: Any, cells: int, **settings: Any) -> Any:
    score, label, codes, _ = rows
    return score_bins(score, label, codes, cells, None, **settings)


def _joined(parts: list[Any]) -> Any:
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


def _expected(rows: Any, cells: int, settings: dict[str, Any]) -> dict[str, Any]:
    score, label, codes, weight = rows
    key = score_keys.keys(score, settings["probabilities"]) >> settings["shift"]
    place = np.clip(key.astype(np.int64) - settings["lowest"], 0, len(settings["table"]) - 1)
    flat = (codes * BINS + settings["table"][place]) * 2 + label
    shape, size = (cells, BINS, 2), cells * BINS * 2
    sums = {"count": np.bincount(flat, minlength=size).reshape(shape)}
    if settings["weighted"]:
        sums |= {n: np.bincount(flat, weight**p, size).reshape(shape) for n, p in (("total", 1), ("square", 2))}
    return sums


def _assert_equal(sums: dict[str, Any], expected: dict[str, Any], rtol: float = 1e-12) -> None:
    assert set(sums) == set(expected)
    assert sums["count"].dtype.kind == "i"
    np.testing.assert_array_equal(sums["count"], expected["count"])
    for name in set(sums) - {"count"}:
        np.testing.assert_allclose(sums[name], expected[name], rtol=rtol)


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_histogram_equals_that_of_numpy(weighted: bool, dtype: str, wide: bool) -> None:
    rows, settings = _rows(5000, 6, dtype=dtype), _settings(dtype, weighted)
    counts = ScoreCounts(**settings, chunk_rows=1024, wide=wide)
    _add(counts, rows, 6)
    _assert_equal(counts.arrays(), _expected(rows, 6, settings), 1e-12 if wide else 1e-6)


@pytest.mark.parametrize("wide", [True, False])
def test_cells_may_be_added_between_batches(wide: bool) -> None:
    settings = _settings(weighted=True)
    counts = ScoreCounts(**settings, wide=wide)
    parts = [_rows(1500, cells, seed) for seed, cells in enumerate((2, 3, 11, 5))]
    for rows, cells in zip(parts, (2, 3, 11, 5), strict=True):
        _add(counts, rows, cells)
    together = _joined(parts)
    _assert_equal(counts.arrays(), _expected(together, 11, settings), 1e-12 if wide else 1e-6)


def test_counts_move_to_the_host_before_they_could_overflow() -> None:
    settings = _settings(weighted=True)
    counts = ScoreCounts(**settings, chunk_rows=1024, most_rows=2500)
    parts = [_rows(4000, cells, seed) for seed, cells in enumerate((3, 4))]
    for rows, cells in zip(parts, (3, 4), strict=True):
        _add(counts, rows, cells)
    together = _joined(parts)
    _assert_equal(counts.arrays(), _expected(together, 4, settings))


def test_reading_a_histogram_does_not_end_it() -> None:
    settings = _settings()
    rows = _rows(3000, 2)
    counts = ScoreCounts(**settings)
    _add(counts, rows, 2)
    first = counts.arrays()["count"].copy()
    _add(counts, rows, 2)
    np.testing.assert_array_equal(counts.arrays()["count"], 2 * first)


@pytest.mark.parametrize("weighted", [False, True])
def test_merging_puts_each_cell_where_it_is_told(weighted: bool) -> None:
    settings = _settings(weighted=weighted)
    left, right = _rows(2000, 3, 1), _rows(2000, 4, 2)
    counts, other = ScoreCounts(**settings), ScoreCounts(**settings)
    _add(counts, left, 3)
    _add(other, right, 4)
    cell_map = np.array([2, 5, 0, 1])
    counts.merge(other.arrays(), cell_map)
    moved = (right[0], right[1], cell_map[right[2]].astype(np.int32), right[3])
    together = _joined([left, moved])
    _assert_equal(counts.arrays(), _expected(together, 6, settings))


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(("mine", "theirs"), [(2, 6), (6, 2), (4, 4)])
def test_absorbing_equals_merging_however_many_cells_either_has(mine: int, theirs: int, swapped: bool) -> None:
    left, right = _rows(500, mine), _rows(400, theirs, seed=1)
    cells = max(mine, theirs)
    cell_map = np.arange(theirs)[::-1] if swapped else np.arange(theirs)
    counts, other = (ScoreCounts(**_settings()) for _ in range(2))
    _add(counts, left, mine)
    _add(other, right, theirs)
    counts.absorb(other, cell_map)
    moved = (*right[:2], cell_map[right[2]].astype(np.int32), right[3])
    _assert_equal(counts.arrays(), _expected(_joined([left, moved]), cells, _settings()))


def test_a_square_of_its_own_takes_the_place_of_squared_weights() -> None:
    rows, settings = _rows(2000, 3), _settings(weighted=True)
    counts = ScoreCounts(**settings)
    _add(counts, rows, 3, 3 * rows[3])
    sums = counts.arrays()
    np.testing.assert_allclose(sums["square"], 3 * sums["total"], rtol=1e-12)


def test_without_a_table_bins_are_the_leading_parts_of_keys() -> None:
    rows = _rows(3000, 2)
    settings = _settings()
    lowest, bins = settings["lowest"], len(settings["table"])
    shared: dict[str, Any] = {"shift": SHIFT, "lowest": lowest, "bins": bins, "probabilities": True, "chunk_rows": 1024}
    plain = _bins(rows, 2, **shared)
    table = _bins(rows, 2, **shared, table=np.arange(bins, dtype=np.int32))
    assert plain["count"].sum() == 3000
    np.testing.assert_array_equal(plain["count"], table["count"])


def test_scores_of_any_sign_fall_into_the_ends_of_the_table() -> None:
    scores = np.array([-1e30, -1.0, 0.0, 1.0, 1e30], "float32")
    low = int(score_keys.keys(np.array([-1.5], "float32"), probabilities=False)[0])
    sums = score_bins(
        scores, np.zeros(5, np.int8), np.zeros(5, np.int8), 1, None,
        table=np.array([0, 1, 2, 3], np.int32), shift=0, lowest=low, bins=4, probabilities=False, chunk_rows=1024,
    )  # fmt: skip
    assert sums["count"][0, :, 0].tolist() == [1, 0, 0, 4]


def test_scores_of_bfloat16_count_as_the_float32_that_they_are() -> None:
    import ml_dtypes

    score, *rest = _rows(2000, 3)
    short = score.astype(ml_dtypes.bfloat16)
    settings = _settings()
    of_short, of_wide = ScoreCounts(**settings), ScoreCounts(**settings)
    _add(of_short, (short, *rest), 3)
    _add(of_wide, (short.astype("float32"), *rest), 3)
    np.testing.assert_array_equal(of_short.arrays()["count"], of_wide.arrays()["count"])


def test_granules_around_0_are_one_where_there_is_a_gap() -> None:
    scores = np.array([-2.0, -1e-3, 0.0, 1e-3, 2.0], "float32")
    granules = (score_keys.keys(scores, probabilities=False) >> SHIFT).tolist()
    gap = granules[3] + 1
    counts = ScoreCounts(
        bins=5, table=np.minimum(np.arange(granules[4] - granules[0]), 4).astype(np.int32), shift=SHIFT,
        lowest=granules[0] + gap, probabilities=False, weighted=False, gap=gap,
    )  # fmt: skip
    counts.add(scores, np.zeros(5, np.int8), np.arange(5, dtype=np.int8), None, 5)
    first = [int(cell.argmax()) for cell in counts.arrays()["count"][:, :, 0]]
    assert first[0] == 0
    assert first[1] == first[2] == first[3]


def test_no_rows_make_empty_cells() -> None:
    counts = ScoreCounts(**_settings(weighted=True))
    assert counts.arrays()["count"].shape == (0, BINS, 2)
    none = (np.zeros(0, np.float32), np.zeros(0, np.int8), np.zeros(0, np.int32), np.zeros(0))
    _add(counts, none, 3)
    for array in counts.arrays().values():
        assert array.shape == (3, BINS, 2)
        assert not array.any()


def test_more_than_2_31_counts_are_refused() -> None:
    counts = ScoreCounts(**_settings(bins=1 << 20))
    with pytest.raises(ValueError, match="use fewer bins"):
        _add(counts, _rows(10, 2), 1 << 10)
