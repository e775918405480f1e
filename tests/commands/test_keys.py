"""Statements about master keys, certificates, asymmetric keys and credentials."""

from __future__ import annotations

import itertools
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tdsproxy.catalog import certificates
from tdsproxy.commands.request import SessionContext
from tdsproxy.store import key_wrapping
from tdsproxy.store.key_wrapping import unwrap
from tdsproxy.tsql.replies import Message
from tests.commands.support import ADMIN, Workshop

MASTER_KEY = "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'Pass-word1'"
CERTIFICATE = "CREATE CERTIFICATE c WITH SUBJECT = 'Backups'"
EXPORT = (
    "BACKUP CERTIFICATE c TO FILE = '/tmp/c.cer'"
    " WITH PRIVATE KEY (FILE = '/tmp/c.pvk', ENCRYPTION BY PASSWORD = 'Pass-word2')"
)
IMPORT = (
    "CREATE CERTIFICATE {} FROM FILE = '/tmp/c.cer'"
    " WITH PRIVATE KEY (FILE = '/tmp/c.pvk', DECRYPTION BY PASSWORD = '{}')"
)


@pytest.fixture(scope="module")
def pool() -> list[rsa.RSAPrivateKey]:
    return [certificates.new_private_key() for _ in range(3)]


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch, pool: list[rsa.RSAPrivateKey]) -> None:
    """What is made slow on purpose would be most of the time of these tests."""
    monkeypatch.setattr(key_wrapping, "_COST", 10)
    keys = itertools.cycle(pool)
    monkeypatch.setattr(certificates, "new_private_key", lambda bits=2048: next(keys))


@pytest.fixture
def second(tmp_path: Path) -> Iterator[Workshop]:
    """Another store that sees the same media."""
    directory = tmp_path / "second"
    directory.mkdir()
    workshop = Workshop(directory)
    workshop.media.rmdir()
    workshop.media.symlink_to(tmp_path / "media")
    yield workshop
    workshop.close()


def numbers(shop: Workshop, text: str, session: SessionContext = ADMIN) -> list[int]:
    return [reply.number for reply in shop.run(text, session=session) if isinstance(reply, Message)]


def test_a_certificate_needs_a_master_key_and_a_name_of_its_own(shop: Workshop) -> None:
    assert numbers(shop, CERTIFICATE) == [15581]
    assert numbers(shop, "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'short'") == [15116]
    assert numbers(shop, "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'onlyletters'") == [15118]
    assert numbers(shop, "CREATE MASTER KEY") == [15542]
    assert numbers(shop, MASTER_KEY) == []
    assert numbers(shop, MASTER_KEY) == [15578]
    assert numbers(shop, CERTIFICATE) == []
    assert numbers(shop, CERTIFICATE.replace(" c ", " C ")) == [15232]
    assert numbers(shop, "DROP MASTER KEY") == [15580]
    assert numbers(shop, "DROP CERTIFICATE c") == []
    assert numbers(shop, "DROP CERTIFICATE c") == [15151]
    assert numbers(shop, "DROP MASTER KEY") == []
    assert numbers(shop, "DROP MASTER KEY") == [15151]


def test_what_is_wrong_with_a_certificate_is_said(shop: Workshop) -> None:
    numbers(shop, MASTER_KEY)
    assert numbers(shop, f"CREATE CERTIFICATE d WITH SUBJECT = '{'x' * 65}'") == [15212]
    dated = "CREATE CERTIFICATE d{} WITH SUBJECT = 's', START_DATE = '{}', EXPIRY_DATE = '{}'"
    assert numbers(shop, dated.format(1, "20200101", "20200201")) == [15214]
    assert numbers(shop, dated.format(2, "20900101", "20910101")) == [15215]
    assert numbers(shop, dated.format(3, "20200101", "20190101")) == [15468]
    assert numbers(shop, "CREATE CERTIFICATE d WITH SUBJECT = 's', COLOUR = 'red'") == [102]
    assert numbers(shop, "CREATE CERTIFICATE d FROM BINARY = 0x3045") == [15297]
    assert numbers(shop, "CREATE CERTIFICATE d FROM FILE = '/tmp/nothing.cer'") == [15208]
    assert numbers(shop, "CREATE CERTIFICATE d FROM FILE = '/etc/hostname'") == [15208]


