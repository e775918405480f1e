"""Values, conditions, types: shapes of the tree."""

from __future__ import annotations

import pytest

from tdsproxy.tsql import ast, types
from tdsproxy.tsql.errors import SyntaxError_
from tdsproxy.tsql.parser import parse


def value(text: str) -> ast.Expr:
    (statement,) = parse(f"SELECT {text}").statements
    assert isinstance(statement, ast.QueryStatement)
    query = statement.query
    assert isinstance(query, ast.Select)
    assert len(query.items) == 1
    assert query.items[0].alias is None
    return query.items[0].expr


def condition(text: str) -> ast.Predicate:
    (statement,) = parse(f"SELECT 1 WHERE {text}").statements
    assert isinstance(statement, ast.QueryStatement)
    query = statement.query
    assert isinstance(query, ast.Select)
    assert query.where is not None
    return query.where


def show(node: ast.Expr) -> str:
    """A value or condition with all its parentheses."""
    match node:
        case ast.Literal():
            return repr(node.value) if node.value is not None else "NULL"
        case ast.Variable() | ast.GlobalVariable() | ast.DatePart():
            return node.name
        case ast.ColumnRef():
            return ".".join(node.parts)
        case ast.Star():
            return ".".join([*node.qualifier, "*"])
        case ast.Unary():
            return f"({node.op}{show(node.operand)})"
        case ast.Binary() | ast.Comparison():
            return f"({show(node.left)} {node.op} {show(node.right)})"
        case ast.And():
            return f"({show(node.left)} and {show(node.right)})"
        case ast.Or():
            return f"({show(node.left)} or {show(node.right)})"
        case ast.Not():
            return f"(not {show(node.operand)})"
        case ast.Collate():
            return f"({show(node.operand)} collate {node.collation})"
        case ast.FunctionCall():
            inner = ", ".join(map(show, node.args))
            text = f"{node.name.object}({'distinct ' if node.distinct else ''}{inner})"
            if node.within_group:
                text += f" within({orders(node.within_group)})"
            if node.over is not None:
                partition = ", ".join(map(show, node.over.partition))
                text += f" over({partition};{orders(node.over.order)};{node.over.frame})"
            return text
        case ast.Cast():
            style = f", {show(node.style)}" if node.style else ""
            return f"cast({show(node.operand)} as {node.type.type}{style}{' try' if node.try_ else ''})"
        case ast.Case():
            head = "case " if node.operand is None else f"case {show(node.operand)} "
            whens = " ".join(f"{show(a)}:{show(b)}" for a, b in node.whens)
            return f"{head}{whens} else {show(node.otherwise) if node.otherwise else '-'}"
        case ast.Subquery() | ast.Exists():
            return f"{type(node).__name__.lower()}()"
        case ast.MethodCall():
            return f"{show(node.operand)}->{node.method}({', '.join(map(show, node.args))})"
        case ast.IsNull():
            return f"({show(node.operand)} is{' not' if node.negated else ''} null)"
        case ast.Between():
            return f"({show(node.operand)} between {show(node.low)} {show(node.high)}{negated(node)})"
        case ast.InList():
            return f"({show(node.operand)} in [{', '.join(map(show, node.items))}]{negated(node)})"
        case ast.InQuery():
            return f"({show(node.operand)} in query{negated(node)})"
        case ast.Like():
            escape = f" escape {show(node.escape)}" if node.escape else ""
            return f"({show(node.operand)} like {show(node.pattern)}{escape}{negated(node)})"
        case ast.QuantifiedComparison():
            return f"({show(node.left)} {node.op} {node.quantifier} query)"
        case ast.IsDistinct():
            return f"({show(node.left)} is{' not' if node.negated else ''} distinct {show(node.right)})"
        case ast.NextValue():
            return f"next({node.sequence.object})"
        case _:
            raise AssertionError(node)


def negated(node: ast.Between | ast.InList | ast.InQuery | ast.Like) -> str:
    return " negated" if node.negated else ""


