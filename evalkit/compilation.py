"""How evalkit calls XLA: 64-bit sums, and compiled functions kept for the next process, both only while it does.

Compiled functions are kept in the user's cache folder, so that a second run starts fast. `EVALKIT_CACHE=off` turns that
off, `EVALKIT_CACHE=FOLDER` moves it; where the user has given JAX a folder of their own, that one is used.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

_SETTINGS = {
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
    "jax_raise_persistent_cache_errors": False,
}


def cache_folder() -> Path | None:
    """Returns the folder of compiled functions; None where it is turned off."""
    named = os.environ.get("EVALKIT_CACHE", "")
    if named.lower() == "off":
        return None
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "evalkit" / "compiled"


def platform() -> str:
    """Returns the kind of device that computations run on: `cpu`, `gpu` or `tpu`."""
    import jax

    config: Any = jax.config
    device = config.jax_default_device
    return str(getattr(device, "platform", device) or jax.default_backend())


def has_float64() -> bool:
    """Returns whether the device that computations run on has 64-bit floats."""
    return platform() != "tpu"


@contextmanager
def scoped(wide: bool = True) -> Iterator[None]:
    """Inside, sums are 64-bit and compiled functions are kept; once the last thread has left, JAX is as it was.

    Args:
        wide: False for devices without 64-bit floats: numbers then have 32 bits inside.
    """
    import jax

    with jax.enable_x64(wide), _KEPT.held():
        yield


def compiled_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a compiled function that compiles once for each shape, though several threads call it first at once.

    Args:
        function: as `jax.jit` returns it.
    """
    import jax

    lock, seen = threading.Lock(), set[Any]()

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        leaves, structure = jax.tree.flatten(args)
        config: Any = jax.config
        shapes = tuple((np.shape(leaf), getattr(leaf, "dtype", type(leaf))) for leaf in leaves)
        key = (structure, shapes, config.jax_enable_x64, platform())
        if key in seen:
            return function(*args)
        with lock:
            result = function(*args)
            seen.add(key)
        return result

    return call


class _Kept:
    """JAX's settings of its cache, which all threads share: the first one in sets them, the last one out resets."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before: dict[str, Any] = {}

    @contextmanager
    def held(self) -> Iterator[None]:
        with self._lock:
            if not self._inside:
                self._enter()
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    self._leave()

    def _enter(self) -> None:
        import jax

        config: Any = jax.config
        folder = cache_folder()
        if folder is None or getattr(config, "jax_compilation_cache_dir", None) is not None:
            return
        settings = {**_SETTINGS, "jax_compilation_cache_dir": str(folder)}
        self._before = {name: getattr(config, name) for name in settings}
        _set(settings)

    def _leave(self) -> None:
        if self._before:
            _set(self._before)
            self._before = {}


def _set(settings: dict[str, Any]) -> None:
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    config: Any = jax.config
    for name, value in settings.items():
        config.update(name, value)
    compilation_cache.reset_cache()


_KEPT = _Kept()
