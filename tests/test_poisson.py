"""Poisson draws by hash: the law at every mean, and draws that know nothing of each other."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from evalkit.hashing import mix
from evalkit.poisson import LARGEST_EXACT, draws

MEANS = [0.1, 1.0, 5.0, 15.9, 16.1, 30.0, 1e3, 1e6, 1e9]
ENTRIES, REPLICATES = 500, 1000


def drawn(mean: float, seed: int = 5) -> NDArray[Any]:
    """Counts of many entries of one mean."""
    keys = np.random.default_rng(1).integers(0, 2**63, ENTRIES).astype(np.uint64)
    return draws(seed, keys, np.full(ENTRIES, mean), range(REPLICATES))


@pytest.mark.parametrize("mean", MEANS)
def test_counts_have_poissons_mean_variance_and_third_moment(mean: float) -> None:
    counts = (drawn(mean).ravel() - mean) / np.sqrt(mean)
    n = counts.size
    moments = [0.0, 1.0, mean**-0.5]  # of (count - mean) / sqrt(mean), powers 1 to 3
    sixth = 15 + 25 / mean + 1 / mean**2
    spreads = [1.0, 2 + 1 / mean, sixth - 1 / mean]  # variances of those powers
    for power, (moment, spread) in enumerate(zip(moments, spreads, strict=True), start=1):
        assert abs((counts**power).mean() - moment) < 4.5 * np.sqrt(spread / n), (power, mean)


@pytest.mark.parametrize("mean", MEANS)
def test_counts_follow_poissons_law(mean: float) -> None:
    counts = drawn(mean).ravel()
    inner = np.unique(stats.poisson.ppf(np.linspace(0.02, 0.98, 40), mean))
    edges = np.concatenate([[-1.0], inner, [np.inf]])
    expected = np.diff(stats.poisson.cdf(edges, mean))
    observed = np.diff(np.searchsorted(np.sort(counts), edges, side="right"))
    kept = expected * counts.size > 20
    assert stats.chisquare(observed[kept], expected[kept] / expected[kept].sum() * observed[kept].sum()).pvalue > 1e-4


def uniforms(seed: int, keys: NDArray[np.uint64], replicates: int) -> NDArray[Any]:
    """The uniforms that counts are made of, as the hash says."""
    start: NDArray[np.uint64] = mix(np.array([seed], dtype=np.uint64))
    numbers: NDArray[np.uint64] = mix(np.add(start, np.arange(replicates, dtype=np.uint64), dtype=np.uint64))
    hashed: NDArray[np.uint64] = mix(np.add.outer(numbers, keys).astype(np.uint64))
    return np.asarray(((hashed >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52)


@pytest.mark.parametrize("mean", [0.01, 0.1, 1.0, 1.01, 5.0, LARGEST_EXACT])
def test_up_to_a_mean_of_sixteen_a_count_is_the_exact_inverse(mean: float) -> None:
    keys = np.arange(ENTRIES, dtype=np.uint64)
    exact = stats.poisson.ppf(uniforms(5, keys, REPLICATES), mean)
    assert np.array_equal(draws(5, keys, np.full(ENTRIES, mean), range(REPLICATES)), exact)


@pytest.mark.parametrize(("mean", "off"), [(16.1, 4e-4), (30.0, 2e-4), (100.0, 6e-5), (1e4, 3e-5), (1e5, 3e-5)])
def test_above_it_few_counts_differ_from_the_exact_inverse_and_by_one(mean: float, off: float) -> None:
    keys = np.arange(ENTRIES, dtype=np.uint64)
    exact = stats.poisson.ppf(uniforms(5, keys, REPLICATES), mean)
    error = draws(5, keys, np.full(ENTRIES, mean), range(REPLICATES)) - exact
    assert np.abs(error).max() <= 1
    assert (error != 0).mean() < off


@pytest.mark.parametrize("mean", MEANS)
def test_large_and_small_counts_are_whole_and_not_negative(mean: float) -> None:
    counts = drawn(mean)
    assert (counts >= 0).all()
    assert np.array_equal(counts, np.floor(counts))


def test_no_mean_is_no_count() -> None:
    keys = np.arange(3, dtype=np.uint64)
    counts = draws(0, keys, np.array([0.0, 2.0, 0.0]), range(200))
    assert not counts[:, [0, 2]].any()
    assert counts[:, 1].any()


@given(st.lists(st.sampled_from([0.0, 0.3, 1.0, 3.0, 16.0, 17.0, 1e5]), min_size=1, max_size=40), st.data())
def test_a_count_is_the_same_alone_and_among_others(means: list[float], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(means) - 1), min_size=1, max_size=10))
    keys = np.random.default_rng(2).integers(0, 2**63, len(means)).astype(np.uint64)
    whole = draws(3, keys, np.array(means), range(40))
    part = draws(3, keys[chosen], np.array(means)[chosen], range(10, 25))
    assert np.array_equal(part, whole[10:25][:, chosen])


def test_many_blocks_are_drawn_as_one_by_one() -> None:
    keys = np.arange(3000, dtype=np.uint64)
    means = np.tile([0.5, 7.0, 40.0], 1000)
    whole = draws(1, keys, means, range(5))
    for i in (0, 1, 1023, 1024, 1025, 2999):
        assert np.array_equal(draws(1, keys[i : i + 1], means[i : i + 1], range(5))[:, 0], whole[:, i])


@pytest.mark.parametrize("mean", [1.0, 1e3])
def test_entries_replicates_and_seeds_are_uncorrelated(mean: float) -> None:
    counts, other = drawn(mean), drawn(mean, seed=6)
    limit = 5.5 / np.sqrt(REPLICATES)
    correlations = np.asarray(np.corrcoef(np.concatenate([counts, other], axis=1).T))
    assert np.abs(correlations[np.triu_indices(len(correlations), 1)]).max() < limit
    across = np.asarray(np.corrcoef(counts[:100]))
    assert np.abs(across[np.triu_indices(100, 1)]).max() < 5.5 / np.sqrt(ENTRIES)


def test_neighbouring_keys_and_seeds_are_as_good_as_any() -> None:
    counts = draws(0, np.arange(400, dtype=np.uint64), np.full(400, 4.0), range(800))
    law = stats.poisson.pmf(np.arange(12), 4)
    observed = np.bincount(np.minimum(counts.astype(int).ravel(), 12), minlength=13)
    assert stats.chisquare(observed, np.append(law, 1 - law.sum()) * counts.size).pvalue > 1e-4
    correlations = np.asarray(np.corrcoef(counts.T))
    assert np.abs(correlations[np.triu_indices(400, 1)]).max() < 5.5 / np.sqrt(800)
