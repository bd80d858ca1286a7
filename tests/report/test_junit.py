"""junit.xml: valid for every text, in pytest's own dialect, and never huge."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args
from xml.etree import ElementTree as ET

import pytest
from covfleet.model import Outcome, TestOutcome
from covfleet.report.own.junit import write_junit
from hypothesis import given
from hypothesis import strategies as st

OUTCOMES = get_args(Outcome)


def written(path: Path, *outcomes: TestOutcome) -> ET.Element:
    write_junit(outcomes, path)
    return ET.parse(path).getroot()[0]


@given(
    outcomes=st.lists(
        st.builds(
            TestOutcome,
            id=st.text(st.characters(), min_size=1),
            outcome=st.sampled_from(OUTCOMES),
            duration_s=st.floats(0, 1e6),
            message=st.text(st.characters()),
            output=st.text(st.characters()),
        )
    )
)
def test_any_text_gives_a_file_that_a_reader_of_junit_accepts(
    tmp_path_factory: pytest.TempPathFactory, outcomes: list[TestOutcome]
) -> None:
    suite = written(tmp_path_factory.getbasetemp() / "junit.xml", *outcomes)
    counted = {"failures": 0, "errors": 0, "skipped": 0}
    for case in suite:
        assert case.tag == "testcase"
        assert {"classname", "name", "time"} == set(case.attrib)
        assert float(case.attrib["time"]) >= 0
        for detail in case:
            counted[{"failure": "failures", "error": "errors"}.get(detail.tag, detail.tag)] += 1
            assert detail.attrib["message"]
    assert counted == {name: int(suite.attrib[name]) for name in counted}
    assert int(suite.attrib["tests"]) == len(suite) == len(outcomes)


def test_text_survives_as_it_is_and_what_xml_forbids_is_shown_as_a_number(tmp_path: Path) -> None:
    message = "a < b && \"c\" 'd' ]]> é 🦉\nline\tend \x1b[31m\ud800\ufffe"
    outcome = TestOutcome('t.py::x[<&">\x00]', "failed", 0.0, message, "</failure><!-- \x07")
    (case,) = written(tmp_path / "junit.xml", outcome)
    (failure,) = case
    assert case.attrib["name"] == 'x[<&">#x00]'
    assert failure.attrib["message"] == "a < b && \"c\" 'd' ]]> é 🦉\nline\tend #x1B[31m#xD800#xFFFE"
    assert failure.text == "</failure><!-- #x07"


@pytest.mark.parametrize(
    ("outcome", "tag", "kind"),
    [
        ("passed", None, None),
        ("xpassed", None, None),
        ("failed", "failure", None),
        ("error", "error", None),
        ("crashed", "error", "crashed"),
        ("timeout", "error", "timeout"),
        ("skipped", "skipped", "pytest.skip"),
        ("xfailed", "skipped", "pytest.xfail"),
    ],
)
def test_each_outcome_has_its_element(
    tmp_path: Path, outcome: Outcome, tag: str | None, kind: str | None
) -> None:
    (case,) = written(tmp_path / "junit.xml", TestOutcome("t.py::x", outcome, 1.5))
    assert [detail.tag for detail in case] == ([tag] if tag else [])
    assert [detail.get("type") for detail in case] == ([kind] if tag else [])
    assert case.attrib["time"] == "1.500"


def test_huge_output_keeps_its_ends_and_says_what_is_gone(tmp_path: Path) -> None:
    output = "START" + "x" * 10_000_000 + "END"
    (case,) = written(tmp_path / "junit.xml", TestOutcome("t.py::x", "failed", 0.0, "m", output))
    text = case[0].text or ""
    assert text.startswith("START")
    assert text.endswith("END")
    assert "omitted 9,967,240 characters" in text
    assert (tmp_path / "junit.xml").stat().st_size < 40_000


def test_names_are_those_that_pytest_itself_writes(tmp_path: Path) -> None:
    folder = tmp_path / "pkg.d" / "tests"
    folder.mkdir(parents=True)
    (folder / "test_a.py").write_text(
        "import pytest\n"
        "class TestIt:\n    class TestInner:\n        def test_x(self): pass\n"
        "@pytest.mark.parametrize('v', ['a::b', 'c[d', 'x.py', '<b>'])\ndef test_y(v): pass\n"
    )
    expected = tmp_path / "expected.xml"
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", f"--junitxml={expected}"]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    ids = [line.split(" PASSED")[0] for line in done.stdout.splitlines() if " PASSED" in line]
    assert len(ids) == 5
    suite = written(tmp_path / "junit.xml", *(TestOutcome(test, "passed", 0.0) for test in ids))
    names = [(case.get("classname"), case.get("name")) for case in ET.parse(expected).getroot()[0]]
    assert [(case.get("classname"), case.get("name")) for case in suite] == names
