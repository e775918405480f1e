"""CREATE, ALTER and DROP DATABASE."""

from __future__ import annotations

from tdsproxy.tsql import ast
from tdsproxy.tsql.database_options import set_options
from tdsproxy.tsql.lexer import Kind, Token
from tdsproxy.tsql.parser.cursor import STRING_KINDS
from tdsproxy.tsql.parser.tables import Tables


class Databases(Tables):
    """Reads statements about whole databases."""

    def create_database(self) -> ast.Statement:
        """Behind ``CREATE DATABASE``."""
        name = self.name()
        files: list[tuple[str, str]] = []
        log_files: list[tuple[str, str]] = []
        collation = None
        for_attach = False
        if self.accept("CONTAINMENT"):
            self.expect("=")
            self.word()
        if self.accept("ON"):
            if not self.at("LOG"):
                self.accept("PRIMARY")
                files.extend(self._file_specs())
            if self.accept_words("AS", "SNAPSHOT"):
                self.expect("OF")
                return ast.CreateDatabase(name, tuple(files), snapshot_of=self.name())
        if self.accept_words("LOG", "ON"):
            log_files.extend(self._file_specs())
        if self.accept_words("AS", "COPY"):
            self.expect("OF")
            self.object_name()
        while True:
            if self.accept("COLLATE"):
                collation = self.collation_name()
            elif self.at("FOR") and self.peek().word in ("ATTACH", "ATTACH_REBUILD_LOG"):
                self.advance()
                self.advance()
                for_attach = True
            elif self.at("WITH") and self._at_database_option():
                self.advance()
                self._create_options()
            else:
                break
        return ast.CreateDatabase(name, tuple(files), tuple(log_files), collation, for_attach=for_attach)

    def _at_database_option(self) -> bool:
        """``WITH LEDGER = OFF``, not the common table expression of a next statement."""
        return self.peek(2).word in ("=", "ON", "OFF", ",") or self.peek().word in set_options()

    def _create_options(self) -> None:
        while True:
            self.word()
            if self.accept("="):
                self.advance()
            else:
                self.accept("ON", "OFF")
            if self.at("("):
                self.skip_parentheses()
            if not self.accept(","):
                return

    def _file_specs(self) -> list[tuple[str, str]]:
        """``(NAME = l, FILENAME = 'p', ...), FILEGROUP g (...)``: (logical, physical) pairs."""
        found: list[tuple[str, str]] = []
        while True:
            if self.accept("FILEGROUP"):
                self.name()
                if self.accept_words("CONTAINS", "FILESTREAM") or self.accept_words(
                    "CONTAINS", "MEMORY_OPTIMIZED_DATA"
                ):
                    pass
                self.accept("DEFAULT")
            found.append(self.file_spec())
            if not self.accept(","):
                return found

    def file_spec(self) -> tuple[str, str]:
        """One parenthesised file specification as (logical name, physical name)."""
        logical, physical, _ = self._file_changes()
        return logical, physical

    def _file_changes(self) -> tuple[str, str, str]:
        """As ``file_spec``, with the new logical name of MODIFY FILE."""
        self.expect("(")
        logical = physical = renamed = ""
        while True:
            key = self.word()
            if key != "OFFLINE":
                self.expect("=")
            if key in ("NAME", "NEWNAME"):
                text = str(self.advance().value) if self.tok.kind in STRING_KINDS else self.name()
                logical = text if key == "NAME" else logical
                renamed = text if key == "NEWNAME" else renamed
            elif key == "FILENAME":
                physical = self.string()
            elif key in ("SIZE", "MAXSIZE", "FILEGROWTH"):
                self._size()
            elif key != "OFFLINE":
                raise self.error()
            if not self.accept(","):
                break
        self.expect(")")
        return logical, physical, renamed

    def _size(self) -> None:
        """``10``, ``10MB``, ``10 %``, ``UNLIMITED``."""
        if self.accept("UNLIMITED"):
            return
        if self.tok.kind not in (Kind.INT, Kind.DECIMAL, Kind.FLOAT):
            raise self.error()
        self.advance()
        self.accept("KB", "MB", "GB", "TB", "%", "PERCENT")

    def alter_database(self) -> ast.Statement:
        """Behind ``ALTER DATABASE``."""
        name: str | None
        if self.accept("CURRENT"):
            name = None
        elif self.at_words("SCOPED", "CONFIGURATION"):
            self.accept_words("SCOPED", "CONFIGURATION")
            return self._scoped_configuration()
        elif self.at_words("AUDIT", "SPECIFICATION"):
            return self.accepted("ALTER DATABASE " + self.tok.word)
        else:
            name = self.name()
        if self.accept("SET"):
            options = [self._set_option()]
            while self.accept(","):
                options.append(self._set_option())
            return ast.AlterDatabase(name, "SET", tuple(options), self._termination())
        if self.accept("MODIFY"):
            if self.accept("NAME"):
                self.expect("=")
                return ast.AlterDatabase(name, "MODIFY NAME", new_name=self.name())
            if self.accept("FILE"):
                logical, physical, renamed = self._file_changes()
                return ast.AlterDatabase(
                    name, "MODIFY FILE", ((logical, physical),), new_name=renamed or None
                )
            self.expect("FILEGROUP")
            group = self.name()
            if self.accept("NAME"):
                self.expect("=")
                self.name()
            else:
                self.word()
            return ast.AlterDatabase(name, "MODIFY FILEGROUP", ((group, ""),))
        if self.accept("ADD"):
            return self._add_to_database(name)
        if self.accept("REMOVE"):
            kind = self.expect("FILE", "FILEGROUP").word
            return ast.AlterDatabase(name, f"REMOVE {kind}", ((self.name(), ""),))
        self.expect("COLLATE")
        return ast.AlterDatabase(name, "COLLATE", (("COLLATE", self.collation_name()),))

    def _add_to_database(self, name: str | None) -> ast.Statement:
        if self.accept("FILEGROUP"):
            group = self.name()
            if self.accept("CONTAINS"):
                self.word()
            return ast.AlterDatabase(name, "ADD FILEGROUP", ((group, ""),))
        action = "ADD LOG FILE" if self.accept("LOG") else "ADD FILE"
        self.expect("FILE")
        files = self._file_specs()
        if self.accept_words("TO", "FILEGROUP"):
            self.name()
        return ast.AlterDatabase(name, action, tuple(files))

    def _set_option(self) -> tuple[str, str]:
        """One option and its argument, in upper case. Raises SyntaxError_ 102 for words that are none."""
        known = set_options().get(self.tok.word)
        if known is None:
            raise self.error()
        key = self.word()
        start = self.tok
        index = self.index
        if known.values == ():
            return key, ""
        if self.accept("="):
            start = self.tok
            self.accept("-", "+")
            if not self.at("("):
                self.advance()
                self.accept("SECONDS", "MINUTES", "HOURS", "DAYS", "KB", "MB", "GB")
        elif not self.at_label and (self.tok.kind is Kind.IDENT or self.at("ON", "OFF", "FULL", "SET")):
            self.advance()
        if known.values is not None and start.word not in known.values and not self._may_begin(key, start):
            raise self.error(start)
        if self.at("("):
            self.skip_parentheses()
        if self.index == index:
            return key, ""
        return key, self.source(start).upper()

    def _may_begin(self, key: str, token: Token) -> bool:
        """QUERY_STORE alone takes CLEAR, and its settings without ON."""
        return key == "QUERY_STORE" and (token.word in ("CLEAR", "(") or self.at("("))

    def _termination(self) -> str | None:
        if not self.at("WITH"):
            return None
        if self.peek().word == "NO_WAIT":
            self.advance()
            return self.advance().word
        if self.peek().word != "ROLLBACK":
            return None
        self.advance()
        self.advance()
        if self.accept("IMMEDIATE"):
            return "ROLLBACK IMMEDIATE"
        self.expect("AFTER")
        seconds = self.integer()
        self.accept("SECONDS")
        return f"ROLLBACK AFTER {seconds}"

    def _scoped_configuration(self) -> ast.Statement:
        if self.accept("FOR"):
            self.expect("SECONDARY")
        if self.accept("CLEAR"):
            key = "CLEAR " + self.word()
            if self.tok.kind is Kind.BINARY:
                self.advance()
            return ast.AlterDatabase(None, "SCOPED CONFIGURATION", ((key, ""),))
        self.expect("SET")
        key = self.word()
        self.accept("=")
        self.accept("-")
        value = self.advance().text.upper()
        return ast.AlterDatabase(None, "SCOPED CONFIGURATION", ((key, value),))

    def drop_database(self) -> ast.Statement:
        """Behind ``DROP DATABASE``."""
        if self.at_words("AUDIT", "SPECIFICATION"):
            return self.accepted("DROP DATABASE " + self.tok.word)
        if_exists = self.if_exists()
        return ast.DropDatabase(self.names(), if_exists)
