"""Runs the sample, and pictures its terminal and its pages for the documentation."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from playwright.sync_api import sync_playwright

from shots.terminal import Moment, draw, record

ROOT = Path(__file__).parents[2]
INTO = ROOT / "docs" / "screenshots"
COVFLEET = (sys.executable, "-P", "-m", "covfleet")


def main() -> None:
    INTO.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="shot") as folder:
        home = Path(folder).resolve()
        project = _sample(home)
        environ = _environment(home)
        command = (*COVFLEET, "run", "--shards", "6", "--contexts", "--python", sys.executable)
        moments = list(record(command, project, environ))
        hidden = {f"{home}": "~"}
        draw(_busiest(moments), "covfleet run", INTO / "running.svg", hidden)
        draw(moments[-1], "covfleet run", INTO / "summary.svg", hidden)
        *_, doctor = record((*COVFLEET, "doctor", "--python", sys.executable), project, environ, columns=120)
        draw(doctor, "covfleet doctor", INTO / "doctor.svg", hidden)
        _photograph(project / ".covfleet" / "reports" / "html" / "index.html", "html-report", height=640)
        _publish(project, environ)
        _photograph(home / "site" / "main" / "index.html", "site", height=390)


def _sample(home: Path) -> Path:
    """Copy the sample into a repository of its own."""
    project = home / "trading"
    ignore = shutil.ignore_patterns(".covfleet", "__pycache__")
    shutil.copytree(ROOT / "examples" / "trading", project, ignore=ignore)
    git = ("git", "-c", "user.name=Sample", "-c", "user.email=sample@example.org")
    for arguments in (
        ("init", "--quiet", "--initial-branch=main"),
        ("add", "."),
        ("commit", "--quiet", "--message=Trade"),
    ):
        subprocess.run([*git, *arguments], cwd=project, check=True)
    return project


def _environment(home: Path) -> Mapping[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {**kept, "HOME": f"{home}", "TERM": "xterm-256color", "COLORTERM": "truecolor"}


def _busiest(moments: list[Moment]) -> Moment:
    """Return the moment at which most shards show a test; of several, the one nearest to half of all."""

    def rank(moment: Moment) -> tuple[int, float]:
        tests = sum("::" in line.plain for line in moment)
        done = re.search(r"^all .*? (\d+)/(\d+)", "\n".join(line.plain for line in moment), re.MULTILINE)
        return min(tests, 5), -abs(int(done[1]) / int(done[2]) - 0.5) if done else -1.0

    return max(moments, key=rank)


def _publish(project: Path, environ: Mapping[str, str]) -> None:
    """Publish the build, and two of later commits, so that the site has something to list."""
    for change in range(3):
        if change:
            path = project / "trades" / "feed.py"
            path.write_text(f"{path.read_text('utf-8')}\nLATER_{change} = {change}\n", "utf-8")
            git = ("git", "-c", "user.name=Sample", "-c", "user.email=sample@example.org")
            subprocess.run([*git, "commit", "--quiet", "--all", "--message=Later"], cwd=project, check=True)
            run = (*COVFLEET, "run", "--python", sys.executable)
            subprocess.run(run, cwd=project, env=environ, check=True, capture_output=True)
        publish = (*COVFLEET, "publish", "--site", "../site")
        subprocess.run(publish, cwd=project, env=environ, check=True, capture_output=True)


def _photograph(path: Path, name: str, *, height: int) -> None:
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not chromium:
        raise SystemExit("there is no chromium: install it, or name a browser in CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1120, "height": height})
        page.goto(path.as_uri())
        page.screenshot(path=INTO / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
