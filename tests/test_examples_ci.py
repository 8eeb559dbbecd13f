"""The workflows in examples/ci are valid, run what run.sh runs, and run.sh ends as it should."""

import json
import os
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml

from evalkit.compilation import cache_folder

ROOT = Path(__file__).resolve().parents[1]
CI = ROOT / "examples" / "ci"
OUTCOMES = {"pass": 0, "blocked": 1, "insufficient": 3, "nothing-evaluated": 3}
SCRIPT = (CI / "run.sh").read_text(encoding="utf-8")


def parsed(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def github() -> dict[Any, Any]:
    return dict(parsed(CI / "github" / "evaluation-gate.yml"))


def gitlab() -> dict[str, Any]:
    return dict(parsed(CI / "gitlab" / ".gitlab-ci.yml")["evaluation-gate"])


def github_commands() -> list[str]:
    return [step["run"] for step in github()["jobs"]["gate"]["steps"] if "run" in step]


@pytest.mark.parametrize("commands", [github_commands(), gitlab()["script"]], ids=["github", "gitlab"])
def test_a_workflow_runs_what_the_script_runs(commands: list[str]) -> None:
    ours = [command for command in commands if command.startswith("evalkit ")]
    assert [command.split()[1] for command in ours] == ["gate", "evaluate", "gate"]
    script = [line.strip() for line in SCRIPT.splitlines()]
    assert all(command in script for command in ours)
    assert "python predictions.py predictions.parquet" in commands
    assert 'python "$here/predictions.py" predictions.parquet --like "$2"' in script


def test_githubs_workflow_keeps_the_verdict_whatever_it_is() -> None:
    workflow = github()
    assert workflow[True].keys() == {"pull_request", "workflow_dispatch"}  # YAML 1.1 reads `on` as a truth value
    assert workflow["permissions"] == {"contents": "read"}
    last = workflow["jobs"]["gate"]["steps"][-1]
    assert last["if"] == "always()"
    assert last["uses"].startswith("actions/upload-artifact@")
    assert last["with"]["path"].split() == ["gate/", "run/"]


def test_gitlabs_job_reports_files_that_the_gate_writes() -> None:
    artifacts = gitlab()["artifacts"]
    assert artifacts["when"] == "always"
    assert artifacts["reports"] == {"junit": "gate/junit.xml", "codequality": "gate/gl-code-quality-report.json"}


def test_the_pre_commit_hook_finds_rules_and_only_checks_them() -> None:
    [hook] = parsed(ROOT / ".pre-commit-hooks.yaml")
    assert (hook["id"], hook["language"]) == ("evalkit-gate-check", "python")
    assert shlex.split(hook["entry"]) == ["evalkit", "gate", "--check"]
    files = ["gate.yaml", "models/evalkit.yml", "evalkit.yaml", "investigate.yaml", "gate.yaml.bak", "gate.json"]
    assert [file for file in files if re.search(hook["files"], file)] == files[:3]


def test_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (CI / "README.md").read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (CI / link).exists()] == []


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """run.sh, run once, and where its results are."""
    work = tmp_path_factory.mktemp("ci")
    commands = Path(sys.executable).parent
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("GITHUB_", "CI_"))}
    environment["PATH"] = f"{commands}{os.pathsep}{os.environ['PATH']}"
    environment["EVALKIT_CACHE"] = str(cache_folder() or "off")
    environment["XDG_CACHE_HOME"] = str(work / "cache")  # or the gates would count in the developer's own ledger
    return work, subprocess.run(
        ["sh", str(CI / "run.sh"), str(work)], capture_output=True, text=True, env=environment, cwd=work
    )


@pytest.mark.slow
def test_every_outcome_ends_as_expected(done: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    _, process = done
    assert process.returncode == 0, process.stdout + process.stderr
    codes = [int(code) for code in re.findall(r"-> \w+: exit code (\d)", process.stdout)]
    assert codes == [0, 0, 0, 0, 1, 0, 3, 0, 3, 2, 0, 2]


@pytest.mark.slow
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_the_files_say_what_the_exit_code_says(
    done: tuple[Path, subprocess.CompletedProcess[str]], outcome: str
) -> None:
    work, _ = done
    folder = work / outcome / "gate"
    verdict = json.loads((folder / "verdict.json").read_text())
    assert verdict["exit_code"] == OUTCOMES[outcome]
    red = [each.tag for each in ET.parse(folder / "junit.xml").iter() if each.tag in ("failure", "error")]
    severities = {each["severity"] for each in json.loads((folder / "gl-code-quality-report.json").read_text())}
    assert bool(red) == bool(verdict["exit_code"])
    assert bool(severities & {"blocker", "critical"}) == (outcome in ("blocked", "insufficient"))
    [printed] = (work / outcome).glob("gate*.txt")
    assert verdict["sentence"] in printed.read_text()


@pytest.mark.slow
def test_the_blocked_candidate_is_told_where_it_is_worse(
    done: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    work, _ = done
    assert re.search(r"accuracy on race=black .*below the bound 0", (work / "blocked" / "gate.txt").read_text())
