"""The area between ROC curves against a fine grid, and its law where curves are equal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from evalkit.fairness.group_scores import Entries, GroupScores
from evalkit.fairness.scores.abroca import Chances, area_between

tables = st.lists(st.integers(0, 3), min_size=12, max_size=12).map(lambda of: np.array(of, float).reshape(2, 6))


def histogram(y: Any, p: Any, g: Any, weight: Any = None, unit: Any = None) -> GroupScores:
    scores, place = np.unique(p, return_inverse=True)
    count = np.zeros((2, 2, len(scores)), dtype=np.int64)
    total, square = np.zeros(count.shape), np.zeros(count.shape)
    w = np.ones(len(y)) if weight is None else weight
    for table, amount in ((count, 1), (total, w), (square, w**2)):
        np.add.at(table, (g, y, place), amount)
    entries = None if unit is None else Entries(g, place, unit, np.eye(2)[y] * w[:, None])
    return GroupScores(scores, count, total, square, entries, False)


@given(tables, tables)
def test_the_area_is_that_on_a_fine_grid_and_is_a_distance(first: np.ndarray, second: np.ndarray) -> None:
    value = area_between(first, second)
    if not (first.sum(1).all() and second.sum(1).all()):
        assert np.isnan(value)
        return
    grid = (np.arange(20_000) + 0.5) / 20_000
    curves = []
    for table in (first, second):
        label, score = np.repeat([0, 1], 6), np.tile(np.arange(6), 2)
        x, y, _ = roc_curve(label, score, sample_weight=table.ravel(), drop_intermediate=False)
        curves.append(np.interp(grid, x, y))
    assert value == pytest.approx(np.abs(curves[0] - curves[1]).mean(), abs=2e-4)
    assert value == pytest.approx(area_between(second, first), abs=1e-12)
    assert area_between(first, 2 * first) == pytest.approx(0, abs=1e-12)
    assert 0 <= value <= 1


def test_curves_that_cross_within_a_segment_are_cut_there() -> None:
    diagonal, bent = np.array([[1.0], [1.0]]), np.array([[1.0, 2.0, 1.0], [2.0, 0.0, 2.0]])
    assert area_between(diagonal, bent) == pytest.approx(0.125)


def _draw(rng: np.random.Generator, sizes: tuple[int, int], base: float, moved: float) -> tuple[Any, Any, Any]:
    g = np.repeat([0, 1], sizes)
    y = (rng.random(len(g)) < base).astype(int)
    return y, rng.normal(size=len(g)) + y + moved * g, g


def test_scores_of_a_group_on_another_scale_change_nothing() -> None:
    y, p, g = _draw(np.random.default_rng(1), (150, 90), 0.3, 0.0)
    other = np.where(g == 1, np.exp(p) + 7, p)
    first, second = histogram(y, p, g), histogram(y, other, g)
    assert area_between(*first.weight) == pytest.approx(area_between(*second.weight), abs=1e-12)
    assert Chances(first, 0).of(0, 1) == Chances(second, 0).of(0, 1)


def test_the_bootstrap_of_many_rows_agrees_with_the_permutation() -> None:
    y, p, g = _draw(np.random.default_rng(2), (1500, 2500), 0.3, 0.0)
    chances = Chances(histogram(y, p, g), 0)
    permuted, how = chances.of(0, 1)
    assert how == "permutation within labels"
    bootstrapped = chances._reweighted(0, 1)
    assert bootstrapped.expected == pytest.approx(permuted.expected, rel=0.08)
    assert bootstrapped.p_value == pytest.approx(permuted.p_value, abs=0.1)


def test_curves_that_differ_have_the_smallest_p_value() -> None:
    rng = np.random.default_rng(3)
    y, p, g = _draw(rng, (400, 400), 0.5, 0.0)
    noisy = np.where(g == 1, p + 9 * rng.normal(size=800), p)
    for more in ({}, {"weight": rng.uniform(0.5, 2, 800)}, {"unit": rng.integers(0, 256, 800)}):
        chance, _ = Chances(histogram(y, noisy, g, **more), 0).of(0, 1)
        assert chance.p_value == 1 / 500
        assert chance.expected < 0.08


def _level(draws: int, sizes: tuple[int, int], base: float, moved: float, *, weighted: bool, units: int) -> float:
    """The share of draws of equal curves with a p-value of at most .05."""
    rng = np.random.default_rng(4)
    alarms = []
    for seed in range(draws):
        y, p, g = _draw(rng, sizes, base, moved)
        more: dict[str, Any] = {}
        if weighted:
            more["weight"] = rng.lognormal(0, 0.7, len(y)) * (1 + 2 * (p - moved * g > 1))
        if units:
            more["unit"] = rng.integers(0, units, len(y))
            p = p - y + np.sqrt(0.4) * (rng.normal(size=units)[more["unit"]] - (p - y)) + y
        chance, _ = Chances(histogram(y, p, g, **more), seed, draws=99).of(0, 1)
        alarms.append(chance.p_value <= 0.05)
    return float(np.mean(alarms))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sizes", "base", "moved", "weighted", "units"),
    [
        ((60, 60), 0.3, 0.0, False, 0),
        ((100, 300), 0.3, 1.5, False, 0),
        ((200, 400), 0.3, 0.5, True, 0),
        ((200, 300), 0.3, 0.0, False, 80),
    ],
)
def test_equal_curves_are_seldom_told_apart(
    sizes: tuple[int, int], base: float, moved: float, weighted: bool, units: int
) -> None:
    draws = 150
    level = _level(draws, sizes, base, moved, weighted=weighted, units=units)
    assert level <= 0.05 + 2.576 * (0.05 * 0.95 / draws) ** 0.5
