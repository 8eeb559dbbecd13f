"""A verdict as JUnit XML: a suite for the gate, a test case for each question.

A failure is `<failure>`: the model was shown to be bad. Insufficient evidence is `<error>`: the question could not be
decided; GitLab and Jenkins turn red by both and keep them apart. What may be left undecided, and what was waived, is
`<skipped>`. GitLab reads the text of these elements and Jenkins their message, so the sentence stands in both.

>>> from evalkit.gates.verdict import RuleOutcome, Verdict
>>> print(of(Verdict("new", None, (RuleOutcome("floor", "metric", "certify", "skipped", why="no baseline"),))))
<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="2" failures="0" errors="1" skipped="1" time="0">
  <testsuite name="evalkit gate" tests="2" failures="0" errors="1" skipped="1" time="0">
    <properties>
      <property name="candidate" value="new" />
...
"""

from __future__ import annotations

import xml.etree.ElementTree as ET

from evalkit.gates.entries import Entry, entries, printable
from evalkit.gates.verdict import Standing, Verdict

# GitLab reads files of up to 30 MB; a case takes up to some 1,500 bytes.
MOST_CASES = 10_000
_ELEMENTS: dict[Standing, str] = {
    "FAIL": "failure",
    "INSUFFICIENT": "error",
    "WAIVED": "skipped",
    "UNDECIDED": "skipped",
    "SKIPPED": "skipped",
}


def of(verdict: Verdict, most: int = MOST_CASES) -> str:
    """Returns a verdict as JUnit XML.

    Args:
        verdict: what the gate decided.
        most: how many test cases are written, worst first; a last one says how many were left out.
    """
    found = entries(verdict)
    root = ET.Element("testsuites")
    suite = ET.SubElement(root, "testsuite", name="evalkit gate")
    _properties(suite, verdict)
    for entry in found[:most]:
        _case(suite, entry, verdict.file)
    if verdict.outcome == "skipped":
        _nothing(suite, verdict)
    if len(found) > most:
        _more(suite, len(found) - most)
    for element in (root, suite):
        _count(element, suite)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _case(suite: ET.Element, entry: Entry, file: str) -> None:
    # Jenkins takes what precedes the last dot for a package; rules are often named after numbers.
    case = ET.SubElement(suite, "testcase", classname=f"gate.{_safe(entry.rule.name).replace('.', '_')}")
    case.set("name", _safe(entry.title))
    case.set("time", "0")
    if file:
        case.set("file", _safe(file))
    element, said = _ELEMENTS.get(entry.standing), _safe(entry.sentence)
    if element is not None:
        _told(case, element, entry.standing, said)
    ET.SubElement(case, "system-out").text = "\n".join([_safe(entry.headline), *_about(entry)])


def _told(case: ET.Element, element: str, standing: str, said: str) -> None:
    told = ET.SubElement(case, element, message=said)
    told.text = said
    if element != "skipped":
        told.set("type", standing.lower())


def _about(entry: Entry) -> list[str]:
    rule = entry.rule
    about = [f"claim: {rule.claim}"]
    about += [f"owner: {_safe(rule.owner)}"] if rule.owner else []
    about += [f"reason: {_safe(rule.reason)}"] if rule.reason else []
    if rule.waiver is not None and entry.standing != "WAIVED":
        about.append(_safe(rule.waiver.sentence))
    return about


def _properties(suite: ET.Element, verdict: Verdict) -> None:
    held = ET.SubElement(suite, "properties")
    said = {
        "candidate": verdict.candidate,
        "baseline": verdict.baseline or "",
        "outcome": verdict.outcome,
        "sentence": verdict.sentence,
        "source": verdict.source,
        "used": verdict.used,
        "notes": " ".join(verdict.notes),
    }
    for name, value in said.items():
        if value:
            ET.SubElement(held, "property", name=name, value=_safe(value))


def _nothing(suite: ET.Element, verdict: Verdict) -> None:
    """A gate in which nothing was evaluated is no green suite, without tests or with skipped ones."""
    case = ET.SubElement(suite, "testcase", classname="gate", name="a rule was evaluated", time="0")
    _told(case, "error", "insufficient", _safe(verdict.sentence))


def _more(suite: ET.Element, left: int) -> None:
    case = ET.SubElement(suite, "testcase", classname="gate", name="more in verdict.json", time="0")
    _told(case, "skipped", "", f"{left:,} more are in verdict.json.")


def _count(element: ET.Element, suite: ET.Element) -> None:
    cases = suite.findall("testcase")
    element.set("tests", str(len(cases)))
    for name, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(name, str(sum(case.find(kind) is not None for case in cases)))
    element.set("time", "0")


def _safe(text: str) -> str:
    """Writes out control characters: XML 1.0 forbids most of them, even escaped."""
    return printable(text)
