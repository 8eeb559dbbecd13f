"""How often data have decided gates: every further candidate that is tried on them makes a lucky pass likelier.

A ledger is a file of JSON lines, one for each gate.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from pathlib import Path

import numpy as np

from evalkit.compilation import cache_folder
from evalkit.errors import OutputError
from evalkit.results import Evaluation

NAME = "gates.jsonl"


def default_file() -> Path | None:
    """Returns the ledger in the user's cache folder; None where that is turned off."""
    folder = cache_folder()
    return None if folder is None else folder.parent / NAME


def fingerprint(evaluation: Evaluation) -> str:
    """Returns a digest of the data without any model's outputs: labels and weights, or the rows of each slice."""
    digest = hashlib.blake2b(digest_size=16)
    if evaluation.rows is None:
        digest.update(repr((evaluation.n, evaluation.plan.texts)).encode())
        digest.update(np.ascontiguousarray(evaluation.row_counts()).data)
        return digest.hexdigest()
    rows = evaluation.rows.rows
    for name in ("label", "weight"):
        values = getattr(rows, name)
        digest.update(name.encode())
        if values is not None:
            digest.update(np.ascontiguousarray(values).view(np.uint8).data)
    return digest.hexdigest()


def used(data: str, file: Path) -> int:
    """Returns how many gates data have decided, by their fingerprint.

    Raises:
        OutputError: the file cannot be read, or holds something else.
    """
    if not file.exists():
        return 0
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        return sum(json.loads(line)["data"] == data for line in lines if line.strip())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"The ledger of gates {file} cannot be read: {error}.") from error


def times(evaluation: Evaluation) -> int | None:
    """Returns how many gates the data of an evaluation have decided by the user's ledger; None where there is none."""
    file = default_file()
    return None if file is None else used(fingerprint(evaluation), file)


def note(data: str, candidate: str, outcome: str, file: Path) -> None:
    """Adds a gate to the ledger.

    Raises:
        OutputError: the file cannot be written.
    """
    entry = {
        "data": data,
        "candidate": candidate,
        "outcome": outcome,
        "time": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as ledger:
            ledger.write(json.dumps(entry) + "\n")
    except OSError as error:
        raise OutputError(f"The ledger of gates {file} cannot be written: {error.strerror or error}.") from error
