"""How evalkit calls XLA: 64-bit sums, and compiled functions kept for the next process, both only while it does.

Compiled functions are kept in the user's cache folder, so that a second run starts fast. `EVALKIT_CACHE=off` turns that
off, `EVALKIT_CACHE=FOLDER` moves it; where the user has given JAX a folder of their own, that one is used.

On Linux a compiled function takes several maps of memory, of which a process may have 65,530 by default, and where
there is none left XLA ends the process. So a process that has compiled for very many shapes forgets its compiled
functions in time, those of other parts of the program too: they are compiled again, or read from the cache folder.
"""

from __future__ import annotations

import functools
import os
import threading
import time
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
_SHARE_OF_MAPS = 0.5
_GROWN = 1.2  # what other libraries hold is not let go again and again
_SECONDS_BETWEEN_LOOKS = 5.0


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
        self._looked = 0.0
        self._left = 0

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
                    self._forget()

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

    def _forget(self) -> None:
        """Lets go of compiled functions where this process is about to run out of maps of memory."""
        import jax

        if time.monotonic() - self._looked < _SECONDS_BETWEEN_LOOKS:
            return
        if maps_of_memory() > max(_SHARE_OF_MAPS * most_maps_of_memory(), _GROWN * self._left):
            jax.clear_caches()  # type: ignore[no-untyped-call]
            self._left = maps_of_memory()
        self._looked = time.monotonic()


def maps_of_memory() -> int:
    """Returns how many maps of memory this process has; 0 where the system does not tell."""
    try:
        return Path("/proc/self/maps").read_bytes().count(b"\n")
    except OSError:
        return 0


def most_maps_of_memory() -> float:
    """Returns how many maps of memory a process may have; infinite where the system does not tell."""
    try:
        return int(Path("/proc/sys/vm/max_map_count").read_text(encoding="ascii"))
    except OSError:
        return float("inf")


def _set(settings: dict[str, Any]) -> None:
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    config: Any = jax.config
    for name, value in settings.items():
        config.update(name, value)
    compilation_cache.reset_cache()


_KEPT = _Kept()
