"""Metrics of whether scores are probabilities: calibration, from the histogram of scores.

Bins are equally wide. Scores must lie in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from evalkit.histogram import Histogram
from evalkit.metric import metric, ratio, root
from evalkit.metrics.score_histogram import rarer, score_histogram

probability_histogram = replace(score_histogram, needs=("label", "probability"))
_NEWTON_STEPS = 25
_SETTLED = 1e-6
_REFINING_STEPS = 8
_NEAR = 1e-4
_WIDEST = 100.0
_SHORTEST = 1e-6


def _weight(h: Histogram, bins: int) -> Any:
    """Returns the weight of rows in each bin, [slices, bins]."""
    return h.once(("weight", bins), lambda: h.binned(h.weights, bins))


def _gaps(h: Histogram, bins: int) -> tuple[Any, Any]:
    """Returns |mean label - mean score| and the weight in each bin, [slices, bins] each."""
    import jax.numpy as jnp

    weight = _weight(h, bins)
    gap = jnp.abs(h.once(("excess", bins), lambda: h.binned(h.positives - h.weights * h.scores, bins)))
    empty = weight == 0
    return jnp.where(empty, 0.0, gap / jnp.where(empty, 1.0, weight)), weight


def _noise(h: Histogram, bins: int) -> Any:
    """Returns the standard error of each bin's gap were the scores the true probabilities, [slices, bins]."""
    import jax.numpy as jnp

    weight = _weight(h, bins)
    spread = root(h.once(("noise", bins), lambda: h.binned(h.squares * h.scores * (1 - h.scores), bins)))
    return jnp.where(weight == 0, 0.0, spread / jnp.where(weight == 0, 1.0, weight))


def _expected_ece(h: Histogram, *, bins: int = 10) -> Any:
    weight = _weight(h, bins)
    return ratio((weight * _noise(h, bins)).sum(-1) * math.sqrt(2 / math.pi), weight.sum(-1))


def _expected_mce(h: Histogram, *, bins: int = 10) -> Any:
    """Mean of the largest of independent half-normal gaps, by integrating its survival function."""
    import jax.numpy as jnp
    from jax.scipy.special import erf

    noise = _noise(h, bins)[:, None, :]
    largest = noise.max(-1, keepdims=True)
    grid = jnp.linspace(0.0, 6.0, 241)[None, :, None] * largest
    inside = jnp.where(noise > 0, erf(grid / jnp.where(noise > 0, noise, 1.0) / math.sqrt(2)), 1.0)
    survival = 1 - jnp.prod(inside, axis=-1)
    return jnp.trapezoid(survival, grid[..., 0], axis=-1)


@metric(probability_histogram, range=(0, 1), better="lower", interval="none", support=rarer, baseline=_expected_ece)
def expected_calibration_error(h: Histogram, *, bins: int = 10) -> Any:
    """Mean distance between the mean label and the mean score in bins of the score.

    Traps: never negative, so a perfect model is above 0; the note gives that expectation, and only a value of more
    than twice it has an interval. Source: Naeini et al. (2015), Obtaining well calibrated probabilities.

    >>> expected_calibration_error([1, 0, 1, 0], [0.75, 0.75, 0.25, 0.25])
    0.25
    """
    gap, weight = _gaps(h, bins)
    return ratio((gap * weight).sum(-1), weight.sum(-1))


@metric(probability_histogram, range=(0, 1), better="lower", interval="none", support=rarer, baseline=_expected_mce)
def maximum_calibration_error(h: Histogram, *, bins: int = 10) -> Any:
    """Largest distance between the mean label and the mean score in bins of the score.

    Traps: decided by the smallest bins; the note gives its expectation for a perfect model. Source: Naeini et al.
    (2015).

    >>> maximum_calibration_error([1, 0, 1, 0], [0.75, 0.75, 0.25, 0.25])
    0.25
    """
    gap, weight = _gaps(h, bins)
    return gap.max(-1) + ratio(0.0, weight.sum(-1))


def _bin_means(h: Histogram, bins: int) -> tuple[Any, Any, Any, Any]:
    import jax.numpy as jnp

    weight = _weight(h, bins)
    safe = jnp.where(weight == 0, 1.0, weight)
    total = weight.sum(-1)
    mean = ratio(h.total(h.positives), total)
    return (
        ratio(weight, total[:, None]),
        h.once(("positives", bins), lambda: h.binned(h.positives, bins)) / safe,
        h.once(("scores", bins), lambda: h.binned(h.weights * h.scores, bins)) / safe,
        mean,
    )


