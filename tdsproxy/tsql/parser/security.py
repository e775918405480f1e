"""Logins, users, roles, permissions."""

from __future__ import annotations

from tdsproxy.tsql import ast
from tdsproxy.tsql.lexer import Kind
from tdsproxy.tsql.parser.cursor import STRING_KINDS
from tdsproxy.tsql.parser.databases import Databases


class Security(Databases):
    """Reads statements about principals."""

    def login(self, *, alter: bool) -> ast.Statement:
        """Behind ``CREATE LOGIN`` or ``ALTER LOGIN``."""
        name = self.name()
        if alter and self.at("ENABLE", "DISABLE"):
            return ast.CreateLogin(name, alter=True, disable=self.advance().word == "DISABLE")
        if alter and self.at("ADD", "DROP"):
            self.advance()
            self.expect("CREDENTIAL")
            return ast.CreateLogin(name, alter=True, options=(("CREDENTIAL", self.name()),))
        options: list[tuple[str, str]] = []
        if not alter and self.accept("FROM"):
            kind = self.expect("WINDOWS", "CERTIFICATE", "ASYMMETRIC", "EXTERNAL").word
            options.append(("FROM", kind))
            if kind == "EXTERNAL":
                self.expect("PROVIDER")
            elif kind != "WINDOWS":
                self.accept("KEY")
                self.name()
            if not self.at("WITH"):
                return ast.CreateLogin(name, options=tuple(options))
        self.expect("WITH")
        password = old_password = None
        hashed = False
        while True:
            key = self.word()
            if key == "NO":
                self.expect("CREDENTIAL")
                options.append(("NO CREDENTIAL", ""))
            else:
                self.expect("=")
                value = self._value()
                if key == "PASSWORD":
                    password = value
                    hashed = self.accept("HASHED")
                    while self.accept("MUST_CHANGE", "UNLOCK"):
                        options.append((self.last.word, "ON"))
                    if self.at("OLD_PASSWORD"):
                        continue
                elif key == "OLD_PASSWORD":
                    old_password = value
                else:
                    options.append((key, value))
            if not self.accept(","):
                break
        return ast.CreateLogin(name, password, tuple(options), alter, old_password, None, hashed)

    def _value(self) -> str:
        """An option's value as text: a string's content, a name, a word, ``0x`` as written."""
        if self.tok.kind in STRING_KINDS or self.tok.kind is Kind.QUOTED:
            return str(self.advance().value)
        if self.tok.kind in (Kind.IDENT, Kind.KEYWORD, Kind.BINARY, Kind.INT):
            return self.advance().text
        raise self.error()

    def user(self, *, alter: bool) -> ast.Statement:
        """Behind ``CREATE USER`` or ``ALTER USER``."""
        name = self.name()
        login = schema = None
        without_login = False
        if alter and not self.at("WITH"):
            raise self.error()
        if self.accept("FOR", "FROM"):
            if self.accept("LOGIN"):
                login = self.name()
            elif self.accept("EXTERNAL"):
                self.expect("PROVIDER")
            else:
                self.expect("CERTIFICATE", "ASYMMETRIC")
                self.accept("KEY")
                self.name()
        elif self.accept("WITHOUT"):
            self.expect("LOGIN")
            without_login = True
        if self.at("WITH") and self.peek(2).word == "=":
            self.advance()
            while True:
                key = self.word()
                self.expect("=")
                value = self._value()
                if key == "DEFAULT_SCHEMA":
                    schema = value
                elif key == "LOGIN":
                    login = value
                if not self.accept(","):
                    break
        return ast.CreateUser(name, login, schema, alter, without_login)

    def role(self, action: str, *, server: bool) -> ast.Statement:
        """Behind ``CREATE | ALTER | DROP [SERVER] ROLE``."""
        if action == "DROP":
            self.if_exists()
        name = self.name()
        if action == "CREATE" and self.accept("AUTHORIZATION"):
            self.name()
        if action != "ALTER":
            return ast.AlterRole(name, action, server=server)
        if self.at("ADD", "DROP"):
            verb = self.advance().word
            self.expect("MEMBER")
            member = str(self.advance().value) if self.tok.kind in STRING_KINDS else self.name()
            return ast.AlterRole(name, f"{verb} MEMBER", member, server)
        self.expect("WITH")
        self.expect("NAME")
        self.expect("=")
        return ast.AlterRole(name, "RENAME", self.name(), server)

    def permission(self) -> ast.Statement:
        """GRANT, DENY and REVOKE."""
        action = self.expect("GRANT", "DENY", "REVOKE").word
        if action == "REVOKE":
            self.accept_words("GRANT", "OPTION", "FOR")
        permissions: list[str] = []
        while True:
            words = [self.word()]
            while self.tok.kind in (Kind.IDENT, Kind.KEYWORD) and not self.at("ON", "TO", "FROM"):
                words.append(self.word())
            if self.at("("):
                self.skip_parentheses()
            permissions.append(" ".join(words))
            if not self.accept(","):
                break
        on = None
        if self.accept("ON"):
            on = self._securable()
        self.expect(*(("TO", "FROM") if action == "REVOKE" else ("TO",)))
        principals = [self._principal()]
        while self.accept(","):
            principals.append(self._principal())
        if action == "GRANT" and self.accept_words("WITH", "GRANT"):
            self.expect("OPTION")
        if action != "GRANT":
            self.accept("CASCADE")
        if self.accept("AS"):
            self.name()
        return ast.Permission(action, tuple(permissions), on, tuple(principals))

    def _securable(self, most: int = 4) -> ast.Name:
        """``[CLASS::]name`` of at most ``most`` parts; the class is dropped."""
        distance = 0
        while self.peek(distance).kind in (Kind.IDENT, Kind.KEYWORD) and distance < 4:
            distance += 1
            if self.peek(distance).word == "::":
                for _ in range(distance + 1):
                    self.advance()
                break
        name = self.object_name(most)
        if self.at("("):
            self.skip_parentheses()
        return name

    def _principal(self) -> str:
        if self.at("PUBLIC"):
            return self.advance().text
        return self.name()
