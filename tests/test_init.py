"""`evalkit init`: the guesses, and that the settings it writes run."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from evalkit.cli import main
from evalkit.config import load, parse
from evalkit.guess import guess
from evalkit.init import sample, settings
from evalkit.yaml_text import scalar

ROWS = 300
RANDOM = np.random.default_rng(1)
SCORES = RANDOM.uniform(0, 1, ROWS)
LABELS = RANDOM.integers(0, 2, ROWS)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def frame(**columns: Any) -> pl.DataFrame:
    return pl.DataFrame({name: list(values) for name, values in columns.items()})


def clicks() -> pl.DataFrame:
    return frame(
        row_id=range(ROWS),
        user_id=[f"u{i % 40}" for i in range(ROWS)],
        clicked=LABELS,
        score=SCORES,
        weight=RANDOM.uniform(1, 2, ROWS),
        country=RANDOM.choice(["de", "no", "us"], ROWS),
        age=RANDOM.integers(18, 80, ROWS),
        comment=[f"text {i}" for i in range(ROWS)],
    )


def test_columns_are_known_by_name_and_values() -> None:
    found = guess(clicks())
    assert (found.label, found.scores, found.weight, found.unit, found.id) == (
        "clicked",
        ("score",),
        "weight",
        "user_id",
        "row_id",
    )
    assert (found.slices, found.binned, found.left) == (("country",), ("age",), ("comment",))
    assert (found.task, found.positive) == ("binary", None)


def test_unnamed_columns_are_known_by_their_values() -> None:
    found = guess(frame(a=LABELS, b=SCORES, c=1 - SCORES, d=RANDOM.normal(size=ROWS)))
    assert (found.label, found.scores, found.binned) == ("a", ("b", "c"), ("d",))


def test_numbers_to_predict_are_regression() -> None:
    found = guess(frame(target=RANDOM.normal(size=ROWS), prediction=RANDOM.normal(size=ROWS), p=SCORES))
    assert (found.task, found.label, found.predictions, found.scores) == ("regression", "target", ("prediction",), ())


def test_decisions_are_predictions() -> None:
    found = guess(frame(label=np.where(LABELS, "yes", "no"), pred=np.where(SCORES > 0.5, "yes", "no")))
    assert (found.label, found.positive, found.predictions) == ("label", "yes", ("pred",))


def test_the_rarer_of_two_unknown_labels_is_positive() -> None:
    assert guess(frame(outcome=["a"] * 7 + ["b"] * 3, score=SCORES[:10])).positive == "b"


def test_the_coarsest_unit_is_taken() -> None:
    found = guess(frame(y=LABELS, p=SCORES, person=[i // 2 for i in range(ROWS)], family=[i // 6 for i in range(ROWS)]))
    assert (found.unit, found.left) == ("family", ("person",))


@pytest.mark.parametrize("arguments", [[], ["--out", "settings/evalkit.yaml"]])
def test_what_is_written_runs(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    clicks().write_parquet("clicks.parquet")
    assert main(["init", "clicks.parquet", *arguments]) == 0
    assert re.search(r"^label +clicked$", capsys.readouterr().out, re.MULTILINE)
    file = arguments[1] if arguments else "evalkit.yaml"
    assert main(["evaluate", "--config", file, "--format", "json", "--quiet"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert {"overall", "country=no"} < {record["slice"] for record in records}


def test_odd_names_are_written_so_that_they_are_read() -> None:
    odd = frame(**{"y": LABELS, "p": SCORES, "a,b": LABELS + 1, "no": LABELS + 2, "x=(1": SCORES * 9, "12": LABELS + 3})
    config = parse(settings(guess(odd), "a: b.parquet"))
    assert config.data == "a: b.parquet"
    assert config.slices == [{"column": "a,b"}, "no", "12", {"column": "x=(1", "quantiles": 4}]


@pytest.mark.parametrize(
    "text", ["a", "no", "null", "1", "a: b", "a #b", "- a", "é", "a, b", "[a]", "*a", " a", "", 'q"q', "a\nb"]
)
def test_a_scalar_is_read_as_it_was(text: str) -> None:
    config = parse(f"slices: [[{scalar(text)}, other]]") if text.strip() == text and text.isalpha() else None
    assert parse(f"positive: {scalar(text)}").positive == text
    assert config is None or config.slices == [[text, "other"]]


def test_what_cannot_be_guessed_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    frame(a=RANDOM.normal(size=ROWS), b=["x"] * ROWS).write_csv("data.csv")
    assert main(["init", "data.csv"]) == 0
    assert "marked TODO" in capsys.readouterr().err
    assert load("evalkit.yaml").label is None
    assert Path("evalkit.yaml").read_text().count("# TODO") == 2


def test_a_file_is_not_overwritten_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    clicks().write_parquet("clicks.parquet")
    Path("evalkit.yaml").write_text("mine")
    assert main(["init", "clicks.parquet"]) == 2
    assert capsys.readouterr().err.startswith("error: evalkit.yaml exists")
    assert Path("evalkit.yaml").read_text() == "mine"
    assert main(["init", "clicks.parquet", "--overwrite", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["label"] == "clicked"
    assert sorted(path.name for path in Path().iterdir()) == ["clicks.parquet", "evalkit.yaml"]


@pytest.mark.parametrize("name", ["nothing.parquet", "broken.parquet", "empty.csv"])
def test_data_that_cannot_be_read_leave_nothing_written(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken.parquet").write_bytes(b"PAR1")
    Path("empty.csv").write_text("a,b\n")
    assert main(["init", name]) == 2
    assert re.fullmatch(r"error: .*\n", capsys.readouterr().err)
    assert not Path("evalkit.yaml").exists()


def test_large_data_are_looked_at_in_several_places() -> None:
    pl.DataFrame({"sorted": np.arange(500_000) // 250_000}).write_parquet("large.parquet")
    rows = sample("large.parquet")
    assert (rows.height, rows["sorted"].n_unique()) == (100_000, 2)


def test_the_commented_parts_hold_once_their_marks_are_taken_away(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scores = {"p_old": rng.random(200), "p_new": rng.random(200)}
    pl.DataFrame({"y": rng.integers(0, 2, 200), "sex": ["f", "m"] * 100, **scores}).write_parquet(
        tmp_path / "d.parquet"
    )
    assert main(["init", str(tmp_path / "d.parquet"), "--out", str(tmp_path / "evalkit.yaml"), "--quiet"]) == 0
    text = (tmp_path / "evalkit.yaml").read_text()
    decisions = re.sub(
        r"^# ?(?=compare:|costs:|fairness:|gate:|  )", "", text[text.index("# `evalkit compare`") :], flags=re.MULTILINE
    )
    config = parse(text[: text.index("# level:")] + decisions)
    assert config.compare is not None
    assert (config.compare.baseline, config.compare.candidates) == ("p_old", ["p_new"])
    assert config.gate is not None
    assert config.gate.metrics == ["roc_auc"]
    assert len(config.gate.rules) == 2
    assert config.costs is not None
    assert config.fairness is not None
    assert (config.fairness.protected, config.fairness.within) == (["sex"], 0.05)
