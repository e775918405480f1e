"""JSON as T-SQL reads it: text into nodes that know their place in the text, paths, and changes to the text.

JSON_QUERY and JSON_MODIFY keep the text around what they touch to the letter, so nodes are spans of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from tdsproxy.tsql.errors import SqlError

NULL, STRING, NUMBER, BOOLEAN, ARRAY, OBJECT = range(6)
"""The kinds, numbered as OPENJSON's column ``type`` shows them."""


@dataclass(frozen=True, slots=True)
class Node:
    """A value: ``text`` is what a scalar says (a string decoded, a number as written). ``members`` are an
    object's or array's, with their keys (None in an array) and the places where the keys begin."""

    kind: int
    start: int
    end: int
    text: str = ""
    members: tuple[tuple[str | None, Node, int], ...] = ()

    def member(self, key: str | int) -> Node | None:
        """A property by its name, an element by its index."""
        if isinstance(key, int):
            return self.members[key][1] if self.kind == ARRAY and key < len(self.members) else None
        if self.kind == OBJECT:
            for name, node, _ in self.members:
                if name == key:
                    return node
        return None


@dataclass(frozen=True, slots=True)
class Path:
    """``steps`` are property names and indexes."""

    steps: tuple[str | int, ...]
    strict: bool = False
    append: bool = False


_BLANK: Final = re.compile(r"[ \t\r\n]*")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_STRING: Final = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
_WORDS: Final = (("true", BOOLEAN), ("false", BOOLEAN), ("null", NULL))
_MAX_DEPTH: Final = 128


def malformed(text: str, place: int) -> SqlError:
    char = text[place] if place < len(text) else "."
    return SqlError.of(
        13609,
        16,
        1,
        f"JSON text is not properly formatted. Unexpected character '{char}' is found at position {place}.",
    )


@lru_cache(maxsize=64)
def parse_json(text: str) -> Node:
    """The value that ``text`` is. Raises SqlError 13609."""
    node, place = _value(text, _skip(text, 0), 0)
    place = _skip(text, place)
    if place != len(text):
        raise malformed(text, place)
    return node


def _skip(text: str, place: int) -> int:
    found = _BLANK.match(text, place)
    return found.end() if found else place


def _value(text: str, place: int, depth: int) -> tuple[Node, int]:
    if depth > _MAX_DEPTH:
        raise malformed(text, place)
    char = text[place : place + 1]
    if char == '"':
        value, end = _string(text, place)
        return Node(STRING, place, end, value), end
    if char in ("{", "["):
        return _container(text, place, depth)
    number = _NUMBER.match(text, place)
    if number is not None:
        return Node(NUMBER, place, number.end(), number[0]), number.end()
    for word, kind in _WORDS:
        if text.startswith(word, place):
            return Node(kind, place, place + len(word), word), place + len(word)
    raise malformed(text, place)


def _string(text: str, place: int) -> tuple[str, int]:
    found = _STRING.match(text, place)
    if found is None:
        raise malformed(text, place)
    return json.loads(found[0]), found.end()


def _container(text: str, start: int, depth: int) -> tuple[Node, int]:
    is_object = text[start] == "{"
    closing = "}" if is_object else "]"
    members: list[tuple[str | None, Node, int]] = []
    place = _skip(text, start + 1)
    if text[place : place + 1] == closing:
        return Node(OBJECT if is_object else ARRAY, start, place + 1), place + 1
    while True:
        begin = place
        key = None
        if is_object:
            key, place = _string(text, place)
            place = _skip(text, place)
            if text[place : place + 1] != ":":
                raise malformed(text, place)
            place = _skip(text, place + 1)
        node, place = _value(text, place, depth + 1)
        members.append((key, node, begin))
        place = _skip(text, place)
        sign = text[place : place + 1]
        if sign == closing:
            kind = OBJECT if is_object else ARRAY
            return Node(kind, start, place + 1, members=tuple(members)), place + 1
        if sign != ",":
            raise malformed(text, place)
        place = _skip(text, place + 1)


# ------------------------------------------------------------------ paths

_STEP: Final = re.compile(r'\.(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<name>[^\W\d][\w$]*))|\[(?P<index>\d+)\]')


@lru_cache(maxsize=512)
def parse_path(text: str) -> Path:
    """``[append] [lax | strict] $.name."a name"[0]``. Raises SqlError 13607."""
    place = 0
    words = {"append": False, "strict": False, "lax": False}
    while True:
        place = _skip(text, place)
        word = next((w for w in words if text.startswith(w + " ", place)), None)
        if word is None:
            break
        words[word] = True
        place += len(word)
    if text[place : place + 1] != "$":
        raise _bad_path(text, place)
    place += 1
    steps: list[str | int] = []
    while place < len(text.rstrip()):
        found = _STEP.match(text, place)
        if found is None:
            raise _bad_path(text, place)
        if found["index"] is not None:
            steps.append(int(found["index"]))
        elif found["quoted"] is not None:
            steps.append(re.sub(r"\\(.)", r"\1", found["quoted"]))
        else:
            steps.append(found["name"])
        place = found.end()
    return Path(tuple(steps), words["strict"], words["append"])


