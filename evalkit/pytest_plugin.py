"""A gate as a test: `assert_gate(result, rules)` passes where the gate does, and says why where it does not.

    from evalkit.pytest_plugin import assert_gate

    def test_the_candidate_may_ship(result):
        assert_gate(result, "gate.yaml", baseline="old", candidate="new")

It is a fixture too: `def test_...(assert_gate)`. Verdicts stand in a section at the end of pytest's output, those that
pass too, so that a waiver is never silent; it is no Python warning, since suites that turn warnings into errors would
then fail by a rule that somebody was allowed to waive. They reach `--junitxml` as properties of their tests.

pytest imports this module whenever it starts, so it imports nothing but pytest: the gate comes when one is asserted.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from evalkit.gates.verdict import Verdict

PROPERTY = "evalkit gate"
WAIVED = "evalkit waiver"
_properties: list[list[tuple[str, object]]] = []


def assert_gate(result: Any, rules: Any, **options: Any) -> Verdict:
    """Returns the verdict of a gate that passes; fails the test, with the verdict as its message, where it does not.

    Insufficient evidence and a gate in which no rule was evaluated fail too, as on the command line.

    Args:
        result: what `ek.evaluate` or `ek.compare` returned.
        rules: a YAML file of rules, or the rules themselves.
        **options: as `ek.gate` takes them: `baseline`, `candidate`, `waivers`, ...

    Raises:
        UsageError: the rules are wrong, or ask for what the result does not hold.
    """
    __tracebackhide__ = True
    from evalkit.gate import gate

    return assert_verdict(gate(result, rules, **options))


def assert_verdict(verdict: Verdict) -> Verdict:
    """Returns a verdict that passes; fails the test, with the verdict as its message, where it does not."""
    __tracebackhide__ = True
    from evalkit.gates.text import of

    _record(verdict)
    if verdict.exit_code:
        pytest.fail(of(verdict), pytrace=False)
    return verdict


def _record(verdict: Verdict) -> None:
    """Hands the verdict to the test that runs, whose report carries it to the summary, from other processes too."""
    from evalkit.gates.entries import printable

    if not _properties:
        return
    _properties[-1].append((PROPERTY, printable(verdict.sentence)))
    for rule in verdict.waived:
        if rule.waiver is not None:
            _properties[-1].append((WAIVED, printable(f"{rule.name}: {rule.waiver.sentence}")))


@pytest.fixture(name="assert_gate")
def _assert_gate() -> Callable[..., Verdict]:
    """Fails the test unless the gate passes: `assert_gate(result, rules, baseline=..., candidate=...)`."""
    return assert_gate


@pytest.hookimpl(hookwrapper=True)  # not the newer `wrapper`, which a user's older pytest may not know
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, None, None]:
    """Notes which test runs."""
    _properties.append(item.user_properties)
    try:
        yield
    finally:
        _properties.pop()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Lists the verdicts, waivers in red."""
    told = list(_told(terminalreporter))
    if told:
        terminalreporter.section("evalkit gates")
    for test, name, said in told:
        waived = name == WAIVED
        terminalreporter.line(f"    {said}" if waived else f"{test}: {said}", red=waived, bold=waived)


def _told(terminalreporter: Any) -> Generator[tuple[str, str, str], None, None]:
    for reports in terminalreporter.stats.values():
        for report in reports:
            # Setup, call and teardown of a test share its properties; the last of them has them all.
            if getattr(report, "when", "") != "teardown":
                continue
            for name, said in report.user_properties:
                if name in (PROPERTY, WAIVED):
                    yield report.nodeid, name, str(said)