def test_a_certificate_travels_to_another_store(shop: Workshop, second: Workshop) -> None:
    for text in (MASTER_KEY, CERTIFICATE, EXPORT):
        assert numbers(shop, text) == []
    assert numbers(shop, EXPORT) == [15240]
    assert stat.S_IMODE((shop.media / "c.pvk").stat().st_mode) == 0o600
    original = shop.catalog.keys.certificate("c")
    assert original is not None
    assert original.backed_up is not None
    assert numbers(second, IMPORT.format("copy", "Pass-word2")) == [15581]
    numbers(second, MASTER_KEY)
    assert numbers(second, IMPORT.format("copy", "wrong")) == [15465]
    assert second.catalog.keys.certificates() == []
    assert numbers(second, IMPORT.format("copy", "Pass-word2")) == []
    assert numbers(second, IMPORT.format("again", "Pass-word2")) == [15232]
    copy = second.catalog.keys.certificate("copy")
    assert copy is not None
    assert copy.thumbprint == original.thumbprint


def test_a_refused_export_leaves_no_file(shop: Workshop) -> None:
    numbers(shop, MASTER_KEY)
    numbers(shop, CERTIFICATE)
    (shop.media / "c.pvk").write_bytes(b"somebody's")
    assert numbers(shop, EXPORT) == [15240]
    assert sorted(path.name for path in shop.media.iterdir()) == ["c.pvk"]
    assert (shop.media / "c.pvk").read_bytes() == b"somebody's"
    for name in ("master.db-wal", "service_master_key", "../outside.cer", "tls/x.cer", "log/x"):
        assert numbers(shop, f"BACKUP CERTIFICATE c TO FILE = '{name}'") == [15240]
    assert numbers(shop, "BACKUP CERTIFICATE c TO FILE = 'c.cer'") == []
    assert (shop.store / "c.cer").exists()


def test_pfx_files_hold_both(shop: Workshop, second: Workshop) -> None:
    numbers(shop, MASTER_KEY)
    numbers(shop, CERTIFICATE)
    text = "BACKUP CERTIFICATE c TO FILE = '/tmp/c.pfx' WITH FORMAT = 'PFX', PRIVATE KEY ({})"
    assert numbers(shop, text.format("ENCRYPTION BY PASSWORD = 'Pass-word2', ALGORITHM = 'AES_256'")) == []
    numbers(second, MASTER_KEY)
    read = (
        "CREATE CERTIFICATE p FROM FILE = '/tmp/c.pfx'"
        " WITH FORMAT = 'PFX', PRIVATE KEY (DECRYPTION BY PASSWORD = '{}')"
    )
    assert numbers(second, read.format("wrong")) == [15465]
    assert numbers(second, read.format("Pass-word2")) == []
    assert numbers(second, "BACKUP CERTIFICATE p TO FILE = '/tmp/p.cer'") == []
    assert numbers(second, "ALTER CERTIFICATE p REMOVE PRIVATE KEY") == []
    assert numbers(second, EXPORT.replace(" c ", " p ").replace("/c.", "/q.")) == [15246]


def test_a_private_key_of_another_certificate_is_refused(shop: Workshop) -> None:
    for text in (MASTER_KEY, CERTIFICATE, EXPORT):
        numbers(shop, text)
    numbers(shop, "CREATE CERTIFICATE other WITH SUBJECT = 'x'")
    change = "WITH PRIVATE KEY (FILE = '/tmp/c.pvk', DECRYPTION BY PASSWORD = 'Pass-word2')"
    assert numbers(shop, f"ALTER CERTIFICATE other {change}") == [15474]
    assert numbers(shop, "ALTER CERTIFICATE c REMOVE PRIVATE KEY") == []
    assert numbers(shop, f"ALTER CERTIFICATE c {change}") == []


def test_a_key_under_a_password_opens_with_it_only(shop: Workshop) -> None:
    own = "CREATE CERTIFICATE own ENCRYPTION BY PASSWORD = 'Pass-word3' WITH SUBJECT = 's'"
    assert numbers(shop, own) == []  # needs no master key
    export = (
        "BACKUP CERTIFICATE own TO FILE = '/tmp/{0}.cer'"
        " WITH PRIVATE KEY (FILE = '/tmp/{0}.pvk', ENCRYPTION BY PASSWORD = 'Pass-word4'{1})"
    )
    assert numbers(shop, export.format("o", "")) == [15334]
    assert numbers(shop, export.format("o", ", DECRYPTION BY PASSWORD = 'wrong'")) == [15465]
    assert numbers(shop, export.format("o", ", DECRYPTION BY PASSWORD = 'Pass-word3'")) == []
    numbers(shop, MASTER_KEY)
    assert (
        numbers(shop, "ALTER CERTIFICATE own WITH PRIVATE KEY (DECRYPTION BY PASSWORD = 'Pass-word3')") == []
    )
    assert numbers(shop, export.format("p", ", DECRYPTION BY PASSWORD = 'Pass-word3'")) == [15147]
    assert numbers(shop, export.format("p", "")) == []


