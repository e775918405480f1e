"""TDS versions and what changes on the wire with them (MS-TDS 2.2.6.4 and 2.2.7)."""

from __future__ import annotations

from enum import IntEnum


class TdsVersion(IntEnum):
    """TDSVersion as LOGIN7 carries it (little-endian there, big-endian in LOGINACK). 8.0 is 7.4 inside
    TLS from the first byte and is numerically the smallest: ask the functions below, never compare."""

    V7_0 = 0x70000000
    V7_1 = 0x71000001
    V7_2 = 0x72090002
    V7_3A = 0x730A0003
    V7_3B = 0x730B0003
    V7_4 = 0x74000004
    V8_0 = 0x08000000


def is_wide(version: int) -> bool:
    """7.2 and later: ALL_HEADERS, 4-byte UserType, 8-byte counts, 4-byte line numbers, PLP types."""
    return version == TdsVersion.V8_0 or version >= 0x72000000


def has_collations(version: int) -> bool:
    """7.1 and later: character types carry five collation bytes."""
    return version == TdsVersion.V8_0 or version >= 0x71000000


def has_date_types(version: int) -> bool:
    """7.3 and later: date, time, datetime2, datetimeoffset, table-valued parameters."""
    return version == TdsVersion.V8_0 or version >= 0x73000000


def has_null_bitmap(version: int) -> bool:
    """7.3B and later: the NBCROW token."""
    return version == TdsVersion.V8_0 or version >= TdsVersion.V7_3B


def has_feature_ext(version: int) -> bool:
    """7.4 and later: FeatureExt in LOGIN7, SESSIONSTATE, FEDAUTHINFO."""
    return version == TdsVersion.V8_0 or version >= 0x74000000


def negotiate_version(client: int) -> int:
    """The version to answer in LOGINACK: what the client asked for, lowered to one that clients know."""
    if client == TdsVersion.V8_0:
        return client
    for known in (TdsVersion.V7_4, TdsVersion.V7_3B, TdsVersion.V7_3A, TdsVersion.V7_2, TdsVersion.V7_1):
        if client >= known:
            return known
    return TdsVersion.V7_1 if client >= 0x71000000 else TdsVersion.V7_0
