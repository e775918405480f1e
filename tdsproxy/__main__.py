"""``python -m tdsproxy`` is the command ``tdsproxy``."""

from tdsproxy.cli import main

if __name__ == "__main__":
    main()
