"""Compiled functions are let go before a process runs out of maps of memory, and only then."""

import itertools
import sys
import time
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evalkit import compilation


@pytest.mark.parametrize(("most", "kept"), [(1, 0), (10**9, 1)])
def test_compiled_functions_are_let_go_where_maps_of_memory_run_short(
    monkeypatch: pytest.MonkeyPatch, most: int, kept: int
) -> None:
    monkeypatch.setattr(compilation, "most_maps_of_memory", lambda: most)
    monkeypatch.setattr(compilation, "maps_of_memory", lambda: 1000)
    monkeypatch.setattr(compilation, "_KEPT", compilation._Kept())
    function: Any = jax.jit(lambda x: x + 1)
    with compilation.scoped():
        assert function(jnp.ones(2)).tolist() == [2, 2]
        assert function._cache_size() == 1
    assert function._cache_size() == kept
    assert function(jnp.ones(2)).tolist() == [2, 2]


def test_maps_are_looked_at_every_few_seconds_only(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = itertools.count()
    monkeypatch.setattr(compilation, "maps_of_memory", lambda: next(looks))
    monkeypatch.setattr(compilation, "_KEPT", compilation._Kept())
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    for now in (100.0, 101.0, 104.0, 106.0, 107.0):
        clock.now = now
        with compilation.scoped():
            pass
    assert next(looks) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_linux_tells_maps_of_memory() -> None:
    before = compilation.maps_of_memory()
    held = [np.memmap(__file__, mode="r") for _ in range(50)]
    assert 50 <= compilation.maps_of_memory() - before < 100, len(held)
    assert before < compilation.most_maps_of_memory() < float("inf")
