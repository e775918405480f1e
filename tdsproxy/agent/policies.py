"""What a policy says: which databases, when, where to, how, and for how long.

Policies come from ``[policy.NAME]`` tables of the configuration file, from ``tdsproxy agent schedule`` and
from ``msdb.managed_backup``'s procedures; all of them are one record, kept as JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DEFAULT_DAILY: Final = 7
DEFAULT_WEEKLY: Final = 4
DEFAULT_MONTHLY: Final = 12
DEFAULT_YEARLY: Final = 7


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept. ``daily`` to ``yearly`` are how many days, weeks, months and years keep their newest full
    backup (grandfather, father, son); 0 keeps none for that reason.

    ``age_days`` keeps everything younger; ``count`` the newest so many full backups with all that builds on
    them; ``size_bytes`` is the most that all of a database's backups may take, the oldest go first;
    ``window_days`` promises that each moment of so many past days can be restored. None: no such rule.
    What a kept backup or the window needs is kept as well. ``archive_after_days`` moves what is older into
    ``archive_class``, the storage class of an object store.
    """

    daily: int = DEFAULT_DAILY
    weekly: int = DEFAULT_WEEKLY
    monthly: int = DEFAULT_MONTHLY
    yearly: int = DEFAULT_YEARLY
    age_days: float | None = None
    count: int | None = None
    size_bytes: int | None = None
    window_days: float | None = None
    archive_after_days: float | None = None
    archive_class: str | None = None
