"""From sums to values and their variances: the delta method, with no code per metric.

A metric's gradient at a slice's sums is what one row more would change. Its square, summed over rows (or over groups of
units), is the variance of the metric.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.compilation import scoped
from evalkit.metric import Fields, Metric
from evalkit.padding import pad, padded
from evalkit.score_sums import first_of_keys
from evalkit.score_values import values_of
from evalkit.sums import AnySums, FieldSums, ScoreSums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """One metric in every slice; arrays are [slices].

    Attributes:
        metric: the metric.
        value: its value; NaN where it is undefined.
        variance: of the value, by the delta method.
        rows: rows with a positive weight.
        weight: summed weights.
        support: rows that the metric reads.
        kish: effective number of those rows under their weights, (sum w)^2 / sum w^2.
        groups: groups of units with such rows; NaN where rows are independent.
        group_kish: effective number of those groups.
        rarer: rows of the rarer class, or all rows in regression.
        smooth_value: the value with half a row more in every cell, for metrics of cells.
        smooth_variance: its variance, with the half rows.
        srs: effective number of rows were they drawn independently with weight 1, as a share of the support.
        parts: estimates of the two parts of a metric that is their sum.
        expected: the value expected without any real effect, wider for clustered rows by the square root of the design
            effect; NaN unless the metric declares one.
        heavy: (sum q)^2 / sum q^2 of the row values that the metric averages; infinite where that is not asked.
        largest_share: the largest row's share of their sum.
        binned: whether the scores were binned.
        bound: how far binning may move an AUC or average precision; 0 where exact, NaN for others of binned scores.
        slope: returns the gradient of the value by the sums: [slices, fields], or for a histogram [entries, 2], those
            of `ungrouped()`.
    """

    metric: Metric
    value: Floats
    variance: Floats
    rows: NDArray[np.int64]
    weight: Floats
    support: Floats
    kish: Floats
    groups: Floats
    group_kish: Floats
    rarer: Floats
    smooth_value: Floats
    smooth_variance: Floats
    srs: Floats
    parts: tuple[Estimate, ...]
    expected: Floats
    heavy: Floats
    largest_share: Floats
    bound: Floats
    binned: bool
    slope: Callable[[], Floats]

    @functools.cached_property
    def gradient(self) -> Floats:
        """The gradient of the value by the sums, found when it is first asked for."""
        return self.slope()

    def at(self, places: NDArray[np.int64]) -> Estimate:
        """Returns the estimate in some slices; of a histogram its gradient stays that of all."""
        arrays = {f.name: getattr(self, f.name)[places] for f in fields(self) if f.name not in _OF_ALL_SLICES}
        fewer = replace(self, **arrays, parts=tuple(part.at(places) for part in self.parts))
        return fewer if self.metric.statistic.form == "scores" else replace(fewer, slope=lambda: self.gradient[places])


_OF_ALL_SLICES = ("metric", "parts", "binned", "slope")


def estimate(metrics: Sequence[Metric], sums: AnySums) -> list[Estimate]:
    """Returns the estimates of metrics that read the same statistic."""
    if not metrics:
        return []
    if isinstance(sums, ScoreSums):
        return _of_scores(metrics, sums)
    parts = [part for metric in metrics if metric.parts for part in metric.parts[0]]
    alone = {part.name: part for part in parts if part.name not in {metric.name for metric in metrics}}
    found = {e.metric.name: e for e in _of_fields([*metrics, *alone.values()], sums)}
    result = []
    for metric in metrics:
        own = found[metric.name]
        if metric.parts:
            own = replace(own, parts=tuple(found[part.name] for part in metric.parts[0]))
        result.append(own)
    return result


def _in_range(metric: Metric, values: Floats) -> Floats:
    """Moves values that rounding put outside the metric's range to its end; others show that the range is wrong."""
    inside = np.clip(values, *metric.range)
    return np.where(np.abs(values - inside) <= 1e-6, inside, values)


# --- statistics of a few fields ---


def _field_names(metric: Metric) -> tuple[str, ...]:
    return metric.statistic.fields


_COMPILED: dict[Any, Callable[..., Any]] = {}


