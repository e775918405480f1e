"""What the stores promise to those who share one: conditional writes, on each server that there is a double
of in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tdsproxy.objects.errors import ObjectError, Reason
from tdsproxy.objects.lease import SECONDS, Lease, LeaseTaken
from tdsproxy.objects.options import Reaching, Secret, Writing
from tdsproxy.objects.store import Bucket, open_bucket
from tdsproxy.objects.url import parse_url
from tests.objects import gcs_server as gcs
from tests.objects import s3_server as s3
from tests.objects.authority import make_authority
from tests.objects.faults import Cut, Environ

Server = s3.S3Server | gcs.GcsServer


@pytest.fixture(scope="module", params=["s3", "gcs"])
def store(request: pytest.FixtureRequest) -> Iterator[tuple[Server, str, Secret]]:
    """A server with a bucket, whose URL it is, and what opens it."""
    if request.param == "s3":
        with s3.s3_server() as server:
            yield server, server.bucket("shared"), Secret(s3.IDENTITY, f"{s3.KEY}:{s3.SECRET}")
    else:
        with gcs.gcs_server() as double:
            yield double, double.bucket("shared"), Secret(gcs.IDENTITY, double.secret())


@pytest.fixture
def bucket(store: tuple[Server, str, Secret]) -> Bucket:
    return open_bucket(parse_url(store[1], object_needed=False), store[2], Reaching())


def _refused(bucket: Bucket, **condition: object) -> Reason:
    with pytest.raises(ObjectError) as caught:
        bucket.write("x", b"lost", **condition)  # type: ignore[arg-type]
    return caught.value.reason


def test_only_who_knows_the_last_one_replaces_it(bucket: Bucket) -> None:
    first = bucket.write("x", b"1", new=True)
    assert _refused(bucket, new=True) in (Reason.EXISTS, Reason.CHANGED)
    second = bucket.write("x", b"2", only=first)
    assert second not in (None, first)
    assert _refused(bucket, only=first) is Reason.CHANGED
    assert bucket.read_all("x") == (b"2", second)
    found = bucket.find("x")
    assert found is not None
    assert (found.size, found.tag) == (1, second)
    assert bucket.read("x", 0, 1) == b"2"


def test_a_lease_has_one_holder(bucket: Bucket) -> None:
    now = [1000.0]
    one, other = (Lease(bucket, "lease", name, name, clock=lambda: now[0]) for name in ("one", "other"))
    one.keep()
    with pytest.raises(LeaseTaken):
        other.keep()
    now[0] += 2 * SECONDS
    other.keep()
    with pytest.raises(LeaseTaken):
        one.keep()
    other.release()
    one.keep()
    assert one.epoch == 3


def test_a_list_is_whole_and_in_order(bucket: Bucket) -> None:
    for number in (2, 1, 3):
        bucket.write(f"many/a b&{number}", bytes(number))
    assert [(item.key, item.size) for item in bucket.list("many")] == [
        (f"many/a b&{number}", number) for number in (1, 2, 3)
    ]
    bucket.remove(["many/a b&1", "many/never"])
    assert [item.key for item in bucket.list("many")] == ["many/a b&2", "many/a b&3"]


def test_parts_make_one_object_with_its_class(bucket: Bucket) -> None:
    pieces = [bytes([number]) * (1 << 20) for number in range(12)]
    bucket.upload("large", iter(pieces), 5 << 20, 2)
    assert b"".join(bucket.pieces("large", offset=5 << 20)) == b"".join(pieces[5:])


def test_gcs_is_told_the_storage_class() -> None:
    with gcs.gcs_server() as server:
        url = parse_url(server.bucket("cold"), object_needed=False)
        cold = open_bucket(
            url, Secret(gcs.IDENTITY, server.secret()), Reaching(), Writing(storage_class="COLDLINE")
        )
        cold.write("a", b"1")
        cold.upload("b", iter([bytes(6 << 20)]), 5 << 20, 2)
        assert {item.storage_class for item in server.buckets["cold"].values()} == {"COLDLINE"}


@pytest.mark.parametrize(
    ("fault", "reason"), [(Cut(100_000), Reason.UNREACHABLE), ((503, "SlowDown"), Reason.THROTTLED)]
)
def test_what_does_not_get_better_ends_and_leaves_nothing(
    store: tuple[Server, str, Secret],
    monkeypatch: pytest.MonkeyPatch,
    fault: tuple[int, str] | Cut,
    reason: Reason,
) -> None:
    """The second part never arrives."""
    monkeypatch.setattr("tdsproxy.objects.store._REPETITIONS", 2)
    server, url, secret = store
    bucket = open_bucket(parse_url(url, object_needed=False), secret, Reaching())
    tried: list[str] = []

    def second(environ: Environ) -> tuple[int, str] | Cut | None:
        if "partNumber=2" not in environ["QUERY_STRING"]:
            return None
        tried.append(environ["PATH_INFO"])
        return fault

    with server.fault(second), pytest.raises(ObjectError) as caught:
        bucket.upload("never", iter([bytes(1 << 20)] * 16), 5 << 20, 2)
    assert caught.value.reason is reason
    assert len(tried) == 3
    assert "never" not in server.keys("shared")
    assert server.open_uploads("shared") == 0


def test_a_certificate_of_another_authority_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tdsproxy.objects.store._REPETITIONS", 0)
    authority, certificate, key = make_authority(tmp_path / "right")
    other, _, _ = make_authority(tmp_path / "other")
    with s3.s3_server(tls=(certificate, key)) as server:
        url = parse_url(server.bucket("secure"), object_needed=False)
        secret = Secret(s3.IDENTITY, f"{s3.KEY}:{s3.SECRET}")
        assert open_bucket(url, secret, Reaching(ca_file=authority)).find("x") is None
        with pytest.raises(ObjectError) as caught:
            open_bucket(url, secret, Reaching(ca_file=other)).find("x")
        assert caught.value.reason is Reason.UNTRUSTED
