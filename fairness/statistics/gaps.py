"""Is the gap between groups real: bounds of the largest difference of rates that hold for all pairs at once.

The largest of many noisy differences is above 0 even where all groups are alike, so quantiles of a bootstrapped gap are
no interval for it. Here each pair's difference has Newcombe's interval at the critical value of Tukey's range, so that
all of them hold together, and with them the bounds of the largest.

>>> found = rate_gap([30, 24, 9], [50, 50, 50])
>>> round(float(found.value), 2), round(float(found.low), 2), round(float(found.high), 2), bool(found.flagged)
(0.42, 0.19, 0.59, True)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.errors import ConfigError
from evalkit.fairness.statistics.homogeneity import chi_square
from evalkit.fairness.statistics.simultaneous import tukey_critical
from evalkit.fairness.statistics.smallest import smallest_difference
from evalkit.fairness.statistics.two_rates import counted, newcombe

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RateGap:
    """The largest difference between the rates of groups; arrays are [...], pairs [..., groups, groups].

    Attributes:
        value: highest minus lowest rate; NaN where fewer than two groups hold rows.
        low: lower bound of the true gap; 0 where no pair is shown to differ.
        high: upper bound of the true gap.
        p_value: of the test that all rates are equal (Pearson's chi-square).
        level: the confidence that all pairs' bounds hold together.
        pair_low: lower bound of each row group's rate minus each column group's.
        pair_high: upper bound.
        detectable: the gap between two groups of middling size that would be shown with a probability of 80%.
    """

    value: Floats
    low: Floats
    high: Floats
    p_value: Floats
    level: float
    pair_low: Floats
    pair_high: Floats
    detectable: Floats

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """Whether a gap is shown: rates are not all equal, and some pair's bounds leave 0 out."""
        return (self.p_value < 1 - self.level) & (self.low > 0)

    def certified(self, most: float) -> NDArray[np.bool_]:
        """Returns whether the true gap is shown to be at most so large."""
        if not 0 < most <= 1:
            raise ConfigError(f"A gap between rates lies between 0 and 1, not {most!r}.")
        return np.asarray(self.high <= most)


def rate_gap(hits: ArrayLike, rows: ArrayLike, *, level: float = 0.95) -> RateGap:
    """Returns the largest gap between rates of independent groups, with simultaneous bounds.

    Args:
        hits: [..., groups] rows of each group that count, such as those selected; whole numbers, or summed weights.
        rows: [..., groups] rows of the rate's denominator; or effective numbers of rows, with `hits` their share.
        level: the confidence that all bounds hold.

    Groups without rows are left out. Rates are of independent rows: of clustered ones give effective numbers.

    Raises:
        DataError: counts are negative, not finite, or more hits than rows.
        ConfigError: the level does not lie between 0 and 1.

    Source: Newcombe (1998), Interval estimation for the difference between independent proportions; Tukey and Kramer.
    """
    if not 0 < level < 1:
        raise ConfigError(f"level must lie between 0 and 1, not {level!r}.")
    x, n = counted(hits, rows)
    held = n > 0
    groups = held.sum(-1)
    z = np.asarray(np.vectorize(lambda k: tukey_critical(int(k), level), otypes=[np.float64])(groups))
    rate = np.divide(x, n, out=np.full(x.shape, np.nan), where=held)
    pair_low, pair_high = newcombe(
        x[..., :, None], n[..., :, None], x[..., None, :], n[..., None, :], z[..., None, None]
    )
    difference = rate[..., :, None] - rate[..., None, :]
    several = groups > 1
    value, lowest, highest = (
        np.where(several, _largest(of), np.nan) for of in (difference, np.maximum(pair_low, 0.0), pair_high)
    )
    return RateGap(
        value=value,
        low=lowest,
        high=highest,
        p_value=np.asarray(chi_square(x, n).p_value),
        level=level,
        pair_low=pair_low,
        pair_high=pair_high,
        detectable=np.where(several, _detectable(x, n, z), np.nan),
    )


def _largest(values: Floats) -> Floats:
    """Returns the largest of pairs, NaN left out; -inf where there is none."""
    found: Floats = np.where(np.isnan(values), -np.inf, values).max(axis=(-1, -2))
    return found


def _detectable(x: Floats, n: Floats, z: Any) -> Floats:
    """The pooled error of two groups of median size, times the critical value and the quantile of 80%."""
    rate = x.sum(-1) / np.maximum(n.sum(-1), 1e-300)
    nobody = ~(n > 0).any(-1, keepdims=True)
    middling = np.nanmedian(np.where(n > 0, n, np.where(nobody, 0.0, np.nan)), axis=-1)
    smooth = np.clip(rate, 0.5 / np.maximum(n.sum(-1), 1), 1 - 0.5 / np.maximum(n.sum(-1), 1))
    error = np.sqrt(smooth * (1 - smooth) / np.maximum(middling, 1e-300))
    return np.minimum(smallest_difference(error, error, z), 1.0)
