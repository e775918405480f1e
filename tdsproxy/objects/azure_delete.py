"""Deleting one Azure blob by the request that is made for it (Delete Blob).

The library for object stores sends a batch also for a single blob. Batches need more rights than a signature
for a container may give, and Azurite fails on them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import ssl
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Final
from urllib.parse import quote

from tdsproxy.objects.errors import ObjectError, Reason
from tdsproxy.objects.options import Reaching, Secret
from tdsproxy.objects.url import ObjectUrl

_VERSION: Final = "2021-08-06"
_SECONDS: Final = 60
_TRIES: Final = 5
_PAUSE_SECONDS: Final = 0.2
_MOST_ANSWER: Final = 1 << 20


def blob_remover(url: ObjectUrl, secret: Secret, reaching: Reaching) -> Callable[[str], None] | None:
    """Deletes the blob of a key in the container of ``url``; what is not there is no error. None for an
    identity of the machine's own, whose tokens only the library gets."""
    token = ""
    key: bytes | None = None
    if secret.identity.lower() == url.account.lower():
        try:
            key = base64.b64decode(secret.value, validate=True)
        except binascii.Error:
            raise ObjectError(Reason.BAD_CREDENTIAL) from None
    elif "sig=" in secret.value:
        token = secret.value.removeprefix("?")
    else:
        return None

    def remove(name: str) -> None:
        path = quote(f"/{url.account}/{url.bucket}/{name}" if url.is_loopback else f"/{url.bucket}/{name}")
        for left in reversed(range(_TRIES)):
            headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": _VERSION, "Content-Length": "0"}
            if key is not None:
                headers["Authorization"] = _shared_key(url.account, key, path, headers)
            try:
                status = _ask(url, reaching, f"{path}?{token}" if token else path, headers)
            except ObjectError:
                if not left:
                    raise
            else:
                if status in (200, 202, 404):
                    return
                if status < 500 or not left:
                    reason = Reason.DENIED if status in (401, 403) else Reason.OTHER
                    raise ObjectError(Reason.THROTTLED if status == 503 else reason, status)
            time.sleep(_PAUSE_SECONDS * (_TRIES - left))

    return remove


def _shared_key(account: str, key: bytes, path: str, headers: dict[str, str]) -> str:
    """Of a request without a body or a query."""
    mine = "".join(f"{name}:{headers[name]}\n" for name in ("x-ms-date", "x-ms-version"))
    text = "DELETE" + "\n" * 12 + f"{mine}/{account}{path}"
    digest = hmac.new(key, text.encode(), hashlib.sha256).digest()
    return f"SharedKey {account}:{base64.b64encode(digest).decode()}"


def _ask(url: ObjectUrl, reaching: Reaching, path: str, headers: dict[str, str]) -> int:
    if url.secure:
        context = ssl.create_default_context()
        if reaching.ca_file is not None:
            context.load_verify_locations(reaching.ca_file)
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            url.host, timeout=_SECONDS, context=context
        )
    else:
        connection = http.client.HTTPConnection(url.host, timeout=_SECONDS)
    try:
        connection.request("DELETE", path, headers=headers)
        answer = connection.getresponse()
        answer.read(_MOST_ANSWER)
        return answer.status
    except (OSError, http.client.HTTPException):
        # The words of the exception may hold the URL, and with it the signature.
        raise ObjectError(Reason.UNREACHABLE) from None
    finally:
        connection.close()
