"""The few requests that the library for object stores has no call for, signed and sent here."""

from __future__ import annotations

import http.client
import ssl
from email.message import Message
from typing import Final
from urllib.parse import quote, urlsplit

from tdsproxy.objects.errors import ObjectError, Reason
from tdsproxy.objects.options import Reaching, Secret
from tdsproxy.objects.signing import Signer, aws_signer, google_signer
from tdsproxy.objects.store import DEFAULT_REGION, S3_IDENTITY, service_account, uses_http
from tdsproxy.objects.url import Kind, ObjectUrl

_SECONDS: Final = 30
_MOST_ANSWER: Final = 4 << 20


def encryption_of(url: ObjectUrl, secret: Secret | None, reaching: Reaching) -> tuple[str | None, str | None]:
    """How S3 keeps an object encrypted, and with which key of its own, as ``Writing`` has it. None of what is
    reached with the machine's identity, or lies elsewhere. Raises ObjectError."""
    if url.kind is not Kind.S3 or secret is None or secret.identity.lower() != S3_IDENTITY.lower():
        return None, None
    headers = Requests(url, secret, reaching, url.region or DEFAULT_REGION).head(url.key)
    name = "x-amz-server-side-encryption"
    return headers.get(name), headers.get(f"{name}-aws-kms-key-id")


class Requests:
    """Requests without a body to S3's API, or Google's, which understands the same ones."""

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
        """What is answered; an object that is not there need not be deleted."""
        return self._ask(method, key, query)[0]

    def head(self, key: str) -> Message:
        """The headers of an object."""
        return self._ask("HEAD", key, {})[1]

    def _ask(self, method: str, key: str, query: dict[str, str]) -> tuple[bytes, Message]:
        path = quote(f"{self._root}/{key}", safe="/-_.~")
        asked = "&".join(f"{quote(n, safe='-_.~')}={quote(v, safe='-_.~')}" for n, v in sorted(query.items()))
        connection = self._connection()
        try:
            connection.request(
                method, f"{path}?{asked}" if asked else path, headers=self._sign(method, path, asked)
            )
            answer = connection.getresponse()
            data = answer.read(_MOST_ANSWER)
        except (OSError, http.client.HTTPException):
            raise ObjectError(Reason.UNREACHABLE) from None
        finally:
            connection.close()
        if answer.status in (200, 204) or (method == "DELETE" and answer.status == 404):
            return data, answer.headers
        raise ObjectError(Reason.DENIED if answer.status in (401, 403) else Reason.OTHER, answer.status)


def _aws(secret: Secret, host: str, region: str) -> Signer:
    if secret.identity.lower() != S3_IDENTITY.lower():
        raise ObjectError(Reason.BAD_CREDENTIAL)
    name, _, rest = secret.value.partition(":")
    key, _, token = rest.partition(":")
    return aws_signer(host, region, name, key, token)
