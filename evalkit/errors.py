"""What can go wrong, and how the command line answers.

EvalkitError                 a failure evalkit foresaw; `exit_code` is what the command returns
├── UsageError (2)           wrong usage, config or data: one sentence says what, and what to do
│   ├── ColumnError          a column that is not there
│   ├── DataError            values that cannot be evaluated
│   ├── ConfigError          a setting that does not exist or cannot hold
│   ├── OutputError          a folder that may not be written
│   └── MissingExtra         a package that is not installed
├── InternalError (4)        evalkit itself failed, or the machine did (a full disk)
└── UserCodeError (5)        a model or metric of the user's raised
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EvalkitError(Exception):
    """Base of every error that evalkit raises on purpose."""

    exit_code = 4


class UsageError(EvalkitError, ValueError):
    """Wrong usage, configuration or data; the message says what to change."""

    exit_code = 2


class ColumnError(UsageError):
    """A column that was asked for is not in the data."""


class DataError(UsageError):
    """The data hold values that cannot be evaluated."""


class ConfigError(UsageError):
    """A setting, metric or slice that does not exist, or a value it cannot hold."""


class OutputError(UsageError):
    """The output folder exists or cannot be written."""


class MissingExtra(UsageError, ImportError):  # noqa: N818 - the name says what is missing
    """A package of an optional extra is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"This needs {package}, which is not installed: pip install 'evalkit[{extra}]'.")


class InternalError(EvalkitError):
    """Evalkit or the machine failed; nothing was left half written."""


class UserCodeError(EvalkitError):
    """A model, step or metric of the user's raised an error."""

    exit_code = 5


def nearest(word: str, choices: Iterable[str]) -> str:
    """Returns ` Did you mean "x"?` for the choice nearest to a mistyped word, or nothing.

    >>> nearest("raec", ["race", "sex"])
    ' Did you mean "race"?'
    """
    found = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f' Did you mean "{found[0]}"?' if found else ""


def listing(words: Iterable[str], most: int = 20) -> str:
    """Joins names for a message and says how many were left out.

    >>> listing(["a", "b", "c"], most=2)
    'a, b, ... (1 more)'
    """
    names = [str(word) for word in words]
    shown = ", ".join(names[:most])
    return shown + (f", ... ({len(names) - most} more)" if len(names) > most else "")
