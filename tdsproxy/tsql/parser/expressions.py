"""Values: literals, operators by precedence, functions, CASE, CAST.

T-SQL has three levels of binary operators below the comparisons: ``* / %`` bind tighter than
``+ - & ^ |``, and ``~`` and the signs bind tightest. Left-deep chains are read in a loop, so their length is
not limited by the depth of the Python stack.
"""

from __future__ import annotations

from abc import abstractmethod
from decimal import Decimal
from typing import Final

from tdsproxy.tsql import ast, types
from tdsproxy.tsql.lexer import Kind, Token, error
from tdsproxy.tsql.parser.cursor import NAME_KINDS
from tdsproxy.tsql.parser.typenames import TypeNames

_BINARY: Final = {"*": 2, "/": 2, "%": 2, "+": 1, "-": 1, "&": 1, "^": 1, "|": 1}
_BARE_FUNCTIONS: Final = frozenset(
    {"CURRENT_TIMESTAMP", "CURRENT_USER", "SESSION_USER", "SYSTEM_USER", "USER", "CURRENT_DATE"}
)
_KEYWORD_FUNCTIONS: Final = frozenset({"COALESCE", "NULLIF", "LEFT", "RIGHT", "USER"})
_DATE_PART_FUNCTIONS: Final = frozenset(
    {"DATEADD", "DATEDIFF", "DATEDIFF_BIG", "DATENAME", "DATEPART", "DATETRUNC", "DATE_BUCKET"}
)
_XML_METHODS: Final = frozenset({"value", "query", "exist", "nodes", "modify"})
_STARTS_EXPRESSION: Final = frozenset(
    {Kind.IDENT, Kind.QUOTED, Kind.STRING, Kind.NSTRING, Kind.INT, Kind.DECIMAL, Kind.FLOAT,
     Kind.MONEY, Kind.BINARY, Kind.VARIABLE, Kind.GLOBAL}
)  # fmt: skip
_AFTER_QUERY: Final = frozenset({")", "UNION", "EXCEPT", "INTERSECT", "ORDER"})
_STARTING_WORDS: Final = frozenset(
    {"(", "-", "+", "~", "CASE", "NULL", "CONVERT", "TRY_CONVERT", "{", "IDENTITY"}
)


