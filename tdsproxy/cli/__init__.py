"""The commands of the shell."""

from __future__ import annotations


def main() -> None:
    """Run the command line; the entry point of the package."""
    from tdsproxy.cli.entry import run

    run()
