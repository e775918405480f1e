"""BACKUP TO URL and RESTORE FROM URL against an S3 server on loopback, by a real client."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tdsproxy.tsql.script import split_batches
from tests.keeper.shop import tdsproxy
from tests.objects.authority import make_authority
from tests.objects.s3_server import IDENTITY, KEY, SECRET, S3Server, s3_server
from tests.running import Running, running

FORMAT = "WITH FORMAT"


class Client:
    """Statements, each with what it said: (number, text)."""

    def __init__(self, server: Running) -> None:
        self._connection = server.connect()

    def run(self, text: str) -> list[tuple[int, str]]:
        cursor = self._connection.cursor()
        with contextlib.suppress(Exception):
            cursor.execute(text)
            while cursor.nextset():
                pass
        return [(error.msg_no, str(error.args[0])) for _, error in cursor.messages]

    def numbers(self, text: str) -> list[int]:
        return [number for number, _ in self.run(text)]

    def rows(self, text: str) -> list[tuple[Any, ...]]:
        cursor = self._connection.cursor()
        cursor.execute(text)
        return [tuple(row) for row in cursor.fetchall()]

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as found:
        yield found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("urls") / "store") as found:
        yield found


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[Client]:
    found = Client(server)
    for text in (
        "CREATE DATABASE shop",
        "CREATE TABLE shop.dbo.t (id int PRIMARY KEY, b varbinary(max))",
        "INSERT shop.dbo.t SELECT value, CONVERT(varbinary(max), NEWID()) FROM GENERATE_SERIES(1, 200)",
    ):
        assert found.run(text) == []
    yield found
    found.close()


@pytest.fixture
def bucket(s3: S3Server, client: Client, request: pytest.FixtureRequest) -> Iterator[str]:
    """A bucket of the test's own, with a credential; its URL."""
    name = request.node.name.replace("_", "-").removeprefix("test-")[:40]
    url = s3.bucket(name)
    assert client.run(_credential(url)) == []
    yield url
    client.run(f"DROP CREDENTIAL [{url}]")


def _credential(url: str, secret: str = f"{KEY}:{SECRET}", identity: str = IDENTITY) -> str:
    return f"CREATE CREDENTIAL [{url}] WITH IDENTITY = '{identity}', SECRET = '{secret}'"


def _name(url: str) -> str:
    return url.rsplit("/", 1)[1]


def test_every_form_of_the_statements(client: Client, s3: S3Server, bucket: str) -> None:
    url = f"{bucket}/a/full.bak"
    assert client.numbers(f"BACKUP DATABASE shop TO URL = '{url}'")[-1] == 3014
    assert s3.keys(_name(bucket)) == ["a/full.bak"]
    (header,) = client.rows(f"RESTORE HEADERONLY FROM URL = '{url}'")
    assert header[6] == 9
    assert [row[0] for row in client.rows(f"RESTORE FILELISTONLY FROM URL = '{url}'")] == ["shop", "shop_log"]
    assert client.rows(f"RESTORE LABELONLY FROM URL = '{url}'")[0][8] == "Microsoft SQL Server"
    assert client.numbers(f"RESTORE VERIFYONLY FROM URL = '{url}' WITH FILE = 1") == [3262]
    assert client.numbers(f"BACKUP LOG shop TO URL = '{bucket}/a/1.trn'")[-1] == 3014
    assert client.numbers(f"BACKUP DATABASE shop TO URL = '{bucket}/a/d.bak' WITH DIFFERENTIAL")[-1] == 3014
    text = (
        f"RESTORE DATABASE again FROM URL = '{url}' WITH MOVE 'shop' TO '/var/opt/mssql/data/a.mdf',"
        " MOVE 'shop_log' TO '/var/opt/mssql/data/a.ldf', NORECOVERY"
    )
    assert client.numbers(text)[-1] == 3014
    assert client.numbers(f"RESTORE LOG again FROM URL = '{bucket}/a/1.trn'")[-1] == 3014
    assert client.rows("SELECT COUNT(*) FROM again.dbo.t") == [(200,)]
    client.run("DROP DATABASE again")
    devices = client.rows(
        f"SELECT device_type, physical_block_size FROM msdb.dbo.backupmediafamily"
        f" WHERE physical_device_name LIKE '{bucket}/%'"
    )
    assert devices == [(9, 65536)] * 3


