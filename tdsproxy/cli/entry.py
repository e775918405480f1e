"""From the words of a command line to an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tdsproxy.cli import quick
from tdsproxy.cli.errors import CommandError
from tdsproxy.cli.options import OptionError, resolve


def run(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 when all went well, 1 for a failure, 2 for a wrong command line."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        line = quick.read(words)
        if line is not None:
            raise SystemExit(run_server(line.given, line.config, proxy=line.proxy))
        from tdsproxy.cli.app import app

        app(args=words, prog_name="tdsproxy")
    except OptionError as error:
        _fail(str(error), 2)
    except CommandError as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def run_server(given: dict[str, Any], config: Path | None, *, proxy: bool) -> int:
    """``serve`` (``proxy``) or ``server``, until it is told to stop; the exit status."""
    options = resolve(given, os.environ, config)
    if options.upstream is not None and not proxy:
        raise OptionError("'upstream' is an option of 'tdsproxy serve'.")
    from tdsproxy.cli.runtime import serve

    return serve(options, proxy=proxy)


def _fail(sentence: str, status: int) -> None:
    print(f"tdsproxy: {sentence}", file=sys.stderr)
    raise SystemExit(status)
