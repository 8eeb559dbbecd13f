"""Compares our `MetricFrame` with fairlearn's, in one run: the same call, the same answers.

    python benchmarks/fairness.py                  everything; fairlearn takes some ten minutes
    python benchmarks/fairness.py --samples 20     theirs with fewer bootstrap samples, their time scaled up

Cold is the first call in this process, warm the median of the next five. Values of both are compared.
"""

import argparse
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import fairlearn.metrics as theirs
import numpy as np
import pandas as pd
import sklearn.metrics as skm

import evalkit.fairness as ours

METRICS = {
    "accuracy": skm.accuracy_score,
    "precision": skm.precision_score,
    "recall": skm.recall_score,
    "f1": skm.f1_score,
    "selection_rate": theirs.selection_rate,
    "false_positive_rate": theirs.false_positive_rate,
    "false_negative_rate": theirs.false_negative_rate,
}
CI = {"n_boot": 1000, "ci_quantiles": [0.025, 0.975], "random_state": 0}


def rows(n: int, groups: int) -> dict[str, Any]:
    """Returns labels, decisions and groups, as pandas holds words."""
    rng = np.random.default_rng(0)
    names = np.array([f"group_{k:04d}" for k in range(groups)])
    group = rng.integers(0, groups, n)
    label = rng.random(n) < 0.3 + 0.2 * group / groups
    decided = np.where(rng.random(n) < 0.8, label, rng.random(n) < 0.4)
    return {
        "y_true": label.astype(int),
        "y_pred": decided.astype(int),
        "sensitive_features": pd.Series(names[group], name="group"),
    }


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Returns seconds and answer."""
    begun = time.perf_counter()
    answer = call()
    return time.perf_counter() - begun, answer


def compared(words: str, target: float, data: dict[str, Any], samples: int | None = None) -> str:
    """Times both and compares their answers; theirs once, as it takes long."""
    more = {} if samples is None else CI
    mine = lambda: ours.MetricFrame(metrics=METRICS, **data, **more)  # noqa: E731
    cold, frame = timed(mine)
    warm = statistics.median(timed(mine)[0] for _ in range(5))
    fewer = {} if samples is None else {**CI, "n_boot": samples}
    seconds, other = timed(lambda: theirs.MetricFrame(metrics=METRICS, **data, **fewer))
    pd.testing.assert_frame_equal(frame.by_group, other.by_group, rtol=1e-12)
    pd.testing.assert_series_equal(frame.difference(), other.difference(), rtol=1e-9)
    note = ""
    if samples is not None:
        few = ours.MetricFrame(metrics=METRICS, **data, **fewer)
        for mine_ci, their_ci in zip(few.difference_ci(), other.difference_ci(), strict=True):
            pd.testing.assert_series_equal(mine_ci, their_ci, rtol=1e-9)
        if samples != CI["n_boot"]:
            seconds *= CI["n_boot"] / samples
            note = f"  (theirs scaled up from {samples} samples)"
    reached = "yes" if seconds / warm >= target else "NO"
    ratios = f"{seconds / warm:7.0f} x warm {seconds / cold:6.0f} x cold"
    return f"{words:44s} {warm:8.4f} {cold:8.3f} {seconds:9.2f}  {ratios}  {target:6.0f}  {reached}{note}"


def main() -> None:
    """Prints machine, versions and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=CI["n_boot"], help="bootstrap samples that fairlearn draws")
    samples = parser.parse_args().samples
    warnings.simplefilter("ignore")
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("evalkit", "fairlearn", "pandas", "scikit-learn", "jax")
    )
    print(f"{platform.machine()}, Python {platform.python_version()}, {versions}")
    print(f"{'work, 7 metrics':44s} warm, s   cold, s  theirs, s  {'times faster':30s} target  reached")
    print(compared("1,000,000 rows, 10 groups", 500, rows(1_000_000, 10)), flush=True)
    print(compared("200,000 rows, 1,000 groups", 100, rows(200_000, 1000)), flush=True)
    print(compared("20,000 rows, 100 groups, 1,000 samples", 200, rows(20_000, 100), samples), flush=True)


if __name__ == "__main__":
    main()
