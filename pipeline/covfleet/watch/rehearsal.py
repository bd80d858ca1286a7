"""Rehearse the reports on the data merged so far, while shards are still running, to fill the cache.

For most sources, the reports no longer change long before the last test has ended. The real reports take
these parts from the cache, just as from an earlier build: by a key of everything that they depend on.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import sqlite3
import tempfile
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from covfleet.combine.build import Combination
from covfleet.ports.narration import Narrate
from covfleet.ports.object_store import ObjectStore
from covfleet.report.cache.branch import Shelf, cache_here
from covfleet.report.rendering import Rendering, render

_AT = (0.4, 0.65, 0.8, 0.9, 0.95)
"""The shares of batches at which a rehearsal starts: each one leaves less to do for the next one."""

_NICENESS = 10  # merging and everything else on this machine come first


class Rehearsals:
    """The rehearsals of one build, each in its own process. Use it as a context manager: none outlives it.

    Args:
        combination: the data merged so far.
        store: the build's store, which has the report cache of its branch.
        cache: this machine's folder for the report cache.
        narrate: called with the error that a report would fail with.
    """

    def __init__(self, combination: Combination, store: ObjectStore, cache: Path, narrate: Narrate) -> None:
        self._combination = combination
        self._store = store
        self._cache = cache
        self._narrate = narrate
        self._scratch = Path(tempfile.mkdtemp(prefix="rehearsal-", dir=combination.workdir))
        self._left = list(_AT)
        self._process: BaseProcess | None = None
        self._said: Connection | None = None

    def __enter__(self) -> Rehearsals:
        shelf = Shelf(self._store, self._combination.plan.branch, self._cache, self._scratch, self._narrate)
        shelf.bring()
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._process:
            self._process.terminate()
        self._reap()
        shutil.rmtree(
            self._scratch, ignore_errors=True
        )  # a process that has just ended may still be releasing it

    @property
    def is_busy(self) -> bool:
        """Whether a rehearsal is running."""
        if self._process and not self._process.is_alive():
            self._reap()
        return self._process is not None

    def consider(self, share: float) -> None:
        """Start a rehearsal if it is time for one, given the share (0 to 1) of batches that have a result."""
        due = [at for at in self._left if share >= at]
        if self.is_busy or not due or share >= 1:
            return
        self._left = [at for at in self._left if at not in due]
        data_file = self._scratch / "data" / ".coverage"
        shutil.rmtree(data_file.parent, ignore_errors=True)
        data_file.parent.mkdir()
        try:
            if self._combination.snapshot(data_file):
                self._start(data_file)
        except (sqlite3.Error, OSError) as error:  # a rehearsal only saves time
            self._narrate(f"the reports can't be rehearsed: {error}")

    def _start(self, data_file: Path) -> None:
        processes = multiprocessing.get_context("spawn")  # this process has threads
        self._said, theirs = processes.Pipe(duplex=False)
        plan = self._combination.plan
        snapshot = _Snapshot(
            data_file,
            self._combination.source_dir,
            self._cache,
            self._scratch,
            plan.measurement.contexts,
            plan.coverage.for_reports if plan.coverage else "",
        )
        self._process = processes.Process(target=_rehearse, args=(snapshot, theirs))
        self._process.start()
        theirs.close()

    def _reap(self) -> None:
        """Release the process of a rehearsal that has ended, and report its error."""
        if self._process is None or self._said is None:
            return
        self._process.join()
        with contextlib.suppress(EOFError):  # there was no error
            self._narrate(f"so far, the reports can't be written: {self._said.recv()}")
        self._said.close()
        self._process.close()
        self._process = self._said = None


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """The input of a rehearsal, and its folders."""

    data_file: Path
    source_dir: Path
    cache: Path
    scratch: Path
    contexts: bool
    settings: str


def _rehearse(snapshot: _Snapshot, said: Connection) -> None:
    """Write all of coverage.py's reports, keep their reusable parts in the cache, and discard the reports."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal signals all processes; the follower decides
    os.nice(_NICENESS)
    tempfile.tempdir = str(
        snapshot.scratch
    )  # if it is terminated, its leftovers are removed with that folder
    try:
        with (
            tempfile.TemporaryDirectory(prefix="reports-", dir=snapshot.scratch) as folder,
            cache_here(snapshot.cache, lambda _: None) as cache,
        ):
            into, aside = Path(folder, "into"), Path(folder, "aside")
            into.mkdir()
            aside.mkdir()
            job = Rendering(
                data_file=snapshot.data_file,
                source_dir=snapshot.source_dir,
                into=into,
                scratch=aside,
                contexts=snapshot.contexts,
                title="",
                verdict="complete",
                cache=cache,
                settings=snapshot.settings,
            )
            render(job)
    except Exception as error:  # the follower reports any error and continues
        said.send(f"{error}")