@metric(probability_histogram, range=(0, 1), better="lower", interval="none", support=rarer)
def brier_reliability(h: Histogram, *, bins: int = 10) -> Any:
    """Part of the Brier score lost to miscalibration, in bins of the score.

    With one score a bin, brier_score = brier_reliability - brier_resolution + brier_uncertainty. Source: Murphy
    (1973), A new vector partition of the probability score.

    >>> brier_reliability([1, 0, 1, 0], [0.75, 0.75, 0.25, 0.25])
    0.0625
    """
    share, label, score, _ = _bin_means(h, bins)
    return (share * (score - label) ** 2).sum(-1)


@metric(probability_histogram, range=(0, 0.25), better="higher", interval="none", support=rarer)
def brier_resolution(h: Histogram, *, bins: int = 10) -> Any:
    """Part of the Brier score won by telling rows apart, in bins of the score. Source: Murphy (1973).

    >>> brier_resolution([1, 1, 0, 0], [0.75, 0.75, 0.25, 0.25])
    0.25
    """
    share, label, _, mean = _bin_means(h, bins)
    return (share * (label - mean[:, None]) ** 2).sum(-1)


@metric(probability_histogram, range=(0, 0.25), interval="delta", support=rarer)
def brier_uncertainty(h: Histogram) -> Any:
    """Brier score of always saying the base rate: p (1 - p). Source: Murphy (1973).

    >>> brier_uncertainty([1, 0, 1, 0], [0.75, 0.75, 0.25, 0.25])
    0.25
    """
    mean = ratio(h.total(h.positives), h.total(h.weights))
    return mean * (1 - mean)


def _log_odds(h: Histogram) -> Any:
    """Returns the log odds of each score, [entries]; to be called before a loop that reads them."""
    return h.once("log odds", lambda: h.of_scores(_logit))


def _logit(scores: Any) -> Any:
    import jax.numpy as jnp

    small = 2.0**-52
    clipped = jnp.clip(scores, small, 1 - small)
    return jnp.log(clipped / (1 - clipped))


def _still(h: Histogram) -> Histogram:
    """Returns the histogram as a constant: iterations are not differentiated, their last step is."""
    import jax

    stop = jax.lax.stop_gradient
    still = Histogram(
        slices=h.slices,
        starts=h.starts,
        scores=h.scores,
        negatives=stop(h.negatives),
        positives=stop(h.positives),
        graded=False,
    )
    still.once("log odds", lambda: _log_odds(h))
    return still


def _until_settled(step: Callable[[Any], Any], start: Any, most: int) -> Any:
    """Repeats a step of a tuple of [slices] until no slice moves, `most` times at most."""
    import jax
    import jax.numpy as jnp

    def going(state: Any) -> Any:
        return (state[0] < most) & state[1]

    def on(state: Any) -> Any:
        new = step(state[2])
        moved = [jnp.abs(after - before) for after, before in zip(new, state[2], strict=True)]
        return state[0] + 1, (jnp.stack(moved).sum(0) > _SETTLED / 100).any(), new

    return jax.lax.while_loop(going, on, (0, True, start))[2]


def _refined(step: Callable[[Any], Any], start: Any) -> Any:
    """Repeats a Newton step of a tuple of [slices] until none moves far, after which one is as near as its square.

    Slices that still move far after some steps are NaN.
    """
    import jax
    import jax.numpy as jnp

    def on(state: Any) -> Any:
        new = step(state[2])
        moved = sum(jnp.abs(after - before) for after, before in zip(new, state[2], strict=True))
        return state[0] + 1, moved, new

    def going(state: Any) -> Any:
        return (state[0] < _REFINING_STEPS) & (state[1] > _NEAR).any()

    _, moved, found = jax.lax.while_loop(going, on, on((0, None, start)))
    return tuple(jnp.where(moved <= _NEAR, value, jnp.nan) for value in found)


def _step(h: Histogram, intercept: Any, slope: Any) -> tuple[Any, Any]:
    """A Newton step of the fit of log odds."""
    import jax

    x = _log_odds(h)
    p, q = _both_shares(h.spread(intercept) + h.spread(slope) * x)
    residual = h.positives * q - h.negatives * p
    curvature = jax.lax.stop_gradient(h.weights * p * q)
    g0, g1, a, b, c = h.totals(residual, residual * x, curvature, curvature * x, curvature * x * x)
    determinant = a * c - b * b
    determinant = _above(determinant, 1e-12 * a * c)
    return intercept + ratio(c * g0 - b * g1, determinant), slope + ratio(a * g1 - b * g0, determinant)


def _both_shares(odds: Any) -> tuple[Any, Any]:
    """Returns the probability of log odds, and of its complement, neither of them rounded by the other."""
    import jax.numpy as jnp

    small = jnp.exp(-jnp.abs(odds))
    more = 1 / (1 + small)
    less = small * more
    return jnp.where(odds >= 0, more, less), jnp.where(odds >= 0, less, more)


