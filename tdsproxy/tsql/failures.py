"""The errors of conversions and operators, with SQL Server's numbers, severities, states and texts."""

from __future__ import annotations

from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.types import SqlType


def shown(type_: SqlType) -> str:
    """A type's name as messages say it: decimal is numeric there."""
    return "numeric" if type_.name == "decimal" else type_.name


def conversion_failed(source: SqlType, value: str, target: SqlType) -> SqlError:
    text = (
        f"Conversion failed when converting the {shown(source)} value '{value}' to data type {shown(target)}."
    )
    return SqlError.of(245, 16, 1, text)


def cannot_convert(source: SqlType, target: SqlType, state: int = 5) -> SqlError:
    return SqlError.of(8114, 16, state, f"Error converting data type {shown(source)} to {shown(target)}.")


def overflow(target: SqlType, source: SqlType | None = None) -> SqlError:
    """8115; ``source`` None is an expression."""
    what = "expression" if source is None else shown(source)
    state = 2 if source is None else 8
    text = f"Arithmetic overflow error converting {what} to data type {shown(target)}."
    return SqlError.of(8115, 16, state, text)


def value_overflow(target: SqlType, value: int) -> SqlError:
    """220: an integer that a smaller integer type does not hold."""
    state = {"tinyint": 2, "smallint": 1}.get(target.name, 1)
    text = f"Arithmetic overflow error for data type {target.name}, value = {value}."
    return SqlError.of(220, 16, state, text)


def float_overflow(target: SqlType, value: float) -> SqlError:
    text = f"Arithmetic overflow error for type {shown(target)}, value = {value:.6f}."
    return SqlError.of(232, 16, 3, text)


def text_overflow(source: SqlType, value: str, target: SqlType) -> SqlError:
    """248 and 244: digits that the integer type does not hold."""
    kind = shown(source)
    if target.name == "int":
        text = f"The conversion of the {kind} value '{value}' overflowed an int column."
        return SqlError.of(248, 16, 1, text)
    column = "INT1" if target.name == "tinyint" else "INT2"
    text = (
        f"The conversion of the {kind} value '{value}' overflowed an {column} column. "
        "Use a larger integer column."
    )
    return SqlError.of(244, 16, 2 if target.name == "tinyint" else 1, text)


def bad_money() -> SqlError:
    text = "Cannot convert a char value to money. The char value has incorrect syntax."
    return SqlError.of(235, 16, 0, text)


def bad_date() -> SqlError:
    text = "Conversion failed when converting date and/or time from character string."
    return SqlError.of(241, 16, 1, text)


def date_out_of_range(source: SqlType, target: SqlType) -> SqlError:
    text = (
        f"The conversion of a {source.name} data type to a {target.name} data type "
        "resulted in an out-of-range value."
    )
    return SqlError.of(242, 16, 3, text)


def bad_smalldatetime() -> SqlError:
    return SqlError.of(
        295, 16, 3, "Conversion failed when converting character string to smalldatetime data type."
    )


def date_overflow(type_: SqlType) -> SqlError:
    """517: DATEADD or date arithmetic left the type's range."""
    return SqlError.of(517, 16, 1, f"Adding a value to a '{type_.name}' column caused an overflow.")


def bad_guid() -> SqlError:
    text = "Conversion failed when converting from a character string to uniqueidentifier."
    return SqlError.of(8169, 16, 2, text)


def no_room(what: str, target: SqlType) -> SqlError:
    """234 and 8170: the text is longer than the target."""
    if what == "uniqueidentifier":
        return SqlError.of(
            8170, 16, 2, "Insufficient result space to convert uniqueidentifier value to char."
        )
    text = f"There is insufficient result space to convert a {what} value to {target.name}."
    return SqlError.of(234, 16, 2, text)


def not_allowed(source: SqlType, target: SqlType) -> SqlError:
    text = f"Explicit conversion from data type {shown(source)} to {shown(target)} is not allowed."
    return SqlError.of(529, 16, 1, text)


def not_implicit(source: SqlType, target: SqlType) -> SqlError:
    text = (
        f"Implicit conversion from data type {shown(source)} to {shown(target)} is not allowed. "
        "Use the CONVERT function to run this query."
    )
    return SqlError.of(257, 16, 3, text)


def clash(source: SqlType, target: SqlType) -> SqlError:
    text = f"Operand type clash: {shown(source)} is incompatible with {shown(target)}"
    return SqlError.of(206, 16, 2, text)


def bad_style(style: int, source: SqlType) -> SqlError:
    text = f"{style} is not a valid style number when converting from {source.name} to a character string."
    return SqlError.of(281, 16, 1, text)


def incompatible(left: SqlType, right: SqlType, operator: str) -> SqlError:
    word = _OPERATOR_WORDS.get(operator, operator)
    text = f"The data types {_full(left)} and {_full(right)} are incompatible in the {word} operator."
    return SqlError.of(402, 16, 1, text)


def invalid_operand(type_: SqlType, operator: str) -> SqlError:
    word = _OPERATOR_WORDS.get(operator, operator)
    text = f"Operand data type {_full(type_)} is invalid for {word} operator."
    return SqlError.of(8117, 16, 1, text)


def divide_by_zero() -> SqlError:
    return SqlError.of(8134, 16, 1, "Divide by zero error encountered.")


def truncated(message: str = "String or binary data would be truncated.") -> SqlError:
    return SqlError.of(8152, 16, 10, message)


def invalid_length(function: str) -> SqlError:
    text = f"Invalid length parameter passed to the {function} function."
    return SqlError.of(537, 16, 3, text)


_OPERATOR_WORDS = {
    "+": "add",
    "-": "subtract",
    "*": "multiply",
    "/": "divide",
    "%": "modulo",
    "&": "'&'",
    "|": "'|'",
    "^": "'^'",
    "=": "equal to",
    "<>": "not equal to",
    "<": "less than",
    "<=": "less than or equal to",
    ">": "greater than",
    ">=": "greater than or equal to",
}


def _full(type_: SqlType) -> str:
    if type_.name == "null":
        return "NULL"
    return "numeric" if type_.name == "decimal" and type_.numeric else type_.name
