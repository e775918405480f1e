"""SQLAlchemy's tests for dialects, collected from here by ``pytest dialect_suite.py`` in this folder."""

from sqlalchemy.testing.suite import *  # noqa: F403
