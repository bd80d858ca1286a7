"""The object store on S3, or on any compatible server, through boto3.

boto3's own retries are off: it doesn't retry a conflict, expired credentials or a damaged body, and two
nested loops would multiply their attempts. The only loop, here, counts every request.

Every object carries the SHA-256 of its content twice: as S3's checksum, which the server verifies on writing,
and as our own metadata, which this module verifies on reading, whatever the server does.
"""

from __future__ import annotations

import base64
import hashlib
import io
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import boto3.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from covfleet.adapters.folder.atomic import replacing
from covfleet.adapters.s3.errors import (
    FAULTS,
    DamagedObjectError,
    Operation,
    S3Request,
    credentials_are_stale,
    explained,
    may_pass,
)
from covfleet.errors import ConfigurationError, PreconditionFailedError, StoreError
from covfleet.ports.object_store import ObjectInfo, StoredObject, checked_key, checked_prefix
from covfleet.settings.schema import S3Settings

if TYPE_CHECKING:  # stubs only: there is no such package at run time
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef, ObjectTypeDef

T = TypeVar("T")

_DIGEST = "covfleet-sha256"
_CHUNK = 1 << 20
_FIRST_WAIT_S = 0.25
_LONGEST_WAIT_S = 10.0


class S3Store:
    """An ``ObjectStore`` in a bucket, below a prefix.

    Each object is uploaded in one request, so it can be 5 GB at most and every write can be conditional.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str,
        settings: S3Settings,
        endpoint_url: str | None,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        self._bucket = bucket
        self._base = f"{prefix}/" if prefix else ""
        self._settings = settings
        self._endpoint_url = endpoint_url
        self._sleep = sleep
        self._renewing = threading.Lock()
        self._client = self._connect()

    def get(self, key: str) -> StoredObject:
        """Return the object. Raises ``ObjectNotFoundError``."""
        body = io.BytesIO()
        etag = self._call("read", checked_key(key), lambda client: self._receive(client, key, body))
        return StoredObject(body.getvalue(), etag)

    def put(
        self,
        key: str,
        data: bytes,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        content_type: str | None = None,
        cache_control: str | None = None,
    ) -> str:
        """Write the object and return its etag. Raises ``PreconditionFailedError``."""
        options = {
            "IfNoneMatch": "*" if if_absent else None,
            "IfMatch": if_match,
            "ContentType": content_type,
            "CacheControl": cache_control,
        }
        body = io.BytesIO(data)
        return self._call("write", checked_key(key), lambda client: self._send(client, key, body, options))

    def download(self, key: str, path: Path) -> None:
        """Write the object to ``path``, atomically. Raises ``ObjectNotFoundError``."""
        try:
            with replacing(path) as part, part.open("xb") as file:
                self._call("read", checked_key(key), lambda client: self._receive(client, key, file))
        except OSError as error:
            raise StoreError(
                f"can't write {path}: {error.strerror}",
                hint="Check the folder, its permissions and the space on the disk.",
            ) from error

    def upload(
        self,
        path: Path,
        key: str,
        *,
        content_type: str | None = None,
        cache_control: str | None = None,
    ) -> None:
        """Write the file's content as the object, with a checksum that S3 verifies."""
        options = {"ContentType": content_type, "CacheControl": cache_control}
        try:
            with path.open("rb") as file:
                self._call("write", checked_key(key), lambda client: self._send(client, key, file, options))
        except OSError as error:
            raise StoreError(f"can't read {path}: {error.strerror}") from error

    def copy(
        self,
        source: str,
        key: str,
        *,
        sha256: str,
        content_type: str | None = None,
        cache_control: str | None = None,
    ) -> None:
        """Let S3 copy the object ``source`` to ``key``.

        S3 verifies the SHA-256 stored with the source. Whatever the server does, the source must also carry
        the expected SHA-256 in our metadata, and the copy must equal the source.

        Raises ``ObjectNotFoundError`` and ``PreconditionFailedError``.
        """
        checked_key(source)
        options = {"ContentType": content_type, "CacheControl": cache_control}
        given: Any = {name: value for name, value in options.items() if value is not None}
        self._call("copy", checked_key(key), lambda client: self._copy(client, source, key, sha256, given))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield every object whose key starts with ``prefix``, in the order of keys.

        The whole listing is sorted here, as some servers (SeaweedFS, S3's directory buckets) list folder by
        folder. The empty objects that S3's console creates to show a folder are left out.
        """
        checked_prefix(prefix)
        found = (self._info(item) for page in self._pages(prefix) for item in page.get("Contents", []))
        yield from sorted((info for info in found if not _shows_folder(info)), key=lambda info: info.key)

    def _connect(self) -> S3Client:
        settings = self._settings
        config = Config(
            retries={"total_max_attempts": 1},
            connect_timeout=settings.timeout_s,
            read_timeout=settings.timeout_s,
            max_pool_connections=settings.connections,
            s3={"addressing_style": settings.addressing},
        )
        try:  # a separate session: the default one isn't thread-safe
            session = boto3.session.Session(region_name=settings.region)
            return session.client("s3", endpoint_url=self._endpoint_url, config=config)
        except (BotoCoreError, ValueError) as error:
            raise ConfigurationError(
                f"can't open {self.url}: {error}",
                hint="Check the AWS profile, s3.region and --endpoint-url.",
            ) from error

    def _call(self, operation: Operation, key: str, attempt: Callable[[S3Client], T]) -> T:
        """Return the result of ``attempt``, retrying while that may help; ``key`` is for the message."""
        tried = 0
        while True:
            client = self._client
            try:
                return attempt(client)
            except FAULTS as error:
                tried += 1
                if tried == self._settings.attempts or not may_pass(error):
                    request = S3Request(operation, f"{self.url}/{key}", self._bucket)
                    raise explained(error, request, tried) from error
                if credentials_are_stale(error):
                    self._renew(client)
            self._sleep(_wait_s(tried))

    def _renew(self, stale: S3Client) -> None:
        """Load the credentials again: there may be new ones in the shared file meanwhile."""
        with self._renewing:
            if self._client is stale:
                self._client = self._connect()

    def _send(
        self, client: S3Client, key: str, body: io.BufferedReader | io.BytesIO, options: dict[str, str | None]
    ) -> str:
        body.seek(0)
        digest = hashlib.file_digest(body, "sha256")
        body.seek(0)
        given: Any = {name: value for name, value in options.items() if value is not None}
        answer = client.put_object(
            Bucket=self._bucket,
            Key=self._base + key,
            Body=body,
            ChecksumSHA256=base64.b64encode(digest.digest()).decode(),
            Metadata={_DIGEST: digest.hexdigest()},
            **given,
        )
        return _etag(answer)

    def _copy(self, client: S3Client, source: str, key: str, sha256: str, options: Any) -> None:
        found = client.head_object(Bucket=self._bucket, Key=self._base + source)
        if found["Metadata"].get(_DIGEST) != sha256:
            raise PreconditionFailedError(f"{self.url}/{source} has different content than expected")
        answer = client.copy_object(
            Bucket=self._bucket,
            Key=self._base + key,
            CopySource={"Bucket": self._bucket, "Key": self._base + source},
            CopySourceIfMatch=_etag(found),
            ChecksumAlgorithm="SHA256",
            MetadataDirective="REPLACE",
            Metadata={_DIGEST: sha256},
            **options,
        )
        copied: Any = answer["CopyObjectResult"]
        if checksum := copied.get("ChecksumSHA256"):
            same = base64.b64decode(checksum).hex() == sha256
        else:  # a server without checksums derives etags from the content
            same = _etag(copied).strip('"') == _etag(found).strip('"')
        if not same:
            raise DamagedObjectError("the copy differs from its source")

    def _receive(self, client: S3Client, key: str, sink: BinaryIO) -> str:
        sink.seek(0)
        sink.truncate()
        answer = client.get_object(Bucket=self._bucket, Key=self._base + key)
        digest = hashlib.sha256()
        with closing(answer["Body"]) as body:
            for chunk in body.iter_chunks(_CHUNK):
                digest.update(chunk)
                sink.write(chunk)
        promised = answer["Metadata"].get(_DIGEST, "")
        if promised and promised != digest.hexdigest():
            raise DamagedObjectError(f"its SHA-256 is {digest.hexdigest()}, not {promised}")
        return _etag(answer)

    def _pages(self, prefix: str) -> Iterator[ListObjectsV2OutputTypeDef]:
        after: dict[str, str] = {}
        while True:
            page = self._call("list", prefix, partial(self._page, prefix=prefix, after=after))
            yield page
            if not page.get("NextContinuationToken"):
                return
            after = {"ContinuationToken": page["NextContinuationToken"]}

    def _page(self, client: S3Client, *, prefix: str, after: Any) -> ListObjectsV2OutputTypeDef:
        return client.list_objects_v2(Bucket=self._bucket, Prefix=self._base + prefix, **after)

    def _info(self, item: ObjectTypeDef) -> ObjectInfo:
        return ObjectInfo(
            item["Key"].removeprefix(self._base), item["Size"], item["ETag"], item["LastModified"]
        )


def _etag(answer: Any) -> str:
    if not answer.get("ETag"):  # a login page or a web server answers everything with 200 OK
        raise DamagedObjectError("the response has no ETag, so it didn't come from S3")
    return str(answer["ETag"])


def _shows_folder(info: ObjectInfo) -> bool:
    return info.size_bytes == 0 and (not info.key or info.key.endswith("/"))


def _wait_s(tried: int) -> float:
    """Return the wait before the next attempt: it doubles each time, with jitter to spread the shards."""
    longest = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** (tried - 1))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
