"""JAX's settings while several threads evaluate at once, and what the kernels import."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalkit import kernels
from evalkit.compilation import compiled_once, scoped
from evalkit.metrics.probability import probability


def _folder() -> Any:
    import jax

    config: Any = jax.config
    return config.jax_compilation_cache_dir


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    assert _folder() is None
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "compiled"))
    return str(tmp_path / "compiled")


def _in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_settings_stay_until_the_last_thread_has_left(kept: str) -> None:
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with scoped():
            inside.set()
            leave.wait(30)

    with scoped():
        thread = _in_thread(hold)
        assert inside.wait(30)
    seen = _folder()
    leave.set()
    thread.join()
    assert (seen, _folder()) == (kept, None)


def test_nested_uses_leave_settings_to_the_outer_one(kept: str) -> None:
    with scoped():
        with scoped():
            pass
        assert _folder() == kept
    assert _folder() is None


def test_settings_come_back_after_an_error(kept: str) -> None:
    seen: list[Any] = []

    def fail() -> None:
        with scoped():
            seen.append(_folder())
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail()
    assert (seen, _folder()) == ([kept], None)


def test_a_folder_of_the_users_own_is_left_alone(tmp_path: Path, kept: str) -> None:
    import jax

    own = str(tmp_path / "own")
    jax.config.update("jax_compilation_cache_dir", own)  # type: ignore[no-untyped-call]
    try:
        with scoped():
            assert _folder() == own != kept
        assert _folder() == own
    finally:
        jax.config.update("jax_compilation_cache_dir", None)  # type: ignore[no-untyped-call]


def test_threads_that_call_a_function_first_at_once_compile_it_once() -> None:
    import jax
    import jax.numpy as jnp

    traced: list[Any] = []

    def double(values: Any) -> Any:
        traced.append(values.shape)
        time.sleep(0.05)
        return 2 * values

    function = compiled_once(jax.jit(double))
    start = threading.Barrier(6)

    def call(size: int) -> Any:
        start.wait(30)
        return function(jnp.ones(size)).sum()

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(call, (3, 3, 3, 4, 4, 4))) == [6, 6, 6, 8, 8, 8]
    assert sorted(traced) == [(3,), (4,)]


def test_64_bits_are_one_threads_own() -> None:
    import jax.numpy as jnp

    seen: list[Any] = []
    with scoped():
        _in_thread(lambda: seen.append(jnp.zeros(()).dtype)).join()
        assert jnp.zeros(()).dtype == np.float64
    assert seen == [np.float32]


@pytest.mark.usefixtures("kept")
def test_threads_that_collect_at_once_get_the_sums_of_one() -> None:
    rng = np.random.default_rng(0)
    score = rng.random(30_000).astype("float32")
    label, codes = (rng.random(30_000) < score).astype(np.int8), rng.integers(0, 20, 30_000).astype(np.int32)

    def sums(cells: int) -> Any:
        return kernels.field_sums(
            probability, {"label": label, "score": score}, codes % cells, cells, None,
            products=((1, 1),), largest=(4,), pivot=np.zeros(cells), chunk_rows=2048,
        )  # fmt: skip

    def counts(cells: int) -> Any:
        part = kernels.ScoreCounts(bins=64, table=None, shift=24, lowest=0, probabilities=True, weighted=False)
        for start in range(0, 30_000, 1000):
            rows = slice(start, start + 1000)
            part.add(score[rows], label[rows], codes[rows] % cells, None, min(cells, start // 1000 + cells))
        return part.arrays()

    work = [(function, cells) for cells in (2, 5, 17, 20) for function in (sums, counts)] * 3
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda one: one[0](one[1]), work))
    for (function, cells), result in zip(work, found, strict=True):
        expected = function(cells)
        for name, array in expected.items():
            np.testing.assert_array_equal(result[name], array)
    assert _folder() is None


def test_kernels_import_and_run_without_polars_and_pyarrow() -> None:
    code = """
import sys
for name in ("polars", "pyarrow", "scipy", "pydantic", "pandas", "typer", "rich", "yaml"):
    sys.modules[name] = None
import numpy as np
from evalkit import compilation, kernels, score_bins, score_counts, score_keys, statistic
from evalkit.engines import mesh
from evalkit.metrics.confusion import confusion
from evalkit.metrics.probability import probability
rows = {"score": np.float32([0.2, 0.7]), "label": np.int8([0, 1])}
for module in (kernels, mesh):
    for one in (probability, confusion.bind(threshold=0.5)):
        sums = module.field_sums(one, rows, np.int8([0, 1]), 2, None, products=((1, 1),), largest=(4,),
                                 pivot=np.zeros(2), chunk_rows=1024)
        print(sums["count"].sum())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["2"] * 4, done.stderr


@pytest.mark.slow
def test_the_benchmark_of_devices_runs_without_polars_and_pyarrow() -> None:
    code = "import runpy, sys; sys.modules['polars'] = sys.modules['pyarrow'] = None; sys.argv[1:] = ['--repeats', '1']"
    command = [sys.executable, "-c", f"{code}; runpy.run_path('benchmarks/device.py', run_name='__main__')"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent.parent)
    assert "device and CPU agree on 4,194,304 rows: yes" in done.stdout, done.stderr
