"""Settings in a file: what is read, and how mistakes are told."""

import json
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from evalkit.config import Bootstrap, Compare, Config, Costs, Fairness, Intervals, Model, beside, load, parse, schema
from evalkit.errors import ConfigError
from evalkit.gates.rules import Disparity, DisparityRule, GateSettings, MetricRule, WaiverSettings

DOCS = (Path(__file__).resolve().parents[1] / "docs" / "config.md").read_text(encoding="utf-8")


def test_words_of_yaml_1_1_are_text_where_text_is_wanted() -> None:
    config = parse("positive: no\nid: 2024-01-01\nunit: 12:30\nstrict: yes\ndrop_invalid: off\n")
    assert (config.positive, config.id, config.unit) == ("no", "2024-01-01", "12:30")
    assert (config.strict, config.drop_invalid) == (True, False)


@pytest.mark.parametrize(("text", "positive"), [("1", 1), ("true", True), ("1.5", 1.5), ("'1'", "1"), ("yes", "yes")])
def test_a_positive_label_keeps_its_type(text: str, positive: object) -> None:
    read = parse(f"positive: {text}").positive
    assert (read, type(read)) == (positive, type(positive))


@pytest.mark.parametrize("text", ["{bootstrap: {n: 1000, seed: 0}}", "{bootstrap: }", "bootstrap"])
def test_a_bootstrap_may_be_written_shortly(text: str) -> None:
    assert parse(f"intervals: {text}").intervals == Intervals(bootstrap=Bootstrap(n=1000, seed=0))


WRONG = {
    "label: y\nscroe: p": r'f:2: There is no setting "scroe"\. Did you mean "score"\? Settings: data, sql, where, .*',
    "label: 1": r'f:1: "label" must be text, not 1\.',
    "label: [a]": r'f:1: "label" must be text, not \["a"\]\.',
    "label: y\n\nlevel: 2": r'f:3: "level" must be less than 1, not 2\.',
    "level: high": r'f:1: "level" must be a number, not "high"\.',
    "min_rows: true": r'f:1: "min_rows" must be a whole number, not true\.',
    "min_rows: -1": r'f:1: "min_rows" must be at least 0, not -1\.',
    "strict: maybe": r'f:1: "strict" must be true or false, not "maybe"\.',
    "task: multiclass": r'f:1: "task" must be "binary" or "regression", not "multiclass"\.',
    "metrics: []": r'f:1: "metrics" must be a list that is not empty, not \[\]\.',
    "metrics:\n- roc_auc\n- roc_acu": r'f:3: No metric "roc_acu"\. Did you mean "roc_auc"\? .*',
    "metrics: [precision@tresh=1]": r"f:1: .*tresh.*",
    "slices:\n- sex\n- [sex, sex]": r"f:3: The cross .* needs different columns\.",
    "slices:\n- sex\n- age=edgs(3)": r'f:3: "age=edgs\(3\)" is not a slice; .*',
    "slices:\n- {column: age, edge: [3]}": r"f:2: .* is not a slice; .*",
    "slices: [1]": r'f:1: "slices\[0\]" must be text or a list or a mapping, not 1\.',
    "intervals: analytical": r'f:1: "intervals" must be "analytic" or a mapping, not "analytical"\.',
    "intervals:\n  bootstrap:\n    n: 5": r'f:3: "intervals\.bootstrap\.n" must be at least 20, not 5\.',
    "intervals:\n  bootstrap:\n    sed: 5": r'f:3: There is no setting "sed"\. Did you mean "seed"\? .*: n, seed\.',
    "models:\n- score: a\n- scor: b": r'f:3: There is no setting "scor"\. Did you mean "score"\? .*',
    "models:\n- score: a\n- name: b": r'f:3: The model "b" needs its column: score, prediction\.',
    "models:\n- score: a\n- score: a": r'f:1: Two models are named "a"; give one another name\.',
    "score: a\nmodels:\n- score: b": r"f:2: models holds names, scores and predictions: .*",
    "label: a\nscore: p\nlabel: b": r'f:3: "label" is set twice, first in line 1\.',
    "label: a\nslices: [sex": r"f:2: This is no YAML: .*",
    "label: &x [*x]": r"f:1: This alias contains itself\.",
    "label: !!python/name:os.system": r"f:1: .* cannot be read\.",
    "? [a]\n: b": r"f:1: A key must be a word, .*",
    "- label": r"f:1: Settings are written as .*",
    "# nothing": r"f is empty; .*",
    "label: \x00": r"f: This is no YAML: .*",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_mistake_is_told_with_file_line_and_choices(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(text, "f")
    assert re.fullmatch(WRONG[text], str(raised.value))


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "evalkit.yaml").write_text("data: [a.parquet, /b.parquet]\nout: results\n")
    config = load(tmp_path / "run" / "evalkit.yaml")
    assert config.data == [str(tmp_path / "run" / "a.parquet"), "/b.parquet"]
    assert config.out == str(tmp_path / "run" / "results")


def test_a_glob_beside_a_folder_with_brackets_still_finds_its_files() -> None:
    assert beside("*.csv", Path("a[1]")) == "a[[]1]/*.csv"
    assert beside("b.csv", Path("a[1]")) == "a[1]/b.csv"


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "evalkit.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="Cannot read"):
        load(tmp_path / "evalkit.yaml")


def test_the_schema_knows_every_setting_and_no_other() -> None:
    made = json.loads(json.dumps(schema()))
    assert set(made["properties"]) == set(Config.model_fields)
    assert made["additionalProperties"] is False


@pytest.mark.parametrize("settings", [Config, Model, Bootstrap, Costs, Compare, Fairness])
def test_every_setting_is_documented(settings: type[BaseModel]) -> None:
    assert [name for name in settings.model_fields if f"`{name}`" not in DOCS] == []


@pytest.mark.parametrize("settings", [GateSettings, MetricRule, DisparityRule, Disparity, WaiverSettings])
def test_every_setting_of_a_gate_is_documented(settings: type[BaseModel]) -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "gate.md").read_text(encoding="utf-8")
    assert [name for name in settings.model_fields if f"`{name}`" not in page] == []


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", DOCS, flags=re.DOTALL))
def test_documented_settings_are_accepted(text: str) -> None:
    assert parse(text).label == "label"
