"""Generalized entropy: against the published formulas, its parts add up, and its intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evalkit as ek
import laws
from evalkit.errors import ConfigError, DataError
from evalkit.fairness.criteria.inequality import (
    decomposition,
    generalized_entropy,
    generalized_entropy_index,
    generalized_entropy_measures,
)
from evalkit.fairness.families import families

ALPHAS = [-1.0, 0.0, 0.5, 1.0, 2.0, 3.0]
FAMILY = laws.Family(
    "inequality",
    tuple(generalized_entropy_index(alpha=alpha, threshold=0.5) for alpha in (1.0, 2.0, 0.5)),
)
rows_ = st.lists(
    st.tuples(st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.7]), st.integers(0, 3), st.sampled_from([0.0, 0.5, 1.0, 2.0])),
    min_size=1,
    max_size=12,
)


def as_published(b: Any, alpha: float) -> float:
    """The formulas of Speicher et al. (2018), which AI Fairness 360 documents."""
    mean = b.mean() if len(b) else 0.0
    if not mean > 0 or (alpha <= 0 and (b == 0).any()):
        return np.nan
    share = b / mean
    if alpha == 0:
        return float(-np.log(share).mean())
    if alpha == 1:
        return float(np.mean([v * np.log(v) if v else 0.0 for v in share]))
    return float(((share**alpha) - 1).mean() / (alpha * (alpha - 1)))


@given(st.lists(st.sampled_from([0.0, 0.3, 1.0, 2.0]), max_size=12), st.sampled_from(ALPHAS))
def test_the_index_is_the_published_one(benefits: list[float], alpha: float) -> None:
    found = generalized_entropy(benefits, alpha=alpha)
    assert found == pytest.approx(as_published(np.array(benefits), alpha), abs=1e-12, nan_ok=True)


@given(rows_, st.sampled_from(ALPHAS))
def test_parts_within_and_between_add_up(drawn: Any, alpha: float) -> None:
    b, g, w = (np.array(column) for column in zip(*drawn, strict=True))
    found = decomposition(b, g, w, alpha=alpha)
    if np.isnan(found.total):
        assert np.isnan([found.within, found.between]).all()
        return
    assert found.within + found.between == pytest.approx(found.total, abs=1e-12, rel=1e-12)
    assert found.between >= -1e-15
    assert found.within >= -1e-15


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0, 2.0]), st.integers(0, 3)), max_size=10), st.sampled_from(ALPHAS))
def test_a_weight_counts_a_row_so_often(drawn: list[tuple[float, int]], alpha: float) -> None:
    b, w = np.array(drawn).reshape(-1, 2).T
    once = generalized_entropy(b, w, alpha=alpha)
    assert once == pytest.approx(generalized_entropy(np.repeat(b, w.astype(int)), alpha=alpha), abs=1e-12, nan_ok=True)


@settings(max_examples=10)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=20), st.sampled_from(ALPHAS[1:5]))
def test_the_metric_is_the_index_of_benefits(drawn: list[tuple[int, int]], alpha: float) -> None:
    y, h = np.array(drawn).T
    expected = as_published((1 + h - y).astype(float), alpha)
    assert generalized_entropy_index(y, h, alpha=alpha) == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_half_the_squared_coefficient_of_variation_and_theils_index() -> None:
    b = np.array([0.0, 1, 1, 2, 2, 1])
    assert generalized_entropy(b) == pytest.approx((b.std() / b.mean()) ** 2 / 2)
    assert generalized_entropy([0, 2], alpha=1) == pytest.approx(np.log(2))
    assert np.isnan(generalized_entropy([0, 2], alpha=0))


def test_bad_benefits_are_refused() -> None:
    with pytest.raises(DataError, match="none negative"):
        generalized_entropy([-1.0, 1.0])
    with pytest.raises(DataError, match="2 benefits and 1 groups"):
        decomposition([1.0, 1.0], ["a"])
    with pytest.raises(ConfigError, match="alpha must be a number"):
        generalized_entropy([1.0], alpha=float("nan"))


@settings(max_examples=3)
@given(laws.tables(FAMILY, most=12, weights=[0.0, 1.0, 2.0]), st.integers(0, 10))
def test_the_metric_obeys_the_laws(table: pl.DataFrame, seed: int) -> None:
    laws.held_by_any_order(FAMILY, table, seed)
    laws.held_by_slices(FAMILY, table)
    laws.held_by_repetition(FAMILY, table)
    laws.held_at_every_edge(FAMILY, table)
    laws.held_by_the_table(FAMILY, table)


def rows(n: int = 600) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    g = rng.choice(["a", "b", "c"], n)
    y = rng.integers(0, 2, n)
    h = np.where(rng.random(n) < np.where(g == "c", 0.6, 0.9), y, 1 - (g == "c")).astype(int)
    return {"y": y, "h": h, "g": g, "w": rng.integers(1, 4, n).astype(float), "u": rng.integers(0, 70, n)}


@pytest.mark.parametrize("more", [{}, {"weight": "w"}, {"unit": "u"}])
@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_measures_are_the_parts_of_the_rows(more: dict[str, Any], alpha: float) -> None:
    data = rows()
    evaluation = ek.evaluate(data, label="y", prediction="h", metrics=["accuracy"], slices=["g"], **more).evaluations[0]
    found = generalized_entropy_measures(evaluation, families(evaluation, ["g"])[0], alpha=alpha)
    w = data["w"] if "weight" in more else None
    parts = decomposition(1 + data["h"] - data["y"], data["g"], w, alpha=alpha)
    assert [m.value for m in found[3:]] == pytest.approx(list(parts), abs=1e-12)
    inside = data["g"] == "b"
    own = generalized_entropy((1 + data["h"] - data["y"])[inside], None if w is None else w[inside], alpha=alpha)
    assert found[1].value == pytest.approx(own)
    assert all(m.low < m.value < m.high for m in found)
    assert found[-1].p_value < 0.001


def test_the_part_between_has_no_interval_where_groups_are_alike() -> None:
    rng = np.random.default_rng(0)
    data = {"y": rng.integers(0, 2, 300), "h": rng.integers(0, 2, 300), "g": rng.integers(0, 3, 300)}
    evaluation = ek.evaluate(data, label="y", prediction="h", metrics=["accuracy"], slices=["g"]).evaluations[0]
    between = generalized_entropy_measures(evaluation, families(evaluation, ["g"])[0])[-1]
    assert between.value > 0
    assert np.isnan(between.low)
    assert between.p_value > 0.05
    assert between.note.startswith("expected by chance alone")


@pytest.mark.slow
def test_intervals_of_the_index_and_of_both_parts_cover() -> None:
    replicates, n = 120, 400
    size, rng = replicates * n, np.random.default_rng(5)
    g, y = rng.integers(0, 2, size), rng.integers(0, 2, size)
    h = (rng.random(size) < np.where(g == 1, np.where(y == 1, 0.5, 0.1), np.where(y == 1, 0.9, 0.4))).astype(int)
    truth = decomposition(1 + h - y, g, alpha=1)
    data = {"y": y, "h": h, "g": g, "r": np.repeat(np.arange(replicates), n)}
    result = ek.evaluate(data, label="y", prediction="h", metrics=["accuracy"], slices=["r", ["r", "g"]])
    covered = []
    for family in families(result.evaluations[0], ["g"], ["r"]):
        found = generalized_entropy_measures(result.evaluations[0], family, alpha=1)[-3:]
        covered.append([m.low <= v <= m.high for m, v in zip(found, truth, strict=True)])
    assert (np.mean(covered, axis=0) > 0.89).all(), np.mean(covered, axis=0)
    assert (np.mean(covered, axis=0) <= 0.99).all(), np.mean(covered, axis=0)
