"""The one pass over the sources: coverage.py's own bytes, from any number of processes, or its own calls."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import coverage
import coverage.html
import pytest
from covfleet.errors import IncompleteDataError, PipelineError
from covfleet.report.onepass import engine
from covfleet.report.onepass.fragments import FragmentMaker
from covfleet.report.onepass.sharing import normal_html
from covfleet.report.rendering import Rendered, Rendering, render
from hypothesis import given
from hypothesis import strategies as st
from support import stock_bytes
from support.measured import Measured, measure
from support.needs import missing
from support.processes import pids_with, wait_for, without_settings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def measured(tmp_path: Path) -> Measured:
    return measure(tmp_path)


def rendered(measured: Measured, out: Path, processes: int | None = None) -> Rendered:
    scratch = out.with_name(f"{out.name}.scratch")
    for folder in (out, scratch):
        folder.mkdir()
    return render(
        Rendering(measured.data_file, measured.source_dir, out, scratch, False, "", "complete", processes)
    )


def installed(version: str) -> Path:
    """Return a folder from which that coverage.py is imported before the environment's own."""
    folder = ROOT / ".cache" / "coverage" / version
    if not (folder / "coverage" / "version.py").exists():
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-deps"]
        done = subprocess.run(
            [*pip, "--target", folder, f"coverage=={version}"], timeout=120, check=False, capture_output=True
        )
        if done.returncode:
            missing(f"coverage {version}", f"pip can't install it: {done.stderr[-300:]!r}")
    return folder


@pytest.mark.parametrize("version", sorted(engine.VERSIONS))
def test_every_known_coverage_would_have_written_the_same_bytes(version: str, tmp_path: Path) -> None:
    environment = without_settings() | {
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": "" if version == coverage.__version__ else str(installed(version)),
    }
    compare = [sys.executable, "-P", stock_bytes.__file__, tmp_path]
    done = subprocess.run(compare, env=environment, timeout=200, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"version": version, "one pass": True, "differences": []}


def test_an_unknown_coverage_is_asked_through_its_public_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = measure(tmp_path, branch=True, config="[report]\nignore_errors = true\n")
    (measured.source_dir / "shop/stock.py").write_text("def (:\n")
    expected = rendered(measured, tmp_path / "known")
    monkeypatch.setattr(engine, "VERSIONS", frozenset())
    monkeypatch.delattr(engine, "write_all")
    assert rendered(measured, tmp_path / "unknown") == expected
    assert expected.warnings
    made = (stock_bytes.contents(tmp_path / name) for name in ("known", "unknown"))
    assert next(made) == next(made)


@pytest.mark.parametrize("processes", [1, 3])
def test_of_several_unusable_sources_the_first_is_named(
    processes: int, measured: Measured, tmp_path: Path
) -> None:
    (measured.source_dir / "shop/prices.py").write_text("def (:\n" + 1000 * "# and it is long\n")
    (measured.source_dir / "shop/unused.py").unlink()
    (measured.source_dir / "shop/__init__.py").write_text("def (:\n")
    with pytest.raises(IncompleteDataError, match=r"shop/__init__\.py"):
        rendered(measured, tmp_path / "out", processes)


def test_a_killed_process_is_an_error_not_a_report_without_its_sources(
    measured: Measured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = FragmentMaker.make

    def killed_at_the_third(self: FragmentMaker, name: str, links: tuple[str, str]) -> object:
        if name == "shop/stock.py":
            os.kill(os.getpid(), signal.SIGKILL)  # as the system does when memory is short
        return make(self, name, links)

    monkeypatch.setattr(FragmentMaker, "make", killed_at_the_third)
    with pytest.raises(PipelineError, match="was killed") as caught:
        rendered(measured, tmp_path / "out", 2)
    assert "memory" in caught.value.hint


ENDLESS = """
import sys, time
from pathlib import Path
from covfleet.report.onepass.fragments import FragmentMaker
from covfleet.report.rendering import Rendering, render

FragmentMaker.make = lambda *_: time.sleep(600)
data, sources, out = map(Path, sys.argv[1:])
render(Rendering(data, sources, out, out, False, "", "complete", 2))
"""


def test_no_process_outlives_the_one_that_started_it(measured: Measured, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-c", ENDLESS, measured.data_file, measured.source_dir, tmp_path / "out"]
    with subprocess.Popen(command) as process:
        wait_for(lambda: len(pids_with(str(tmp_path))) == 3, "two more processes")
        process.kill()
    wait_for(lambda: not pids_with(str(tmp_path)), "all have ended")


@given(st.text(st.sampled_from("a<\n\r \t\x0b\x1c\x85\xa0\u2028é\0")))
def test_pages_lose_the_white_space_that_coverage_removes(html: str) -> None:
    written = []

    class Page:
        def __enter__(self) -> Page:
            return self

        def __exit__(self, *_: object) -> None: ...

        def write(self, content: bytes) -> None:
            written.append(content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coverage.html, "open", lambda *_: Page(), raising=False)
        coverage.html.write_html("page.html", html)
    assert written == [normal_html(html)]
