"""Azurite, a local Azure Blob Storage, in a process of its own, and what its account can sign."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import http.client
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from urllib.parse import quote, urlencode

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Known to everybody: that of Microsoft's emulators."""
_VERSION = "2021-08-06"


@dataclass(frozen=True)
class AzureServer:
    port: int

    def container(self, name: str) -> str:
        """Make one; its URL."""
        date = formatdate(usegmt=True)
        path = f"/{ACCOUNT}/{name}"
        text = (
            "PUT"
            + "\n" * 12
            + f"x-ms-date:{date}\nx-ms-version:{_VERSION}\n/{ACCOUNT}{path}\nrestype:container"
        )
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {
            "x-ms-date": date,
            "x-ms-version": _VERSION,
            "Authorization": f"SharedKey {ACCOUNT}:{_sign(text)}",
            "Content-Length": "0",
        }
        connection.request("PUT", f"{path}?restype=container", headers=headers)
        answer = connection.getresponse()
        assert answer.status == 201, answer.read()
        connection.close()
        return f"http://127.0.0.1:{self.port}{path}"


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
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ("--inMemoryPersistence", "--silent", "--disableTelemetry", "--skipApiVersionCheck")
    process = subprocess.Popen(
        [str(program), "--blobHost", "127.0.0.1", "--blobPort", str(port), *options],
        cwd=directory,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield AzureServer(port)
    finally:
        process.kill()
        process.wait(60)
