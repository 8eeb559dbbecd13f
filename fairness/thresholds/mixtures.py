"""The best mixtures of thresholds within a gap: what is reached where a row's decision may be drawn.

Source: Hardt, Price and Srebro (2016), Equality of opportunity in supervised learning, section 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.errors import InternalError
from evalkit.fairness.thresholds.envelope import Curve, crossings, highest, lowest, mixture, upper
from evalkit.fairness.thresholds.operating_points import Mix, OperatingPoints

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = NDArray[np.int64]


class Mixtures:
    """The best mixtures of each group's points, for any gap."""

    def __init__(self, points: OperatingPoints) -> None:
        """Finds the corners of what each group reaches."""
        self.points = points
        self.one_rate = len(points.rates[0]) == 1
        self.tops = {
            g: upper(points.rates[g][-1], points.gains[g] if self.one_rate else points.rates[g][0])
            for g in points.bound
        }
        self.bottoms = (
            {} if self.one_rate else {g: upper(points.rates[g][1], -points.rates[g][0]) for g in points.bound}
        )

    def best(self, gap: float) -> list[Mix]:
        """Returns mixtures that are best among those whose rates lie within a gap.

        With one rate, at most two thresholds of a group are mixed; with two rates, at most four.
        """
        if self.one_rate:
            return self.points.complete(self._one_rate(gap))
        if gap <= 0:
            return self.points.complete(_two_rates(self.points, self.tops, self.bottoms))
        corners = {g: np.union1d(top, self.bottoms[g]) for g, top in self.tops.items()}
        return self.points.complete(_by_program(self.points, corners, gap))

    def _one_rate(self, gap: float) -> dict[int, Mix]:
        """Over a window of rates a concave curve is highest at its peak, or at the end nearest to it."""
        rates, gains = self.points.rates, self.points.gains
        curves = {g: Curve(rates[g][0][at], gains[g][at]) for g, at in self.tops.items()}
        ends = np.concatenate([curve.x for curve in curves.values()])
        starts = np.unique(np.clip(np.concatenate([ends, ends - gap]), 0.0, 1.0))
        peaks = {g: float(curve.x[np.argmax(curve.y)]) for g, curve in curves.items()}
        total = np.sum([curve.at(np.clip(peaks[g], starts, starts + gap)) for g, curve in curves.items()], axis=0)
        start = float(starts[np.argmax(total)])
        wanted = {g: float(np.clip(peak, start, start + gap)) for g, peak in peaks.items()}
        return {g: _plain(rates[g][0], gains[g], mixture(rates[g][0], at, wanted[g])) for g, at in self.tops.items()}


def _plain(rate: Floats, gain: Floats, mix: Mix) -> Mix:
    """Returns a single threshold instead of a mixture that it equals."""
    places, shares = mix
    if len(places) == 1:
        return mix
    wanted, reached = float(shares @ rate[places]), float(shares @ gain[places])
    near = np.searchsorted(rate, [wanted - 1e-13, wanted + 1e-13], side="right")
    as_good = near[0] + np.flatnonzero(gain[near[0] : near[1]] >= reached - 1e-13 * max(abs(reached), 1e-300))
    return (as_good[:1], np.ones(1)) if len(as_good) else mix


def _two_rates(points: OperatingPoints, tops: dict[int, Places], bottoms: dict[int, Places]) -> dict[int, Mix]:
    """Every group reaches what lies between the upper and lower hull of its ROC curve; all reach what these share.

    The objective is linear in both rates, so it is best at a corner of what is shared.
    """
    top = lowest([Curve(points.rates[g][1][at], points.rates[g][0][at]) for g, at in tops.items()])
    bottom = highest([Curve(points.rates[g][1][at], points.rates[g][0][at]) for g, at in bottoms.items()])
    x = np.union1d(top.x, bottom.x)
    x = np.union1d(x, crossings(top, bottom, x))
    high, low = top.at(x), bottom.at(x)
    for_true, for_false = points.slopes[points.bound].sum(0)
    y = high if for_true >= 0 else low
    value = np.where(high >= low - 1e-12, for_true * y + for_false * x, -np.inf)
    best = int(np.argmax(value))
    return {g: _inside(points.rates[g], tops[g], bottoms[g], float(x[best]), float(y[best])) for g in points.bound}


def _inside(rates: Floats, top: Places, bottom: Places, x: float, y: float) -> Mix:
    """Returns a mixture that has the false positive rate x and the true positive rate y."""
    (above, up), (below, down) = mixture(rates[1], top, x), mixture(rates[1], bottom, x)
    high, low = float(up @ rates[0][above]), float(down @ rates[0][below])
    share = float(np.clip((y - low) / (high - low), 0.0, 1.0)) if high > low else 1.0
    if share > 1 - 1e-12:
        return above, up
    return _merged(np.concatenate([above, below]), np.concatenate([share * up, (1 - share) * down]))


def _merged(places: Places, shares: Floats) -> Mix:
    """Adds up shares of the same point, and leaves out points without one."""
    distinct, inverse = np.unique(places, return_inverse=True)
    summed = np.bincount(inverse, weights=shares)
    kept = summed > 0
    return distinct[kept], summed[kept].astype(np.float64)


def _by_program(points: OperatingPoints, corners: dict[int, Places], gap: float) -> dict[int, Mix]:
    """Solves for both rates within a gap by linear programming: shares of the corners of each group's ROC hull."""
    from scipy import optimize, sparse

    sizes = [len(at) for at in corners.values()]
    start = np.concatenate([[0], np.cumsum(sizes)])
    gains = np.concatenate([points.gains[g][at] for g, at in corners.items()])
    group = np.repeat(np.arange(len(sizes)), sizes)
    whole = sparse.csr_array((np.ones(start[-1]), (group, np.arange(start[-1]))))
    limits = []
    for rate in (0, 1):
        values = np.concatenate([points.rates[g][rate][at] for g, at in corners.items()])
        of_groups = sparse.csr_array((values, (group, np.arange(start[-1]))))
        low = sparse.csr_array(
            (np.ones(len(sizes)), (np.arange(len(sizes)), np.full(len(sizes), rate))), (len(sizes), 2)
        )
        limits += [sparse.hstack([-of_groups, low]), sparse.hstack([of_groups, -low])]
    bounds = np.concatenate([b for _ in (0, 1) for b in (np.zeros(len(sizes)), np.full(len(sizes), gap))])
    program: Any = optimize.linprog  # its types know no sparse arrays
    solved = program(
        np.append(-gains, [0.0, 0.0]),
        A_ub=sparse.vstack(limits),
        b_ub=bounds,
        A_eq=sparse.hstack([whole, sparse.csr_array((len(sizes), 2))]),
        b_eq=np.ones(len(sizes)),
        bounds=(0, 1),
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if solved.x is None:
        raise InternalError(f"No mixture of thresholds was found: {solved.message}")
    found = {}
    for number, (g, at) in enumerate(corners.items()):
        shares = np.clip(solved.x[start[number] : start[number + 1]], 0, 1)
        shares[shares < 1e-12] = 0.0
        found[g] = _merged(at, shares / shares.sum())
    return found
