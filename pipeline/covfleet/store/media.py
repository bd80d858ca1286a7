"""Content types of the files that covfleet stores and publishes, the same on every machine."""

from __future__ import annotations

from pathlib import PurePosixPath

SQLITE = "application/vnd.sqlite3"

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".lcov": "text/plain; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".xml": "application/xml",
}


def content_type(path: str) -> str:
    """Return the content type for a file's suffix; for an unknown one, a type that no browser executes.

    Python's ``mimetypes`` reads the machine's tables, so its results differ between machines.
    """
    return _TYPES.get(PurePosixPath(path).suffix.lower(), "application/octet-stream")
