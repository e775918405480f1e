"""What SQL Server says of an object store that does not do what it is asked."""

from __future__ import annotations

import pytest

from tdsproxy.commands.remote_failures import remote_failure
from tdsproxy.media.errors import RemoteError
from tdsproxy.objects.errors import ObjectError, Reason

URL = "s3://host/bucket/x.bak"


@pytest.mark.parametrize(
    ("operation", "reason", "number", "state", "words"),
    [
        ("open", Reason.EXISTS, 3296, 1, f"The file {URL} exists on the remote endpoint"),
        ("write", Reason.TOO_LONG, 3236, 1, "10000"),
        ("open", Reason.UNTRUSTED, 3201, 1, "Operating system error 12175("),
        ("open", Reason.UNREACHABLE, 3201, 1, "Operating system error 12029("),
        ("open", Reason.UNKNOWN_HOST, 3201, 1, "Operating system error 12007("),
        ("open", Reason.TIMEOUT, 3201, 1, "Operating system error 12002("),
        ("open", Reason.DENIED, 3201, 1, "Operating system error 5(Access is denied.)."),
        ("write", Reason.DENIED, 3201, 1, "Operating system error 5(Access is denied.)."),
        ("write", Reason.NO_BUCKET, 3201, 1, "Operating system error 50(The request is not supported.)."),
        ("write", Reason.MISSING, 3201, 1, "Operating system error 50(The request is not supported.)."),
        ("open", Reason.BAD_CREDENTIAL, 3201, 1, "Operating system error 86("),
        ("write", Reason.UNREACHABLE, 3202, 1, f'Write on "{URL}" failed: 12029('),
        ("write", Reason.THROTTLED, 3202, 1, f'Write on "{URL}" failed: 1117('),
        ("read", Reason.UNREACHABLE, 3203, 1, f'Read on "{URL}" failed: 12029('),
        ("read", Reason.ARCHIVED, 3203, 1, f'Read on "{URL}" failed: 4350('),
        ("read", Reason.CHANGED, 3203, 1, f'Read on "{URL}" failed: 32('),
    ],
)
def test_a_reason_in_sql_servers_words(
    operation: str, reason: Reason, number: int, state: int, words: str
) -> None:
    (error,) = remote_failure(RemoteError(URL, operation, ObjectError(reason, 403, "Code")), 1).messages
    assert (error.number, error.state) == (number, state)
    assert words in error.text
    # The store's own words stay out of it.
    assert "Code" not in error.text
