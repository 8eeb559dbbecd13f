"""Rules on disparities: flag, certify, insufficient; what they refuse; and that the interval printed decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evalkit as ek
from evalkit.errors import ConfigError
from evalkit.fairness.statistics.gaps import rate_gap
from evalkit.gates.rules import GateSettings, check
from evalkit.slicing.spec import parse


def _result(hits: list[int], rows: list[int]) -> ek.Result:
    decided = [d for h, n in zip(hits, rows, strict=True) for d in [1] * h + [0] * (n - h)]
    race = [f"r{i}" for i, n in enumerate(rows) for _ in range(n)]
    data = {"y": [1] * len(race), "d": decided, "race": race, "site": ["s"] * len(race)}
    return ek.evaluate(
        data, label="y", prediction="d", metrics=["recall"], slices=["race", "site", ["site", "race"]], name="mine"
    )


def _rule(claim: str = "flag", **disparity: Any) -> dict[str, Any]:
    asked = {"metric": "recall", "across": "race", **disparity}
    return {"disparity": asked, "claim": claim, "name": "parity"}


def _outcome(result: ek.Result, rule: dict[str, Any]) -> tuple[str, int, str]:
    verdict = ek.gate(result, [rule])
    return verdict.outcome, verdict.exit_code, verdict.rules[0].sentence


@pytest.mark.parametrize(
    ("hits", "bound", "claim", "expected"),
    [
        ([400, 250], {"difference": 0.05}, "flag", ("fail", 1)),
        ([400, 395], {"difference": 0.05}, "flag", ("pass", 0)),
        ([400, 395], {"difference": 0.15}, "certify", ("pass", 0)),
        ([400, 250], {"difference": 0.15}, "certify", ("fail", 1)),
        ([400, 370], {"difference": 0.06}, "certify", ("insufficient", 3)),
        ([400, 250], {"ratio": 0.8}, "flag", ("fail", 1)),
        ([400, 395], {"ratio": 0.8}, "certify", ("pass", 0)),
    ],
)
def test_three_outcomes(hits: list[int], bound: dict[str, float], claim: str, expected: tuple[str, int]) -> None:
    assert _outcome(_result(hits, [500, 500]), _rule(claim, **bound))[:2] == expected


def test_the_interval_is_that_of_all_pairs_at_the_gates_one_sided_error_rate() -> None:
    hits, rows = [400, 330, 250], [500, 500, 500]
    verdict = ek.gate(_result(hits, rows), [_rule(difference=0.05)])
    finding = verdict.rules[0].findings[0]
    known = rate_gap(hits, rows, level=0.95)
    assert (finding.low, finding.high) == pytest.approx((float(known.low), float(known.high)), abs=0.003)
    assert finding.sentence.startswith("difference across race of recall is +0.3000 [")


def test_a_group_with_too_few_rows_is_named_and_keeps_a_gap_from_being_certified() -> None:
    result = _result([400, 395, 2], [500, 500, 5])
    assert _outcome(result, _rule("certify", difference=0.15))[:2] == ("insufficient", 3)
    verdict = ek.gate(result, [_rule("flag", difference=0.15)])
    assert verdict.outcome == "pass"
    left = [f for f in verdict.rules[0].findings if f.slice == "race=r2"]
    assert [(f.outcome, f.why) for f in left] == [("undecided", "a support of 5 rows, fewer than 30: in no gap")]


def test_gaps_are_judged_within_levels_of_control_features() -> None:
    verdict = ek.gate(_result([400, 250], [500, 500]), [_rule(difference=0.05, control="site")])
    assert [f.slice for f in verdict.rules[0].findings] == ["site=s"]
    assert verdict.outcome == "fail"


@pytest.mark.slow
def test_a_fair_model_is_flagged_in_at_most_five_percent() -> None:
    rng = np.random.default_rng(5)
    blocked = [
        _outcome(_result(rng.binomial(100, 0.5, 6).tolist(), [100] * 6), _rule(difference=0.0001))[0] == "fail"
        for _ in range(100)
    ]
    assert np.mean(blocked) <= 0.05 + 2.576 * (0.05 * 0.95 / 100) ** 0.5


@pytest.mark.parametrize(
    ("disparity", "more", "message"),
    [
        ({}, {}, "one of difference and ratio"),
        ({"difference": 0.1, "ratio": 0.8}, {}, "one of difference and ratio"),
        ({"difference": 0.1, "across": "rce"}, {}, r'No slices by "rce"\. Did you mean "race"\?'),
        ({"difference": 0.1, "metric": "recal"}, {}, "recal"),
        ({"difference": 0.1, "metric": "expected_calibration_error"}, {}, "no analytic interval"),
        ({"ratio": 0.8, "metric": "matthews_corrcoef"}, {}, "may be negative"),
        ({"difference": 0.1}, {"evidence": "point"}, "judged by its interval"),
    ],
)
def test_rules_that_cannot_hold_are_refused(disparity: dict[str, Any], more: dict[str, Any], message: str) -> None:
    settings = GateSettings.model_validate({"rules": [{**_rule(**disparity), **more}]})
    with pytest.raises(ConfigError, match=message):
        check(settings, parse(["race"]))


def test_a_mistyped_setting_of_a_disparity_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "gate.yaml"
    file.write_text("rules:\n  - disparity:\n      metric: recall\n      acros: race\n      difference: 0.1\n")
    with pytest.raises(ConfigError, match=r'gate\.yaml:4: There is no setting "acros"\. Did you mean "across"\?'):
        ek.gate(_result([1], [2]), file)
    file.write_text("rules:\n  - disparity: {metric: recall, across: race, difference: -1}\n")
    with pytest.raises(ConfigError, match=r'"rules\[0\]\.disparity\.difference" must be more than 0, not -1'):
        ek.gate(_result([1], [2]), file)