def _compiled(metrics: Sequence[Metric], make: Callable[..., Callable[..., Any]], *more: Any) -> Callable[..., Any]:
    """Returns the compiled function of these metrics, made once."""
    key = (make, tuple((m.name, m.function, m.statistic) for m in metrics), *more)
    if key not in _COMPILED:
        _COMPILED[key] = make(tuple(metrics), *more)
    return _COMPILED[key]


def _evaluated(metric: Metric, total: Any, rows: Any) -> Any:
    """Returns a metric at the sums of one slice."""
    import jax.numpy as jnp

    return jnp.asarray(metric.evaluate(Fields(_field_names(metric), total, rows)), total.dtype)


def _compile_fields(metrics: tuple[Metric, ...]) -> Callable[..., Any]:
    import jax
    import jax.numpy as jnp

    @jax.jit
    def compiled(total: Any, rows: Any) -> Any:
        graded = [jax.vmap(jax.value_and_grad(functools.partial(_evaluated, m)))(total, rows) for m in metrics]
        return jnp.stack([g[0] for g in graded]), jnp.stack([g[1] for g in graded])

    return compiled


def values_and_gradients(metrics: Sequence[Metric], total: Floats, rows: Any) -> tuple[Floats, Floats]:
    """Returns values [metrics, slices] and gradients [metrics, slices, fields] at totals [slices, fields]."""
    slices = len(total)
    size = padded(slices)
    with scoped():
        values, gradients = _compiled(metrics, _compile_fields)(
            pad(total, size), pad(np.asarray(rows, dtype=np.float64), size)
        )
    return np.asarray(values)[:, :slices], np.asarray(gradients)[:, :slices]


def field_values(metrics: Sequence[Metric], total: Floats, rows: Floats) -> Floats:
    """Returns values [metrics, n] at totals [n, fields] alone, which compiles faster than with gradients."""
    size = padded(len(total))
    with scoped():
        found = _compiled(metrics, _compile_values)(pad(total, size), pad(rows, size))
        return np.asarray(found)[:, : len(total)]


def _compile_values(metrics: tuple[Metric, ...]) -> Callable[..., Any]:
    import jax
    import jax.numpy as jnp

    @jax.jit
    def compiled(total: Any, rows: Any) -> Any:
        return jnp.stack([jax.vmap(functools.partial(_evaluated, m))(total, rows) for m in metrics])

    return compiled


def _of_fields(metrics: Sequence[Metric], sums: FieldSums) -> list[Estimate]:
    margin = sums.margin()
    cells = metrics[0].statistic.form == "cells"
    rows = margin.count.sum(1) if cells else margin.count[:, 0]
    weight = margin.total.sum(1) if cells else margin.total[:, 0]
    values, gradients = values_and_gradients(metrics, margin.total, rows)
    smooth = _smoothed(metrics, margin, rows, weight) if cells else (values, gradients, np.zeros(len(rows)))
    return [
        _field_estimate(
            metric, sums, margin, rows, weight, values[i], gradients[i], (smooth[0][i], smooth[1][i], smooth[2])
        )
        for i, metric in enumerate(metrics)
    ]


def _smoothed(metrics: Sequence[Metric], margin: FieldSums, rows: Any, weight: Floats) -> tuple[Floats, Floats, Floats]:
    """Values and gradients with half a row of mean weight more in every cell, and that row's weight."""
    half = np.where(rows > 0, weight / np.maximum(rows, 1), 1.0) / 2
    values, gradients = values_and_gradients(metrics, margin.total + half[:, None], rows)
    return values, gradients, half


