"""`evalkit fairness audit` as a user meets it."""

import json
import re
from pathlib import Path

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
