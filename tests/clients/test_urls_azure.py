"""BACKUP TO URL and RESTORE FROM URL against a local Azure Blob Storage."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.available import CLIENTS, need
from tests.clients.test_urls import Client
from tests.objects.azure_server import ACCOUNT, KEY, AzureServer, azure_server, shared_access_signature
from tests.running import running

pytestmark = pytest.mark.slow

SAS = "SHARED ACCESS SIGNATURE"


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureServer]:
    need("azurite")
    program = CLIENTS / "azurite" / "node_modules" / ".bin" / "azurite-blob"
    with azure_server(program, tmp_path_factory.mktemp("azurite")) as found:
        yield found


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with running(tmp_path_factory.mktemp("azure") / "store") as server:
        found = Client(server)
        assert found.run("CREATE DATABASE shop") == []
        found.run("CREATE TABLE shop.dbo.t (id int)")
        found.run("INSERT shop.dbo.t SELECT value FROM GENERATE_SERIES(1, 100)")
        yield found
        found.close()


def _credential(url: str, identity: str, secret: str) -> str:
    return f"CREATE CREDENTIAL [{url}] WITH IDENTITY = '{identity}', SECRET = '{secret}'"


def test_backup_and_restore_with_a_signature(client: Client, azure: AzureServer) -> None:
    url = azure.bucket("signature")
    assert client.run(_credential(url, SAS, shared_access_signature())) == []
    stripes = f"URL = '{url}/a/1.bak', URL = '{url}/a/2.bak'"
    options = "COMPRESSION, MAXTRANSFERSIZE = 4194304, BLOCKSIZE = 65536, STATS = 50"
    assert client.numbers(f"BACKUP DATABASE shop TO {stripes} WITH FORMAT, {options}")[-1] == 3014
    assert client.numbers(f"BACKUP DATABASE shop TO {stripes} WITH NOINIT") == [3296, 3013]
    assert client.numbers(f"RESTORE VERIFYONLY FROM {stripes}") == [3262]
    assert client.numbers(f"BACKUP LOG shop TO URL = '{url}/a/1.trn'")[-1] == 3014
    files = "MOVE 'shop' TO '/var/opt/mssql/data/b.mdf', MOVE 'shop_log' TO '/var/opt/mssql/data/b.ldf'"
    assert client.numbers(f"RESTORE DATABASE b FROM {stripes} WITH {files}, NORECOVERY")[-1] == 3014
    assert client.numbers(f"RESTORE LOG b FROM URL = '{url}/a/1.trn'")[-1] == 3014
    assert client.rows("SELECT COUNT(*) FROM b.dbo.t") == [(100,)]
    tier = """WITH BACKUP_OPTIONS = '{"azure": {"access_tier": "Cool"}}'"""
    assert client.numbers(f"BACKUP DATABASE shop TO URL = '{url}/cool.bak' {tier}")[-1] == 3014


def test_an_accounts_key(client: Client, azure: AzureServer) -> None:
    url = azure.bucket("key")
    assert client.run(_credential("account", ACCOUNT, KEY)) == []
    backup = f"BACKUP DATABASE shop TO URL = '{url}/x.bak' WITH CREDENTIAL = 'account'"
    assert client.numbers(backup)[-1] == 3014
    verify = f"RESTORE VERIFYONLY FROM URL = '{url}/x.bak' WITH CREDENTIAL = 'account'"
    assert client.numbers(verify) == [3262]


def test_refusals(client: Client, azure: AzureServer) -> None:
    url = azure.bucket("refusals")
    nowhere = f"http://127.0.0.1:{azure.port}/{ACCOUNT}/nowhere"
    client.run(_credential(url, SAS, shared_access_signature(valid=False)))
    client.run(_credential(nowhere, SAS, shared_access_signature()))
    client.run(_credential("sas", SAS, shared_access_signature()))

    def refused(target: str, options: str = "") -> tuple[int, str]:
        return client.run(f"BACKUP DATABASE shop TO URL = '{target}' {options}")[0]

    number, text = refused(f"{url}/x.bak")
    assert (number, text.endswith("error 5(Access is denied.).")) == (3201, True)
    number, text = refused(f"{nowhere}/x.bak")
    assert (number, text.endswith("error 50(The request is not supported.).")) == (3201, True)
    assert refused(f"{url}/x.bak", "WITH CREDENTIAL = 'sas'")[0] == 3225