def _field_estimate(
    metric: Metric,
    sums: FieldSums,
    margin: FieldSums,
    rows: Any,
    weight: Floats,
    value: Floats,
    gradient: Floats,
    smooth: tuple[Floats, Floats, Floats],
) -> Estimate:
    names = _field_names(metric)
    cells = metric.statistic.form == "cells"
    squares = _cell_squares(sums, margin) if cells else None
    support, kish, groups, group_kish = _support(metric, names, sums, margin, squares, rows, weight)
    variance = _variance(sums, margin, gradient, rows)
    if metric.kind == "wilson":  # where nobody or everybody counts what is left is rounding
        variance = np.where((value > 0) & (value < 1), variance, 0.0)
    smooth_value, smooth_gradient, half = smooth
    extra = (half * half * 2)[:, None] if cells else np.zeros((len(rows), 1))
    smooth_variance = _variance(sums, margin, smooth_gradient, rows, extra)
    heavy, largest = _tails(metric, names, sums, margin, rows)
    with np.errstate(divide="ignore", invalid="ignore"):
        as_counts = ((margin.total + half[:, None]) * smooth_gradient**2).sum(1) if cells else np.zeros(len(rows))
        supporting = _read(metric, names, margin.total + half[:, None], None) if cells else weight
        srs = smooth_value * (1 - smooth_value) / as_counts / supporting
    return Estimate(
        metric=metric,
        value=_in_range(metric, value),
        variance=variance,
        rows=rows,
        weight=weight,
        support=support,
        kish=kish,
        groups=groups,
        group_kish=group_kish,
        rarer=_rarer(metric, names, margin, rows, weight),
        smooth_value=smooth_value,
        smooth_variance=smooth_variance,
        srs=np.where(np.isfinite(srs), srs, 1.0),
        parts=(),
        expected=np.full(len(rows), np.nan),
        heavy=heavy,
        largest_share=largest,
        bound=np.zeros(len(rows)),
        binned=False,
        slope=functools.partial(_given, gradient),
    )


def _cell_squares(sums: FieldSums, margin: FieldSums) -> Floats:
    if sums.square is not None:
        return sums.square
    return margin.total  # clustered: weights enter through the groups


def _read(metric: Metric, names: tuple[str, ...], array: Any, rows: Any) -> Floats:
    """Applies a metric's support to counts or weights [..., cells]."""
    if metric.support is None:
        return np.asarray(rows, dtype=np.float64)
    with scoped():
        return np.asarray(metric.support(Fields(names, np.asarray(array, dtype=np.float64), rows)), dtype=np.float64)


def _support(
    metric: Metric,
    names: tuple[str, ...],
    sums: FieldSums,
    margin: FieldSums,
    squares: Floats | None,
    rows: Any,
    weight: Any,
) -> tuple[Floats, Floats, Floats, Floats]:
    support = _read(metric, names, margin.count, rows)
    with np.errstate(divide="ignore", invalid="ignore"):
        if squares is None or metric.support is None:
            ones = sums.square[:, 0, 0] if sums.square is not None and sums.square.ndim == 3 else rows
            kish = weight**2 / ones
        else:
            kish = _read(metric, names, margin.total, rows) ** 2 / _read(metric, names, squares, rows)
    nothing = np.full(len(support), np.nan)
    if not sums.clustered:
        return support, kish, nothing, nothing
    of_groups = _read(metric, names, sums.count, sums.count.sum(-1)) if metric.support else sums.count.sum(-1)
    held = (of_groups if metric.kind == "wilson" else sums.count.sum(-1)) > 0
    of_groups = of_groups.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        group_kish = of_groups.sum(1) ** 2 / (of_groups**2).sum(1)
    return support, np.minimum(kish, support), held.sum(1).astype(np.float64), group_kish


def _variance(sums: FieldSums, margin: FieldSums, gradient: Floats, rows: Any, extra: Any = 0.0) -> Floats:
    """Sum over rows, or over groups, of the squared influence minus its mean."""
    if sums.clustered:
        influence = np.einsum("sgf,sf->sg", sums.total, gradient)
        return group_variance(influence, sums.count.sum(-1) > 0)
    square = sums.square
    if square is None:
        raise ValueError("independent rows need second moments")
    n = np.maximum(rows, 1)
    centre = (margin.total * gradient).sum(1) ** 2 / n
    if square.ndim == 2:
        return np.maximum(((square + extra) * gradient**2).sum(1) - centre, 0.0)
    spread = np.einsum("sf,sfg,sg->s", gradient, square, gradient) - centre
    noise = 1e-14 * np.einsum("sf,sfg,sg->s", np.abs(gradient), np.abs(square), np.abs(gradient))
    return np.where(spread <= noise, 0.0, spread) * n / np.maximum(n - 1, 1)


