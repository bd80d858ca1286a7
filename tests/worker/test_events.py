"""What a worker says is checked at the door: events as the protocol has them, and nothing else."""

from __future__ import annotations

import json

import pytest
from covfleet.errors import WorkerError
from covfleet.model import Environment, Measurement, TestOutcome
from covfleet.worker.events import (
    BatchEnded,
    BatchStarted,
    CollectionEnded,
    DataSaved,
    Event,
    Ready,
    TestsFound,
    parse_event,
)

OUTCOME = {"id": "test_a.py::test", "outcome": "failed", "duration_s": 0.5, "message": "no", "output": "..."}
READY = {
    "environment": {"python": "3.12.1", "pytest": "8.4.0", "coverage": "7.10.6", "platform": "linux"},
    "measurement": {"branch": False, "contexts": True, "core": "monitor"},
    "root": "/app",
}
SAID: list[tuple[dict[str, object], Event]] = [
    (
        {"event": "ready", **READY},
        Ready(
            Environment("3.12.1", "8.4.0", "7.10.6", "linux"),
            Measurement(branch=False, contexts=True, core="monitor"),
            "/app",
        ),
    ),
    ({"event": "tests", "ids": ["a", "b"]}, TestsFound(("a", "b"))),
    (
        {"event": "collected", "imports": ["x.py"], "errors": [OUTCOME]},
        CollectionEnded(("x.py",), (TestOutcome("test_a.py::test", "failed", 0.5, "no", "..."),)),
    ),
    ({"event": "running", "tests": ["a"]}, BatchStarted(("a",))),
    ({"event": "test", **OUTCOME}, TestOutcome("test_a.py::test", "failed", 0.5, "no", "...")),
    ({"event": "saved"}, DataSaved()),
    ({"event": "done", "files": [], "notes": ["n"], "cpu_s": 1.5}, BatchEnded(("n",), 1.5)),
    ({"event": "done", "files": [], "notes": []}, BatchEnded((), 0.0)),
]


@pytest.mark.parametrize(("fields", "event"), SAID, ids=lambda value: str(value)[:30])
def test_an_event_becomes_its_own_class(fields: dict[str, object], event: Event) -> None:
    assert parse_event(json.dumps(fields).encode()) == event


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff\xfe",
        b"[1]",
        b'"saved"',
        b"{}",
        b'{"event": "saved"} and more',
        b'{"event": null}',
        b'{"event": ["saved"]}',
        b'{"event": "other"}',
        b'{"event": "ready"}',
        b'{"event": "tests", "ids": "abc"}',
        b'{"event": "tests", "ids": [1]}',
        b'{"event": "running"}',
        b'{"event": "test", "id": "a", "outcome": "fine", "duration_s": 0}',
        b'{"event": "test", "id": "a", "outcome": "passed", "duration_s": "soon"}',
        b'{"event": "test", "id": "\\ud800", "outcome": "passed", "duration_s": 0}',
        b'{"event": "collected", "imports": [], "errors": [{"id": "a"}]}',
        b"[" * 100_000,  # deeper than Python's own parser can go
        b'{"event":' * 100_000,
    ],
    ids=lambda line: repr(line[:40]),
)
def test_anything_else_is_refused_and_shown(line: bytes) -> None:
    with pytest.raises(WorkerError) as raised:
        parse_event(line)
    assert repr(line[:200]) in str(raised.value)
