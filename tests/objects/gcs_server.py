"""Our own double of Google Cloud Storage on loopback, in this process: objects, multipart uploads and lists
as its documented XML API has them, and the tokens of a service account.

No emulator that could be had takes what the product's library sends (fake-gcs-server has no multipart uploads
of the XML API), so this shows that both sides follow the documents, not that Google's server does.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.objects.faults import Environ, FaultyServer, error, serving

ACCOUNT = "backup@project.iam.gserviceaccount.com"
IDENTITY = "service account"
_LEAST_PART = 5 << 20
_SCOPES = ("/auth/cloud-platform", "/auth/devstorage.full_control", "/auth/devstorage.read_write")
_XML = "http://doc.s3.amazonaws.com/2006-03-01"


class _Refused(Exception):
    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


@dataclass(frozen=True)
class GcsObject:
    data: bytes
    generation: int
    storage_class: str

    @property
    def tag(self) -> str:
        return '"' + hashlib.md5(self.data, usedforsecurity=False).hexdigest() + '"'


@dataclass
class _Upload:
    key: str
    storage_class: str
    parts: dict[int, bytes] = field(default_factory=dict)


@dataclass
class GcsServer(FaultyServer):
    """Tokens of the key named ``expired`` come when their hour is over."""

    buckets: dict[str, dict[str, GcsObject]] = field(default_factory=dict)
    uploads: dict[str, dict[str, _Upload]] = field(default_factory=dict)
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    lock: threading.Lock = field(default_factory=threading.Lock)
    generation: int = 1_700_000_000_000_000

    def bucket(self, name: str) -> str:
        """Make one; its URL."""
        self.buckets[name], self.uploads[name] = {}, {}
        return f"gs://{name}"

    def keys(self, bucket: str) -> list[str]:
        return sorted(self.buckets[bucket])

    def open_uploads(self, bucket: str) -> int:
        return len(self.uploads[bucket])

    def secret(self, *, wrong: bool = False, expired: bool = False) -> str:
        """The service account's key; one with another private key than its own; or one whose tokens have
        always expired when they come."""
        key = rsa.generate_private_key(65537, 2048) if wrong else self.key
        form = serialization.PrivateFormat.PKCS8
        private = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        return json.dumps(
            {
                "type": "service_account",
                "gcs_base_url": f"http://{self.host}",
                "client_email": ACCOUNT,
                "private_key": private.decode(),
                "private_key_id": "expired" if expired else "key1",
            }
        )


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _authorize(server: GcsServer, environ: Environ) -> None:
    """A token that the account has signed itself (RFC 7519)."""
    kind, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    signed, _, signature = token.rpartition(".")
    head, _, body = signed.partition(".")
    if kind != "Bearer" or not (head and body and signature):
        raise _Refused(401, "AuthenticationRequired")
    try:
        server.key.public_key().verify(
            _decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256()
        )
    except InvalidSignature:
        raise _Refused(401, "AuthenticationRequired") from None
    claims = json.loads(_decoded(body))
    now = time.time() + (7200 if json.loads(_decoded(head))["kid"] == "expired" else 0)
    if claims["iss"] != ACCOUNT or not claims["iat"] - 60 <= now <= claims["exp"]:
        raise _Refused(401, "AuthenticationRequired")
    if not claims.get("scope", "").endswith(_SCOPES):
        raise _Refused(403, "AccessDenied")


def _meet(environ: Environ, found: GcsObject | None) -> None:
    wanted = environ.get("HTTP_X_GOOG_IF_GENERATION_MATCH")
    if wanted is not None and int(wanted) != (found.generation if found else 0):
        raise _Refused(412, "PreconditionFailed")


def _list(found: list[tuple[str, GcsObject]], query: dict[str, str]) -> str:
    most, after = int(query.get("max-keys", 1000)), query.get("continuation-token", "")
    named = [(key, item) for key, item in found if key.startswith(query.get("prefix", "")) and key > after]
    contents = "".join(
        f"<Contents><Key>{escape(key)}</Key><Generation>{item.generation}</Generation>"
        f"<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>{escape(item.tag)}</ETag>"
        f"<Size>{len(item.data)}</Size></Contents>"
        for key, item in named[:most]
    )
    more = len(named) > most
    token = f"<NextContinuationToken>{escape(named[most - 1][0])}</NextContinuationToken>" if more else ""
    return (
        f"<ListBucketResult xmlns='{_XML}'>{contents}<IsTruncated>{str(more).lower()}</IsTruncated>{token}"
        "</ListBucketResult>"
    )


def _open_uploads(uploads: dict[str, _Upload], prefix: str) -> str:
    items = "".join(
        f"<Upload><Key>{escape(upload.key)}</Key><UploadId>{number}</UploadId></Upload>"
        for number, upload in uploads.items()
        if upload.key.startswith(prefix)
    )
    return f"<ListMultipartUploadsResult xmlns='{_XML}'>{items}</ListMultipartUploadsResult>"


def _result(verb: str, content: str) -> bytes:
    return f"<{verb}MultipartUploadResult>{content}</{verb}MultipartUploadResult>".encode()


Answer = tuple[int, dict[str, str], bytes]


class _Request:
    def __init__(self, server: GcsServer, environ: Environ) -> None:
        path, _, query = environ["REQUEST_URI"].partition("?")
        bucket, _, key = (unquote(part) for part in path.removeprefix("/").partition("/"))
        self.server, self.environ = server, environ
        self.method: str = environ["REQUEST_METHOD"]
        self.key = key
        self.query = {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}
        self.body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        _authorize(server, environ)
        if bucket not in server.buckets:
            raise _Refused(404, "NoSuchBucket")
        self.objects, self.uploads = server.buckets[bucket], server.uploads[bucket]

    @property
    def storage_class(self) -> str:
        return str(self.environ.get("HTTP_X_GOOG_STORAGE_CLASS", "STANDARD"))

    def answer(self) -> Answer:
        match self.method:
            case "GET" if not self.key and "uploads" in self.query:
                return 200, {}, _open_uploads(self.uploads, self.query.get("prefix", "")).encode()
            case "GET" if not self.key:
                return 200, {}, _list(sorted(self.objects.items()), self.query).encode()
            case "GET" | "HEAD":
                return self._get()
            case "POST" if "uploads" in self.query:
                number = f"upload{self.server.generation}"
                self.server.generation += 1
                self.uploads[number] = _Upload(self.key, self.storage_class)
                return 200, {}, _result("Initiate", f"<UploadId>{number}</UploadId>")
            case "PUT" if "uploadId" in self.query:
                self._upload().parts[int(self.query["partNumber"])] = self.body
                return 200, {"ETag": GcsObject(self.body, 0, "").tag}, b""
            case "POST":
                return self._complete()
            case "PUT":
                return self._put(self.body, self.storage_class)
            case "DELETE" if "uploadId" in self.query:
                self._upload()
                del self.uploads[self.query["uploadId"]]
                return 204, {}, b""
            case "DELETE":
                if self.objects.pop(self.key, None) is None:
                    raise _Refused(404, "NoSuchKey")
                return 204, {}, b""
        raise _Refused(405, "MethodNotAllowed")

    def _upload(self) -> _Upload:
        found = self.uploads.get(self.query["uploadId"])
        if found is None or found.key != self.key:
            raise _Refused(404, "NoSuchUpload")
        return found

    def _get(self) -> Answer:
        found = self.objects.get(self.key)
        if found is None:
            raise _Refused(404, "NoSuchKey")
        headers = _described(found)
        wanted = self.environ.get("HTTP_RANGE", "").removeprefix("bytes=")
        if not wanted:
            return 200, headers, found.data
        first, _, last = wanted.partition("-")
        start = int(first) if first else len(found.data) - int(last)
        end = min(int(last) if first and last else len(found.data) - 1, len(found.data) - 1)
        if start > end:
            raise _Refused(416, "InvalidRange")
        headers["Content-Range"] = f"bytes {start}-{end}/{len(found.data)}"
        return 206, headers, found.data[start : end + 1]

    def _put(self, data: bytes, storage_class: str) -> Answer:
        _meet(self.environ, self.objects.get(self.key))
        self.server.generation += 1
        new = self.objects[self.key] = GcsObject(data, self.server.generation, storage_class)
        return 200, _described(new), b""

    def _complete(self) -> Answer:
        upload = self._upload()
        named = [
            (int(part.findtext("PartNumber") or 0), part.findtext("ETag") or "")
            for part in ElementTree.fromstring(self.body).iter("Part")
        ]
        if not named or [number for number, _ in named] != sorted({number for number, _ in named}):
            raise _Refused(400, "InvalidPartOrder")
        parts = [upload.parts.get(number) for number, _ in named]
        for (_, tag), part in zip(named, parts, strict=True):
            if part is None or GcsObject(part, 0, "").tag.strip('"') != tag.strip('"'):
                raise _Refused(400, "InvalidPart")
        if any(len(part or b"") < _LEAST_PART for part in parts[:-1]):
            raise _Refused(400, "EntityTooSmall")
        whole = b"".join(part or b"" for part in parts)
        status, headers, _ = self._put(whole, upload.storage_class)
        del self.uploads[self.query["uploadId"]]
        return status, headers, _result("Complete", f"<ETag>{escape(headers['ETag'])}</ETag>")


def _described(found: GcsObject) -> dict[str, str]:
    return {
        "ETag": found.tag,
        "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT",
        "x-goog-generation": str(found.generation),
        "x-goog-storage-class": found.storage_class,
    }


@contextmanager
def gcs_server() -> Iterator[GcsServer]:
    server = GcsServer()

    def application(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            request = _Request(server, environ)
            with server.lock:
                status, headers, data = request.answer()
        except _Refused as refused:
            status, headers, data = refused.status, {}, error(refused.code)
        headers["Content-Length"] = str(len(data))
        start_response(f"{status} -", list(headers.items()))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [data]

    with serving(server, application):
        yield server
