"""BACKUP and RESTORE within a script, and the statements about master keys, certificates and credentials."""

from __future__ import annotations

from typing import Final

from tdsproxy.tsql import ast
from tdsproxy.tsql.parser.modules import Modules

_KEY_OBJECTS: Final = (
    ("SERVICE", "MASTER", "KEY"),
    ("MASTER", "KEY"),
    ("CERTIFICATE",),
    ("SYMMETRIC", "KEY"),
    ("ASYMMETRIC", "KEY"),
    ("CREDENTIAL",),
    ("DATABASE", "SCOPED", "CREDENTIAL"),
    ("DATABASE", "ENCRYPTION", "KEY"),
    ("CRYPTOGRAPHIC", "PROVIDER"),
)


class Keys(Modules):
    """Reads native statements."""

    def at_key_object(self) -> bool:
        """Whether MASTER KEY, CERTIFICATE, CREDENTIAL and the like stand here."""
        return any(self.at_words(*words) for words in _KEY_OBJECTS)

    def key_statement(self, verb: str) -> ast.Statement:
        return self.accepted(verb)

    def native(self) -> ast.Statement:
        return self.accepted(self.advance().word)
