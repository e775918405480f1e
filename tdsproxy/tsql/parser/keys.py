"""BACKUP and RESTORE within a script, and the statements about master keys, certificates and credentials."""

from __future__ import annotations

from typing import Final

from tdsproxy.tsql import ast
from tdsproxy.tsql.lexer import Kind, error
from tdsproxy.tsql.parser.cursor import STRING_KINDS
from tdsproxy.tsql.parser.modules import Modules

_KEY_OBJECTS: Final[tuple[tuple[tuple[str, ...], bool], ...]] = (
    (("SERVICE", "MASTER", "KEY"), False),
    (("MASTER", "KEY"), False),
    (("CERTIFICATE",), True),
    (("SYMMETRIC", "KEY"), True),
    (("ASYMMETRIC", "KEY"), True),
    (("CREDENTIAL",), True),
    (("DATABASE", "SCOPED", "CREDENTIAL"), True),
    (("DATABASE", "ENCRYPTION", "KEY"), False),
    (("CRYPTOGRAPHIC", "PROVIDER"), True),
    (("ALL", "SYMMETRIC", "KEYS"), False),
)
"""The objects, and whether a name follows."""

_VERBS: Final = {
    "CREATE": frozenset(
        {"MASTER", "CERTIFICATE", "SYMMETRIC", "ASYMMETRIC", "CREDENTIAL", "DATABASE", "CRYPTOGRAPHIC"}
    ),
    "OPEN": frozenset({"MASTER", "SYMMETRIC"}),
    "CLOSE": frozenset({"MASTER", "SYMMETRIC", "ALL"}),
    "BACKUP": frozenset({"MASTER", "SERVICE", "SYMMETRIC", "CERTIFICATE"}),
    "RESTORE": frozenset({"MASTER", "SERVICE", "SYMMETRIC"}),
}
_VERBS["DROP"] = _VERBS["CREATE"]
_VERBS["ALTER"] = _VERBS["CREATE"] | {"SERVICE"}
"""The objects that a verb knows, by their first words."""

_CLAUSES: Final = frozenset(
    {
        "WITH",
        "ENCRYPTION",
        "DECRYPTION",
        "TO",
        "FROM",
        "AUTHORIZATION",
        "FORCE",
        "REGENERATE",
        "ADD",
        "REMOVE",
        "FOR",
    }
)
"""The words that begin a clause; DROP does so before ENCRYPTION."""


