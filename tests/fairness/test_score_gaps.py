"""Measures without a threshold: what they say where groups lack rows, and how often their intervals hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

import evalkit as ek
from evalkit.errors import ConfigError
from evalkit.fairness.families import families, slice_sets
from evalkit.fairness.measure import Measure, table
from evalkit.fairness.scores.auc_contrasts import AucContrasts
from evalkit.fairness.scores.bias_auc import jigsaw_score, subgroup_auc, with_rest, xauc
from evalkit.fairness.scores.cross_auc import cross_auc
from evalkit.fairness.scores.score_gaps import score_measures

NAMES = {
    "subgroup_auc",
    "bpsn_auc",
    "bnsp_auc",
    "pinned_auc",
    "positive_aeg",
    "negative_aeg",
    "xauc",
    "xauc_difference",
    "xauc_gap",
    "subgroup_auc_difference",
    "subgroup_auc_gap",
    "abroca",
    "generalized_mean_auc",
}


def _rows(n: int = 400, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    y, g = rng.integers(0, 2, n), rng.choice(["a", "b", "c"], n)
    return {"y": y, "p": np.round(rng.normal(size=n) + y + 0.8 * (g == "a"), 1), "g": g, "u": rng.integers(0, 90, n)}


def _measures(data: dict[str, Any], *, unit: str | None = None, **more: Any) -> list[Measure]:
    result = ek.evaluate(data, label="y", score="p", unit=unit, metrics=["roc_auc"], slices=["g"])
    return score_measures(result.evaluations[0], families(result.evaluations[0], ["g"])[0], **more)


def _of(measures: list[Measure], name: str) -> list[Measure]:
    return [m for m in measures if m.metric == name]


@pytest.mark.parametrize("unit", [None, "u"])
def test_every_measure_is_there_and_lies_in_its_interval(unit: str | None) -> None:
    found = _measures(_rows(), unit=unit)
    assert {m.metric.partition("@")[0] for m in found} == NAMES
    assert len(_of(found, "xauc")) == 6
    assert len(_of(found, "xauc_difference")) == len(_of(found, "abroca")) == 3
    for m in found:
        assert m.status == "ok"
        if m.metric == "abroca":
            assert np.isnan([m.low, m.high]).all()
            assert m.note.startswith("expected were the curves equal: 0.")
        else:
            assert m.low <= m.value <= m.high
    assert table(found, "mine").height == len(found)


def test_own_aucs_have_the_intervals_of_the_metric() -> None:
    data = _rows()
    own = _of(_measures(data), "subgroup_auc")
    result = ek.evaluate(data, label="y", score="p", metrics=["roc_auc"], slices=["g"])
    for m, name in zip(own, "abc", strict=True):
        known = result.at(f"g={name}")["roc_auc"]
        assert (m.value, m.low, m.high) == pytest.approx((known.value, known.low, known.high), abs=1e-9)


def test_a_group_that_scores_higher_shows_in_gaps_and_tests() -> None:
    found = _measures(_rows())
    [first, *_] = _of(found, "positive_aeg")
    assert first.group == (("g", "a"),)
    assert first.low > 0
    assert first.p_value < 1e-3
    [gap] = _of(found, "xauc_gap")
    assert gap.value == max(abs(m.value) for m in _of(found, "xauc_difference"))
    assert gap.low > 0
    assert gap.p_value < 0.01
    assert gap.note.startswith("between g=a and ")
    pairs = _of(found, "xauc_difference")
    assert gap.low <= max(m.low for m in pairs)
    assert gap.p_value >= min(m.p_value for m in pairs)


def test_a_reference_stands_second_in_every_pair() -> None:
    found = _measures(_rows(), reference="b")
    for name in ("xauc_difference", "subgroup_auc_difference", "abroca"):
        assert [(m.group, m.reference) for m in _of(found, name)] == [
            ((("g", "a"),), (("g", "b"),)),
            ((("g", "c"),), (("g", "b"),)),
        ]
    both = {m.group: m.value for m in _of(_measures(_rows()), "xauc_difference") if m.reference == (("g", "b"),)}
    assert both[(("g", "a"),)] == _of(found, "xauc_difference")[0].value


def test_an_unknown_reference_is_named_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r'No group "d" by "g"\..* Groups: g=a, g=b, g=c\.'):
        _measures(_rows(), reference="d")
    with pytest.raises(ConfigError, match=r"between 0 and 1, such as 0\.95; not 95"):
        _measures(_rows(), level=95)


def test_a_group_without_a_label_is_undefined_and_the_others_stand() -> None:
    data = _rows()
    data["y"] = np.where(data["g"] == "c", 0, data["y"])
    found = _measures(data)
    frame = table(found, "mine")
    undefined = {m.metric for m in found if np.isnan(m.value)}
    assert {"subgroup_auc", "bnsp_auc", "positive_aeg", "xauc", "xauc_difference", "abroca"} <= undefined
    assert set(frame.filter(frame["value"].is_nan())["status"]) == {"undefined"}
    assert all(np.isfinite(m.value) for m in _of(found, "bpsn_auc"))
    [gap] = _of(found, "subgroup_auc_gap")
    assert gap.value == abs(_of(found, "subgroup_auc_difference")[0].value)
    [score] = _of(found, "generalized_mean_auc")
    assert "groups without an AUC left out: 1" in score.note


def test_one_group_has_no_pairs_and_no_background() -> None:
    data = _rows()
    data["g"] = np.full(400, "a")
    found = _measures(data)
    assert not {"xauc", "abroca", "xauc_gap"} & {m.metric for m in found}
    assert np.isnan(_of(found, "bpsn_auc")[0].value)


def test_a_perfect_ranking_is_no_proof_of_a_gap() -> None:
    data = {"y": [0, 0, 1, 1] * 10, "p": [0.1, 0.2, 0.8, 0.9] * 10, "g": (["a"] * 4 + ["b"] * 4) * 5}
    found = _measures(data)
    for m in _of(found, "subgroup_auc"):
        assert m.value == m.high == 1
        assert 0.5 < m.low < 0.9
    [difference] = _of(found, "subgroup_auc_difference")
    assert difference.value == 0
    assert difference.low < -0.1
    assert difference.high > 0.1
    assert difference.p_value == 1
    [gap] = _of(found, "subgroup_auc_gap")
    assert (gap.low, gap.p_value) == (0, 1)
    assert _of(found, "abroca")[0].value == 0


def test_a_group_with_one_positive_has_a_value_and_no_interval() -> None:
    data = _rows()
    alone = np.flatnonzero((data["g"] == "c") & (data["y"] == 1))[1:]
    data["y"][alone] = 0
    [*_, last] = _of(_measures(data), "subgroup_auc")
    assert last.status == "too_few_rows"
    assert np.isfinite(last.value)
    assert np.isnan(last.low)
    assert last.note == "a side holds one row alone"


def test_levels_of_control_features_stand_apart() -> None:
    data = _rows() | {"site": np.arange(400) % 2}
    sets = slice_sets(["g"], ["site"])
    evaluation = ek.evaluate(data, label="y", score="p", metrics=["roc_auc"], slices=sets).evaluations[0]
    for family in families(evaluation, ["g"], ["site"]):
        site = int(family.level[0][1] or 0)
        own = {name: values[data["site"] == site] for name, values in data.items()}
        alone = {(m.name, m.group): m.value for m in _measures(own)}
        found = score_measures(evaluation, family)
        assert all(m.level == family.level for m in found)
        assert {(m.name, m.group): m.value for m in found} == pytest.approx(alone, nan_ok=True)


def test_binned_scores_are_said_to_be() -> None:
    rng = np.random.default_rng(0)
    y, g = rng.integers(0, 2, 40_000), rng.integers(0, 3, 40_000)
    data = {"y": y, "p": rng.normal(size=40_000) + y, "g": g}
    evaluation = ek.evaluate(
        data, label="y", score="p", metrics=["roc_auc"], slices=["g"], budget_bytes=1 << 20
    ).evaluations[0]
    found = score_measures(evaluation, families(evaluation, ["g"])[0])
    assert all(m.approximate and "scores binned" in m.note for m in found)


# --- coverage ---

GAP, SHIFT = 1.0, 0.5


def _replicates(replicates: int, rows: int, how: str, seed: int, shift: float) -> dict[str, Any]:
    """Two groups whose scores differ by `shift`: binormal, so that every AUC is known."""
    rng = np.random.default_rng(seed)
    n = replicates * rows
    replicate, g = np.repeat(np.arange(replicates), rows), rng.integers(0, 2, n)
    unit = rng.integers(0, 60, n)
    shared = np.sqrt(0.4) * rng.normal(size=(replicates, 60))[replicate, unit] if how == "unit" else 0.0
    noise = shared + np.sqrt(0.6 if how == "unit" else 1.0) * rng.normal(size=n)
    y = (rng.random(n) < 0.3).astype(int)
    score = noise + GAP * y + shift * g
    return {"y": y, "p": score, "g": g, "r": replicate, "u": unit, "w": rng.lognormal(0, 0.6, n) * (1 + y)}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["plain", "weight", "unit"])
def test_intervals_of_differences_hold_the_truth(how: str) -> None:
    replicates, shift = 240, SHIFT
    data = _replicates(replicates, 300, how, 1, shift)
    roles: Any = {"weight": {"weight": "w"}, "unit": {"unit": "u"}}.get(how, {})
    sets = slice_sets(["g"], ["r"])
    evaluation = ek.evaluate(data, label="y", score="p", metrics=["roc_auc"], slices=sets, **roles).evaluations[0]

    def area(distance: float) -> float:
        return float(stats.norm.cdf(distance / 2**0.5))

    truth = {"xauc": area(GAP - shift) - area(GAP + shift), "own": 0.0, "aucs": area(GAP)}
    pair, held = np.array([[0, 1]]), dict[str, list[bool]]((name, []) for name in truth)
    for family in families(evaluation, ["g"], ["r"]):
        auc = cross_auc(with_rest(evaluation, family))
        crossed = AucContrasts.of(auc, [xauc(auc, 0, 1), xauc(auc, 1, 0)])
        own = AucContrasts.of(auc, [subgroup_auc(auc, 0), subgroup_auc(auc, 1)])
        for name, contrast in (
            ("xauc", crossed.differences(pair)),
            ("own", own.differences(pair)),
            ("aucs", own.each()),
        ):
            low, high = contrast.interval(0.025)
            held[name].append(low[0] <= truth[name] <= high[0])
    for name, of in held.items():
        assert 0.905 <= np.mean(of) <= 0.99, name


@pytest.mark.slow
def test_the_largest_gap_of_many_groups_is_held_by_its_bounds() -> None:
    rng = np.random.default_rng(5)
    replicates, groups, rows = 80, 5, 500
    n = replicates * rows
    y, g = rng.integers(0, 2, n), rng.integers(0, groups, n)
    data = {"y": y, "p": rng.normal(size=n) + y, "g": g, "r": np.repeat(np.arange(replicates), rows)}
    sets = slice_sets(["g"], ["r"])
    evaluation = ek.evaluate(data, label="y", score="p", metrics=["roc_auc"], slices=sets).evaluations[0]
    pairs = np.array([(i, j) for i in range(groups) for j in range(i)])
    claimed, single, jigsaw = [], [], []
    for family in families(evaluation, ["g"], ["r"]):
        auc = cross_auc(with_rest(evaluation, family))
        own = AucContrasts.of(auc, [subgroup_auc(auc, k) for k in range(groups)])
        contrast = own.differences(pairs)
        claimed.append(own.largest(pairs, 0.95).low > 0)
        single.append((contrast.two_sided() < 0.05).any())
        low, high = AucContrasts.of(auc, [jigsaw_score(auc, groups)]).each().interval(0.025)
        jigsaw.append(low[0] <= stats.norm.cdf(0.5**0.5) <= high[0])
    assert np.mean(claimed) <= 0.05 + 2.576 * (0.05 * 0.95 / replicates) ** 0.5
    assert np.mean(single) > 0.1
    assert np.mean(jigsaw) > 0.85
