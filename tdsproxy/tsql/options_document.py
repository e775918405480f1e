"""The reference of the options of BACKUP, RESTORE and ALTER DATABASE, made from their tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tdsproxy.tsql.database_options import SetOptionDef, set_options
from tdsproxy.tsql.options import CONFLICTS, Effect, NumberRange, OptionDef, OptionKind, option_table

_VALUES: Final = {
    OptionKind.FLAG: "",
    OptionKind.ANY: "`= value`",
    OptionKind.TEXT: "`= 'text'`",
    OptionKind.COUNT: "`= n`",
    OptionKind.OPTIONAL: "`[= n]`",
    OptionKind.PAIR: "`'a' TO 'b'`",
    OptionKind.MARK: "`= 'mark' [AFTER 'time']`",
    OptionKind.COMPRESSION: "`[(ALGORITHM = a [, LEVEL = l])]`",
    OptionKind.ENCRYPTION: "`(ALGORITHM = a, SERVER CERTIFICATE = c)`",
    OptionKind.DIRECTORY: "`(DIRECTORY_NAME = 'd')`",
}
_FORMS: Final = {
    "BACKUP": ("DATABASE", "LOG"),
    "RESTORE": (
        "DATABASE",
        "LOG",
        "VERIFYONLY",
        "HEADERONLY",
        "FILELISTONLY",
        "LABELONLY",
        "REWINDONLY",
    ),
}

_HEAD: Final = """\
# Options

Made by `scripts/options-document` from the tables that declare them (`tdsproxy/tsql/options.py` and
`tdsproxy/tsql/database_options.py`); edit those.

A value may be a literal or a variable. A word that is no option is refused while the statement is parsed
(155); an option that the form of the statement does not have, when it runs (3032); two that exclude each
other (3031); a number out of its range (3250, for a block size that is no power of two 3253). "refused"
options are known and answered with 3015: what they are for is not here.
"""


def render() -> str:
    """The document, in Markdown."""
    return "\n".join([_HEAD, *_statement("BACKUP"), *_statement("RESTORE"), *_set_options(), ""])


def _statement(statement: str) -> Iterator[str]:
    forms = _FORMS[statement]
    yield f"## {statement}"
    yield ""
    yield f"| option | value | {' | '.join(forms)} | here | what it does |"
    yield "|---|---|" + "---|" * (len(forms) + 2)
    for option in option_table().values():
        if option.statement == statement:
            marks = ["yes" if form in option.forms else "" for form in forms]
            about = "" if option.effect is Effect.WORKS else option.effect.value
            yield f"| {option.name} | {_value(option)} | {' | '.join(marks)} | {about} | {option.about} |"
    yield ""
    yield f"These exclude each other in {statement} (3031): " + "; ".join(_pairs(statement)) + "."
    yield ""


def _value(option: OptionDef) -> str:
    words = _VALUES[option.kind]
    return words if option.range is None else f"{words} {_range(option.range)}"


def _range(numbers: NumberRange) -> str:
    words = f"{numbers.low} to {numbers.high}"
    if numbers.step > 1:
        words += f", multiples of {numbers.step}"
    return words + (", powers of two" if numbers.power else "")


def _pairs(statement: str) -> Iterator[str]:
    for first, second in CONFLICTS[statement]:
        yield f"{first} and {second}"


def _set_options() -> Iterator[str]:
    yield "## ALTER DATABASE ... SET"
    yield ""
    yield "Alone: the option takes effect when no other session uses the database; `WITH ROLLBACK IMMEDIATE`,"
    yield "`ROLLBACK AFTER n` and `NO_WAIT` say what happens to those that do. An option without columns is"
    yield "accepted and changes nothing, but for those that change the database's state, access, recovery"
    yield "model and compatibility level."
    yield ""
    yield "| option | values | alone | shown in sys.databases |"
    yield "|---|---|---|---|"
    for option in sorted(set_options().values(), key=lambda item: item.name):
        values = "any" if option.values is None else ", ".join(option.values)
        alone = "yes" if option.exclusive else ""
        yield f"| {option.name} | {values} | {alone} | {', '.join(_columns(option))} |"


def _columns(option: SetOptionDef) -> list[str]:
    found = [option.bit] if option.bit else []
    for columns in option.columns.values():
        found += [name for name in columns if name not in found]
    return found
