"""Finding the uploads that nobody completes."""

from __future__ import annotations

import pytest

from tdsproxy.objects.options import Reaching, Secret
from tdsproxy.objects.requests import Requests
from tdsproxy.objects.store import S3_IDENTITY
from tdsproxy.objects.unfinished import abort_uploads
from tdsproxy.objects.url import parse_url


def test_more_uploads_than_one_answer_tells_of(monkeypatch: pytest.MonkeyPatch) -> None:
    there = [("a/one.bak", str(number)) for number in range(5)] + [
        ("a/one.bak.old", "5"),
        ("a/one.bakery", "6"),
    ]
    gone: list[str] = []

    def request(self: Requests, method: str, key: str, query: dict[str, str]) -> bytes:
        if method == "DELETE":
            assert key == "a/one.bak"
            gone.append(query["uploadId"])
            return b""
        begin = (query.get("key-marker", ""), query.get("upload-id-marker", ""))
        left = [upload for upload in there if upload > begin]
        shown = "".join(
            f"<Upload><Key>{name}</Key><UploadId>{number}</UploadId></Upload>" for name, number in left[:2]
        )
        name, number = left[:2][-1]
        return (
            "<ListMultipartUploadsResult xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>"
            f"<NextKeyMarker>{name}</NextKeyMarker><NextUploadIdMarker>{number}</NextUploadIdMarker>"
            f"<IsTruncated>{str(len(left) > 2).lower()}</IsTruncated>{shown}</ListMultipartUploadsResult>"
        ).encode()

    monkeypatch.setattr(Requests, "request", request)
    url = parse_url("s3://127.0.0.1:9000/bucket/a/one.bak")
    assert abort_uploads(url, Secret(S3_IDENTITY, "name:key"), Reaching()) == 5
    assert gone == ["0", "1", "2", "3", "4"]
