"""All functions of this package in one table."""

from __future__ import annotations

from typing import Final

from tdsproxy.tsql.functions import conditional, dates, formatting, json_functions, maths, strings, system
from tdsproxy.tsql.functions.registry import Functions

LIBRARY: Final = Functions().with_extras(
    (
        *conditional.FUNCTIONS,
        *dates.FUNCTIONS,
        *formatting.FUNCTIONS,
        *json_functions.FUNCTIONS,
        *maths.FUNCTIONS,
        *strings.FUNCTIONS,
        *system.FUNCTIONS,
    )
)
