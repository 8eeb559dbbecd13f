"""How long DeLong's test takes for a million rows and two models, beside sorting the same scores.

    python benchmarks/delong.py

The test must read every score and put it in order, so NumPy's sort of the same two arrays is what no ranking method can
beat. Prints the median of five of each, and the ratio.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from evalkit.significance import delong

ROWS = 1_000_000
REPEATS = 5
TARGET = 1.0

Scores = NDArray[np.floating]


def machine() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy"))
    processor = platform.processor() or platform.machine()
    return f"{processor}, {os.cpu_count()} cores; {platform.system()}\nPython {platform.python_version()}, {versions}"


def seconds(work: Callable[[], object]) -> float:
    """Returns the median of five, after one run that is not counted."""
    work()
    found = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def two_models(digits: int | None) -> tuple[NDArray[np.int8], Scores, Scores]:
    """Labels, a fifth of them 1, and the scores of two models that agree in much; rounded, they have ties."""
    rng = np.random.default_rng(0)
    labels = (rng.random(ROWS) < 0.2).astype(np.int8)
    shared = rng.standard_normal(ROWS) + labels
    scores = [1 / (1 + np.exp(-shared - 0.3 * rng.standard_normal(ROWS))) for _ in range(2)]
    old, new = scores if digits is None else (np.round(score, digits) for score in scores)
    return labels, old, new


def main() -> None:
    print(machine())
    print(f"{'1,000,000 rows, 2 models':<34}{'median, s':>10}{'sort, s':>10}{'ratio':>8}{'target, s':>11}  reached")
    cases: dict[str, tuple[int | None, type[np.floating]]] = {
        "distinct scores, float64": (None, np.float64),
        "distinct scores, float32": (None, np.float32),
        "scores of three digits, float64": (3, np.float64),
    }
    for name, (digits, dtype) in cases.items():
        labels, old, new = two_models(digits)
        old, new = old.astype(dtype), new.astype(dtype)
        ours = seconds(lambda labels=labels, old=old, new=new: delong(labels, old, new))
        sort = seconds(lambda old=old, new=new: (np.sort(old), np.sort(new)))
        reached = "yes" if ours < TARGET else "NO"
        print(f"{name:<34}{ours:>10.3f}{sort:>10.3f}{ours / sort:>8.1f}{TARGET:>11.1f}  {reached}")


if __name__ == "__main__":
    main()
