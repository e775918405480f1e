"""XQuery as scripts use it on the xml type: paths with predicates, and a few functions around them.

Prefixes are not resolved: a step matches by local name. A value of type xml is a fragment: several elements
and text side by side. One that ``.nodes()`` gave is a place in a document: the document's text behind the
numbers of the steps that lead to the node.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from xml.etree import ElementTree

from tdsproxy.tsql.errors import SqlError

_MARK: Final = "\x02"
"""Begins a value that is a node of a document: mark, steps, mark, text of the document."""
_PROLOG: Final = re.compile(r"^\s*<\?xml[^>]*\?>")
_DECLARATIONS: Final = re.compile(r"\s*declare\s+(?:default\s+element\s+)?namespace\s+[^;]*;", re.IGNORECASE)
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<string>"(?:[^"]|"")*"|'(?:[^']|'')*')
    |(?P<name>(?:[^\W\d][\w.-]*:)?[^\W\d][\w.-]*)
    |(?P<sign>//|\.\.|::|<=|>=|!=|<<|>>|[/.@*()\[\]=<>,+|-]|\$))""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Place:
    """A node: an element, an attribute's or a text's value, with the way to it from the document."""

    node: ElementTree.Element | str
    steps: tuple[int | str, ...]
    parent: Place | None = None

    @property
    def text(self) -> str:
        return self.node if isinstance(self.node, str) else "".join(self.node.itertext())


_Item = Place | str | float | bool
Variables = Callable[[str], str | None]


def invalid(message: str, path: str) -> SqlError:
    return SqlError.of(2209, 16, 1, f"XQuery: {message} near '{path}'")


@lru_cache(maxsize=16)
def document(text: str) -> ElementTree.Element:
    """The fragment as the content of one element. Raises SqlError 9455."""
    try:
        return ElementTree.fromstring(f"<fragment>{_PROLOG.sub('', text)}</fragment>")
    except ElementTree.ParseError as error:
        line, place = error.position
        raise SqlError.of(
            9455, 16, 1, f"XML parsing: line {line}, character {place}, illegal qualified name character"
        ) from error


def context_of(value: str) -> Place:
    """The node that a value of type xml is."""
    if not value.startswith(_MARK):
        return Place(document(value), ())
    _, steps, text = value.split(_MARK, 2)
    place = Place(document(text), ())
    for step in steps.split("/") if steps else ():
        place = next(child for child in _children(place) if str(child.steps[-1]) == step)
    return place


def reference(value: str, place: Place) -> str:
    """The value of type xml that a node within ``value`` is."""
    text = value.split(_MARK, 2)[2] if value.startswith(_MARK) else value
    return f"{_MARK}{'/'.join(map(str, place.steps))}{_MARK}{text}"


def plain_xml(value: str) -> str:
    """A value of type xml as text: of a node, its own."""
    return serialized(context_of(value)) if value.startswith(_MARK) else value


def serialized(place: Place) -> str:
    if isinstance(place.node, str):
        return place.node.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    if not place.steps:
        inner = (place.node.text or "").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return inner + "".join(ElementTree.tostring(child, encoding="unicode") for child in place.node)
    tail, place.node.tail = place.node.tail, None
    try:
        return ElementTree.tostring(place.node, encoding="unicode", short_empty_elements=True).replace(
            " />", "/>"
        )
    finally:
        place.node.tail = tail


# ------------------------------------------------------------------ evaluation


def select(value: str, path: str, variables: Variables = lambda name: None) -> Sequence[_Item]:
    """What a path selects of a value. Raises SqlError 2209, 9455."""
    program = _compiled(path)
    return _evaluate(program, context_of(value), 1, 1, variables)


def text_of(item: _Item) -> str:
    if isinstance(item, Place):
        return item.text
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, float):
        return str(int(item)) if item == int(item) else repr(item)
    return item


def _children(place: Place) -> list[Place]:
    node = place.node
    if isinstance(node, str):
        return []
    made: list[Place] = []
    if node.text:
        made.append(Place(node.text, (*place.steps, "t"), place))
    for number, child in enumerate(node):
        made.append(Place(child, (*place.steps, number), place))
        if child.tail:
            made.append(Place(child.tail, (*place.steps, f"t{number}"), place))
    made += [Place(value, (*place.steps, f"@{_local(name)}"), place) for name, value in node.attrib.items()]
    return made


def _local(name: str) -> str:
    return name.rsplit("}", 1)[-1].rsplit(":", 1)[-1]


def _kind(place: Place) -> str:
    last = str(place.steps[-1]) if place.steps else ""
    return "@" if last.startswith("@") else "t" if isinstance(place.node, str) else "e"


# A program is a nested tuple: (operator, operands ...).
_Program = tuple[object, ...]


def _evaluate(
    program: _Program, context: Place, position: int, size: int, variables: Variables
) -> list[_Item]:
    def inner(part: object) -> list[_Item]:
        return _evaluate(part, context, position, size, variables)  # type: ignore[arg-type]

    kind = program[0]
    if kind == "literal":
        return [program[1]]  # type: ignore[list-item]
    if kind == "sequence":
        return [item for part in program[1:] for item in inner(part)]
    if kind == "path":
        return _walk(program, context, position, size, variables)
    if kind == "call":
        return _call(str(program[1]), program[2:], inner, context, position, size, variables)
    if kind in ("and", "or"):
        first = _truth(inner(program[1]))
        if kind == "and":
            return [first and _truth(inner(program[2]))]
        return [first or _truth(inner(program[2]))]
    return [_compare(str(kind), inner(program[1]), inner(program[2]))]


def _truth(items: Sequence[_Item]) -> bool:
    if not items:
        return False
    first = items[0]
    return True if isinstance(first, Place) else bool(first)


def _compare(sign: str, left: Sequence[_Item], right: Sequence[_Item]) -> bool:
    """A general comparison: whether it holds for some pair."""
    tests: dict[str, Callable[[object, object], bool]] = {
        "=": lambda a, b: a == b,
        "!=": lambda a, b: a != b,
        "<": lambda a, b: a < b,  # type: ignore[operator]
        "<=": lambda a, b: a <= b,  # type: ignore[operator]
        ">": lambda a, b: a > b,  # type: ignore[operator]
        ">=": lambda a, b: a >= b,  # type: ignore[operator]
    }
    test = tests[sign]
    for a in left:
        for b in right:
            one: object = text_of(a)
            two: object = text_of(b)
            if isinstance(a, float) or isinstance(b, float):
                try:
                    one, two = float(text_of(a)), float(text_of(b))
                except ValueError:
                    continue
            if test(one, two):
                return True
    return False


def _walk(program: _Program, context: Place, position: int, size: int, variables: Variables) -> list[_Item]:
    """``("path", start, steps)``; a step is (axis, name, predicates)."""
    start, steps = program[1], program[2]
    items: list[_Item]
    if start == "root":
        place = context
        while place.parent is not None:
            place = place.parent
        items = [place]
    elif start is None:
        items = [context]
    else:
        items = _evaluate(start, context, position, size, variables)  # type: ignore[arg-type]
    for axis, name, predicates in steps:  # type: ignore[attr-defined]
        made: list[_Item] = []
        for item in items:
            if axis == "filter":
                made.append(item)
            elif isinstance(item, Place):
                found: list[_Item] = list(_step(item, axis, name))
                made += _filtered(found, predicates, variables)
        items = _filtered(made, predicates, variables) if axis == "filter" else made
    return items


def _step(place: Place, axis: str, name: str) -> list[Place]:
    if axis == "self":
        return [place]
    if axis == "parent":
        return [] if place.parent is None else [place.parent]
    if axis == "descendant":
        made: list[Place] = [place]
        index = 0
        while index < len(made):
            made[index + 1 : index + 1] = [c for c in _children(made[index]) if _kind(c) != "@"]
            index += 1
        return made
    return [child for child in _children(place) if _named(child, axis, name)]


def _named(place: Place, axis: str, name: str) -> bool:
    kind = _kind(place)
    if axis == "attribute":
        return kind == "@" and (name == "*" or str(place.steps[-1])[1:] == _local(name))
    if kind == "@":
        return False
    if name == "text()":
        return kind == "t"
    if name == "node()":
        return True
    if kind != "e" or isinstance(place.node, str):
        return False
    return name == "*" or _local(place.node.tag) == _local(name)


def _filtered(items: list[_Item], predicates: Sequence[_Program], variables: Variables) -> list[_Item]:
    for predicate in predicates:
        made = []
        for number, item in enumerate(items, 1):
            place = item if isinstance(item, Place) else Place(text_of(item), ())
            found = _evaluate(predicate, place, number, len(items), variables)
            first = found[0] if found else None
            if isinstance(first, float) and not isinstance(first, bool):
                keep = number == int(first)
            else:
                keep = _truth(found)
            if keep:
                made.append(item)
        items = made
    return items


def _call(
    name: str,
    parts: Sequence[object],
    inner: Callable[[object], list[_Item]],
    context: Place,
    position: int,
    size: int,
    variables: Variables,
) -> list[_Item]:
    if name in ("position", "last"):
        return [float(position if name == "position" else size)]
    args = [inner(part) for part in parts]
    own: list[_Item] = args[0] if args else [context]
    if name in ("sql:variable", "sql:column"):
        found = variables(text_of(own[0]))
        return [] if found is None else [found]
    if name == "count":
        return [float(len(own))]
    if name == "not":
        return [not _truth(own)]
    if name in ("true", "false"):
        return [name == "true"]
    if name in ("string", "data", "xs:string"):
        return [text_of(item) for item in own] if own or name == "data" else [""]
    if name in ("number", "xs:int", "xs:integer", "xs:decimal", "xs:double", "xs:float", "xs:long"):
        return [float(text_of(item)) for item in own]
    if name in ("local-name", "name"):
        if not own or not isinstance(own[0], Place):
            return [""]
        node = own[0].node
        return [str(own[0].steps[-1]).lstrip("@") if isinstance(node, str) else _local(node.tag)]
    if name == "contains":
        return [text_of(args[1][0]) in "".join(map(text_of, own[:1]))]
    if name in ("sum", "min", "max", "avg"):
        numbers = [float(text_of(item)) for item in own]
        if not numbers:
            return [0.0] if name == "sum" else []
        total = sum(numbers) if name in ("sum", "avg") else min(numbers) if name == "min" else max(numbers)
        if name == "avg":
            total /= len(numbers)
        return [float(total)]
    if name == "concat":
        return ["".join(text_of(item) for arg in args for item in arg[:1])]
    if name == "string-length":
        return [float(len(text_of(own[0]))) if own else 0.0]
    if name in ("upper-case", "lower-case"):
        text = text_of(own[0]) if own else ""
        return [text.upper() if name == "upper-case" else text.lower()]
    if name == "substring":
        text, first = text_of(own[0]) if own else "", int(float(text_of(args[1][0])))
        length = int(float(text_of(args[2][0]))) if len(args) > 2 else len(text)
        return [text[max(first - 1, 0) : first - 1 + length]]
    if name == "distinct-values":
        return list(dict.fromkeys(text_of(item) for item in own))
    if name == "empty":
        return [not own]
    raise invalid(f"There is no function '{{http://www.w3.org/2004/07/xpath-functions}}:{name}()'", name)


# ------------------------------------------------------------------ the language


@lru_cache(maxsize=512)
def _compiled(path: str) -> _Program:
    return _Parser(_DECLARATIONS.sub("", path)).whole()


_DEEP: Final = ("descendant", "", ())
"""What ``//`` stands for: the node itself and all below it."""


