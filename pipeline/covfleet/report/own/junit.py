"""JUnit XML in the dialect of pytest's own ``--junitxml``, which Jenkins and others read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from covfleet.model import TestOutcome

_KEPT_CHARS = 32_768
_ILLEGAL = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 forbids (section 2.2): control characters, surrogates, U+FFFE and U+FFFF."""


def write_junit(outcomes: Sequence[TestOutcome], path: Path) -> None:
    """Write the outcomes to ``path``, in the given order.

    Failed tests are failures; broken set-ups, crashed and timed-out tests are errors; expected failures are
    skipped, as in pytest. Output beyond 32,768 characters per test is cut in the middle, with a note.
    """
    kinds = [_kind(outcome) for outcome in outcomes]
    suite = ET.Element(
        "testsuite",
        name="covfleet",
        tests=str(len(outcomes)),
        failures=str(kinds.count("failure")),
        errors=str(kinds.count("error")),
        skipped=str(kinds.count("skipped")),
        time=f"{sum(outcome.duration_s for outcome in outcomes):.3f}",
    )
    suite.extend(_case(outcome) for outcome in outcomes)
    root = ET.Element("testsuites", name="covfleet")
    root.append(suite)
    ET.indent(root)
    ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _kind(outcome: TestOutcome) -> str:
    match outcome.outcome:
        case "passed" | "xpassed":
            return ""
        case "failed":
            return "failure"
        case "skipped" | "xfailed":
            return "skipped"
        case "error" | "crashed" | "timeout":
            return "error"


def _case(outcome: TestOutcome) -> ET.Element:
    classname, name = _names(outcome.id)
    case = ET.Element(
        "testcase", classname=_legal(classname), name=_legal(name), time=f"{outcome.duration_s:.3f}"
    )
    kind = _kind(outcome)
    if kind:
        detail = ET.SubElement(case, kind, message=_legal(outcome.message or outcome.outcome))
        detail.text = _legal(_shortened(outcome.output)) or None
        if kind == "skipped":
            detail.set("type", "pytest.xfail" if outcome.outcome == "xfailed" else "pytest.skip")
        elif outcome.outcome in ("crashed", "timeout"):
            detail.set("type", outcome.outcome)
    return case


def _names(test: str) -> tuple[str, str]:
    """Return class name and name of a test id like ``mangle_test_address`` in pytest's junitxml."""
    address, bracket, parameters = test.partition("[")
    path, *rest = address.split("::")
    names = [re.sub(r"\.py$", "", path.replace("/", ".")), *rest]
    return ".".join(names[:-1]), names[-1] + bracket + parameters


def _shortened(output: str) -> str:
    left_out = len(output) - _KEPT_CHARS
    if left_out <= 0:
        return output
    half = _KEPT_CHARS // 2
    return f"{output[:half]}\n[… covfleet omitted {left_out:,} characters …]\n{output[-half:]}"


def _legal(text: str) -> str:
    return _ILLEGAL.sub(lambda found: f"#x{ord(found[0]):02X}", text)
