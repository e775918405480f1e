from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.tsql.masking import masked

SECRET = "s3cret''pass"


@pytest.mark.parametrize(
    "text",
    [
        f"BACKUP DATABASE x TO DISK = N'a' WITH PASSWORD = '{SECRET}', STATS",
        f"BACKUP DATABASE x TO DISK = N'a' WITH MEDIAPASSWORD=N'{SECRET}'",
        f"CREATE MASTER KEY ENCRYPTION BY PASSWORD = '{SECRET}'",
        f"BACKUP CERTIFICATE c TO FILE = 'f' WITH PRIVATE KEY (ENCRYPTION BY PASSWORD = N'{SECRET}')",
        f"CREATE CREDENTIAL c WITH IDENTITY = 'me', SECRET = '{SECRET}'",
        f"ALTER LOGIN a WITH PASSWORD = '{SECRET}' OLD_PASSWORD = '{SECRET}'",
        f"-- PASSWORD\nCREATE LOGIN a WITH PASSWORD /* = */ = '{SECRET}'",
        f"BACKUP DATABASE x TO URL = 'https://b/c?sv=1&sig={SECRET[:6]}&se=2' WITH STATS",
        f"BACKUP DATABASE x TO URL = 's3://key:{SECRET[:6]}@host/b'",
        f"CREATE CERTIFICATE c FROM BINARY = 0x00FF{SECRET[:0]}",
        f"CREATE LOGIN a WITH PASSWORD = '{SECRET} without an end",
    ],
)
def test_secrets_are_not_shown(text: str) -> None:
    shown = masked(text)
    assert SECRET[:6] not in shown
    assert "00FF" not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    "text",
    [
        "BACKUP DATABASE x TO DISK = N'a.bak' WITH NAME = 'PASSWORD = ''y'''",
        "RESTORE DATABASE [password] FROM DISK = @password",
        "BACKUP DATABASE x TO URL = 'https://b/c?sv=1'",
    ],
)
def test_everything_else_is(text: str) -> None:
    assert masked(text) == text


@given(st.text())
def test_any_text(text: str) -> None:
    masked(text)
    assert (
        masked(f"CREATE LOGIN a WITH PASSWORD = '{text.replace(chr(39), '')}SECRETPART'").count("SECRETPART")
        == 0
    )
