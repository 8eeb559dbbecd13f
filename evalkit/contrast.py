"""A quantity in every slice that is held against bounds: its interval and its p-values are two views of one test.

`interval(alpha)` gives ends that each err with probability alpha; `above(bound)` is the one-sided p-value of the
quantity lying above a bound: at most alpha exactly where the lower end lies at or above the bound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from evalkit.combined import combined

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]
    Flags = NDArray[np.bool_]
    Ends = Callable[[Floats], tuple[Floats, Floats]]
    Test = Callable[[Floats], Floats]

LEAST_CHANGED = 25
POWER = 0.8
_MOST_SIGMAS = 37.0
_STEPS = 60
_STEPS_OF_SIGMAS = 40
_LEAST_ALPHA = 1e-300


@dataclass(frozen=True)
class Contrast:
    """One quantity in every slice; arrays are [slices].

    Attributes:
        value: the quantity; NaN where it is undefined.
        ends: from one-sided error rates alpha [slices] to the interval's ends.
        method: how intervals are made.
        error: standard error, for power; NaN where there is no test.
        degrees: degrees of freedom of the test; infinite for normal ones.
        why: why a slice has no test; empty where it has one.
        tests: where there is a closed form: from bounds to one-sided p-values of lying above, and below.
    """

    value: Floats
    ends: Ends
    method: str
    error: Floats
    degrees: Floats
    why: tuple[str, ...]
    tests: tuple[Test, Test] | None = None

    @property
    def testable(self) -> Flags:
        """Where there is a test, [slices]."""
        return np.array([not why for why in self.why], dtype=bool)

    def interval(self, alpha: Floats | float) -> tuple[Floats, Floats]:
        """Returns the ends at one-sided error rates alpha; NaN where there is no test."""
        wide = np.broadcast_to(np.asarray(alpha, dtype=np.float64), self.value.shape)
        with np.errstate(all="ignore"):
            low, high = self.ends(wide)
        low, high = np.minimum(low, self.value), np.maximum(high, self.value)
        return np.where(self.testable, low, np.nan), np.where(self.testable, high, np.nan)

    def above(self, bound: Floats | float) -> Floats:
        """Returns one-sided p-values of the quantity lying above a bound; NaN where there is no test."""
        return self._one_sided(bound, 0)

    def below(self, bound: Floats | float) -> Floats:
        """Returns one-sided p-values of the quantity lying below a bound; NaN where there is no test."""
        return self._one_sided(bound, 1)

    def two_sided(self, bound: Floats | float = 0.0) -> Floats:
        """Returns two-sided p-values of the quantity being another than the bound."""
        if self.tests is None:
            wide = np.broadcast_to(np.asarray(bound, dtype=np.float64), self.value.shape)
            with np.errstate(all="ignore"):
                return np.where(self.testable, np.minimum(1.0, 2 * self._towards(wide)), np.nan)
        return np.minimum(1.0, 2 * np.fmin(self.above(bound), self.below(bound)))

    def _one_sided(self, bound: Floats | float, side: int) -> Floats:
        wide = np.broadcast_to(np.asarray(bound, dtype=np.float64), self.value.shape)
        with np.errstate(all="ignore"):
            p = self._inverted(wide, side) if self.tests is None else self.tests[side](wide)
        return np.where(self.testable, p, np.nan)

    def _inverted(self, bound: Floats, side: int) -> Floats:
        """The one-sided p-value of a side of the bound, from the interval's ends."""
        beyond = bound < self.value if side == 0 else bound > self.value
        p = self._towards(bound)
        return np.where(self.value == bound, 0.5, np.where(beyond, p, 1 - p))

    def _towards(self, bound: Floats) -> Floats:
        """The alpha at which the end that lies towards the bound is the bound; by halving, in standard errors."""
        from scipy import special

        on_low = bound < self.value
        near = np.zeros(self.value.shape)
        far = np.full(self.value.shape, _MOST_SIGMAS)
        for _ in range(_STEPS_OF_SIGMAS):
            middle = (near + far) / 2
            low, high = self.ends(special.ndtr(-middle))
            inside = np.where(on_low, low > bound, high < bound)
            near, far = np.where(inside, middle, near), np.where(inside, far, middle)
        return np.where(self.value == bound, 0.5, special.ndtr(-far))

    def detectable(self, alpha: Floats | float) -> Floats:
        """Returns the smallest true departure from a bound that is shown with 80% power at one-sided alpha."""
        return np.where(self.testable, self._reach(alpha) * self.error, np.nan)

    def rows_needed(self, bound: Floats | float, alpha: Floats | float, rows: Floats) -> Floats:
        """Returns the rows at which a departure as large as the one seen would be shown with 80% power.

        Args:
            bound: what the quantity is held against.
            alpha: one-sided error rate.
            rows: [slices] rows of now.
        """
        departure = np.abs(self.value - bound)
        with np.errstate(all="ignore"):
            needed = np.ceil(rows * (self._reach(alpha) * self.error / departure) ** 2)
        return np.where(self.testable & (departure > 0), np.maximum(needed, rows), np.nan)

    def _reach(self, alpha: Floats | float) -> Floats:
        return quantile(np.asarray(alpha, dtype=np.float64), self.degrees) + quantile(
            np.asarray(1 - POWER), self.degrees
        )

    def without(self, reasons: tuple[str, ...]) -> Contrast:
        """Returns the contrast without tests where a reason is given."""
        return replace(self, why=tuple(a or b for a, b in zip(self.why, reasons, strict=True)))


