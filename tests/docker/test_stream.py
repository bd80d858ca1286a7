"""The engine's framing of stdout and stderr, without an engine."""

from __future__ import annotations

import socket
import struct

import pytest
from covfleet.adapters.docker.stream import MAX_LINE_BYTES, STDERR_TAIL_BYTES, AttachedStreams, Demultiplexer
from covfleet.errors import WorkerError


def frame(stream: int, payload: bytes) -> bytes:
    return struct.pack(">BxxxL", stream, len(payload)) + payload


def test_a_line_over_the_limit_is_refused() -> None:
    demultiplexer = Demultiplexer()
    with pytest.raises(WorkerError, match="more than 16777216 bytes"):
        for _ in range(MAX_LINE_BYTES // 2**20 + 1):
            demultiplexer.feed(frame(1, b"x" * 2**20))


@pytest.mark.parametrize("size", [1, 3, 8, 9, 1000])
def test_lines_are_the_same_however_the_bytes_are_cut(size: int) -> None:
    data = frame(1, b"a\nb") + frame(2, b"noise\n") + frame(1, b"c\n\n") + frame(1, b"") + frame(1, b"d\ne")
    demultiplexer = Demultiplexer()
    lines = [line for i in range(0, len(data), size) for line in demultiplexer.feed(data[i : i + size])]
    assert lines == [b"a", b"bc", b"", b"d"]
    assert demultiplexer.stderr_tail == b"noise\n"


def test_of_stderr_only_the_end_is_kept() -> None:
    demultiplexer = Demultiplexer()
    for number in range(200):
        demultiplexer.feed(frame(2, b"%04d" % number * 1024))
    assert len(demultiplexer.stderr_tail) == STDERR_TAIL_BYTES
    assert demultiplexer.stderr_tail.endswith(b"0199")


def test_a_connection_that_breaks_ends_the_stream_after_the_lines_that_came() -> None:
    ours, theirs = socket.socketpair()
    streams = AttachedStreams(ours, ours)
    theirs.sendall(frame(1, b"one\ntwo"))
    theirs.close()
    assert streams.receive(5) == b"one"
    for _ in range(2):
        with pytest.raises(EOFError):
            streams.receive(5)
    streams.send(b"into the void\n")
    assert streams.close(1) == ""


def test_a_silent_connection_can_be_closed_at_any_time() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        streams = AttachedStreams(ours, ours)
        assert streams.receive(0.01) is None
        assert streams.receive(-1) is None
        streams.close(0)
        with pytest.raises(EOFError):
            streams.receive(1)
