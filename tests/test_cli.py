"""The commands as a user meets them: exit codes, what is printed where, and what is written."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import typer

import evalkit as ek
from evalkit.cli import app, main
from evalkit.errors import InternalError, UserCodeError
from evalkit.exit_codes import guarded

DOCS = Path(__file__).resolve().parents[1] / "docs"
ROWS = 400


def frame(rows: int = ROWS) -> pl.DataFrame:
    random = np.random.default_rng(0)
    label = random.integers(0, 2, rows)
    return pl.DataFrame(
        {
            "y": label,
            "p": np.clip(random.normal(0.4 + 0.2 * label, 0.2), 0.01, 0.99).round(3),
            "q": random.uniform(0, 1, rows).round(3),
            "sex": random.choice(["female", "male"], rows),
            "race": random.choice(["black", "white"], rows),
            "age": random.integers(18, 80, rows),
            "w": random.uniform(0.5, 2, rows),
        }
    )


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def data(folder: Path) -> Path:
    path = folder / "data.parquet"
    frame().write_parquet(path)
    return path


def names() -> list[str]:
    """What is in the folder, hidden files too."""
    return sorted(path.name for path in Path().iterdir())


def evalkit(*arguments: str, **keywords: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "evalkit", *arguments], capture_output=True, text=True, **keywords)


ASKED = ("--label", "y", "--score", "p", "--metric", "roc_auc", "--metric", "accuracy@0.5")


# --- what is printed and written ---


def test_an_evaluation_prints_results_on_stdout_and_steps_on_stderr(data: Path) -> None:
    done = evalkit(
        "evaluate", data.name, *ASKED, "--slice", "sex", "--slice", "sex,race", "--out", "results", "--no-report"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("p  ")
    assert re.search(r"^roc_auc +0\.\d{4} +\[0\.\d{4}, 0\.\d{4}\] +400$", done.stdout, re.MULTILINE)
    assert "None of 6 slices differs from the rest" in done.stdout
    assert [line.split()[0] for line in done.stderr.splitlines()][:2] == ["reading", "slicing"]
    assert "Written to results: metrics.json, metrics.parquet, rows.parquet, run.json, sums/." in done.stderr
    assert ek.load("results")["roc_auc"].value > 0.6


def test_slices_that_differ_are_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = frame(2000).with_columns(p=pl.when(pl.col("sex") == "male").then("q").otherwise("p"))
    rows.write_parquet(folder / "data.parquet")
    assert main(["evaluate", "data.parquet", *ASKED, "--slice", "sex", "--quiet"]) == 0
    printed = capsys.readouterr()
    assert re.search(r"^sex=female +0\.\d+ +0\.\d+ +\+0\.\d+ \[0\.", printed.out, re.MULTILINE)
    assert printed.err == ""


def test_what_suppression_hides_is_counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame(1000).with_columns(rare=pl.int_range(pl.len()) < 3).write_parquet(folder / "data.parquet")
    assert main(["evaluate", "data.parquet", *ASKED, "--slice", "rare", "--suppress-below", "10", "--quiet"]) == 0
    assert "2 of 2 slices are suppressed." in capsys.readouterr().out


def test_json_is_the_whole_table(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", data.name, *ASKED, "--slice", "sex", "--format", "json"]) == 0
    records = json.loads(capsys.readouterr().out)
    expected = ek.evaluate(data, label="y", score="p", metrics=["roc_auc", "accuracy@0.5"], slices=["sex"]).to_polars()
    assert len(records) == 6
    assert list(records[0]) == expected.columns
    assert [record["value"] for record in records] == expected["value"].to_list()


def test_two_scores_are_two_models(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--label", "y", "--score", "p", "--score", "q", "--name", "good", "--name", "bad", "--metric", "roc_auc"]
    assert main(["evaluate", data.name, *given]) == 0
    header, line = capsys.readouterr().out.splitlines()
    assert header.split() == ["good", "bad"]
    assert len(re.findall(r"0\.\d{4} \[", line)) == 2


def test_flags_reach_the_evaluation(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [
        "--weight",
        "w",
        "--unit",
        "age",
        "--level",
        "0.9",
        "--bootstrap",
        "50",
        "--seed",
        "3",
        "--min-rows",
        "500",
    ]
    assert main(["evaluate", data.name, *ASKED, *given, "--format", "json", "--quiet"]) == 0
    first = json.loads(capsys.readouterr().out)[0]
    assert (first["level"], first["status"], first["method"]) == (0.9, "too_few_rows", "bootstrap")
    assert first["weight"] != first["rows"]


def test_settings_come_from_the_file_and_flags_override_them(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("evalkit.yaml").write_text(f"data: {data.name}\nlabel: y\nscore: q\nmetrics: [roc_auc]\nslices: [sex]\n")
    assert main(["evaluate", "--format", "json"]) == 0
    printed = capsys.readouterr()
    assert {record["model"] for record in json.loads(printed.out)} == {"q"}
    assert printed.err.startswith("Settings from evalkit.yaml\n")
    assert main(["evaluate", "--score", "p", "--slice", "race", "--format", "json"]) == 0
    overridden = json.loads(capsys.readouterr().out)
    assert {record["model"] for record in overridden} == {"p"}
    assert {record["slice"] for record in overridden} == {"overall", "race=black", "race=white"}


def test_every_format_of_data_gives_the_same_table(capsys: pytest.CaptureFixture[str]) -> None:
    rows = frame()
    rows.write_parquet("all.parquet")
    rows.write_csv("all.csv")
    rows.write_ipc("all.arrow")
    rows.write_ipc("all.feather", compression="zstd")
    rows.write_ndjson("all.ndjson")
    Path("parts").mkdir()
    rows.head(150).write_parquet("parts/part-1.parquet")
    rows.tail(-150).write_parquet("parts/part-2.parquet")
    tables = []
    several = ["parts/part-1.parquet", "parts/part-2.parquet"]
    for source in [
        ["all.parquet"],
        ["all.csv"],
        ["all.arrow"],
        ["all.feather"],
        ["all.ndjson"],
        ["parts/*.parquet"],
        several,
    ]:
        assert main(["evaluate", *source, *ASKED, "--slice", "sex", "--format", "json"]) == 0
        tables.append(json.loads(capsys.readouterr().out))
    assert all(table == tables[0] for table in tables)


def test_merged_parts_are_the_whole(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame().head(150).write_parquet("one.parquet")
    frame().tail(-150).write_parquet("two.parquet")
    for part in ("one", "two"):
        asked = ["evaluate", f"{part}.parquet", *ASKED, "--slice", "sex", "--out", part, "--no-report", "--quiet"]
        assert main(asked) == 0
    capsys.readouterr()
    assert main(["merge", "one", "two", "--out", "both", "--no-report", "--format", "json"]) == 0
    merged = json.loads(capsys.readouterr().out)
    whole = ek.evaluate(data, label="y", score="p", metrics=["roc_auc", "accuracy@0.5"], slices=["sex"]).to_polars()
    assert [row["value"] for row in merged] == pytest.approx(whole["value"].to_list(), rel=1e-12)
    assert sorted(path.name for path in Path("both").iterdir()) == [
        "metrics.json",
        "metrics.parquet",
        "run.json",
        "sums",
    ]
    assert main(["merge", "one", "./one", "--out", "twice"]) == 2


def test_a_report_is_written_with_the_results_and_from_them(data: Path) -> None:
    assert main(["evaluate", data.name, *ASKED, "--out", "results", "--report", "--quiet"]) == 0
    assert Path("results/report.html").stat().st_size > 10_000
    assert main(["report", "results", "--out", "other.html", "--quiet"]) == 0
    assert Path("other.html").stat().st_size > 10_000
    assert main(["report", "results", "--out", "other.html"]) == 2


def test_a_reader_that_goes_away_is_no_error(data: Path) -> None:
    asked = " ".join([sys.executable, "-m", "evalkit", "evaluate", data.name, *ASKED, "--format", "json", "--quiet"])
    done = subprocess.run(f"({asked}; echo $? >&2) | head -1", shell=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[\n", "0\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_exit_code_4(folder: Path) -> None:
    with Path("/dev/full").open("w") as full:
        asked = [sys.executable, "-m", "evalkit", "schema"]
        environment = {**os.environ, "TMPDIR": str(folder)}
        done = subprocess.run(asked, stdout=full, stderr=subprocess.PIPE, text=True, env=environment)
    assert done.returncode == 4
    assert done.stderr.startswith("error: The disk is full. The traceback is in ")
    assert done.stderr.count("\n") == 1


# --- what is wrong ---


def change(**columns: Any) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda rows: rows.with_columns(**columns)


def with_value(column: str, row: int, value: float) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return change(**{column: pl.when(pl.int_range(pl.len()) >= row).then(value).otherwise(column)})


WRONG: dict[str, tuple[Callable[[pl.DataFrame], pl.DataFrame] | None, list[str], str]] = {
    "a missing slice column": (None, ["--slice", "raec"], r'No column "raec".* Did you mean "race"\?'),
    "a missing score": (None, ["--score", "pp"], r'No column "pp"'),
    "labels of three values": (change(y=pl.int_range(pl.len()) % 3), [], r'Labels in "y" are not binary: 3 values'),
    "text labels": (change(y=pl.lit("no")), [], r"say which is positive"),
    "NaN scores": (with_value("p", 390, float("nan")), [], r'"p" has 10 NaN or infinite values, the first in row 390'),
    "infinite scores": (
        with_value("p", 399, float("inf")),
        [],
        r'"p" has 1 NaN or infinite values, the first in row 399',
    ),
    "no probabilities": (
        with_value("p", 7, 1.5),
        ["--metric", "log_loss"],
        r"393 scores outside \[0, 1\], the first in row 7",
    ),
    "negative weights": (
        with_value("w", 398, -1),
        ["--weight", "w"],
        r'"w" has 2 negative weights, the first in row 398',
    ),
    "no rows": (lambda rows: rows.head(0), [], r"holds no rows"),
    "a mistyped metric": (None, ["--metric", "roc_acu"], r'No metric "roc_acu"\. Did you mean "roc_auc"\?'),
    "a mistyped slice form": (None, ["--slice", "age=quantile(4)"], r'"age=quantile\(4\)" is not a slice'),
    "a mistyped value": (None, ["--slice", "sex=[femal]"], r'"sex" holds no "femal"\. Did you mean "female"\?'),
    "a mistyped flag": (None, ["--slcie", "sex"], r'No such option: --slcie\. Did you mean "--slice"\?'),
    "a level above 1": (None, ["--level", "95"], r"level must lie between 0 and 1"),
    "a level of text": (None, ["--level", "high"], r"'--level'"),
    "too few replicates": (None, ["--bootstrap", "5"], r"at least 20 replicates, not 5"),
    "a seed alone": (None, ["--seed", "5"], r"--seed is for a bootstrap"),
    "too many names": (None, ["--name", "a", "--name", "b"], r"--name is given 2 times for 1 models"),
    "negative min_rows": (None, ["--min-rows", "-1"], r"min_rows must be a whole number of at least 0"),
    "no such settings": (None, ["--config", "nothing.yaml"], r"There is no file nothing\.yaml"),
    "a task that is none": (None, ["--task", "ranking"], r"'--task'"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_said_in_one_sentence(wrong: str, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, arguments, message = WRONG[wrong]
    if spoil is not None:
        spoil(frame()).write_parquet(data)
    assert main(["evaluate", data.name, *ASKED, *arguments, "--out", "results", "--quiet"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(rf"error: .*{message}.*\n", printed.err)
    assert names() == [data.name]


def test_a_missing_file_is_wrong_usage(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "dta.parquet", *ASKED, "--quiet"]) == 2
    assert capsys.readouterr().err == f'error: There is no file dta.parquet. Did you mean "{data.name}"?\n'


@pytest.mark.parametrize("content", [b"", b"PAR1 but nothing more", b"\x00" * 100])
def test_corrupt_parquet_is_wrong_data(content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken.parquet").write_bytes(content)
    assert main(["evaluate", "broken.parquet", *ASKED, "--quiet", "--out", "results"]) == 2
    assert re.fullmatch(r"error: Cannot read broken\.parquet: .*\n", capsys.readouterr().err)
    assert names() == ["broken.parquet"]


@pytest.mark.parametrize(
    "arguments", [["evaluate"], ["evaluate", "data.parquet"], ["evaluate", "data.parquet", "--label", "y"]]
)
def test_what_must_be_named_is_asked_for(arguments: list[str], data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert data.exists()
    assert main([*arguments, "--quiet"]) == 2
    assert re.fullmatch(r"error: Name the (data|column of (labels|scores)).*\n", capsys.readouterr().err)


def test_a_column_of_too_many_values_says_what_to_do(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame(20_000).with_columns(distinct=pl.int_range(pl.len()) / 7).write_parquet(folder / "data.parquet")
    assert main(["evaluate", "data.parquet", *ASKED, "--slice", "distinct", "--quiet"]) == 2
    message = capsys.readouterr().err
    assert message.startswith('error: "distinct" has 20,000 distinct values, more than 10,000 slices: ')
    assert '"distinct=quantiles(4)"' in message
    assert main(["evaluate", "data.parquet", *ASKED, "--slice", "sex", "--max-slices", "1", "--quiet"]) == 2


def test_a_folder_that_exists_is_left_alone(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("results").mkdir()
    Path("results/mine.txt").write_text("precious")
    for given in ([], ["--overwrite"]):
        assert main(["evaluate", data.name, *ASKED, "--out", "results", "--quiet", *given]) == 2
        assert re.fullmatch(r"error: results (exists|holds something else).*\n", capsys.readouterr().err)
    assert Path("results/mine.txt").read_text() == "precious"


def test_a_folder_of_results_is_overwritten_if_asked(data: Path) -> None:
    asked = ["evaluate", data.name, *ASKED, "--out", "results", "--no-report", "--quiet"]
    assert [main(asked), main(asked), main([*asked, "--overwrite"])] == [0, 2, 0]


def test_a_mistyped_command_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evalute"]) == 2
    assert capsys.readouterr().err == "error: No such command 'evalute'. Did you mean 'evaluate'?\n"


# --- what fails ---


def raising(error: BaseException) -> Callable[[], None]:
    def job() -> None:
        raise error

    return job


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (RuntimeError("boom"), 4, "evalkit failed with RuntimeError: boom."),
        (
            InternalError("The disk is full; nothing was written to x."),
            4,
            "The disk is full; nothing was written to x.",
        ),
        (OSError(28, "No space left on device"), 4, "The disk is full."),
        (MemoryError(), 4, "evalkit failed with MemoryError."),
        (UserCodeError("Net failed to predict: shapes"), 5, "Net failed to predict: shapes."),
    ],
)
def test_a_failure_names_the_log_of_its_traceback(
    error: Exception,
    code: int,
    words: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    assert guarded(raising(error)) == code
    [log] = folder.glob("evalkit-*.log")
    assert capsys.readouterr().err == f"error: {words} The traceback is in {log}.\n"
    assert "in job\n    raise error" in log.read_text()


def test_an_interrupt_is_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("step", ["reading", "counting", "writing results"])
def test_ctrl_c_leaves_no_half_written_folder(step: str, folder: Path) -> None:
    frame(300_000).write_parquet(folder / "data.parquet")
    asked = [sys.executable, "-m", "evalkit", "evaluate", "data.parquet", *ASKED, "--slice", "sex", "--out", "results"]
    running = subprocess.Popen([*asked, "--no-report"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    for line in running.stderr:
        if line.startswith(step):
            break
    time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, messages = running.communicate(timeout=60)
    if not Path("results").exists():
        assert (running.returncode, messages.splitlines()[-1]) == (130, "interrupted")
        assert names() == ["data.parquet"]
    else:  # it was written before the signal came
        assert step == "writing results"
        assert len(ek.load("results")) == 6
        assert names() == ["data.parquet", "results"]


# --- the command line itself ---


def test_help_is_immediate() -> None:
    heavy = "jax|polars|pyarrow|pydantic|pandas|plotly|sklearn|scipy|numpy"
    program = (
        "import sys, evalkit.cli\ncode = evalkit.cli.main(['--help'])\n"
        "print(sorted(m for m in sys.modules if '.' not in m), file=sys.stderr)\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: evalkit [OPTIONS] COMMAND")
    assert re.search(f"'({heavy})'", done.stderr) is None


def test_without_a_command_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out.startswith("Usage: evalkit")
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"evalkit {ek.__version__}\n"


def commands() -> dict[str, Any]:
    """Every command by the words that call it; what a group does without a word counts as the group's own."""
    found: dict[str, Any] = {}
    for name, command in getattr(typer.main.get_command(app), "commands").items():  # noqa: B009 - a group's
        inner = getattr(command, "commands", {"decide": command})
        own = ("decide", "assess")
        found |= {name if word in own else f"{name} {word}": made for word, made in inner.items()}
    return found


