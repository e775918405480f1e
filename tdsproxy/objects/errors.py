"""What can go wrong with an object store, without a word of what was secret in the request."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final


class Reason(Enum):
    """Why a store did not do what it was asked."""

    BAD_URL = "the URL names no object"
    NO_CREDENTIAL = "there is no credential for the URL"
    BAD_CREDENTIAL = "the credential has another form than the store needs"
    DENIED = "the store refused the credential"
    MISSING = "there is no such object"
    NO_BUCKET = "there is no such bucket"
    ARCHIVED = "the object is in an archive, and has to be brought back from there first"
    EXISTS = "the object exists"
    CHANGED = "the object has changed"
    UNREACHABLE = "the store cannot be reached"
    UNKNOWN_HOST = "the store's name cannot be resolved"
    UNTRUSTED = "the store's certificate is not trusted"
    TIMEOUT = "the store does not answer in time"
    THROTTLED = "the store is busy"
    TOO_LONG = "the object has reached its limit of parts"
    UNCONDITIONAL = "the store lets two write over each other, so that nothing can be kept up in it"
    UNAVAILABLE = "the library for object stores is missing"
    OTHER = "the store failed"


class ObjectError(Exception):
    """``status`` is the HTTP status, where there was an answer, ``code`` the store's own word for it."""

    def __init__(self, reason: Reason, status: int | None = None, code: str = "") -> None:
        words = " ".join(filter(None, [str(status or ""), code]))
        super().__init__(f"{reason.value} ({words})" if words else reason.value)
        self.reason = reason
        self.status = status
        self.code = code


_STATUS: Final = re.compile(r"status code: (\d{3})")
_CODE: Final = re.compile(r"<Code>([A-Za-z0-9.]{1,60})</Code>")
_WORDS: Final = (
    (re.compile(r"dns error|failed to lookup|name resolution", re.I), Reason.UNKNOWN_HOST),
    (
        re.compile(r"certificate|InvalidCertificate|UnknownIssuer|handshake|corrupt message", re.I),
        Reason.UNTRUSTED,
    ),
    (re.compile(r"timed out|TimedOut|deadline", re.I), Reason.TIMEOUT),
    (
        re.compile(r"Connect|connection|sending request|IncompleteMessage|broken pipe|reset", re.I),
        Reason.UNREACHABLE,
    ),
)
_NO_BUCKET: Final = frozenset({"NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted"})
_ARCHIVED: Final = frozenset({"InvalidObjectState", "BlobArchived"})
_DENIED: Final = frozenset(
    {
        "AccessDenied",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "InvalidToken",
        "AuthenticationFailed",
    }
)
_THROTTLED: Final = frozenset({"SlowDown", "ServerBusy", "RequestLimitExceeded", "TooManyRequests"})


def from_library(error: Exception) -> ObjectError:
    """The library's exception, without its text: that holds the request, and a token may be in its URL."""
    text = str(error)
    status = _STATUS.search(text)
    code = _CODE.search(text)
    return ObjectError(
        _reason(error, text, int(status[1]) if status else None, code[1] if code else ""),
        int(status[1]) if status else None,
        code[1] if code else "",
    )


def _reason(error: Exception, text: str, status: int | None, code: str) -> Reason:
    kind = type(error).__name__
    if code in _NO_BUCKET:
        return Reason.NO_BUCKET
    if code in _ARCHIVED:
        return Reason.ARCHIVED
    if code in _DENIED or kind in ("PermissionDeniedError", "UnauthenticatedError") or status in (401, 403):
        return Reason.DENIED
    if code in _THROTTLED or status in (429, 503):
        return Reason.THROTTLED
    if status == 400 and not code and "HEAD " in text:
        # The answer to HEAD has no body; this is how an expired token looks then.
        return Reason.DENIED
    if kind == "AlreadyExistsError":
        return Reason.EXISTS
    if kind in ("PreconditionError", "NotModifiedError") or status in (409, 412):
        return Reason.CHANGED
    if isinstance(error, FileNotFoundError) or status == 404:
        return Reason.MISSING
    if status is None:
        for pattern, reason in _WORDS:
            if pattern.search(text):
                return reason
    return Reason.OTHER
