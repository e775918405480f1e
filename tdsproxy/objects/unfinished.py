"""Uploads that nobody will complete: found by the key that they were for, and aborted.

Their parts are invisible, but S3 and Google keep them, and have them paid for, until somebody does this. The
library for object stores has no call for it, so these two requests are made here; Google's XML API has the
same ones as S3.
"""

from __future__ import annotations

import http.client
import ssl
from typing import Final
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from tdsproxy.objects.errors import ObjectError, Reason
from tdsproxy.objects.options import Reaching, Secret
from tdsproxy.objects.signing import Signer, aws_signer, google_signer
from tdsproxy.objects.store import DEFAULT_REGION, S3_IDENTITY, service_account, uses_http
from tdsproxy.objects.url import Kind, ObjectUrl

_SECONDS: Final = 30
_MOST_ANSWER: Final = 4 << 20


def abort_uploads(url: ObjectUrl, secret: Secret, reaching: Reaching, region: str | None = None) -> int:
    """Aborts all uploads to the URL, S3's or Google's, that are neither completed nor aborted; how many there
    were. Only for whoever knows that nobody is writing there. Raises ObjectError."""
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
        self._host = f"{url.bucket}.{url.host}" if url.hosted else url.host
        self._root = "" if url.hosted else f"/{url.bucket}"
        self._http = uses_http(url, reaching, secret)
        self._ca_file = reaching.ca_file
        if url.kind is Kind.GCS:
            account = service_account(secret)
            base = urlsplit(str(account.get("gcs_base_url", "")))
            self._host = base.netloc or self._host
            self._sign = google_signer(account)
        else:
            self._sign = _aws(secret, self._host, region)

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
            connection.request(method, f"{path}?{asked}", headers=self._sign(method, path, asked))
            answer = connection.getresponse()
            data = answer.read(_MOST_ANSWER)
        except (OSError, http.client.HTTPException):
            raise ObjectError(Reason.UNREACHABLE) from None
        finally:
            connection.close()
        if answer.status in (200, 204) or (method == "DELETE" and answer.status == 404):
            return data
        raise ObjectError(Reason.DENIED if answer.status in (401, 403) else Reason.OTHER, answer.status)


def _aws(secret: Secret, host: str, region: str) -> Signer:
    if secret.identity.lower() != S3_IDENTITY.lower():
        raise ObjectError(Reason.BAD_CREDENTIAL)
    name, _, rest = secret.value.partition(":")
    key, _, token = rest.partition(":")
    return aws_signer(host, region, name, key, token)
