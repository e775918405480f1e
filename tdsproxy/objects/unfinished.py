"""Uploads that nobody will complete: found by the key that they were for, and aborted.

Their parts are invisible, but S3 and Google keep them, and have them paid for, until somebody does this. The
library for object stores has no call for it (``requests``); Google's XML API has the same ones as S3.
"""

from __future__ import annotations

from xml.etree import ElementTree

from tdsproxy.objects.errors import ObjectError, Reason
from tdsproxy.objects.options import Reaching, Secret
from tdsproxy.objects.requests import Requests
from tdsproxy.objects.store import DEFAULT_REGION
from tdsproxy.objects.url import ObjectUrl


def abort_uploads(url: ObjectUrl, secret: Secret, reaching: Reaching, region: str | None = None) -> int:
    """Aborts all uploads to the URL, S3's or Google's, that are neither completed nor aborted; how many there
    were. Only for whoever knows that nobody is writing there. Raises ObjectError."""
    client = Requests(url, secret, reaching, region or url.region or DEFAULT_REGION)
    mine: list[str] = []
    asked = {"prefix": url.key, "uploads": ""}
    while True:
        try:
            root = ElementTree.fromstring(client.request("GET", "", asked))
        except ElementTree.ParseError:
            raise ObjectError(Reason.OTHER) from None
        for upload in root.iter():
            if _name(upload) == "Upload" and _texts(upload).get("Key") == url.key:
                mine.append(_texts(upload)["UploadId"])
        said = _texts(root)
        # In the order of the keys, so that those of this one come before those of longer ones.
        following = {
            "key-marker": said.get("NextKeyMarker", ""),
            "upload-id-marker": said.get("NextUploadIdMarker", ""),
        }
        more = said.get("IsTruncated") == "true" and following["key-marker"] == url.key
        if not more or following.items() <= asked.items():
            break
        asked |= following
    for upload_id in mine:
        client.request("DELETE", url.key, {"uploadId": upload_id})
    return len(mine)


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _texts(element: ElementTree.Element) -> dict[str, str]:
    return {_name(child): child.text or "" for child in element}
