from __future__ import annotations

from pathlib import Path

import pytest

from tdsproxy.objects.errors import ObjectError, Reason, from_library
from tdsproxy.objects.options import Reaching, Secret
from tdsproxy.objects.secret import secret_of
from tdsproxy.objects.store import open_bucket, uses_http
from tdsproxy.objects.url import Kind, parse_url


@pytest.mark.parametrize(
    ("text", "kind", "host", "bucket", "key", "account"),
    [
        ("s3://10.0.0.1:9000/b/a/x.bak", Kind.S3, "10.0.0.1:9000", "b", "a/x.bak", ""),
        ("S3://host/b/x", Kind.S3, "host", "b", "x", ""),
        (
            "s3://b.s3.eu-west-1.amazonaws.com/a/x",
            Kind.S3,
            "s3.eu-west-1.amazonaws.com",
            "b",
            "a/x",
            "",
        ),
        ("s3://s3.eu-west-1.amazonaws.com/b/x", Kind.S3, "s3.eu-west-1.amazonaws.com", "b", "x", ""),
        (
            "https://acc.blob.core.windows.net/c/a/x",
            Kind.AZURE,
            "acc.blob.core.windows.net",
            "c",
            "a/x",
            "acc",
        ),
        ("http://127.0.0.1:10000/acc/c/x", Kind.AZURE, "127.0.0.1:10000", "c", "x", "acc"),
        ("gs://b/a/x", Kind.GCS, "storage.googleapis.com", "b", "a/x", ""),
    ],
)
def test_a_url_names_an_object(text: str, kind: Kind, host: str, bucket: str, key: str, account: str) -> None:
    found = parse_url(text)
    assert (found.kind, found.host, found.bucket, found.key, found.account) == (
        kind,
        host,
        bucket,
        key,
        account,
    )
    assert found.text == text


@pytest.mark.parametrize(
    "text",
    [
        "s3://host/b",
        "s3://host/b/",
        "s3://host/b/x/",
        "s3:///b/x",
        "s3://user@host/b/x",
        "s3://host/b/../x",
        "s3://host/b//x",
        "s3://host/b/x?y=1",
        "s3://host/b/x#y",
        "s3://host:port/b/x",
        "http://acc.blob.core.windows.net/c/x",
        "https://example.com/c/x",
        "https://acc.blob.core.windows.net/x",
        "ftp://host/b/x",
        "gs://b:1/x",
        "c:\\x.bak",
    ],
)
def test_what_names_none(text: str) -> None:
    with pytest.raises(ObjectError) as caught:
        parse_url(text)
    assert caught.value.reason is Reason.BAD_URL


def test_which_hosts_are_reached_in_clear(tmp_path: Path) -> None:
    inside, loopback = parse_url("s3://minio.lan:9000/b/x"), parse_url("s3://127.0.0.1:9000/b/x")
    assert not uses_http(inside, Reaching())
    assert uses_http(inside, Reaching(("minio.lan:9000",)))
    assert uses_http(inside, Reaching(("MINIO.lan",)))
    assert not uses_http(inside, Reaching(("other:9000",)))
    assert uses_http(loopback, Reaching())
    assert not uses_http(loopback, Reaching(ca_file=tmp_path / "ca.pem"))
    assert uses_http(loopback, Reaching(("127.0.0.1:9000",), tmp_path / "ca.pem"))
    emulator = '{"gcs_base_url": "http://%s"}'
    for host, clear in (("127.0.0.1:4443", True), ("10.0.0.1:4443", False)):
        assert uses_http(parse_url("gs://b/x"), Reaching(), Secret("x", emulator % host)) is clear


def test_credentials_of_another_form() -> None:
    s3 = parse_url("s3://host/b/x")
    azure = parse_url("https://acc.blob.core.windows.net/c/x")
    google = parse_url("gs://b/x")
    for url, secret in (
        (s3, Secret("somebody", "a:b")),
        (s3, Secret("S3 Access Key", "nocolon")),
        (azure, Secret("other", "a2V5")),
        (google, Secret("account", "no json")),
    ):
        with pytest.raises(ObjectError) as caught:
            open_bucket(url, secret, Reaching())
        assert caught.value.reason is Reason.BAD_CREDENTIAL
    with pytest.raises(ObjectError) as caught:
        open_bucket(s3, None, Reaching())
    assert caught.value.reason is Reason.NO_CREDENTIAL
    assert secret_of(azure, "sv=1&sig=2").identity == "SHARED ACCESS SIGNATURE"
    assert secret_of(azure, "a2V5").identity == "acc"
    assert secret_of(s3, "").identity == "Managed Identity"
    assert "b:c" not in repr(secret_of(s3, "b:c"))


def test_an_error_says_nothing_of_the_request() -> None:
    words = "Error performing PUT http://h/b?sig=SECRET in 1ms - Server returned non-2xx status code: %s"
    error = from_library(ValueError(words % "503: <Error><Code>SlowDown</Code></Error>"))
    assert (error.reason, error.status, error.code) == (Reason.THROTTLED, 503, "SlowDown")
    assert "SECRET" not in str(error)
    for text, reason in (
        ("400: <Error><Code>ExpiredToken</Code></Error>", Reason.DENIED),
        ("403", Reason.DENIED),
        ("404: <Error><Code>NoSuchBucket</Code></Error>", Reason.NO_BUCKET),
        ("404", Reason.MISSING),
        ("500", Reason.OTHER),
        ("412", Reason.CHANGED),
    ):
        assert from_library(ValueError(words % text)).reason is reason
    for text, reason in (
        ("dns error: failed to lookup address", Reason.UNKNOWN_HOST),
        ("invalid peer certificate: UnknownIssuer", Reason.UNTRUSTED),
        ("operation timed out", Reason.TIMEOUT),
        ("tcp connect error: Connection refused", Reason.UNREACHABLE),
        ("something else", Reason.OTHER),
    ):
        assert from_library(ValueError(text)).reason is reason
