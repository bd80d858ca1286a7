"""All object keys of the store, and the check that names from outside must pass.

    <commit>/.coverage.<host>.pid<pid>.X<random>x.H<hash>h   data files, named as coverage.py names them
    <commit>/zstd/<name>.zst                                 compressed data files
    <commit>/.coverage                                       the combined result
    <commit>/builds/<build>/plan.json, sources.tar.zst
    <commit>/builds/<build>/claims/<batch>.json              conditional puts
    <commit>/builds/<build>/shards/<k>.json                  heartbeat
    <commit>/builds/<build>/results/<batch>.json             immutable, written after its data files
    <commit>/builds/<build>/reports/...
    branches/<branch>/timings.json, history/...
    branches/<branch>/reported.json, report-cache            the last reported build, and its cache

Keys are relative to the store's prefix, which the store itself adds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from covfleet.errors import ConfigurationError
from covfleet.ports.object_store import checked_key

_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}", re.ASCII)
_DATA_FILE = re.compile(r"\.coverage\.[0-9A-Za-z._-]{1,200}", re.ASCII)

_PACKED = "zstd/"

LATE = "late-"
"""Prefix of a result that belongs to no batch: data that a subprocess wrote after its tests."""


def is_late(batch: str) -> bool:
    """Return whether this is the name of such a result rather than a batch's id."""
    return batch.startswith(LATE)


def checked(name: str, what: str) -> str:
    """Return ``name`` if it is safe as one part of a key, a path, an image tag and a shell word.

    Raises:
        ConfigurationError: it is empty, has over 128 characters, contains anything but ASCII letters,
            digits, ``.``, ``_`` and ``-``, contains ``..``, or doesn't start with a letter or digit.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise ConfigurationError(
            f"{name!r} isn't a valid {what}",
            hint="Use letters, digits, dots, dashes and underscores, and start with a letter or digit.",
        )
    return name


def is_data_file_name(name: str) -> bool:
    """Return whether a coverage data file in a commit's folder may have this name."""
    return bool(_DATA_FILE.fullmatch(name)) and ".." not in name


def packed_name(name: str) -> str:
    """Return the name that the data file ``name`` has in the commit's folder if it is compressed."""
    return f"{_PACKED}{name}.zst"


def branch_part(branch: str) -> str:
    """Return a branch name as one part of a key: percent-encoded, never ``.`` or ``..``."""
    encoded = quote(branch or "unnamed", safe="")
    return encoded.replace(".", "%2E") if set(encoded) == {"."} else encoded


PROBE = "doctor/probe"
"""The only object that the check of conditional puts writes; it is overwritten each time."""


@dataclass(frozen=True, slots=True)
class CommitKeys:
    """The keys of one commit."""

    commit: str

    def __post_init__(self) -> None:
        checked(self.commit, "commit")

    @property
    def folder(self) -> str:
        """The prefix of everything that belongs to the commit."""
        return f"{self.commit}/"

    @property
    def combined(self) -> str:
        """The combined data file."""
        return f"{self.commit}/.coverage"

    @property
    def data_prefix(self) -> str:
        """The prefix of the commit's uncompressed data files, and of nothing else."""
        return f"{self.commit}/.coverage."

    def data_file(self, name: str) -> str:
        """Return the key of the data file called ``name``."""
        if not is_data_file_name(name):
            raise ConfigurationError(f"{name!r} isn't the name of a coverage data file")
        return f"{self.commit}/{name}"

    @property
    def packed_prefix(self) -> str:
        """The prefix of the commit's compressed data files."""
        return f"{self.commit}/{_PACKED}"

    def packed_file(self, name: str) -> str:
        """Return the key of the data file called ``name`` if it is stored compressed."""
        self.data_file(name)
        return f"{self.commit}/{packed_name(name)}"

    @property
    def builds(self) -> str:
        """The prefix of the commit's builds."""
        return f"{self.commit}/builds/"

    def build(self, build: str) -> BuildKeys:
        """Return the keys of one build."""
        return BuildKeys(self.commit, build)