def quantile(alpha: Floats, degrees: Floats) -> Floats:
    """Returns the upper alpha quantile of Student's t, of the normal for infinite degrees of freedom."""
    from scipy import special

    finite = np.isfinite(degrees)
    t = -special.stdtrit(np.where(finite, np.maximum(degrees, 1), 1), alpha)
    return np.where(finite, t, -special.ndtri(alpha))


def tail(statistic: Floats, degrees: Floats) -> Floats:
    """Returns the probability of a larger value of Student's t, of the normal for infinite degrees of freedom."""
    from scipy import special

    finite = np.isfinite(degrees)
    t = special.stdtr(np.where(finite, np.maximum(degrees, 1), 1), -statistic)
    return np.where(finite, t, special.ndtr(-statistic))


def student(value: Floats, error: Floats, degrees: Floats, method: str) -> Contrast:
    """A quantity with a standard error, by Student's t; a standard error of 0 is no evidence."""

    def ends(alpha: Floats) -> tuple[Floats, Floats]:
        reach = quantile(alpha, degrees) * error
        return value - reach, value + reach

    tests = (
        lambda bound: tail((value - bound) / error, degrees),
        lambda bound: tail((bound - value) / error, degrees),
    )
    why = tuple(_undefined(v) or ("" if e > 0 else "the rows do not vary") for v, e in zip(value, error, strict=True))
    return Contrast(value, ends, method, np.where(error > 0, error, np.nan), degrees, why, tests)


def _undefined(value: float) -> str:
    return "undefined" if np.isnan(value) else ""


def paired_proportions(rows: Counts, lost: Counts, gained: Counts) -> Contrast:
    """The difference of two proportions of the same rows, (gained - lost) / rows.

    Its interval is the wider of Tango's score interval and the one that inverts McNemar's mid-p, so that it never
    claims what either does not: the first is right for any difference, the second with few discordant rows.

    Args:
        rows: [slices] rows that the proportions are of.
        lost: rows that only the baseline has.
        gained: rows that only the candidate has.
    """
    from evalkit import significance

    held = np.maximum(rows, 1)
    changed = lost + gained
    value = np.where(rows > 0, (gained - lost) / held, np.nan)

    def ends(alpha: Floats) -> tuple[Floats, Floats]:
        score = significance.tango_interval(held, lost, gained, quantile(alpha, np.array(np.inf)))
        exact = significance.conditional_interval(held, lost, gained, np.clip(alpha, _LEAST_ALPHA, 0.5 - 1e-9))
        return np.fmin(score.low, exact.low), np.fmax(score.high, exact.high)

    def p_value(bound: Floats, side: Literal["greater", "less"]) -> Floats:
        inside = np.clip(bound, -1, 1)
        z = significance.tango_z(held, lost, gained, inside)
        exact = significance.conditional_mid_p(held, lost, gained, inside, side)
        p = np.fmax(tail(z if side == "greater" else -z, np.array(np.inf)), exact)
        sure, never = (bound <= -1, bound > 1) if side == "greater" else (bound >= 1, bound < -1)
        return np.where(sure, 0.0, np.where(never, 1.0, p))

    variance = (np.maximum(changed, 1) - (gained - lost) ** 2 / held) / held**2
    error = np.sqrt(np.maximum(variance, 1 / held**2))
    why = tuple("" if n > 0 else "undefined" for n in rows)
    tests = (lambda bound: p_value(bound, "greater"), lambda bound: p_value(bound, "less"))
    return Contrast(value, ends, "McNemar mid-p and Tango", error, np.full(value.shape, np.inf), why, tests)


