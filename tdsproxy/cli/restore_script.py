"""A restore as a T-SQL script that any client can run."""

from __future__ import annotations

from collections.abc import Sequence

from tdsproxy.tsql.values import Value

_FULL = "full"
_CAPTURED = "captured log"


def script_of(database: str, moment: str, rows: Sequence[tuple[Value, ...]]) -> str:
    """From the rows of ``sp_restore_plan``. It restores in place of the database: where the captured log is
    needed, in the one statement that uses it by itself; else step by step, as SQL Server wants it."""
    name = "[" + database.replace("]", "]]") + "]"
    head = [f"-- {_line(database)} as it was at {_line(moment)}."]
    steps = [row for row in rows if row[0] != _CAPTURED]
    if len(steps) != len(rows):
        full = steps[0]
        head.append("-- What lies behind the last backup comes from the captured log.")
        body = (
            f"RESTORE DATABASE {name} FROM {_devices(full)}\n"
            f"    WITH FILE = {full[2]!s}, REPLACE, STOPAT = {_text(moment)}, STATS = 10;"
        )
        return "\n".join([*head, "USE master;", body]) + "\n"
    lines = [*head, "USE master;"]
    for place, row in enumerate(steps):
        last = place == len(steps) - 1
        what = "LOG" if row[0] == "log" else "DATABASE"
        options = [f"FILE = {row[2]!s}", *(["REPLACE"] if row[0] == _FULL else []), "NORECOVERY"]
        if what == "LOG" and last:
            options.append(f"STOPAT = {_text(moment)}")
        lines.append(f"RESTORE {what} {name} FROM {_devices(row)}\n    WITH {', '.join(options)};")
    lines.append(f"RESTORE DATABASE {name} WITH RECOVERY;")
    return "\n".join(lines) + "\n"


def _devices(row: tuple[Value, ...]) -> str:
    names = str(row[1]).split("\n")
    kinds = ["URL" if "://" in name else "DISK" for name in names]
    return ", ".join(f"{kind} = {_text(name)}" for kind, name in zip(kinds, names, strict=True))


def _text(value: str) -> str:
    return "N'" + value.replace("'", "''") + "'"


def _line(text: str) -> str:
    return " ".join(text.splitlines())
