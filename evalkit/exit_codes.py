"""How a command ends: its exit code, and one sentence on stderr where something went wrong.

0 done; 2 wrong usage, config or data; 4 evalkit or the machine failed, the traceback is in a log file that is named;
5 a model or metric of the user's failed; 130 interrupted. 1 and 3 belong to gates.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from evalkit.errors import EvalkitError, UsageError, UserCodeError, nearest
from evalkit.interrupts import INTERRUPTED

DONE, WRONG, FAILED, USER_CODE = 0, 2, 4, 5


def guarded(command: Callable[[], object]) -> int:
    """Runs a command and returns its exit code; whatever it raises becomes one sentence on stderr."""
    try:
        code = command()
        sys.stdout.flush()
    except BrokenPipeError:
        hush(sys.stdout)
        return DONE
    except BaseException as error:  # noqa: BLE001 - the edge of the program; Polars' panics are no Exception
        code, message = _explained(error)
        _hush_unless_flushed()
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"{message}\n")
            sys.stderr.flush()
        return code
    return code if isinstance(code, int) else DONE


def _explained(error: BaseException) -> tuple[int, str]:
    """Returns the exit code and what to say."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, "interrupted"
    if isinstance(error, UsageError):
        return WRONG, f"error: {_one_line(str(error))}"
    if hasattr(error, "format_message"):
        return WRONG, f"error: {_one_line(_of_the_command_line(error))}"
    if isinstance(error, UserCodeError):
        return USER_CODE, f"error: {_sentence(error)} {_logged(error)}"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return FAILED, f"error: The disk is full. {_logged(error)}"
    if isinstance(error, EvalkitError):
        return FAILED, f"error: {_sentence(error)} {_logged(error)}"
    what = f"{type(error).__name__}: {_one_line(str(error))}" if str(error) else type(error).__name__
    return FAILED, f"error: evalkit failed with {what[:300]}. {_logged(error)}"


def _of_the_command_line(error: BaseException) -> str:
    """Returns typer's message about a flag or command, with the nearest one."""
    message = str(getattr(error, "format_message")())  # noqa: B009 - typer's class has moved between versions
    flag, context = getattr(error, "option_name", None), getattr(error, "ctx", None)
    if not (isinstance(flag, str) and message.startswith("No such option") and context is not None):
        return message
    known = [name for parameter in context.command.params for name in (*parameter.opts, *parameter.secondary_opts)]
    return f"No such option: {flag}.{nearest(flag, known)} `{context.command_path} --help` lists them."


def _logged(error: BaseException) -> str:
    """Writes the traceback into a new file in the temporary folder and names it."""
    text = "".join(traceback.format_exception(error))
    try:
        handle, name = tempfile.mkstemp(prefix="evalkit-", suffix=".log")
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(f"{' '.join(sys.argv)}\n\n{text}")
    except OSError:
        return "The traceback could not be logged."
    return f"The traceback is in {Path(name)}."


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _sentence(error: BaseException) -> str:
    text = _one_line(str(error))
    return text if text.endswith(".") else f"{text}."


def _hush_unless_flushed() -> None:
    """Drops what stdout still holds where it cannot be written, or Python would complain at exit with another code."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        hush(sys.stdout)


def hush(stream: object) -> None:
    """Points a stream whose reader is gone to nowhere."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # type: ignore[attr-defined]
        os.close(nowhere)
