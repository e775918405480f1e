"""A backup through the proxy while another process commits: the restore is one prefix of its commits, and the
writer never waits for the backup."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.running import Running

FILL = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
with db:
    for number in range(int(sys.argv[2])):
        db.execute("INSERT INTO ballast VALUES (?, ?)", (number, os.urandom(1_000_000)))
"""

WRITE = """
import sqlite3, sys, time
# no busy timeout: one refused lock is an exception, and the test fails
db = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
db.execute("PRAGMA synchronous=NORMAL")
number = 0
while True:
    number += 1
    db.execute("INSERT INTO journal (id, text) VALUES (?, ?)", (number, "commit %d" % number))
    print(time.monotonic_ns(), flush=True)
    # a slow backup must not let the WAL grow for ever, nor the restore after it
    time.sleep(0.0005)
"""


def test_the_restore_is_one_prefix_of_the_commits(served: Running, tmp_path: Path) -> None:
    with served.connect() as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE DATABASE busy")
        # The checkpoints of a log that is kept take the write lock for moments; a backup never does.
        cursor.execute("ALTER DATABASE busy SET RECOVERY SIMPLE")
        cursor.execute("CREATE TABLE busy.dbo.journal (id int PRIMARY KEY, text varchar(40) NOT NULL)")
        cursor.execute("CREATE TABLE busy.dbo.ballast (id int PRIMARY KEY, data varbinary(max) NOT NULL)")
    path = served.store / "busy.db"
    subprocess.run([sys.executable, "-c", FILL, str(path), "160"], check=True, timeout=240)

    log = tmp_path / "commits"
    errors = tmp_path / "errors"
    with log.open("wb") as out, errors.open("wb") as err:
        writer = subprocess.Popen([sys.executable, "-c", WRITE, str(path)], stdout=out, stderr=err)
    try:
        while log.stat().st_size < 200 * 12:
            assert writer.poll() is None, errors.read_text()
            time.sleep(0.01)
        during, deadline = 0, time.monotonic() + 120
        with served.connect() as connection:
            cursor = connection.cursor()
            # The writer may have stood still: what is read back is a backup during which it wrote.
            while during < 100:
                assert time.monotonic() < deadline, f"only {during} commits fell into the backup"
                began = time.monotonic_ns()
                cursor.execute("BACKUP DATABASE busy TO DISK = N'busy.bak' WITH INIT")
                while cursor.nextset():
                    continue
                ended = time.monotonic_ns()
                times = [int(word) for word in log.read_text().rpartition("\n")[0].split()]
                during = sum(1 for moment in times if began < moment <= ended)
        seen = log.stat().st_size
        while log.stat().st_size < seen + 200 * 12:
            assert writer.poll() is None, errors.read_text()
            time.sleep(0.01)
        assert writer.poll() is None, errors.read_text()
    finally:
        writer.terminate()
        writer.wait(60)

    times = [int(word) for word in log.read_text().rpartition("\n")[0].split()]
    before = sum(1 for moment in times if moment <= began)
    during = sum(1 for moment in times if began < moment <= ended)

    with served.connect() as connection:
        cursor = connection.cursor()
        cursor.execute(
            "RESTORE DATABASE busy_copy FROM DISK = N'busy.bak' WITH "
            "MOVE N'busy' TO N'/var/opt/mssql/data/busy_copy.mdf', "
            "MOVE N'busy_log' TO N'/var/opt/mssql/data/busy_copy.ldf'"
        )
        while cursor.nextset():
            continue
        cursor.execute("SELECT COUNT(*), MAX(id), MIN(id) FROM busy_copy.dbo.journal")
        count, highest, lowest = cursor.fetchone()
        cursor.execute("SELECT COUNT(*) FROM busy_copy.dbo.ballast")
        assert cursor.fetchone()[0] == 160
    assert lowest == 1
    assert highest == count, "the restored rows are not a prefix of the commits"
    # one commit may have been made and not yet written down when the clock was read
    assert before <= count <= before + during + 1
    check = [
        sys.executable,
        "-c",
        "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone()[0])",
    ]
    copy = served.store / "busy_copy.db"
    answer = subprocess.run(
        [*check, str(copy), "PRAGMA integrity_check"], capture_output=True, text=True, timeout=200, check=True
    )
    assert answer.stdout.strip() == "ok"
