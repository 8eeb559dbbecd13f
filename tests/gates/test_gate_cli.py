"""`evalkit gate` as a user and a CI job meet it: exit codes, what is printed and written, what is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import evalkit as ek
from evalkit.cli import main
from evalkit.compilation import cache_folder

RULES = """data: rows.parquet
label: y
models: [{score: old}, {score: new}, {score: bad}, {score: same}]
metrics: [accuracy, roc_auc]
slices: [s]
compare: {baseline: old}
gate:
  rules:
"""
FLAG = "    - {metric: accuracy, slices: all, delta: 0}\n"
BETTER = "    - {metric: roc_auc, delta: 0}\n"
ON_TINY = "    - {metric: accuracy, slices: s=tiny, delta: 0}\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of a better model, of one that is worse by .15 in 300 rows and wrong in 8, and a run of them all."""
    random = np.random.default_rng(0)
    label = random.integers(0, 2, 3000)
    slices = np.repeat(["hurt", "tiny", "a", "b"], [300, 8, 1200, 1492])
    old = np.clip(random.normal(0.3 + 0.4 * label, 0.2), 0.01, 0.99)
    old[slices == "tiny"] = 0.1 + 0.8 * label[slices == "tiny"]
    new = np.clip(old + (2 * label - 1) * 0.02, 0.005, 0.995)
    right = (old >= 0.5) == (label == 1)
    broken = np.concatenate([np.flatnonzero(right & (slices == "hurt"))[:45], np.flatnonzero(slices == "tiny")])
    bad = old + random.normal(0, 1e-4, 3000)
    bad[broken] = 1 - bad[broken]
    folder = tmp_path_factory.mktemp("made")
    rows = {"y": label, "old": old, "new": new, "bad": bad, "same": old, "s": slices}
    pl.DataFrame(rows).write_parquet(folder / "rows.parquet")
    compared = ek.compare(
        folder / "rows.parquet",
        label="y",
        baseline="old",
        candidate=["new", "bad"],
        metrics=["accuracy", "roc_auc"],
        slices=["s"],
    )
    compared.save(folder / "run")
    return folder


