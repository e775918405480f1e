"""An S3 server on loopback (moto), in this process."""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.objects.faults import Environ, FaultyServer, serving

KEY, SECRET = "backupuser", "backupsecret"
IDENTITY = "S3 Access Key"
_KEY_ID = re.compile(r"Credential=([^/,]+)/")


_CUSTOMER = "HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION_CUSTOMER_"


@dataclass
class S3Server(FaultyServer):
    """moto forgets the keys that customers bring along (SSE-C): ``customer_keys`` has the digests of those,
    by path, and they are asked for as S3 does."""

    customer_keys: dict[str, str] = field(default_factory=dict)

    def ask_for_key(self, environ: Environ) -> tuple[int, str] | None:
        """A fault: requests about an object have the key that it was begun with."""
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        key, digest = environ.get(f"{_CUSTOMER}KEY"), environ.get(f"{_CUSTOMER}KEY_MD5")
        if key is not None:
            right = hashlib.md5(base64.b64decode(key), usedforsecurity=False).digest()
            if base64.b64encode(right).decode() != digest or environ[f"{_CUSTOMER}ALGORITHM"] != "AES256":
                return 400, "InvalidArgument"
        query = environ["QUERY_STRING"]
        if (method == "POST" and "uploads" in query) or (method == "PUT" and "uploadId" not in query):
            self.customer_keys.pop(path, None)
            if digest is not None:
                self.customer_keys[path] = digest
        wanted = self.customer_keys.get(path)
        bucket, _, name = path.removeprefix("/").partition("/")
        is_there = bucket in _backend().buckets and name in _backend().buckets[bucket].keys
        # What brings or takes content must have the key; an upload is completed without.
        if digest != wanted and ("partNumber" in query or (method in ("GET", "HEAD") and is_there)):
            return (400, "InvalidRequest") if digest is None or wanted is None else (403, "AccessDenied")
        return None

    def bucket(self, name: str) -> str:
        """Make one; its URL."""
        scheme = "https" if self.secure else "http"
        request = urllib.request.Request(f"{scheme}://{self.host}/{name}", method="PUT")
        request.add_header(
            "Authorization", f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/s3/aws4_request"
        )
        # Its own certificate is not what is tested here.
        context = ssl._create_unverified_context() if self.secure else None
        urllib.request.urlopen(request, timeout=60, context=context).close()
        return f"s3://{self.host}/{name}"

    def keys(self, bucket: str) -> list[str]:
        """Objects that are visible."""
        return sorted(_backend().buckets[bucket].keys)

    def object(self, bucket: str, key: str) -> Any:
        """moto's own record of an object."""
        return _backend().buckets[bucket].keys[key]

    def open_uploads(self, bucket: str) -> int:
        """Uploads that were begun and neither completed nor aborted."""
        return len(_backend().buckets[bucket].multiparts)


def _backend() -> Any:
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    return s3_backends[DEFAULT_ACCOUNT_ID]["aws"]


def _credentials(environ: Environ) -> tuple[int, str] | None:
    found = _KEY_ID.search(environ.get("HTTP_AUTHORIZATION", ""))
    if environ.get("HTTP_X_AMZ_SECURITY_TOKEN") == "expired":
        return 400, "ExpiredToken"
    if found is None or found[1] != KEY:
        return 403, "InvalidAccessKeyId"
    return None


@contextmanager
def s3_server(port: int = 0, tls: tuple[Path, Path] | None = None) -> Iterator[S3Server]:
    """``tls``: the files of a certificate and its key."""
    from moto.server import DomainDispatcherApplication, create_backend_app

    server = S3Server(faults=[_credentials])
    server.faults.append(server.ask_for_key)
    with serving(server, DomainDispatcherApplication(create_backend_app), port, tls):
        yield server
