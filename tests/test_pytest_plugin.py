"""`assert_gate` in a user's tests: what it fails with, what the summary says, and that it costs nothing to have."""

import importlib.metadata
import importlib.util
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

HEAVY = {"jax", "numpy", "polars", "pyarrow", "pydantic", "rich", "scipy", "typer", "yaml"}
TESTS = """
from evalkit.gates.verdict import Finding, RuleOutcome, Verdict, Waiver
from evalkit.pytest_plugin import assert_verdict

def verdict(outcome, **changes):
    decided = {"insufficient": "insufficient", "fail": "fail"}.get(outcome, "pass")
    finding = Finding("recall", "value", "recall", "overall", (), value=0.6, bound=0.65, outcome=decided)
    return Verdict("new", "old", (RuleOutcome("floor", "metric", "certify", outcome, (finding,), **changes),))

WAIVER = Waiver("floor", "head of risk", "seasonal dip", "2027-01-31")
"""


def installed() -> bool:
    """Whether pytest finds the plugin by itself."""
    found = importlib.metadata.entry_points(group="pytest11", name="evalkit")
    return any(each.value == "evalkit.pytest_plugin" for each in found)


def run(pytester: pytest.Pytester, body: str, *arguments: str) -> pytest.RunResult:
    """Runs a user's tests in a process of their own, warnings being errors."""
    pytester.makepyfile(TESTS + body)
    plugin = [] if installed() else ["-p", "evalkit.pytest_plugin"]
    quiet = ("-p", "no:randomly", "-p", "no:cacheprovider", "-W", "error")
    return pytester.runpytest_subprocess(*plugin, *quiet, *arguments)


def test_a_gate_that_passes_passes_and_is_listed(pytester: pytest.Pytester) -> None:
    done = run(pytester, "def test_ships():\n    assert assert_verdict(verdict('pass')).outcome == 'pass'\n")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["*= evalkit gates =*", "*::test_ships: new against old passes the gate."])


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ("fail", "new against old is blocked."),
        ("insufficient", "new against old is not decided: insufficient evidence."),
        ("skipped", "new against old is not decided: no rule was evaluated."),
    ],
)
def test_a_gate_that_does_not_pass_fails_with_the_verdict(pytester: pytest.Pytester, outcome: str, said: str) -> None:
    done = run(pytester, f"def test_ships():\n    assert_verdict(verdict('{outcome}'))\n")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines([said, "outcome *rule *claim *finding", "* floor *certify *recall is 0.6000*"])
    assert done.stdout.str().count(said) >= 2  # the failure, and the section of gates; in CI pytest repeats the first


def test_a_failure_shows_no_traceback(pytester: pytest.Pytester) -> None:
    done = run(pytester, "def test_ships():\n    assert_verdict(verdict('fail'))\n")
    done.stdout.no_fnmatch_line("*assert_verdict(verdict*")
    done.stdout.no_fnmatch_line("*pytest_plugin.py*")


def test_a_waiver_lets_the_test_pass_and_is_red_in_the_summary(pytester: pytest.Pytester) -> None:
    body = "def test_ships():\n    assert_verdict(verdict('fail', waiver=WAIVER))\n"
    done = run(pytester, body, "--color=yes")
    said = "floor: WAIVED by head of risk until 2027-01-31: seasonal dip"
    assert f"\x1b[31m\x1b[1m    {said}\x1b[0m" in done.stdout.str()
    assert done.ret == 0


def test_a_verdict_in_a_fixture_of_many_tests_is_listed_once(pytester: pytest.Pytester) -> None:
    done = run(
        pytester,
        "import pytest\n"
        "@pytest.fixture(scope='module')\ndef gated():\n    return assert_verdict(verdict('pass'))\n"
        "def test_a(gated):\n    pass\n"
        "def test_b(gated):\n    pass\n",
    )
    assert done.stdout.str().count("new against old passes the gate.") == 1