def group_variance(influence: Floats, held: NDArray[np.bool_]) -> Floats:
    """Returns the variance of a total from the totals of its groups, [slices, groups] to [slices]."""
    groups = held.sum(1)
    mean = influence.sum(1) / np.maximum(groups, 1)
    spread = np.where(held, (influence - mean[:, None]) ** 2, 0.0).sum(1)
    return np.where(groups > 1, spread * groups / np.maximum(groups - 1, 1), 0.0)


def _rarer(metric: Metric, names: tuple[str, ...], margin: FieldSums, rows: Any, weight: Floats) -> Floats:
    if metric.statistic.form == "cells":
        positives = margin.count[:, 2] + margin.count[:, 3] if len(names) == 4 else rows
        return np.minimum(positives, rows - positives).astype(np.float64)
    if "label" in names and metric.task == "binary":
        with np.errstate(divide="ignore", invalid="ignore"):
            share = margin.total[:, names.index("label")] / weight
        return np.nan_to_num(np.minimum(share, 1 - share) * rows)
    return np.asarray(rows, dtype=np.float64)


def _tails(
    metric: Metric, names: tuple[str, ...], sums: FieldSums, margin: FieldSums, rows: Any
) -> tuple[Floats, Floats]:
    unknown = np.full(len(rows), np.inf), np.full(len(rows), np.nan)
    if metric.heavy is None:
        return unknown
    place = names.index(metric.heavy)
    total = margin.total[:, place]
    with np.errstate(divide="ignore", invalid="ignore"):
        if margin.square is not None:
            heavy = total**2 / margin.square[:, place, place]
        else:
            heavy = 1 / _squares_of_groups(sums, place)
        largest = unknown[1] if margin.largest is None else margin.largest[:, place] / np.abs(total)
    known = np.isfinite(heavy)
    return np.where(known, heavy, np.inf), np.where(known, largest, np.nan)


def _squares_of_groups(sums: FieldSums, place: int) -> Floats:
    """Estimates sum q^2 / (sum q)^2 of rows from the totals of their groups: what groups vary by beyond being alike."""
    if not sums.clustered:
        return np.full(len(sums.total), np.nan)
    by_group = sums.total[:, :, place]
    held = (sums.count.sum(-1) > 0).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (by_group**2).sum(1) / by_group.sum(1) ** 2 - 1 / held
    return np.where((share > 0) & (held > 1), share, np.nan)


# --- histograms of scores ---


_BOUNDED = {"roc_auc": (0, 1.0), "gini": (0, 2.0), "average_precision": (1, 1.0)}
_MOST_GRADED = 300_000
_THINNEST, _FINEST = 16, 128


def _of_scores(metrics: Sequence[Metric], sums: ScoreSums) -> list[Estimate]:
    margin, slices = sums.margin(), sums.size
    spread = _spread(sums)
    own = spread.ungrouped()
    bounded = any(metric.name_of_function in _BOUNDED for metric in metrics)
    graded = values_of(metrics, own, gradients=True, bounded=bounded and own is margin)
    at = graded if own is margin else values_of(metrics, margin, gradients=False, bounded=bounded)
    count = margin.totals("count")
    total, square = (margin.totals(name) if margin.weighted else count.astype(float) for name in ("total", "square"))
    groups = _score_groups(sums)
    names = ("negatives", "positives")
    result = []
    for i, metric in enumerate(metrics):
        gradient = graded.gradient[i]  # type: ignore[index]
        support = _read(metric, names, count, count.sum(1))
        with np.errstate(divide="ignore", invalid="ignore"):
            kish = _read(metric, names, total**2 / square, None)
        nothing = np.full(slices, np.nan)
        variance = _score_variance(spread, own, gradient, count, stratified=metric.kind == "delong")
        by_chance = at.expected[i]
        if sums.clustered and metric.baseline is not None:
            alone = _score_variance(own, own, gradient, count, stratified=False)
            by_chance = by_chance * np.sqrt(np.maximum(variance / np.where(alone > 0, alone, np.inf), 1.0))
        result.append(
            Estimate(
                metric=metric,
                value=_in_range(metric, at.value[i] + _shift(metric, at.binning)),
                variance=variance,
                rows=count.sum(1),
                weight=total.sum(1),
                support=support,
                kish=np.nan_to_num(kish),
                groups=groups,
                group_kish=groups,
                rarer=count.min(1).astype(np.float64),
                smooth_value=nothing,
                smooth_variance=nothing,
                srs=np.ones(slices),
                parts=(),
                expected=by_chance,
                heavy=np.full(slices, np.inf),
                largest_share=nothing,
                bound=_bound(metric, at.binning, binned=margin.bins is not None),
                binned=margin.bins is not None,
                slope=functools.partial(_given, gradient) if spread is sums else _Slope(metric, sums),
            )
        )
    return result


