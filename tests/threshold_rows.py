"""Small random rows with groups, and what brute force finds on them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import strategies as st

from evalkit.fairness.thresholds.criterion import rates_of
from evalkit.fairness.thresholds.group_rows import GroupRows
from evalkit.fairness.thresholds.objective import Objective
from evalkit.fairness.thresholds.threshold_curves import ThresholdCurves


def made(n: int, groups: int, seed: int, *, decimals: int = 1, weighted: bool = False) -> GroupRows:
    """Returns rows whose scores tell labels, better in some groups than in others."""
    rng = np.random.default_rng(seed)
    group = np.arange(n) % groups
    label = (rng.random(n) < 0.35 + 0.2 * group / groups).astype(np.int64)
    score = np.round(rng.normal(size=n) + label * (1.5 - group / groups) + 0.3 * group, decimals)
    return GroupRows(score, label, group, groups, rng.uniform(0.5, 2, n) if weighted else None)


@st.composite
def rows(draw: Any, *, groups: int = 2, most: int = 7) -> GroupRows:
    """Draws a few rows of each group, labels of both kinds in each."""
    score: list[float] = []
    label: list[int] = []
    group: list[int] = []
    weight: list[float] = []
    for g in range(groups):
        n = draw(st.integers(2, most))
        labels = [0, 1, *draw(st.lists(st.integers(0, 1), min_size=n - 2, max_size=n - 2))]
        score += draw(st.lists(st.integers(0, 5), min_size=n, max_size=n))
        weight += draw(st.lists(st.sampled_from([1.0, 0.5, 3.0]), min_size=n, max_size=n))
        label += labels
        group += [g] * n
    weighted = draw(st.booleans())
    return GroupRows(
        np.array(score) / 5, np.array(label), np.array(group), groups, np.array(weight) if weighted else None
    )


def every_choice(of: GroupRows, criterion: str, objective: Objective) -> tuple[np.ndarray, np.ndarray]:
    """Returns the gap and gain of every choice of a threshold for each group, [choices] each."""
    curves = ThresholdCurves.of(of.scores())
    gains = curves.overall(objective) * (1 if objective.higher else -1)
    rates = [curves.rate(name) for name in rates_of(criterion)]
    gap, gain = [], []
    for chosen in itertools.product(range(len(curves.thresholds)), repeat=of.groups):
        at = np.arange(of.groups), np.array(chosen)
        gap.append(max(np.ptp(rate[at]) for rate in rates))
        gain.append(gains[at].sum())
    return np.array(gap), np.array(gain)
