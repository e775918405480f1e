"""What only Azure has: tiers, an account's key, a container that is not there."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from tests.clients.available import CLIENTS, need
from tests.clients.test_urls import Client
from tests.objects.azure_server import ACCOUNT, KEY, SAS, AzureServer, azure_server, shared_access_signature
from tests.objects.faults import Environ
from tests.running import running

pytestmark = pytest.mark.slow


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


def test_the_tier_is_seen_at_the_server(client: Client, azure: AzureServer) -> None:
    url = azure.bucket("tiers")
    assert client.run(_credential(url, SAS, shared_access_signature())) == []
    for tier in ("Cool", "Archive"):
        options = f"""WITH BACKUP_OPTIONS = '{{"azure": {{"access_tier": "{tier}"}}}}'"""
        assert client.numbers(f"BACKUP DATABASE shop TO URL = '{url}/{tier}.bak' {options}")[-1] == 3014
    assert azure.tiers("tiers") == {"Cool.bak": "Cool", "Archive.bak": "Archive"}
    assert client.numbers(f"RESTORE VERIFYONLY FROM URL = '{url}/Cool.bak'") == [3262]


def test_the_callers_own_key_goes_with_what_has_content(client: Client, azure: AzureServer) -> None:
    """Azurite has no such keys: they are seen, and taken off before it sees them."""
    url = azure.bucket("own-key")
    key = base64.b64encode(bytes(range(32))).decode()
    assert client.run(_credential(url, SAS, shared_access_signature())) == []
    assert client.run(f"CREATE CREDENTIAL own_key WITH IDENTITY = 'customer', SECRET = '{key}'") == []
    options = """_OPTIONS = '{"azure": {"customer_key_credential": "own_key"}}'"""

    def keys(statement: str, said: int) -> set[tuple[str, str | None]]:
        """The methods of the requests, and the key that came with each."""
        del azure.seen[:]
        assert client.numbers(statement)[-1] == said
        return {(method, headers.get("X_MS_ENCRYPTION_KEY")) for method, _, headers in azure.seen}

    def take_off(environ: Environ) -> None:
        for name in [name for name in environ if name.startswith("HTTP_X_MS_ENCRYPTION")]:
            del environ[name]

    with azure.fault(take_off):
        backup = keys(f"BACKUP DATABASE shop TO URL = '{url}/x.bak' WITH BACKUP{options}", 3014)
        restore = keys(f"RESTORE VERIFYONLY FROM URL = '{url}/x.bak' WITH RESTORE{options}", 3262)
    assert backup == {("HEAD", key), ("PUT", key)}
    assert restore == {("HEAD", key), ("GET", key)}


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
