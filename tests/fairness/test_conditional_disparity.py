"""Conditional demographic disparity: both forms against their definitions, and how often intervals hold the truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import evalkit as ek
from evalkit.errors import ConfigError
from evalkit.fairness.criteria.conditional_disparity import (
    clarify_disparity,
    conditional_disparity_measures,
    demographic_disparity,
)
from evalkit.fairness.families import families, slice_sets
from evalkit.fairness.measure import Measure

counts = st.lists(st.integers(0, 9), min_size=12, max_size=12).map(lambda v: np.array(v).reshape(2, 3, 2))


def as_clarify_has_it(rejected: Any, accepted: Any, group: int) -> float:
    """Amazon SageMaker Clarify's CDD, row by row: a share of nobody is 0."""
    total = whole = 0.0
    for stratum in range(len(rejected)):
        n = rejected[stratum].sum() + accepted[stratum].sum()
        shares = [of[stratum, group] / of[stratum].sum() if of[stratum].sum() else 0 for of in (rejected, accepted)]
        total, whole = total + n * (shares[0] - shares[1]), whole + n
    return total / whole if whole else np.nan


@given(counts)
def test_the_average_is_that_of_clarify(drawn: Any) -> None:
    rejected, accepted = drawn
    expected = [as_clarify_has_it(rejected, accepted, group) for group in (0, 1)]
    np.testing.assert_allclose(clarify_disparity(rejected, accepted, empty="zero"), expected, atol=1e-12)


@given(counts)
def test_groups_sum_to_no_disparity_and_one_sided_strata_are_left_out(drawn: Any) -> None:
    rejected, accepted = drawn
    held = (rejected.sum(1) > 0) & (accepted.sum(1) > 0)
    within = demographic_disparity(rejected, accepted)
    assert np.isnan(within[~held]).all()
    np.testing.assert_allclose(within[held].sum(1), 0, atol=1e-12)
    np.testing.assert_allclose(
        clarify_disparity(rejected, accepted), clarify_disparity(rejected[held], accepted[held]), atol=1e-12
    )


def test_admissions_to_berkeley_show_no_conditional_disparity_though_women_are_rejected_more() -> None:
    """Bickel, Hammel and O'Connell (1975), as in R's UCBAdmissions: departments A to F, men and women."""
    accepted = np.array([[512, 89], [353, 17], [120, 202], [138, 131], [53, 94], [22, 24]])
    rejected = np.array([[313, 19], [207, 8], [205, 391], [279, 244], [138, 299], [351, 317]])
    assert demographic_disparity(rejected.sum(0), accepted.sum(0))[1] == pytest.approx(1278 / 2771 - 557 / 1755)
    within = demographic_disparity(rejected, accepted)[:, 1]
    assert within.round(3).tolist() == [-0.091, -0.009, 0.029, -0.02, 0.045, -0.047]
    applied = (rejected + accepted).sum(1)
    assert clarify_disparity(rejected, accepted)[1] == pytest.approx((applied * within).sum() / 4526)


def evaluated(data: dict[str, Any], **more: Any) -> list[Measure]:
    sets = slice_sets(["g"], ["s"])
    result = ek.evaluate(data, label="y", prediction="h", metrics=["accuracy"], slices=sets, **more)
    return conditional_disparity_measures(result.evaluations[0], families(result.evaluations[0], ["g"], ["s"]))


def rows(n: int = 800) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    g, s = rng.choice(["a", "b"], n), rng.choice(["x", "z"], n)
    h = (rng.random(n) < np.where(s == "x", 0.6 - 0.25 * (g == "b"), 0.3)).astype(int)
    w, u = rng.integers(1, 4, n).astype(float), rng.integers(0, 90, n)
    return {"y": rng.integers(0, 2, n), "h": h, "g": g, "s": s, "w": w, "u": u}


