"""One backup or restore in a process of its own, to be killed or starved: run as a script by tests.

``operate.py backup SOURCE MEDIUM [init]`` and ``operate.py restore MEDIUM TARGET``. Prints ``done`` when the
operation has been acknowledged, or the error.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tdsproxy.backup.operations import BackupOptions, backup_database, restore_database
from tests.backup.making import description, disk


def main() -> None:
    """Do what the arguments say."""
    command, first, second, *rest = sys.argv[1:]
    limit = next((int(word.partition("=")[2]) for word in rest if word.startswith("limit=")), None)
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        if command == "backup":
            options = BackupOptions(
                init="init" in rest, format="format" in rest, compression=True if "zstd" in rest else None
            )
            backup_database(Path(first), disk(Path(second)), description(name="new"), options)
        else:
            restore_database(disk(Path(first)), 1, Path(second), replace=True)
    except Exception as error:
        print(type(error).__name__, error)
        raise SystemExit(1) from error
    print("done", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


if __name__ == "__main__":
    main()
