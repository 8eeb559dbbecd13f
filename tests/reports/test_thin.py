"""Thinned curves are few points of the same curve."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evalkit.reports.thin import spaced, thinned

unit = st.lists(st.floats(0, 1), min_size=1, max_size=300)


@given(x=unit, most=st.integers(2, 40))
def test_thinning_keeps_the_ends_and_the_limit(x: list[float], most: int) -> None:
    across = np.sort(np.array(x))
    up = np.array(x)
    places = thinned(across, up, most)
    assert len(places) <= max(most, 2)
    assert places[0] == 0
    assert places[-1] == len(x) - 1
    assert (np.diff(places) > 0).all()


def test_a_smooth_curve_of_many_points_is_kept_to_a_pixel() -> None:
    x = np.linspace(0, 1, 50_000)
    y = 1 - (1 - x) ** 4
    places = thinned(x, y, 200)
    assert np.abs(np.interp(x, x[places], y[places]) - y).max() < 2e-3


def test_a_straight_line_is_two_points() -> None:
    x = np.linspace(0, 1, 1000)
    assert thinned(x, x, 200).tolist() == [0, 999]


def test_the_steep_start_of_a_rare_class_is_kept() -> None:
    x = np.concatenate([np.zeros(1000), np.linspace(0, 1, 100_000)])
    y = np.concatenate([np.linspace(0, 0.9, 1000), np.linspace(0.9, 1, 100_000)])
    places = thinned(x, y, 200)
    assert 999 in places or 1000 in places


@given(steps=st.lists(st.integers(0, 20), min_size=1, max_size=200), least=st.integers(1, 30))
def test_spaced_points_hold_rows_enough_between_them(steps: list[int], least: int) -> None:
    rows = np.concatenate([[0], np.cumsum(steps)])
    places = spaced(rows, least)
    assert places[0] == 0
    assert places[-1] == len(rows) - 1
    held = np.diff(rows[places])
    assert len(held) == 1 or (held >= least).all()
