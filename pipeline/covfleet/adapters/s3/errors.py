"""Classify the errors of S3: whether a retry may help, and a message for humans.

These are pure functions of the exceptions of botocore and urllib3. A message quotes S3's error code and
sentence and nothing else from the response or the request, so that it never contains signatures and tokens.
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
    """The content received differs from the content stored."""


FAULTS = (BotoCoreError, ClientError, HTTPError, ResponseParserError, DamagedObjectError)
"""Every exception that a request to S3 may raise."""

_STALE = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired", "InvalidToken"}

_PASSING_CODES = {
    "BadDigest",  # damaged during the upload; so are the next three
    "IncompleteBody",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
    "RequestTimeout",
    "SlowDown",
    *_STALE,  # the credentials are loaded again first
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

_RENEW = "The credentials have expired: renew them (aws sso login, a new role session) and run this again."
_WRONG_KEYS = "Check the AWS credentials: access key and secret don't match, or belong to another service."
_BUSY = "S3 is overloaded: lower s3.connections, raise s3.attempts, or try again later."
_REGION = "Set s3.region to the bucket's region."
_ENDPOINT = "Check the network and --endpoint-url; s3.timeout_s limits each wait."
_DAMAGED_COPY = "It is damaged in the store, or something between this machine and S3 modifies the data."
_NOT_S3 = "Check --endpoint-url: the server there doesn't speak S3."
_DAMAGED = "It was damaged in transit, or changed during the upload."

_HINTS_BY_CODE = {
    **dict.fromkeys(_STALE, _RENEW),
    "AuthorizationHeaderMalformed": _REGION,
    "BadDigest": _DAMAGED,
    "EntityTooLarge": "An object can be 5 GB at most.",
    "IllegalLocationConstraintException": _REGION,
    "InvalidAccessKeyId": _WRONG_KEYS,
    "NoSuchBucket": "Create the bucket, or correct --store.",
    "NotImplemented": "The server lacks a feature, perhaps conditional puts: run `covfleet doctor`.",
    "PermanentRedirect": _REGION,
    "RequestTimeTooSkewed": "Check this machine's clock: S3 rejects requests that are over 15 minutes off.",
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
    (SSLError, "Set AWS_CA_BUNDLE to a file with the CA certificates of this network."),
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
    """A request to S3: ``target`` is the object or, for a listing, the prefix, as an ``s3://`` URL."""

    operation: Operation
    target: str
    bucket: str


def code_of(error: Exception) -> str:
    """Return S3's error code, or an empty string if S3 didn't answer."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def _status_of(error: Exception) -> int:
    if not isinstance(error, ClientError):
        return 0
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def credentials_are_stale(error: Exception) -> bool:
    """Return whether S3 refused because the credentials have expired."""
    return code_of(error) in _STALE


def may_pass(error: Exception) -> bool:
    """Return whether the same request may succeed if it is repeated."""
    if isinstance(error, ClientError):
        return code_of(error) in _PASSING_CODES or _status_of(error) in _PASSING_STATUS
    return isinstance(error, _PASSING_ERRORS)


def explained(error: Exception, request: S3Request, attempts: int) -> StoreError:
    """Return the error to raise, with the request, S3's answer and a hint."""
    code = code_of(error)
    if code == "NoSuchKey" and request.operation == "read":
        return ObjectNotFoundError(f"there is no object {request.target}")
    if code in ("NoSuchKey", "404") and request.operation == "copy":  # a response to HEAD names no error
        return ObjectNotFoundError(f"there is no object to copy to {request.target}")
    if _status_of(error) == 412 or (code == "NoSuchKey" and request.operation == "write"):
        return PreconditionFailedError(f"{request.target} has changed since it was read")
    tries = f" ({attempts} attempts)" if attempts > 1 else ""
    message = f"can't {request.operation} {request.target}: {_said(error)}{tries}"
    return StoreError(message, hint=_hint(error, request))


def _said(error: Exception) -> str:
    if not isinstance(error, ClientError):
        return _plain(str(error)) or type(error).__name__
    sentence = _plain(str(error.response.get("Error", {}).get("Message", "")))
    return f"S3 answered {code_of(error)} ({_status_of(error)})" + (f": {sentence}" if sentence else "")


def _plain(text: str) -> str:
    """Return text from the network as one short line without control characters."""
    return "".join(char for char in " ".join(text.split()) if char.isprintable())[:300]


def _hint(error: Exception, request: S3Request) -> str:
    if hint := _HINTS_BY_CODE.get(code_of(error)):
        return hint
    if code_of(error).isdigit():  # botocore puts the HTTP status there if the response names no error
        return _NOT_S3
    status = _status_of(error)
    if status == 403:
        also = (
            " and s3:ListBucket (without it, S3 hides whether objects exist)"
            if request.operation in ("read", "copy")
            else ""
        )
        return f"The credentials need {_PERMISSIONS[request.operation]}{also} on bucket {request.bucket}."
    if status >= 500 or status == 429:
        return _BUSY
    return next((hint for kind, hint in _HINTS_BY_TYPE if isinstance(error, kind)), "")