def test_a_master_key_that_the_server_cannot_open_is_opened_by_its_session(shop: Workshop) -> None:
    numbers(shop, MASTER_KEY)
    assert numbers(shop, "ALTER MASTER KEY DROP ENCRYPTION BY SERVICE MASTER KEY") == []
    assert numbers(shop, CERTIFICATE) == [15581]
    assert numbers(shop, "OPEN MASTER KEY DECRYPTION BY PASSWORD = 'Pass-word9'") == [15313]
    assert numbers(shop, "OPEN MASTER KEY DECRYPTION BY PASSWORD = 'Pass-word1'") == []
    other = SessionContext("sa", spid=52, server_roles=frozenset({"sysadmin"}))
    assert numbers(shop, CERTIFICATE, other) == [15581]
    assert numbers(shop, CERTIFICATE) == []
    assert numbers(shop, "CLOSE MASTER KEY") == []
    assert numbers(shop, EXPORT) == [15581]
    numbers(shop, "OPEN MASTER KEY DECRYPTION BY PASSWORD = 'Pass-word1'")
    shop.env.open_keys.close(ADMIN.spid)  # as the keeper does when the session ends
    assert numbers(shop, EXPORT) == [15581]
    numbers(shop, "OPEN MASTER KEY DECRYPTION BY PASSWORD = 'Pass-word1'")
    assert numbers(shop, "ALTER MASTER KEY ADD ENCRYPTION BY SERVICE MASTER KEY") == []
    numbers(shop, "CLOSE MASTER KEY")
    assert numbers(shop, EXPORT) == []


def test_passwords_of_the_master_key_come_and_go_but_one_stays(shop: Workshop) -> None:
    numbers(shop, MASTER_KEY)
    change = "ALTER MASTER KEY {} ENCRYPTION BY PASSWORD = '{}'"
    assert numbers(shop, change.format("DROP", "Pass-word1")) == [15558]
    assert numbers(shop, change.format("ADD", "Pass-word1")) == [15579]
    assert numbers(shop, change.format("ADD", "Pass-word2")) == []
    assert numbers(shop, change.format("DROP", "Pass-word1")) == []
    assert numbers(shop, "OPEN MASTER KEY DECRYPTION BY PASSWORD = 'Pass-word1'") == [15313]
    assert numbers(shop, "OPEN MASTER KEY DECRYPTION BY PASSWORD = 'Pass-word2'") == []


def test_keys_stay_readable_when_the_master_keys_change(shop: Workshop) -> None:
    for text in (
        MASTER_KEY,
        CERTIFICATE,
        "CREATE CREDENTIAL r WITH IDENTITY = 'i', SECRET = 'open sesame'",
        "BACKUP MASTER KEY TO FILE = '/tmp/mk' ENCRYPTION BY PASSWORD = 'Pass-word5'",
        "BACKUP SERVICE MASTER KEY TO FILE = '/tmp/smk' ENCRYPTION BY PASSWORD = 'Pass-word6'",
        "ALTER MASTER KEY REGENERATE WITH ENCRYPTION BY PASSWORD = 'Pass-word7'",
        "ALTER SERVICE MASTER KEY REGENERATE",
        EXPORT,
    ):
        assert numbers(shop, text) == []
    back = (
        "RESTORE MASTER KEY FROM FILE = '/tmp/mk' DECRYPTION BY PASSWORD = '{}'"
        " ENCRYPTION BY PASSWORD = 'Pass-word8'"
    )
    assert numbers(shop, back.replace("mk'", "nothing'").format("x")) == [15317]
    assert numbers(shop, back.format("wrong")) == [15465]
    assert numbers(shop, back.format("Pass-word5")) == []
    assert numbers(shop, back.format("Pass-word5")) == [15588]
    service = "RESTORE SERVICE MASTER KEY FROM FILE = '/tmp/smk' DECRYPTION BY PASSWORD = 'Pass-word6'"
    assert numbers(shop, service) == []
    assert numbers(shop, service) == [15588]
    assert numbers(shop, EXPORT.replace("/c.", "/d.")) == []


def test_a_master_from_another_machine_opens_by_password(shop: Workshop) -> None:
    numbers(shop, MASTER_KEY)
    numbers(shop, CERTIFICATE)
    (shop.store / "service_master_key").unlink()  # what restoring master alone elsewhere amounts to
    assert numbers(shop, EXPORT) == [15581]
    assert numbers(shop, "ALTER SERVICE MASTER KEY REGENERATE") == [15320]
    assert numbers(shop, "ALTER MASTER KEY REGENERATE WITH ENCRYPTION BY PASSWORD = 'Pass-word3'") == [15329]
    assert numbers(shop, "OPEN MASTER KEY DECRYPTION BY PASSWORD = 'Pass-word1'") == []
    assert numbers(shop, "ALTER MASTER KEY ADD ENCRYPTION BY SERVICE MASTER KEY") == []
    numbers(shop, "CLOSE MASTER KEY")
    assert numbers(shop, EXPORT) == []


