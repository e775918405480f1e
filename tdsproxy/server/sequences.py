"""Sequence objects: CREATE, ALTER, and NEXT VALUE FOR."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import msgspec

from tdsproxy.server.compiler.binder import INTEGER_RANGES
from tdsproxy.server.compiler.typed import error
from tdsproxy.server.metadata import Metadata, now_text
from tdsproxy.server.schema import ModuleInfo
from tdsproxy.store.encoding import Stored, to_storage
from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.replies import Command, Done, Reply
from tdsproxy.tsql.state import Frame
from tdsproxy.tsql.types import SqlType

if TYPE_CHECKING:
    from tdsproxy.server.evaluator import SqliteEvaluator

KIND: Final = "SO"


class SequenceInfo(msgspec.Struct, frozen=True):
    """A sequence; ``type`` as (name, length, precision, scale, numeric)."""

    type: tuple[str, int | None, int | None, int | None, bool]
    start: int
    increment: int
    minimum: int
    maximum: int
    cycle: bool = False
    cache: int | None = None

    @property
    def sql_type(self) -> SqlType:
        return SqlType(*self.type)

    def after(self, last: int | None) -> int | None:
        """The value behind ``last`` (None: none was given yet); None when there is no more."""
        number = self.start if last is None else last + self.increment
        if self.minimum <= number <= self.maximum:
            return number
        if not self.cycle:
            return None
        return self.minimum if self.increment > 0 else self.maximum


def sequence_of(module: ModuleInfo) -> SequenceInfo:
    return msgspec.json.decode(module.text, type=SequenceInfo)


def value_name(module: ModuleInfo) -> str:
    """Under which name the last value is kept; no table can have it."""
    return f"@@sequence {module.object_id}"


class Sequences:
    """The sequences that one session can reach."""

    def __init__(self, evaluator: SqliteEvaluator) -> None:
        self._evaluator = evaluator
        self._work = evaluator.workspace

    # ------------------------------------------------------------------ DDL

    def create(self, statement: ast.CreateSequence, frame: Frame) -> Iterator[Reply]:
        """CREATE and ALTER SEQUENCE."""
        if statement.alter:
            yield from self._alter(statement, frame)
            return
        ddl = self._evaluator.ddl
        place = ddl.place(statement.name, frame, KIND)
        ddl.must_be_new(place, statement.name, statement.line)
        type_ = t.BIGINT
        if statement.type is not None:
            type_ = self._evaluator.host.resolve_type(statement.type, frame)
        if not (type_.is_integer or (type_.name == "decimal" and not type_.scale)):
            raise error(
                11702,
                f"The sequence object '{statement.name.object}' must be of data type int, bigint, smallint,"
                " tinyint, or decimal or numeric with a scale of 0, or any user-defined data type that is"
                " based on one of the above integer data types.",
                statement.line,
                state=2,
            )
        made = _made(type_, dict(statement.options), None, statement)
        now = now_text()
        text = msgspec.json.encode(made).decode()
        module = ModuleInfo(place.owner, statement.name.object, place.object_id, KIND, text, now, now)
        with self._evaluator.changing(place.schema, place.database, statement.line):
            Metadata(self._work, place.schema).save_module(module)
        yield Done(Command.NONE)

    def _alter(self, statement: ast.CreateSequence, frame: Frame) -> Iterator[Reply]:
        schema, database, module = self.find(statement.name, frame)
        old = sequence_of(module)
        options = dict(statement.options)
        made = _made(old.sql_type, options, old, statement)
        changed = msgspec.structs.replace(
            module, text=msgspec.json.encode(made).decode(), modified=now_text()
        )
        with self._evaluator.changing(schema, database, statement.line):
            metadata = Metadata(self._work, schema)
            metadata.save_module(changed)
            if "RESTART" in options:
                metadata.save_identity(value_name(module), None)
        yield Done(Command.NONE)

    # ------------------------------------------------------------------ values

    def find(self, name: ast.Name, frame: Frame) -> tuple[str, str, ModuleInfo]:
        """The SQLite schema, the database and the sequence called ``name``. Raises SqlError 208, 11719."""
        database = name.database or self._evaluator.host.database(frame)
        file = self._work.find_database(database)
        module = None
        schema = ""
        if file is not None:
            schema = self._work.attach(file)
            module = self._evaluator.reader.read(schema).module(name.schema or "dbo", name.object)
        if file is None or module is None or module.kind != KIND:
            shown = ".".join(part for part in (name.database, name.schema, name.object) if part)
            raise error(208, f"Invalid object name '{shown}'.", name.line)
        return schema, file.name, module

    def next_value(
        self, name: ast.Name, frame: Frame
    ) -> tuple[SqlType, tuple[object, ...], Callable[[], Stored]]:
        """The type of a sequence, its key among others, and what gives its next value."""
        schema, _, module = self.find(name, frame)
        info = sequence_of(module)

        def step() -> Stored:
            # Within the transaction that runs, if it has begun to write; else committed at once.
            with self._work.statement(schema):
                metadata = Metadata(self._work, schema)
                number = info.after(metadata.last_identity(value_name(module)))
                if number is None:
                    raise SqlError.of(
                        11728,
                        16,
                        1,
                        f"The sequence object '{module.name}' has reached its minimum or maximum value."
                        " Restart the sequence object to allow new values to be generated.",
                        name.line,
                    )
                metadata.save_identity(value_name(module), number)
            return to_storage(number, info.sql_type)

        return info.sql_type, (schema, module.object_id, module.text), step


def _made(
    type_: SqlType,
    options: dict[str, int | None],
    old: SequenceInfo | None,
    statement: ast.CreateSequence,
) -> SequenceInfo:
    low, high = _range(type_)
    increment = options.get("INCREMENT") or (old.increment if old else 1)
    minimum = _bound(options, "MINVALUE", low, old.minimum if old else low)
    maximum = _bound(options, "MAXVALUE", high, old.maximum if old else high)
    if minimum >= maximum:
        raise error(
            11705,
            f"The minimum value for sequence object '{statement.name.object}' must be less than its maximum"
            " value.",
            statement.line,
        )
    default = minimum if increment > 0 else maximum
    start = options.get("RESTART") or options.get("START")
    if "START" in options and options["START"] is not None:
        start = options["START"]
    if start is None:
        start = old.start if old else default
    if not minimum <= start <= maximum:
        raise error(
            11703,
            f"The start value for sequence object '{statement.name.object}' must be between the minimum and"
            " maximum value of the sequence object.",
            statement.line,
        )
    cycle = bool(options["CYCLE"]) if "CYCLE" in options else bool(old and old.cycle)
    kind = (type_.name, type_.length, type_.precision, type_.scale, type_.numeric)
    return SequenceInfo(kind, start, increment, minimum, maximum, cycle, options.get("CACHE"))


def _bound(options: dict[str, int | None], word: str, default: int, old: int) -> int:
    if word not in options:
        return old
    value = options[word]
    return default if value is None else value


def _range(type_: SqlType) -> tuple[int, int]:
    if type_.is_integer:
        return INTEGER_RANGES[type_.name]
    most = 10 ** (type_.precision or 18) - 1
    return -most, most
