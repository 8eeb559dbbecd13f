"""What each group's own thresholds give: the rates of a criterion, and what they add to the objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evalkit.errors import ConfigError, DataError
from evalkit.fairness.thresholds.criterion import rates_of
from evalkit.fairness.thresholds.objective import Objective
from evalkit.fairness.thresholds.threshold_curves import ThresholdCurves
from evalkit.fairness.thresholds.threshold_rule import ThresholdRule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = NDArray[np.int64]

Mix = tuple["Places", "Floats"]


@dataclass(frozen=True)
class OperatingPoints:
    """Each group's points, one for each threshold of its own, from nobody to everybody.

    Attributes:
        names: of the groups.
        thresholds: [groups] of [points], from the highest down.
        rates: [groups] of [rates, points], ascending.
        gains: [groups] of [points], what each adds to the objective of all rows; higher is better.
        slopes: [groups, 2] what a gain changes by with the group's true and with its false positive rate.
        free: groups that hold no rows for some rate of the criterion: any threshold suits it.
        thinned: whether points were left out, since there were too many.
    """

    names: tuple[str, ...]
    thresholds: tuple[Floats, ...]
    rates: tuple[Floats, ...]
    gains: tuple[Floats, ...]
    slopes: Floats
    free: NDArray[np.bool_]
    thinned: bool

    @classmethod
    def of(
        cls, curves: ThresholdCurves, criterion: str, of: Objective, names: Sequence[str] | None, most: int
    ) -> OperatingPoints:
        """Returns the points of curves, at most so many for each group.

        Raises:
            ConfigError: there are as many names as groups, but not these.
            DataError: fewer than two groups have the criterion's rates.
        """
        named = named_groups(names, len(curves.tp))
        sign = 1.0 if of.higher else -1.0
        gains = sign * curves.overall(of)
        rates = np.stack([curves.rate(name) for name in rates_of(criterion)], axis=1)
        free = np.asarray(np.isnan(rates[:, :, 0]).any(1))
        if (~free).sum() < 2:
            raise DataError(
                f"Fewer than two groups hold rows for {' and '.join(rates_of(criterion))}, so there is no {criterion} "
                "between groups: look at another criterion, or pool groups."
            )
        if np.isnan(gains).any():
            raise DataError(f"{of.name} needs rows of both labels: there are only rows of one.")
        places = [np.flatnonzero(own) for own in curves.own]
        thinned = any(len(p) > most for p in places)
        places = [p[np.unique(np.linspace(0, len(p) - 1, min(most, len(p))).round().astype(np.int64))] for p in places]
        return cls(
            names=named,
            thresholds=tuple(curves.thresholds[p] for p in places),
            rates=tuple(rates[g][:, p] for g, p in enumerate(places)),
            gains=tuple(gains[g, p] for g, p in enumerate(places)),
            slopes=sign * _slopes(curves, of),
            free=free,
            thinned=thinned,
        )

    @property
    def bound(self) -> list[int]:
        """The groups that the criterion compares."""
        return np.flatnonzero(~self.free).tolist()

    def complete(self, mixes: dict[int, Mix]) -> list[Mix]:
        """Returns a mixture for each group: those given, and for the others their best point."""
        one = np.ones(1)
        return [mixes.get(g, (np.array([int(np.argmax(self.gains[g]))]), one)) for g in range(len(self.names))]

    def rule(self, mixes: Sequence[Mix]) -> ThresholdRule:
        """Returns the thresholds of mixed points."""
        return ThresholdRule(
            tuple(t[places] for t, (places, _) in zip(self.thresholds, mixes, strict=True)),
            tuple(shares for _, shares in mixes),
        )

    def gain(self, mixes: Sequence[Mix]) -> float:
        """Returns the objective of mixed points, higher is better."""
        return float(sum(shares @ gain[places] for gain, (places, shares) in zip(self.gains, mixes, strict=True)))

    def gap(self, mixes: Sequence[Mix]) -> float:
        """Returns the largest difference of a rate between groups."""
        reached = np.stack([self.rates[g][:, mixes[g][0]] @ mixes[g][1] for g in self.bound])
        return float((reached.max(0) - reached.min(0)).max())

    def alike(self, mixes: Sequence[Mix]) -> bool:
        """Returns whether scores make no difference: every compared group mixes nobody and everybody alone."""
        return all(set(mixes[g][0].tolist()) <= {0, len(self.gains[g]) - 1} for g in self.bound)


def named_groups(names: Sequence[str] | None, groups: int) -> tuple[str, ...]:
    """Returns the groups' names; their numbers where none are given."""
    if names is None:
        return tuple(str(g) for g in range(groups))
    if len(names) != groups:
        raise ConfigError(f"There are {groups} groups, but {len(names)} names of them.")
    return tuple(names)


def _slopes(curves: ThresholdCurves, of: Objective) -> Floats:
    tp, fp, fn, tn = of.amounts()
    p, n = curves.positives, curves.negatives
    if of.by_class:
        return np.stack([p * (tp - fn) / p.sum() / 2, n * (fp - tn) / n.sum() / 2], axis=1)
    return np.stack([p * (tp - fn), n * (fp - tn)], axis=1) / (p.sum() + n.sum())