def orders(items: tuple[ast.OrderItem, ...]) -> str:
    return ", ".join(show(item.expr) + (" desc" if item.descending else "") for item in items)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("1 + 2 * 3", "(1 + (2 * 3))"),
        ("1 - 2 - 3", "((1 - 2) - 3)"),
        ("1 & 2 + 3 | 4", "(((1 & 2) + 3) | 4)"),
        ("(1 + 2) * 3", "((1 + 2) * 3)"),
        ("-a + +'x'", "((-a) + (+'x'))"),
        ("~a % b", "((~a) % b)"),
        ("- -1", "(-(-1))"),
        ("@a + @@ROWCOUNT", "(@a + @@ROWCOUNT)"),
        ("a + b COLLATE Latin1_General_BIN2", "(a + (b collate Latin1_General_BIN2))"),
        ("d.s.t.c", "d.s.t.c"),
        ("db..t.c", "db..t.c"),
        ("[a b].[c]", "a b.c"),
        ("NULL", "NULL"),
        ("COUNT(*)", "COUNT(*)"),
        ("count(distinct a)", "count(distinct a)"),
        ("f()", "f()"),
        ("dbo.f(1, DEFAULT)", None),
        ("LEFT(a, 1) + RIGHT(a, 2)", "(LEFT(a, 1) + RIGHT(a, 2))"),
        ("COALESCE(a, NULLIF(b, ''))", "COALESCE(a, NULLIF(b, ''))"),
        ("CURRENT_TIMESTAMP", "CURRENT_TIMESTAMP()"),
        ("DATEADD(Day, -1, GETDATE())", "DATEADD(day, (-1), GETDATE())"),
        ("CAST(a AS varchar)", "cast(a as varchar(30))"),
        ("CAST(a AS nvarchar(max))", "cast(a as nvarchar(max))"),
        ("CONVERT(char(8), a, 112)", "cast(a as char(8), 112)"),
        ("TRY_CONVERT(decimal(12, 2), a)", "cast(a as decimal(12,2) try)"),
        ("TRY_CAST(a AS int)", "cast(a as int try)"),
        ("CASE WHEN a = 1 THEN 2 END", "case (a = 1):2 else -"),
        ("CASE a WHEN 1 THEN 2 WHEN 3 THEN 4 ELSE 5 END", "case a 1:2 3:4 else 5"),
        ("IIF(a > 1 AND b = 2, 3, 4)", "IIF(((a > 1) and (b = 2)), 3, 4)"),
        ("(SELECT 1)", "subquery()"),
        ("((SELECT 1) + 1)", "(subquery() + 1)"),
        ("(((SELECT 1)))", "subquery()"),
        ("x.value('.', 'int')", "x->value('.', 'int')"),
        ("(SELECT 1 FOR XML PATH('')).value('.', 'int')", "subquery()->value('.', 'int')"),
        ("SUM(a) OVER (PARTITION BY b ORDER BY c DESC ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)",
         "SUM(a) over(b;c desc;ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)"),
        ("ROW_NUMBER() OVER (ORDER BY a)", "ROW_NUMBER() over(;a;None)"),
        ("STRING_AGG(a, ',') WITHIN GROUP (ORDER BY b)", "STRING_AGG(a, ',') within(b)"),
        ("TRIM('x' FROM a)", "TRIM(a, 'x')"),
        ("TRIM(LEADING 'x' FROM a)", "LTRIM(a, 'x')"),
        ("{fn UCASE('x')}", "UCASE('x')"),
        ("{ts '2020-01-01 00:00:00'}", "'2020-01-01 00:00:00'"),
        ("NEXT VALUE FOR dbo.s", "next(s)"),
        ("a AT TIME ZONE 'UTC'", "AT TIME ZONE(a, 'UTC')"),
    ],
)  # fmt: skip
def test_values(text: str, shape: str | None) -> None:
    found = value(text)
    if shape is not None:
        assert show(found) == shape


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("a = 1 OR b = 2 AND NOT c = 3", "((a = 1) or ((b = 2) and (not (c = 3))))"),
        ("(a = 1 OR b = 2) AND c = 3", "(((a = 1) or (b = 2)) and (c = 3))"),
        ("(a + 1) * 2 > 3", "(((a + 1) * 2) > 3)"),
        ("((a)) = ((1))", "(a = 1)"),
        ("((a = 1))", "(a = 1)"),
        ("(SELECT 1) = 1", "(subquery() = 1)"),
        ("((SELECT 1) = 1)", "(subquery() = 1)"),
        ("a != 1", "(a <> 1)"),
        ("a !< 1", "(a >= 1)"),
        ("a !> 1", "(a <= 1)"),
        ("a < = 1", "(a <= 1)"),
        ("a > = 1", "(a >= 1)"),
        ("a < > 1", "(a <> 1)"),
        ("a IS NOT NULL", "(a is not null)"),
        ("a IS DISTINCT FROM b", "(a is distinct b)"),
        ("a NOT BETWEEN 1 AND 2 AND b = 1", "((a between 1 2 negated) and (b = 1))"),
        ("a IN (1, 2)", "(a in [1, 2])"),
        ("a NOT IN (SELECT 1)", "(a in query negated)"),
        ("a NOT LIKE 'x' ESCAPE '\\'", "(a like 'x' escape '\\\\' negated)"),
        ("EXISTS (SELECT 1)", "exists()"),
        ("NOT EXISTS (SELECT 1)", "(not exists())"),
        ("a > ALL (SELECT 1)", "(a > ALL query)"),
        ("a = SOME (SELECT 1)", "(a = ANY query)"),
        ("CASE WHEN a = 1 THEN 1 ELSE 0 END = 1", "(case (a = 1):1 else 0 = 1)"),
    ],
)
def test_conditions(text: str, shape: str) -> None:
    assert show(condition(text)) == shape


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", types.INT),
        ("2147483647", types.INT),
        ("2147483648", types.numeric(10, 0)),
        ("1.50", types.numeric(3, 2)),
        ("0.5", types.numeric(1, 1)),
        ("1.", types.numeric(1, 0)),
        ("1e0", types.FLOAT),
        ("$1", types.MONEY),
        ("'abc'", types.varchar(3)),
        ("''", types.varchar(1)),
        ("N'ab'", types.nvarchar(2)),
        ("N'😀'", types.nvarchar(2)),
        ("0x0102", types.varbinary(2)),
        ("NULL", types.NULL),
        ("'" + "a" * 8001 + "'", types.varchar(types.MAX)),
        ("N'" + "a" * 4001 + "'", types.nvarchar(types.MAX)),
    ],
)
def test_types_of_literals(text: str, expected: types.SqlType) -> None:
    found = value(text)
    assert isinstance(found, ast.Literal)
    assert found.type == expected


