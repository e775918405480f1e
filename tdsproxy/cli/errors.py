"""How a command fails before its user."""

from __future__ import annotations


class CommandError(Exception):
    """The command can't go on; the text is one sentence for the user."""
