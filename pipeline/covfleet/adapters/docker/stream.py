"""The attached streams of a container: one socket that provides the lines of stdout and the end of stderr.

The engine sends frames: a header of eight bytes (stream number, three zeros, length as a big-endian 32-bit
number) and the payload, see
https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
import threading
from typing import Protocol

from covfleet.errors import WorkerError

STDERR_TAIL_BYTES = 64 * 1024
MAX_LINE_BYTES = 16 * 1024 * 1024
_RECEIVE_BYTES = 1 << 16
_HEADER = struct.Struct(">BxxxL")
_STDOUT = 1


class Closable(Protocol):
    """The SDK's object for an attached stream."""

    def close(self) -> None: ...  # noqa: D102


class Connection(Closable, Protocol):
    """The methods used of a socket: a plain one, or TLS for a remote engine."""

    def recv(self, size: int, /) -> bytes: ...  # noqa: D102
    def sendall(self, data: bytes, /) -> None: ...  # noqa: D102
    def shutdown(self, how: int, /) -> None: ...  # noqa: D102


class Demultiplexer:
    """Splits the engine's frames, in whatever pieces they arrive. Independent of sockets."""

    def __init__(self) -> None:
        self._raw = bytearray()
        self._line = bytearray()
        self.stderr_tail = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines of stdout that ``data`` completes, without their newlines.

        Raises:
            WorkerError: a line is longer than 16 MiB.
        """
        self._raw += data
        lines: list[bytes] = []
        while len(self._raw) >= _HEADER.size:
            stream, length = _HEADER.unpack_from(self._raw)
            end = _HEADER.size + length
            if len(self._raw) < end:
                break
            payload = bytes(self._raw[_HEADER.size : end])
            del self._raw[:end]
            if stream == _STDOUT:
                lines += self._lines(payload)
            else:
                self.stderr_tail += payload
                del self.stderr_tail[:-STDERR_TAIL_BYTES]
        return lines

    def _lines(self, payload: bytes) -> list[bytes]:
        first, *others = payload.split(b"\n")
        self._line += first
        if len(self._line) > MAX_LINE_BYTES:
            raise WorkerError(
                f"the worker sent a line of more than {MAX_LINE_BYTES} bytes: other output is mixed in"
            )
        if not others:
            return []
        complete = [bytes(self._line), *others[:-1]]
        self._line = bytearray(others[-1])
        return complete


class AttachedStreams:
    """A container's standard streams. One thread reads; any thread may call the methods."""

    def __init__(self, connection: Connection, owner: Closable) -> None:
        self._connection = connection
        self._owner = owner  # the SDK's response, which keeps the connection open
        self._demultiplexer = Demultiplexer()
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()  # None: the stream has ended
        self._fault: WorkerError | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, line: bytes) -> None:
        """Write to standard input; ``receive`` notices if nobody reads it any more."""
        try:
            self._connection.sendall(line)
        except OSError:
            return

    def receive(self, timeout_s: float) -> bytes | None:
        """Return the next line of standard output, or ``None`` after ``timeout_s`` seconds.

        Raises:
            EOFError: the container or the connection is gone.
            WorkerError: a line is too long.
        """
        try:
            line = self._lines.get(timeout=max(0.0, timeout_s))
        except queue.Empty:
            return None
        if line is not None:
            return line
        self._lines.put(None)  # so that the next call finds the end, too
        raise self._fault or EOFError

    def close(self, drain_s: float) -> str:
        """Close the connection and return the end of standard error.

        Args:
            drain_s: how long to wait, in seconds, for the remaining output of the ended container.
        """
        self._reader.join(drain_s)
        with contextlib.suppress(OSError):  # the other end may have closed it
            self._connection.shutdown(socket.SHUT_RDWR)  # wakes the reader if the engine is lost
        self._reader.join()
        self._owner.close()
        self._connection.close()
        return self._demultiplexer.stderr_tail.decode("utf-8", "replace")

    def _read(self) -> None:
        try:
            while data := self._connection.recv(_RECEIVE_BYTES):
                for line in self._demultiplexer.feed(data):
                    self._lines.put(line)
        except WorkerError as error:
            self._fault = error
        except OSError:
            pass  # a broken connection ends the stream just like a closed one
        finally:
            self._lines.put(None)
