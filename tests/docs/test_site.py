"""The documentation as a site: it builds without a warning, and loads nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.documents import DOCS, ROOT

ELSEWHERE = re.compile(
    r"""(?:src|href|poster|data)=["']?(?:https?:)?//(?!127\.0\.0\.1)[^"'\s>]+|url\(["']?(?:https?:)?//"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environ = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(build, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr  # a warning is an error; --quiet would hide it from --strict
    assert "WARNING" not in done.stderr
    return folder


def test_it_builds_without_a_warning_and_has_every_page(site: Path):
    pages = {path.relative_to(DOCS).with_suffix("") for path in DOCS.rglob("*.md")}
    for page in pages:
        folder = page.parent if page.name == "index" else page
        assert (site / folder / "index.html").is_file(), page


def test_its_pages_and_pictures_load_nothing_from_elsewhere(site: Path):
    for path in site.rglob("*"):
        if path.suffix in (".html", ".css", ".svg"):
            tags = re.sub(
                r"<a\s[^>]*>", "", path.read_text("utf-8")
            )  # a link loads nothing until it is clicked
            assert not ELSEWHERE.findall(tags), path


def test_no_page_asks_for_what_the_theme_would_load_from_a_cdn(site: Path):
    for path in site.rglob("*.html"):
        text = path.read_text("utf-8")
        assert 'class="mermaid"' not in text, path
        assert 'data-md-component="source"' not in text, path


def test_pictures_show_no_path_of_the_machine_they_were_made_on():
    pictures = [*(DOCS / "screenshots").glob("*.svg"), *(DOCS / "pictures").glob("*.svg")]
    assert pictures
    for path in pictures:
        text = path.read_text("utf-8").replace("&#160;", " ")
        assert not re.search(r"/(tmp|root|home|work|Users|var)/", text), path
