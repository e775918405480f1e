"""A client in a process of its own, to be killed: run as a script by the kill campaign.

Takes ``connect HOST PORT`` and ``commit WRITER NUMBER`` from standard input, a line each, and answers each
with a line: ``ok``, or the error. A commit is a transaction of three batches. What was acknowledged stands
in the record, a file outside the store, durably before the answer.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import pytds


def main() -> None:
    record, password, application = sys.argv[1:]
    out = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    connection: Any = None
    for line in sys.stdin:
        command, *words = line.split()
        try:
            if command == "connect":
                connection = pytds.connect(
                    server=words[0],
                    port=int(words[1]),
                    user="sa",
                    password=password,
                    appname=application,
                    autocommit=True,
                    login_timeout=60,
                    timeout=60,
                )
            else:
                cursor = connection.cursor()
                for batch in batches(*map(int, words)):
                    cursor.execute(batch)
                    while cursor.nextset():
                        continue
                os.write(out, f"{words[1]}\n".encode())
                os.fsync(out)
        except (pytds.Error, OSError) as error:
            print(f"{type(error).__name__}: {error}".replace("\n", " "), flush=True)
        else:
            print("ok", flush=True)


def batches(writer: int, number: int) -> tuple[str, ...]:
    """The transaction; between two of its batches it is open."""
    return (
        "SET XACT_ABORT ON; BEGIN TRANSACTION;"
        f" INSERT INTO bank.dbo.journal (writer, n, note) VALUES ({writer}, {number}, 'n{number}')",
        f"UPDATE bank.dbo.account SET balance = balance - {number} WHERE id = 1",
        f"UPDATE bank.dbo.account SET balance = balance + {number} WHERE id = 2; COMMIT",
    )


if __name__ == "__main__":
    main()
