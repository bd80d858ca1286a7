"""Reports in rehearsal: made of what is merged so far, while shards still run, for the cache alone.

Most sources look the same to the reports long before the last test has ended. What a rehearsal makes of them
the real reports take over, as they would from an earlier build: by a key of all that they depend on.
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
"""Which shares of the batches are merged when there is a rehearsal: each leaves less to the next one."""

_NICENESS = 10  # merging and whatever else this machine does come first


class Rehearsals:
    """The rehearsals of one build, each in a process of its own. Use as a context manager: none outlives it.

    Args:
        combination: what is merged so far.
        store: of the build; what earlier builds of its branch left is taken from there.
        cache: this machine's folder for what reports leave.
        narrate: told what a report would fail of.
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
        shutil.rmtree(self._scratch, ignore_errors=True)  # what has just ended may still let go of it

    @property
    def is_busy(self) -> bool:
        """Whether one is under way."""
        if self._process and not self._process.is_alive():
            self._reap()
        return self._process is not None

    def consider(self, share: float) -> None:
        """Begin a rehearsal if it is time for one, given the share (0 to 1) of batches that have a result."""
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
        except (sqlite3.Error, OSError) as error:  # it only saves time
            self._narrate(f"the reports aren't rehearsed: {error}")

    def _start(self, data_file: Path) -> None:
        processes = multiprocessing.get_context("spawn")  # this process has threads
        self._said, theirs = processes.Pipe(duplex=False)
        contexts = self._combination.plan.measurement.contexts
        snapshot = _Snapshot(data_file, self._combination.source_dir, self._cache, self._scratch, contexts)
        self._process = processes.Process(target=_rehearse, args=(snapshot, theirs))
        self._process.start()
        theirs.close()

    def _reap(self) -> None:
        """Let go of a rehearsal that has ended, and tell what it said."""
        if self._process is None or self._said is None:
            return
        self._process.join()
        with contextlib.suppress(EOFError):  # it had nothing to say
            self._narrate(f"so far, no reports can be made: {self._said.recv()}")
        self._said.close()
        self._process.close()
        self._process = self._said = None


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """What a rehearsal is made of, and where."""

    data_file: Path
    source_dir: Path
    cache: Path
    scratch: Path
    contexts: bool


def _rehearse(snapshot: _Snapshot, said: Connection) -> None:
    """Make all of coverage.py's reports, keep what the cache can use of them, and throw them away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the follower decides
    os.nice(_NICENESS)
    tempfile.tempdir = str(snapshot.scratch)  # what it leaves when it is ended goes with that
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
            )
            render(job)
    except Exception as error:  # whatever it is, the follower tells it and goes on
        said.send(f"{error}")