class _Parser:
    """Recursive descent over one path."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str]] = []
        place = 0
        while place < len(text.rstrip()):
            found = _TOKEN.match(text, place)
            if found is None or found.lastgroup is None:
                raise invalid("Syntax error", text[place : place + 20])
            self._tokens.append((found.lastgroup, found[found.lastgroup]))
            place = found.end()
        self._index = 0

    def _peek(self, distance: int = 0) -> str:
        index = self._index + distance
        return self._tokens[index][1] if index < len(self._tokens) else ""

    def _kind(self) -> str:
        return self._tokens[self._index][0] if self._index < len(self._tokens) else ""

    def _take(self, *signs: str) -> bool:
        if self._peek() in signs and self._kind() != "string":
            self._index += 1
            return True
        return False

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise invalid(f"Syntax error, expected '{sign}'", self._peek() or self._text[-10:])

    def whole(self) -> _Program:
        made = self._sequence()
        if self._index != len(self._tokens):
            raise invalid("Syntax error", self._peek())
        return made

    def _sequence(self) -> _Program:
        parts = [self._either()]
        while self._take(","):
            parts.append(self._either())
        return parts[0] if len(parts) == 1 else ("sequence", *parts)

    def _either(self) -> _Program:
        left = self._both()
        while self._take("or"):
            left = ("or", left, self._both())
        return left

    def _both(self) -> _Program:
        left = self._comparison()
        while self._take("and"):
            left = ("and", left, self._comparison())
        return left

    def _comparison(self) -> _Program:
        left = self._path()
        sign = {"eq": "=", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}.get(
            self._peek(), self._peek()
        )
        if self._kind() != "string" and sign in ("=", "!=", "<", "<=", ">", ">="):
            self._index += 1
            return (sign, left, self._path())
        return left

    def _path(self) -> _Program:
        start: object = None
        steps: list[tuple[str, str, tuple[_Program, ...]]] = []
        kind = self._kind()
        if kind == "number":
            self._index += 1
            return ("literal", float(self._tokens[self._index - 1][1]))
        if kind == "string":
            self._index += 1
            quoted = self._tokens[self._index - 1][1]
            return ("literal", quoted[1:-1].replace(quoted[0] * 2, quoted[0]))
        if self._take("("):
            start = ("sequence",) if self._peek() == ")" else self._sequence()
            self._expect(")")
            steps.append(("filter", "", self._predicates()))
        elif kind == "name" and self._peek(1) == "(" and self._peek() not in ("text", "node"):
            name = self._peek()
            self._index += 2
            args: list[_Program] = []
            while not self._take(")"):
                args.append(self._either())
                self._take(",")
            start = ("call", name, *args)
            if self._peek() not in ("/", "//", "["):
                return start
            steps.append(("filter", "", self._predicates()))
        elif self._take("//"):
            start = "root"
            steps += [_DEEP, self._step("child")]
        elif self._take("/"):
            start = "root"
            if self._kind() in ("name",) or self._peek() in ("@", "*", ".", ".."):
                steps.append(self._step("child"))
        else:
            steps.append(self._step("child"))
        while self._peek() in ("/", "//") and self._kind() == "sign":
            deep = self._peek() == "//"
            self._index += 1
            if deep:
                steps.append(_DEEP)
            steps.append(self._step("child"))
        return ("path", start, tuple(steps))

    def _step(self, axis: str) -> tuple[str, str, tuple[_Program, ...]]:
        if self._take("."):
            return ("self", "", self._predicates())
        if self._take(".."):
            return ("parent", "", self._predicates())
        if self._take("@"):
            axis = "attribute"
        if self._kind() != "name" and self._peek() != "*":
            raise invalid("Syntax error", self._peek() or self._text[-10:])
        name = self._peek()
        self._index += 1
        if self._peek() == "::":
            self._index += 1
            axis = {"attribute": "attribute", "parent": "parent", "self": "self"}.get(name, axis)
            name = self._peek()
            self._index += 1
        if name in ("text", "node") and self._take("("):
            self._expect(")")
            name += "()"
        return (axis, name, self._predicates())

    def _predicates(self) -> tuple[_Program, ...]:
        made: list[_Program] = []
        while self._take("["):
            made.append(self._either())
            self._expect("]")
        return tuple(made)