def test_an_object_is_replaced_only_with_format(client: Client, s3: S3Server, bucket: str) -> None:
    url = f"{bucket}/x.bak"
    assert client.numbers(f"BACKUP DATABASE shop TO URL = '{url}' WITH NOINIT, NOFORMAT")[-1] == 3014
    tag = s3.object(_name(bucket), "x.bak").etag
    for options in ("", "WITH NOINIT", "WITH INIT"):
        assert client.numbers(f"BACKUP DATABASE shop TO URL = '{url}' {options}") == [3296, 3013]
    assert s3.object(_name(bucket), "x.bak").etag == tag
    assert client.numbers(f"BACKUP DATABASE shop TO URL = '{url}' WITH FORMAT")[-1] == 3014
    assert s3.object(_name(bucket), "x.bak").etag != tag
    assert client.numbers(f"RESTORE VERIFYONLY FROM URL = '{url}'") == [3262]


@pytest.mark.slow
def test_the_shell_takes_urls(client: Client, server: Running, bucket: str) -> None:
    url = f"{bucket}/shell.bak"
    for words in (
        ("backup", "shop", url, "--format"),
        ("verify", url),
        ("verify", url, "--restore"),
        ("headers", url),
    ):
        done = tdsproxy(*words, "--store", str(server.store))
        assert done.returncode == 0, done.stderr


def test_stripes_and_mirrors(client: Client, s3: S3Server, bucket: str) -> None:
    stripes = ", ".join(f"URL = '{bucket}/s{n}.bak'" for n in (1, 2, 3))
    mirror = ", ".join(f"URL = '{bucket}/m{n}.bak'" for n in (1, 2, 3))
    text = f"BACKUP DATABASE shop TO {stripes} MIRROR TO {mirror} WITH FORMAT, COMPRESSION"
    assert client.numbers(f"{text}, MAXTRANSFERSIZE = 20971520, BLOCKSIZE = 65536")[-1] == 3014
    assert len(s3.keys(_name(bucket))) == 6
    # Any mirror of each family will do.
    mixed = f"URL = '{bucket}/s1.bak', URL = '{bucket}/m2.bak', URL = '{bucket}/s3.bak'"
    assert client.numbers(f"RESTORE VERIFYONLY FROM {mixed}") == [3262]
    assert client.numbers(f"RESTORE VERIFYONLY FROM URL = '{bucket}/s1.bak'")[0] == 3132


def test_refusals(client: Client, s3: S3Server, bucket: str) -> None:
    def refused(device: str, verb: str = "BACKUP DATABASE shop TO", options: str = "") -> tuple[int, str]:
        found = client.run(f"{verb} {device} {options}")
        assert found[-1][0] == 3013
        return found[0]

    assert refused(f"URL = '{bucket}/x.bak', DISK = 'x.bak'")[0] == 3011
    assert refused("URL = 'c:\\x.bak'")[0] == 3078
    assert refused(f"DISK = '{bucket}/x.bak'")[0] == 3078
    assert refused("URL = 'https://example.com/c/x.bak'")[0] == 3297
    assert refused(f"URL = '{bucket}/x.bak?versionId=1'")[0] == 3297
    assert refused(f"URL = '{bucket}/{'x' * 260}'")[0] == 3057
    assert refused(f"URL = '{bucket}/x.bak'", options="WITH CREDENTIAL = 'nobody'")[0] == 3288
    assert refused(f"URL = '{bucket}/x.bak'", options="WITH MAXTRANSFERSIZE = 21037056")[0] == 3250
    assert refused(f"URL = '{bucket}/x.bak'", options="WITH BACKUP_OPTIONS = '{\"s3\": 1}'")[0] == 3217
    restore = "RESTORE DATABASE again FROM"
    number, text = refused(f"URL = '{bucket}/none.bak'", restore)
    assert number == 3201
    assert text.endswith("Operating system error 2(The system cannot find the file specified.).")
    nowhere = f"s3://{s3.host}/no-such-bucket"
    client.run(_credential(nowhere))
    for url in (f"{nowhere}/x.bak", f"s3://{s3.host}/uncredited/x.bak"):
        number, text = refused(f"URL = '{url}'")
        assert number == 3201
        assert text.endswith("Operating system error 50(The request is not supported.).")
    assert s3.keys(_name(bucket)) == []


