from __future__ import annotations

import pytest

from tdsproxy.tsql.secrets import masked


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("OPEN MASTER KEY DECRYPTION BY PASSWORD = 'a''b'", "OPEN MASTER KEY DECRYPTION BY PASSWORD = '***'"),
        (
            "WITH PRIVATE KEY (FILE = 'f', DECRYPTION BY password=N'x', ENCRYPTION BY PASSWORD = 'y')",
            "WITH PRIVATE KEY (FILE = 'f', DECRYPTION BY password=N'***', ENCRYPTION BY PASSWORD = '***')",
        ),
        ("CREATE CREDENTIAL c WITH IDENTITY = 'i', SECRET =\n'two\nlines'",
         "CREATE CREDENTIAL c WITH IDENTITY = 'i', SECRET =\n'***'"),
        ("ALTER LOGIN l WITH PASSWORD = 'n' OLD_PASSWORD = 'o'",
         "ALTER LOGIN l WITH PASSWORD = '***' OLD_PASSWORD = '***'"),
        ("OPEN MASTER KEY DECRYPTION BY PASSWORD = 'cut o", "OPEN MASTER KEY DECRYPTION BY PASSWORD = '***'"),
        ("SELECT password FROM t WHERE n = 'x'", "SELECT password FROM t WHERE n = 'x'"),
    ],
)  # fmt: skip
def test_passwords_and_secrets_are_not_shown(text: str, shown: str) -> None:
    assert masked(text) == shown
