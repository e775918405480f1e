"""All functions of this package in one table."""

from __future__ import annotations

from typing import Final

from tdsproxy.tsql.functions import (
    bits,
    conditional,
    date_buckets,
    dates,
    formatting,
    json_functions,
    maths,
    parsing,
    strings,
    system,
    zones,
)
from tdsproxy.tsql.functions.registry import Functions

LIBRARY: Final = Functions().with_extras(
    (
        *bits.FUNCTIONS,
        *conditional.FUNCTIONS,
        *date_buckets.FUNCTIONS,
        *dates.FUNCTIONS,
        *formatting.FUNCTIONS,
        *json_functions.FUNCTIONS,
        *maths.FUNCTIONS,
        *parsing.FUNCTIONS,
        *strings.FUNCTIONS,
        *system.FUNCTIONS,
        *zones.FUNCTIONS,
    )
)
