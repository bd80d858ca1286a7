"""What went wrong with S3: whether to try again, and how to say it to a human.

Pure functions over the exceptions of botocore and urllib3. A message quotes S3's error code and sentence and
nothing else of the answer or the request: signatures and tokens stay out of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004  botocore's own, which no built-in exception is
    ConnectTimeoutError,
    CredentialRetrievalError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    SSLError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from covfleet.errors import ObjectNotFoundError, PreconditionFailedError, StoreError

Operation = Literal["read", "write", "list", "copy"]


class DamagedObjectError(Exception):
    """What arrived is not what was stored."""


FAULTS = (BotoCoreError, ClientError, HTTPError, ResponseParserError, DamagedObjectError)
"""Everything that a request to S3 may raise."""

_STALE = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired", "InvalidToken"}

_PASSING_CODES = {
    "BadDigest",  # damaged on the way up; so are the next three
    "IncompleteBody",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
    "RequestTimeout",
    "SlowDown",
    *_STALE,  # the credentials are looked up again first
}
_PASSING_STATUS = {
    409,  # ConditionalRequestConflict, OperationAborted: two writes at once
    429,
    500,
    502,
    503,
    504,
}
_PASSING_ERRORS = (
    ConnectionError,
    FlexibleChecksumError,
    HTTPClientError,
    HTTPError,
    IncompleteReadError,
    ResponseParserError,
    DamagedObjectError,
)

_PERMISSIONS = {
    "read": "s3:GetObject",
    "write": "s3:PutObject",
    "list": "s3:ListBucket",
    "copy": "s3:GetObject, s3:PutObject",
}

_RENEW = "The credentials have run out: renew them (aws sso login, a new role session) and run this again."
_WRONG_KEYS = "Check the AWS credentials: the access key and its secret don't belong together, or not here."
_BUSY = "S3 is overloaded: lower s3.connections, raise s3.attempts, or try later."
_REGION = "Set s3.region to the bucket's region."
_ENDPOINT = "Check the network and --endpoint-url; s3.timeout_s is the limit of each wait."
_DAMAGED_COPY = "It is damaged in the store, or something between here and S3 changes what passes."
_NOT_S3 = "Check --endpoint-url: what answers there doesn't speak S3."
_DAMAGED = "It was damaged on its way, or changed while it was sent."

_HINTS_BY_CODE = {
    **dict.fromkeys(_STALE, _RENEW),
    "AuthorizationHeaderMalformed": _REGION,
    "BadDigest": _DAMAGED,
    "EntityTooLarge": "An object may have 5 GB at most.",
    "IllegalLocationConstraintException": _REGION,
    "InvalidAccessKeyId": _WRONG_KEYS,
    "NoSuchBucket": "Create the bucket, or fix --store.",
    "NotImplemented": "The server lacks what covfleet needs, perhaps conditional puts: run covfleet doctor.",
    "PermanentRedirect": _REGION,
    "RequestTimeTooSkewed": "Check the clock of this machine: S3 refuses requests over 15 minutes off.",
    "SignatureDoesNotMatch": _WRONG_KEYS,
    "SlowDown": _BUSY,
    "XAmzContentChecksumMismatch": _DAMAGED,
    "XAmzContentSHA256Mismatch": _DAMAGED,
}

_NO_CREDENTIALS = (
    "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or the machine's instance role."
)

_HINTS_BY_TYPE: tuple[tuple[type[Exception], str], ...] = (
    (NoCredentialsError, _NO_CREDENTIALS),
    (PartialCredentialsError, _NO_CREDENTIALS),
    (CredentialRetrievalError, _RENEW),
    (SSLError, "Name the CA certificates that this network needs in AWS_CA_BUNDLE."),
    (ResponseParserError, _NOT_S3),
    (FlexibleChecksumError, _DAMAGED_COPY),
    (DamagedObjectError, _DAMAGED_COPY),
    (ConnectTimeoutError, _ENDPOINT),
    (ReadTimeoutError, _ENDPOINT),
    (ConnectionError, _ENDPOINT),
    (HTTPClientError, _ENDPOINT),
    (HTTPError, _ENDPOINT),
    (IncompleteReadError, _ENDPOINT),
)


@dataclass(frozen=True, slots=True)
class S3Request:
    """What was asked of S3: ``target`` is the object or, for a listing, the prefix, as an ``s3://`` URL."""

    operation: Operation
    target: str
    bucket: str


def code_of(error: Exception) -> str:
    """Return S3's error code, empty if S3 didn't answer."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def _status_of(error: Exception) -> int:
    if not isinstance(error, ClientError):
        return 0
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def credentials_are_stale(error: Exception) -> bool:
    """Say whether S3 refused because the credentials have run out."""
    return code_of(error) in _STALE


def may_pass(error: Exception) -> bool:
    """Say whether the same request may succeed when it is sent again."""
    if isinstance(error, ClientError):
        return code_of(error) in _PASSING_CODES or _status_of(error) in _PASSING_STATUS
    return isinstance(error, _PASSING_ERRORS)


def explained(error: Exception, request: S3Request, attempts: int) -> StoreError:
    """Return the error to raise: what was asked, what S3 said, and what to do."""
    code = code_of(error)
    if code == "NoSuchKey" and request.operation == "read":
        return ObjectNotFoundError(f"there is no object {request.target}")
    if code in ("NoSuchKey", "404") and request.operation == "copy":  # a HEAD's answer names no error
        return ObjectNotFoundError(f"there is no object to copy to {request.target}")
    if _status_of(error) == 412 or (code == "NoSuchKey" and request.operation == "write"):
        return PreconditionFailedError(f"{request.target} is not in the state that the write expected")
    tries = f" ({attempts} attempts)" if attempts > 1 else ""
    message = f"can't {request.operation} {request.target}: {_said(error)}{tries}"
    return StoreError(message, hint=_hint(error, request))


def _said(error: Exception) -> str:
    if not isinstance(error, ClientError):
        return _plain(str(error)) or type(error).__name__
    sentence = _plain(str(error.response.get("Error", {}).get("Message", "")))
    return f"S3 answered {code_of(error)} ({_status_of(error)})" + (f": {sentence}" if sentence else "")


def _plain(text: str) -> str:
    """Return text from the network as one short line that can't write to a terminal what it wants."""
    return "".join(char for char in " ".join(text.split()) if char.isprintable())[:300]


def _hint(error: Exception, request: S3Request) -> str:
    if hint := _HINTS_BY_CODE.get(code_of(error)):
        return hint
    if code_of(error).isdigit():  # botocore puts the HTTP status there when the answer names no error
        return _NOT_S3
    status = _status_of(error)
    if status == 403:
        also = (
            " and s3:ListBucket (or S3 hides what doesn't exist)"
            if request.operation in ("read", "copy")
            else ""
        )
        return f"The credentials need {_PERMISSIONS[request.operation]}{also} on bucket {request.bucket}."
    if status >= 500 or status == 429:
        return _BUSY
    return next((hint for kind, hint in _HINTS_BY_TYPE if isinstance(error, kind)), "")
