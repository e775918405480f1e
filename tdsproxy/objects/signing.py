"""What makes a request without a body somebody's: AWS Signature Version 4, and the tokens that a Google
service account signs itself (RFC 7519, RS256)."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from tdsproxy.objects.errors import ObjectError, Reason

Signer = Callable[[str, str, str], dict[str, str]]
"""Given a method, a path and a query, both as they are sent: the headers."""

_EMPTY: Final = hashlib.sha256(b"").hexdigest()
_SCOPE: Final = "https://www.googleapis.com/auth/devstorage.full_control"
_TOKEN_SECONDS: Final = 3600


def aws_signer(host: str, region: str, name: str, key: str, token: str = "") -> Signer:
    """``name`` is the access key's ID; ``token`` that of temporary keys."""

    def sign(method: str, path: str, query: str) -> dict[str, str]:
        now = dt.datetime.now(dt.UTC)
        headers = {"host": host, "x-amz-content-sha256": _EMPTY, "x-amz-date": f"{now:%Y%m%dT%H%M%SZ}"}
        if token:
            headers["x-amz-security-token"] = token
        names = ";".join(sorted(headers))
        lines = "".join(f"{header}:{headers[header]}\n" for header in sorted(headers))
        canonical = "\n".join([method, path, query, lines, names, _EMPTY])
        scope = f"{now:%Y%m%d}/{region}/s3/aws4_request"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, digest])
        secret = f"AWS4{key}".encode()
        for part in scope.split("/"):
            secret = hmac.new(secret, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
        headers["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={name}/{scope},SignedHeaders={names},Signature={signature}"
        )
        return headers

    return sign


def google_signer(account: Mapping[str, Any]) -> Signer:
    """``account`` is a service account's key. Raises ObjectError BAD_CREDENTIAL."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    try:
        key = serialization.load_pem_private_key(str(account["private_key"]).encode(), None)
        name, number = str(account["client_email"]), str(account.get("private_key_id", ""))
    except (KeyError, ValueError, TypeError):
        raise ObjectError(Reason.BAD_CREDENTIAL) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ObjectError(Reason.BAD_CREDENTIAL)

    def sign(_method: str, _path: str, _query: str) -> dict[str, str]:
        now = int(time.time())
        claims = {"iss": name, "sub": name, "scope": _SCOPE, "iat": now, "exp": now + _TOKEN_SECONDS}
        text = f"{_encoded({'alg': 'RS256', 'typ': 'JWT', 'kid': number})}.{_encoded(claims)}"
        signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return {"Authorization": f"Bearer {text}.{_base64(signature)}"}

    return sign


def _encoded(value: Mapping[str, Any]) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
