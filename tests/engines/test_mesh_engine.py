"""Evaluations on several devices, and in several processes, against one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import evalkit as ek
from evalkit.accumulate import Accumulator
from evalkit.engines.devices import mesh
from evalkit.errors import ConfigError
from evalkit.results import Result
from evalkit.score_sums import ScoreSums

ROOT = Path(__file__).parent.parent.parent
N = 40_000
METRICS = ["roc_auc", "accuracy@0.3", "precision@0.3", "log_loss", "brier_score"]
SETTINGS: dict[str, dict[str, Any]] = {
    "exact": {},
    "binned": {"budget_bytes": 1 << 20},
    "exact, weighted": {"weight": "weight"},
    "exact, by unit": {"unit": "user"},
    "binned, weighted, by unit": {"weight": "weight", "unit": "user", "budget_bytes": 1 << 21},
}

FOUR_DEVICES = """
import json, sys
import jax
sys.path.insert(0, "tests/engines")
import test_mesh_engine
assert jax.local_device_count() == 4
found = {name: test_mesh_engine.differences(sys.argv[1], **asked) for name, asked in test_mesh_engine.SETTINGS.items()}
print(json.dumps([test_mesh_engine.spread(sys.argv[1]), found]))
"""

TWO_PROCESSES = """
import json, sys
from pathlib import Path
import jax
jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
sys.path.insert(0, "tests/engines")
import test_mesh_engine
from evalkit.engines.devices import mesh
from evalkit.errors import DataError
assert (jax.local_device_count(), jax.device_count()) == (2, 4)
said = []
for name in ("exact", "binned, weighted, by unit"):
    result = test_mesh_engine.evaluated(sys.argv[3], mesh(), **test_mesh_engine.SETTINGS[name])
    said.append(result.to_polars().write_json())
for folder in (sys.argv[4], sys.argv[3 + int(sys.argv[2])]):
    try:
        test_mesh_engine.evaluated(folder, mesh())
    except DataError as error:
        said.append(str(error))
Path(sys.argv[5]).write_text(json.dumps(said))
"""


def evaluated(data: Any, engine: Any, **asked: Any) -> Result:
    columns: dict[str, Any] = {"label": "label", "score": "score", "slices": ["region", "plan"]}
    return ek.evaluate(data, engine=engine, metrics=METRICS, **columns, **asked)


def _frame() -> pl.DataFrame:
    random = np.random.default_rng(7)
    score = random.beta(1, 3, N).astype("float32")
    user = random.integers(0, 3000, N)
    return pl.DataFrame(
        {
            "label": (random.random(N) < score).astype("int8"),
            "score": score,
            "region": random.choice(["north", "south", "east"], N),
            "plan": random.choice(["free", "paid"], N, p=[0.9, 0.1]),
            "user": user,
            "weight": random.lognormal(0, 1, N),
        }
    )


def _written(folder: Path) -> Path:
    """Writes four files; a region occurs in the last alone."""
    folder.mkdir()
    frame = _frame()
    for index in range(4):
        part = frame[index * N // 4 : (index + 1) * N // 4]
        if index < 3:
            part = part.with_columns(pl.col("region").replace("east", "north"))
        part.write_parquet(folder / f"{index}.parquet")
    return folder


def differences(folder: str, **asked: Any) -> dict[str, Any]:
    """Compares all devices with one: whether counts are the same, and the largest difference of the rest."""
    one, many = (evaluated(folder, engine, **asked) for engine in ("local", mesh()))
    ours, theirs = (result.evaluations[0].sums for result in (one, many))
    same = all(np.array_equal(ours[name].count, theirs[name].count) for name in ours)
    histograms = [of for of in theirs.values() if isinstance(of, ScoreSums)]
    values = [result.to_polars().select("value", "low", "high").to_numpy() for result in (one, many)]
    return {
        "counts": same,
        "binned": [of.bins is not None for of in histograms],
        "largest": float(np.nanmax(abs(values[0] - values[1]))),
        "undefined": bool(np.array_equal(np.isnan(values[0]), np.isnan(values[1]))),
    }


def spread(folder: str) -> list[Any]:
    """Returns what collected the sums of binned scores on all devices, and on how many."""
    seen: list[Accumulator] = []

    def engine(work: Any, parts: Any) -> Accumulator:
        seen.append(mesh()(work, parts))
        return seen[0]

    evaluated(folder, engine, budget_bytes=1 << 20)
    (state,) = seen[0].scores.values()
    return [type(state.counts).__module__, seen[0].work.options.devices]


def _environment(devices: int) -> dict[str, str]:
    flags = f"--xla_force_host_platform_device_count={devices}"
    return {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _written(tmp_path_factory.mktemp("data") / "files")


def test_four_devices_answer_as_one_does(folder: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", FOUR_DEVICES, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=_environment(4), timeout=120)
    assert done.returncode == 0, done.stderr
    spread_by, found = json.loads(done.stdout)
    assert spread_by == ["evalkit.engines.mesh", 4]
    assert list(found) == list(SETTINGS)
    for name, said in found.items():
        assert said["counts"], name
        assert said["undefined"], name
        assert said["largest"] < 1e-9, (name, said)
        assert said["binned"] == ["binned" in name], name


def test_two_processes_each_answer_for_all_files_and_fail_together(folder: Path, tmp_path: Path) -> None:
    broken = _written(tmp_path / "broken")
    holes = pl.read_parquet(broken / "1.parquet").with_columns(score=pl.lit(None, pl.Float32))
    holes.write_parquet(broken / "1.parquet")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"

    def run(process: int) -> subprocess.CompletedProcess[str]:
        paths = map(str, (folder, broken, tmp_path / f"{process}.json"))
        command = [sys.executable, "-c", TWO_PROCESSES, address, str(process), *paths]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=_environment(2), timeout=120)

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(run, range(2)))
    assert [process.returncode for process in done] == [0, 0], [process.stderr[-3000:] for process in done]
    first, second = (json.loads((tmp_path / f"{process}.json").read_text()) for process in range(2))
    assert first == second
    values = ("value", "low", "high")
    for name, said in zip(("exact", "binned, weighted, by unit"), first, strict=False):
        alone = evaluated(folder, "local", **SETTINGS[name]).to_polars()
        both = pl.read_json(said.encode(), schema=alone.schema)
        described = ["slice", "metric", "rows", "status", "approximate"]
        assert both[described].equals(alone[described])
        np.testing.assert_allclose(both[values].to_numpy(), alone[values].to_numpy(), rtol=1e-9)
    assert "missing values, the first in row 0" in first[2]
    assert str(broken / "1.parquet") in first[2]
    assert first[3].startswith("Process 1 evaluates other files")


@pytest.mark.parametrize("devices", [0, 99])
def test_devices_that_are_not_there_are_refused(folder: Path, devices: int) -> None:
    with pytest.raises(ConfigError, match=f"^{devices} devices were asked for; this process has [1-9]"):
        evaluated(folder, mesh(devices))