def flags() -> list[tuple[str, str]]:
    return [
        (name, flag)
        for name, command in commands().items()
        for parameter in command.params
        for flag in (*parameter.opts, *parameter.secondary_opts)
        if flag.startswith("-")
    ]


@pytest.mark.parametrize(("command", "flag"), flags())
def test_every_flag_is_documented_with_its_command(command: str, flag: str) -> None:
    sections = re.split(r"^## `evalkit ([\w ]+)`$", (DOCS / "cli.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    section = dict(zip(sections[1::2], sections[2::2], strict=True))[command]
    assert f"`{flag}`" in section


def test_no_documented_flag_is_missing() -> None:
    documented = re.findall(r"^\| (`--?[^|]+) \|", (DOCS / "cli.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert {flag for cell in documented for flag in re.findall(r"`(--?[\w-]+)`", cell)} == {flag for _, flag in flags()}


@pytest.mark.slow
def test_the_demo_runs_and_runs_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--no-report"]) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith("Predicted: will a person's medical spending")
    assert printed.out.split()[:3] == ["baseline", "candidate", "year_one"]
    assert "age=[18, 35)" in printed.out
    assert "candidate saves" in printed.out
    assert "candidate against baseline passes the gate." in printed.out
    assert "year_one against baseline is blocked." in printed.out
    assert re.search(
        r"^Groups of candidate: of 35 gaps in 7 metrics \d+ are flagged and \d+ certified", printed.out, re.MULTILINE
    )
    assert re.search(
        r"^At the same score, candidate on cost: race=black has the label -?\+?0\.\d+ more", printed.out, re.MULTILINE
    )
    assert re.search(r"^At the same score, candidate on need: race=black has the label", printed.out, re.MULTILINE)
    assert ek.load(folder / "evalkit-demo").models == ["baseline", "candidate", "year_one"]
    assert ek.load(folder / "evalkit-demo" / "two-labels").models == ["candidate on cost", "candidate on need"]
    assert main(["report", "evalkit-demo", "--quiet"]) == 0
    page = (folder / "evalkit-demo" / "report.html").read_text(encoding="utf-8")
    parts = {name: page.partition(f' id="{name}"')[2].partition("</section>")[0] for name in ("fairness", "fairness-1")}
    assert ">Fairness<" in parts["fairness"]
    assert "gaps between groups" in parts["fairness"]
    assert ">The same score, two labels<" in parts["fairness-1"]
    assert parts["fairness-1"].count("<svg") == 2
    assert main(["demo", "--no-report", "--quiet", "--format", "json"]) == 0
    assert {row["model"] for row in json.loads(capsys.readouterr().out)} == {"candidate", "year_one"}
    assert main(["gate", "evalkit-demo", "--config", "evalkit-demo/gate.yaml", "--candidate", "candidate"]) == 0
    assert main(["gate", "evalkit-demo", "--config", "evalkit-demo/gate.yaml", "--candidate", "year_one"]) == 1
    assert "below the bound 0" in capsys.readouterr().out


def test_the_demo_leaves_a_folder_alone_that_is_not_its_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "evalkit-demo").mkdir()
    (folder / "evalkit-demo" / "thesis.tex").touch()
    assert main(["demo"]) == 2
    assert "holds something else than results" in capsys.readouterr().err
