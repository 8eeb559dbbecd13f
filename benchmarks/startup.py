"""How long a user waits before anything is computed: imports, help, and a small table from a cold process.

    python benchmarks/startup.py

Prints the median of five of each, with its target. The table's process starts with a filled cache of compiled
functions.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

REPEATS = 5


def seconds(command: list[str], environment: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return time.perf_counter() - start


def predictions(path: Path, rows: int = 20_000) -> None:
    rng = np.random.default_rng(0)
    score = rng.beta(1, 3, rows)
    columns = {"sex": rng.choice(["female", "male"], rows), "race": rng.choice(["a", "b", "c"], rows)}
    pl.DataFrame({"y": (rng.random(rows) < score).astype(int), "p": score, **columns}).write_parquet(path)


def main() -> None:
    python = sys.executable
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "predictions.parquet"
        predictions(data)
        environment = {**os.environ, "EVALKIT_CACHE": f"{folder}/compiled", "PYTHONPYCACHEPREFIX": f"{folder}/bytecode"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        table = [python, "-m", "evalkit", "evaluate", str(data), "--label", "y", "--score", "p"]
        table += ["--slice", "sex", "--slice", "race", "--slice", "sex,race", "--quiet"]
        works = {
            "import evalkit": ([python, "-c", "import evalkit"], 0.3),
            "evalkit --help": ([python, "-m", "evalkit", "--help"], 0.5),
            "20,000 rows to a table, second run": (table, 4.0),
        }
        print(f"{'work':<36}{'median, s':>10}{'target, s':>11}  reached")
        for name, (command, target) in works.items():
            seconds(command, environment)
            median = statistics.median(seconds(command, environment) for _ in range(REPEATS))
            print(f"{name:<36}{median:>10.2f}{target:>11.1f}  {'yes' if median < target else 'NO'}")


if __name__ == "__main__":
    main()
