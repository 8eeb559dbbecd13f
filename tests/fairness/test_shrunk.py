"""Shrunk values are nearer to the truth, and say how near."""

from collections.abc import Callable

import numpy as np
import pytest

import evalkit as ek
from evalkit.adjust import shrink
from evalkit.fairness.statistics.shrunk import Shrunk, empirical_bayes, structured

ATTRIBUTES = np.stack([of.ravel() for of in np.meshgrid(range(2), range(4), range(4), indexing="ij")], axis=1)
GROUPS = len(ATTRIBUTES)
Truth = Callable[[np.random.Generator], np.ndarray]


def alike(_: np.random.Generator) -> np.ndarray:
    return np.full(GROUPS, 0.5)


def additive(rng: np.random.Generator) -> np.ndarray:
    effects = [rng.normal(size=4) * 0.08 for _ in range(3)]
    return np.asarray(0.5 + sum(effect[codes] for effect, codes in zip(effects, ATTRIBUTES.T, strict=True)))


def crossed(rng: np.random.Generator) -> np.ndarray:
    return np.asarray(0.5 + rng.normal(size=(2, 4))[ATTRIBUTES[:, 0], ATTRIBUTES[:, 1]] * 0.1)


def lawless(rng: np.random.Generator) -> np.ndarray:
    return np.asarray(0.5 + rng.normal(size=GROUPS) * 0.12)


def simulated(truth: Truth, draws: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Mean squared errors of raw, empirical Bayes and structured values, and how often both intervals hold."""
    squared, held = [], []
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        true = truth(rng)
        variances = 0.2 / rng.choice([8, 20, 60, 300, 1500], GROUPS)
        values = true + rng.normal(size=GROUPS) * np.sqrt(variances)
        both = empirical_bayes(values, variances), structured(values, variances, ATTRIBUTES)
        squared.append([np.mean((of - true) ** 2) for of in (values, both[0].value, both[1].value)])
        held.append([np.mean(np.abs(of.value - true) <= 1.96 * of.error) for of in both])
    return np.mean(squared, axis=0), np.mean(held, axis=0)


@pytest.mark.parametrize("truth", [additive, crossed])
def test_where_attributes_tell_structure_is_nearer_than_raw_and_than_the_mean(truth: Truth) -> None:
    (raw, bayes, structure), held = simulated(truth)
    assert structure < 0.5 * bayes < 0.5 * raw
    assert (held > 0.9).all()


@pytest.mark.parametrize("truth", [alike, lawless])
def test_where_attributes_tell_nothing_structure_loses_little(truth: Truth) -> None:
    (raw, bayes, structure), held = simulated(truth)
    assert structure < 0.75 * raw
    assert structure < 1.25 * bayes + 0.01 * raw
    assert (held > 0.9).all()


def test_without_attributes_that_differ_structure_is_empirical_bayes() -> None:
    rng = np.random.default_rng(0)
    values, variances = rng.normal(0.5, 0.2, 40), np.full(40, 0.01)
    plain, found = empirical_bayes(values, variances), structured(values, variances, np.arange(40)[:, None])
    np.testing.assert_allclose(found.value, plain.value, atol=1e-4)
    np.testing.assert_allclose(found.error, plain.error, rtol=1e-2)
    np.testing.assert_allclose(plain.value, shrink(values, variances, to_mean=True))
    assert found.spread[(0,)] == pytest.approx(plain.spread[(0,)], rel=1e-2)
    assert list(structured(values, variances, np.stack([np.arange(40), np.zeros(40)], axis=1)).spread) == [(0, 1)]


def test_sure_values_stay_and_words_are_attributes() -> None:
    values = np.array([0.2, 0.9, 0.4, 0.6])
    found = structured(values, np.full(4, 1e-9), [["f", "a"], ["f", "b"], ["m", "a"], ["m", "b"]])
    np.testing.assert_allclose(found.value, values, atol=1e-6)
    assert (found.error < 1e-4).all()
    assert set(found.spread) == {(0,), (1,), (0, 1)}


def test_the_order_bounds_what_is_crossed() -> None:
    values, variances = np.linspace(0.2, 0.8, GROUPS), np.full(GROUPS, 0.01)
    assert set(structured(values, variances, ATTRIBUTES, order=1).spread) == {(0,), (1,), (2,), (0, 1, 2)}
    assert len(structured(values, variances, ATTRIBUTES).spread) == 7


@pytest.mark.parametrize("method", [empirical_bayes, lambda v, s: structured(v, s, np.arange(len(v))[:, None] % 2)])
def test_groups_without_value_or_noise_are_left_out(method: Callable[..., Shrunk]) -> None:
    found = method([0.2, np.nan, 0.5, 0.4, 0.0], [0.01, 0.01, 0.01, np.nan, 0.0])
    assert np.isfinite(found.value).tolist() == [True, False, True, False, False]
    for of in (found.error, found.fitted):
        assert np.isfinite(of).tolist() == [True, False, True, False, False]
    assert np.isnan(method([np.nan], [1.0]).value).all()
    one = method([0.3, np.nan], [0.04, 1.0])
    assert (one.value[0], one.error[0]) == pytest.approx((0.3, 0.2))


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(ek.EvalkitError, match="one of each a group"):
        empirical_bayes([1, 2], [1])
    with pytest.raises(ek.EvalkitError, match="A variance is -1"):
        empirical_bayes([1, 2], [1, -1])
    with pytest.raises(ek.EvalkitError, match="Attributes have shape"):
        structured([1, 2], [1, 1], [0, 1])
    with pytest.raises(ek.EvalkitError, match="at least 1"):
        structured([1, 2], [1, 1], [[0], [1]], order=0)


@pytest.mark.parametrize("groups", [1, 2, 30])
def test_errors_without_matrices_are_those_of_the_model(groups: int) -> None:
    from evalkit.fairness.statistics.shrunk import _errors, _Model

    rng = np.random.default_rng(groups)
    noise = rng.uniform(0.01, 2, groups)
    for between in (0.0, 0.1, 3.0):
        model = _Model(rng.normal(size=groups), noise, [np.eye(groups)])
        assert _errors(noise, between) == pytest.approx(model.errors(np.array([between])), rel=1e-6)
    assert np.isfinite(_errors(noise * 1e-300, 0.0)).all()