class Keys(Modules):
    """Reads native statements."""

    def native(self) -> ast.Statement:
        """BACKUP or RESTORE, of a key or of a database."""
        if self._key_object(1) is not None:
            return self.key_statement(self.advance().word)
        if self.at_words("BACKUP", "LOG") and self.peek(3).word == "WITH":
            option = self.peek(4)
            if option.word in ("TRUNCATE_ONLY", "NO_LOG"):
                raise error(155, f"'{option.text}' is not a recognized BACKUP option.", option.line)
        # Only a batch that holds such a statement pays for the grammar.
        from tdsproxy.tsql.nativegrammar import read_native

        statement, index = read_native(self.tokens, self.index)
        self.index = index
        self.tok = self.tokens[index]
        return statement

    def at_key_object(self) -> bool:
        """Whether MASTER KEY, CERTIFICATE, CREDENTIAL and the like stand here."""
        return self._key_object(0) is not None

    def _key_object(self, distance: int) -> tuple[tuple[str, ...], bool] | None:
        for words, named in _KEY_OBJECTS:
            if all(self.peek(distance + i).word == word for i, word in enumerate(words)):
                return words, named
        return None

    def key_statement(self, verb: str) -> ast.Statement:
        """Behind its verb: the object, its name, and the clauses as (words, operand) pairs."""
        found = self._key_object(0)
        if found is None:
            raise self.error()
        words, named = found
        if words[0] not in _VERBS[verb]:
            raise self.error()
        self.accept_words(*words)
        name = self.name() if named else None
        clauses: list[tuple[str, ast.Operand]] = []
        while self.tok.word in _CLAUSES or self.at_words("DROP", "ENCRYPTION"):
            clauses.extend(self._clause())
        return ast.KeyStatement(f"{verb} {' '.join(words)}", name, tuple(clauses))

    def _clause(self) -> list[tuple[str, ast.Operand]]:
        if self.accept("WITH"):
            return self._items("")
        if self.at("ADD", "DROP"):
            verb = self.advance().word
            return [(f"{verb} {words}", operand) for words, operand in self._item("")]
        if self.at("FROM", "TO", "FOR"):
            return self._place_of_key()
        return self._item("")

    def _place_of_key(self) -> list[tuple[str, ast.Operand]]:
        """``FROM FILE = 'f'``, ``TO URL = 'u'``, ``FROM BINARY = 0x..``, ``FROM ASSEMBLY a``."""
        words = [self.advance().word]
        while self.tok.kind in (Kind.IDENT, Kind.KEYWORD) and self.at(
            "FILE", "URL", "EXECUTABLE", "BINARY", "ASSEMBLY", "PROVIDER", "CRYPTOGRAPHIC"
        ):
            words.append(self.advance().word)
        if self.accept("="):
            return [(" ".join(words), self._operand())]
        return [(" ".join(words), self._name_operand())]

    def _items(self, prefix: str) -> list[tuple[str, ast.Operand]]:
        found = self._item(prefix)
        while self.accept(","):
            found.extend(self._item(prefix))
        return found

    def _item(self, prefix: str) -> list[tuple[str, ast.Operand]]:
        token = self.tok
        word = self.word()
        if word in ("ENCRYPTION", "DECRYPTION"):
            return [self._protection(prefix + word)]
        if word == "REMOVE":
            self.expect("PRIVATE")
            self.expect("KEY")
            return [("REMOVE PRIVATE KEY", ast.Operand())]
        if word == "PRIVATE":
            self.expect("KEY")
            self.expect("(")
            found = self._items("PRIVATE KEY ")
            self.expect(")")
            return found
        if word == "AUTHORIZATION":
            return [(word, self._name_operand())]
        words = [word]
        while self.tok.kind in (Kind.IDENT, Kind.KEYWORD) and self.peek().word == "=":
            words.append(self.word())
        if self.at_words("FOR", "BEGIN_DIALOG", "=") and word == "ACTIVE":
            self.accept_words("FOR", "BEGIN_DIALOG")
            words.append("FOR BEGIN_DIALOG")
        if self.accept("="):
            return [(prefix + " ".join(words), self._operand())]
        if word not in ("FORCE", "REGENERATE"):
            raise self.error(token)
        return [(prefix + word, ast.Operand())]

    def _protection(self, words: str) -> tuple[str, ast.Operand]:
        """``ENCRYPTION BY PASSWORD = 'p'``, ``BY SERVICE MASTER KEY``, ``BY [SERVER] CERTIFICATE c``."""
        self.expect("BY")
        if self.accept("PASSWORD"):
            self.expect("=")
            return f"{words} BY PASSWORD", self._operand()
        if self.accept_words("SERVICE", "MASTER", "KEY"):
            return f"{words} BY SERVICE MASTER KEY", ast.Operand()
        if self.accept_words("MASTER", "KEY"):
            return f"{words} BY MASTER KEY", ast.Operand()
        server = "SERVER " if self.accept("SERVER") else ""
        kind = self.expect("CERTIFICATE", "ASYMMETRIC", "SYMMETRIC").word
        if kind != "CERTIFICATE":
            self.expect("KEY")
            kind += " KEY"
        return f"{words} BY {server}{kind}", self._name_operand()

    def _name_operand(self) -> ast.Operand:
        token = self.tok
        return ast.Operand(self.name(), identifier=True, pos=token.pos, line=token.line)

    def _operand(self) -> ast.Operand:
        token = self.tok
        if token.kind in STRING_KINDS:
            self.advance()
            return ast.Operand(str(token.value), pos=token.pos, line=token.line)
        if token.kind is Kind.INT:
            return ast.Operand(self.integer(), pos=token.pos, line=token.line)
        if token.kind is Kind.BINARY:
            self.advance()
            return ast.Operand(token.text, pos=token.pos, line=token.line)
        if self.at("ON", "OFF"):
            return ast.Operand(self.advance().word, identifier=True, pos=token.pos, line=token.line)
        return self._name_operand()
