"""The object stores that backups are tested against, each with what a test must know to use it: moto for S3,
Azurite for Azure, and our own double of Google's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.objects import azure_server as azure
from tests.objects import gcs_server as gcs
from tests.objects import s3_server as s3
from tests.objects.faults import Environ

Server = s3.S3Server | azure.AzureServer | gcs.GcsServer


@dataclass(frozen=True)
class ObjectStore:
    """``secret`` opens it, ``wrong`` is another one's, ``expired`` was good once. ``busy`` is what it answers
    when it is asked too much. ``forgets``: parts that nobody completes go by themselves."""

    kind: str
    server: Server
    identity: str
    secret: str
    wrong: str
    expired: str
    busy: tuple[int, str]
    forgets: bool = False

    def is_part(self, environ: Environ) -> bool:
        """Whether the request brings a part of a large object."""
        query = environ["QUERY_STRING"]
        part = "comp=block&" in f"{query}&" if self.kind == "azure" else "partNumber=" in query
        return part and environ["REQUEST_METHOD"] == "PUT"

    def is_last(self, environ: Environ) -> bool:
        """Whether the request makes one object of the parts."""
        query, method = environ["QUERY_STRING"], environ["REQUEST_METHOD"]
        if self.kind == "azure":
            return method == "PUT" and "comp=blocklist" in query
        return method == "POST" and "uploadId=" in query


@contextmanager
def object_store(kind: str, directory: Path, azurite: Path) -> Iterator[ObjectStore]:
    """``kind`` is s3, azure or gcs; ``azurite`` the program."""
    if kind == "s3":
        with s3.s3_server() as server:
            secret, wrong = f"{s3.KEY}:{s3.SECRET}", f"other:{s3.SECRET}"
            expired = f"{secret}:expired"
            yield ObjectStore(kind, server, s3.IDENTITY, secret, wrong, expired, (503, "SlowDown"))
    elif kind == "azure":
        good, past = azure.shared_access_signature(), azure.shared_access_signature(valid=False)
        wrong = f"{good.partition('&sig=')[0]}&sig=c29tZXRoaW5nIGVsc2U%3D"
        busy = (503, "ServerBusy")
        with azure.azure_server(azurite, directory) as found:
            yield ObjectStore(kind, found, azure.SAS, good, wrong, past, busy, forgets=True)
    else:
        with gcs.gcs_server() as double:
            wrong, past = double.secret(wrong=True), double.secret(expired=True)
            yield ObjectStore(
                kind, double, gcs.IDENTITY, double.secret(), wrong, past, (429, "TooManyRequests")
            )