@pytest.mark.parametrize("more", [{}, {"weight": "w"}, {"unit": "u"}])
def test_measures_are_of_the_rows_and_name_the_stratum(more: dict[str, Any]) -> None:
    data = rows()
    w = data["w"] if "weight" in more else np.ones(len(data["h"]))
    of = np.array(
        [
            [[w[(data["h"] == h) & (data["s"] == s) & (data["g"] == g)].sum() for g in "ab"] for s in "xz"]
            for h in (0, 1)
        ]
    )
    found = [m for m in evaluated(data, **more) if m.group == (("g", "b"),)]
    whole, x, z, worst, average = found
    assert [m.level for m in found] == [(), (("s", "x"),), (("s", "z"),), (), ()]
    assert whole.value == pytest.approx(demographic_disparity(of[0].sum(0), of[1].sum(0))[1])
    assert [x.value, z.value] == pytest.approx(demographic_disparity(*of)[:, 1].tolist())
    assert average.value == pytest.approx(clarify_disparity(*of)[1])
    assert average.low < average.value < average.high
    assert worst.value == x.value
    assert worst.low > 0
    assert worst.note == "largest in s=x; shown in s=x"
    assert x.p_value < 0.001 < z.p_value


def test_a_stratum_in_which_nobody_was_accepted_is_left_out_and_says_so() -> None:
    data = rows()
    data["h"] = np.where(data["s"] == "z", 0, data["h"])
    found = [m for m in evaluated(data) if m.group == (("g", "b"),)]
    assert np.isnan(found[2].value)
    assert found[2].note == "nobody was accepted"
    assert found[4].value == pytest.approx(found[1].value)
    assert "1 strata" in found[4].note


def test_families_without_strata_are_refused() -> None:
    data = rows()
    evaluation = ek.evaluate(data, label="y", prediction="h", slices=["g"]).evaluations[0]
    with pytest.raises(ConfigError, match="within levels of control features"):
        conditional_disparity_measures(evaluation, families(evaluation, ["g"]))
    with pytest.raises(ConfigError, match='"omit" or "zero"'):
        demographic_disparity([1, 2], [1, 2], empty="nothing")  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("units", [0, 50])
def test_the_average_and_all_strata_at_once_are_covered(units: int) -> None:
    """Four strata of 40 to 160 rows; with units, the decisions of a unit's 8 rows are alike."""
    replicates, n = 100, 400
    size, rng = replicates * n, np.random.default_rng(1 + units)
    share, women = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.3, 0.5, 0.2, 0.6])
    rate = np.array([[0.5, 0.3, 0.6, 0.2], [0.4, 0.3, 0.7, 0.15]])
    s = rng.choice(4, size, p=share)
    g = (rng.random(size) < women[s]).astype(int)
    unit, replicate = np.tile(np.arange(n) % max(units, 1), replicates), np.repeat(np.arange(replicates), n)
    chance = rng.random(size)
    if units:
        together = rng.random((replicates, units))[replicate, unit]
        chance = np.where(rng.random(size) < 0.3, together, chance)
    h = (chance < rate[g, s]).astype(int)
    data = {"y": h, "h": h, "g": g, "s": s, "r": replicate, "u": unit}
    more: dict[str, Any] = {"unit": "u"} if units else {}
    sets = slice_sets(["g"], ["r", "s"])
    evaluation = ek.evaluate(data, label="y", prediction="h", metrics=["accuracy"], slices=sets, **more).evaluations[0]
    mass = np.stack([share * (1 - women), share * women], axis=1)
    truth = [
        clarify_disparity(mass * (1 - rate.T), mass * rate.T)[1],
        demographic_disparity(mass * (1 - rate.T), mass * rate.T)[:, 1],
    ]
    by_replicate: dict[Any, list[Any]] = {}
    for family in families(evaluation, ["g"], ["r", "s"]):
        by_replicate.setdefault(family.level[0], []).append(family)
    average, together_ = [], []
    for strata in by_replicate.values():
        found = [m for m in conditional_disparity_measures(evaluation, strata) if m.group == (("g", "1"),)]
        average.append(found[-1].low <= truth[0] <= found[-1].high)
        within = [m for m in found if m.level]
        together_.append(all(m.low <= truth[1][int(str(m.level[1][1]))] <= m.high for m in within))
    assert 0.9 < np.mean(average) < 0.99
    assert np.mean(together_) > 0.9
