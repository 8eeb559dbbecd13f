"""Sums of fields by cell: only what was asked for, by every method of adding, with and without float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evalkit import kernels
from evalkit.add_at import Method, add_at, as_wide, largest_at
from evalkit.compilation import scoped
from evalkit.metrics.confusion import confusion
from evalkit.metrics.moments import moments
from evalkit.metrics.probability import probability

METHODS: list[Method | None] = [None, "scatter", "copies", "sorted", "matrix"]
CELLS = 7
ALL_PAIRS = tuple((i, j) for i in range(5) for j in range(i, 5))


def _rows(n: int = 4000) -> tuple[dict[str, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(n)
    score = rng.beta(1, 3, n).astype("float32")
    label = (rng.random(n) < score).astype(np.int8)
    return {"label": label, "score": score}, rng.integers(0, CELLS - 1, n).astype(np.int32), rng.lognormal(0, 1, n)


def _columns(arrays: dict[str, Any], weight: Any) -> np.ndarray[Any, Any]:
    y, s = arrays["label"].astype(float), arrays["score"].astype(float)
    inside = np.clip(s, 2.0**-23, 1 - 2.0**-23)
    loss = -np.where(y == 1, np.log(inside), np.log1p(-inside))
    columns = np.stack([np.ones(len(y)), y, s, (s - y) ** 2, loss], axis=1)
    return columns if weight is None else columns * weight[:, None]


def _sums(weight: Any, **asked: Any) -> dict[str, np.ndarray[Any, Any]]:
    arrays, codes, _ = _rows()
    settings: dict[str, Any] = {"products": None, "largest": (), "pivot": np.zeros(CELLS), "chunk_rows": 1500, **asked}
    statistic = settings.pop("statistic", probability)
    return kernels.field_sums(statistic, arrays, codes, CELLS, weight, **settings)


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("weighted", [False, True])
def test_every_method_gives_the_sums_of_numpy(weighted: bool, method: Method | None, wide: bool) -> None:
    arrays, codes, weight = _rows()
    sums = _sums(weight if weighted else None, products=ALL_PAIRS, largest=(0, 4), method=method, wide=wide)
    rows = _columns(arrays, weight if weighted else None)
    one_hot = (codes[:, None] == np.arange(CELLS)).astype(float)
    tolerance = 1e-12 if wide else 1e-6
    np.testing.assert_array_equal(sums["count"][:, 0], np.bincount(codes, minlength=CELLS))
    np.testing.assert_allclose(sums["total"], one_hot.T @ rows, rtol=tolerance)
    expected = np.einsum("nc,ni,nj->cij", one_hot, rows, rows)
    np.testing.assert_allclose(sums["square"], expected, rtol=tolerance)
    largest = np.stack([(rows * one_hot[:, [c]]).max(0) for c in range(CELLS)])
    np.testing.assert_allclose(sums["largest"][:, [0, 4]], largest[:, [0, 4]], rtol=tolerance)


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("weighted", [False, True])
def test_cells_of_a_statistic_are_counted_exactly(weighted: bool, method: Method | None, wide: bool) -> None:
    arrays, codes, weight = _rows()
    bound = confusion.bind(threshold=0.3)
    sums = _sums(weight if weighted else None, statistic=bound, method=method, wide=wide)
    places = codes * 4 + 2 * arrays["label"] + (arrays["score"] >= np.float32(0.3))
    np.testing.assert_array_equal(sums["count"].ravel(), np.bincount(places, minlength=4 * CELLS))
    for name, power in (("total", 1), ("square", 2)):
        expected = np.bincount(places, weight**power if weighted else None, 4 * CELLS)
        np.testing.assert_allclose(sums[name].ravel(), expected, rtol=1e-12 if wide else 1e-6)


def test_products_that_were_not_asked_for_are_0_and_sizes_nan() -> None:
    asked = _sums(None, products=((0, 4), (4, 3)), largest=(4,))
    full = _sums(None, products=ALL_PAIRS, largest=(0, 1, 2, 3, 4))
    kept = np.zeros((5, 5), dtype=bool)
    kept[[0, 4, 4, 3], [4, 0, 3, 4]] = True
    np.testing.assert_array_equal(asked["square"], np.where(kept, full["square"], 0.0))
    np.testing.assert_array_equal(asked["largest"], np.where(np.arange(5) == 4, full["largest"], np.nan))


def test_without_products_and_sizes_there_are_none() -> None:
    assert set(_sums(None)) == {"count", "total"}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("statistic", [probability, confusion.bind(threshold=0.5)])
def test_no_rows_have_sums_of_0(statistic: Any, weighted: bool) -> None:
    none = {"label": np.zeros(0, np.int8), "score": np.zeros(0, np.float32)}
    sums = kernels.field_sums(
        statistic, none, np.zeros(0, np.int32), 3, np.zeros(0) if weighted else None,
        products=((0, 0), (1, 1)), largest=(0, 1), pivot=np.zeros(3), chunk_rows=1024,
    )  # fmt: skip
    assert all(len(array) == 3 and not np.nan_to_num(array).any() for array in sums.values())


def test_the_pivot_of_a_cell_is_subtracted_from_its_rows() -> None:
    label, codes = np.array([10.0, 11.0, 25.0]), np.array([0, 0, 1], np.int32)
    sums = kernels.field_sums(
        moments, {"label": label, "prediction": label}, codes, 2, None,
        products=None, largest=(), pivot=np.array([10.0, 20.0]), chunk_rows=1024,
    )  # fmt: skip
    assert sums["total"][:, 1].tolist() == [1.0, 5.0]


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32"])
def test_narrow_codes_and_wide_ones_give_the_same_sums(dtype: str) -> None:
    arrays, codes, _ = _rows()
    settings: dict[str, Any] = {"products": None, "largest": (), "pivot": np.zeros(CELLS), "chunk_rows": 1500}
    narrow = kernels.field_sums(probability, arrays, codes.astype(dtype), CELLS, None, **settings)
    np.testing.assert_array_equal(narrow["total"], _sums(None)["total"])


def test_scores_of_bfloat16_are_widened_on_the_device() -> None:
    import ml_dtypes

    arrays, codes, _ = _rows()
    short = arrays["score"].astype(ml_dtypes.bfloat16)
    settings: dict[str, Any] = {"products": None, "largest": (), "pivot": np.zeros(CELLS), "chunk_rows": 1500}
    of_short, of_wide = (
        kernels.field_sums(probability, {**arrays, "score": score}, codes, CELLS, None, **settings)["total"]
        for score in (short, short.astype("float32"))
    )
    np.testing.assert_array_equal(of_short, of_wide)


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_rows_outside_the_places_are_left_out(method: Method | None, wide: bool) -> None:
    import jax.numpy as jnp

    with scoped(wide):
        places = jnp.array([-1, 0, 2, 3, 1_000_000], "int32")
        ones = (jnp.ones(5, "int32"), jnp.ones(5))
        for column in add_at(3, places, ones, method=method):
            assert as_wide(column).tolist() == [1, 0, 1]
        assert as_wide(largest_at(3, places, ones[1:], method=method)[0]).tolist() == [1, 0, 1]


@pytest.mark.parametrize("method", METHODS)
def test_parts_of_32_bits_add_like_float64(method: Method | None) -> None:
    rng = np.random.default_rng(5)
    values = (rng.lognormal(0, 3, 1 << 17) * rng.choice([-1, 1], 1 << 17, p=[0.2, 0.8])).astype("float32")
    places = rng.integers(0, 50, len(values)).astype("int32")
    with scoped(wide=False):
        sums = as_wide(add_at(50, places, (values,), method=method)[0])
    np.testing.assert_allclose(sums, np.bincount(places, values.astype(float)), rtol=1e-12)


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_an_infinite_value_spoils_its_own_place_alone(method: Method | None, wide: bool) -> None:
    values, places = np.array([1.0, np.inf, np.nan, 4.0], "float32"), np.array([0, 1, 2, 3], "int32")
    with scoped(wide):
        sums = as_wide(add_at(4, places, (values,), method=method)[0])
    assert np.isfinite(sums).tolist() == [True, False, False, True]
    assert sums[[0, 3]].tolist() == [1.0, 4.0]


@pytest.mark.parametrize("cells", [7, 5000])
def test_large_chunks_give_the_sums_of_small_ones(cells: int) -> None:
    rng = np.random.default_rng(3)
    label, codes = rng.integers(0, 2, 50_000).astype(np.int8), rng.integers(0, cells, 50_000)
    arrays = {"label": label, "score": rng.random(50_000).astype("float32")}
    weight = rng.random(50_000) + 1
    settings: dict[str, Any] = {"products": ALL_PAIRS, "largest": (0, 2, 4), "pivot": np.zeros(cells)}
    small, large = (
        kernels.field_sums(probability, arrays, codes, cells, weight, **settings, chunk_rows=rows)
        for rows in (1 << 10, 1 << 17)
    )
    for name, array in small.items():
        np.testing.assert_allclose(large[name], array, rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_parts_follow_the_size_of_the_values(scale: float) -> None:
    values = (np.array([1.0, 2.0, -3.5, 0.0]) * scale).astype("float32")
    with scoped(wide=False):
        sums = as_wide(add_at(1, np.zeros(4, "int32"), (values,), method="matrix")[0])
    assert sums[0] == pytest.approx(values.astype(float).sum(), rel=1e-12)


def test_the_device_chooses_the_method_when_the_function_is_compiled() -> None:
    import jax

    def add(places: Any, values: Any) -> Any:
        return add_at(8, places, (values,))

    shapes = jax.eval_shape(lambda: (jax.numpy.zeros(64, "int32"), jax.numpy.zeros(64, "float32")))
    for platform, inside, outside in (("cpu", "scatter", "dot_general"), ("tpu", "dot_general", "sort")):
        with scoped():
            text = jax.export.export(jax.jit(add), platforms=[platform])(*shapes).mlir_module()
        assert inside in text
        assert outside not in text


def test_without_float64_nothing_that_a_device_runs_needs_it() -> None:
    import jax

    from evalkit.kernels import Asked
    from evalkit.score_counts import count_scores, zeros

    asked = Asked.of(probability, True, ALL_PAIRS, (4,))

    def everything(sums: Any, score: Any, label: Any, weight: Any) -> Any:
        rows = asked.values(8, {"score": score, "label": label}, label, weight, 60, jax.numpy.zeros(8))
        bounds = np.array([0, 9, 0], np.int32)
        counted = count_scores(1024, 24, True)(sums, (score, label, label, (weight,)), 60, None, bounds, 10)
        return asked.sums(8, None, None, *rows), counted

    with scoped(wide=False):
        columns = jax.eval_shape(lambda: tuple(jax.numpy.zeros(64, dtype) for dtype in ("float32", "int8", "float32")))
        empty = jax.eval_shape(lambda: zeros(1024, weighted=True, wide=False))
        text = jax.export.export(jax.jit(everything), platforms=["tpu"])(empty, *columns).mlir_module()
    assert "dot_general" in text
    assert "f64" not in text
