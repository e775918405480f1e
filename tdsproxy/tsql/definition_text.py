"""The text of an expression in a definition, as SQL Server keeps it: ``Price > 0`` becomes ``([Price]>(0))``.

SQL Server does not keep what CREATE TABLE says of a default, a check or a computed column; it writes
its syntax tree anew. Scripts, reflection and comparisons of schemas read that text.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Final

from tdsproxy.tsql import ast
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.parser import parse

_OR, _AND, _NOT, _COMPARISON, _SUM, _PRODUCT, _UNARY, _ATOM = range(8)
_BINARY: Final = {
    "+": _SUM,
    "-": _SUM,
    "&": _SUM,
    "|": _SUM,
    "^": _SUM,
    "*": _PRODUCT,
    "/": _PRODUCT,
    "%": _PRODUCT,
}
_RENAMED: Final = {
    "current_timestamp": "getdate",
    "current_user": "user_name",
    "session_user": "user_name",
    "user": "user_name",
    "system_user": "suser_sname",
}
_UPPER: Final = frozenset({"json_value", "json_query", "isjson", "openjson", "try_parse", "parse"})
"""Functions that are kept in upper case."""


class _Unknown(Exception):
    """An expression that this module does not write."""


@lru_cache(maxsize=4096)
def expression_text(text: str) -> str:
    """A default's or computed column's expression. What is not known here stays as it was, in parentheses."""
    try:
        statement = parse(f"SELECT {text}").statements[0]
        return f"({_write(_only(statement), _OR)})"
    except (SqlError, _Unknown):
        return _enclosed(text)


@lru_cache(maxsize=4096)
def predicate_text(text: str) -> str:
    """A check's or filter's predicate."""
    try:
        statement = parse(f"SELECT 1 WHERE {text}").statements[0]
        if not isinstance(statement, ast.QueryStatement) or not isinstance(statement.query, ast.Select):
            raise _Unknown
        if statement.query.where is None:
            raise _Unknown
        return f"({_write(statement.query.where, _OR)})"
    except (SqlError, _Unknown):
        return _enclosed(text)


def _only(statement: ast.Statement) -> ast.Expr:
    if isinstance(statement, ast.QueryStatement) and isinstance(statement.query, ast.Select):
        items = statement.query.items
        if len(items) == 1 and items[0].alias is None and not statement.query.sources:
            return items[0].expr
    raise _Unknown


def _enclosed(text: str) -> str:
    """``text`` in parentheses, unless one pair of them holds all of it."""
    text = text.strip()
    if not (text.startswith("(") and text.endswith(")")):
        return f"({text})"
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0 and place < len(text) - 1:
            return f"({text})"
    return text


def _name(text: str) -> str:
    return f"[{text.replace(']', ']]')}]"


def _write(node: ast.Expr, above: int) -> str:
    """``node`` below an operator that binds as tightly as ``above``."""
    text, own = _written(node)
    return f"({text})" if own < above else text


def _written(node: ast.Expr) -> tuple[str, int]:
    """The text and how tightly its outermost operator binds."""
    match node:
        case ast.Literal():
            return _literal(node), _ATOM
        case ast.ColumnRef(parts=parts):
            return ".".join(_name(part) for part in parts), _ATOM
        case ast.Unary(op="-", operand=ast.Literal(value=int() | Decimal() as value)):
            return f"(-{value})", _ATOM
        case ast.Unary(op="+", operand=operand):
            return _written(operand)
        case ast.Unary(op=op, operand=operand):
            return op + _write(operand, _ATOM), _UNARY
        case ast.Binary(op=op, left=left, right=right) if op in _BINARY:
            own = _BINARY[op]
            return f"{_write(left, own)}{op}{_write(right, own + 1)}", own
        case ast.FunctionCall():
            return _call(node), _ATOM
        case ast.Cast(operand=operand, style=style, try_=maybe) as cast:
            inner = _write(operand, _OR) + ("" if style is None else f",{_write(style, _OR)}")
            return f"{'TRY_CAST' if maybe else 'CONVERT'}({_type(cast.type)},{inner})", _ATOM
        case ast.Case():
            return _case(node), _ATOM
        case ast.Collate(operand=operand, collation=collation):
            return f"{_write(operand, _ATOM)} collate {collation}", _UNARY
        case ast.NextValue(sequence=sequence):
            return f"NEXT VALUE FOR {_qualified(sequence)}", _ATOM
        case ast.Predicate():
            return _predicate(node)
    raise _Unknown


def _predicate(node: ast.Predicate) -> tuple[str, int]:
    match node:
        case ast.And(left=left, right=right):
            return f"{_write(left, _AND)} AND {_write(right, _AND)}", _AND
        case ast.Or(left=left, right=right):
            return f"{_write(left, _OR)} OR {_write(right, _OR)}", _OR
        case ast.Not(operand=operand):
            return f"NOT {_write(operand, _COMPARISON)}", _NOT
        case ast.Comparison(op=op, left=left, right=right):
            return f"{_write(left, _SUM)}{op}{_write(right, _SUM)}", _COMPARISON
        case ast.IsNull(operand=operand, negated=negated):
            return f"{_write(operand, _SUM)} IS {'NOT ' if negated else ''}NULL", _COMPARISON
        case ast.Between(operand=operand, low=low, high=high, negated=negated):
            what = _write(operand, _SUM)
            if negated:
                return f"{what}<{_write(low, _SUM)} OR {what}>{_write(high, _SUM)}", _OR
            return f"{what}>={_write(low, _SUM)} AND {what}<={_write(high, _SUM)}", _AND
        case ast.InList(operand=operand, items=items, negated=negated):
            what = _write(operand, _SUM)
            # SQL Server writes the list from its end.
            found = [f"{what}{'<>' if negated else '='}{_write(item, _SUM)}" for item in reversed(items)]
            own = _COMPARISON if len(found) == 1 else _AND if negated else _OR
            return (" AND " if negated else " OR ").join(found), own
        case ast.Like(operand=operand, pattern=pattern, escape=escape, negated=negated):
            text = f"{_write(operand, _SUM)} {'not ' if negated else ''}like {_write(pattern, _SUM)}"
            return text if escape is None else f"{text} escape {_write(escape, _SUM)}", _COMPARISON
    raise _Unknown


def _literal(node: ast.Literal) -> str:
    value = node.value
    if value is None:
        return "NULL"
    if isinstance(value, str):
        sign = "N" if node.type.name in ("nvarchar", "nchar") else ""
        doubled = value.replace("'", "''")
        return f"{sign}'{doubled}'"
    if isinstance(value, bytes):
        return f"0x{value.hex().upper()}"
    if isinstance(value, float):
        mantissa, _, exponent = f"{value:.16e}".partition("e")
        return f"({mantissa}e{exponent[0]}{int(exponent[1:]):03d})"
    if node.type.name in ("money", "smallmoney"):
        return f"(${value:.4f})"
    return f"({value})"


def _call(node: ast.FunctionCall) -> str:
    if node.distinct or node.over is not None or node.within_group:
        raise _Unknown
    arguments = ",".join(
        item.name if isinstance(item, ast.DatePart) else _write(item, _OR) for item in node.args
    )
    if node.name.schema:
        return f"{_qualified(node.name)}({arguments})"
    name = node.name.object.lower()
    name = _RENAMED.get(name, name)
    return f"{name.upper() if name in _UPPER else name}({arguments})"


def _qualified(name: ast.Name) -> str:
    parts = [part for part in (name.database, name.schema, name.object) if part]
    return ".".join(_name(part) for part in parts)


def _type(name: ast.TypeName) -> str:
    type_ = name.type
    if type_ is None:
        raise _Unknown
    text = str(type_)
    base, bracket, rest = text.partition("(")
    return f"[{base}]{bracket}{rest}"


def _case(node: ast.Case) -> str:
    parts = ["case"]
    if node.operand is not None:
        parts.append(_write(node.operand, _OR))
    for condition, result in node.whens:
        parts.append(f"when {_write(condition, _OR)} then {_write(result, _OR)}")
    if node.otherwise is not None:
        parts.append(f"else {_write(node.otherwise, _OR)}")
    return " ".join([*parts, "end"])
