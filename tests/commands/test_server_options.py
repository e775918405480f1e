"""What sp_configure's options do to backups."""

from __future__ import annotations

import datetime as dt

import pytest

from tdsproxy.catalog.configurations import (
    BACKUP_CHECKSUM_DEFAULT,
    BACKUP_COMPRESSION_ALGORITHM,
    BACKUP_COMPRESSION_DEFAULT,
    MEDIA_RETENTION,
    find,
)
from tdsproxy.tsql.values import DateTime
from tests.commands.support import Workshop, numbers, table


@pytest.fixture
def d(shop: Workshop) -> Workshop:
    assert numbers(shop.run("CREATE DATABASE d")) == []
    return shop


def configure(shop: Workshop, name: str, value: int) -> None:
    (item,) = find(name)
    shop.catalog.configurations.configure(item, value)


def header(shop: Workshop, options: str = "") -> dict[str, object]:
    assert 3014 in numbers(shop.run(f"BACKUP DATABASE d TO DISK = 'd.bak' WITH FORMAT{options}"))
    (row,) = table(shop.run("RESTORE HEADERONLY FROM DISK = 'd.bak'"))
    return dict(row)


def test_defaults_hold_after_reconfigure(d: Workshop) -> None:
    for name in (BACKUP_COMPRESSION_DEFAULT, BACKUP_CHECKSUM_DEFAULT):
        configure(d, name, 1)
    before = header(d)
    assert (before["Compressed"], before["HasBackupChecksums"]) == (0, 0)
    d.catalog.configurations.reconfigure()
    after = header(d)
    assert (after["Compressed"], after["HasBackupChecksums"]) == (1, 1)
    written = header(d, ", NO_COMPRESSION, NO_CHECKSUM")
    assert (written["Compressed"], written["HasBackupChecksums"]) == (0, 0)


@pytest.mark.parametrize("number", [0, 1, 3])
def test_every_algorithm_that_can_be_configured_is_zstd(d: Workshop, number: int) -> None:
    configure(d, BACKUP_COMPRESSION_ALGORITHM, number)
    d.catalog.configurations.reconfigure()
    assert header(d, ", COMPRESSION")["CompressionAlgorithm"] == "ZSTD"


def test_media_retention(d: Workshop) -> None:
    configure(d, MEDIA_RETENTION, 7)
    d.catalog.configurations.reconfigure()
    kept = header(d)["ExpirationDate"]
    assert isinstance(kept, DateTime)
    assert dt.timedelta(6) < kept.to_python() - dt.datetime.now() <= dt.timedelta(7)
    assert 4030 in numbers(d.run("BACKUP DATABASE d TO DISK = 'd.bak' WITH INIT"))
    assert header(d, ", RETAINDAYS = 0")["ExpirationDate"] is None
