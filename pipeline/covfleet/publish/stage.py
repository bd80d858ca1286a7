"""The stage ``publish``: a build's reports into a static site, in an order in which readers never see a mix.

    index.html                          the branches
    <branch>/index.html, latest.json    the branch's builds, newest first; the newest one
    <branch>/<build>/...                the reports of a build; never changed once they are complete
    <branch>/_builds/<build>.json       what the pages say of the build; written after its reports
    _branches/<branch>.json, _assets/   the branches' names, the style sheet

First the build's folder, then its small document, then the pointer, then the pages, which are made from the
small documents alone. Whatever was left half-done, publishing again completes.
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
from covfleet.store.documents import from_json, to_json
from covfleet.store.keys import BRANCH_REGISTRATIONS, TOP_INDEX, BuildKeys, SiteKeys
from covfleet.store.media import content_type
from covfleet.store.parallel import for_each

_IMMUTABLE = "public, max-age=31536000, immutable"
_NO_CACHE = "no-cache"
_ATTEMPTS = 50  # so many publishers may finish at the same moment
_LISTED_BUILDS = 500


@dataclass(frozen=True, slots=True)
class BranchRegistration:
    """A branch's name as it was before it became part of a key."""

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
    """Put the reports of a build into the site and return the address of its HTML report.

    Publishing a build again changes nothing but what an earlier attempt left undone.

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
        hint = "Run the missing tests again, or publish it marked as partial with --allow-partial."
        raise IncompleteDataError(
            f"build {ledger.build} of commit {ledger.commit} is {ledger.verdict}: it isn't published",
            hint=hint if ledger.verdict == "partial" else "The ledger names what contradicts what.",
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
    """Return the document to keep: the first one, which a later one must not contradict."""
    if present is None:
        return to_json(build)
    first = from_json(PublishedBuild, present, name=f"the document of build {build.build} in {site.url}")
    if (first.commit, first.data_sha256) != (build.commit, build.data_sha256):
        raise IncompleteDataError(
            f"{site.url} has a build {build.build} of branch {build.branch!r} with other data, "
            f"of commit {first.commit}",
            hint="What is published never changes: run the build again under an id of its own (--build).",
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
    """Return the files of the branch's newest build in the site, if the store can still say what they are."""
    try:
        latest = _read(site, places.pointer)
        manifest = StoredBuild(store, BuildKeys(latest.commit, latest.build)).find_manifest()
        return Earlier(site, places.folder(latest.build), manifest.files if manifest else ())
    except PipelineError:
        return Earlier(site)  # then all files are moved; what is damaged is told where it is needed


@dataclass(frozen=True, slots=True)
class _Copy:
    """From where to where the reports go."""

    build: StoredBuild
    site: ObjectStore
    folder: str
    earlier: Earlier  # what the site has of the branch's build before

    def __call__(self, file: ReportFile, path: Path) -> None:
        """Let the site copy what it has; else copy one report by way of ``path``, and check it there."""
        target = checked_key(f"{self.folder}{file.path}")
        if self.earlier.copy(file, target, cache_control=_IMMUTABLE):
            return
        key = self.build.keys.report(file.path)
        self.build.store.download(key, path)
        data = path.read_bytes()
        if (len(data), hashlib.sha256(data).hexdigest()) != (file.size_bytes, file.sha256):
            raise IncompleteDataError(
                f"{key} in {self.build.store.url} is not what the manifest of the reports describes",
                hint="It is damaged, or being written at this moment: run covfleet report again.",
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
    """Return what the site knows of the branch's builds: of very many, those that were published last."""
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
    """Replace an object by ``make`` of its content, so that no other publisher's change is lost.

    The condition on the put makes sure that what ``make`` saw is still there; otherwise, also when our own
    put succeeded and only its answer was lost, the object is read again. An object that is as it should be
    isn't written.
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
        f"{key} in {site.url} was changed by others {_ATTEMPTS} times while it was being updated",
        hint="Publish again when fewer builds finish at once.",
    )
