"""A verdict's files, and what GitHub Actions is told."""

import errno
import os
from pathlib import Path

import pytest
from verdicts import every_outcome, failing, finding, rule, verdict

from evalkit.errors import InternalError, OutputError
from evalkit.gates import markdown, verdict_json
from evalkit.gates.write import in_repository, to_github, write

FILES = ("gl-code-quality-report.json", "junit.xml", "verdict.json", "verdict.md", "verdict.sarif")
LIMIT = 1_048_576


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_every_form_is_written_into_a_new_folder(tmp_path: Path) -> None:
    assert write(every_outcome(), tmp_path / "a" / "gate", {}) == FILES
    assert names(tmp_path / "a" / "gate") == list(FILES)
    read = verdict_json.read((tmp_path / "a" / "gate" / "verdict.json").read_text())
    assert read.sentence == every_outcome().sentence


def test_files_of_another_run_are_replaced_and_strangers_left_alone(tmp_path: Path) -> None:
    write(every_outcome(), tmp_path, {})
    (tmp_path / "mine.txt").write_text("mine")
    write(verdict(rule("pass", finding("pass"))), tmp_path, {})
    assert names(tmp_path) == sorted([*FILES, "mine.txt"])
    assert verdict_json.read((tmp_path / "verdict.json").read_text()).outcome == "pass"


def test_where_one_file_cannot_be_written_none_is(tmp_path: Path) -> None:
    (tmp_path / "junit.xml").mkdir()
    with pytest.raises(OutputError, match=r"junit\.xml is a folder, where a file belongs"):
        write(every_outcome(), tmp_path, {})
    assert names(tmp_path) == ["junit.xml"]


def test_a_folder_that_cannot_be_made_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"Cannot write the verdict into .*file/gate: Not a directory"):
        write(every_outcome(), tmp_path / "file" / "gate", {})
    assert names(tmp_path) == ["file"]


def test_where_a_file_cannot_be_moved_the_old_ones_are_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(every_outcome(), tmp_path, {})
    before = {name: (tmp_path / name).read_text() for name in FILES}
    move = Path.replace

    def fails_at_junit(self: Path, target: Path) -> Path:
        if self.name == "junit.xml" and target.parent == tmp_path:
            raise OSError(errno.EIO, "Input/output error")
        return move(self, target)

    monkeypatch.setattr(Path, "replace", fails_at_junit)
    with pytest.raises(OutputError, match="Input/output error"):
        write(verdict(rule("pass", finding("pass"))), tmp_path, {})
    assert {name: (tmp_path / name).read_text() for name in names(tmp_path)} == before


def test_a_full_disk_is_no_wrong_usage_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, _target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InternalError, match="The disk is full; nothing was written to"):
        write(every_outcome(), tmp_path / "a" / "gate", {})
    assert names(tmp_path) == []


def test_the_markdown_file_is_no_larger_than_a_summary_may_be(tmp_path: Path) -> None:
    write(failing(10_000), tmp_path, {})
    assert (tmp_path / "verdict.md").stat().st_size <= LIMIT


# --- where the rules are ---


def test_a_path_is_told_from_the_root_of_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path / "models")
    assert in_repository("gate.yaml", {"GITHUB_WORKSPACE": str(tmp_path)}) == "models/gate.yaml"
    assert in_repository(str(tmp_path / "gate.yaml"), {"CI_PROJECT_DIR": str(tmp_path)}) == "gate.yaml"
    assert in_repository("../gate.yaml", {"CI_PROJECT_DIR": str(tmp_path)}) == "gate.yaml"


def test_without_a_repository_a_path_is_told_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert in_repository("./a/gate.yaml", {}) == "a/gate.yaml"
    assert in_repository("/elsewhere/gate.yaml", {}) == "/elsewhere/gate.yaml"
    assert in_repository("", {}) == ""


# --- GitHub ---


def test_elsewhere_than_on_github_nothing_is_told() -> None:
    assert to_github(every_outcome(), {}) == []


def test_on_github_annotations_are_returned_with_paths_from_the_root(tmp_path: Path) -> None:
    what = verdict(rule("fail", finding()), file=str(tmp_path / "models" / "gate.yaml"))
    lines = to_github(what, {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(tmp_path)})
    assert lines[0].startswith("::error file=models/gate.yaml,line=12,")


def test_the_summary_follows_what_the_step_has_written(tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before")
    to_github(every_outcome(), {"GITHUB_STEP_SUMMARY": str(summary)})
    assert summary.read_text() == f"before\n\n{markdown.of(every_outcome())}\n"


def test_the_runner_need_not_have_made_the_summary(tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    to_github(every_outcome(), {"GITHUB_STEP_SUMMARY": str(summary)})
    assert summary.read_text() == f"{markdown.of(every_outcome())}\n"


@pytest.mark.parametrize("held", [0, 1, 500_000, LIMIT - 2_000])
def test_what_is_in_the_summary_counts_towards_its_limit(tmp_path: Path, held: int) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("x" * held)
    to_github(failing(10_000), {"GITHUB_STEP_SUMMARY": str(summary)})
    assert LIMIT - 500 < summary.stat().st_size <= LIMIT
    assert summary.read_text().endswith(" more rows are in the report, verdict.json.\n")


def test_a_full_summary_is_left_as_it_is(tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("x" * (LIMIT - 10))
    lines = to_github(every_outcome(), {"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_ACTIONS": "true"})
    assert summary.stat().st_size == LIMIT - 10
    assert lines


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_summary_on_a_full_disk_is_refused_in_a_sentence() -> None:
    with pytest.raises(OutputError, match=r"Cannot write the summary /dev/full .*: No space left on device"):
        to_github(every_outcome(), {"GITHUB_STEP_SUMMARY": "/dev/full"})


def test_a_summary_that_cannot_be_written_is_refused_in_a_sentence(tmp_path: Path) -> None:
    summary = tmp_path / "missing" / "summary.md"
    with pytest.raises(OutputError, match=r"Cannot write the summary .*GITHUB_STEP_SUMMARY names: No such file"):
        to_github(every_outcome(), {"GITHUB_STEP_SUMMARY": os.fspath(summary)})
