"""``python -m tdsproxy.keeper --store DIR``: owns a store until it is told to stop or nobody needs it."""

from __future__ import annotations

import sys

from tdsproxy.keeper.process import main

if __name__ == "__main__":
    sys.exit(main())