def _bad_path(text: str, place: int) -> SqlError:
    char = text[place] if place < len(text) else "."
    return SqlError.of(
        13607,
        16,
        4,
        f"JSON path is not properly formatted. Unexpected character '{char}' is found at position {place}.",
    )


def not_found() -> SqlError:
    return SqlError.of(13608, 16, 5, "Property cannot be found on the specified JSON path.")


def find(node: Node, path: Path) -> Node | None:
    """What ``path`` leads to. Raises SqlError 13608 in strict mode when there is nothing."""
    found: Node | None = node
    for step in path.steps:
        found = found.member(step) if found is not None else None
    if found is None and path.strict:
        raise not_found()
    return found


# ------------------------------------------------------------------ the functions


def json_value(text: str, path: Path) -> str | None:
    """JSON_VALUE: a scalar's text. Raises SqlError 13609, in strict mode 13608 and 13623."""
    found = find(parse_json(text), path)
    if found is None or found.kind == NULL:
        return None
    if found.kind in (ARRAY, OBJECT):
        if path.strict:
            raise SqlError.of(13623, 16, 1, "Scalar value cannot be found in the specified JSON path.")
        return None
    return found.text


def json_query(text: str, path: Path) -> str | None:
    """JSON_QUERY: an object or array as it stands in the text."""
    found = find(parse_json(text), path)
    if found is None or found.kind not in (ARRAY, OBJECT):
        if path.strict:
            raise SqlError.of(13624, 16, 1, "Object or array cannot be found in the specified JSON path.")
        return None
    return text[found.start : found.end]


def json_members(text: str, path: Path) -> Iterator[tuple[str, str | None, int]]:
    """OPENJSON's default rows: key, value, type. A scalar in lax mode has none."""
    found = find(parse_json(text), path)
    if found is None:
        return
    for place, (key, node, _) in enumerate(found.members):
        yield str(place) if key is None else key, member_text(text, node), node.kind


def member_text(text: str, node: Node) -> str | None:
    """A node as OPENJSON shows it: the text of a scalar, the JSON of anything else."""
    if node.kind in (ARRAY, OBJECT):
        return text[node.start : node.end]
    return None if node.kind == NULL else node.text


def json_modify(text: str, path: Path, value: str | None) -> str:
    """JSON_MODIFY: the text with ``value`` (JSON; None is NULL) at ``path``; in lax mode NULL takes a
    property away. Raises SqlError 13608."""
    root = parse_json(text)
    if not path.steps and not path.append:
        return "null" if value is None else value
    if path.append:
        target = find(root, path)
        if target is None:
            return _added(text, root, path, f"[{'null' if value is None else value}]")
        if target.kind != ARRAY:
            if path.strict:
                raise SqlError.of(13621, 16, 1, "Array cannot be found in the specified JSON path.")
            return text
        return _into(text, target, "null" if value is None else value)
    parent = find(root, Path(path.steps[:-1], path.strict))
    last = path.steps[-1]
    target = parent.member(last) if parent is not None else None
    if target is not None and parent is not None:
        if value is None and not path.strict and isinstance(last, str):
            return _without(text, parent, target)
        return text[: target.start] + ("null" if value is None else value) + text[target.end :]
    if path.strict:
        raise not_found()
    return text if value is None else _added(text, root, path, value)


def _added(text: str, root: Node, path: Path, value: str) -> str:
    parent = find(root, Path(path.steps[:-1]))
    last = path.steps[-1] if path.steps else None
    if path.strict:
        raise not_found()
    if parent is None or parent.kind != OBJECT or not isinstance(last, str):
        return text
    return _into(text, parent, f"{quoted_json(last)}:{value}")


def _into(text: str, container: Node, member: str) -> str:
    """``member`` as the last one of a container."""
    place = container.members[-1][1].end if container.members else container.end - 1
    comma = "," if container.members else ""
    return text[:place] + comma + member + text[place:]


def _without(text: str, parent: Node, target: Node) -> str:
    index = next(i for i, (_, node, _) in enumerate(parent.members) if node is target)
    members = parent.members
    if index + 1 < len(members):
        return text[: members[index][2]] + text[members[index + 1][2] :]
    start = members[index - 1][1].end if index else members[index][2]
    return text[:start] + text[target.end :]


_ESCAPES: Final = {
    '"': '\\"',
    "\\": "\\\\",
    "/": "\\/",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
}


def quoted_json(text: str) -> str:
    """A JSON string, with the solidus escaped as SQL Server does."""
    return '"' + "".join(_ESCAPES.get(c) or (c if c >= " " else f"\\u{ord(c):04x}") for c in text) + '"'