class Expressions(TypeNames):
    """Reads value expressions."""

    @abstractmethod
    def query(self) -> ast.Query:
        """A query expression with its tail."""

    @abstractmethod
    def predicate(self) -> ast.Predicate:
        """A condition."""

    @abstractmethod
    def order_items(self) -> tuple[ast.OrderItem, ...]:
        """What follows ORDER BY."""

    @property
    def at_expression(self) -> bool:
        """Whether an expression can begin here."""
        token = self.tok
        if token.kind in _STARTS_EXPRESSION:
            return True
        word = token.word
        return word in _STARTING_WORDS or word in _BARE_FUNCTIONS or word in _KEYWORD_FUNCTIONS

    @property
    def at_query(self) -> bool:
        """Whether a parenthesis here holds a query, as ``((SELECT 1) UNION ..`` does and ``((SELECT 1) + 1)``
        does not."""
        distance = 0
        while self.peek(distance).word == "(":
            distance += 1
        if not distance or self.peek(distance).word not in ("SELECT", "WITH"):
            return False
        return distance == 1 or self.behind_parentheses(distance - 1).word in _AFTER_QUERY

    def behind_parentheses(self, distance: int) -> Token:
        """The token behind the group whose opening parenthesis is ``distance`` tokens on."""
        depth = 0
        while True:
            token = self.peek(distance)
            depth += {"(": 1, ")": -1}.get(token.word, 0)
            distance += 1
            if depth <= 0 or token.kind is Kind.END:
                return self.peek(distance)

    def expression(self) -> ast.Expr:
        """A value."""
        self.deeper()
        found = self.binary_rest(self.unary(), 1)
        self.shallower()
        return found

    def expressions(self) -> tuple[ast.Expr, ...]:
        """A comma list of values."""
        found = [self.expression()]
        while self.accept(","):
            found.append(self.expression())
        return tuple(found)

    def binary_rest(self, left: ast.Expr, level: int) -> ast.Expr:
        """Go on behind ``left`` with the operators of ``level`` and tighter ones."""
        while True:
            operator = self.tok.word
            binds = _BINARY.get(operator, 0)
            if binds < level:
                return left
            self.advance()
            right = self.unary()
            if binds == 1:
                right = self.binary_rest(right, 2)
            left = ast.Binary(operator, left, right, pos=left.pos, line=left.line)

    def unary(self) -> ast.Expr:
        """A primary with the signs and ``~`` before it."""
        token = self.tok
        if token.word in ("-", "+", "~"):
            self.advance()
            self.deeper()
            operand = self.unary()
            self.shallower()
            return ast.Unary(token.word, operand, pos=token.pos, line=token.line)
        return self.postfix(self._primary())

    def postfix(self, found: ast.Expr) -> ast.Expr:
        """COLLATE, AT TIME ZONE and xml methods behind a primary."""
        collated = False
        while True:
            word = self.tok.word
            if word == "COLLATE" and not collated:
                collated = True
                self.advance()
                found = ast.Collate(found, self.collation_name(), pos=found.pos, line=found.line)
            elif word == "." and self.peek().value in _XML_METHODS and self.peek(2).word == "(":
                self.advance()
                method = self.name()
                found = ast.MethodCall(found, method, self._arguments(), pos=found.pos, line=found.line)
            elif word == "AT" and self.at_words("AT", "TIME", "ZONE"):
                self.accept_words("AT", "TIME", "ZONE")
                name = ast.Name("AT TIME ZONE", pos=found.pos, line=found.line)
                found = ast.FunctionCall(name, (found, self._primary()), pos=found.pos, line=found.line)
            else:
                return found

    # ------------------------------------------------------------------ primaries

    def _primary(self) -> ast.Expr:
        token = self.tok
        kind = token.kind
        if kind in NAME_KINDS:
            return self._name_or_call()
        if kind is Kind.VARIABLE:
            self.advance()
            return ast.Variable(str(token.value), pos=token.pos, line=token.line)
        if kind is Kind.GLOBAL:
            self.advance()
            return ast.GlobalVariable(str(token.value), pos=token.pos, line=token.line)
        if kind is Kind.OP:
            if token.word == "(":
                return self._parenthesised()
            if token.word == "{":
                return self._odbc_escape()
            raise self.error()
        if kind is Kind.KEYWORD:
            return self._keyword_primary(token)
        if kind is Kind.END:
            raise self.error()
        self.advance()
        return literal(token)

    def _parenthesised(self) -> ast.Expr:
        if self.at_query:
            return self.subquery()
        self.advance()
        found = self.expression()
        self.expect(")")
        return found

    def subquery(self) -> ast.Subquery:
        """A scalar subquery in its parentheses."""
        start = self.tok
        return ast.Subquery(self.parenthesised_query(), pos=start.pos, line=start.line)

    def parenthesised_query(self) -> ast.Query:
        """``(query)``, in one pair of parentheses or more."""
        self.deeper()
        self.expect("(")
        query = self.query()
        self.expect(")")
        self.shallower()
        return query

    def _keyword_primary(self, token: Token) -> ast.Expr:
        word = token.word
        if word == "NULL":
            self.advance()
            return ast.Literal(None, types.NULL, pos=token.pos, line=token.line)
        if word == "CASE":
            return self._case()
        if word in ("CONVERT", "TRY_CONVERT"):
            self.advance()
            return self._convert(token)
        if word in _BARE_FUNCTIONS and not (word == "USER" and self.peek().word == "("):
            self.advance()
            return ast.FunctionCall(
                ast.Name(token.text, pos=token.pos, line=token.line), (), pos=token.pos, line=token.line
            )
        if word in _KEYWORD_FUNCTIONS and self.peek().word == "(":
            self.advance()
            return self.call(ast.Name(token.text, pos=token.pos, line=token.line), token)
        if word == "IDENTITY" and self.peek().word == "(":
            return self._identity_function(token)
        if word == "IDENTITYCOL":
            self.advance()
            return ast.ColumnRef((token.text,), pos=token.pos, line=token.line)
        raise self.error()

    def _name_or_call(self) -> ast.Expr:
        token = self.advance()
        word = self.tok.word
        if word == "(":
            if token.kind is Kind.IDENT:
                special = self._special_call(token)
                if special is not None:
                    return special
            return self.call(ast.Name(str(token.value), pos=token.pos, line=token.line), token)
        if word != "." and word != "::":
            if token.word == "NEXT" and self.at_words("VALUE", "FOR"):
                self.accept_words("VALUE", "FOR")
                sequence = self.object_name()
                return self._over(ast.NextValue(sequence, pos=token.pos, line=token.line))
            return ast.ColumnRef((str(token.value),), pos=token.pos, line=token.line)
        parts = [str(token.value)]
        while self.at(".", "::"):
            self.advance()
            if self.at("."):
                parts.append("")
            elif self.at("*"):
                return ast.Star(self._star(parts), pos=token.pos, line=token.line)
            elif self.at("IDENTITYCOL", "ROWGUIDCOL"):
                parts.append(self.advance().text)
            else:
                parts.append(self.name())
        if self.at("("):
            if parts[-1] in _XML_METHODS:
                owner = ast.ColumnRef(tuple(parts[:-1]), pos=token.pos, line=token.line)
                return ast.MethodCall(owner, parts[-1], self._arguments(), pos=token.pos, line=token.line)
            if len(parts) > 4:
                raise self.error()
            return self.call(self.qualified(parts, token), token)
        return ast.ColumnRef(tuple(parts), pos=token.pos, line=token.line)

    def _star(self, parts: list[str]) -> tuple[str, ...]:
        """``t.*`` ends an expression; only select lists take it."""
        self.advance()
        return tuple(parts)

    def _special_call(self, token: Token) -> ast.Expr | None:
        word = token.word
        if word in ("CAST", "TRY_CAST"):
            self.expect("(")
            operand = self.expression()
            self.expect("AS")
            target = self.type_name(cast=True)
            self.expect(")")
            return ast.Cast(operand, target, None, word == "TRY_CAST", pos=token.pos, line=token.line)
        if word in ("PARSE", "TRY_PARSE"):
            return self._parse_function(token)
        if word == "IIF":
            self.expect("(")
            condition = self.predicate()
            self.expect(",")
            arguments = (condition, *self.expressions())
            self.expect(")")
            name = ast.Name(token.text, pos=token.pos, line=token.line)
            return ast.FunctionCall(name, arguments, pos=token.pos, line=token.line)
        if word == "TRIM":
            return self._trim(token)
        if word in ("JSON_OBJECT", "JSON_ARRAY"):
            return self._json_made(token)
        return None

    def _json_made(self, token: Token) -> ast.Expr:
        """``JSON_OBJECT('key' : value, ... [NULL | ABSENT ON NULL])``; JSON_ARRAY has values only.
        The first argument of the call says what becomes of NULL, and which values are JSON already:
        ``absent`` or ``null``, a blank, and a letter for each value, j or v."""
        keyed = token.word == "JSON_OBJECT"
        self.expect("(")
        absent = not keyed
        kinds = ""
        arguments: list[ast.Expr] = []
        while not self.at(")") and not (self.at("NULL", "ABSENT") and self.peek().word == "ON"):
            if keyed:
                arguments.append(self.expression())
                self.expect(":")
            arguments.append(self.expression())
            kinds += "j" if _is_json(arguments[-1]) else "v"
            if not self.accept(","):
                break
        if self.at("NULL", "ABSENT"):
            absent = self.advance().word == "ABSENT"
            self.expect("ON")
            self.expect("NULL")
        self.expect(")")
        rule = text_literal(f"{'absent' if absent else 'null'} {kinds}", token)
        name = ast.Name(token.word, pos=token.pos, line=token.line)
        return ast.FunctionCall(name, (rule, *arguments), pos=token.pos, line=token.line)

    def _parse_function(self, token: Token) -> ast.Expr:
        self.expect("(")
        operand = self.expression()
        self.expect("AS")
        target = self.type_name(cast=True)
        arguments = [operand, text_literal(str(target.type or target.name.object), token)]
        if self.accept("USING"):
            arguments.append(self.expression())
        self.expect(")")
        name = ast.Name(token.text, pos=token.pos, line=token.line)
        return ast.FunctionCall(name, tuple(arguments), pos=token.pos, line=token.line)

    def _trim(self, token: Token) -> ast.Expr:
        """``TRIM([LEADING | TRAILING | BOTH] [characters FROM] string)``, read as a call of LTRIM, RTRIM or
        TRIM with the string first and the characters second."""
        self.expect("(")
        side = "TRIM"
        if self.at("LEADING", "TRAILING", "BOTH") and self.peek().word not in (")", ",", "."):
            side = {"LEADING": "LTRIM", "TRAILING": "RTRIM", "BOTH": "TRIM"}[self.advance().word]
        arguments = [self.expression()]
        if self.accept("FROM"):
            arguments.insert(0, self.expression())
        elif self.accept(","):
            arguments.append(self.expression())
        self.expect(")")
        name = ast.Name(side, pos=token.pos, line=token.line)
        return ast.FunctionCall(name, tuple(arguments), pos=token.pos, line=token.line)

    def _identity_function(self, token: Token) -> ast.Expr:
        """``IDENTITY(type, seed, increment)`` of SELECT ... INTO; the type comes as a text argument."""
        self.advance()
        self.expect("(")
        target = self.type_name()
        arguments: list[ast.Expr] = [text_literal(str(target.type or target.name.object), token)]
        while self.accept(","):
            arguments.append(self.expression())
        self.expect(")")
        name = ast.Name(token.text, pos=token.pos, line=token.line)
        return ast.FunctionCall(name, tuple(arguments), pos=token.pos, line=token.line)

    def _convert(self, token: Token) -> ast.Expr:
        self.expect("(")
        target = self.type_name(cast=True)
        self.expect(",")
        operand = self.expression()
        style = self.expression() if self.accept(",") else None
        self.expect(")")
        return ast.Cast(operand, target, style, token.word == "TRY_CONVERT", pos=token.pos, line=token.line)

    def _case(self) -> ast.Expr:
        start = self.advance()
        operand = None if self.at("WHEN") else self.expression()
        whens: list[tuple[ast.Expr, ast.Expr]] = []
        while self.at("WHEN") or not whens:
            self.expect("WHEN")
            condition: ast.Expr = self.predicate() if operand is None else self.expression()
            self.expect("THEN")
            whens.append((condition, self.expression()))
        otherwise = self.expression() if self.accept("ELSE") else None
        self.expect("END")
        return ast.Case(operand, tuple(whens), otherwise, pos=start.pos, line=start.line)

    def _odbc_escape(self) -> ast.Expr:
        """``{fn name(...)}`` and ``{d '...'}``, ``{t '...'}``, ``{ts '...'}``, ``{guid '...'}``."""
        self.expect("{")
        if self.accept("FN"):
            found = self.expression()
        elif self.accept("D", "T", "TS", "GUID"):
            token = self.tok
            found = text_literal(self.string(), token)
        else:
            raise self.error()
        self.expect("}")
        return found

    # ------------------------------------------------------------------ calls

    def _arguments(self) -> tuple[ast.Expr, ...]:
        self.expect("(")
        found = () if self.at(")") else self.expressions()
        self.expect(")")
        return found

    def call(self, name: ast.Name, token: Token) -> ast.Expr:
        self.expect("(")
        distinct = False
        arguments: list[ast.Expr] = []
        if not self.at(")"):
            if name.schema is None and name.object.upper() in _DATE_PART_FUNCTIONS:
                arguments.append(self._date_part(name.object))
                self.expect(",")
            else:
                distinct = self.accept("DISTINCT")
                if not distinct:
                    self.accept("ALL")
            arguments.append(self._argument())
            while self.accept(","):
                arguments.append(self._argument())
        self.expect(")")
        within: tuple[ast.OrderItem, ...] = ()
        if self.at_words("WITHIN", "GROUP"):
            self.accept_words("WITHIN", "GROUP")
            self.expect("(")
            self.expect("ORDER")
            self.expect("BY")
            within = self.order_items()
            self.expect(")")
        if name.schema is None and "JSON" in name.object.upper():
            name, arguments = _json_call(name, arguments)
        call = ast.FunctionCall(
            name, tuple(arguments), distinct, None, within, pos=token.pos, line=token.line
        )
        return self._over(call)

    def _argument(self) -> ast.Expr:
        token = self.tok
        if token.word == "*":
            self.advance()
            return ast.Star(pos=token.pos, line=token.line)
        if token.word == "DEFAULT":
            self.advance()
            return ast.Default(pos=token.pos, line=token.line)
        return self.expression()

    def _date_part(self, function: str) -> ast.Expr:
        token = self.tok
        if token.kind is not Kind.IDENT or self.peek().word not in (",", ")"):
            raise error(1023, f"Invalid parameter 1 specified for {function.lower()}.", token.line)
        self.advance()
        return ast.DatePart(token.word.lower(), pos=token.pos, line=token.line)

    def _over(self, call: ast.Expr) -> ast.Expr:
        ignoring = False
        if not self.at("OVER"):
            word = self.tok.word
            if word not in ("RESPECT", "IGNORE") or not self.at_words(word, "NULLS", "OVER"):
                return call
            self.accept_words(word, "NULLS")
            ignoring = word == "IGNORE"
        self.advance()
        over = self.window() if self.at("(") else ast.Over(window=self.name())
        if not isinstance(call, ast.FunctionCall):
            return call
        if ignoring:
            over = ast.replace(over, ignore_nulls=True)
        return ast.FunctionCall(
            call.name, call.args, call.distinct, over, call.within_group, pos=call.pos, line=call.line
        )

    def window(self) -> ast.Over:
        """``([window] [PARTITION BY ...] [ORDER BY ...] [frame])``."""
        self.expect("(")
        based = None
        if self.at_name and not self.at("ROWS", "RANGE") and not self.at_words("PARTITION", "BY"):
            based = self.name()
        partition: tuple[ast.Expr, ...] = ()
        order: tuple[ast.OrderItem, ...] = ()
        if self.at_words("PARTITION", "BY"):
            self.accept_words("PARTITION", "BY")
            partition = self.expressions()
        if self.accept("ORDER"):
            self.expect("BY")
            order = self.order_items()
        frame = self._frame() if self.at("ROWS", "RANGE") else None
        self.expect(")")
        return ast.Over(partition, order, frame, based)

    def _frame(self) -> str:
        unit = self.advance().word
        if not self.accept("BETWEEN"):
            return f"{unit} {self._frame_bound()}"
        low = self._frame_bound()
        self.expect("AND")
        return f"{unit} BETWEEN {low} AND {self._frame_bound()}"

    def _frame_bound(self) -> str:
        if self.accept("CURRENT"):
            self.expect("ROW")
            return "CURRENT ROW"
        if self.accept("UNBOUNDED"):
            extent = "UNBOUNDED"
        elif self.tok.kind is Kind.INT:
            extent = self.advance().text
        else:
            raise self.error()
        return f"{extent} {self.expect('PRECEDING', 'FOLLOWING').word}"


