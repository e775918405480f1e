"""The URLs that BACKUP TO URL and RESTORE FROM URL take.

::

    s3://HOST[:PORT]/BUCKET/PATH                        path style
    s3://BUCKET.s3[.REGION].amazonaws.com/PATH          virtual hosted
    https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH
    http://127.0.0.1:10000/ACCOUNT/CONTAINER/PATH       an Azure emulator, on loopback only
    gs://BUCKET/PATH

and, where a whole store is sent to or comes from, ``file:///FOLDER``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final
from urllib.parse import urlsplit

from tdsproxy.objects.errors import ObjectError, Reason

_SCHEME: Final = re.compile(r"(?:s3|gs|https?)://", re.IGNORECASE)
_HOSTED: Final = re.compile(r"(?P<bucket>.+?)\.(?P<host>s3[.-][a-z0-9.-]*amazonaws\.com)", re.IGNORECASE)
_REGION: Final = re.compile(r"s3[.-](?:dualstack\.)?([a-z0-9-]+)\.amazonaws\.com", re.IGNORECASE)
_BLOB: Final = ".blob."
_FILE: Final = "file://"


class Kind(Enum):
    """Whose interface a store has."""

    S3 = "s3"
    AZURE = "azure"
    GCS = "gcs"
    FOLDER = "folder"


@dataclass(frozen=True, slots=True)
class ObjectUrl:
    """``text`` as it was written, ``host`` with its port, ``account`` is Azure's, ``bucket`` also the name of
    a container; ``key`` is empty where the URL names a bucket. ``secure``: by TLS, unless configured
    otherwise."""

    kind: Kind
    text: str
    host: str
    bucket: str
    key: str
    account: str = ""
    secure: bool = True
    hosted: bool = False

    @property
    def identity(self) -> str:
        """Equal for URLs of one object."""
        return f"{self.kind.value}://{self.host.lower()}/{self.account}/{self.bucket}/{self.key}"

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.host)

    @property
    def region(self) -> str | None:
        """What the host says of it."""
        found = _REGION.fullmatch(self.host)
        return found[1] if found else None

    def child(self, key: str) -> ObjectUrl:
        """Another object, below this one."""
        text = f"{self.text.rstrip('/')}/{key}"
        return replace(self, text=text, key=f"{self.key.rstrip('/')}/{key}".lstrip("/"))


def below(url: ObjectUrl) -> Callable[[str], str]:
    """Makes the key of an object from one below the URL, which names a bucket or a folder in one."""
    prefix = url.key.strip("/")
    return lambda name: f"{prefix}/{name}" if prefix else name


def is_url(text: str) -> bool:
    """Whether a device's name can only be a URL."""
    return _SCHEME.match(text) is not None


def is_loopback(host: str) -> bool:
    """``host`` may have a port."""
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def parse_url(text: str, *, object_needed: bool = True) -> ObjectUrl:
    """Raises ObjectError BAD_URL. Without ``object_needed`` it may name a bucket, or a folder in one."""
    bad = ObjectError(Reason.BAD_URL)
    if text.lower().startswith(_FILE) and not object_needed:
        folder = text[len(_FILE) :].rstrip("/")
        if not folder.startswith("/") or "\0" in folder or ".." in folder.split("/"):
            raise bad
        return ObjectUrl(Kind.FOLDER, text, "", folder, "")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise bad from None
    if not host or parts.query or parts.fragment or parts.username or any(c in text for c in "\\\0 \r\n"):
        raise bad
    netloc = f"{parts.netloc}"
    segments = parts.path.removeprefix("/").split("/")
    if any(segment in ("..", ".") for segment in segments) or "//" in parts.path:
        raise bad
    match parts.scheme.lower():
        case "s3":
            found = _s3(text, netloc, segments)
        case "gs" if port is None:
            found = ObjectUrl(Kind.GCS, text, "storage.googleapis.com", host, "/".join(segments))
        case "http" | "https" as scheme:
            found = _azure(text, netloc, segments, secure=scheme == "https")
        case _:
            raise bad
    if not found.bucket or (object_needed and (not found.key or found.key.endswith("/"))):
        raise bad
    return found


def _s3(text: str, netloc: str, segments: list[str]) -> ObjectUrl:
    hosted = _HOSTED.fullmatch(netloc)
    if hosted is not None:
        return ObjectUrl(Kind.S3, text, hosted["host"], hosted["bucket"], "/".join(segments), hosted=True)
    return ObjectUrl(Kind.S3, text, netloc, segments[0], "/".join(segments[1:]))


def _azure(text: str, netloc: str, segments: list[str], *, secure: bool) -> ObjectUrl:
    if _BLOB in netloc and secure:
        account = netloc.partition(".")[0]
        return ObjectUrl(Kind.AZURE, text, netloc, segments[0], "/".join(segments[1:]), account)
    if is_loopback(netloc) and len(segments) > 1:
        account, bucket, *rest = segments
        return ObjectUrl(Kind.AZURE, text, netloc, bucket, "/".join(rest), account, secure)
    raise ObjectError(Reason.BAD_URL)
