"""Compares our equalizing thresholds with fairlearn's ThresholdOptimizer on the same rows, in one run.

    python benchmarks/fairness_thresholds.py                     100,000 rows, 4 groups
    python benchmarks/fairness_thresholds.py --rows 10000 --grid 10000

Objective and disparity are the expected ones of the randomized decisions on the rows that thresholds were chosen on.
Theirs tries a grid of rates, ours every rate there is. Then seconds of what theirs does not have: frontiers, and
thresholds without drawing.
"""

import argparse
import platform
import time
from importlib.metadata import version
from typing import Any

import numpy as np
from fairlearn.postprocessing import ThresholdOptimizer

from evalkit.fairness.thresholds.criterion import rates_of
from evalkit.fairness.thresholds.equalize import equalize
from evalkit.fairness.thresholds.group_rows import GroupRows
from evalkit.fairness.thresholds.mitigate import PassThrough
from evalkit.fairness.thresholds.tradeoffs import frontier

CONSTRAINTS = {
    "demographic_parity": "demographic_parity",
    "equal_opportunity": "true_positive_rate_parity",
    "predictive_equality": "false_positive_rate_parity",
    "equalized_odds": "equalized_odds",
}


def rows(n: int, groups: int) -> GroupRows:
    """Returns rows whose scores tell labels better in some groups than in others."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, groups, n)
    label = (rng.random(n) < 0.3 + 0.25 * group / groups).astype(np.int64)
    score = rng.normal(size=n) + label * (1.6 - group / groups) + 0.4 * group / groups
    return GroupRows(1 / (1 + np.exp(0.8 - score)), label, group, groups)


def reached(of: GroupRows, positive: Any, objective: str, criterion: str) -> tuple[float, float]:
    """Returns the expected objective and disparity of decisions that are positive with some probability."""
    right = np.where(of.label == 1, positive, 1 - positive)
    by_class = (right[of.label == 1].mean() + right[of.label == 0].mean()) / 2
    value = {"accuracy": right.mean(), "balanced_accuracy": by_class}[objective]
    among = {"selection_rate": of.label >= 0, "true_positive_rate": of.label == 1, "false_positive_rate": of.label == 0}
    gaps = []
    for name in rates_of(criterion):
        found = [positive[among[name] & (of.group == g)].mean() for g in range(of.groups)]
        gaps.append(max(found) - min(found))
    return float(value), float(max(gaps))


def theirs(of: GroupRows, criterion: str, objective: str, grid: int) -> tuple[float, float, float]:
    """Returns objective, disparity and seconds of fairlearn's."""
    X = of.score[:, None]
    begun = time.perf_counter()
    fitted = ThresholdOptimizer(
        estimator=PassThrough(),
        constraints=CONSTRAINTS[criterion],
        objective=f"{objective}_score",
        grid_size=grid,
        prefit=True,
        predict_method="predict",
    ).fit(X, of.label, sensitive_features=of.group)
    seconds = time.perf_counter() - begun
    return *reached(of, fitted._pmf_predict(X, sensitive_features=of.group)[:, 1], objective, criterion), seconds


def ours(of: GroupRows, criterion: Any, objective: Any) -> tuple[float, float, float]:
    """Returns objective, disparity and seconds of ours, the histogram of rows included."""
    begun = time.perf_counter()
    found = equalize(of.scores(), criterion, objective)
    seconds = time.perf_counter() - begun
    rule = found.rule
    positive = np.zeros(len(of.score))
    for g in range(of.groups):
        at = of.group == g
        own = sum(s * (of.score[at] >= t) for t, s in zip(rule.thresholds[g], rule.shares[g], strict=True))
        positive[at] = own
    return *reached(of, positive, objective, criterion), seconds


def main() -> None:
    """Prints a line for each criterion and objective, then the frontiers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--groups", type=int, default=4)
    parser.add_argument("--grid", type=int, default=1000, help="fairlearn's grid_size; 1000 is its default")
    given = parser.parse_args()
    print(f"{given.rows:,} rows, {given.groups} groups, fairlearn {version('fairlearn')}, grid of {given.grid:,}")
    print(f"Python {platform.python_version()}, {platform.machine()}")
    of = rows(given.rows, given.groups)
    print("criterion, objective | fairlearn: objective, disparity, s | ours: objective, disparity, s")
    for criterion in CONSTRAINTS:
        for objective in ("accuracy", "balanced_accuracy"):
            a, b = theirs(of, criterion, objective, given.grid), ours(of, criterion, objective)
            assert b[0] >= a[0] - 1e-9, "theirs is better"
            print(f"{criterion}, {objective} | {a[0]:.6f}, {a[1]:.1e}, {a[2]:.2f} | {b[0]:.6f}, {b[1]:.1e}, {b[2]:.2f}")
    for criterion in CONSTRAINTS:
        for settings in ({"thresholds": "common"}, {}, {"randomized": True}):
            begun = time.perf_counter()
            found = frontier(of.scores(), criterion=criterion, points=50, **settings)  # type: ignore[arg-type]
            seconds = time.perf_counter() - begun
            print(f"frontier of {criterion} {settings or ''}: {len(found.value)} points, {seconds:.2f} s")


if __name__ == "__main__":
    main()
