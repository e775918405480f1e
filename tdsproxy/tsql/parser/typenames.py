"""Data types as they are written: ``nvarchar(max)``, ``decimal(12,2)``, ``dbo.MyType``."""

from __future__ import annotations

from typing import Final

from tdsproxy.tsql import ast, types
from tdsproxy.tsql.lexer import Kind, error
from tdsproxy.tsql.parser.cursor import Cursor

_SIMPLE: Final = {
    "bit": types.BIT,
    "tinyint": types.TINYINT,
    "smallint": types.SMALLINT,
    "int": types.INT,
    "integer": types.INT,
    "bigint": types.BIGINT,
    "money": types.MONEY,
    "smallmoney": types.SMALLMONEY,
    "real": types.REAL,
    "date": types.DATE,
    "datetime": types.DATETIME,
    "smalldatetime": types.SMALLDATETIME,
    "uniqueidentifier": types.UNIQUEIDENTIFIER,
    "sysname": types.SYSNAME,
    "text": types.TEXT,
    "ntext": types.NTEXT,
    "image": types.IMAGE,
    "xml": types.XML,
    "sql_variant": types.SQL_VARIANT,
    "timestamp": types.TIMESTAMP,
    "rowversion": types.TIMESTAMP,
    "cursor": types.SqlType("cursor"),
}
_SIZED: Final = {
    "char": 8000,
    "varchar": 8000,
    "nchar": 4000,
    "nvarchar": 4000,
    "binary": 8000,
    "varbinary": 8000,
}
_SYNONYMS: Final = {"character": "char", "dec": "decimal"}


class TypeNames(Cursor):
    """Reads type names."""

    def type_name(self, *, cast: bool = False, cursor: bool = False) -> ast.TypeName:
        """A type. Without a length the character and binary types have 30 in CAST and CONVERT, else 1.
        ``cursor``: of a variable, which may be one."""
        start = self.tok
        if self.at("NATIONAL"):
            self.advance()
            base = "n" + self._character_word()
        elif self.at("DOUBLE"):
            self.advance()
            self.expect("PRECISION")
            return ast.TypeName(ast.Name("float", pos=start.pos, line=start.line), types.FLOAT)
        elif cursor and self.at("CURSOR"):
            self.advance()
            return ast.TypeName(ast.Name("cursor", pos=start.pos, line=start.line), _SIMPLE["cursor"])
        else:
            name = self.object_name(2)
            if name.schema is not None and name.schema.lower() != "sys":
                self._unknown_length()
                return ast.TypeName(name, None)
            base = name.object.lower()
            base = _SYNONYMS.get(base, base)
        if base in ("char", "binary", "nchar") and self.accept("VARYING"):
            base = {"char": "varchar", "binary": "varbinary", "nchar": "nvarchar"}[base]
        written = ast.Name(base, pos=start.pos, line=start.line)
        if base in _SIMPLE:
            if base == "xml" and self.at("("):
                self.skip_parentheses()
            return ast.TypeName(written, _SIMPLE[base])
        if base in _SIZED:
            return ast.TypeName(written, self._sized(base, cast))
        if base in ("decimal", "numeric"):
            return ast.TypeName(written, self._decimal(base))
        if base == "float":
            bits = self._single(1, 53)
            return ast.TypeName(written, types.REAL if bits is not None and bits <= 24 else types.FLOAT)
        if base in types.SCALED_TIME_TYPES:
            scale = self._single(0, 7)
            return ast.TypeName(written, types.SqlType(base, scale=7 if scale is None else scale))
        self._unknown_length()
        return ast.TypeName(ast.Name(str(start.value), pos=start.pos, line=start.line), None)

    def _unknown_length(self) -> None:
        """A length behind a type that only the catalog knows, which has its own."""
        if not self.accept("("):
            return
        if not self.accept("MAX"):
            self._length()
            if self.accept(","):
                self._length()
        self.expect(")")

    def _character_word(self) -> str:
        if not self.at("CHAR", "CHARACTER", "TEXT"):
            raise self.error()
        return {"CHAR": "char", "CHARACTER": "char", "TEXT": "text"}[self.advance().word]

    def _sized(self, base: str, cast: bool) -> types.SqlType:
        if not self.accept("("):
            return types.SqlType(base, 30 if cast else 1)
        if self.accept("MAX"):
            if not base.startswith(("var", "nvar")):
                raise self.error(self.last)
            self.expect(")")
            return types.SqlType(base, types.MAX)
        token = self.tok
        length = self._length()
        self.expect(")")
        if length == 0:
            raise error(
                1001, f"Line {token.line}: Length or precision specification 0 is invalid.", token.line
            )
        if length > _SIZED[base]:
            raise error(
                131,
                f"The size ({length}) given to the type '{base}' exceeds the maximum allowed for any data "
                f"type ({_SIZED[base]}).",
                token.line,
                2,
            )
        return types.SqlType(base, length)

    def _decimal(self, base: str) -> types.SqlType:
        precision, scale = 18, 0
        if self.accept("("):
            token = self.tok
            precision = self._length()
            if self.accept(","):
                scale = self._length()
            self.expect(")")
            if precision == 0:
                raise error(
                    1001, f"Line {token.line}: Length or precision specification 0 is invalid.", token.line
                )
            if precision > 38:
                raise error(
                    2750,
                    f"Column or parameter #1: Specified column precision {precision} is greater than the "
                    "maximum precision of 38.",
                    token.line,
                    severity=16,
                )
            if scale > precision:
                raise error(
                    2751,
                    f"Column or parameter #1: Specified column scale {scale} is greater than the specified "
                    f"precision of {precision}.",
                    token.line,
                    severity=16,
                )
        return types.decimal(precision, scale, numeric=base == "numeric")

    def _single(self, low: int, high: int) -> int | None:
        if not self.accept("("):
            return None
        token = self.tok
        number = self._length()
        self.expect(")")
        if not low <= number <= high:
            raise error(1002, f"Line {token.line}: Specified scale {number} is invalid.", token.line)
        return number

    def _length(self) -> int:
        if self.tok.kind is not Kind.INT:
            raise self.error()
        return int(self.advance().text)
