"""write_reports: what stock coverage.py writes, whole or not at all, and marked when it isn't complete."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from covfleet.errors import ConfigurationError, IncompleteDataError
from covfleet.model import Ledger, TestOutcome, Totals, Verdict
from covfleet.report.write import REPORTS, ReportRequest, write_reports
from support.measured import Measured, coverage, measure

LEDGER = Ledger(
    commit="c1", build="b1", branch="main", verdict="complete", tests_planned=2, outcomes={"passed": 2}
)
TIMES = re.compile(
    r'created at [^<]*|timestamp="\d+"|"timestamp": "[^"]*"|"show_contexts": \w+'
)  # --show-contexts is compared in a test of its own


def request_for(measured: Measured, out: Path, **changes: object) -> ReportRequest:
    request = ReportRequest(
        data_file=measured.data_file,
        source_dir=measured.source_dir,
        ledger=LEDGER,
        outcomes=(TestOutcome("suite.py::test_net", "passed", 0.1),),
        out=out,
        contexts=False,
    )
    return replace(request, **changes)  # type: ignore[arg-type]


@pytest.fixture
def measured(tmp_path: Path) -> Measured:
    return measure(tmp_path)


def rename_in_data(measured: Measured, old: str, new: str) -> None:
    with sqlite3.connect(measured.data_file) as connection:
        connection.execute("update file set path = ? where path = ?", (new, old))
    connection.close()


@pytest.mark.parametrize("hostile", ["/etc/passwd.py", "../outside.py", "shop/../../outside.py", "link.py"])
def test_a_file_outside_the_sources_is_refused_and_nothing_is_written(
    measured: Measured, tmp_path: Path, hostile: str
) -> None:
    secret = tmp_path / "outside.py"
    secret.write_text("PASSWORD = 'hunter2'\n")
    (measured.source_dir / "link.py").symlink_to(secret)
    rename_in_data(measured, "shop/stock.py", hostile)
    with pytest.raises(IncompleteDataError, match="outside the project"):
        write_reports(request_for(measured, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_missing_source_is_named(measured: Measured, tmp_path: Path) -> None:
    (measured.source_dir / "shop/stock.py").unlink()
    with pytest.raises(IncompleteDataError, match=r"shop/stock\.py"):
        write_reports(request_for(measured, tmp_path / "out"))


def test_a_source_that_cannot_be_parsed_is_named(measured: Measured, tmp_path: Path) -> None:
    (measured.source_dir / "shop/stock.py").write_text("def (:\n")
    with pytest.raises(IncompleteDataError, match=r"shop/stock\.py") as caught:
        write_reports(request_for(measured, tmp_path / "out"))
    assert "omit" in caught.value.hint


def test_ignore_errors_of_the_project_leaves_the_file_out_with_a_note(tmp_path: Path) -> None:
    measured = measure(tmp_path, config="[report]\nignore_errors = true\n")
    (measured.source_dir / "shop/stock.py").write_text("def (:\n")
    totals = write_reports(request_for(measured, tmp_path / "out"))
    assert totals.files == 4
    assert "shop/stock.py" in (tmp_path / "out/summary.md").read_text()


def test_a_plugin_that_is_not_installed_is_named(tmp_path: Path) -> None:
    measured = measure(tmp_path)
    with (measured.source_dir / ".coveragerc").open("a") as file:
        file.write("plugins = no_such_plugin\n")
    with pytest.raises(ConfigurationError, match="no_such_plugin") as caught:
        write_reports(request_for(measured, tmp_path / "out"))
    assert "pip install no_such_plugin" in caught.value.hint


def test_a_broken_configuration_is_the_projects_fault(measured: Measured, tmp_path: Path) -> None:
    (measured.source_dir / ".coveragerc").write_text("[report]\nprecision = many\n")
    with pytest.raises(ConfigurationError, match=r"\.coveragerc.*many"):
        write_reports(request_for(measured, tmp_path / "out"))


def test_nothing_to_report_is_no_report(measured: Measured, tmp_path: Path) -> None:
    (measured.source_dir / ".coveragerc").write_text("[report]\nomit = *\n")
    with pytest.raises(IncompleteDataError, match="no file to report"):
        write_reports(request_for(measured, tmp_path / "out"))


def test_a_failure_keeps_the_old_reports(measured: Measured, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_reports(request_for(measured, out))
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (measured.source_dir / "shop/stock.py").unlink()
    with pytest.raises(IncompleteDataError):
        write_reports(request_for(measured, out))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "out", "project"]


def test_a_folder_with_other_things_in_it_is_never_replaced(measured: Measured, tmp_path: Path) -> None:
    precious = tmp_path / "out" / "thesis.tex"
    precious.parent.mkdir()
    precious.write_text("years of work")
    with pytest.raises(ConfigurationError, match=r"thesis\.tex"):
        write_reports(request_for(measured, precious.parent))
    assert precious.read_text() == "years of work"


def test_reports_are_replaced_whole(measured: Measured, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_reports(request_for(measured, out))
    (out / "html" / "stale.html").write_text("of an earlier build")
    write_reports(request_for(measured, out))
    assert {path.name for path in out.iterdir()} == REPORTS
    assert not (out / "html" / "stale.html").exists()


def test_the_data_file_and_its_neighbours_stay_untouched(measured: Measured, tmp_path: Path) -> None:
    neighbour = measured.data_file.with_name(".coverage.host.pid1.Xabcx.H123h")
    shutil.copy(measured.data_file, neighbour)
    before = measured.data_file.read_bytes()
    write_reports(request_for(measured, tmp_path / "out"))
    assert measured.data_file.read_bytes() == before
    assert neighbour.exists()


def test_the_working_directory_is_restored(measured: Measured, tmp_path: Path) -> None:
    before = Path.cwd()
    write_reports(request_for(measured, tmp_path / "out"))
    assert Path.cwd() == before


CONFIG = """
[report]
exclude_also = raise ValueError
precision = 2
show_missing = true
skip_covered = true
fail_under = 99
format = markdown
[html]
title = The <i>shop</i>
extra_css = own.css
directory = elsewhere
skip_covered = false
[xml]
output = elsewhere.xml
package_depth = 1
[json]
output = elsewhere.json
pretty_print = true
[lcov]
output = elsewhere.lcov
"""


@pytest.mark.parametrize("config", ["", CONFIG], ids=["defaults", "configured"])
@pytest.mark.parametrize("kind", ["statements", "branches", "contexts"])
def test_reports_have_the_bytes_of_stock_coverage(tmp_path: Path, kind: str, config: str) -> None:
    contexts = kind == "contexts"
    measured = measure(tmp_path, branch=kind == "branches", contexts=contexts, config=config)
    (measured.source_dir / "own.css").write_text("h1 { color: teal }\n")
    out, stock = tmp_path / "out", tmp_path / "stock"
    write_reports(request_for(measured, out, contexts=contexts))
    for command, name in [
        ("html", "html"),
        ("xml", "coverage.xml"),
        ("json", "coverage.json"),
        ("lcov", "coverage.lcov"),
    ]:
        option = f"--directory={stock / name}" if command == "html" else f"-o{stock / name}"
        shown = ["--show-contexts"] if contexts and command == "html" else []
        coverage(
            command,
            option,
            f"--data-file={measured.data_file}",
            "--fail-under=0",
            *shown,
            cwd=measured.source_dir,
        )
    table = coverage(
        "report",
        "--format=text",
        f"--data-file={measured.data_file}",
        "--fail-under=0",
        cwd=measured.source_dir,
    )
    (stock / "coverage.txt").write_text(table)
    assert files_of(stock) == {name: data for name, data in files_of(out).items() if name in files_of(stock)}
    assert len(files_of(stock)) > 12
    assert not list(measured.source_dir.glob("elsewhere*"))


def files_of(folder: Path) -> dict[str, bytes]:
    def content(path: Path) -> bytes:
        if path.name == "status.json":  # hashes of the options, which tell the output folders apart
            status = json.loads(path.read_text())
            return json.dumps([file["index"] for file in status["files"].values()]).encode()
        data = path.read_bytes()
        return data if path.suffix == ".png" else TIMES.sub("", data.decode()).encode()

    return {
        path.relative_to(folder).as_posix(): content(path) for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("config", ["", "[json]\nshow_contexts = true\n"])
def test_contexts_name_the_test_of_a_line(tmp_path: Path, config: str) -> None:
    """In JSON only where the project asks for them: they make it gigabytes large."""
    measured = measure(tmp_path, contexts=True, config=config)
    write_reports(request_for(measured, tmp_path / "out", contexts=True))
    page = next((tmp_path / "out/html").glob("*prices_py.html")).read_text()
    assert "test_net" in page
    report = json.loads((tmp_path / "out/coverage.json").read_text())
    contexts = report["files"]["shop/prices.py"].get("contexts", {})
    assert contexts.get("4", []) == (["__main__.test_net"] if config else [])


def test_names_and_contexts_with_html_in_them_stay_text(tmp_path: Path) -> None:
    measured = measure(tmp_path, contexts=True)
    name, context = "<img src=x onerror=alert(1)>.py", "</script><script>alert(2)</script>"
    (measured.source_dir / "shop/stock.py").rename(measured.source_dir / name)
    rename_in_data(measured, "shop/stock.py", name)
    with sqlite3.connect(measured.data_file) as connection:
        connection.execute("update context set context = ? || id where context != ''", (context,))
    connection.close()
    write_reports(request_for(measured, tmp_path / "out", contexts=True))
    pages = {page.name: page.read_text() for page in (tmp_path / "out/html").glob("*.html")}
    assert any("&lt;img src=x" in page for page in pages.values())
    assert any("alert(2)" in page for page in pages.values())
    for page in pages.values():
        assert "<img src=x" not in page
        assert "<script>alert" not in page
    cobertura = ET.parse(tmp_path / "out/coverage.xml")
    assert name in {element.get("filename") for element in cobertura.iter("class")}


def test_a_configuration_without_relative_files_reports_the_same_figures(tmp_path: Path) -> None:
    measured = measure(tmp_path, branch=True)
    expected = write_reports(request_for(measured, tmp_path / "out"))
    (measured.source_dir / ".coveragerc").write_text("[run]\nbranch = true\nparallel = true\n")
    assert write_reports(request_for(measured, tmp_path / "out")) == expected
    assert expected == Totals(
        files=5, statements=22, covered_statements=18, branches=6, covered_branches=3, measures_branches=True
    )


def test_a_style_sheet_from_elsewhere_is_not_published(measured: Measured, tmp_path: Path) -> None:
    secret = tmp_path / "credentials"
    secret.write_text("aws_secret_access_key = hunter2")
    with (measured.source_dir / ".coveragerc").open("a") as file:
        file.write(f"[html]\nextra_css = {secret}\n")
    write_reports(request_for(measured, tmp_path / "out"))
    assert "credentials" in (tmp_path / "out/summary.md").read_text()
    assert not list((tmp_path / "out/html").glob("credentials*"))


@pytest.mark.parametrize("verdict", ["partial", "conflicting", "unverified"])
def test_every_report_of_an_incomplete_build_says_so(
    measured: Measured, tmp_path: Path, verdict: Verdict
) -> None:
    out = tmp_path / "out"
    write_reports(request_for(measured, out, ledger=replace(LEDGER, verdict=verdict)))
    style = next((out / "html").glob("covfleet_cb_*.css")).read_text()
    assert verdict.upper() in style
    for page in (out / "html").glob("*.html"):
        assert "covfleet_cb_" in page.read_text()
    assert f"{verdict.upper()}: Coverage report" in (out / "html/index.html").read_text()
    assert verdict.upper() in (out / "summary.md").read_text().splitlines()[0]
    assert verdict in (out / "badge.svg").read_text()
    assert verdict.upper() in (out / "coverage.txt").read_text().splitlines()[0]
    assert json.loads((out / "coverage.json").read_text())["covfleet"] == {"verdict": verdict}
    assert (out / "coverage.lcov").read_text().startswith(f"TN:{verdict}\nSF:")
    assert verdict.upper() in (out / "coverage.xml").read_text().splitlines()[1]
    assert ET.parse(out / "coverage.xml").getroot().tag == "coverage"


def test_the_banner_keeps_the_projects_own_style_sheet(measured: Measured, tmp_path: Path) -> None:
    (measured.source_dir / "own.css").write_text("h1 { color: teal }\n")
    with (measured.source_dir / ".coveragerc").open("a") as file:
        file.write("[html]\nextra_css = own.css\n")
    write_reports(request_for(measured, tmp_path / "out", ledger=replace(LEDGER, verdict="partial")))
    style = next((tmp_path / "out/html").glob("own_cb_*.css")).read_text()
    assert "teal" in style
    assert "PARTIAL" in style