def test_a_varchar_literal_has_only_what_its_code_page_has() -> None:
    found = value("'aж€'")
    assert isinstance(found, ast.Literal)
    assert found.value == "a?€"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("int", types.INT),
        ("[int]", types.INT),
        ("sys.int", types.INT),
        ("integer", types.INT),
        ("nvarchar(max)", types.nvarchar(types.MAX)),
        ("varchar", types.varchar(1)),
        ("character varying(5)", types.varchar(5)),
        ("national char varying(5)", types.nvarchar(5)),
        ("national character(5)", types.nchar(5)),
        ("dec(5)", types.decimal(5, 0)),
        ("numeric(25,0)", types.numeric(25, 0)),
        ("decimal", types.decimal(18, 0)),
        ("double precision", types.FLOAT),
        ("float(24)", types.REAL),
        ("float(25)", types.FLOAT),
        ("datetime2", types.datetime2(7)),
        ("datetimeoffset(0)", types.datetimeoffset(0)),
        ("time(3)", types.time(3)),
        ("sysname", types.SYSNAME),
        ("rowversion", types.TIMESTAMP),
        ("dbo.MyType", None),
        ("MyType", None),
    ],
)
def test_types(text: str, expected: types.SqlType | None) -> None:
    (statement,) = parse(f"DECLARE @a {text}").statements
    assert isinstance(statement, ast.Declare)
    found = statement.items[0].type
    assert found is not None
    assert found.type == expected


@pytest.mark.parametrize(
    ("text", "number"),
    [("varchar(8001)", 131), ("nvarchar(4001)", 131), ("decimal(39)", 2750), ("decimal(5, 6)", 2751),
     ("time(8)", 1002), ("char(0)", 1001), ("char(max)", 102)],
)  # fmt: skip
def test_types_out_of_range(text: str, number: int) -> None:
    with pytest.raises(SyntaxError_) as caught:
        parse(f"DECLARE @a {text}")
    assert caught.value.number == number