def test_credentials(shop: Workshop) -> None:
    make = "CREATE CREDENTIAL [https://a.example/b] WITH IDENTITY = 'i', SECRET = 'open sesame'"
    assert numbers(shop, make) == []
    assert numbers(shop, make) == [15530]
    found = shop.catalog.keys.credential("https://A.example/b")
    assert found is not None
    assert found.id == 65536
    assert numbers(shop, "ALTER CREDENTIAL [https://a.example/b] WITH IDENTITY = 'j'") == []
    changed = shop.catalog.keys.credential("https://a.example/b")
    assert changed is not None
    assert (changed.identity, changed.secret) == ("j", None)
    assert numbers(shop, "ALTER CREDENTIAL nobody WITH IDENTITY = 'j'") == [15151]
    assert numbers(shop, "DROP CREDENTIAL [https://a.example/b]") == []
    assert numbers(shop, "DROP CREDENTIAL [https://a.example/b]") == [15151]


def test_asymmetric_keys(shop: Workshop) -> None:
    make = "CREATE ASYMMETRIC KEY k WITH ALGORITHM = {}"
    assert numbers(shop, make.format("RSA_2048")) == [15581]
    numbers(shop, MASTER_KEY)
    assert numbers(shop, make.format("RSA_512")) == [40510]
    assert numbers(shop, make.format("RSA_2048")) == []
    assert numbers(shop, make.format("RSA_2048")) == [15396]
    assert numbers(shop, "DROP MASTER KEY") == [15580]
    change = "ALTER ASYMMETRIC KEY k WITH PRIVATE KEY ({})"
    assert numbers(shop, change.format("ENCRYPTION BY PASSWORD = 'Pass-word2'")) == []
    assert numbers(shop, change.format("DECRYPTION BY PASSWORD = 'Pass-word3'")) == [15465]
    assert numbers(shop, "DROP ASYMMETRIC KEY k") == []
    assert numbers(shop, "DROP ASYMMETRIC KEY k") == [15151]


def test_only_those_with_the_right_may(shop: Workshop) -> None:
    nobody = SessionContext("joe", spid=53)
    keeper_of_secrets = SessionContext("ann", spid=54, server_roles=frozenset({"securityadmin"}))
    owner = SessionContext("bob", spid=55, database_roles={"master": frozenset({"db_owner"})})
    assert numbers(shop, MASTER_KEY, nobody) == [15247]
    assert numbers(shop, MASTER_KEY, keeper_of_secrets) == [15247]
    assert numbers(shop, MASTER_KEY, owner) == []
    credential = "CREATE CREDENTIAL r WITH IDENTITY = 'i'"
    assert numbers(shop, credential, nobody) == [15247]
    assert numbers(shop, credential, keeper_of_secrets) == []
    assert numbers(shop, "ALTER SERVICE MASTER KEY REGENERATE", owner) == [15247]


def test_keys_belong_to_master(shop: Workshop) -> None:
    assert numbers(shop, MASTER_KEY, SessionContext("sa", "Shop", 51, ADMIN.server_roles)) == [40510]
    symmetric = "CREATE SYMMETRIC KEY s WITH ALGORITHM = AES_256 ENCRYPTION BY PASSWORD = 'Pass-word1'"
    assert numbers(shop, symmetric) == [40510]


def test_no_secret_lies_in_clear_in_the_store(shop: Workshop) -> None:
    for text in (
        MASTER_KEY,
        CERTIFICATE,
        "CREATE CREDENTIAL r WITH IDENTITY = 'i', SECRET = 'open sesame'",
        EXPORT,
    ):
        assert numbers(shop, text) == []
    ring_key = shop.catalog.service_key.current()
    record = shop.catalog.keys.master_key()
    assert record is not None
    assert record.by_service is not None
    master = shop.catalog.service_key.open(record.by_service, record.purpose)
    certificate = shop.catalog.keys.certificate("c")
    assert certificate is not None
    assert certificate.private is not None
    assert "private" not in repr(certificate)
    private = unwrap(master, certificate.private, certificate.purpose)
    for path in [*shop.store.rglob("*"), *shop.media.rglob("*")]:
        if not path.is_file():
            continue
        data = path.read_bytes()
        for secret in (b"Pass-word", b"open sesame", master, private[320:420], master.hex().encode()):
            assert secret not in data, path
        if path.name != "service_master_key":
            assert ring_key not in data
            assert ring_key.hex().encode() not in data