def _above(value: Any, noise: Any) -> Any:
    import jax.numpy as jnp

    return jnp.where(value <= noise, 0.0, value)


def _started(h: Histogram) -> tuple[Any, Any]:
    """Fits by a few Newton steps from calibrated scores, or by damped ones where a slice does not settle."""
    import jax
    import jax.numpy as jnp

    still = _still(h)
    found = _refined(lambda at: _step(still, *at), (jnp.zeros(h.n), jnp.ones(h.n)))
    settled = jnp.isfinite(found[0] + found[1]) | ~_both_classes(h)
    fit: tuple[Any, Any] = jax.lax.cond(settled.all(), lambda: found, lambda: _solved(h))
    return fit


def _solved(h: Histogram) -> tuple[Any, Any]:
    """Fits by damped Newton steps from a slope of 0."""
    import jax
    import jax.numpy as jnp

    still = _still(h)
    x = _log_odds(still)

    def likelihood(intercept: Any, slope: Any) -> Any:
        odds = h.spread(intercept) + h.spread(slope) * x
        of_rows = still.positives * jax.nn.log_sigmoid(odds) + still.negatives * jax.nn.log_sigmoid(-odds)
        return still.total(of_rows)

    def uphill(state: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        """A Newton step, shortened while it would lead downhill; concave, so that ends at the top."""
        intercept, slope, size = state
        whole = _step(still, intercept, slope)
        new = intercept + size * (whole[0] - intercept), slope + size * (whole[1] - slope)
        before, after = likelihood(intercept, slope), likelihood(*new)
        kept = jnp.isfinite(new[0] + new[1]) & (after >= before - 1e-12 * jnp.abs(before))
        return (
            jnp.where(kept, new[0], intercept),
            jnp.where(kept, new[1], slope),
            jnp.where(kept, jnp.minimum(4 * size, 1.0), jnp.where(size > _SHORTEST, size / 4, size)),
        )

    base_rate = ratio(still.total(still.positives), still.total(still.weights))
    start = _logit(jnp.nan_to_num(base_rate, nan=0.5)), jnp.zeros(h.n), jnp.ones(h.n)
    intercept, slope, _ = _until_settled(uphill, start, 4 * _NEWTON_STEPS)
    return intercept, slope


def _fit(h: Histogram) -> tuple[Any, Any]:
    """Fits logit P(label) = intercept + slope logit(score) in each slice.

    The last step is differentiable: its gradient is the estimate's influence function. A large histogram is fitted
    from its coarse one's solution.
    """
    import jax
    import jax.numpy as jnp

    _log_odds(h)
    if h.coarse is not None:
        found = _refined(lambda at: _step(h, *at), _started(h.coarse))
        missed = _both_classes(h) & ~jnp.isfinite(found[0] + found[1])
        fit: tuple[Any, Any] = jax.lax.cond(missed.any(), lambda: _fit_missed(h, missed, found), lambda: found)
        return fit
    return _fit_alone(h)


def _fit_missed(h: Histogram, missed: Any, found: tuple[Any, Any]) -> tuple[Any, Any]:
    """Fits anew the slices that a coarse fit led nowhere, unless scores separate their classes: those have no fit."""
    import jax
    import jax.numpy as jnp

    ends = [
        (h.lowest(jnp.where(held > 0, h.scores, jnp.inf)), h.highest(jnp.where(held > 0, h.scores, -jnp.inf)))
        for held in (h.negatives, h.positives)
    ]
    overlap = (ends[0][1] > ends[1][0]) & (ends[1][1] > ends[0][0])
    again: tuple[Any, Any] = jax.lax.cond((missed & overlap).any(), lambda: _fit_alone(h), lambda: found)
    return jnp.where(missed, again[0], found[0]), jnp.where(missed, again[1], found[1])


def _fit_alone(h: Histogram) -> tuple[Any, Any]:
    import jax.numpy as jnp

    solution = _started(h)
    intercept, slope = _step(h, *(jnp.nan_to_num(value) for value in solution))  # a NaN would be the gradient's too
    settled = _both_classes(h) & (jnp.abs(intercept - solution[0]) + jnp.abs(slope - solution[1]) < _SETTLED)
    return jnp.where(settled, intercept, jnp.nan), jnp.where(settled, slope, jnp.nan)


def _newton(h: Histogram, shift: Any) -> tuple[Any, Any]:
    """Returns the excess of labels at a shift, and the Newton step from there."""
    import jax

    p, q = _both_shares(h.spread(shift) + _log_odds(h))
    excess, curvature = h.totals(h.positives * q - h.negatives * p, jax.lax.stop_gradient(h.weights * p * q))
    return excess, ratio(excess, curvature)


def _shifted(h: Histogram) -> Any:
    """Solves by bracketed Newton steps."""
    import jax.numpy as jnp

    still = _still(h)

    def narrowed(state: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        low, high, shift = state
        excess, change = _newton(still, shift)
        low, high = jnp.where(excess >= 0, shift, low), jnp.where(excess <= 0, shift, high)
        new = shift + change
        return low, high, jnp.where((new >= low) & (new <= high), new, (low + high) / 2)

    start = jnp.full(h.n, -_WIDEST), jnp.full(h.n, _WIDEST), jnp.zeros(h.n)
    return _until_settled(narrowed, start, 4 * _NEWTON_STEPS)[2]


def _shift(h: Histogram) -> Any:
    """Solves sum of labels = sum of sigmoid(shift + logit(score)) in each slice; the last step is differentiable."""
    import jax.numpy as jnp

    _log_odds(h)
    if h.coarse is not None:
        [shift] = _refined(lambda at: (at[0] + _newton(h, at[0])[1],), (_shift(h.coarse),))
        return jnp.where(_both_classes(h), shift, jnp.nan)
    shift = _shifted(h)
    return jnp.where(_both_classes(h), shift + _newton(h, shift)[1], jnp.nan)


def _both_classes(h: Histogram) -> Any:
    return (h.total(h.negatives) > 0) & (h.total(h.positives) > 0)


@metric(probability_histogram, range=(-math.inf, math.inf), interval="delta", support=rarer)
def calibration_slope(h: Histogram) -> Any:
    """Slope of the labels' log odds on the scores' log odds; below 1 the scores are too extreme.

    Undefined with a single class, a single score, or scores that separate the classes. Source: Cox (1958);
    statsmodels `Logit`.

    >>> round(calibration_slope([1, 0, 1, 0, 1, 1], [0.7, 0.7, 0.2, 0.2, 0.7, 0.2]), 9) + 0.0
    0.0
    """
    return _fit(h)[1]


@metric(probability_histogram, range=(-math.inf, math.inf), interval="delta", support=rarer)
def calibration_intercept(h: Histogram) -> Any:
    """Calibration in the large: the shift of the scores' log odds that makes their mean right.

    The slope is held at 1. Above 0 the scores are too low. Undefined with a single class. Source: Steyerberg
    (2019), Clinical prediction models; statsmodels `GLM` with an offset.

    >>> round(calibration_intercept([1, 0, 1, 1], [0.5, 0.5, 0.5, 0.5]), 6)
    1.098612
    """
    return _shift(h)


def _cumulative_range(h: Histogram) -> Any:
    import jax.numpy as jnp

    def width() -> Any:
        difference = h.positives - h.weights * h.scores
        path = h.before(difference) + difference
        return jnp.maximum(h.highest(path), 0.0) - jnp.minimum(h.lowest(path), 0.0)

    return h.once("cumulative range", width), h.total(h.weights)


@metric(probability_histogram, range=(0, 1), better="lower", interval="none", support=rarer)
def cumulative_calibration_error(h: Histogram) -> Any:
    """Range of the running mean of label - score in the order of the scores; needs no bins.

    Source: Arrieta-Ibarra et al. (2022), Metrics of calibration for probabilistic predictions (ECCE-R, Kuiper).

    >>> cumulative_calibration_error([1, 0, 1, 0], [0.75, 0.75, 0.25, 0.25])
    0.125
    """
    width, weight = _cumulative_range(h)
    return ratio(width, weight)


@metric(probability_histogram, range=(0, 1), interval="none", support=rarer)
def calibration_p_value(h: Histogram) -> Any:
    """Probability of a cumulative calibration error this large were the scores the true probabilities.

    Rows are taken as independent. By the law of the range of a Brownian motion. Source: Feller (1951);
    Arrieta-Ibarra et al. (2022).

    >>> round(calibration_p_value([1, 1, 1, 1, 0, 0, 0, 0], [0.1] * 4 + [0.9] * 4), 6)
    8.8e-05
    """
    import jax.numpy as jnp

    width, weight = _cumulative_range(h)
    scale = root(h.total(h.squares * h.scores * (1 - h.scores)))
    x = jnp.clip(ratio(width, scale), 1e-3, 30.0)[:, None]
    odd = (2 * jnp.arange(1.0, 201.0) - 1)[None, :]
    terms = (1 / x**2 + 1 / (odd * math.pi) ** 2) * jnp.exp(-((odd * math.pi / x) ** 2) / 2)
    return jnp.clip(1 - 8 * terms.sum(-1), 0.0, 1.0) + ratio(0.0, weight)
