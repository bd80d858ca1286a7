"""CHANGELOG.md has the form of keepachangelog.com, and its newest release is the project's version."""

from __future__ import annotations

import re
import tomllib

from support.documents import ROOT

TEXT = (ROOT / "CHANGELOG.md").read_text("utf-8")
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
RELEASE = re.compile(r"^## \[(?P<version>[^\]]+)\](?: - (?P<date>\d{4}-\d\d-\d\d))?$", re.MULTILINE)


def test_it_begins_with_what_is_unreleased_and_dates_every_release():
    releases = [(found["version"], found["date"]) for found in RELEASE.finditer(TEXT)]
    assert releases[0] == ("Unreleased", None)
    assert all(date for _, date in releases[1:])
    assert len(releases) == len(re.findall(r"^## ", TEXT, re.MULTILINE))
    dates = [date for _, date in releases[1:]]
    assert dates == sorted(dates, reverse=True)


def test_its_newest_release_is_the_version_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    versions = [found["version"] for found in RELEASE.finditer(TEXT)]
    assert versions[1] == project["version"]


def test_changes_stand_under_the_usual_headings_as_lists():
    headings = re.findall(r"^### (.+)$", TEXT, re.MULTILINE)
    assert headings
    assert set(headings) <= KINDS
    for section in re.split(r"^### .+$", TEXT, flags=re.MULTILINE)[1:]:
        body = re.split(r"^## |^\[", section, flags=re.MULTILINE)[0].strip()
        assert re.match(r"- ", body), section
        assert all(line.startswith(("- ", "  ")) for line in body.splitlines() if line), section