def test_verdicts_of_other_processes_are_listed(pytester: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    body = "".join(f"def test_{n}():\n    assert_verdict(verdict('pass'))\n" for n in range(3))
    done = run(pytester, body, "-n", "2")
    assert done.stdout.str().count("new against old passes the gate.") == 3


def test_a_junit_report_holds_the_verdict(pytester: pytest.Pytester) -> None:
    body = "def test_ships():\n    assert_verdict(verdict('fail', waiver=WAIVER))\n"
    run(pytester, body, "--junitxml=report.xml", "-o", "junit_family=xunit1")
    properties = {e.get("name"): e.get("value") for e in ET.parse(pytester.path / "report.xml").iter("property")}
    assert properties == {
        "evalkit gate": "new against old passes the gate, with 1 rule waived.",
        "evalkit waiver": "floor: WAIVED by head of risk until 2027-01-31: seasonal dip",
    }


def test_without_gates_the_summary_has_no_section(pytester: pytest.Pytester) -> None:
    done = run(pytester, "def test_nothing():\n    pass\n")
    done.assert_outcomes(passed=1)
    done.stdout.no_fnmatch_line("*evalkit gates*")


def test_the_fixture_is_the_function(pytester: pytest.Pytester) -> None:
    done = run(
        pytester,
        "import evalkit.pytest_plugin\n"
        "def test_same(assert_gate):\n    assert assert_gate is evalkit.pytest_plugin.assert_gate\n",
    )
    done.assert_outcomes(passed=1)


def test_a_session_that_gates_nothing_imports_nothing_more(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import json, pathlib, sys\n"
        "def test_modules():\n    pathlib.Path('modules.json').write_text(json.dumps(sorted(sys.modules)))\n"
    )
    modules = {}
    for name in ("no:evalkit", "evalkit" if installed() else "evalkit.pytest_plugin"):
        pytester.runpytest_subprocess("-p", name, "-p", "no:cacheprovider").assert_outcomes(passed=1)
        modules[name] = set(json.loads((pytester.path / "modules.json").read_text()))
    without, having = modules.values()
    assert having - without == {"evalkit", "evalkit.pytest_plugin"}


def test_the_plugin_imports_nothing_but_pytest_and_the_empty_package() -> None:
    program = (
        "import json, pytest, sys; before = set(sys.modules); import evalkit.pytest_plugin; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    added = set(json.loads(done.stdout))
    assert {name for name in added if name.startswith("evalkit")} == {"evalkit", "evalkit.pytest_plugin"}
    assert added & HEAVY == set()


@pytest.mark.skipif(importlib.util.find_spec("evalkit.gate") is None, reason="the gate itself is not there yet")
@pytest.mark.slow
def test_a_result_is_gated_by_a_file_of_rules(pytester: pytest.Pytester, tmp_path: Path) -> None:
    rules = tmp_path / "gate.yaml"
    rules.write_text("gate:\n  rules:\n    - {name: floor, metric: accuracy, slices: overall, value: {min: 0.65}}\n")
    done = run(
        pytester,
        "import evalkit as ek\nimport pytest\n"
        "from evalkit.errors import UsageError\n"
        f"RULES = {str(rules)!r}\n"
        "y = [0, 1] * 300\n"
        "def result(right):\n"
        "    p = [v if number < right else 1 - v for number, v in enumerate(y)]\n"
        "    return ek.evaluate({'y': y, 'p': p}, label='y', prediction='p', metrics=['accuracy'], task='binary')\n"
        "def test_good(assert_gate):\n    assert assert_gate(result(550), RULES).outcome == 'pass'\n"
        "def test_bad(assert_gate):\n    assert_gate(result(300), RULES)\n"
        "def test_missing(assert_gate):\n"
        "    with pytest.raises(UsageError):\n        assert_gate(result(300), 'missing.yaml')\n",
    )
    done.assert_outcomes(passed=2, failed=1)
    done.stdout.fnmatch_lines(["FAIL *floor *certify *accuracy*is 0.5000 [[]*[]], below the bound 0.65"])
