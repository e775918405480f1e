"""Credentials from files: what kind they are, and that nothing of them is told when they are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tdsproxy.objects.errors import ObjectError, Reason
from tdsproxy.objects.options import Secret
from tdsproxy.objects.secret import read_secret, secret_of
from tdsproxy.objects.signing import aws_signer, google_signer
from tdsproxy.objects.store import AMBIENT, S3_IDENTITY, SAS_IDENTITY
from tdsproxy.objects.url import parse_url

S3 = parse_url("s3://host:9000/bucket/key.bak")
AZURE = parse_url("https://account.blob.core.windows.net/container/key.bak")
SECRET = "vErY+sEcReT"


@pytest.mark.parametrize(
    ("url", "text", "identity"),
    [
        (S3, f" id:{SECRET}\n", S3_IDENTITY),
        (AZURE, f"sv=2024&sig={SECRET}", SAS_IDENTITY),
        (AZURE, SECRET, "account"),
        (S3, " \n", AMBIENT),
    ],
)
def test_what_a_text_is(url: Any, text: str, identity: str, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(text)
    for found in (secret_of(url, text), read_secret(url, path)):
        assert found == Secret(identity, text.strip())
        assert SECRET not in repr(found)


def refused(attempt: Any) -> None:
    with pytest.raises(ObjectError) as caught:
        attempt()
    assert caught.value.reason is Reason.BAD_CREDENTIAL
    assert SECRET not in f"{caught.value} {caught.value!r} {caught.value.__cause__}"


def test_a_file_that_cannot_be_read_is_a_bad_credential(tmp_path: Path) -> None:
    refused(lambda: read_secret(S3, tmp_path / "missing"))
    refused(lambda: read_secret(S3, tmp_path))
    (tmp_path / "binary").write_bytes(b"\xff\xfe" + SECRET.encode())
    refused(lambda: read_secret(S3, tmp_path / "binary"))


def pem(key: Any, password: bytes | None = None) -> str:
    sealing = (
        serialization.NoEncryption() if password is None else serialization.BestAvailableEncryption(password)
    )
    made: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealing)
    return made.decode()


def test_a_service_account_that_is_none_is_a_bad_credential() -> None:
    key = rsa.generate_private_key(65537, 2048)
    for document in (
        {},
        {"client_email": "a@b"},
        {"private_key": SECRET, "client_email": "a@b"},
        {"private_key": pem(key)},
        {"private_key": pem(key, SECRET.encode()), "client_email": "a@b"},
        {"private_key": pem(ec.generate_private_key(ec.SECP256R1())), "client_email": "a@b"},
    ):
        refused(lambda document=document: google_signer(document))
    headers = google_signer({"private_key": pem(key), "client_email": "a@b"})("GET", "/", "")
    assert headers["Authorization"].startswith("Bearer ")


def test_a_signature_tells_no_key() -> None:
    sign = aws_signer("host", "eu-west-1", "id", SECRET, "token")
    headers = sign("GET", "/bucket", "list-type=2")
    assert headers["x-amz-security-token"] == "token"
    assert "Credential=id/" in headers["Authorization"]
    assert "x-amz-security-token," not in headers["Authorization"].partition("Signature=")[2]
    assert SECRET not in str(headers)
    assert sign("GET", "/other", "list-type=2")["Authorization"] != headers["Authorization"]