def test_credentials(client: Client, s3: S3Server, bucket: str, server: Running) -> None:
    deeper = f"{bucket}/deep/er"
    assert client.run(_credential(deeper, "other:wrong")) == []
    assert client.run(_credential(f"{bucket}/ex", f"{KEY}:{SECRET}:expired")) == []
    assert client.run(_credential(f"{bucket}/id", identity="somebody")) == []
    assert client.run(_credential("mine")) == []
    backup = "BACKUP DATABASE shop TO URL ="
    assert client.numbers(f"{backup} '{bucket}/deep/x.bak'")[-1] == 3014
    for folder in (deeper, f"{bucket}/ex"):
        number, text = client.run(f"{backup} '{folder}/x.bak'")[0]
        assert (number, text.endswith("Operating system error 5(Access is denied.).")) == (3201, True)
    assert client.numbers(f"{backup} '{bucket}/id/x.bak'") == [3233, 3013]
    assert client.numbers(f"{backup} '{deeper}/x.bak' WITH CREDENTIAL = 'mine'")[-1] == 3014
    shown = str(client.rows("SELECT * FROM sys.credentials"))
    logs = "".join(path.read_text(errors="replace") for path in server.store.glob("*.log"))
    assert SECRET not in shown + logs
    assert bucket in shown


def _members(store: str, members: str) -> str:
    return f"""_OPTIONS = '{{"{store}": {members}}}'"""


def test_what_the_json_options_ask_for_is_seen_at_the_server(
    client: Client, s3: S3Server, bucket: str
) -> None:
    def backup(name: str, members: str, database: str = "shop") -> Any:
        """moto's record of the object; the backup is read again."""
        text = f"BACKUP DATABASE {database} TO URL = '{bucket}/{name}' WITH BACKUP{_members('s3', members)}"
        assert client.numbers(text)[-1] == 3014
        assert client.numbers(f"RESTORE VERIFYONLY FROM URL = '{bucket}/{name}'") == [3262]
        return s3.object(_name(bucket), name)

    assert backup("a", '{"server_side_encryption": "AES256"}').encryption == "AES256"
    for number, kind in enumerate(("aws:kms", "aws:kms:dsse")):
        members = f'{{"server_side_encryption": "{kind}", "kms_key_id": "k1", "region": "eu-west-1"}}'
        found = backup(f"b{number}", members)
        assert (found.encryption, found.kms_key_id) == (kind, "k1")
        signed = [headers["AUTHORIZATION"] for _, path, headers in s3.seen if path.endswith(f"/b{number}")]
        assert "/eu-west-1/s3/" in signed[0]
    for name in ("STANDARD_IA", "INTELLIGENT_TIERING"):
        assert backup(name, f'{{"storage_class": "{name}"}}').storage_class == name
    # What lies in the archive has to be brought back first.
    text = f"BACKUP DATABASE shop TO URL = '{bucket}/cold' WITH BACKUP"
    assert client.numbers(f"""{text}{_members("s3", '{"storage_class": "GLACIER"}')}""")[-1] == 3014
    assert s3.object(_name(bucket), "cold").storage_class == "GLACIER"
    number, said = client.run(f"RESTORE VERIFYONLY FROM URL = '{bucket}/cold'")[0]
    assert (number, "4350(This file is currently not available" in said) == (3203, True)


