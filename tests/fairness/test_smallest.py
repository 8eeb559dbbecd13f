"""The smallest gap that could have been seen is seen in four of five."""

import numpy as np
import pytest

import evalkit as ek
from evalkit.fairness.statistics.smallest import smallest_difference, smallest_gaps


def test_the_smallest_gap_is_shown_in_four_of_five() -> None:
    rng = np.random.default_rng(0)
    gap = smallest_difference(0.03, 0.04, 1.96)
    seen = rng.normal(gap, 0.03, 20_000) - rng.normal(0.0, 0.04, 20_000)
    assert np.mean(seen > 1.96 * 0.05) == pytest.approx(0.8, abs=0.01)
    assert smallest_difference(0.03, 0.04, 1.96, power=0.5) == pytest.approx(1.96 * 0.05)


def test_pairs_are_symmetric_and_undefined_with_themselves_and_with_groups_that_have_no_value() -> None:
    found = smallest_gaps([[0.1, np.nan, 0.2], [0.1, 0.1, 0.1]], [2.0, 3.0])
    assert found.shape == (2, 3, 3)
    np.testing.assert_array_equal(found, np.swapaxes(found, -1, -2))
    assert np.isnan(found[0, 1]).all()
    assert np.isnan(np.diagonal(found, axis1=-2, axis2=-1)).all()
    assert found[1, 0, 2] == pytest.approx(float(smallest_difference(0.1, 0.1, 3.0)))


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(ek.EvalkitError, match="power must lie between 0 and 1, not 80"):
        smallest_difference(0.1, 0.1, 2.0, power=80)
    with pytest.raises(ek.EvalkitError, match="0 or more"):
        smallest_gaps([0.1, -0.1], 2.0)
