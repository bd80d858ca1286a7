"""Open the store that a URL names: a folder, or a bucket on any S3 endpoint."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from covfleet.adapters.folder.store import LocalStore
from covfleet.errors import ConfigurationError
from covfleet.ports.object_store import ObjectStore, checked_key
from covfleet.settings.schema import Settings

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_BUCKET = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{1,61}[0-9A-Za-z]", re.ASCII)


def open_store(url: str, settings: Settings, project: Path) -> ObjectStore:
    """Return the store at ``url`` without reading or writing anything yet.

    Args:
        url: ``s3://bucket/prefix``, or a folder; a relative one is inside ``project``.
        settings: the S3 endpoint and its options.
        project: the project's folder.

    Raises:
        ConfigurationError: ``url`` or the endpoint is malformed. The message doesn't repeat a URL that may
            contain a password.
    """
    scheme = _SCHEME.match(url)
    if scheme is None:
        return LocalStore(project / _folder(url))
    if scheme[1] != "s3":
        raise ConfigurationError(
            f"the URL of a store can't start with {scheme[0]}",
            hint="Use a folder or s3://bucket/prefix; for S3 servers other than AWS, set --endpoint-url.",
        )
    bucket, prefix = _bucket_and_prefix(url)
    from covfleet.adapters.s3.store import S3Store  # noqa: PLC0415 - saves folders boto3's 0.3 s

    return S3Store(bucket, prefix, settings.s3, _endpoint(settings.endpoint_url))


def _folder(url: str) -> Path:
    if not url.isprintable() or not url.strip():
        raise ConfigurationError(
            f"{url!r} isn't a valid folder for a store",
            hint="--store takes a folder or s3://bucket/prefix.",
        )
    return Path(url).expanduser()


def _bucket_and_prefix(url: str) -> tuple[str, str]:
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    if not url.startswith("s3://") or not _BUCKET.fullmatch(bucket):
        raise ConfigurationError(
            "the store's URL names no bucket",
            hint="Use s3://bucket/prefix, without credentials: boto3 finds them itself.",
        )
    prefix = prefix.rstrip("/")
    return bucket, checked_key(prefix) if prefix else ""


def _endpoint(url: str | None) -> str | None:
    """Return the endpoint's URL without a final slash, or ``None`` for AWS's own."""
    if not url:
        return None
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise ConfigurationError(
            "the S3 endpoint must have the form http(s)://host[:port]",
            hint="Set --endpoint-url, without a user or a password in it.",
        )
    return url.rstrip("/")
