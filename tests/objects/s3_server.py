"""An S3 server on loopback (moto), in this process."""

from __future__ import annotations

import re
import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.objects.faults import Environ, FaultyServer, serving

KEY, SECRET = "backupuser", "backupsecret"
IDENTITY = "S3 Access Key"
_KEY_ID = re.compile(r"Credential=([^/,]+)/")


@dataclass
class S3Server(FaultyServer):
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
    with serving(server, DomainDispatcherApplication(create_backend_app), port, tls):
        yield server
