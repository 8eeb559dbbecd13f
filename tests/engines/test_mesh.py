"""Several devices, and several processes, against one."""

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
import pytest

from evalkit import kernels
from evalkit.engines import mesh
from evalkit.metrics.confusion import confusion
from evalkit.metrics.probability import probability

ROOT = Path(__file__).parent.parent.parent
PAIRS = ((0, 0), (0, 4), (2, 3), (4, 4))
SUMS: dict[str, Any] = {"products": PAIRS, "largest": (0, 4), "pivot": np.zeros(7), "chunk_rows": 1024}
BINS: dict[str, Any] = {"shift": 20, "lowest": 0, "bins": 1100, "probabilities": True, "chunk_rows": 1024}

FOUR_DEVICES = """
import json, sys
import numpy as np, jax
sys.path.insert(0, "tests/engines")
import test_mesh
assert jax.device_count() == 4
print(json.dumps([test_mesh.differences(weighted, wide) for weighted in (False, True) for wide in (True, False)]))
"""

TWO_PROCESSES = """
import json, sys
import numpy as np, jax
jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
from evalkit.engines import mesh
parts = mesh.mine(range(7))
sums = {"rows": np.array([2**40 + part for part in parts]).sum(keepdims=True), "total": np.array([[0.5, len(parts)]])}
added = {name: array.tolist() for name, array in mesh.add_over_hosts(sums).items()}
sys.path.insert(0, "tests/engines")
import test_mesh
label, score, codes, weight = test_mesh.rows(4000)
own = slice(int(sys.argv[2]), None, 2)
counts = mesh.score_bins(score[own], label[own], codes[own], 7, weight[own], **test_mesh.BINS)
fields = mesh.field_sums(test_mesh.probability, {"label": label[own], "score": score[own]}, codes[own], 7, weight[own],
                         **test_mesh.SUMS)
both = mesh.add_over_hosts({"count": counts["count"], "total": counts["total"], "fields": fields["total"]})
one = test_mesh.one_device(4000)
gathered = [text.decode() for text in mesh.gathered(b"process" + b"!" * int(sys.argv[2]))]
print(json.dumps([parts, added, (both["count"] == one[0]["count"]).all().item(),
                  np.allclose(both["total"], one[0]["total"], rtol=1e-6, atol=0),
                  np.allclose(both["fields"], one[1]["total"], rtol=1e-6, atol=0), gathered]))
"""


def rows(n: int) -> Any:
    rng = np.random.default_rng(n)
    score = rng.beta(1, 3, n).astype("float32")
    label, codes = (rng.random(n) < score).astype(np.int8), rng.integers(0, 7, n).astype(np.int16)
    return label, score, codes, rng.lognormal(0, 1, n)


def one_device(n: int) -> Any:
    label, score, codes, weight = rows(n)
    counts = kernels.score_bins(score, label, codes, 7, weight, **BINS)
    return counts, kernels.field_sums(probability, {"label": label, "score": score}, codes, 7, weight, **SUMS)


def _largest_difference(one: Any, many: Any) -> dict[str, float]:
    """Returns the largest relative difference, absolute for counts, in each array."""
    return {
        name: float(np.nanmax(abs(array - many[name]) / (1 if name == "count" else np.maximum(abs(array), 1e-300))))
        for name, array in one.items()
    }


def differences(weighted: bool, wide: bool, n: int = 9000) -> list[dict[str, float]]:
    """Compares all devices with one, for each kind of sums."""
    label, score, codes, all_weights = rows(n)
    weight = all_weights if weighted else None
    arrays = {"label": label, "score": score}
    found = []
    for statistic in (probability, confusion.bind(threshold=0.3)):
        one = kernels.field_sums(statistic, arrays, codes, 7, weight, **SUMS)
        many = mesh.field_sums(statistic, arrays, codes, 7, weight, **SUMS, wide=wide)
        found.append(_largest_difference(one, many))
    settings = {**BINS, "table": None, "weighted": weighted}
    alone, spread = kernels.ScoreCounts(**settings), mesh.ScoreCounts(**settings, wide=wide)
    for counts in (alone, spread):
        for start in range(0, n, 2500):
            part = slice(start, start + 2500)
            given = None if weight is None else weight[part]
            cells = 7 if start else int(codes[part].max()) + 1
            counts.add(score[part], label[part], codes[part], given, cells)
    found.append(_largest_difference(alone.arrays(), spread.arrays()))
    return found


def _assert_small(found: list[dict[str, float]]) -> None:
    for sums in found:
        assert sums.pop("count") == 0
        assert all(difference <= 1e-6 for difference in sums.values()), sums


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
def test_this_process_and_its_devices_give_the_sums_of_one(weighted: bool, wide: bool) -> None:
    _assert_small(differences(weighted, wide))


def test_four_devices_give_the_sums_of_one() -> None:
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    command = [sys.executable, "-c", FOUR_DEVICES]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    for found in json.loads(done.stdout):
        _assert_small(found)


def test_counts_of_several_devices_move_to_the_host_and_merge() -> None:
    label, score, codes, weight = rows(3000)
    settings = {**BINS, "table": None, "weighted": True}
    alone, spread = kernels.ScoreCounts(**settings), mesh.ScoreCounts(**settings, most_rows=2500)
    for counts in (alone, spread):
        counts.add(score, label, codes, weight, 7)
        counts.add(score, label, codes, weight, 7)
        counts.merge(counts.arrays(), np.arange(7)[::-1])
    _assert_small([_largest_difference(alone.arrays(), spread.arrays())])


def test_rows_of_a_chunk_are_padded_to_as_many_for_each_device() -> None:
    found = mesh.field_sums(
        probability, {"label": np.ones(5, np.int8), "score": np.full(5, 0.5, "float32")}, np.zeros(5, np.int32), 1,
        None, products=None, largest=(), pivot=np.zeros(1), chunk_rows=1024,
    )  # fmt: skip
    assert found["total"][0, :3].tolist() == [5.0, 5.0, 2.5]


def test_two_processes_add_up_to_one() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2", "EVALKIT_CACHE": "off"}

    def run(process: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", TWO_PROCESSES, address, str(process)]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=120)

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(run, range(2)))
    assert [process.returncode for process in done] == [0, 0], [process.stderr[-2000:] for process in done]
    answers = [json.loads(process.stdout.splitlines()[-1]) for process in done]
    assert [answer[0] for answer in answers] == [[0, 2, 4, 6], [1, 3, 5]]
    for answer in answers:
        assert answer[1] == {"rows": [7 * 2**40 + 21], "total": [[1.0, 7.0]]}
        assert answer[2:] == [True, True, True, ["process", "process!"]]
