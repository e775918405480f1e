"""BACKUP WITH ENCRYPTION: what can be read of such a set, and by whom."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tdsproxy.catalog import certificates
from tdsproxy.store import key_wrapping
from tests.commands.support import Workshop, numbers, table

MARKER = "the marker of this test"
MASTER_KEY = "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'Pass-word1'"
CERTIFICATE = "CREATE CERTIFICATE c WITH SUBJECT = 'Backups'"
EXPORT = (
    "BACKUP CERTIFICATE c TO FILE = '/tmp/c.cer'"
    " WITH PRIVATE KEY (FILE = '/tmp/c.pvk', ENCRYPTION BY PASSWORD = 'Pass-word2')"
)
IMPORT = (
    "CREATE CERTIFICATE c FROM FILE = '/tmp/c.cer'"
    " WITH PRIVATE KEY (FILE = '/tmp/c.pvk', DECRYPTION BY PASSWORD = 'Pass-word2')"
)
ENCRYPTED = "BACKUP {} shop TO DISK = '/tmp/{}' WITH {} ENCRYPTION (ALGORITHM = {}, SERVER {})"
FULL = ENCRYPTED.format("DATABASE", "shop.bak", "", "AES_256", "CERTIFICATE = c")
RESTORE = "RESTORE DATABASE shop FROM DISK = '/tmp/shop.bak'"


@pytest.fixture(scope="module")
def pool() -> list[rsa.RSAPrivateKey]:
    return [certificates.new_private_key() for _ in range(2)]


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch, pool: list[rsa.RSAPrivateKey]) -> None:
    """What is made slow on purpose would be most of the time of these tests."""
    monkeypatch.setattr(key_wrapping, "_COST", 10)
    keys = itertools.cycle(pool)
    monkeypatch.setattr(certificates, "new_private_key", lambda bits=2048: next(keys))


@pytest.fixture
def keyed(logged: Workshop) -> Workshop:
    """A store with a certificate and a database in FULL that holds the marker."""
    for text in (MASTER_KEY, CERTIFICATE, EXPORT, "CREATE DATABASE shop"):
        assert numbers(logged.run(text)) == []
    logged.fill(
        "shop", f"CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, '{MARKER}')"
    )
    logged.run("ALTER DATABASE shop SET RECOVERY FULL")
    return logged


@pytest.fixture
def second(tmp_path: Path) -> Iterator[Workshop]:
    """Another store that sees the same media, and has a master key of its own."""
    directory = tmp_path / "second"
    directory.mkdir()
    workshop = Workshop(directory, logged=True)
    workshop.media.rmdir()
    workshop.media.symlink_to(tmp_path / "media")
    workshop.run(MASTER_KEY)
    yield workshop
    workshop.close()


def in_clear(directory: Path) -> list[str]:
    """The files that show the marker."""
    found = []
    for path in directory.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            if MARKER.encode() in data or MARKER.encode("utf-16-le") in data:
                found.append(path.name)
    return found


def test_a_chain_of_encrypted_sets_is_restored_where_the_keys_are(keyed: Workshop, second: Workshop) -> None:
    key = "CREATE ASYMMETRIC KEY k WITH ALGORITHM = RSA_2048"
    assert numbers(keyed.run(key)) == []
    assert numbers(keyed.run(FULL)) == [4035, 4035, 3014]
    keyed.fill("shop", f"INSERT INTO t VALUES (2, '{MARKER}')")
    different = ENCRYPTED.format(
        "DATABASE", "d.bak", "DIFFERENTIAL, COMPRESSION,", "AES_192", "CERTIFICATE = c"
    )
    assert numbers(keyed.run(different))[-1] == 3014
    keyed.fill("shop", f"INSERT INTO t VALUES (3, '{MARKER}')")
    log = ENCRYPTED.format("LOG", "l.trn", "", "AES_128", "ASYMMETRIC KEY = k")
    assert numbers(keyed.run(log))[-1] == 3014
    assert in_clear(keyed.media) == []
    header = "RESTORE HEADERONLY FROM DISK = '/tmp/{}'"
    found = [table(keyed.run(header.format(name)))[0] for name in ("shop.bak", "d.bak", "l.trn")]
    assert [row["KeyAlgorithm"] for row in found] == ["aes_256", "aes_192", "aes_128"]
    assert [row["EncryptorType"] for row in found] == ["CERTIFICATE", "CERTIFICATE", "ASYMMETRIC_KEY"]
    certificate = keyed.catalog.keys.certificate("c")
    assert certificate is not None
    assert found[0]["EncryptorThumbprint"] == certificate.thumbprint
    kept = keyed.history("SELECT key_algorithm, encryptor_type FROM backupset ORDER BY backup_set_id")
    assert kept == [("aes_256", "CERTIFICATE"), ("aes_192", "CERTIFICATE"), ("aes_128", "ASYMMETRIC_KEY")]
    keyed.run("DROP DATABASE shop")
    for text in (
        f"{RESTORE} WITH NORECOVERY",
        "RESTORE DATABASE shop FROM DISK = '/tmp/d.bak' WITH NORECOVERY",
        "RESTORE LOG shop FROM DISK = '/tmp/l.trn' WITH RECOVERY",
    ):
        assert numbers(keyed.run(text))[-1] == 3014
    assert keyed.rows("shop", "SELECT id, v FROM t") == [[1, MARKER], [2, MARKER], [3, MARKER]]
    # The other store has only the certificate: the log is under the asymmetric key.
    assert numbers(second.run(IMPORT)) == []
    assert numbers(second.run(f"{RESTORE} WITH NORECOVERY"))[-1] == 3014
    assert numbers(second.run("RESTORE DATABASE shop FROM DISK = '/tmp/d.bak' WITH NORECOVERY"))[-1] == 3014
    assert numbers(second.run("RESTORE LOG shop FROM DISK = '/tmp/l.trn'")) == [33111, 3013]
    assert numbers(second.run("RESTORE DATABASE shop WITH RECOVERY"))[-1] == 3014
    assert second.rows("shop", "SELECT id, v FROM t") == [[1, MARKER], [2, MARKER]]


def test_without_the_certificate_nothing_changes(keyed: Workshop, second: Workshop) -> None:
    assert numbers(keyed.run(FULL))[-1] == 3014
    second.run("CREATE DATABASE shop")
    second.fill("shop", "CREATE TABLE own (id INTEGER); INSERT INTO own VALUES (7)")
    for text in (
        f"{RESTORE} WITH REPLACE",
        RESTORE.replace("shop ", "other ", 1),
        "RESTORE VERIFYONLY FROM DISK = '/tmp/shop.bak'",
        "RESTORE FILELISTONLY FROM DISK = '/tmp/shop.bak'",
    ):
        assert numbers(second.run(text)) == [33111, 3013], text
    assert second.rows("shop", "SELECT id FROM own") == [[7]]
    assert second.catalog.databases.find("other") is None
    assert sorted(path.name for path in second.store.glob("*.db")) == [
        "master.db",
        "model.db",
        "msdb.db",
        "shop.db",
    ]
    assert second.history("SELECT count(*) FROM restorehistory") == [(0,)]
    # What names the missing certificate can be read without it.
    (row,) = table(second.run("RESTORE HEADERONLY FROM DISK = '/tmp/shop.bak'"))
    assert row["KeyAlgorithm"] == "aes_256"
    assert numbers(second.run(IMPORT)) == []
    assert numbers(second.run(f"{RESTORE} WITH REPLACE"))[-1] == 3014
    assert second.rows("shop", "SELECT v FROM t") == [[MARKER]]


def test_encryption_wants_media_of_its_own(keyed: Workshop) -> None:
    plain = "BACKUP DATABASE shop TO DISK = '/tmp/shop.bak'"
    assert numbers(keyed.run(plain))[-1] == 3014
    before = (keyed.media / "shop.bak").read_bytes()
    assert numbers(keyed.run(FULL)) == [3095, 3013]
    init = ENCRYPTED.format("DATABASE", "shop.bak", "INIT,", "AES_256", "CERTIFICATE = c")
    assert numbers(keyed.run(init)) == [3095, 3013]
    assert (keyed.media / "shop.bak").read_bytes() == before
    formatted = init.replace("INIT", "FORMAT")
    assert numbers(keyed.run(formatted))[-1] == 3014
    assert numbers(keyed.run(plain))[-1] == 3013
    assert numbers(keyed.run(FULL)) == [3095, 3013]


def test_who_cannot_encrypt_is_told_why(keyed: Workshop) -> None:
    def refused(encryptor: str, algorithm: str = "AES_256") -> list[int]:
        return numbers(keyed.run(ENCRYPTED.format("DATABASE", "x.bak", "", algorithm, encryptor)))

    assert refused("CERTIFICATE = nobody") == [15151, 3013]
    assert refused("ASYMMETRIC KEY = nobody") == [15151, 3013]
    assert refused("CERTIFICATE = c", "TRIPLE_DES_3KEY") == [3217, 3013]
    keyed.run("CREATE CERTIFICATE old WITH SUBJECT = 's', START_DATE = '20200101', EXPIRY_DATE = '20200201'")
    assert refused("CERTIFICATE = old") == [3096, 3013]
    keyed.run("CREATE CERTIFICATE own ENCRYPTION BY PASSWORD = 'Pass-word3' WITH SUBJECT = 's'")
    assert refused("CERTIFICATE = own") == [33101, 3013]
    keyed.run("CREATE CERTIFICATE half FROM FILE = '/tmp/c.cer'")
    keyed.run("ALTER CERTIFICATE c REMOVE PRIVATE KEY")
    assert refused("CERTIFICATE = c") == [33101, 3013]
    assert not (keyed.media / "x.bak").exists()
    change = "WITH PRIVATE KEY (FILE = '/tmp/c.pvk', DECRYPTION BY PASSWORD = 'Pass-word2')"
    keyed.run(f"ALTER CERTIFICATE c {change}")
    keyed.run("ALTER MASTER KEY DROP ENCRYPTION BY SERVICE MASTER KEY")
    assert refused("CERTIFICATE = c") == [15581, 3013]
    keyed.run("OPEN MASTER KEY DECRYPTION BY PASSWORD = 'Pass-word1'")
    assert refused("CERTIFICATE = c")[-1] == 3014


def test_a_certificate_that_was_never_backed_up_is_warned_of(keyed: Workshop) -> None:
    keyed.run("CREATE CERTIFICATE fresh WITH SUBJECT = 's'")
    fresh = ENCRYPTED.format("DATABASE", "x.bak", "", "AES_256", "CERTIFICATE = fresh")
    assert numbers(keyed.run(fresh)) == [33091, 4035, 4035, 3014]


def test_every_changed_byte_of_a_sealed_page_is_noticed(keyed: Workshop) -> None:
    assert numbers(keyed.run(FULL))[-1] == 3014
    medium = keyed.media / "shop.bak"
    sound = medium.read_bytes()
    for position in range(4096, len(sound), len(sound) // 12):
        damaged = bytearray(sound)
        damaged[position] ^= 1
        medium.write_bytes(damaged)
        last = numbers(keyed.run("RESTORE VERIFYONLY FROM DISK = '/tmp/shop.bak'"))[-1]
        assert last == 3013, position
