"""Azurite, a local Azure Blob Storage, in a process of its own, and what its account can sign."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import http.client
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

from tests.objects.faults import FaultyServer, forward, serving

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Known to everybody: that of Microsoft's emulators."""
SAS = "SHARED ACCESS SIGNATURE"
_VERSION = "2021-08-06"
_LISTENS = re.compile(r"successfully listens on http://127\.0\.0\.1:(\d+)\n")


@dataclass
class AzureServer(FaultyServer):
    def bucket(self, name: str) -> str:
        """Make a container; its URL."""
        status, content = self._ask("PUT", f"/{ACCOUNT}/{name}?restype=container&")
        assert status == 201, content
        return f"http://{self.host}/{ACCOUNT}/{name}"

    def keys(self, bucket: str) -> list[str]:
        """Blobs that are visible."""
        return [name for name, _ in self._blobs(bucket, "")]

    def open_uploads(self, bucket: str) -> int:
        """Blobs of which there are only blocks that nobody has committed."""
        return len(self._blobs(bucket, "&include=uncommittedblobs")) - len(self._blobs(bucket, ""))

    def tiers(self, bucket: str) -> dict[str, str]:
        return dict(self._blobs(bucket, ""))

    def _blobs(self, bucket: str, more: str) -> list[tuple[str, str]]:
        status, content = self._ask("GET", f"/{ACCOUNT}/{bucket}?restype=container&comp=list{more}&")
        assert status == 200, content
        return [
            (blob.findtext("Name") or "", blob.findtext("Properties/AccessTier") or "")
            for blob in ElementTree.fromstring(content).iter("Blob")
        ]

    def _ask(self, method: str, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        signed = path + shared_access_signature()
        connection.request(method, signed, headers={"x-ms-version": _VERSION, "Content-Length": "0"})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content


def _sign(text: str) -> str:
    return base64.b64encode(hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()).decode()


def shared_access_signature(*, valid: bool = True, permissions: str = "rwdlac") -> str:
    """Of the whole account, for a day; or one that has expired."""
    ends = dt.datetime.now(dt.UTC) + dt.timedelta(days=1 if valid else -1)
    end = f"{ends:%Y-%m-%dT%H:%M:%SZ}"
    fields = [ACCOUNT, permissions, "b", "sco", "", end, "", "http,https", _VERSION, "", ""]
    query = {"sv": _VERSION, "ss": "b", "srt": "sco", "sp": permissions, "se": end, "spr": "http,https"}
    return urlencode(query, quote_via=quote) + "&sig=" + quote(_sign("\n".join(fields)), safe="")


@contextmanager
def azure_server(program: Path, directory: Path) -> Iterator[AzureServer]:
    options = ("--inMemoryPersistence", "--silent", "--disableTelemetry", "--skipApiVersionCheck")
    said = directory / "said"
    with said.open("wb") as output:
        process = subprocess.Popen(
            [str(program), "--blobHost", "127.0.0.1", "--blobPort", "0", *options],
            cwd=directory,
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + 120
        while (ready := _LISTENS.search(said.read_text())) is None:
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < deadline, said.read_text()
            time.sleep(0.1)
        server = AzureServer()
        with serving(server, forward(int(ready[1]))):
            yield server
    finally:
        process.kill()
        process.wait(60)
