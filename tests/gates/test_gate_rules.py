"""Rules as they are written: what cannot hold is told with its place, and a pattern finds the slices it means."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evalkit as ek
from evalkit.config import parse
from evalkit.errors import ConfigError
from evalkit.gate import loaded
from evalkit.gates.rules import GateSettings, check, matches
from evalkit.slicing.spec import SliceKey, slice_text
from evalkit.slicing.spec import parse as sets_of

SLICES = sets_of(
    ["race", ["race", "sex"], "age=edges(30, 45)", "young=where(age < 30)", ["young=where(age < 30)", "sex"]]
)
HEAD = "gate:\n  rules:\n"
# What is written under `rules:` from line 3 on, the line that is wrong, and what is said.
WRONG: list[tuple[str, int, str]] = [
    ("- {metric: acuracy, value: 0.5}", 3, 'No metric "acuracy". Did you mean "accuracy"?'),
    ("- {metric: accuracy, valeu: 0.5}", 3, 'There is no setting "valeu". Did you mean "value"? Settings: name, claim'),
    (
        "- metric: accuracy\n  value:\n    mn: 0.5",
        5,
        'There is no setting "mn". Did you mean "min"? Settings: min, max.',
    ),
    (
        "- {metric: accuracy, value: 1}\n- {metric: recall, value: 0.5, slices: rcae=black}",
        4,
        'No slice "rcae=black" can exist. Did you mean "race"?',
    ),
    ("- {metric: accuracy, value: 0.5, slices: 'raec=*'}", 3, 'No slice "raec=*" can exist. Did you mean "race"?'),
    ("- {metric: accuracy, value: 0.5, slices: 'region*'}", 3, 'No slice "region*" can exist. Slices are by: race'),
    ("- {metric: accuracy, value: 0.5, slices: race}", 3, 'No slice "race" can exist. Write "race=*" for each'),
    (
        "- {metric: accuracy, value: 0.5, slices: 'sex=*'}",
        3,
        'No slice "sex=*" can exist. Slices are by: race, race,sex, age',
    ),
    ("- {metric: accuracy, value: 0.5, slices: 'race=*, age=*'}", 3, 'No slice "race=*, age=*" can exist.'),
    ("- {metric: accuracy, value: 0.5, slices: [overall, sxe=f]}", 3, 'No slice "sxe=f" can exist.'),
    ("- {metric: accuracy, value: {min: 0.9, max: 0.8}}", 3, "No value is at least 0.9 and at most 0.8."),
    ("- {metric: accuracy, value: {}}", 3, "value needs min or max."),
    ("- {metric: count, value: 100}", 3, '"count" has no direction: write {min: 100} or {max: 100}.'),
    (
        "- {metric: accuracy, value: 0.5, delta: 0}",
        3,
        "A rule has one of value, delta and relative_delta; this one has value, delta.",
    ),
    ("- {metric: accuracy}", 3, "A rule has one of value, delta and relative_delta; this one has none."),
    ("- {value: 0.5}", 3, '"gate.rules[0].metric" is missing.'),
    ("[]", 2, '"gate.rules" must be a list that is not empty, not [].'),
    ("- accuracy", 3, '"gate.rules[0]" must be a mapping, not "accuracy".'),
    ("- {metric: accuracy, value: yes}", 3, '"gate.rules[0].value" must be a number or a mapping, not "yes".'),
    ("- {metric: accuracy, value: true}", 3, '"gate.rules[0].value" must be a number or a mapping, not true.'),
    ("- {metric: accuracy, value: .nan}", 3, '"gate.rules[0].value" must be a finite number or a mapping, not NaN.'),
    ("- {metric: accuracy, value: {max: .inf}}", 3, '"gate.rules[0].value.max" must be a finite number, not Infinity.'),
    ("- {metric: accuracy, value: 1e999}", 3, "must be a finite number or a mapping, not Infinity."),
    ("- {metric: accuracy, value: 1, margin: -0.1}", 3, '"gate.rules[0].margin" must be at least 0, not -0.1.'),
    ("- {metric: accuracy, value: 1, min_rows: -1}", 3, '"gate.rules[0].min_rows" must be at least 0, not -1.'),
    ("- {metric: accuracy, value: 1, min_rows: 2.5}", 3, '"gate.rules[0].min_rows" must be a whole number, not 2.5.'),
    (
        "- {metric: accuracy, value: 1, claim: maybe}",
        3,
        '"gate.rules[0].claim" must be "certify" or "flag", not "maybe".',
    ),
    (
        "- {metric: accuracy, value: 1, expires: soon}",
        3,
        '"gate.rules[0].expires" must be a day such as 2027-01-31, not "soon".',
    ),
    (
        "- {metric: accuracy, value: 1, expires: 2027-02-30}",
        3,
        '"gate.rules[0].expires" must be a day such as 2027-01-31',
    ),
    ("- {metric: accuracy, value: 1, expires: 2020-01-31}", 3, "expired on 2020-01-31: renew or remove it."),
    (
        "- {metric: accuracy, value: 1}\n- {metric: accuracy, value: 1}",
        4,
        'Two rules are named "accuracy >= 1 on overall"',
    ),
    ("- {metric: accuracy, value: 1}\nwaivers:\n  - {rule: a, who: b}", 4, 'There is no setting "waivers"'),
    ("- &a {metric: accuracy, value: 1, metric: recall}", 3, '"metric" is set twice, first in line 3.'),
    ("- !!python/object/apply:os.system [echo]", 3, "must be a mapping"),
    ("- {metric: !!python/name:os.system x, value: 1}", 3, "cannot be read."),
    ("- {metric: 'accuracy@0.5@0.6', value: 1}", 3, "accuracy"),
    ("- {metric: 'roc_auc@0.5', value: 1}", 3, '"roc_auc" has no parameter'),
]


@pytest.mark.parametrize(("text", "line", "message"), WRONG, ids=[text for text, _, _ in WRONG])
def test_what_is_wrong_with_a_rule_is_told_with_its_line(text: str, line: int, message: str) -> None:
    under = text.startswith("[")
    written = f"gate:\n  rules: {text}\n" if under else HEAD + "".join(f"    {part}\n" for part in text.splitlines())
    if "\nwaivers" in text:
        written = written.replace("    waivers", "waivers").replace("      - {rule", "  - {rule")
    written += "data: rows.parquet\nslices: [race, [race, sex], 'age=edges(30, 45)', 'young=where(age < 30)']\n"
    with pytest.raises(ConfigError) as error:
        parse(written, "gate.yaml")
    assert str(error.value).startswith(f"gate.yaml:{line}: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_waiver_that_names_no_rule_is_told_with_its_line() -> None:
    rules = "gate:\n  rules:\n    - {metric: accuracy, value: 1, name: floor}\n  waivers:\n"
    with pytest.raises(ConfigError, match=r'^evalkit.yaml:5: No rule "flor". Did you mean "floor"\? Rules: floor.$'):
        parse(rules + "    - {rule: flor, who: me, why: dip, until: 2100-01-01}\n")


def test_a_wrong_rule_is_told_with_its_line_by_the_function_too(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("rules:\n  - {metric: accuracy, value: 0.5}\n  - {metric: accuracy, value: 0.5, slices: sxe=f}\n")
    result = ek.evaluate({"y": [0, 1] * 20, "p": [0.2, 0.7] * 20, "sex": ["f", "m"] * 20}, label="y", score="p",
                         metrics=["accuracy"], slices=["sex"])  # fmt: skip
    with pytest.raises(ConfigError) as error:
        ek.gate(result, file)
    assert str(error.value).startswith(f'{file}:3: No slice "sxe=f" can exist. Did you mean "sex"?')


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([], "must be a list that is not empty"),
        ({}, '"rules" is missing'),
        ({"rules": None}, "must be a list"),
        (None, "not NoneType"),
        (5, "not int"),
        ([None], "must be a mapping"),
        ("nowhere.yaml", "There is no file nowhere.yaml; `evalkit gate init --from RUN` writes one."),
    ],
)
def test_what_are_no_rules_is_an_error(rules: Any, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        loaded(rules)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "text", ["", "- a\n", "gate:\n", "gate: 5\n", "metrics: [accuracy]\n", "\x00", "gate: {rules: *a}\n"]
)
def test_a_file_without_rules_is_an_error_that_names_it(text: str, tmp_path: Path) -> None:
    file = tmp_path / "gate.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        loaded(file)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_rule_is_named_by_what_it_asks() -> None:
    titles: dict[str, dict[str, Any]] = {
        "accuracy >= 0.5 on overall": {"metric": "accuracy", "value": 0.5},
        "log_loss <= 0.5 on all": {"metric": "log_loss", "value": 0.5, "slices": "all"},
        "delta of roc_auc >= -0.01 on race=*": {"metric": "roc_auc", "delta": 0, "margin": 0.01, "slices": "race=*"},
        "relative_delta of rmse <= 0.1 on a=1, b=2": {"metric": "rmse", "relative_delta": 0.1, "slices": "a=1, b=2"},
        "count >= 1 and <= 9 on overall": {"metric": "count", "value": {"min": 1, "max": 9}},
    }
    found = [rule.title.replace("relative delta", "relative_delta") for rule in loaded(list(titles.values()))[0].rules]
    assert found == list(titles)


@pytest.mark.parametrize(
    ("slices", "claim"),
    [("overall", "certify"), ("race=black", "certify"), (["overall", "race=black"], "certify"), ("all", "flag"),
     ("race=*", "flag"), (["race=black", "all"], "flag")],
)  # fmt: skip
def test_rules_certify_what_is_named_and_flag_what_is_found(slices: Any, claim: str) -> None:
    [rule] = loaded([{"metric": "accuracy", "value": 0.5, "slices": slices}])[0].rules
    assert rule.claimed == claim


# --- patterns ---

ODD: dict[str, SliceKey] = {
    slice_text(key): key
    for key in [
        (("race", "black"),), (("race", "a, b"),), (("race", "x=y"),), (("race", 'q"t'),), (("race", None),),
        (("race", "null"),), (("race", "overall"),), (("race", "all"),), (("race", "ünï"),), (("race", "a.*b"),),
        (("race", ""),), (("age", "[30, 45)"),), (("age", "(-inf, 30)"),), (("race", "black"), ("sex", "f")),
        (("sex", "f"), ("age", "[30, 45)")), (("race", "a, b"), ("sex", "f")),
    ]
}  # fmt: skip
ODD |= {"young": (("young", "true"),), "young, sex=f": (("young", "true"), ("sex", "f"))}
ODD |= {"sex=f, old": (("sex", "f"), ("old", "true"))}


def found(pattern: str) -> list[str]:
    return [whole for whole, key in ODD.items() if matches(pattern, key, whole)]


@pytest.mark.parametrize("whole", ODD)
def test_every_slice_is_matched_by_its_own_name_and_by_no_other(whole: str) -> None:
    assert found(whole) == [whole] if "*" not in whole else whole in found(whole)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("age=*", ["age=[30, 45)", "age=(-inf, 30)"]),
        ("age=[*", ["age=[30, 45)"]),
        ("age=[30, *", ["age=[30, 45)"]),
        ("age=[3?, 45)", []),
        ("race=n*", ["race=null"]),
        ('race="*', ['race="a, b"', 'race="x=y"', 'race="q\\"t"', 'race="null"', 'race=""']),
        ("race=ün*", ["race=ünï"]),
        ("race=.*", []),
        ("race=[b]lack", []),
        ("race=b?ack", []),
        ("race=*ll", ["race=null", "race=overall", "race=all"]),
        ("RACE=black", []),
        ("sex=f, race=black", ["race=black, sex=f"]),
        ("age=[30, 45), sex=f", ["sex=f, age=[30, 45)"]),
        ("age=*, sex=*", ["sex=f, age=[30, 45)"]),
        ('sex=f, race="a, b"', ['race="a, b", sex=f']),
        ("race=*, sex=*", ["race=black, sex=f", 'race="a, b", sex=f']),
        ("sex=f, young", ["young, sex=f"]),
        ("young, sex=*", ["young, sex=f"]),
        ("young=true, sex=f", ["young, sex=f"]),
        ("old, sex=f", ["sex=f, old"]),
        ("you*", ["young"]),
        ("race", []),
        ("sex=f", []),
        ("*, *", [w for w, key in ODD.items() if len(key) == 2]),
        ("*", [w for w, key in ODD.items() if len(key) == 1]),
        ("", []),
    ],
)
def test_a_pattern_finds_the_slices_it_means(pattern: str, expected: list[str]) -> None:
    assert found(pattern) == expected


@pytest.mark.parametrize(
    "text",
    [
        "overall",
        "all",
        "race=anything",
        "race=*",
        "rac*",
        "*",
        "*=black",
        "sex=f, race=b",
        "*, *",
        "age=[30, 45)",
        "age=[*",
        "age=[30, *",
        "young",
        "young=true",
        "young, sex=f",
        "sex=f, young",
        'race="a, b"',
        'sex=f, race="a, b"',
    ],
)
def test_a_slice_that_can_exist_is_no_error(text: str) -> None:
    check(GateSettings.model_validate({"rules": [{"metric": "accuracy", "value": 0.5, "slices": text}]}), SLICES)


def test_a_rule_on_slices_where_none_are_evaluated_is_an_error() -> None:
    settings = GateSettings.model_validate({"rules": [{"metric": "accuracy", "value": 0.5, "slices": "all"}]})
    with pytest.raises(ConfigError, match="no slices are evaluated: add slices"):
        check(settings, sets_of([]))


def test_a_value_mistyped_is_answered_with_the_nearest_slice() -> None:
    table = {"y": np.arange(100) % 2, "p": np.arange(100) % 3 // 2, "race": ["black", "white"] * 50}
    result = ek.evaluate(table, label="y", prediction="p", metrics=["accuracy"], slices=["race"])
    verdict = ek.gate(result, [{"metric": "accuracy", "value": 0.0, "slices": "race=blakc"}])
    assert verdict.exit_code == 3
    assert 'no such slice in the data. Did you mean "race=black"?' in verdict.rules[0].sentence


def test_a_long_pattern_is_answered_at_once() -> None:
    key: SliceKey = tuple((f"column{i}", "[1, 2)") for i in range(6))
    assert not matches("*, " * 2000 + "*", key, slice_text(key))
    assert not matches("*" * 60 + "x, " + "a=[1, " * 300, key, slice_text(key))