def literal(token: Token) -> ast.Literal:
    """The literal of a string, number or binary token, typed as T-SQL types it."""
    value = token.value
    found: types.SqlType
    if token.kind is Kind.NSTRING:
        assert isinstance(value, str)
        units = len(value) if value.isascii() else len(value.encode("utf-16-le", "surrogatepass")) // 2
        found = types.nvarchar(max(1, units) if units <= 4000 else types.MAX)
    elif token.kind is Kind.STRING:
        assert isinstance(value, str)
        if not value.isascii():
            value = value.encode("cp1252", "replace").decode("cp1252")
        found = types.varchar(max(1, len(value)) if len(value) <= 8000 else types.MAX)
    elif token.kind is Kind.INT:
        assert isinstance(value, int)
        found = types.INT if value <= 0x7FFFFFFF else types.numeric(len(str(value)), 0)
        if value > 0x7FFFFFFF:
            value = Decimal(value)
    elif token.kind is Kind.DECIMAL:
        whole, _, fraction = token.text.partition(".")
        digits = len(whole.lstrip("0")) + len(fraction)
        found = types.numeric(max(1, digits), len(fraction))
    elif token.kind is Kind.FLOAT:
        found = types.FLOAT
    elif token.kind is Kind.MONEY:
        found = types.MONEY
    else:
        assert isinstance(value, bytes)
        found = types.varbinary(max(1, len(value)) if len(value) <= 8000 else types.MAX)
    return ast.Literal(value, found, pos=token.pos, line=token.line)


