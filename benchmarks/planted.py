"""The gate on the demo's data, from the command line: real candidates, and drops of accuracy planted in small slices.

Prints the exit code of each gate, the sentence that decided, and the seconds of the second run of the command.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from evalkit.demo import RULES
from evalkit.demo_models import scored_test

DROP = 0.15
ROLES = ("--id", "row_id", "--unit", "family")
SLICES = ("sex", "race", "age=edges(18, 35, 50)", "site", "planted")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = scored_test()
        rows = rows.with_columns(planted=pl.lit("none"))
        evaluate(folder / "demo", rows, ["baseline", "candidate", "year_one"])
        (folder / "demo.yaml").write_text(RULES, encoding="utf-8")
        for candidate in ("candidate", "year_one"):
            gate(f"the demo's rules, {candidate}", folder / "demo", folder / "demo.yaml", candidate)
        for size in (300, 8):
            run = folder / f"run-{size}"
            evaluate(run, planted(rows, size), ["baseline", "worse"])
            for claim, slices in (("certify", f"planted={size} rows"), ("flag", "all")):
                rules = folder / f"{size}-{claim}.yaml"
                rule = {"metric": "accuracy", "slices": slices, "delta": 0, "claim": claim}
                rules.write_text(json.dumps({"gate": {"rules": [rule]}}), encoding="utf-8")
                gate(f"accuracy -{DROP} in {size} rows, {claim} on {slices}", run, rules, "worse")
        compared(folder / "demo", rows)


def planted(rows: pl.DataFrame, size: int) -> pl.DataFrame:
    """Marks random rows as a slice, and adds a model: the baseline, but for right decisions turned wrong there."""
    rng = np.random.default_rng(size)
    scores, label = rows["baseline"].to_numpy(), rows["label"].to_numpy()
    inside = np.zeros(rows.height, dtype=bool)
    inside[rng.permutation(rows.height)[:size]] = True
    right = np.flatnonzero(inside & ((scores >= 0.5) == (label == 1)))
    flipped = rng.permutation(right)[: round(DROP * size)]
    worse = scores.copy()
    worse[flipped] = 1 - worse[flipped]
    named = pl.Series("planted", np.where(inside, f"{size} rows", "other"))
    return rows.with_columns(named, worse=pl.Series(worse))


def evaluate(folder: Path, rows: pl.DataFrame, models: list[str]) -> None:
    data = folder.with_suffix(".parquet")
    rows.write_parquet(data)
    scores = [word for model in models for word in ("--score", model)]
    slices = [word for text in SLICES for word in ("--slice", text)]
    command = ["evaluate", str(data), "--label", "label", *scores, *ROLES, *slices, "--out", str(folder)]
    answer = evalkit([*command, "--no-report", "--quiet"])
    if answer.returncode:
        raise SystemExit(answer.stderr)


def gate(title: str, run: Path, rules: Path, candidate: str) -> None:
    command = ["gate", str(run), "--config", str(rules), "--baseline", "baseline", "--candidate", candidate]
    taken = []
    for _ in range(4):
        started = time.perf_counter()
        answer = evalkit([*command, "--ledger", "off", "--quiet"])
        taken.append(time.perf_counter() - started)
    print(f"{title}: exit {answer.returncode}, {statistics.median(taken[1:]):.2f} s (first {taken[0]:.2f} s)")
    print("  " + "\n  ".join(line for line in answer.stdout.splitlines() if line.strip())[:1200] + answer.stderr)


def compared(folder: Path, rows: pl.DataFrame) -> None:
    settings = {
        "data": str(folder.with_suffix(".parquet")),
        "label": "label",
        "id": "row_id",
        "unit": "family",
        "metrics": ["roc_auc"],
        "costs": {"false_negative": 150, "false_positive": 40, "currency": "USD", "unit": "person and year"},
        "compare": {"baseline": "baseline", "candidates": ["candidate", "year_one"]},
    }
    file = folder.with_name("costs.json")
    file.write_text(json.dumps(settings), encoding="utf-8")
    taken = []
    for _ in range(4):
        started = time.perf_counter()
        answer = evalkit(["compare", "--config", str(file), "--quiet"])
        taken.append(time.perf_counter() - started)
    print(f"costs in dollars, {rows.height:,} rows: exit {answer.returncode}, {statistics.median(taken[1:]):.2f} s")
    print("  " + "\n  ".join(line for line in answer.stdout.splitlines() if "USD" in line) + answer.stderr)


def evalkit(words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "evalkit", *words], capture_output=True, text=True, check=False)


if __name__ == "__main__":
    main()
