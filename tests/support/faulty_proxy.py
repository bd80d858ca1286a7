"""An HTTP proxy in front of an S3 server that breaks chosen requests the way networks and servers do.

    with FaultyProxy(seaweed) as proxy:
        proxy.inject(Fault("flip", method="GET"))           # once
        proxy.inject(Fault("answer", code="SlowDown", status=503, times=None))   # for ever
        store = S3Store(..., proxy.url)

The first fault that matches a request and isn't used up befalls it. Every connection carries one request, so
that faults don't depend on what the client keeps open.
"""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from support.seaweed import REGION, Seaweed

Kind = Literal[
    "answer",  # S3 answers with an error and does nothing
    "swallow",  # nothing comes back until the client gives up
    "reset_upload",  # the connection breaks when half of the request's body has arrived
    "lose_answer",  # the server does what it is asked, and the answer is lost
    "reset_download",  # the connection breaks after half of the answer's body
    "truncate",  # the answer ends after half of its body, as if it were complete
    "cut_short",  # half of the body, with a length that says so: only a checksum tells
    "flip",  # one bit of the answer's body is another
    "ignore_conditions",  # the server never sees the header that ``condition`` names
    "html",  # a captive portal or a web server answers
]


@dataclass(frozen=True)
class Fault:
    """What happens to the next ``times`` requests (``None``: to all) of this method and path."""

    kind: Kind
    method: str = ""
    path: str = ""
    times: int | None = 1
    code: str = ""
    status: int = 0
    message: str = "injected"
    condition: str = ""

    def hits(self, method: str, path: str) -> bool:
        return self.method in ("", method) and self.path in path


class FaultyProxy:
    """The proxy, running while the context lasts. ``seen`` holds (method, path) of all requests."""

    def __init__(self, server: Seaweed) -> None:
        self.server = server
        self.seen: list[tuple[str, str]] = []
        self.closing = threading.Event()
        self._faults: list[list[Any]] = []
        self._lock = threading.Lock()
        proxy = self

        class Handler(_Handler):
            faulty = proxy

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def inject(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append([fault, fault.times])

    def count(self, method: str) -> int:
        """How many requests of this method have arrived."""
        return sum(seen == method for seen, _ in self.seen)

    def fault_for(self, method: str, path: str) -> Fault | None:
        with self._lock:
            self.seen.append((method, path))
            for entry in self._faults:
                fault, left = entry
                if left != 0 and fault.hits(method, path):
                    entry[1] = None if left is None else left - 1
                    return fault
        return None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@dataclass
class _Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    length: int


class _Handler(BaseHTTPRequestHandler):
    faulty: FaultyProxy
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args: object) -> None:
        pass

    def do_GET(self) -> None:
        fault = self.faulty.fault_for(self.command, self.path)
        kind = fault.kind if fault else None
        self.close_connection = True
        if kind == "swallow":
            self.faulty.closing.wait()
            return
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length // 2 if kind == "reset_upload" else length)
        if kind == "reset_upload":
            self._reset()
        elif fault and kind in ("answer", "html"):
            self._send(_canned(fault))
        else:
            self._forward(body, fault)

    do_PUT = do_HEAD = do_DELETE = do_GET  # noqa: N815 - the names that http.server calls

    def _forward(self, body: bytes, fault: Fault | None) -> None:
        kind = fault.kind if fault else None
        headers = dict(self.headers.items())
        if fault and kind == "ignore_conditions" and fault.condition in self.headers:
            headers = self._unconditional(headers, body, fault.condition)
        answer = self._ask(headers, body)
        half = answer.body[: len(answer.body) // 2]
        if kind == "lose_answer":
            self._reset()
        elif kind == "reset_download":
            answer.body = half
            self._send(answer)
            self._reset()
        else:
            if kind in ("truncate", "cut_short"):
                answer.body = half
            if kind == "cut_short":
                answer.length = len(half)
            if kind == "flip":
                answer.body = half[:-1] + bytes([half[-1] ^ 1]) + answer.body[len(half) :]
            self._send(answer)

    def _ask(self, headers: dict[str, str], body: bytes) -> _Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.faulty.server.port, timeout=30)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                if name.lower() not in ("expect", "connection"):
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            content = answer.read()
            return _Answer(answer.status, answer.getheaders(), content, len(content))
        finally:
            connection.close()

    def _unconditional(self, headers: dict[str, str], body: bytes, condition: str) -> dict[str, str]:
        """Sign the request again without its condition, which the signature covers."""
        gone = (condition.lower(), "authorization", "x-amz-date", "expect", "connection", "user-agent")
        kept = {name: value for name, value in headers.items() if name.lower() not in gone}
        request = AWSRequest(self.command, f"http://{headers['Host']}{self.path}", kept, body)
        server = self.faulty.server
        S3SigV4Auth(Credentials(server.access_key, server.secret_key), "s3", REGION).add_auth(request)
        return dict(request.headers.items())

    def _send(self, answer: _Answer) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(answer.length))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.body)

    def _reset(self) -> None:
        """Close with RST instead of FIN, as a host that forgot the connection does."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


def _canned(fault: Fault) -> _Answer:
    if fault.kind == "html":
        body = b"<!DOCTYPE html><html><body><p>Please log in<br></body></html>"
        return _Answer(200, [("Content-Type", "text/html")], body, len(body))
    body = f"<Error><Code>{fault.code}</Code><Message>{fault.message}</Message></Error>".encode()
    return _Answer(fault.status, [("Content-Type", "application/xml")], body, len(body))
