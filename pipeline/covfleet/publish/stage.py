"""The stage ``publish``: add a build's reports to a static site, so that readers never see a mixture.

    index.html                          the branches
    <branch>/index.html, latest.json    the branch's builds, newest first; the newest one
    <branch>/<build>/...                the reports of a build; immutable once complete
    <branch>/_builds/<build>.json       the build as the pages show it; written after its reports
    _branches/<branch>.json, _assets/   the branches' names, the style sheet

The build's folder comes first, then its small document, then the pointer, then the pages, which are generated
from the small documents alone. Publishing again completes whatever was left unfinished.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from covfleet.errors import (
    IncompleteDataError,
    ObjectNotFoundError,
    PipelineError,
    PreconditionFailedError,
    StoreError,
)
from covfleet.model import FAILING, Ledger, ReportFile, ReportManifest
from covfleet.ports.object_store import ObjectStore, StoredObject, checked_key
from covfleet.publish.pages import PublishedBuild, branch_page, style_sheet, top_page
from covfleet.store.build import StoredBuild
from covfleet.store.copies import Earlier
from covfleet.store.encoding import from_json, to_json
from covfleet.store.keys import BRANCH_REGISTRATIONS, TOP_INDEX, BuildKeys, SiteKeys
from covfleet.store.media import content_type
from covfleet.store.parallel import for_each

_IMMUTABLE = "public, max-age=31536000, immutable"
_NO_CACHE = "no-cache"
_ATTEMPTS = 50  # enough for as many publishers that finish at the same moment
_LISTED_BUILDS = 500


@dataclass(frozen=True, slots=True)
class BranchRegistration:
    """A branch's original name, before it was encoded for a key."""

    branch: str
    version: Literal[1] = 1


def publish_build(
    build: StoredBuild,
    site: ObjectStore,
    *,
    branch: str,
    workers: int,
    allow_partial: bool = False,
) -> str:
    """Publish the reports of a build to the site and return the URL of its HTML report.

    Publishing a build again changes nothing, but completes what an earlier attempt left unfinished.

    Raises:
        IncompleteDataError: the data is partial (unless ``allow_partial``) or conflicting, a stored report is
            damaged, or the site has a build of this name with other data. See also ``StoredBuild.reported``.
    """
    manifest, ledger = build.reported()
    _check_verdict(ledger, allow_partial=allow_partial)
    places = SiteKeys(branch)
    folder = places.folder(build.name)
    published = _described(manifest, ledger, branch)
    if not _is_published(site, places, published):
        earlier = _earlier(build.store, site, places)
        _copy_reports(_Copy(build, site, folder, earlier), manifest.files, workers)
        _update(site, places.record(build.name), lambda present: _first(present, published, site))
    _update(site, places.pointer, lambda present: _newer(present, published, site.url))
    _write_pages(site, places, workers)
    return f"{site.url.rstrip('/')}/{folder}html/index.html"


def _check_verdict(ledger: Ledger, *, allow_partial: bool) -> None:
    if ledger.verdict == "conflicting" or (ledger.verdict == "partial" and not allow_partial):
        hint = "Run the missing tests again, or use --allow-partial to publish it marked as partial."
        raise IncompleteDataError(
            f"build {ledger.build} of commit {ledger.commit} is {ledger.verdict} and won't be published",
            hint=hint if ledger.verdict == "partial" else "The ledger lists the contradictions.",
        )


def _described(manifest: ReportManifest, ledger: Ledger, branch: str) -> PublishedBuild:
    return PublishedBuild(
        build=manifest.build,
        commit=manifest.commit,
        branch=branch,
        created_at=manifest.created_at,
        verdict=manifest.verdict,
        totals=manifest.totals,
        tests_run=ledger.tests_run,
        tests_failed=sum(number for outcome, number in ledger.outcomes.items() if outcome in FAILING),
        data_sha256=manifest.data_sha256,
    )


def _is_published(site: ObjectStore, places: SiteKeys, build: PublishedBuild) -> bool:
    present = _find(site, places.record(build.build))
    return present is not None and bool(_first(present.data, build, site))


def _first(present: bytes | None, build: PublishedBuild, site: ObjectStore) -> bytes:
    """Return the document to keep: the first one; a later one must not contradict it."""
    if present is None:
        return to_json(build)
    first = from_json(PublishedBuild, present, name=f"the document of build {build.build} in {site.url}")
    if (first.commit, first.data_sha256) != (build.commit, build.data_sha256):
        raise IncompleteDataError(
            f"{site.url} already has a build {build.build} of branch {build.branch!r} with other data, "
            f"of commit {first.commit}",
            hint="Published builds never change: run the build again under another id (--build).",
        )
    return present


