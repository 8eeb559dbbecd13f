"""How evalkit calls XLA: 64-bit sums, and compiled functions kept for the next process, both only while it does.

Compiled functions are kept in the user's cache folder, so that a second run starts fast. `EVALKIT_CACHE=off` turns that
off, `EVALKIT_CACHE=FOLDER` moves it; where the user has given JAX a folder of their own, that one is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


@contextmanager
def scoped() -> Iterator[None]:
    """Inside, sums are 64-bit and compiled functions are kept; afterwards JAX is as it was."""
    import jax

    folder = cache_folder()
    with jax.enable_x64(True):
        if folder is None or getattr(jax.config, "jax_compilation_cache_dir", None) is not None:
            yield
            return
        with _kept_in(folder):
            yield


@contextmanager
def _kept_in(folder: Path) -> Iterator[None]:
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    config: Any = jax.config
    settings = {**_SETTINGS, "jax_compilation_cache_dir": str(folder)}
    before = {name: getattr(config, name) for name in settings}
    for name, value in settings.items():
        config.update(name, value)
    compilation_cache.reset_cache()
    try:
        yield
    finally:
        for name, value in before.items():
            config.update(name, value)
        compilation_cache.reset_cache()
