"""The pass over the sources, in this process or in several, each of which takes the next source when free."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Protocol, TypeVar

from covfleet.errors import PipelineError
from covfleet.report.cache.file import Bundle
from covfleet.report.onepass.fragments import FragmentMaker, Made
from covfleet.report.onepass.pages import PageStyle, WrittenPage
from covfleet.report.onepass.parsed_source import Facts
from covfleet.report.onepass.sharing import shared_work
from covfleet.report.stock import Configured

R = TypeVar("R")

Links = tuple[str, str]
_ENOUGH = 8  # sources per process; with fewer, starting it costs more than it saves


@dataclass(frozen=True, slots=True)
class Source:
    """A source to report."""

    name: str  # as in the data file
    size_bytes: int
    links: Links  # to the pages before and after its own, if none is left out


class Pass(Protocol):
    """Does the work that needs the sources themselves."""

    def make(self, sources: Sequence[Source]) -> list[Made]:
        """Return the result for each source, in their order; raise the first error."""

    def relink(self, pages: Sequence[tuple[str, WrittenPage, Links]]) -> list[WrittenPage]:
        """Change the links of written pages, each given with its source's name; return the new pages."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The input of every process of a pass."""

    configured: Configured
    style: PageStyle
    bundles: tuple[Bundle, ...] | None  # of earlier reports; None: nothing is kept

    @contextlib.contextmanager
    def maker(self) -> Iterator[FragmentMaker]:
        """Yield a maker of fragments in this process."""
        known: dict[str, Facts] = {}
        with shared_work(known), self.configured() as cov, cov.get_data()._connect():
            yield FragmentMaker(cov, self.style, self.bundles, known)


def open_pass(setup: Setup, sources: int, processes: int | None) -> AbstractContextManager[Pass]:
    """Return a pass in this many processes; by default as many as there are cores and enough sources for.

    Only forked processes start at almost no cost and share this one's state, and only a process with a single
    thread can be forked safely; otherwise the pass runs in this process.
    """
    wanted = processes or min(len(os.sched_getaffinity(0)), sources // _ENOUGH) if _can_fork() else 1
    return _forked(setup, wanted) if wanted > 1 else _here(setup)


def _can_fork() -> bool:
    return sys.platform == "linux" and threading.active_count() == 1


@contextlib.contextmanager
def _here(setup: Setup) -> Iterator[Pass]:
    with setup.maker() as maker:
        yield _Here(maker)


class _Here:
    def __init__(self, maker: FragmentMaker) -> None:
        self._maker = maker

    def make(self, sources: Sequence[Source]) -> list[Made]:
        return [self._maker.make(source.name, source.links) for source in sources]

    def relink(self, pages: Sequence[tuple[str, WrittenPage, Links]]) -> list[WrittenPage]:
        return [self._maker.relink(*page) for page in pages]


@contextlib.contextmanager
def _forked(setup: Setup, processes: int) -> Iterator[Pass]:
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("fork"), _begin, (setup,))
    try:
        yield _Forked(pool)
    finally:
        pool.shutdown(cancel_futures=True)


class _Forked:
    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def make(self, sources: Sequence[Source]) -> list[Made]:
        largest_first = sorted(range(len(sources)), key=lambda i: -sources[i].size_bytes)
        futures = {i: self._pool.submit(_make, sources[i].name, sources[i].links) for i in largest_first}
        return _results([futures[i] for i in range(len(sources))])

    def relink(self, pages: Sequence[tuple[str, WrittenPage, Links]]) -> list[WrittenPage]:
        return _results([self._pool.submit(_relink, *page) for page in pages])


def _results(futures: Sequence[Future[R]]) -> list[R]:
    try:
        return [future.result() for future in futures]
    except BrokenProcessPool as error:
        raise PipelineError(
            "a process that writes the reports was killed",
            hint="The system log may say why; the most common reason is a lack of memory.",
        ) from error


_maker: FragmentMaker | None = None  # of a process of the pool
_for_good = ExitStack()


def _begin(setup: Setup) -> None:
    """Prepare a process of the pool, which ends with the process that forked it."""
    global _maker  # noqa: PLW0603 - the only thing that outlives a task of the pool
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal signals all processes; the parent decides
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _maker = _for_good.enter_context(setup.maker())


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _make(name: str, links: Links) -> Made:
    assert _maker
    return _maker.make(name, links)


def _relink(name: str, page: WrittenPage, links: Links) -> WrittenPage:
    assert _maker
    return _maker.relink(name, page, links)
