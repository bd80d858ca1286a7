"""The keys of the report cache: hashes of everything that a cached entry was made from.

Too much in a key costs a hit; too little would cost correctness. So everything counts that isn't known to
have no
effect: every setting of coverage.py except the names of files, its own code, and our code that makes reports.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import coverage
from coverage import Coverage, CoverageData

_PLACES = frozenset(
    {
        "_config_contents",
        "config_file",
        "config_files_attempted",
        "config_files_read",
        "data_file",
        "extra_css",  # its name is among the statics and contains a hash of its content
        "html_dir",
        "json_output",
        "lcov_output",
        "xml_output",
    }
)
"""Settings that are only locations; the content there counts itself."""

_RULES = ("exclude_list", "partial_list", "partial_always_list")
_OWN_CODE = Path(__file__).parents[1]  # report/


class Keys:
    """Makes the keys of one report."""

    def __init__(self, cov: Coverage, statics: Mapping[str, str]) -> None:
        self._data: CoverageData = cov.get_data()
        settings = _settings(cov)
        self._has_arcs = self._data.has_arcs()
        self._by_context = bool(cov.config.show_contexts or cov.config.report_contexts)
        rules = {name: settings[name] for name in _RULES}
        self._of_facts = _digest("facts", makers(), rules, self._has_arcs)
        self._of_fragments = _digest("fragment", makers(), settings, dict(statics), self._has_arcs)

    def of_facts(self, content: bytes) -> str:
        """Return the key of what depends only on a source's content and the exclusion rules."""
        return _digest(self._of_facts, hashlib.sha256(content).hexdigest())

    def of_fragment(self, content: bytes, name: str, filename: str, order: list[int]) -> str:
        """Return the key of everything that the reports say about a source.

        Args:
            content: the source's content.
            name: its relative name, as in the reports.
            filename: its name in the data file.
            order: the order of lines with contexts, if the reports show it.
        """
        source = hashlib.sha256(content).hexdigest()
        return _digest(self._of_fragments, source, name, self._rows(filename), order)

    def _rows(self, filename: str) -> Any:
        """Return the data on a source: by context if the reports show contexts, otherwise united."""
        table = ("arcs" if self._has_arcs else "lines") + ("_by_context" if self._by_context else "")
        with (
            self._data._connect() as db,
            db.execute(_QUERIES[table], [self._data._file_id(filename)]) as rows,
        ):
            found = list(rows)
        if self._by_context:
            return sorted((context, *map(_text, row)) for context, *row in found)
        return found if self._has_arcs else f"{_union(row for (row,) in found):x}"


_QUERIES = {
    "arcs": "select distinct fromno, tono from arc where file_id = ? order by fromno, tono",
    "arcs_by_context": "select context, group_concat(fromno), group_concat(tono) "
    "from arc join context on context.id = context_id where file_id = ? group by context_id",
    "lines": "select numbits from line_bits where file_id = ?",
    "lines_by_context": "select context, numbits from line_bits join context on context.id = context_id "
    "where file_id = ?",
}
"""The tables of schema 7. With another one the one pass fails, and coverage.py's own calls make the reports.

Arcs of a context come in the order of the table's index. If they ever don't, the key is another one.
"""


def _text(row: bytes | str) -> str:
    return row if isinstance(row, str) else row.hex()


def _union(bitmaps: Any) -> int:
    union = 0
    for bitmap in bitmaps:
        union |= int.from_bytes(bitmap, "little")
    return union


def proof_key(cov: Coverage) -> str:
    """Return the key of the proof that the one pass may make the reports of a project.

    It holds for the code and interpreter that make them, and for settings and data of the same kind. A title
    doesn't count: it names the verdict of the build, and is only ever text.
    """
    data = cov.get_data()
    settings = {name: value for name, value in _settings(cov).items() if name != "html_title"}
    has_contexts = bool(data.measured_contexts() - {""})
    return PROOF + _digest("proof", makers(), settings, data.has_arcs(), has_contexts)


PROOF = "proof-"
"""How the keys of all proofs begin."""


@cache
def makers() -> str:
    """Return a hash of who makes reports: interpreter, coverage.py, and our own code.

    Versions wouldn't do: distributions patch coverage.py, and developers patch us.
    """
    return _digest(
        sys.version,
        sys.implementation.name,
        sys.flags.optimize,
        coverage.__version__,
        _code(Path(coverage.__file__).parent.rglob("*")),
        _code(path for room in ("", "cache", "onepass", "proof") for path in (_OWN_CODE / room).glob("*")),
    )


def _code(paths: Iterable[Path]) -> list[tuple[str, str]]:
    """Return names and hashes of sources and of what else is no product of them."""
    return [
        (path.name, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(paths)
        if path.suffix in _CODE and path.is_file()
    ]


_CODE = frozenset({".py", ".html", ".css", ".js"})


def _settings(cov: Coverage) -> dict[str, Any]:
    return {name: value for name, value in vars(cov.config).items() if name not in _PLACES}


def _digest(*parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
