"""DECLARE CURSOR, OPEN, FETCH, CLOSE, DEALLOCATE over rows that an evaluator has read."""

from __future__ import annotations

from tdsproxy.tsql import ast
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.state import Cursor, Frame


def declare(statement: ast.DeclareCursor, frame: Frame) -> None:
    """Raises SqlError 16915."""
    options = {option.upper() for option in statement.options}
    name = statement.name.lower()
    variable = name.startswith("@")
    home = frame.cursors if "LOCAL" in options or variable else frame.session.cursors
    if name in home and not variable:
        raise SqlError.of(16915, 16, 1, f"A cursor with the name '{statement.name}' already exists.")
    scroll = (
        bool(options & {"SCROLL", "STATIC", "KEYSET", "DYNAMIC", "INSENSITIVE"})
        and "FORWARD_ONLY" not in options
    )
    read_only = bool(
        options & {"READ_ONLY", "READ ONLY", "STATIC", "FAST_FORWARD", "INSENSITIVE"}
        or (scroll and "UPDATE" not in options and "SCROLL" in options and "DYNAMIC" not in options)
    )
    home[name] = Cursor(statement.name, statement.query, scroll, read_only=read_only)


def assign(name: str, source: str, frame: Frame) -> None:
    """SET @variable = another cursor: both mean the same one. Raises SqlError 16916."""
    frame.cursors[name.lower()] = find(source, frame)


def find(name: str, frame: Frame) -> Cursor:
    """The cursor called ``name``: a local one first. Raises SqlError 16916."""
    found = frame.cursors.get(name.lower()) or frame.session.cursors.get(name.lower())
    if found is None and name.startswith("@"):
        text = f"The variable '{name}' does not currently have a cursor allocated to it."
        raise SqlError.of(16950, 16, 2, text)
    if found is None:
        raise SqlError.of(16916, 16, 1, f"A cursor with the name '{name}' does not exist.")
    return found


def close(name: str, frame: Frame) -> None:
    """Raises SqlError 16916, 16917."""
    cursor = find(name, frame)
    _need_open(cursor)
    cursor.columns = None
    cursor.rows = []
    cursor.keys = None
    cursor.at = 0


def deallocate(name: str, frame: Frame) -> None:
    find(name, frame)
    if frame.cursors.pop(name.lower(), None) is None:
        frame.session.cursors.pop(name.lower(), None)


def check_closed(cursor: Cursor) -> None:
    """Raises SqlError 16905."""
    if cursor.is_open:
        raise SqlError.of(16905, 16, 1, "The cursor is already open.")


def _need_open(cursor: Cursor) -> None:
    if not cursor.is_open:
        raise SqlError.of(16917, 16, 1, "Cursor is not open.")


def move(cursor: Cursor, direction: str, count: int | None) -> int | None:
    """Move and answer the index of the row now current, None when there is none.

    Raises SqlError 16917 when the cursor is closed, 16911 when it only goes forward.
    """
    _need_open(cursor)
    if direction != "NEXT" and not cursor.scroll:
        text = f"fetch: The fetch type {direction.lower()} cannot be used with forward only cursors."
        raise SqlError.of(16911, 16, 1, text)
    size = len(cursor.rows)
    place = {
        "NEXT": cursor.at + 1,
        "PRIOR": cursor.at - 1,
        "FIRST": 1,
        "LAST": size,
        "RELATIVE": cursor.at + (count or 0),
        "ABSOLUTE": (count or 0) if (count or 0) >= 0 else size + 1 + (count or 0),
    }[direction]
    cursor.at = min(max(place, 0), size + 1)
    return cursor.at - 1 if 1 <= cursor.at <= size else None


def current_key(name: str, frame: Frame) -> tuple[object, tuple[object, ...]]:
    """The table and the key of the row that a cursor is at (WHERE CURRENT OF).

    Raises SqlError 16916, 16917, 16929, 16931.
    """
    cursor = find(name, frame)
    _need_open(cursor)
    if cursor.read_only or cursor.keys is None:
        raise SqlError.of(16929, 16, 1, "The cursor is READ ONLY.")
    if not 1 <= cursor.at <= len(cursor.rows):
        raise SqlError.of(16931, 16, 1, "There are no rows in the current fetch buffer.")
    return cursor.keys.table, cursor.keys.keys[cursor.at - 1]


def status(scope: str, name: str, frame: Frame) -> int:
    """CURSOR_STATUS: 1 open with rows, 0 open without, -1 closed, -2 a variable without a cursor, -3
    unknown."""
    lowered = name.lower()
    homes = {"local": frame.cursors, "global": frame.session.cursors, "variable": frame.cursors}
    found = homes.get(scope.lower(), {}).get(lowered)
    if found is None and scope.lower() == "variable" and lowered in frame.variables:
        return -2
    if found is None:
        return -3
    if not found.is_open:
        return -1
    return 1 if found.rows else 0