def text_literal(text: str, token: Token) -> ast.Literal:
    """A varchar literal that stands at ``token``."""
    return ast.Literal(text, types.varchar(max(1, len(text))), pos=token.pos, line=token.line)


def _json_call(name: ast.Name, arguments: list[ast.Expr]) -> tuple[ast.Name, list[ast.Expr]]:
    """JSON functions whose syntax says more than the values of their arguments: the kind of ISJSON is a bare
    word, and JSON_MODIFY takes the result of another JSON function as JSON."""
    upper = name.object.upper()
    if upper == "ISJSON" and len(arguments) == 2 and isinstance(arguments[1], ast.ColumnRef):
        word = arguments[1].parts[-1].upper()
        kind = ast.Literal(word, types.varchar(len(word)), pos=arguments[1].pos, line=arguments[1].line)
        arguments = [arguments[0], kind]
    if upper == "JSON_MODIFY" and len(arguments) == 3 and _is_json(arguments[2]):
        name = ast.replace(name, object="$JSON_MODIFY")
    return name, arguments


def _is_json(expr: ast.Expr) -> bool:
    if isinstance(expr, ast.Subquery):
        return expr.query.for_ is not None and expr.query.for_.kind == "JSON"
    return isinstance(expr, ast.FunctionCall) and expr.name.object.upper() in (
        "JSON_ARRAY",
        "JSON_OBJECT",
        "JSON_QUERY",
        "JSON_MODIFY",
        "$JSON_MODIFY",
    )