def _given(gradient: Floats) -> Floats:
    return gradient


@dataclass(frozen=True)
class _Slope:
    """The gradient by every entry, found where it is asked for: variances do with fewer."""

    metric: Metric
    sums: ScoreSums

    def __call__(self) -> Floats:
        found = values_of([self.metric], self.sums.ungrouped(), gradients=True).gradient
        if found is None:
            raise ValueError("no gradients")
        gradient: Floats = found[0]
        return gradient


def _spread(sums: ScoreSums) -> ScoreSums:
    """Returns the sums that variances are taken of: these, or where entries are many a roll-up by slice."""
    entries = np.count_nonzero(first_of_keys(sums)) if sums.clustered else sums.entries
    if entries <= _MOST_GRADED:
        return sums
    most = _FINEST
    while most > _THINNEST and 2 * most * sums.size > _MOST_GRADED:
        most //= 2
    return sums.thinned(most)


def _shift(metric: Metric, binning: Floats) -> Any:
    """Returns what leads from a bin's rows as ties to the middle of all their orders."""
    return binning[2] if metric.name_of_function == "average_precision" else 0.0


def _bound(metric: Metric, binning: Floats, *, binned: bool) -> Floats:
    if not binned:
        return np.zeros(binning.shape[1])
    if metric.name_of_function not in _BOUNDED:
        return np.full(binning.shape[1], np.nan)
    which, factor = _BOUNDED[metric.name_of_function]
    return binning[which] * factor


def _score_groups(sums: ScoreSums) -> Floats:
    """Counts the groups of units that hold rows of the class that fewer of them hold."""
    if sums.groups is None:
        return np.full(sums.size, np.nan)
    code = sums.slices.astype(np.int64) * (1 << 20) + sums.groups
    counted = []
    for label in (0, 1):
        held = np.unique(code[sums.count[:, label] > 0]) >> 20
        counted.append(np.bincount(held, minlength=sums.size))
    return np.minimum(*counted).astype(np.float64)


def _score_variance(sums: ScoreSums, margin: ScoreSums, gradient: Floats, count: Any, *, stratified: bool) -> Floats:
    """Sum of squared influences; for DeLong's interval apart for each class, each with its n / (n - 1)."""
    if sums.groups is not None:
        return _score_group_variance(sums, gradient)
    by_class = margin.by_slice(margin.squares * gradient**2)
    if stratified:
        return (by_class * count / np.maximum(count - 1, 1)).sum(1)
    n = np.maximum(count.sum(1), 1)
    centre = margin.by_slice(margin.weights * gradient).sum(1) ** 2 / n
    return np.maximum(by_class.sum(1) - centre, 0.0)


def _score_group_variance(sums: ScoreSums, gradient: Floats) -> Floats:
    influence, held = group_influence(sums, gradient)
    return group_variance(influence, held)


def group_influence(sums: ScoreSums, gradient: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Returns each group's influence on each slice's metric [slices, groups], and where groups hold rows."""
    if sums.groups is None:
        raise ValueError("no groups of units")
    place = np.cumsum(first_of_keys(sums)) - 1
    size = int(sums.groups.max(initial=0)) + 1
    code = sums.slices.astype(np.int64) * size + sums.groups
    amount = (sums.weights * gradient[place]).sum(1)
    influence = np.bincount(code, weights=amount, minlength=sums.size * size).reshape(sums.size, size)
    held = np.bincount(code, minlength=sums.size * size).reshape(sums.size, size) > 0
    return influence.astype(np.float64, copy=False), held
