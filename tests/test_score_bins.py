"""Bins of scores are balanced whatever the distribution, and every way to find a score's bin agrees."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from evalkit import kernels, score_keys
from evalkit.score_bins import TABLE_SIZE, ScoreBins, balanced, folded, highest_key, keys_in_order, sampled

Drawn = tuple[NDArray[Any], NDArray[np.bool_]]
N = 1 << 17


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def beta(rng: np.random.Generator) -> Drawn:
    label = rng.random(N) < 0.3
    return np.where(label, rng.beta(3, 2, N), rng.beta(2, 4, N)).astype("float32"), label


def logit_normal(rng: np.random.Generator) -> Drawn:
    score = _sigmoid(rng.normal(-1, 2, N))
    return score.astype("float32"), rng.random(N) < score


def log_odds(rng: np.random.Generator) -> Drawn:
    score = rng.normal(-1, 2, N)
    return score, rng.random(N) < _sigmoid(score)


def rare_events(rng: np.random.Generator) -> Drawn:
    score = 1e-5 * np.exp(1.5 * rng.standard_normal(N))
    return score.astype("float32"), rng.random(N) < np.minimum(500 * score, 1)


def narrow(rng: np.random.Generator) -> Drawn:
    share = rng.random(N)
    return 0.5 + 0.001 * share, rng.random(N) < share


def near_one(rng: np.random.Generator) -> Drawn:
    share = rng.random(N)
    return 1 - 1e-9 * share, rng.random(N) < share


def heavy_tails(rng: np.random.Generator) -> Drawn:
    return rng.standard_cauchy(N), rng.random(N) < 0.5


def many_zeros(rng: np.random.Generator) -> Drawn:
    """A tenth of all scores is 0; labels follow the others."""
    score = np.where(rng.random(N) < 0.1, 0.0, rng.beta(2, 5, N))
    return score.astype("float32"), rng.random(N) < score


SHAPES = [beta, logit_normal, log_odds, rare_events, narrow, near_one, heavy_tails, many_zeros]


def bins_of(score: NDArray[Any], label: NDArray[np.bool_], most: int = 8192) -> ScoreBins:
    unit = bool(score.min() >= 0 and score.max() <= 1)
    keys, labels = keys_in_order(score_keys.keys(score, unit), label.astype(np.int8))
    return sampled(keys, labels, most, str(score.dtype), unit)


@pytest.mark.parametrize("highest", [1000, 1 << 63])
def test_keys_come_in_order_with_their_labels_of_equal_keys_negatives_first(highest: int) -> None:
    rng = np.random.default_rng(0)
    keys = np.append(rng.integers(0, 30, 500), highest - 1)
    labels = rng.integers(0, 2, 501).astype(np.int8)
    found = keys_in_order(keys, labels)
    assert list(zip(*(of.tolist() for of in found), strict=True)) == sorted(
        zip(keys.tolist(), labels.tolist(), strict=True)
    )


def tied_pairs(score: NDArray[Any], label: NDArray[np.bool_], bins: ScoreBins) -> float:
    """Half the share of pairs of a positive and a negative that fall in one bin."""
    place = bins.of(score_keys.keys(score, bins.probabilities))
    positive = np.bincount(place, weights=label, minlength=len(bins))
    negative = np.bincount(place, weights=~label, minlength=len(bins))
    return float((positive * negative).sum() / positive.sum() / negative.sum() / 2)


@pytest.mark.parametrize("draw", SHAPES)
def test_an_area_is_within_a_ten_thousandth_for_scores_of_every_shape(draw: Callable[..., Drawn]) -> None:
    score, label = draw(np.random.default_rng(0))
    bins = bins_of(score[::2], label[::2])
    assert len(bins) <= 2 * 8192
    assert tied_pairs(score[1::2], label[1::2], bins) < 1e-4


@pytest.mark.parametrize("draw", SHAPES)
def test_bins_of_two_samples_have_most_edges_in_common(draw: Callable[..., Drawn]) -> None:
    score, label = draw(np.random.default_rng(1))
    parts = [bins_of(score[start::2], label[start::2]) for start in (0, 1)]
    both = parts[0].common(parts[1])
    assert both == parts[1].common(parts[0])
    assert set(both.starts) <= set(parts[0].starts) & set(parts[1].starts)
    assert tied_pairs(score, label, both) < 1.5e-4


@pytest.mark.parametrize("draw", SHAPES)
def test_the_table_and_the_kernel_find_the_bin_of_every_key(draw: Callable[..., Drawn]) -> None:
    score, label = draw(np.random.default_rng(2))
    score = np.concatenate([score, score[:4] * 0, np.array([1, 0.5, 1e-30, 0.999], score.dtype)])
    if score.min() < 0:
        score = np.concatenate([score, np.array([-1e30, 1e30, -1e-30], score.dtype)])
    label = np.resize(label, len(score))
    bins = bins_of(score, label, 512)
    key = score_keys.keys(score, bins.probabilities)
    expected = bins.of(key)
    table, shift, lowest, gap = bins.lookup()
    assert len(table) <= TABLE_SIZE
    place = np.clip(folded(key >> shift, gap) - lowest, 0, len(table) - 1)
    assert np.array_equal(table[place], expected)
    counted = kernels.score_bins(
        score, label.astype(np.int8), np.zeros(len(score), np.int32), 1, None,
        **bins.lookup()._asdict(), bins=len(bins), probabilities=bins.probabilities, chunk_rows=1 << 16,
    )["count"]  # fmt: skip
    assert np.array_equal(counted[0, :, 1], np.bincount(expected, weights=label, minlength=len(bins)))
    assert np.array_equal(counted[0, :, 0], np.bincount(expected, weights=~label, minlength=len(bins)))


values = st.floats(-1e6, 1e6) | st.sampled_from([0.0, -0.0, 5e-324, -1e-300, 1.0, 0.5])


@given(st.lists(values, min_size=1, max_size=40), st.integers(0, 6), st.sampled_from(["float32", "float64"]))
def test_every_score_lies_between_the_edges_of_its_bin(drawn: list[float], bits: int, dtype: str) -> None:
    score = np.array(drawn).astype(dtype)
    bins = balanced(score_keys.keys(score, False), 1 << bits, dtype, False)
    low, high = bins.edges()
    place = bins.of(score_keys.keys(score, False))
    assert ((low[place] <= score) & (score <= high[place])).all()
    assert (low[1:] >= high[:-1]).all()  # 0 and -0 have keys of their own
    assert np.isfinite(bins.middles).all()
    table, shift, lowest, gap = bins.lookup()
    key = score_keys.keys(score, False) >> shift
    assert np.array_equal(table[np.clip(folded(key, gap) - lowest, 0, len(table) - 1)], place)


def test_scores_with_many_rows_have_bins_of_their_own() -> None:
    score = np.round(np.random.default_rng(3).beta(2, 3, 100_000), 2)
    bins = balanced(score_keys.keys(score, True), 1024, "float64", True)
    distinct, held = np.unique(score, return_counts=True)
    distinct = distinct[held > len(score) / 1024]
    assert len(np.unique(bins.of(score_keys.keys(distinct, True)))) == len(distinct)


def test_bins_start_at_what_is_asked_for_as_near_as_a_table_tells() -> None:
    score = np.random.default_rng(4).beta(2, 3, 10_000).astype("float32")
    wanted = int(score_keys.keys(np.array([0.3], "float32"), True)[0])
    bins = balanced(score_keys.keys(score, True), 64, "float32", True, also=[wanted])
    starts = score_keys.scores(bins.starts, "float32", True)
    assert np.abs(starts - 0.3).min() < 1e-4
    assert bins.lookup().table.size <= TABLE_SIZE


def test_no_rows_make_one_bin() -> None:
    bins = balanced(np.zeros(0, np.int64), 64, "float64", False)
    assert bins.starts.tolist() == [np.iinfo(np.int64).min]
    assert bins.of(np.array([highest_key("float64", False)])).tolist() == [0]
    assert bins.middles.tolist() == [0.0] or np.isfinite(bins.middles).all()


def test_the_top_scores_have_bins_finer_than_their_rank() -> None:
    """A slice with a hundredth of the rows has its best ranks a hundred times as deep among all."""
    rng = np.random.default_rng(4)
    score = rng.beta(2, 4, 1 << 20)
    bins = bins_of(score, rng.random(len(score)) < score, 4096)
    place = bins.of(score_keys.keys(np.sort(score)[::-1], True))
    for rank in (100, 200, 400, 800):
        assert len(np.unique(place[rank : 2 * rank])) >= 32


def test_few_bins_are_not_spent_on_the_top() -> None:
    rng = np.random.default_rng(4)
    score = rng.beta(2, 4, N)
    bins = bins_of(score, rng.random(N) < score, 16)
    held = np.bincount(bins.of(score_keys.keys(score, True)), minlength=len(bins))
    assert held.max() < N / 6


def test_bins_lie_between_the_top_rows_of_the_sample() -> None:
    """A small slice has its second and third row where the sample has none."""
    rng = np.random.default_rng(4)
    score = rng.beta(2, 4, 1 << 20)
    bins = bins_of(score, rng.random(len(score)) < score, 8192)
    top = np.sort(score_keys.keys(np.sort(score)[-200:], True))
    assert (np.diff(bins.of(top)) >= 3).mean() > 0.8