def mover(
    first: tuple[Floats, Ends],
    second: tuple[Floats, Ends],
    variances: tuple[Floats, Floats, Floats],
    degrees: Floats,
    factor: Floats | float = 1.0,
) -> Contrast:
    """A first proportion minus `factor` times a second, from their own intervals and their correlation.

    Args:
        first: a value and its ends.
        second: likewise.
        variances: of the first, of the second, and of first minus second.
        degrees: degrees of freedom that the ends use.
        factor: of the second; not negative.

    Source: Zou and Donner (2008), MOVER.
    """
    (a, ends_a), (b, ends_b) = first, second
    of_a, of_b, of_both = variances
    factors = np.stack(np.broadcast_arrays(1.0, -np.asarray(factor, dtype=np.float64)), axis=-1)
    between = (of_a + of_b - of_both) / 2
    joint = np.stack([np.stack([of_a, between], -1), np.stack([between, of_b], -1)], -1)
    value = a - factor * b
    with np.errstate(all="ignore"):
        error = np.sqrt(np.maximum(of_a + factor**2 * of_b - 2 * factor * between, 0))

    def ends(alpha: Floats) -> tuple[Floats, Floats]:
        lows, highs = (np.stack(side, axis=-1) for side in zip(ends_a(alpha), ends_b(alpha), strict=True))
        found = combined(np.stack([a, b], axis=-1), lows, highs, factors, joint)
        return found.low, found.high

    why = tuple(
        _undefined(v) or ("" if e > 0 else "no row tells the models apart") for v, e in zip(value, error, strict=True)
    )
    return Contrast(value, ends, "MOVER of Wilson intervals", np.where(error > 0, error, np.nan), degrees, why)


def total(first: Contrast, second: Contrast, factor: float) -> Contrast:
    """`factor` times the sum of two quantities of different rows. Source: Zou and Donner (2008), MOVER."""
    value = factor * (first.value + second.value)

    def ends(alpha: Floats) -> tuple[Floats, Floats]:
        (l1, u1), (l2, u2) = first.ends(alpha), second.ends(alpha)
        low = value - factor * np.hypot(first.value - l1, second.value - l2)
        return low, value + factor * np.hypot(u1 - first.value, u2 - second.value)

    why = tuple(a or b for a, b in zip(first.why, second.why, strict=True))
    error = factor * np.hypot(first.error, second.error)
    return Contrast(value, ends, f"MOVER of {first.method}", error, np.minimum(first.degrees, second.degrees), why)


def replicated(value: Floats, draws: Floats) -> Contrast:
    """A quantity with bootstrap replicates [replicates, slices]: percentiles, p-values from 1 / (replicates + 1)."""
    defined = np.isfinite(draws)
    enough = defined.mean(0) >= 0.9
    ordered = np.sort(np.where(defined, draws, np.nan), axis=0)
    counts = defined.sum(0)

    def ends(alpha: Floats) -> tuple[Floats, Floats]:
        """The bounds that the tests below do not reject; infinite where so few replicates reject none."""
        spared = np.floor(alpha * (1 + counts) * (1 + 1e-12)).astype(np.int64) - 1
        column, known = np.arange(len(value)), spared >= 0
        place = np.clip(spared, 0, np.maximum(counts - 1, 0))
        low, high = ordered[place, column], ordered[np.maximum(counts - 1 - place, 0), column]
        return np.where(known, low, -np.inf), np.where(known, high, np.inf)

    tests = (
        lambda bound: (1 + (draws <= bound).sum(0)) / (1 + counts),
        lambda bound: (1 + (draws >= bound).sum(0)) / (1 + counts),
    )
    with np.errstate(all="ignore"):
        error = np.sqrt(np.where(enough, np.nanvar(np.where(enough, draws, 0.0), axis=0, ddof=1), np.nan))
    why = tuple(
        _undefined(v) or ("" if ok and e > 0 else "undefined in too many replicates" if not ok else "no variation")
        for v, ok, e in zip(value, enough, error, strict=True)
    )
    return Contrast(value, ends, "bootstrap", error, np.full(value.shape, np.inf), why, tests)


def share(of: Callable[[Floats], Contrast], delta: Floats, whole: Floats) -> Contrast:
    """A difference as a share of a value that is itself estimated, by Fieller's argument.

    Args:
        of: from shares r [slices] to the contrast candidate - baseline - r |baseline|.
        delta: candidate minus baseline.
        whole: |baseline|; where it is 0 the share is undefined.
    """
    with np.errstate(all="ignore"):
        value = np.where(whole > 0, delta / whole, np.nan)
        middle = of(np.zeros(len(delta)))
        error = middle.error / whole
    span = np.maximum(1.0, np.abs(np.nan_to_num(value))) * 1e3

    def end(alpha: Floats, side: int) -> Floats:
        near, far = np.nan_to_num(value), np.nan_to_num(value) + (span if side else -span)
        for _ in range(_STEPS):
            half = (near + far) / 2
            low, high = of(half).interval(alpha)
            kept = (low <= 0) & (high >= 0)
            near, far = np.where(kept, half, near), np.where(kept, far, half)
        return np.where(np.abs(near - value) > 0.99 * span, np.copysign(np.inf, near - value), near)

    tests = (lambda bound: of(bound).above(0.0), lambda bound: of(bound).below(0.0))
    why = tuple(a or _undefined(v) for a, v in zip(middle.why, value, strict=True))
    return Contrast(
        value,
        lambda alpha: (end(alpha, 0), end(alpha, 1)),
        f"Fieller, {middle.method}",
        error,
        middle.degrees,
        why,
        tests,
    )