@pytest.fixture(autouse=True)
def work(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own with the rows and the run, and a ledger of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVALKIT_CACHE", str(cache_folder() or "off"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "rows.parquet").symlink_to(made / "rows.parquet")
    return tmp_path


def rules(*written: str, **settings: str) -> None:
    more = "".join(f"  {name}: {value}\n" for name, value in settings.items())
    Path("gate.yaml").write_text(RULES + "".join(written) + more)


def gate(*arguments: str) -> int:
    return main(["gate", *arguments, "--quiet"])


# --- outcomes ---


def test_a_better_candidate_passes(capsys: pytest.CaptureFixture[str]) -> None:
    rules(BETTER, FLAG)
    assert gate("--candidate", "new") == 0
    assert capsys.readouterr().out.startswith("new against old passes the gate.\n")


def test_a_drop_of_15_points_in_300_rows_blocks_and_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    rules(FLAG)
    assert gate("--candidate", "bad") == 1
    said = capsys.readouterr().out
    assert "delta of accuracy on s=hurt is -0.1500 [" in said
    assert "below the bound 0" in said
    assert "s=tiny is -1.0000" in said  # undecided, and listed


def test_the_same_in_8_rows_is_insufficient_evidence_where_it_must_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    rules(ON_TINY)
    assert gate("--candidate", "bad") == 3
    assert "8 rows, fewer than 30" in capsys.readouterr().out


def test_the_same_in_8_rows_alone_is_listed_where_rules_flag(capsys: pytest.CaptureFixture[str]) -> None:
    table = pl.read_parquet("rows.parquet").with_columns(
        bad=pl.when(pl.col("s") == "tiny").then("bad").otherwise("new")
    )
    Path("rows.parquet").unlink()
    table.write_parquet("rows.parquet")
    rules(FLAG)
    assert gate("--candidate", "bad") == 0
    said = capsys.readouterr().out
    assert "1 undecided" in said
    assert "s=tiny is -1.0000" in said


def test_a_run_and_its_rows_give_the_same_verdict(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules(BETTER, FLAG)
    assert gate("--candidate", "bad", "--format", "json", "--ledger", "off") == 1
    of_rows = json.loads(capsys.readouterr().out)
    assert gate(str(made / "run"), "--candidate", "bad", "--format", "json", "--ledger", "off") == 1
    of_run = json.loads(capsys.readouterr().out)
    assert of_rows["rules"] == of_run["rules"]
    assert of_rows["exit_code"] == 1


@pytest.mark.parametrize(("setting", "code"), [("fail", 1), ("skip", 3), ("pass", 0)])
def test_without_a_baseline(setting: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    rules(BETTER, on_missing_baseline=setting)
    text = Path("gate.yaml").read_text()
    Path("gate.yaml").write_text(text.replace("compare: {baseline: old}\n", ""))
    assert gate("--candidate", "new") == code
    assert "there is no baseline to compare with" in capsys.readouterr().out


def test_a_baseline_of_another_run_is_paired_by_its_rows(made: Path) -> None:
    for name in ("old", "new"):
        of = ek.evaluate(made / "rows.parquet", label="y", score=name, metrics=["roc_auc"], name=name)
        of.save(name)
    Path("gate.yaml").write_text("gate:\n  rules:\n" + BETTER)
    assert gate("new", "--baseline", "old") == 0
    assert gate("old", "--baseline", "new") == 1


def test_runs_on_other_rows_are_compared_unpaired_and_it_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    table = pl.read_parquet("rows.parquet")
    for name, rows in (("old", table[:1500]), ("new", table[1500:])):
        ek.evaluate(rows, label="y", score=name, metrics=["roc_auc"], name=name).save(name)
    Path("gate.yaml").write_text("gate:\n  rules:\n    - {metric: roc_auc, delta: 0, margin: 0.05}\n")
    assert gate("new", "--baseline", "old") == 0
    assert "paired" in capsys.readouterr().out


def test_results_without_rows_decide_values_and_compare_unpaired() -> None:
    for name in ("old", "new"):
        of = ek.evaluate("rows.parquet", label="y", score=name, metrics=["accuracy"], name=name, keep_rows=False)
        of.save(name)
    Path("gate.yaml").write_text("gate:\n  rules:\n    - {metric: accuracy, value: 0.7}\n")
    assert gate("new") == 0
    Path("gate.yaml").write_text("gate:\n  rules:\n    - {metric: accuracy, delta: 0, margin: 0.2}\n")
    assert gate("new", "--baseline", "old") == 0


# --- what is printed and written ---


def test_a_check_reads_no_data(capsys: pytest.CaptureFixture[str]) -> None:
    rules(BETTER, FLAG)
    Path("rows.parquet").unlink()
    assert main(["gate", "--check"]) == 0
    assert capsys.readouterr().err == "gate.yaml: 2 rules, all of them possible.\n"
    rules("    - {metric: acuracy, delta: 0}\n")
    assert main(["gate", "--check"]) == 2
    assert capsys.readouterr().err.startswith('error: gate.yaml:9: No metric "acuracy". Did you mean "accuracy"?')


def test_a_folder_holds_the_verdict_in_every_form(capsys: pytest.CaptureFixture[str]) -> None:
    rules(FLAG)
    assert main(["gate", "--candidate", "bad", "--out", "verdict", "--no-report"]) == 1
    held = {path.name for path in Path("verdict").iterdir()}
    assert {
        "verdict.json",
        "verdict.md",
        "junit.xml",
        "gl-code-quality-report.json",
        "verdict.sarif",
        "run.json",
    } <= held
    assert json.loads(Path("verdict/verdict.json").read_text())["outcome"] == "fail"
    assert "Written to verdict: " in capsys.readouterr().err


def test_no_folder_is_replaced_unasked_and_none_that_is_not_ours(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules(FLAG)
    Path("thesis").mkdir()
    Path("thesis/chapter.txt").write_text("mine")
    assert gate("--candidate", "new", "--out", "thesis") == 2
    assert "thesis exists" in capsys.readouterr().err
    assert gate("--candidate", "new", "--out", "thesis", "--overwrite") == 2
    assert "it is left alone" in capsys.readouterr().err
    assert [path.name for path in Path("thesis").iterdir()] == ["chapter.txt"]
    assert gate("--candidate", "new", "--out", "verdict", "--no-report") == 0
    assert gate("--candidate", "new", "--out", "verdict", "--no-report", "--overwrite") == 0
    capsys.readouterr()
    run = str(made / "run")
    assert gate(run, "--candidate", "new", "--out", run, "--overwrite") == 2
    assert "holds the results that are judged" in capsys.readouterr().err
    assert ek.load(run).models == ["old", "new", "bad"]


def test_a_verdict_is_no_result(capsys: pytest.CaptureFixture[str]) -> None:
    rules(FLAG)
    assert gate("--candidate", "new", "--out", "verdict", "--no-report") == 0
    assert gate("verdict", "--candidate", "new") == 2
    assert "verdict holds a verdict, not results" in capsys.readouterr().err


@pytest.mark.parametrize("reader", ["| true", "2>&1 | true", "2>&1 | head -1", "| head -1"])
def test_a_reader_that_goes_away_turns_no_block_into_a_pass(reader: str) -> None:
    rules(FLAG)
    asked = f"{sys.executable} -m evalkit gate --candidate bad --out verdict --no-report"
    subprocess.run(f"({asked}; echo $? > code) {reader}", shell=True, capture_output=True, check=False)
    assert Path("code").read_text() == "1\n"
    assert json.loads(Path("verdict/verdict.json").read_text())["outcome"] == "fail"


def test_the_ledger_counts_the_gates_of_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    rules(FLAG)
    said: list[str] = []
    for ledger in ("gates.jsonl", "gates.jsonl", "off", "gates.jsonl", "other.jsonl"):
        gate("--candidate", "new" if len(said) % 2 else "bad", "--ledger", ledger, "--format", "json")
        said.append(json.loads(capsys.readouterr().out)["used"])
    assert said == [
        "This data has been used for 1 gate.", "This data has been used for 2 gates.", "",
        "This data has been used for 3 gates.", "This data has been used for 1 gate.",
    ]  # fmt: skip
    entries = [json.loads(line) for line in Path("gates.jsonl").read_text().splitlines()]
    assert [(entry["candidate"], entry["outcome"]) for entry in entries][:2] == [("bad", "fail"), ("new", "pass")]


def test_other_data_are_counted_apart(capsys: pytest.CaptureFixture[str]) -> None:
    rules(FLAG)
    gate("--candidate", "new", "--ledger", "gates.jsonl")
    table = pl.read_parquet("rows.parquet")[1:]
    Path("rows.parquet").unlink()
    table.write_parquet("rows.parquet")
    capsys.readouterr()
    gate("--candidate", "new", "--ledger", "gates.jsonl", "--format", "json")
    assert json.loads(capsys.readouterr().out)["used"] == "This data has been used for 1 gate."


# --- what is wrong ---


def wrong(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Runs what must be exit code 2 and returns its one sentence."""
    assert main(["gate", *arguments, "--quiet"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert "Traceback" not in printed.err
    return printed.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Name the candidate with --candidate: new, bad, same."),
        (["--candidate", "nwe"], '"nwe"'),
        (["--candidate", "new", "--baseline", "odl"], '"odl"'),
        (["--candidate", "same"], "have the same outputs on every row"),
        (["--candidate", "old"], "have the same outputs on every row"),
        (["--config", "none.yaml"], "There is no file none.yaml"),
        (["nowhere", "--candidate", "new"], "There is no file or folder nowhere."),
        (["--candidate", "new", "--ledger", "gate.yaml"], "The ledger of gates gate.yaml cannot be read"),
        (["--candidate", "new", "--ledger", "."], "The ledger of gates . cannot be read"),
        (["--candidate", "new", "--oops"], "No such option: --oops"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rules(FLAG)
    assert message in wrong(capsys, *arguments)


def test_without_a_file_of_rules_one_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Name the rules: --config FILE. There is no gate.yaml, evalkit.yaml here." in wrong(capsys)


def test_a_run_of_several_models_asks_for_the_candidate(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules(FLAG)
    assert "Name the candidate with --candidate: new, bad." in wrong(capsys, str(made / "run"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gate:\n",
        "label: y\n",
        "gate: {rules: []}\n",
        "gate: {rules: {}}\n",
        "gate:\n  rules: !!python/object/apply:os.system ['touch owned']\n",
        "gate:\n  rules:\n    - !!python/object/new:os.system ['touch owned']\n",
        "gate: &a\n  rules: *a\n",
        "gate:\n\trules: []\n",
        "gate: {rules: [{metric: accuracy, value: 1" + "0" * 400 + "}]}\n",
        "gate: {rules: [{metric: accuracy, value: 1, min_rows: 1e30}]}\n",
        "gate: {rules: [" + "[" * 200 + "]" * 200 + "]}\n",
    ],
    ids=range(12),
)
def test_a_file_that_holds_no_rules_is_refused_and_runs_nothing(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("gate.yaml").write_text(text)
    assert "gate.yaml" in wrong(capsys)
    assert not Path("owned").exists()


def test_a_thousand_rules_are_checked_in_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    rules(*(f"    - {{metric: accuracy, value: 0.{i:04d}, name: rule {i}}}\n" for i in range(1000)))
    assert main(["gate", "--check"]) == 0
    assert "1000 rules" in capsys.readouterr().err.replace(",", "")


# --- init and power ---


def test_rules_from_a_run_pass_that_run(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(made / "run")
    assert main(["gate", "init", "--from", run, "--model", "new"]) == 0
    assert "Written: gate.yaml." in capsys.readouterr().err
    assert gate(run, "--candidate", "new") == 0
    assert "accuracy on s=hurt is" in capsys.readouterr().out
    assert gate(run, "--candidate", "bad") == 1
    assert main(["gate", "init", "--from", run, "--model", "new"]) == 2
    assert "gate.yaml exists" in capsys.readouterr().err
    assert main(["gate", "init", "--from", run, "--model", "new", "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "RUN"], "Name one of the models with --model: old, new, bad."),
        (["--from", "RUN", "--model", "nwe"], '"nwe"'),
        (["--from", "RUN", "--model", "new", "--metric", "acuracy"], '"acuracy"'),
        (["--from", "RUN", "--model", "new", "--margin", "-1"], "--margin is at least 0, not -1."),
        (["--from", "RUN", "--model", "new", "--out", "."], ". is a folder; name a file"),
        (["--from", "nowhere"], "nowhere"),
    ],
)
def test_what_init_cannot_do(
    arguments: list[str], message: str, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in wrong(capsys, "init", *(str(made / "run") if a == "RUN" else a for a in arguments))
    assert not Path("gate.yaml").exists()


def test_power_replays_the_rules(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules(FLAG)
    asked = ["power", str(made / "run"), "--model", "old", "--replicates", "40", "--drop", "0.2", "--slice", "s=hurt"]
    assert gate(*asked, "--format", "json") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["rows"] == 300
    assert found["equal"]["outcomes"].get("fail", 0) <= 6
    assert found["worse"]["outcomes"]["fail"] == 40
    assert gate(*asked) == 0
    assert "would catch a drop of accuracy by 0.2 on s=hurt (300 rows) in 100.0%" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "old", "--replicates", "5"], "--replicates is at least 20, not 5."),
        (["--model", "old", "--churn", "2"], "churn is a share of rows between 0 and 1, not 2."),
        (["--model", "old", "--drop", "0"], "drop is a share of rows between 0 and 1, not 0."),
        (["--model", "old", "--slice", "s=hrt"], 'No slice "s=hrt" here. Did you mean "s=hurt"?'),
        ([], "Name one of the models with --model: old, new, bad."),
    ],
)
def test_what_power_cannot_do(
    arguments: list[str], message: str, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules(FLAG)
    assert message in wrong(capsys, "power", str(made / "run"), *arguments)


def test_the_command_runs_on_its_own() -> None:
    rules(BETTER)
    asked = [sys.executable, "-m", "evalkit", "gate", "--candidate", "bad", "--ledger", "off"]
    done = subprocess.run(asked, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode in (1, 3)
    assert done.stdout.startswith("bad against old is ")
    assert "Traceback" not in done.stderr


def test_results_refuse_flags_that_are_for_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    frame = pl.DataFrame({"y": [0, 1] * 40, "old": [0.2, 0.7, 0.6, 0.9] * 20, "new": [0.1, 0.7, 0.3, 0.9] * 20})
    frame.write_parquet(tmp_path / "both.parquet")
    words = ["evaluate", "both.parquet", "--label", "y", "--score", "old", "--score", "new", "--out", "both"]
    assert main([*words, "--no-report", "-q"]) == 0
    capsys.readouterr()
    assert main(["compare", "both", "--baseline", "old", "--metric", "roc_auc", "-q"]) == 2
    assert "leave out --metric" in capsys.readouterr().err
    assert main(["compare", "both", "--baseline", "old", "--out", "both", "--overwrite", "-q"]) == 2
    assert "holds the results that are compared" in capsys.readouterr().err
    assert main(["compare", "nosuch", "--baseline", "old", "-q"]) == 2
    assert "There is no file or folder nosuch." in capsys.readouterr().err


def test_a_bound_that_no_value_can_keep_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gate.yaml").write_text("gate:\n  rules:\n    - {metric: roc_auc, value: 1.5}\n")
    assert main(["gate", "--check", "gate.yaml"]) == 2
    assert "No roc_auc is at least 1.5: it lies in [0, 1]." in capsys.readouterr().err
