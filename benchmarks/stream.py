"""Compares an evaluation of many rows of Parquet with Polars' own streaming scan of the same columns, in one run.

    python benchmarks/stream.py                      100,000,000 rows, made once in a temporary folder
    python benchmarks/stream.py --rows 1000000000    the same files ten times over, by links
    python benchmarks/stream.py --data FOLDER        rows made before

The scan encodes both text columns and sums all four. The evaluation gives every binary metric, with analytic intervals,
of 561 slices: all rows, 10 regions, 50 products and their cross. Each side runs in processes of its own, one after the
other in turn, so that peak memory is that side's; the first run of each, which fills caches, is not counted.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

ROWS_OF_A_FILE = 10_000_000
FILES = 10
REGIONS, PRODUCTS = 10, 50


def make(folder: Path, rows: int) -> None:
    """Writes at most ten files of rows, and links to them for more."""
    folder.mkdir(parents=True, exist_ok=True)
    regions = np.array([f"region_{k}" for k in range(REGIONS)])
    products = np.array([f"product_{k:02d}" for k in range(PRODUCTS)])
    for number, start in enumerate(range(0, rows, ROWS_OF_A_FILE)):
        file = folder / f"part-{number:03d}.parquet"
        if file.exists():
            continue
        n = min(ROWS_OF_A_FILE, rows - start)
        if number >= FILES and n == ROWS_OF_A_FILE:
            os.link(folder / f"part-{number % FILES:03d}.parquet", file)
            continue
        rng = np.random.default_rng(number)
        region, product = rng.integers(0, REGIONS, n), np.minimum(rng.exponential(12, n).astype(int), PRODUCTS - 1)
        score = rng.beta(1 + 0.1 * region, 3, n).astype(np.float32)
        label = (rng.random(n, dtype=np.float32) < score).astype(np.int8)
        pl.DataFrame(
            {"score": score, "label": label, "region": regions[region], "product": products[product]}
        ).write_parquet(file)


def scan(folder: Path) -> int:
    """Reads, encodes and sums the four columns."""
    texts = [pl.col(name).cast(pl.Categorical).to_physical().cast(pl.Int64).sum() for name in ("region", "product")]
    numbers = [pl.col("score").cast(pl.Float64).sum(), pl.col("label").cast(pl.Int64).sum()]
    pl.scan_parquet(folder / "*.parquet").select(*texts, *numbers).collect(engine="streaming")
    return 0


def binary_metrics() -> list[str]:
    """Returns every metric of binary labels whose interval is analytic, and count."""
    from evalkit.metrics import catalog

    return [name for name, m in catalog().items() if name == "count" or (m.task == "binary" and m.kind != "bootstrap")]


def evaluate(folder: Path) -> dict[str, object]:
    """Evaluates every binary metric of 561 slices."""
    import evalkit as ek

    begun = time.perf_counter()
    result = ek.evaluate(
        str(folder),
        label="label",
        score="score",
        metrics=binary_metrics(),
        slices=["region", "product", ["region", "product"]],
        engine="local",
    )
    summed = time.perf_counter()
    table = result.to_polars()
    done = time.perf_counter()
    bounds = table.filter(pl.col("note").str.contains("binned")).with_columns(
        within=pl.col("note").str.extract(r"within ([0-9.e-]+)").cast(pl.Float64)
    )
    bounds = bounds.drop_nulls("within")
    within = {
        metric: (of_metric["within"].max(), of_metric.filter(pl.col("slice") == "overall")["within"].item())
        for (metric,), of_metric in bounds.group_by("metric")
    }
    return {
        "rows": result.evaluations[0].n,
        "slices": table["slice"].n_unique(),
        "metrics": len(binary_metrics()),
        "seconds": {**result.evaluations[0].seconds, "finish": done - summed, "all": done - begun},
        "bounds": within,
    }


def measured(side: str, folder: Path) -> dict[str, object]:
    """Runs one side in a process of its own."""
    command = [sys.executable, __file__, "--data", str(folder), "--side", side]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def one_side(side: str, folder: Path) -> None:
    times, about = [], {}
    for _ in range(2):
        begun = time.perf_counter()
        if side == "scan":
            scan(folder)
        else:
            about = evaluate(folder)
        times.append(time.perf_counter() - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cold": times[0], "warm": times[1], "peak_mb": peak, **about}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--side", choices=["scan", "evaluate"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        one_side(given.side, given.data)
        return
    folder = given.data or Path(tempfile.gettempdir()) / f"evalkit-stream-{given.rows}"
    if given.data is None:
        make(folder, given.rows)
    import jax

    import evalkit

    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}, ", end="")
    print(f"evalkit {evalkit.__version__}, JAX {jax.__version__}, Polars {pl.__version__}, NumPy {np.__version__}")
    sides = ("scan", "evaluate")
    runs = [[measured(side, folder) for side in sides] for _ in range(given.times)]
    for name, of_side in zip(sides, zip(*runs, strict=True), strict=True):
        warm = statistics.median(run["warm"] for run in of_side)
        peak = max(run["peak_mb"] for run in of_side)
        print(f"{name:>18}: {warm:6.2f} s, first {of_side[0]['cold']:6.2f} s, peak {peak:,.0f} MB", end="")
        last = of_side[-1]
        if "seconds" in last:
            parts = ", ".join(f"{step} {taken:.2f}" for step, taken in last["seconds"].items())
            print(f"; {last['rows']:,} rows, {last['slices']} slices, {last['metrics']} metrics; {parts}", end="")
        print()
    for metric, (everywhere, overall) in sorted(runs[-1][1]["bounds"].items()):
        print(f"{metric:>18}: binned, within {everywhere:.1e} in every slice, {overall:.1e} of all rows")
    ratios = [run[1]["warm"] / run[0]["warm"] for run in runs]
    print(f"             ratio: {statistics.median(ratios):.2f} ({', '.join(f'{r:.2f}' for r in ratios)})")


if __name__ == "__main__":
    main()
