"""Without Apache Beam its engine says what to install; with it, `make test-peers` shows what it does."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from evalkit.engines.beam import Evaluate, beam, planned
from evalkit.errors import MissingExtra

pytestmark = pytest.mark.skipif(find_spec("apache_beam") is not None, reason="Apache Beam is installed")


def test_the_engine_names_the_extra_that_is_missing() -> None:
    with pytest.raises(MissingExtra, match=r"pip install 'evalkit\[beam\]'"):
        beam()


def test_the_step_names_the_extra_that_is_missing() -> None:
    work = planned({"y": [1, 0], "p": [0.9, 0.1]}, label="y", score="p")
    with pytest.raises(MissingExtra, match=r"pip install 'evalkit\[beam\]'"):
        Evaluate(work)
