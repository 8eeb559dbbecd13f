"""On the demo's data every slice and metric that scikit-learn has too is equal to scikit-learn's.

To 1e-9 for metrics of counts and ranks, to 1e-6 relative for metrics that add floats; `-s` prints what was compared.
"""

import oracles
import polars as pl
import pytest
from oracles import Agreement

from evalkit.demo_models import scored_test


@pytest.fixture(scope="module")
def scored() -> pl.DataFrame:
    return scored_test()


@pytest.fixture(scope="module", params=["baseline", "candidate", "year_one"])
def agreement(request: pytest.FixtureRequest, scored: pl.DataFrame) -> Agreement:
    found = oracles.agreement(scored, request.param)
    print(f"\n{request.param}: {found}")  # noqa: T201 - shown by -s
    return found


def test_metrics_of_counts_and_ranks_are_equal_to_a_billionth(agreement: Agreement) -> None:
    assert agreement.largest_of_counts <= 1e-9


def test_metrics_that_add_floats_are_equal_to_a_millionth(agreement: Agreement) -> None:
    assert agreement.largest_of_floats <= 1e-6


def test_a_metric_is_undefined_in_the_same_slices(agreement: Agreement) -> None:
    assert agreement.differently_defined == []


def test_hundreds_of_pairs_were_compared(agreement: Agreement) -> None:
    assert agreement.slices >= 35
    assert agreement.pairs >= 25 * agreement.slices
