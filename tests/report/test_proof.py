"""The proof that one pass may make the reports: what it notices, and how it is remembered."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import NoReturn

import coverage
import pytest
from covfleet.errors import ConfigurationError
from covfleet.model import Ledger
from covfleet.report.cache.branch import cache_here
from covfleet.report.cache.contents import ReportCache
from covfleet.report.cache.file import pack_entry, write_bundle
from covfleet.report.onepass import engine
from covfleet.report.own.summary import read_summary
from covfleet.report.proof import choice, record, trial
from covfleet.report.proof.choice import Candidate, choose
from covfleet.report.proof.sample import Kind, write_sample
from covfleet.report.rendering import examine
from covfleet.report.write import ReportRequest, write_reports
from hypothesis import given
from hypothesis import strategies as st
from support import stock_bytes
from support.measured import Measured, measure
from support.processes import without_settings
from support.proved import proofs, proved, rendered

PACKAGE = Path(coverage.__file__).parent


def patched(folder: Path, file: str, old: str, new: str) -> Path:
    """Return a folder with a copy of the installed coverage.py, in which a text became another one."""
    shutil.copytree(PACKAGE, folder / "coverage", ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "coverage" / file
    text = path.read_text("utf-8")
    assert old in text, f"coverage.py's {file} has no {old!r} any more"
    path.write_text(text.replace(old, new), "utf-8")
    return folder


def compared(coverage_folder: Path, folder: Path) -> tuple[list[str], list[str]]:
    """Return why that coverage.py's reports aren't made in one pass, and where they differ from its own."""
    folder.mkdir()
    environment = without_settings() | {"PYTHONHASHSEED": "0", "PYTHONPATH": str(coverage_folder)}
    command = [sys.executable, "-P", stock_bytes.__file__, folder, "branches and contexts"]
    done = subprocess.run(command, env=environment, timeout=200, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return found["faults"], found["differences"]


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        (
            "html.py",
            "MULTILINE) + ",
            "MULTILINE) + '<!-- -->' + ",
            r"would write another html/.* and \d+ more",
        ),
        ("xmlreport.py", '"hits", str(', '"hits", "0" + str(', r"would write another coverage\.xml"),
        ("regions.py", "RegionFinder", "RegionSeeker", "fails: ImportError: .*RegionFinder"),
        ("html.py", "make_local_static_report_files", "make_statics", "fails: AttributeError: .*static"),
        ("sqldata.py", "_file_id", "_id_of_file", "fails: AttributeError: .*_file_id"),
    ],
)
def test_a_coverage_that_the_one_pass_cannot_follow_makes_its_reports_itself(
    tmp_path: Path, file: str, old: str, new: str, fault: str
) -> None:
    found, differences = compared(patched(tmp_path / "patched", file, old, new), tmp_path / "made")
    assert differences == []
    assert len(found) == 1
    assert re.match(fault, found[0]), found


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("htmlfiles/pyfile.html", "<main", '<main class="new"'),
        ("jsonreport.py", '"show_contexts"', '"shows_contexts"'),
        ("lcovreport.py", 'f"DA:', 'f"DATA:'),
        ("report.py", '"TOTAL"', '"ALL"'),
    ],
)
def test_a_coverage_that_only_writes_otherwise_is_followed(
    tmp_path: Path, file: str, old: str, new: str
) -> None:
    assert compared(patched(tmp_path / "patched", file, old, new), tmp_path / "made") == ([], [])


def test_what_only_the_project_s_own_sources_show_is_noticed(tmp_path: Path) -> None:
    old, new = '"hits", str(', '"hits", "0" * fr.relative_filename().startswith("pkg") + str('
    found, differences = compared(patched(tmp_path / "patched", "xmlreport.py", old, new), tmp_path / "made")
    assert (found, differences) == (["would write another coverage.xml"], [])


def test_nothing_imports_the_one_pass_before_it_is_asked_for() -> None:
    """A coverage.py that lacks what it uses must break neither covfleet nor any other command of it."""
    program = "import sys, covfleet.cli, covfleet.watch.rehearsal; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    modules = done.stdout.split()
    assert "covfleet.report.rendering" in modules
    assert [name for name in modules if "onepass" in name] == []


@pytest.fixture
def measured(tmp_path: Path) -> Measured:
    return measure(tmp_path, branch=True, contexts=True)


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> list[record.Proof]:
    """What was tried out, each time that it was."""
    made: list[record.Proof] = []

    prove = trial.prove

    def noted(subject: trial.Subject) -> record.Proof:
        made.append(prove(subject))
        return made[-1]

    monkeypatch.setattr(trial, "prove", noted)
    return made


def test_a_proof_is_given_once(measured: Measured, tmp_path: Path, trials: list[record.Proof]) -> None:
    first = rendered(measured, tmp_path / "first", tmp_path / "bundle")
    second = rendered(measured, tmp_path / "second", tmp_path / "bundle")
    assert trials == [first.proof] == [second.proof]
    assert (first.proof.holds, first.proof.own) == (True, 4)
    assert "in one pass" in first.proof.note
    assert coverage.__version__ in first.proof.note


@pytest.mark.parametrize("setting", ["[html]\nskip_covered = true\n", "[report]\nprecision = 2\n", "title"])
def test_other_settings_need_a_proof_of_their_own_but_not_another_title(
    measured: Measured, tmp_path: Path, trials: list[record.Proof], setting: str
) -> None:
    rendered(measured, tmp_path / "first", tmp_path / "bundle")
    with (measured.source_dir / ".coveragerc").open("a") as file:
        file.write("[html]\ntitle = Another\n" if setting == "title" else setting)
    rendered(measured, tmp_path / "second", tmp_path / "bundle")
    assert len(trials) == (1 if setting == "title" else 2)


def test_data_of_another_kind_needs_a_proof_of_its_own(tmp_path: Path, trials: list[record.Proof]) -> None:
    for branch, contexts in ((False, False), (True, False), (False, True)):
        measured = measure(tmp_path / f"{branch}{contexts}", branch=branch, contexts=contexts)
        assert rendered(measured, tmp_path / f"out{branch}{contexts}", tmp_path / "bundle").proof.holds
    assert len(trials) == 3


@pytest.mark.parametrize(
    "content",
    [b"", b"null", b"{}", b'{"fault": 3}', b'{"fault": "", "sample": 1, "own": 1, "mak', b"\xff"],
)
def test_what_is_left_of_a_damaged_proof_is_none(
    measured: Measured, tmp_path: Path, trials: list[record.Proof], content: bytes
) -> None:
    bundle = proved(measured, tmp_path)
    write_bundle(bundle, [(key, 0, pack_entry(key, content)) for key in proofs(bundle)])
    assert rendered(measured, tmp_path / "second", bundle).proof.holds
    assert rendered(measured, tmp_path / "third", bundle).proof.holds
    assert len(trials) == 2  # the first, and the one that replaces what was damaged


def test_a_fault_is_remembered_and_told_each_time(
    measured: Measured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(engine.assembly, "write_lcov", lambda *_: (_ for _ in ()).throw(TypeError("no\nlcov")))
        first = rendered(measured, tmp_path / "first", tmp_path / "bundle")
    second = rendered(measured, tmp_path / "second", tmp_path / "bundle")
    assert first.proof == second.proof
    assert first.proof.fault == "fails: TypeError: no"
    assert "one by one" in first.proof.note
    expected = tmp_path / "stock"
    stock_bytes.stock(measured.source_dir, measured.data_file, expected)
    for name in ("first", "second"):
        assert stock_bytes.contents(tmp_path / name) == stock_bytes.contents(expected)


def full_disk(*_: object, **_options: object) -> NoReturn:
    raise OSError(28, "No space left on device")


def test_a_fault_that_may_pass_is_not_remembered(
    measured: Measured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(trial, "write_sample", full_disk)
        made = rendered(measured, tmp_path / "first", tmp_path / "bundle")
    assert "No space left" in made.proof.fault
    assert rendered(measured, tmp_path / "second", tmp_path / "bundle").proof.holds


def test_a_pass_that_fails_in_spite_of_its_proof_leaves_nothing_and_is_not_tried_again(
    measured: Measured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = proved(measured, tmp_path)

    def half(_configured: object, into: Path, **_: object) -> NoReturn:
        (into / "html").mkdir()
        (into / "html" / "half.html").write_text("<")
        (into / "coverage.xml").write_text("<")
        raise AttributeError("a source that nobody has seen before")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "write_all", half)
        made = rendered(measured, tmp_path / "out", bundle)
    assert made.proof.fault == "fails: AttributeError: a source that nobody has seen before"
    expected = tmp_path / "stock"
    stock_bytes.stock(measured.source_dir, measured.data_file, expected)
    assert stock_bytes.contents(tmp_path / "out") == stock_bytes.contents(expected)
    assert rendered(measured, tmp_path / "again", bundle).proof == made.proof


def test_both_ways_give_the_same_figures_and_warnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = measure(tmp_path, branch=True, config="[report]\nignore_errors = true\n")
    (measured.source_dir / "shop/stock.py").write_text("def (:\n")
    fast = rendered(measured, tmp_path / "fast")
    monkeypatch.setattr(trial, "write_sample", full_disk)
    slow = rendered(measured, tmp_path / "slow")
    assert (fast.proof.holds, slow.proof.holds) == (True, False)
    assert (fast.totals, fast.files, fast.warnings) == (slow.totals, slow.files, slow.warnings)
    assert fast.warnings


def test_the_summary_says_which_way_it_was(measured: Measured, tmp_path: Path) -> None:
    ledger = Ledger("c1", "b1", "main", "complete", 0)
    write_reports(ReportRequest(measured.data_file, measured.source_dir, ledger, (), tmp_path / "out", False))
    (note,) = read_summary(tmp_path / "out").notes
    assert note.startswith("coverage.py's reports were made in one pass, byte for byte as")
    assert "in one pass" in (tmp_path / "out" / "summary.md").read_text()


def test_doctor_tells_what_the_last_report_met(measured: Measured, tmp_path: Path) -> None:
    proof = record.broken("would write another coverage.xml")
    with cache_here(tmp_path / "cache", print) as cache:
        assert examine(measured.source_dir, cache).holds
        record.remember(cache, f"{record.PROOF}1", proof)
    with cache_here(tmp_path / "cache", print) as cache:
        assert examine(measured.source_dir, cache) == proof


def test_doctor_takes_a_fault_of_the_project_for_one_of_the_project(tmp_path: Path) -> None:
    (tmp_path / ".coveragerc").write_text("[run]\nplugins = no_such_plugin\n")
    with pytest.raises(ConfigurationError, match="no_such_plugin"):
        examine(tmp_path, ReportCache([]))


def test_the_sample_has_something_of_everything_that_sources_are_chosen_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sources").mkdir()
    monkeypatch.chdir(tmp_path / "sources")
    kind = Kind(branches=True, contexts=True)
    write_sample(Path.cwd(), tmp_path / "data", kind, with_unreadable=False)
    texts = [path.read_bytes() for path in Path.cwd().rglob("*") if path.suffix in {".py", ".tmpl"}]
    absent = [name for name, pattern in choice.SYNTAX.items() if not any(map(pattern.search, texts))]
    assert absent == []


@given(
    st.lists(
        st.builds(
            Candidate,
            name=st.text("abc", min_size=1),
            size_bytes=st.integers(0, 30_000),
            features=st.frozensets(st.sampled_from("1234567890")),
        ),
        unique_by=lambda one: one.name,
    ),
    st.randoms(),
)
def test_chosen_sources_are_few_small_and_not_redundant(candidates: list[Candidate], chance: Random) -> None:
    chosen = choose(candidates)
    by_name = {one.name: one for one in candidates}
    assert len(chosen) <= choice.MOST_SOURCES
    assert sum(by_name[name].size_bytes for name in chosen) <= choice.MOST_BYTES
    features = [by_name[name].features for name in chosen]
    if len(chosen) < choice.MOST_SOURCES:
        left = choice.MOST_BYTES - sum(by_name[name].size_bytes for name in chosen)
        seen = frozenset().union(*features)
        assert not [one for one in candidates if one.size_bytes <= left and one.features - seen]
    chance.shuffle(candidates)
    assert choose(candidates) == chosen