@dataclass(frozen=True, slots=True)
class BuildKeys:
    """The keys of one build of a commit."""

    commit: str
    build: str

    def __post_init__(self) -> None:
        checked(self.commit, "commit")
        checked(self.build, "build id")

    @property
    def of_commit(self) -> CommitKeys:
        """The keys of the build's commit."""
        return CommitKeys(self.commit)

    @property
    def _folder(self) -> str:
        return f"{self.commit}/builds/{self.build}"

    @property
    def plan(self) -> str:
        """The plan."""
        return f"{self._folder}/plan.json"

    @property
    def sources(self) -> str:
        """The project's sources as of the plan: a zstd-compressed tar archive."""
        return f"{self._folder}/sources.tar.zst"

    @property
    def claims(self) -> str:
        """The prefix of all claims."""
        return f"{self._folder}/claims/"

    def claim(self, batch: str) -> str:
        """Return the key of a batch's claim."""
        return f"{self.claims}{checked(batch, 'batch id')}.json"

    @property
    def shards(self) -> str:
        """The prefix of all heartbeats."""
        return f"{self._folder}/shards/"

    def shard(self, shard: int) -> str:
        """Return the key of a shard's heartbeat."""
        return f"{self.shards}{shard}.json"

    @property
    def results(self) -> str:
        """The prefix of all results."""
        return f"{self._folder}/results/"

    def result(self, batch: str) -> str:
        """Return the key of a batch's result."""
        return f"{self.results}{checked(batch, 'batch id')}.json"

    @property
    def reports(self) -> str:
        """The prefix of the build's reports."""
        return f"{self._folder}/reports/"

    def report(self, path: str) -> str:
        """Return the key of a report's file; ``path`` is relative, with ``/`` between parts."""
        return checked_key(f"{self.reports}{path}")

    @property
    def manifest(self) -> str:
        """The reports' figures and files; written last, so that all files exist once it does."""
        return f"{self.reports}manifest.json"

    @property
    def ledger(self) -> str:
        """The ledger, beside the reports that are based on it."""
        return f"{self.reports}ledger.json"

    @property
    def combined(self) -> str:
        """The build's combined data file; the commit's is a copy of the most recently combined build's."""
        return f"{self.reports}.coverage"


def timings(branch: str) -> str:
    """Return the key of a branch's expected durations by test id."""
    return f"branches/{branch_part(branch)}/timings.json"


def reported(branch: str) -> str:
    """Return the key of the document that names a branch's most recently reported build."""
    return f"branches/{branch_part(branch)}/reported.json"


def report_cache(branch: str) -> str:
    """Return the key of the cache that speeds up the reports of a branch's next build."""
    return f"branches/{branch_part(branch)}/report-cache"


TOP_INDEX = "index.html"
BRANCH_REGISTRATIONS = "_branches/"


@dataclass(frozen=True, slots=True)
class SiteKeys:
    """The keys of one branch in a site.

    Names that start with ``_`` belong to the site itself; the folders of branches and builds never do.
    """

    branch: str

    @property
    def _folder(self) -> str:
        part = branch_part(self.branch)
        if part == TOP_INDEX or not part[0].isalnum():
            return part if part[0] == "%" else f"%{ord(part[0]):02X}{part[1:]}"
        return part

    @property
    def registration(self) -> str:
        """The small document that adds the branch to the site's top page."""
        return f"{BRANCH_REGISTRATIONS}{self._folder}.json"

    @property
    def index(self) -> str:
        """The page that lists the branch's builds."""
        return f"{self._folder}/index.html"

    @property
    def pointer(self) -> str:
        """The branch's newest build; it only moves forward."""
        return f"{self._folder}/latest.json"

    @property
    def records(self) -> str:
        """The prefix of the small documents, one per build, that the branch's page is generated from."""
        return f"{self._folder}/_builds/"

    def record(self, build: str) -> str:
        """Return the key of a build's small document, which is written after everything else of the build."""
        return f"{self.records}{checked(build, 'build id')}.json"

    def folder(self, build: str) -> str:
        """Return the prefix of a build's reports, which never change."""
        if checked(build, "build id") in ("index.html", "latest.json"):
            raise ConfigurationError(f"a build named {build!r} can't be published: the site uses that name")
        return f"{self._folder}/{build}/"
