"""Uploads to S3 that nobody will complete: found by the key that they were for, and aborted.

Their parts are invisible, but they are kept, and paid for, until somebody does this. The library for object
stores has no call for it, so these two requests are signed here (AWS Signature Version 4).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import http.client
import ssl
from typing import Final
from urllib.parse import quote
from xml.etree import ElementTree

from tdsproxy.objects.errors import ObjectError, Reason
from tdsproxy.objects.options import Reaching, Secret
from tdsproxy.objects.store import DEFAULT_REGION, S3_IDENTITY, uses_http
from tdsproxy.objects.url import ObjectUrl

_SECONDS: Final = 30
_EMPTY: Final = hashlib.sha256(b"").hexdigest()
_MOST_ANSWER: Final = 4 << 20


def abort_uploads(url: ObjectUrl, secret: Secret, reaching: Reaching, region: str | None = None) -> int:
    """Aborts all uploads to the URL that are neither completed nor aborted; how many there were. Only for
    whoever knows that nobody is writing there. Raises ObjectError."""
    client = _Client(url, secret, reaching, region or url.region or DEFAULT_REGION)
    found = client.request("GET", "", {"prefix": url.key, "uploads": ""})
    try:
        root = ElementTree.fromstring(found)
    except ElementTree.ParseError:
        raise ObjectError(Reason.OTHER) from None
    uploads = [
        {child.tag.rpartition("}")[2]: child.text or "" for child in upload}
        for upload in root.iter()
        if upload.tag.rpartition("}")[2] == "Upload"
    ]
    mine = [upload["UploadId"] for upload in uploads if upload.get("Key") == url.key]
    for upload_id in mine:
        client.request("DELETE", url.key, {"uploadId": upload_id})
    return len(mine)


class _Client:
    def __init__(self, url: ObjectUrl, secret: Secret, reaching: Reaching, region: str) -> None:
        if secret.identity.lower() != S3_IDENTITY.lower():
            raise ObjectError(Reason.BAD_CREDENTIAL)
        self._id, _, rest = secret.value.partition(":")
        self._key, _, self._token = rest.partition(":")
        self._region = region
        self._host = f"{url.bucket}.{url.host}" if url.hosted else url.host
        self._root = "" if url.hosted else f"/{url.bucket}"
        self._http = uses_http(url, reaching)
        self._ca_file = reaching.ca_file

    def _connection(self) -> http.client.HTTPConnection:
        if self._http:
            return http.client.HTTPConnection(self._host, timeout=_SECONDS)
        context = ssl.create_default_context()
        if self._ca_file is not None:
            context.load_verify_locations(self._ca_file)
        return http.client.HTTPSConnection(self._host, timeout=_SECONDS, context=context)

    def request(self, method: str, key: str, query: dict[str, str]) -> bytes:
        path = quote(f"{self._root}/{key}", safe="/-_.~")
        asked = "&".join(f"{quote(n, safe='-_.~')}={quote(v, safe='-_.~')}" for n, v in sorted(query.items()))
        connection = self._connection()
        try:
            connection.request(method, f"{path}?{asked}", headers=self._headers(method, path, asked))
            answer = connection.getresponse()
            data = answer.read(_MOST_ANSWER)
        except (OSError, http.client.HTTPException):
            raise ObjectError(Reason.UNREACHABLE) from None
        finally:
            connection.close()
        if answer.status in (200, 204) or (method == "DELETE" and answer.status == 404):
            return data
        raise ObjectError(Reason.DENIED if answer.status in (401, 403) else Reason.OTHER, answer.status)

    def _headers(self, method: str, path: str, query: str) -> dict[str, str]:
        now = dt.datetime.now(dt.UTC)
        headers = {
            "host": self._host,
            "x-amz-content-sha256": _EMPTY,
            "x-amz-date": f"{now:%Y%m%dT%H%M%SZ}",
        }
        if self._token:
            headers["x-amz-security-token"] = self._token
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        canonical = "\n".join([method, path, query, lines, names, _EMPTY])
        scope = f"{now:%Y%m%d}/{self._region}/s3/aws4_request"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, digest])
        key = f"AWS4{self._key}".encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        headers["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self._id}/{scope},SignedHeaders={names},Signature={signature}"
        )
        return headers