def test_an_object_under_the_customers_key_is_read_with_it_alone(
    client: Client, s3: S3Server, bucket: str
) -> None:
    for name, key in (("own", bytes(range(32))), ("other", bytes(32)), ("short", bytes(16))):
        encoded = base64.b64encode(key).decode()
        assert client.run(f"CREATE CREDENTIAL {name}_key WITH IDENTITY = 'SSE-C', SECRET = '{encoded}'") == []

    def options(credential: str) -> str:
        return _members("s3", f'{{"customer_key_credential": "{credential}"}}')

    assert client.run("CREATE DATABASE parts") == []
    assert client.run("CREATE TABLE parts.dbo.t (b varchar(max))") == []
    text = "INSERT parts.dbo.t SELECT REPLICATE(CONVERT(varchar(max), 'x'), 1000000)"
    assert client.run(f"{text} FROM GENERATE_SERIES(1, 7)") == []
    url = f"{bucket}/secret"
    text = (
        f"BACKUP DATABASE parts TO URL = '{url}' WITH MAXTRANSFERSIZE = 5242880, BACKUP{options('own_key')}"
    )
    assert client.numbers(text)[-1] == 3014
    assert f"/{_name(bucket)}/secret" in s3.customer_keys
    moves = "MOVE 'parts' TO '/var/opt/mssql/data/q.mdf', MOVE 'parts_log' TO '/var/opt/mssql/data/q.ldf'"
    for statement in ("HEADERONLY", "FILELISTONLY", "LABELONLY", "VERIFYONLY", "DATABASE q"):
        found = f"RESTORE {statement} FROM URL = '{url}'"
        assert client.numbers(found) == [3201, 3013]
        assert client.numbers(f"{found} WITH RESTORE{options('other_key')}") == [3201, 3013]
        more = f", {moves}" if statement == "DATABASE q" else ""
        assert 3013 not in client.numbers(f"{found} WITH RESTORE{options('own_key')}{more}")
    assert client.rows("SELECT COUNT(*) FROM q.dbo.t") == [(7,)]
    # Another key takes its place.
    again = f"BACKUP DATABASE parts TO URL = '{url}' WITH BACKUP{options('other_key')}"
    assert 3013 in client.numbers(again)
    assert client.numbers(f"{again}, FORMAT")[-1] == 3014
    assert client.numbers(f"RESTORE VERIFYONLY FROM URL = '{url}' WITH RESTORE{options('other_key')}") == [
        3262
    ]
    assert (
        client.numbers(f"RESTORE LABELONLY FROM URL = '{url}' WITH RESTORE{options('short_key')}")[0] == 3233
    )
    assert client.numbers(f"RESTORE LABELONLY FROM URL = '{url}' WITH RESTORE{options('nobody')}")[0] == 3288


@pytest.mark.slow
def test_the_administrators_script_runs_unchanged(tmp_path: Path, shared: Path) -> None:
    """Script 23 names an S3 store on port 9000."""
    scripts = shared / "admin-scripts"
    with contextlib.ExitStack() as held:
        try:
            s3 = held.enter_context(s3_server(9000))
        except (OSError, SystemExit):
            pytest.skip("port 9000 of loopback is in use")
        s3.bucket("sqlbackups")
        server = held.enter_context(running(tmp_path / "store"))
        client = Client(server)
        said: list[str] = []
        for name in ("00-fixture.sql", "23-s3-url-credential.sql"):
            said = []
            for batch in split_batches((scripts / name).read_text()):
                said += [text for _, text in client.run(batch.text)]
        client.close()
        assert [text.split(" successfully")[0] for text in said if " successfully processed" in text] == [
            "BACKUP DATABASE",
            "RESTORE DATABASE",
        ]
        assert "The backup set on file 1 is valid." in said
        assert said[-1] == "no credential: 3013"
        assert s3.keys("sqlbackups") == ["daily/SalesDB_1.bak", "daily/SalesDB_2.bak"]
        # The tag of an object that was uploaded in parts says how many.
        assert all("-" in s3.object("sqlbackups", key).etag for key in s3.keys("sqlbackups"))
        logs = [path.read_text(errors="replace") for path in server.store.rglob("*.log")]
        assert SECRET not in "".join([*said, *logs])
        # Beside what the fixture has backed up there is nothing new on the disk.
        assert not [path.name for path in server.backup_directory.iterdir() if "_1" in path.name]


@pytest.mark.slow
def test_https_is_trusted_by_the_ca_file(tmp_path: Path) -> None:
    authority, certificate, key = make_authority(tmp_path)
    with s3_server(tls=(certificate, key)) as s3:
        url = s3.bucket("tls")
        backup = f"BACKUP DATABASE shop TO URL = '{url}/x.bak' WITH FORMAT"
        with running(tmp_path / "with", "--ca-file", str(authority)) as server:
            client = Client(server)
            client.run("CREATE DATABASE shop")
            client.run(_credential(url))
            assert client.numbers(backup)[-1] == 3014
            assert client.numbers(f"RESTORE VERIFYONLY FROM URL = '{url}/x.bak'") == [3262]
            client.close()
