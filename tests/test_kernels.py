"""The passes over rows against plain NumPy; needs JAX and NumPy alone, so that it also runs where Polars is missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evalkit import kernels
from evalkit.collect import Options, Rows, collect
from evalkit.estimate import estimate
from evalkit.metrics import accuracy, average_precision, log_loss, r2, recall, roc_auc
from evalkit.needs import needs
from evalkit.slicing.cubes import cubes
from evalkit.slicing.encode import Coded
from evalkit.slicing.spec import Dimension, SliceSet
from evalkit.sums import ScoreSums

A, B = Dimension("a"), Dimension("b")
SETS = [SliceSet(), SliceSet((A,)), SliceSet((B,)), SliceSet((A, B))]


def _rows(n: int, *, weighted: bool = False, groups: bool = False, dtype: str = "float64") -> Rows:
    rng = np.random.default_rng(n)
    score = rng.beta(1, 3, n).round(3).astype(dtype)
    return Rows(
        n=n,
        label=(rng.random(n) < score).astype(np.int8),
        score=score,
        weight=rng.lognormal(0, 1, n) if weighted else None,
        group=rng.integers(0, 256, n).astype(np.int32) if groups else None,
        probabilities=True,
    )


def _sums(rows: Rows, metrics: list[Any], **options: Any) -> Any:
    rng = np.random.default_rng(1)
    coded = {
        A: Coded(rng.integers(0, 3, rows.n).astype(np.int32), ("x", "y", "z")),
        B: Coded(rng.integers(0, 5, rows.n).astype(np.int32), tuple("12345")),
    }
    cells = cubes(SETS, coded, rows.n, 100)
    keys = {r.slice_set: r.keys for cube in cells for r in cube.roll_ups}
    offsets = [0, *np.cumsum([len(keys[i]) for i in range(len(SETS))]).tolist()]
    members = [np.ones(rows.n, dtype=bool)]
    members += [coded[A].codes == i for i in range(3)] + [coded[B].codes == i for i in range(5)]
    members += [(coded[A].codes == i) & (coded[B].codes == j) for i in range(3) for j in range(5)]
    return collect(needs(metrics), rows, cells, offsets, Options(**options)), members


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("groups", [False, True])
def test_counts_and_sums_equal_those_of_numpy(weighted: bool, groups: bool) -> None:
    rows = _rows(5000, weighted=weighted, groups=groups)
    bound, loss = accuracy(threshold=0.3), log_loss
    sums, members = _sums(rows, [bound, loss], chunk_rows=1500)
    assert rows.label is not None
    assert rows.score is not None
    weight = np.ones(rows.n) if rows.weight is None else rows.weight
    cell = 2 * rows.label + (rows.score >= 0.3)
    clipped = np.clip(rows.score, 2.0**-52, 1 - 2.0**-52)
    losses = -np.where(rows.label == 1, np.log(clipped), np.log1p(-clipped))
    counts, means = (sums[m.statistic.identity].margin() for m in (bound, loss))
    for index, inside in enumerate(members):
        expected = [np.count_nonzero(inside & (cell == c)) for c in range(4)]
        assert counts.count[index].tolist() == expected
        np.testing.assert_allclose(
            counts.total[index], [weight[inside & (cell == c)].sum() for c in range(4)], rtol=1e-12
        )
        np.testing.assert_allclose(means.total[index, -1], (weight * losses)[inside].sum(), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_exact_histogram_of_scores_gives_the_pairwise_auc(dtype: str) -> None:
    rows = _rows(800, dtype=dtype)
    sums, members = _sums(rows, [roc_auc])
    values = estimate([roc_auc], sums["score_histogram"])[0].value
    assert rows.label is not None
    assert rows.score is not None
    for index, inside in enumerate(members):
        positive, negative = rows.score[inside & (rows.label == 1)], rows.score[inside & (rows.label == 0)]
        wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
        assert values[index] == pytest.approx(wins.mean(), abs=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_binned_histogram_is_the_roll_up_of_the_exact_one(weighted: bool) -> None:
    rows = _rows(20_000, weighted=weighted, dtype="float32")
    exact = _sums(rows, [roc_auc])[0]["score_histogram"]
    binned = _sums(rows, [roc_auc], budget_bytes=1, chunk_rows=3000)[0]["score_histogram"]
    assert isinstance(exact, ScoreSums)
    assert isinstance(binned, ScoreSums)
    assert binned.bins is not None
    rolled = exact.binned(binned.bins)
    for name in ("slices", "keys", "count"):
        np.testing.assert_array_equal(getattr(rolled, name), getattr(binned, name))
    np.testing.assert_allclose(rolled.weights, binned.weights, rtol=1e-12)


def test_gradients_are_finite_where_slices_hold_one_class_or_one_row() -> None:
    rows = Rows(n=4, label=np.array([1, 1, 0, 1], np.int8), score=np.array([0.0, 1.0, 0.5, 0.5]), probabilities=True)
    bound = recall(threshold=0.5)
    sums, _ = _sums(rows, [bound, roc_auc, log_loss])
    for metrics in ([bound], [roc_auc, average_precision], [log_loss]):
        for e in estimate(metrics, sums[metrics[0].statistic.identity]):
            assert np.isfinite(e.gradient).all()


def test_moments_of_large_numbers_keep_their_precision() -> None:
    rng = np.random.default_rng(0)
    label = 1e8 + rng.normal(size=4000)
    prediction = label + 0.1 * rng.normal(size=4000)
    rows = Rows(n=4000, label=label, prediction=prediction)
    sums, _ = _sums(rows, [r2])
    expected = 1 - ((label - prediction) ** 2).sum() / ((label - label.mean()) ** 2).sum()
    assert estimate([r2], sums["moments"])[0].value[0] == pytest.approx(expected, rel=1e-7)


def test_chunks_are_padded_to_few_sizes() -> None:
    sizes = {width for n in range(1, 3000, 7) for _, width in kernels.chunks(n, 1024)}
    assert sizes == {1024}
