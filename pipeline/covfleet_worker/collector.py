"""coverage.py with the core of ``monitor.py``: what it saw, by context, into ordinary data files."""

from __future__ import annotations

import gc
import os
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import Any, cast

import coverage
from coverage.collector import Collector
from coverage.exceptions import DataError
from coverage.numbits import numbits_to_nums, register_sqlite_functions

from .callbacks import UnusableError
from .guard import OwnCoverage
from .monitor import Monitor, check_usable

SCHEMA_VERSION = 7
"""Of the data files that ``ContextCollector`` can write by itself."""

_NEEDED = {
    coverage.Coverage: ("_init_for_start", "_should_trace", "switch_context"),
    Collector: ("switch_context", "flush_data", "use_data", "cached_mapped_file", "_start_tracer"),
}
_WITHOUT_JOURNAL = """
    PRAGMA synchronous = OFF;
    PRAGMA journal_mode = MEMORY;
    PRAGMA cache_spill = OFF; -- so that nothing is written before the end of the transaction
    BEGIN
"""
_ADD_CONTEXT = "INSERT OR IGNORE INTO context (context) VALUES (?)"
_ADD_LINES = """
    INSERT INTO line_bits (file_id, context_id, numbits) VALUES (?, ?, ?)
    ON CONFLICT (file_id, context_id) DO UPDATE SET numbits = numbits_union(numbits, excluded.numbits)
"""


class ContextCoverage(OwnCoverage):
    """coverage.py with this core."""

    def _init_for_start(self) -> None:
        super()._init_for_start()
        core, collector = self._core, self._collector
        assert core is not None and collector is not None
        core.tracer_class = cast("Any", Monitor)
        core.systrace = core.packed_arcs = False
        collector.__class__ = ContextCollector
        assert isinstance(collector, ContextCollector)
        collector.begin()


def take_over(cov: coverage.Coverage) -> None:
    """Give this core to a ``Coverage`` that hasn't started.

    coverage.py has no place where a core could be plugged in: it makes its objects, and they become ours.

    Raises:
        UnusableError: it can't measure here.
    """
    for class_, names in _NEEDED.items():
        if missing := [name for name in names if not hasattr(class_, name)]:
            raise UnusableError(f"coverage {coverage.__version__} has no {class_.__name__}.{missing[0]}")
    check_usable()
    cov.__class__ = ContextCoverage


class ContextCollector(Collector):
    """coverage.py's collector, which keeps lines by context in memory until they are asked for.

    The stock one writes to the data file at each switch of the context, a transaction for each of its files.
    """

    _lines: dict[tuple[str, str], int]  # context and file -> the bits of its lines
    _is_writing: bool

    def begin(self) -> None:
        """Become one, after having been made as a stock collector."""
        self._lines = {}
        self._is_writing = False
        os.register_at_fork(after_in_child=self._forget_parent)

    def _forget_parent(self) -> None:
        """Forget, in a forked process, what its parent is going to write, and see those lines again."""
        self._gather()
        self._lines = {}

    def stop(self) -> None:
        """Stop, and not only pause: keep what was seen, and let what runs from now on cost nothing."""
        super().stop()
        self._gather()  # to start again makes another tracer
        for tracer in self.tracers:
            assert isinstance(tracer, Monitor)
            tracer.end()

    def switch_context(self, new_context: str | None) -> str | None:
        """Attribute what runs from now on to another context; return the one before."""
        self._gather()
        before = self._context()
        self.covdata.set_context("|".join(name for name in (self.static_context, new_context) if name))
        return before

    def _context(self) -> str:
        return self.covdata._current_context or ""

    def _gather(self) -> None:
        """Take what the tracers have seen.

        No garbage is collected meanwhile: what a finalizer runs would belong half to one context, half to the
        other, since some of its code has events again, and some not yet.
        """
        collects = gc.isenabled()
        gc.disable()
        try:
            for tracer in self.tracers:
                assert isinstance(tracer, Monitor)
                tracer.take(self._keep)
        finally:
            if collects:
                gc.enable()

    def _keep(self, lines_by_file: Mapping[str, int]) -> None:
        context = self._context()
        for source, lines in lines_by_file.items():
            key = context, self.cached_mapped_file(source)
            self._lines[key] = self._lines.get(key, 0) | lines

    def flush_data(self) -> bool:
        """Write what was gathered, whatever its context, and return true: there is a data file now.

        Within itself, as in the handler of a signal that came while it writes, it does nothing: the process
        is about to end, and nobody was told that the lines of the unfinished transaction are safe.
        """
        if self._is_writing:
            return False
        self._is_writing = True
        try:
            self._gather()
            self._write()
        finally:
            self._is_writing = False
        return True

    def _write(self) -> None:
        data, lines = self.covdata, self._lines
        data.add_lines({})  # makes the data file, or another one after a fork
        data.touch_files(sorted({file for _, file in lines}))
        try:
            with closing(sqlite3.connect(data.data_filename(), isolation_level=None)) as connection:
                if connection.execute("SELECT version FROM coverage_schema").fetchone() != (SCHEMA_VERSION,):
                    self._write_slowly()
                else:
                    _write_rows(connection, lines)
        except sqlite3.Error as error:
            raise DataError(f"Couldn't use data file {data.data_filename()!r}: {error}") from error
        self._lines = {}

    def _write_slowly(self) -> None:
        """Write through the public interface, which knows all forms of data files."""
        context = self.covdata._current_context
        for (name, file), lines in self._lines.items():
            self.covdata.set_context(name)
            self.covdata.add_lines({file: numbits_to_nums(_numbits(lines))})
        self.covdata.set_context(context)


def _numbits(lines: int) -> bytes:
    """Return the bits of lines as coverage.py stores them: ``coverage.numbits``."""
    return lines.to_bytes((lines.bit_length() + 7) // 8, "little")


def _write_rows(connection: sqlite3.Connection, lines: Mapping[tuple[str, str], int]) -> None:
    """Add lines to a data file whose files are known, in one transaction."""
    register_sqlite_functions(connection)
    connection.executescript(_WITHOUT_JOURNAL)
    contexts = dict.fromkeys(context for context, _ in lines)
    connection.executemany(_ADD_CONTEXT, ((context,) for context in contexts))
    context_ids = _ids(connection, "SELECT context, id FROM context")
    file_ids = _ids(connection, "SELECT path, id FROM file")
    connection.executemany(
        _ADD_LINES,
        ((file_ids[file], context_ids[name], _numbits(bits)) for (name, file), bits in lines.items()),
    )
    connection.execute("COMMIT")


def _ids(connection: sqlite3.Connection, query: str) -> dict[str, int]:
    rows: Iterable[tuple[str, int]] = connection.execute(query)
    return dict(rows)
