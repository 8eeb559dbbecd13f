"""Hashes are written into saved sums, so they are held to numbers and to a second implementation."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evalkit.hashing import group_of, hash64, mix, poisson_weights

ONES = (1 << 64) - 1


def mixed(value: int) -> int:
    """The finalizer of SplitMix64, in Python's integers."""
    z = (value + 0x9E3779B97F4A7C15) & ONES
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & ONES
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & ONES
    return z ^ (z >> 31)


def fnv(text: bytes) -> int:
    """FNV-1a, in Python's integers."""
    state = 0xCBF29CE484222325
    for byte in text:
        state = ((state ^ byte) * 0x100000001B3) & ONES
    return state


def test_mixing_gives_splitmix64s_published_sequence() -> None:
    steps = np.array([0x9E3779B97F4A7C15 * k & ONES for k in range(3)], dtype=np.uint64)
    assert mix(steps).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_hashing_text_starts_from_fnvs_published_values() -> None:
    assert fnv(b"") == 0xCBF29CE484222325
    assert fnv(b"a") == 0xAF63DC4C8601EC8C
    assert fnv(b"foobar") == 0x85944171F73967E8


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1))
def test_text_hashes_by_its_utf8_bytes(texts: list[str]) -> None:
    assert hash64(np.array(texts)).tolist() == [mixed(fnv(text.encode())) for text in texts]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_an_integer_hashes_by_its_64_bits(values: list[int]) -> None:
    assert hash64(np.array(values, dtype=np.int64)).tolist() == [mixed(value & ONES) for value in values]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint16", "int64", "float32", "float64"])
def test_a_whole_number_hashes_alike_in_every_type(dtype: str) -> None:
    values = [0, 1, 2, 100]
    assert hash64(np.array(values, dtype=dtype)).tolist() == [mixed(value) for value in values]


def test_minus_zero_is_zero_and_a_fraction_is_no_integer() -> None:
    assert hash64(np.array([-0.0]))[0] == hash64(np.array([0.0]))[0]
    assert hash64(np.array([0.5, 1.5, np.inf, 1e300])).tolist() != hash64(np.array([0, 1, 2, 3])).tolist()


@pytest.mark.parametrize("values", [["a", "b", "a"], [3, 1, 3], [0.5, 2.5, 0.5], [True, False, True]])
def test_equal_values_share_a_group_wherever_they_stand(values: list[Any]) -> None:
    groups = group_of(values, 256)
    assert groups[0] == groups[2]
    assert groups[::-1].tolist() == group_of(values[::-1], 256).tolist()
    assert groups.dtype == np.int32


@pytest.mark.parametrize("kind", ["integers", "text"])
def test_groups_are_filled_evenly(kind: str) -> None:
    units = np.arange(25_600) if kind == "integers" else np.array([f"user-{i}" for i in range(25_600)])
    counts = np.bincount(group_of(units, 256), minlength=256)
    assert len(counts) == 256
    assert stats.chisquare(counts).pvalue > 1e-3


def test_poisson_weights_have_the_distribution() -> None:
    weights = poisson_weights(seed=3, replicates=400, groups=256)
    most = 6
    counts = np.bincount(np.minimum(weights.astype(int).ravel(), most), minlength=most + 1)
    expected = stats.poisson.pmf(np.arange(most + 1), 1) * weights.size
    expected[most] = stats.poisson.sf(most - 1, 1) * weights.size
    assert stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 1e-3


def test_replicates_and_groups_are_uncorrelated() -> None:
    weights = poisson_weights(seed=0, replicates=200, groups=100) - 1
    for draws in (weights, weights.T):
        correlations = np.asarray(np.corrcoef(draws))
        off = correlations[np.triu_indices(len(correlations), 1)]
        assert abs(off.mean()) < 0.01
        assert np.abs(off).max() < 0.55


def test_a_weight_depends_on_its_own_seed_replicate_and_group_alone() -> None:
    whole = poisson_weights(seed=7, replicates=50, groups=256)
    assert np.array_equal(poisson_weights(seed=7, replicates=20, groups=100), whole[:20, :100])
    assert not np.array_equal(poisson_weights(seed=8, replicates=50, groups=256), whole)
