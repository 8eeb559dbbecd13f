"""`evalkit fairness` and `evalkit fairness audit` as a user meets them."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from evalkit.cli import main
from evalkit.fairness.audits.four_fifths import four_fifths
from evalkit.fairness.audits.local_law_144 import audit_rows

WHEN = ("--date", "2026-05-01", "--data-source", "all applicants of 2025")
PEOPLE = ("--sex", "sex", "--race", "race")
LAW = ("fairness", "audit", "people.csv", "--standard", "ll144", *PEOPLE, *WHEN)
RULE = ("fairness", "audit", "people.csv", "--standard", "four-fifths", *WHEN)


@pytest.fixture(autouse=True)
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pl.DataFrame:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    n = 900
    race = rng.choice(["asian", "black", "native", "white"], n, p=[0.2, 0.29, 0.01, 0.5])
    frame = pl.DataFrame(
        {
            "sex": rng.choice(["female", "male", "declined"], n, p=[0.45, 0.5, 0.05]),
            "race": race,
            "age": rng.choice(["40 and over", "under 40"], n),
            "score": rng.normal(np.where(race == "black", -0.9, 0.0), 1).round(2),
        }
    ).with_columns(hired=pl.col("score") >= 0.5)
    frame.write_csv("people.csv")
    return frame


def test_local_law_144_is_printed_and_written(people: pl.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [*LAW, "--selected", "hired", "--unknown", "declined", "--tool", "ranker", "--distributed", "2024-01-02"]
    asked += ["--exclude", "native", "--exclude-small", "--justification", "few people", "--out", "audit"]
    assert main(asked) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("Bias audit under Local Law 144 of ranker\n")
    assert re.search(r"^native +\d+ +\d+ +[\d.]+% +left out$", printed.out, re.MULTILINE)
    assert "Written to audit: audit.html, audit.json, audit.md, run.json." in printed.err
    expected = audit_rows(
        people, sex="sex", race="race", selected="hired", unknown=["declined"], tool="ranker", distributed="2024-01-02",
        exclude_small=True, justification="few people", date="2026-05-01", data_source="all applicants of 2025",
    )  # fmt: skip
    assert json.loads(Path("audit/audit.json").read_text()) == expected.to_dict()
    assert Path("audit/audit.md").read_text() == expected.audit.to_markdown(level=1)
    assert "<title>Bias audit under Local Law 144 of ranker</title>" in Path("audit/audit.html").read_text()


def test_scores_and_test_data_have_their_own_words(capsys: pytest.CaptureFixture[str]) -> None:
    asked = [*LAW, "--score", "score", "--data-kind", "test", "--explanation", "the tool is new", "--format", "json"]
    assert main([*asked, "--quiet"]) == 0
    printed = capsys.readouterr()
    data = json.loads(printed.out)
    assert (data["rate"], data["data_kind"], data["explanation"]) == ("scoring", "test", "the tool is new")
    assert printed.err == ""


def test_the_four_fifths_rule_takes_any_attributes(people: pl.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [*RULE, *PEOPLE, "--protected", "age", "--protected", "age, sex", "--score", "score", "--threshold", "0.5"]
    assert main([*asked, "--unknown", "declined", "--level", "0.9", "--least-share", "0", "--format", "json"]) == 0
    data = json.loads(capsys.readouterr().out)
    expected = four_fifths(
        people, protected=["sex", "race", ["sex", "race"], "age", ["age", "sex"]], selected="hired",
        unknown=["declined"], level=0.9, least_share=0, date="2026-05-01", data_source="all applicants of 2025",
    )  # fmt: skip
    assert data["groups"] == expected.groups.to_dicts()
    assert data["attributes"] == expected.attributes.to_dicts()


def test_a_finding_is_no_gate(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RULE, "--race", "race", "--selected", "hired"]) == 0
    assert "- race: black (ratio 0." in capsys.readouterr().out


def test_a_folder_is_replaced_only_if_asked_and_ours(capsys: pytest.CaptureFixture[str]) -> None:
    asked = [*RULE, "--race", "race", "--selected", "hired", "--out", "audit", "--quiet"]
    assert [main(asked), main(asked), main([*asked, "--overwrite"])] == [0, 2, 0]
    Path("mine").mkdir()
    Path("mine/thesis.tex").touch()
    assert main([*asked[:-2], "mine", "--overwrite"]) == 2
    assert "mine holds something else" in capsys.readouterr().err
    assert sorted(path.name for path in Path().iterdir()) == ["audit", "mine", "people.csv"]


def test_without_jinja_the_page_is_left_out_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    from evalkit.reports import part

    part._environment.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert main([*RULE, "--race", "race", "--selected", "hired", "--out", "audit"]) == 0
    part._environment.cache_clear()
    assert "No audit.html: pip install 'evalkit[reports]'." in capsys.readouterr().err
    assert not Path("audit/audit.html").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*LAW[:4], "ll144", "--sex", "sxe", "--race", "race", *WHEN, "--selected", "hired"), 'Did you mean "sex"?'),
        (LAW, "Say who was selected: --selected COLUMN, or scores with --score COLUMN."),
        ((*LAW, "--selected", "hired", "--score", "score"), "either --selected COLUMN or --score COLUMN, not both"),
        ((*LAW, "--selected", "hired", "--date", "1.5.26"), "date must be a date as YYYY-MM-DD, not '1.5.26'."),
        (
            (*LAW, "--selected", "hired", "--exclude", "asian", "--justification", "few"),
            "only less than 2% may be left",
        ),
        ((*LAW, "--selected", "hired", "--exclude", "native"), "need a justification"),
        ((*LAW, "--selected", "hired", "--protected", "age"), "--protected is of --standard four-fifths; leave it out"),
        ((*LAW, "--score", "score", "--threshold", "1"), "--threshold is of --standard four-fifths"),
        ((*RULE, "--sex", "sex", "--selected", "hired", "--exclude-small"), "--exclude-small is of --standard ll144"),
        (
            (*RULE[:4], "ll144", "--sex", "sex", *WHEN, "--selected", "hired"),
            "name both, --sex COLUMN and --race COLUMN.",
        ),
        ((*RULE, "--selected", "hired"), "Name who is protected"),
        ((*RULE, "--sex", "sex", "--score", "score"), "say from which score on, --threshold."),
        ((*RULE, "--sex", "sex", "--selected", "hired", "--threshold", "1"), "--threshold is for scores"),
        ((*RULE, "--sex", "sex", "--selected", "age"), "age must hold true and false, or 1 and 0; it holds"),
        ((*RULE[:2], "none.csv", *RULE[3:], "--sex", "sex", "--selected", "hired"), "There is no file none.csv."),
        ((*RULE[:4], "five-sixths", *WHEN), "is not one of 'll144', 'four-fifths'"),
        (("fairness", "audti"), "No such command 'audti'. Did you mean 'audit'?"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet = ["--quiet"] if len(arguments) > 2 else []
    assert main([*arguments, *quiet, *(["--out", "audit"] if quiet else [])]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert words in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert not Path("audit").exists()


# --- the assessment ---

ASSESS = ("fairness", "people.csv", "--label", "good", "--prediction", "hired", "--protected", "race")
SMALL = (*ASSESS, "--metric", "recall", "--metric", "positive_prediction_rate", "--no-criteria", "--no-report")


@pytest.fixture
def assessed(people: pl.DataFrame) -> pl.DataFrame:
    """With labels, a risk of being good, a group's probability and an unknown group."""
    rng = np.random.default_rng(1)
    rows = people.with_columns(
        good=pl.Series(rng.integers(0, 2, people.height)),
        other=pl.Series(rng.integers(0, 2, people.height)),
        risk=pl.Series(rng.random(people.height).round(2)),
        surely=(pl.col("sex") == "female").cast(pl.Float64),
        race=pl.when(pl.int_range(pl.len()) % 50 == 0).then(None).otherwise("race"),
        hired=pl.col("hired").cast(pl.Int8),
    ).with_columns(not_surely=1 - pl.col("surely"))
    rows.write_csv("people.csv")
    return rows


