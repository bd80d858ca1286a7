"""The data that a branch's builds leave for the next one: the last build's name, and the report cache.

It only saves time, so its faults are never fatal: damaged or unwritable data is reported and created again.
If two builds write at once, the last one wins.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from covfleet.errors import ObjectNotFoundError, PipelineError
from covfleet.files import sha256_of
from covfleet.model import Ledger
from covfleet.ports.narration import Narrate
from covfleet.ports.object_store import ObjectStore
from covfleet.report.cache.contents import ReportCache
from covfleet.report.cache.file import Bundle, open_bundle
from covfleet.store.build import StoredBuild
from covfleet.store.copies import Earlier
from covfleet.store.encoding import from_json, to_json
from covfleet.store.keys import BuildKeys, report_cache, reported
from covfleet.store.timings import DEFAULT_BRANCHES

_LOCAL = "reports"
_FETCHED = "fetched"
_NOT_KEPT = "the next reports will take longer, as this cache can't be kept"


@dataclass(frozen=True, slots=True)
class Reported:
    """The most recently reported build of a branch."""

    commit: str
    build: str
    cache_sha256: str  # of the branch's bundle as this build left it
    version: Literal[1] = 1


class Shelf:
    """The location of a branch's cache: a folder for this machine, the store for all machines.

    Args:
        store: the builds' store.
        branch: the builds' branch.
        folder: this machine's folder, created when needed; ``None``: keep nothing here.
        scratch: an existing folder for temporary files.
        narrate: called with the reason if a cache can't be used or kept.
    """

    def __init__(
        self, store: ObjectStore, branch: str, folder: Path | None, scratch: Path, narrate: Narrate
    ) -> None:
        self._store = store
        self._branch = branch
        self._folder = folder
        self._scratch = scratch
        self._narrate = narrate
        self._local = _digest(folder / _LOCAL) if folder else ""
        self._stored = ""  # of the branch's own bundle

    @contextlib.contextmanager
    def open(self) -> Iterator[tuple[ReportCache, Earlier]]:
        """Yield the cache of earlier reports, and the files of the branch's or a default branch's last build.

        The store's bundle is fetched only if it differs from the one on this machine.
        """
        branch, last = self._last()
        paths = [self._folder / _LOCAL] if self._folder and self._local else []
        if last and last.cache_sha256 != self._local:
            paths += self._fetched(branch)
        if last and branch == self._branch:
            self._stored = last.cache_sha256
        with _opened(paths, self._narrate) as bundles:
            yield ReportCache(bundles), self._files(last) if last else Earlier(self._store)

    def bring(self) -> None:
        """Fetch the bundle of the branch, or of a default branch, to this machine's folder if it is empty."""
        if self._folder is None or self._local:
            return
        branch, last = self._last()
        if last and self._fetched(branch):
            _keep_here(self._folder, self._scratch / _FETCHED, self._narrate)

    def keep(self, cache: ReportCache, ledger: Ledger) -> None:
        """Keep the cache for the next reports, here and in the store, and record the build.

        An incomplete build leaves nothing: each of its pages says so and fits no other build.
        """
        if ledger.verdict in ("partial", "conflicting"):
            return
        bundle, digest = self._scratch / "bundle", self._stored
        is_kept = not cache.is_news and self._stored == self._local != ""
        try:
            if not is_kept:
                cache.write(bundle)
                digest = _digest(bundle)
                if self._folder:
                    _keep_here(self._folder, bundle, self._narrate)
                self._store.upload(bundle, report_cache(self._branch))
            last = Reported(ledger.commit, ledger.build, digest)
            self._store.put(reported(self._branch), to_json(last))
        except (OSError, PipelineError) as error:
            self._narrate(f"{_NOT_KEPT}: {error}")

    def _last(self) -> tuple[str, Reported | None]:
        for branch in dict.fromkeys((self._branch, *DEFAULT_BRANCHES)):
            key = reported(branch)
            try:
                return branch, from_json(Reported, self._store.get(key).data, name=key)
            except ObjectNotFoundError:
                continue
            except PipelineError as error:
                self._narrate(f"all reports are written without a cache: {error}")
        return self._branch, None

    def _fetched(self, branch: str) -> list[Path]:
        path = self._scratch / _FETCHED
        try:
            self._store.download(report_cache(branch), path)
        except ObjectNotFoundError:
            return []
        except PipelineError as error:
            self._narrate(f"the cache of reports can't be used: {error}")
            return []
        return [path]

    def _files(self, last: Reported) -> Earlier:
        try:
            build = StoredBuild(self._store, BuildKeys(last.commit, last.build))
            manifest = build.find_manifest()
        except PipelineError as error:
            self._narrate(f"all reports are uploaded: {error}")
            return Earlier(self._store)
        return Earlier(self._store, build.keys.reports, manifest.files if manifest else ())


@contextlib.contextmanager
def cache_here(folder: Path, narrate: Narrate) -> Iterator[ReportCache]:
    """Yield this machine's cache, for data that belongs to no build, and keep its content at the end."""
    path = folder / _LOCAL
    with _opened([path] if path.exists() else [], narrate) as bundles:
        cache = ReportCache(bundles)
        yield cache
        if cache.is_news:
            with tempfile.TemporaryDirectory(prefix="covfleet-") as scratch:
                cache.write(Path(scratch, "bundle"))
                _keep_here(folder, Path(scratch, "bundle"), narrate)


@contextlib.contextmanager
def _opened(paths: Iterable[Path], narrate: Narrate) -> Iterator[list[Bundle]]:
    """Yield the bundles in these files; report those that can't be used."""
    with contextlib.ExitStack() as stack:
        bundles = []
        for path in paths:
            try:
                bundle = open_bundle(path)
            except OSError as error:
                narrate(f"the cache of reports can't be used: {error}")
                continue
            if bundle:
                bundles.append(stack.enter_context(bundle))
            else:
                narrate("the cache of reports starts anew: it is damaged or from another covfleet version")
        yield bundles


def _keep_here(folder: Path, bundle: Path, narrate: Narrate) -> None:
    """Make a copy of the bundle this machine's, or report why that fails."""
    part = folder / f".{secrets.token_hex(16)}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(bundle, part)
            part.replace(folder / _LOCAL)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        narrate(f"{_NOT_KEPT}: {error}")


def _digest(path: Path) -> str:
    """Return a file's SHA-256, or an empty string if it doesn't exist."""
    try:
        return sha256_of(path)
    except OSError:
        return ""
