"""coverage.py with the core in ``monitor.py``: it writes lines by context to ordinary data files."""

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
"""The version of data files that ``ContextCollector`` can write directly."""

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
    """Make a ``Coverage`` that hasn't started use this core.

    coverage.py has no plugin interface for cores, so this changes the classes of its objects to ours.

    Raises:
        UnusableError: the core can't measure here.
    """
    for class_, names in _NEEDED.items():
        if missing := [name for name in names if not hasattr(class_, name)]:
            raise UnusableError(f"coverage {coverage.__version__} has no {class_.__name__}.{missing[0]}")
    check_usable()
    cov.__class__ = ContextCoverage


class ContextCollector(Collector):
    """coverage.py's collector, which keeps lines by context in memory until they are requested.

    The stock one writes to the data file at each switch of the context, with a transaction per measured file.
    """

    _lines: dict[tuple[str, str], int]  # context and file -> the bits of its lines
    _is_writing: bool

    def begin(self) -> None:
        """Initialise an object that was created as a stock collector."""
        self._lines = {}
        self._is_writing = False
        os.register_at_fork(after_in_child=self._forget_parent)

    def _forget_parent(self) -> None:
        """Forget, in a forked process, the lines that its parent will write, and record them again."""
        self._gather()
        self._lines = {}

    def stop(self) -> None:
        """Stop for good: keep the recorded lines, and let the following code run at no cost."""
        super().stop()
        self._gather()  # a new start creates another tracer
        for tracer in self.tracers:
            assert isinstance(tracer, Monitor)
            tracer.end()

    def switch_context(self, new_context: str | None) -> str | None:
        """Attribute the following code to another context; return the previous one."""
        self._gather()
        before = self._context()
        self.covdata.set_context("|".join(name for name in (self.static_context, new_context) if name))
        return before

    def _context(self) -> str:
        return self.covdata._current_context or ""

    def _gather(self) -> None:
        """Take the lines that the tracers have recorded.

        No garbage is collected meanwhile: a finalizer's code would belong half to one context and half to the
        other, as some of it has events again and some doesn't yet.
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
        """Write the gathered lines of all contexts, and return true: there is a data file now.

        A nested call, from the handler of a signal that arrives during the write, does nothing: the process
        is about to end, and the lines of the unfinished transaction haven't been reported as saved.
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
        data.add_lines({})  # creates the data file, or another one after a fork
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
        """Write with the public API, which supports all versions of data files."""
        context = self.covdata._current_context
        for (name, file), lines in self._lines.items():
            self.covdata.set_context(name)
            self.covdata.add_lines({file: numbits_to_nums(_numbits(lines))})
        self.covdata.set_context(context)


def _numbits(lines: int) -> bytes:
    """Return the bits of lines in coverage.py's form: ``coverage.numbits``."""
    return lines.to_bytes((lines.bit_length() + 7) // 8, "little")


def _write_rows(connection: sqlite3.Connection, lines: Mapping[tuple[str, str], int]) -> None:
    """Add lines to a data file that already lists their files, in one transaction."""
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
