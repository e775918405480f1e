"""DECLARE CURSOR, OPEN, FETCH, CLOSE, DEALLOCATE over rows that an evaluator has read."""

from __future__ import annotations

from tdsproxy.tsql import ast
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.state import Cursor, Frame


def declare(statement: ast.DeclareCursor, frame: Frame) -> None:
    """Raises SqlError 16915."""
    options = {option.upper() for option in statement.options}
    name = statement.name.lower()
    home = frame.cursors if "LOCAL" in options else frame.session.cursors
    if name in home:
        raise SqlError.of(16915, 16, 1, f"A cursor with the name '{statement.name}' already exists.")
    scroll = (
        bool(options & {"SCROLL", "STATIC", "KEYSET", "DYNAMIC", "INSENSITIVE"})
        and "FORWARD_ONLY" not in options
    )
    home[name] = Cursor(statement.name, statement.query, scroll)


def find(name: str, frame: Frame) -> Cursor:
    """The cursor called ``name``: a local one first. Raises SqlError 16916."""
    found = frame.cursors.get(name.lower()) or frame.session.cursors.get(name.lower())
    if found is None:
        raise SqlError.of(16916, 16, 1, f"A cursor with the name '{name}' does not exist.")
    return found


def close(name: str, frame: Frame) -> None:
    """Raises SqlError 16916, 16917."""
    cursor = find(name, frame)
    _need_open(cursor)
    cursor.columns = None
    cursor.rows = []
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


def status(name: str, frame: Frame) -> int:
    """CURSOR_STATUS: 1 open with rows, 0 open without, -1 closed, -3 unknown."""
    found = frame.cursors.get(name.lower()) or frame.session.cursors.get(name.lower())
    if found is None:
        return -3
    if not found.is_open:
        return -1
    return 1 if found.rows else 0
