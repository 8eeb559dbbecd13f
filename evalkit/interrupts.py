"""Ctrl-C on the command line: ends at once, and leaves nothing half written.

Python's own way, an exception out of whatever runs, passes through compiled code that does not expect it while XLA
compiles. So the command line removes what is unfinished and leaves; libraries that call evalkit keep Python's way.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

INTERRUPTED = 130
_SHOW_CURSOR = "\x1b[?25h"
_unfinished: set[Path] = set()
_held: list[bool] = []


def end_at_once() -> None:
    """From now on, an interrupt removes what is unfinished and ends the process with exit code 130."""
    signal.signal(signal.SIGINT, _end)


def _end(_signal: int, _frame: Any) -> None:
    if _held:
        _held[0] = True
        return
    for path in _unfinished:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    try:
        sys.stderr.write(f"{_SHOW_CURSOR if sys.stderr.isatty() else ''}interrupted\n")
        sys.stderr.flush()
    finally:
        os._exit(INTERRUPTED)


@contextmanager
def unfinished(path: Path) -> Iterator[None]:
    """Inside, a file or folder is removed where an interrupt ends the process."""
    _unfinished.add(path)
    try:
        yield
    finally:
        _unfinished.discard(path)


@contextmanager
def held_back() -> Iterator[None]:
    """Inside, an interrupt waits; for steps that must not be torn apart."""
    _held.insert(0, False)
    try:
        yield
    finally:
        if _held.pop(0) and not _held:
            os.kill(os.getpid(), signal.SIGINT)