def _newer(present: bytes | None, build: PublishedBuild, site_url: str) -> bytes:
    """Return the pointer's content: it never goes back to an older build."""
    if present is not None:
        current = from_json(
            PublishedBuild, present, name=f"latest.json of branch {build.branch!r} in {site_url}"
        )
        if current.rank >= build.rank:
            return present
    return to_json(build)


def _earlier(store: ObjectStore, site: ObjectStore, places: SiteKeys) -> Earlier:
    """Return the files of the branch's newest build in the site, if the store still has their manifest."""
    try:
        latest = _read(site, places.pointer)
        manifest = StoredBuild(store, BuildKeys(latest.commit, latest.build)).find_manifest()
        return Earlier(site, places.folder(latest.build), manifest.files if manifest else ())
    except PipelineError:
        return Earlier(site)  # then all files are uploaded; damage is reported where the data is needed


@dataclass(frozen=True, slots=True)
class _Copy:
    """Copies the reports of a build to the site."""

    build: StoredBuild
    site: ObjectStore
    folder: str
    earlier: Earlier  # files of the branch's previous build in the site

    def __call__(self, file: ReportFile, path: Path) -> None:
        """Let the site copy a file that it already has; else transfer the file via ``path`` and check it."""
        target = checked_key(f"{self.folder}{file.path}")
        if self.earlier.copy(file, target, cache_control=_IMMUTABLE):
            return
        key = self.build.keys.report(file.path)
        self.build.store.download(key, path)
        data = path.read_bytes()
        if (len(data), hashlib.sha256(data).hexdigest()) != (file.size_bytes, file.sha256):
            raise IncompleteDataError(
                f"{key} in {self.build.store.url} doesn't match the manifest of the reports",
                hint="It is damaged or being written right now: run `covfleet report` again.",
            )
        self.site.upload(
            path,
            target,
            content_type=content_type(file.path),
            cache_control=_IMMUTABLE,
        )
        path.unlink()


def _copy_reports(copy: _Copy, files: tuple[ReportFile, ...], workers: int) -> None:
    with tempfile.TemporaryDirectory(prefix="covfleet-publish-") as scratch:
        numbered = [(file, Path(scratch, str(number))) for number, file in enumerate(files)]
        for_each(lambda pair: copy(*pair), numbered, workers=workers)


def _write_pages(site: ObjectStore, places: SiteKeys, workers: int) -> None:
    key, css = style_sheet()
    if _find(site, key) is None:
        site.put(key, css, content_type=content_type(key), cache_control=_IMMUTABLE)
    _update(site, places.index, lambda _: branch_page(places.branch, _builds(site, places, workers)))
    registration = to_json(BranchRegistration(places.branch))
    _update(site, places.registration, lambda _: registration)
    _update(site, TOP_INDEX, lambda _: top_page(_latest(site, workers)))


def _builds(site: ObjectStore, places: SiteKeys, workers: int) -> list[PublishedBuild]:
    """Return the branch's builds in the site; if there are very many, the most recently published ones."""
    infos = sorted(site.list(places.records), key=lambda info: info.modified, reverse=True)
    return for_each(lambda info: _read(site, info.key), infos[:_LISTED_BUILDS], workers=workers)


def _latest(site: ObjectStore, workers: int) -> list[PublishedBuild]:
    """Return the newest build of each branch."""

    def read(key: str) -> PublishedBuild:
        registered = from_json(BranchRegistration, site.get(key).data, name=f"{key} in {site.url}")
        return _read(site, SiteKeys(registered.branch).pointer)

    return for_each(read, [info.key for info in site.list(BRANCH_REGISTRATIONS)], workers=workers)


def _read(site: ObjectStore, key: str) -> PublishedBuild:
    return from_json(PublishedBuild, site.get(key).data, name=f"{key} in {site.url}")


def _find(site: ObjectStore, key: str) -> StoredObject | None:
    try:
        return site.get(key)
    except ObjectNotFoundError:
        return None


def _update(site: ObjectStore, key: str, make: Callable[[bytes | None], bytes]) -> None:
    """Replace an object with ``make`` of its content, without losing other publishers' changes.

    The put is conditional on the content that ``make`` saw. If it is refused, which also happens if our own
    put succeeded and only its response was lost, the object is read again. An object that is up to date isn't
    written.
    """
    for _ in range(_ATTEMPTS):
        present = _find(site, key)
        wanted = make(present.data if present else None)
        if present and present.data == wanted:
            return
        try:
            site.put(
                key,
                wanted,
                if_absent=present is None,
                if_match=present.etag if present else None,
                content_type=content_type(key),
                cache_control=_NO_CACHE,
            )
        except PreconditionFailedError:
            continue
        return
    raise StoreError(
        f"other publishers changed {key} in {site.url} {_ATTEMPTS} times during the update",
        hint="Publish again when fewer builds finish at the same time.",
    )