def test_groups_are_compared_and_printed(assessed: pl.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--within", "0.6", "--reference", "race=white", "--quiet"]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0].split() == ["across", "metric", "lowest", "highest", "gap", "q", "finding"]
    from evalkit.fairness.assessment import assess

    asked: dict[str, Any] = {
        "metrics": ["recall", "positive_prediction_rate"],
        "within": 0.6,
        "reference": {"race": "white"},
    }
    expected = assess(assessed, label="good", prediction="hired", protected=["race"], criteria=False, **asked)
    for line, row in zip(lines[1:3], expected.gaps.iter_rows(named=True), strict=True):
        assert line.startswith("race")
        for words in (row["metric"], row["lowest"], row["highest"], f"{row['value']:.4f} [", row["finding"]):
            assert words in line
    assert "Groups shown to differ from their reference (p < 0.05, adjusted for its attribute's groups):" in lines
    assert re.search(
        r"^race=black +recall +0\.\d+ +0\.\d+ race=white +-0\.\d+ \[-.*\] +\S+$", printed.out, re.MULTILINE
    )
    assert lines[-1] == "Too few rows for a claim in one metric or more: race=native."
    assert "nan" not in printed.out
    assert printed.err == ""


@pytest.mark.usefixtures("assessed")
def test_groups_that_are_alike_are_not_shown_to_differ(capsys: pytest.CaptureFixture[str]) -> None:
    asked = [*ASSESS[:-1], "sex", "--metric", "recall", "--no-criteria", "--rates", "miettinen-nurminen", "--quiet"]
    assert main(asked) == 0
    assert "\nNo groups are shown to differ from their reference (p < 0.05" in capsys.readouterr().out


@pytest.mark.usefixtures("assessed")
def test_json_is_the_assessments(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--format", "json", "--control", "sex", "--pool-below", "30", "--min-rows", "20", "--permutations", "19"]
    assert main([*SMALL, *asked, "--level", "0.9"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {row["slice"] for row in told["gaps"]} == {"sex=declined", "sex=female", "sex=male"}
    assert {row["test"] for row in told["gaps"] if row["status"] == "ok"} == {"permutation"}
    assert {row["level"] for row in told["gaps"]} == {0.9}
    assert {row["slice"].split(", ")[1] for row in told["groups"]} >= {"race=black", "race=white", "race=null"}
    assert {row["levels"] for row in told["conditional"]} <= {0, 1, 2, 3}


@pytest.mark.usefixtures("assessed")
def test_files_are_written_and_the_report_can_be_made_again(capsys: pytest.CaptureFixture[str]) -> None:
    asked = [*ASSESS, "--metric", "recall", "--within", "0.5", "--pool-below", "20", "--out", "found"]
    assert [main(asked), main(asked), main([*asked, "--overwrite"])] == [0, 2, 0]
    assert "found exists" in capsys.readouterr().err
    folder = Path("found")
    run = json.loads((folder / "run.json").read_text())
    assert run["command"] == "fairness"
    assert {"fairness.parquet", "fairness.json", "fairness.md", "report.html"} <= set(run["files"])
    assert set(run["files"]) == {path.name for path in folder.iterdir()}
    table = pl.read_parquet(folder / "fairness.parquet")
    assert table.filter(metric="recall_difference@across=race")["value"].is_finite().all()
    told = json.loads((folder / "fairness.json").read_text())
    assert told["gaps"][0]["within"] == 0.5
    assert (folder / "fairness.md").read_text().startswith("## Fairness\n")
    before = (folder / "report.html").read_text()
    assert main(["report", "found", "--quiet"]) == 0
    part = r"<section[^>]* id=\"fairness\".*?</section>"
    first, again = (re.findall(part, page, re.DOTALL) for page in (before, (folder / "report.html").read_text()))
    assert len(first) == 1
    assert first == again


@pytest.mark.usefixtures("assessed")
def test_settings_can_stand_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("evalkit.yaml").write_text(
        "data: people.csv\nlabel: good\nprediction: hired\nfairness:\n  protected: [race, [sex, race]]\n"
        "  metrics: [recall]\n  within: {recall: 0.4}\n  min_rows: 25\n  criteria: false\n"
    )
    assert main(["fairness", "--format", "json", "--quiet"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {row["across"] for row in told["gaps"]} == {"race", "sex,race"}
    assert (told["asked"]["min_rows"], told["asked"]["within"]) == (25, {"recall": 0.4})
    assert main(["fairness", "--format", "json", "--quiet", "--protected", "sex", "--min-rows", "40"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert ({row["across"] for row in told["gaps"]}, told["asked"]["min_rows"]) == ({"sex"}, 40)


@pytest.mark.usefixtures("assessed")
def test_two_labels_and_two_models_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["fairness", "people.csv", "--protected", "race", "--no-criteria", "--metric", "recall", "--quiet"]
    assert main([*asked, "--labels", "one=good", "--labels", "two=other", "--prediction", "hired"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["model", "across"]
    assert [line.split("  ")[0] for line in lines[1:3]] == ["hired on one", "hired on two"]
    assert main([*asked, "--label", "good", "--prediction", "hired", "--prediction", "other", "--format", "json"]) == 0
    assert {row["model"] for row in json.loads(capsys.readouterr().out)["gaps"]} == {"hired", "other"}


def test_groups_known_as_probabilities(assessed: pl.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--membership", "gender=female:surely,male:not_surely", "--metric", "recall", "--no-criteria"]
    assert main([*ASSESS[:-2], *asked, "--format", "json", "--quiet", "--out", "found", "--no-report"]) == 0
    told = json.loads(capsys.readouterr().out)
    female = next(row for row in told["groups"] if row["slice"] == "gender=female")
    women = assessed.filter(sex="female", good=1)
    assert female["value"] == pytest.approx(women["hired"].mean())
    assert main(["report", "found", "--quiet"]) == 0
    assert "gender=female" in Path("found/report.html").read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("assessed")
def test_a_mitigated_model_stands_beside_the_original(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["fairness", "people.csv", "--label", "good", "--score", "risk", "--protected", "sex", "--no-criteria"]
    asked += ["--where", "sex <> 'declined'", "--mitigate", "demographic_parity", "--out", "found"]
    assert main(asked) == 0
    printed = capsys.readouterr()
    assert "Mitigated by fairlearn's threshold_optimizer under demographic_parity across sex" in printed.err
    assert "mitigated" in printed.out
    assert main(["report", "found", "--quiet"]) == 0
    assert "fairness" in json.loads(Path("found/run.json").read_text())


@pytest.mark.usefixtures("assessed")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*ASSESS[:2], "--label", "good", "--prediction", "hired"), "Name the protected attributes: --protected"),
        (("fairness", "--protected", "race"), "Name the data: `evalkit fairness data.parquet"),
        (("fairness", "people.csv", "--protected", "race", "--score", "risk"), "Name the column of labels: --label"),
        ((*ASSESS[:4], "--protected", "race"), "Name the column of scores (--score COLUMN)"),
        ((*ASSESS[:-1], "rcae"), 'Did you mean "race"?'),
        ((*ASSESS, "--reference", "larges"), 'Did you mean "largest"?'),
        ((*ASSESS, "--reference", "race=green"), 'No group "race=green" to compare with.'),
        ((*ASSESS, "--reference", "rcae=white"), 'reference names "rcae", which is no protected attribute.'),
        ((*ASSESS, "--metric", "recal"), 'Did you mean "recall"?'),
        ((*ASSESS, "--within", "-1"), '--within takes a number above 0, or METRIC=NUMBER, not "-1".'),
        ((*ASSESS, "--within", "a=b"), '--within takes a number above 0, or METRIC=NUMBER, not "a=b".'),
        ((*ASSESS, "--within", "0.1", "--within", "recall=1"), "--within takes one number for every metric"),
        ((*ASSESS, "--within", "f1=0.1"), 'within names "f1", which is not among the metrics'),
        ((*ASSESS, "--min-rows", "-1"), "--min-rows is at least 0, not -1."),
        ((*ASSESS, "--level", "95"), "level"),
        ((*ASSESS, "--membership", "race"), '--membership takes ATTRIBUTE=GROUP:COLUMN,GROUP:COLUMN, not "race".'),
        ((*ASSESS, "--membership", "g=a:surely"), 'Membership of "g" needs a column for each of two groups'),
        ((*ASSESS, "--mitigate", "equalized_odds"), "--mitigate takes one model's --score and one --label"),
        ((*ASSESS, "--mitigate", "odds"), "is not one of 'demographic_parity'"),
        ((*ASSESS, "--control", "sxe"), 'Did you mean "sex"?'),
        ((*ASSESS[:-1], "race,race"), "race"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_assessment_is_said_in_one_sentence(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--no-criteria", "--quiet", "--out", "found"]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert words in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert not Path("found").exists()


@pytest.mark.usefixtures("assessed")
def test_a_mistake_in_the_settings_file_is_told_with_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    for number, line in ((5, "  protected: [age=edges(]"), (6, "  rates: newcomb"), (6, "  within: -1")):
        text = "data: people.csv\nlabel: good\nprediction: hired\nfairness:\n"
        Path("evalkit.yaml").write_text(text + ("" if number == 5 else "  protected: race\n") + f"{line}\n")
        assert main(["fairness", "--quiet"]) == 2
        printed = capsys.readouterr().err
        assert printed.startswith(f"error: evalkit.yaml:{number}:"), printed
        assert printed.count("\n") == 1
