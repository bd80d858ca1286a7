"""What was found out about the one pass, for whom it holds, and how it is remembered."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Literal

import coverage
from pydantic import TypeAdapter, ValidationError

from covfleet.report.cache.contents import ReportCache
from covfleet.report.cache.keys import PROOF, makers
from covfleet.text import counted


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether the one pass may make the reports, and what shows it."""

    fault: str  # why it may not; empty: it may
    sample: int  # sources of covfleet's own that were compared
    own: int  # sources of the project that were compared
    makers: str  # of reports: the hash of their code and interpreter
    is_final: bool = True  # it would be the same again
    version: Literal[1] = 1

    @property
    def holds(self) -> bool:
        """Whether the one pass may be used."""
        return not self.fault

    @property
    def detail(self) -> str:
        """In which way reports are made, and why."""
        python = f"{platform.python_implementation()} {platform.python_version()}"
        who = f"coverage.py {coverage.__version__} on {python}"
        if self.fault:
            return f"one by one, which takes several times as long: with {who} the one pass {self.fault}"
        own = f" and {self.own} of the project's" if self.own else ""
        compared = f"{counted(self.sample, 'sample source')}{own}"
        return f"in one pass, byte for byte as {who} writes them (compared: {compared})"

    @property
    def note(self) -> str:
        """In which way the reports were made, and why, for their readers."""
        return f"coverage.py's reports were made {self.detail}"


_PROOF = TypeAdapter(Proof)


def broken(fault: str, *, is_final: bool = True) -> Proof:
    """Return that the one pass may not be used."""
    return Proof(fault, 0, 0, makers(), is_final)


def recall(cache: ReportCache | None, key: str) -> Proof | None:
    """Return what was found out before; ``None`` if nothing was, or what is left of it is no proof."""
    content = cache.look_up(key) if cache else None
    return None if content is None else _proof(content)


def last_fault(cache: ReportCache) -> Proof | None:
    """Return why an earlier report by the same code could not be made in one pass; ``None`` if all could."""
    proofs = map(_proof, cache.aside(PROOF))
    return next((proof for proof in proofs if proof and proof.fault and proof.makers == makers()), None)


def remember(cache: ReportCache | None, key: str, proof: Proof) -> None:
    """Keep it for the next reports, if it would be the same then."""
    if cache and proof.is_final and recall(cache, key) != proof:
        cache.put(key, _PROOF.dump_json(proof))


def _proof(content: bytes) -> Proof | None:
    try:
        return _PROOF.validate_json(content)
    except ValidationError:
        return None
