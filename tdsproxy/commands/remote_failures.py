"""What an object store does not do, in SQL Server's messages.

The operating system's words are those that SQL Server's own connector gives: 50 for a bucket that is not
there or a URL without credential, 5 for one that the store refuses, and for the network WinHTTP's numbers,
for which Linux has no text.
"""

from __future__ import annotations

from typing import Final

from tdsproxy.commands.failure import CommandError, fail
from tdsproxy.commands.messages import OsError
from tdsproxy.media.errors import RemoteError
from tdsproxy.media.object_device import MOST_PARTS
from tdsproxy.objects.errors import Reason

_WORDS: Final = {
    Reason.NO_CREDENTIAL: OsError.NOT_SUPPORTED,
    Reason.NO_BUCKET: OsError.NOT_SUPPORTED,
    Reason.UNAVAILABLE: OsError.NOT_SUPPORTED,
    Reason.BAD_CREDENTIAL: OsError.WRONG_PASSWORD,
    Reason.DENIED: OsError.ACCESS_DENIED,
    Reason.MISSING: OsError.FILE_NOT_FOUND,
    Reason.CHANGED: OsError.SHARING_VIOLATION,
    Reason.ARCHIVED: OsError.OFFLINE,
}
_NETWORK: Final = {
    Reason.UNREACHABLE: 12029,
    Reason.UNKNOWN_HOST: 12007,
    Reason.UNTRUSTED: 12175,
    Reason.TIMEOUT: 12002,
}
_AT_OPENING: Final = frozenset({Reason.NO_BUCKET, Reason.DENIED, Reason.NO_CREDENTIAL})


def remote_failure(error: RemoteError, state: int = 2) -> CommandError:
    """``state`` is that of 3201: 1 of a device to be written, 2 of one to be read."""
    device, reason = error.device, error.reason
    if reason is Reason.EXISTS:
        return fail(3296, device)
    if reason is Reason.TOO_LONG:
        return fail(3236, device, MOST_PARTS)
    words = _words(reason)
    # What is wrong with the bucket or the credential may show only when the first part is sent.
    if error.operation == "open" or (error.operation == "write" and reason in _AT_OPENING):
        return fail(3201, device, words, state=state)
    if error.operation == "write" and reason is Reason.MISSING:
        return fail(3201, device, OsError.NOT_SUPPORTED.words, state=state)
    return fail(3203 if error.operation == "read" else 3202, device, words)


def _words(reason: Reason) -> str:
    if reason in _NETWORK:
        return f"{_NETWORK[reason]}(failed to retrieve text for this error. Reason: 15105)"
    return _WORDS.get(reason, OsError.IO_DEVICE).words
