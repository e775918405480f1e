"""Captures a database until standard input ends; run as a script by tests, which kill it.

``capture_process.py DATABASE ARCHIVE CHECKPOINT_BYTES``; prints ``ready``, then the end of the log for each
line that it reads.
"""

from __future__ import annotations

import sys
import uuid
from pathlib import Path

from tdsproxy.log import lsn as lsns
from tdsproxy.log.archive import Archive
from tdsproxy.log.capture import Capturer

DATABASE = uuid.UUID("11111111-2222-3333-4444-555555555555")
FORK = uuid.UUID("66666666-7777-8888-9999-aaaaaaaaaaaa")


def main() -> None:
    path, directory, checkpoint_bytes = sys.argv[1:]
    archive = Archive(Path(directory), DATABASE, FORK, lsns.FIRST, segment_bytes=1 << 20)
    capturer = Capturer(Path(path), archive, report=lambda line: None, checkpoint_bytes=int(checkpoint_bytes))
    print("ready", flush=True)
    for _ in sys.stdin:
        print(capturer.capture_now(), flush=True)
    capturer.close()
    archive.close()


if __name__ == "__main__":
    main()
