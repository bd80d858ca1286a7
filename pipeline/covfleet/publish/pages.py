"""The site's pages, and the small documents that are their only source."""

from __future__ import annotations

import datetime
import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from covfleet.files import resource
from covfleet.model import Totals, Verdict, floor_percent
from covfleet.store.keys import SiteKeys


@dataclass(frozen=True, slots=True)
class PublishedBuild:
    """A build as the branch's page shows it; also the content of the branch's ``latest.json``."""

    build: str
    commit: str
    branch: str
    created_at: str  # ISO 8601, UTC
    verdict: Verdict
    totals: Totals
    tests_run: int
    tests_failed: int
    data_sha256: str  # of the combined data file
    version: Literal[1] = 1

    @property
    def when(self) -> datetime.datetime:
        """The time when the build was planned, in UTC."""
        moment = datetime.datetime.fromisoformat(self.created_at)
        return moment.replace(tzinfo=moment.tzinfo or datetime.UTC).astimezone(datetime.UTC)

    @property
    def rank(self) -> tuple[datetime.datetime, str]:
        """The sort key that decides which of two builds is newer."""
        return self.when, self.build

    @property
    def figure(self) -> str:
        """The total in percent, rounded down; a lower bound for partial data, "none" for conflicting data."""
        percent = f"{floor_percent(self.totals.total)}%"
        return {"partial": f"≥ {percent}", "conflicting": "none"}.get(self.verdict, percent)

    @property
    def bar(self) -> str:
        """The length of the figure's bar, 0 to 100."""
        return "0" if self.verdict == "conflicting" else str(floor_percent(self.totals.total, 1))

    @property
    def href(self) -> str:
        """The address of the HTML report, from the branch's page."""
        return f"{quote(self.build)}/html/index.html"


def branch_page(branch: str, builds: Sequence[PublishedBuild]) -> bytes:
    """Return the page that lists a branch's builds, newest first."""
    newest_first = sorted(builds, key=lambda build: build.rank, reverse=True)
    return _render("branch.html.j2", root="../", branch=branch, builds=newest_first)


def top_page(latest: Sequence[PublishedBuild]) -> bytes:
    """Return the page that lists the branches by name, each with its newest build."""
    ordered = sorted(latest, key=lambda build: build.branch)
    rows = [(build, quote(SiteKeys(build.branch).index)) for build in ordered]
    return _render("index.html.j2", root="", rows=rows)


def style_sheet() -> tuple[str, bytes]:
    """Return the key and the content of the pages' style sheet; the key depends on the content."""
    content = resource("templates/site/site.css").read_bytes()
    return f"_assets/site.{hashlib.sha256(content).hexdigest()[:12]}.css", content


@functools.cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(resource("templates/site")),
        autoescape=True,  # always: select_autoescape goes by the suffix and doesn't know .j2
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _render(template: str, **values: object) -> bytes:
    css, _ = style_sheet()
    return _environment().get_template(template).render(css=css, **values).encode("utf-8")
