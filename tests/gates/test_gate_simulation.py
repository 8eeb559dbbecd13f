"""How often gates err, and what they catch: simulated candidates whose truth is known. Figures: pytest -s."""

import functools
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

import evalkit as ek
from evalkit.collect import Rows
from evalkit.gate import loaded, outcomes
from evalkit.gates.power import power
from evalkit.gates.questions import Run
from evalkit.gates.verdict import Verdict
from evalkit.pairing import Pair, members_of
from evalkit.recollect import layout, recollected
from evalkit.results import Evaluation

SLICES, IN_EACH = 50, 300
FLAGS = [{"metric": metric, "slices": "all", "delta": 0} for metric in ("accuracy", "roc_auc")]
Draw = Callable[[np.random.Generator, Rows], tuple[NDArray[Any], NDArray[Any]]]


@functools.cache
def champion(rows: int, slices: int, units: int = 0) -> Evaluation:
    """A model of a base rate of .2, right in about 85%, on disjoint slices that units cross."""
    random = np.random.default_rng(rows + slices)
    label = (random.random(rows) < 0.2).astype(int)
    score = 1 / (1 + np.exp(2.5 - 2.2 * label - 1.5 * random.normal(size=rows)))
    table = {"y": label, "p": score, "s": np.arange(rows) % slices, "u": np.arange(rows) // slices % max(units, 1)}
    by, unit = ["s"] if slices > 1 else [], "u" if units else None
    [made] = ek.evaluate(table, label="y", score="p", unit=unit, metrics=["accuracy", "roc_auc"], slices=by).evaluations
    return made


def replayed(of: Evaluation, rules: list[dict[str, Any]], replicates: int, draw: Draw, seed: int = 0) -> list[Verdict]:
    """Gates pairs of models that are drawn from a champion's rows."""
    assert of.rows is not None
    rows, where, members = of.rows.rows, layout(of), tuple(members_of(of))
    settings = loaded(rules)[0]
    names = tuple(settings.metrics)
    of = replace(of, metrics=tuple(named for named in of.metrics if named[0] in names))
    random = np.random.default_rng(seed)
    found = []
    for _ in range(replicates):
        old, new = (recollected(of, replace(rows, score=scores), where) for scores in draw(random, rows))
        run = Run(new, Pair(replace(old, model="old"), new, "rows", (), members), names)
        found.append(Verdict("new", "old", tuple(outcomes(settings, run))))
    return found


def flipped(random: np.random.Generator, score: NDArray[Any], chosen: NDArray[np.int64]) -> NDArray[Any]:
    """Gives chosen rows the score of a random row that is decided the other way."""
    made = score.copy()
    for decision in (False, True):
        own = chosen[(score[chosen] >= 0.5) == decision]
        made[own] = random.choice(score[(score >= 0.5) != decision], len(own))
    return made


def churned(share: float) -> Draw:
    """Flips the decisions of a random share of rows, each in one of the models: equal models in every slice."""

    def draw(random: np.random.Generator, rows: Rows) -> tuple[NDArray[Any], NDArray[Any]]:
        score = np.asarray(rows.score)
        chosen = np.flatnonzero(random.random(len(score)) < share)
        mine = random.random(len(chosen)) < 0.5
        return flipped(random, score, chosen[mine]), flipped(random, score, chosen[~mine])

    return draw


def spoiled(share: float, drop: float, inside: slice) -> Draw:
    """Churns, and makes the candidate lose so much accuracy, on average, in every n-th row from a first one on."""
    equal = churned(share)

    def draw(random: np.random.Generator, rows: Rows) -> tuple[NDArray[Any], NDArray[Any]]:
        old, new = equal(random, rows)
        places = np.arange(len(new))[inside]
        right = places[(new[places] >= 0.5) == (np.asarray(rows.label)[places] == 1)]
        lost = right[random.random(len(right)) < drop * len(places) / len(right)]
        return old, flipped(random, new, lost)

    return draw


def churned_by_unit(share: float, units: int) -> Draw:
    """Flips right decisions, in a unit all of them in one of the models: what a unit likes is shared by its rows."""

    def draw(random: np.random.Generator, rows: Rows) -> tuple[NDArray[Any], NDArray[Any]]:
        score = np.asarray(rows.score)
        unit = np.arange(len(score)) // SLICES % units
        right = (score >= 0.5) == (np.asarray(rows.label) == 1)
        chosen = np.flatnonzero(right & (random.random(len(score)) < share))
        mine = (random.random(units) < 0.5)[unit[chosen]]
        return flipped(random, score, chosen[mine]), flipped(random, score, chosen[~mine])

    return draw


def told(figures: str) -> None:
    sys.stdout.write(f"{figures}\n")


def share_of(verdicts: list[Verdict], outcome: str) -> float:
    return sum(v.outcome == outcome for v in verdicts) / len(verdicts)


def at_most(share: float, replicates: int) -> float:
    """The upper end of the two-sided 99% binomial interval around a true share."""
    return float(stats.binom.ppf(0.995, replicates, share)) / replicates


def at_least(share: float, replicates: int) -> float:
    return float(stats.binom.ppf(0.005, replicates, share)) / replicates


@pytest.mark.slow
@pytest.mark.parametrize("churn", [pytest.param(0.05, marks=pytest.mark.long), 0.10])
def test_flag_rules_over_50_slices_block_an_equal_candidate_in_at_most_5_percent(churn: float) -> None:
    verdicts = replayed(champion(SLICES * IN_EACH, SLICES), FLAGS, 200, churned(churn))
    told(f"\nequal, 50 slices of 300, churn {churn:.0%}: blocked {share_of(verdicts, 'fail'):.2%} of {len(verdicts)}")
    assert share_of(verdicts, "fail") <= at_most(0.05, len(verdicts))
    assert share_of(verdicts, "pass") + share_of(verdicts, "fail") == 1


@pytest.mark.slow
@pytest.mark.long
def test_flag_rules_over_clustered_rows_block_an_equal_candidate_in_at_most_5_percent() -> None:
    rules = [{**rule, "slices": ["all", "overall"]} for rule in FLAGS]
    verdicts = replayed(champion(SLICES * IN_EACH, SLICES, 100), rules, 200, churned_by_unit(0.10, 100))
    told(f"\nequal, 100 units of shared effects, churn 10%: blocked {share_of(verdicts, 'fail'):.2%}")
    assert share_of(verdicts, "fail") <= at_most(0.05, len(verdicts))


@pytest.mark.slow
def test_rows_of_units_as_if_independent_would_block_far_more() -> None:
    rule = [{"metric": "accuracy", "slices": "overall", "claim": "flag", "delta": 0}]
    apart, together = (
        share_of(replayed(champion(SLICES * IN_EACH, SLICES, units), rule, 300, churned_by_unit(0.10, 100)), "fail")
        for units in (0, 100)
    )
    told(f"\nequal, 100 units of shared effects, on all rows: blocked {together:.1%}, as if independent {apart:.1%}")
    assert together <= at_most(0.05, 300)
    assert apart > 0.2


@pytest.mark.slow
def test_a_certify_rule_with_a_margin_passes_an_equal_candidate_and_not_an_unsafe_one() -> None:
    rule = [{"metric": "accuracy", "delta": 0, "margin": 0.02}]
    equal = replayed(champion(20_000, 1), rule, 400, churned(0.10))
    unsafe = replayed(champion(20_000, 1), rule, 400, spoiled(0.10, 0.02, slice(None)))
    told(f"\ncertify, n 20,000, churn 10%, margin .02: equal {share_of(equal, 'pass'):.2%} passed")
    told(f"a true drop of .02: {share_of(unsafe, 'pass'):.2%} passed, {share_of(unsafe, 'fail'):.2%} failed")
    assert share_of(equal, "pass") >= at_least(0.95, len(equal))
    assert share_of(unsafe, "pass") <= at_most(0.05, len(unsafe))
    assert share_of(unsafe, "fail") <= at_most(0.05, len(unsafe))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("drop", "least", "most"),
    [
        pytest.param(0.05, 0.25, 0.60, marks=pytest.mark.long),
        (0.08, 0.70, 1),
        pytest.param(0.10, 0.88, 1, marks=pytest.mark.long),
        pytest.param(0.15, 0.97, 1, marks=pytest.mark.long),
    ],
)
def test_a_drop_in_one_slice_is_caught_as_often_as_documented(drop: float, least: float, most: float) -> None:
    draw = spoiled(0.05, drop, slice(7, None, SLICES))
    verdicts = replayed(champion(SLICES * IN_EACH, SLICES), FLAGS[:1], 200, draw)
    caught = [any(f.slice == "s=7" and f.outcome == "fail" for f in v.rules[0].findings) for v in verdicts]
    told(f"\na drop of {drop} in 300 rows of 5% churn, over 50 slices: caught in {np.mean(caught):.1%}")
    assert least <= np.mean(caught) <= most


@pytest.mark.slow
@pytest.mark.long
def test_gate_power_tells_what_simulations_from_outside_find() -> None:
    settings = loaded(FLAGS[:1])[0]
    found = power(champion(SLICES * IN_EACH, SLICES), settings, churn=0.05, drop=0.10, slice="s=7", replicates=100)
    told(f"\ngate power: equal blocked {found.equal.share('fail'):.1%}, caught {found.worse.share('fail'):.1%}")
    assert found.equal.share("fail") <= at_most(0.05, 100)
    assert found.worse.share("fail") >= 0.9
    assert found.rows == IN_EACH
