"""The events of a worker, validated on arrival: one frozen class per event.

A worker shares a process with the tests, which can write to its channel: anything but these events with
fields of the right types is rejected. ``pipeline/covfleet_worker`` documents the protocol.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Discriminator, Tag, TypeAdapter, ValidationError

from covfleet.errors import WorkerError
from covfleet.model import CoverageConfiguration, Environment, Measurement, TestOutcome
from covfleet.model.scope import Observed, Scope


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker is measuring, with this interpreter and these options."""

    environment: Environment
    measurement: Measurement
    root: str  # the project's folder as the worker sees it
    found: str = ""  # coverage's settings as they stand in the worker's own folder; empty: there are none
    applied: str = ""  # those that it measures with
    settings: CoverageConfiguration | None = None  # from the worker that a build is planned with


@dataclass(frozen=True, slots=True)
class Refused:
    """The project asks for something that can't be honoured; the worker ends."""

    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Collecting:
    """The worker is about to import this test file, or a folder's conftest.py; empty: it imports none now."""

    file: str


@dataclass(frozen=True, slots=True)
class TestsFound:
    """Some of the test ids that pytest collects, in its order."""

    __test__ = False  # its name makes pytest take it for a test class

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CollectionEnded:
    """All test ids were sent. ``imports`` are files without a test to run, ``errors`` failed collections."""

    imports: tuple[str, ...]
    errors: tuple[TestOutcome, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileSelected:
    """A file of the project that the settings select and the agent doesn't have; ``content`` in base64."""

    path: str
    content: str


@dataclass(frozen=True, slots=True)
class ScopeEnded:
    """Every such file was named; this is what selects them."""

    scope: Scope


@dataclass(frozen=True, slots=True)
class BatchStarted:
    """The worker is about to run these tests, in this order."""

    tests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DataSaved:
    """The coverage data of every test reported so far is on disk."""


@dataclass(frozen=True, slots=True)
class BatchEnded:
    """The batch has ended and its data is handed over. ``cpu_s`` includes subprocesses that have ended."""

    notes: tuple[str, ...]
    cpu_s: float = 0.0  # not measured for command groups
    observed: Observed = field(default_factory=Observed)


Event = (
    Ready
    | Refused
    | Collecting
    | TestsFound
    | CollectionEnded
    | FileSelected
    | ScopeEnded
    | BatchStarted
    | TestOutcome
    | DataSaved
    | BatchEnded
)
"""An event of a worker; a test's outcome also means the end of that test."""


def _name(fields: Any) -> str | None:
    """Return the event's name in the protocol, or ``None`` if it has none."""
    name = fields.get("event") if isinstance(fields, dict) else None
    return name if isinstance(name, str) else None


_EVENTS: TypeAdapter[Event] = TypeAdapter(
    Annotated[
        Annotated[Ready, Tag("ready")]
        | Annotated[Refused, Tag("refused")]
        | Annotated[Collecting, Tag("collecting")]
        | Annotated[TestsFound, Tag("tests")]
        | Annotated[CollectionEnded, Tag("collected")]
        | Annotated[FileSelected, Tag("selected")]
        | Annotated[ScopeEnded, Tag("scope")]
        | Annotated[BatchStarted, Tag("running")]
        | Annotated[TestOutcome, Tag("test")]
        | Annotated[DataSaved, Tag("saved")]
        | Annotated[BatchEnded, Tag("done")],
        Discriminator(_name),
    ]
)


def parse_event(line: bytes) -> Event:
    """Return the event in one line of JSON.

    Raises:
        WorkerError: the line isn't an event: other output is mixed in.
    """
    try:
        return _EVENTS.validate_json(line)
    except ValidationError as error:
        raise WorkerError(f"the worker sent something that isn't an event: {line[:200]!r}") from error
