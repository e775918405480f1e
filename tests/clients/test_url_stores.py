"""BACKUP TO URL and RESTORE FROM URL, and what goes wrong on the way, the same on every kind of store."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from tests.clients.available import CLIENTS, need
from tests.clients.test_urls import Client
from tests.keeper.shop import read_state, tdsproxy, wait_for
from tests.objects.faults import Cut, Environ, Slow
from tests.objects.stores import ObjectStore, object_store
from tests.running import running

pytestmark = pytest.mark.slow

_PARTS = "MAXTRANSFERSIZE = 5242880"
_AZURITE = CLIENTS / "azurite" / "node_modules" / ".bin" / "azurite-blob"
_number = itertools.count(1)


@pytest.fixture(scope="module", params=["s3", "azure", "gcs"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    if request.param == "azure":
        need("azurite")
    with object_store(request.param, tmp_path_factory.mktemp("azurite"), _AZURITE) as found:
        yield found


def _fill(client: Client) -> None:
    """A database that takes several parts."""
    for text in (
        "CREATE DATABASE large",
        "CREATE TABLE large.dbo.t (b varchar(max))",
        "INSERT large.dbo.t SELECT REPLICATE(CONVERT(varchar(max), 'x'), 1000000)"
        " FROM GENERATE_SERIES(1, 14)",
    ):
        assert client.run(text) == []


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with running(tmp_path_factory.mktemp("stores") / "store") as server:
        found = Client(server)
        for text in (
            "CREATE DATABASE shop",
            "CREATE TABLE shop.dbo.t (id int)",
            "INSERT shop.dbo.t SELECT value FROM GENERATE_SERIES(1, 100)",
        ):
            assert found.run(text) == []
        _fill(found)
        yield found
        found.close()


def _credential(name: str, store: ObjectStore, secret: str | None = None) -> str:
    value = store.secret if secret is None else secret
    return f"CREATE CREDENTIAL [{name}] WITH IDENTITY = '{store.identity}', SECRET = '{value}'"


@pytest.fixture
def bucket(store: ObjectStore, client: Client) -> str:
    """A bucket of the test's own, with a credential; its URL."""
    url = store.server.bucket(f"test-{next(_number)}")
    assert client.run(_credential(url, store)) == []
    return url


def _keys(store: ObjectStore, bucket: str) -> list[str]:
    return store.server.keys(bucket.rsplit("/", 1)[1])


def test_backups_of_every_kind_and_their_restore(client: Client, store: ObjectStore, bucket: str) -> None:
    stripes = ", ".join(f"URL = '{bucket}/a/{n}.bak'" for n in (1, 2, 3))
    options = "COMPRESSION, MAXTRANSFERSIZE = 4194304, BLOCKSIZE = 65536"
    assert client.numbers(f"BACKUP DATABASE shop TO {stripes} WITH {options}")[-1] == 3014
    client.run("INSERT shop.dbo.t VALUES (101)")
    assert client.numbers(f"BACKUP DATABASE shop TO URL = '{bucket}/a/d.bak' WITH DIFFERENTIAL")[-1] == 3014
    client.run("INSERT shop.dbo.t VALUES (102)")
    assert client.numbers(f"BACKUP LOG shop TO URL = '{bucket}/a/1.trn'")[-1] == 3014
    assert _keys(store, bucket) == ["a/1.bak", "a/1.trn", "a/2.bak", "a/3.bak", "a/d.bak"]
    assert client.numbers(f"RESTORE VERIFYONLY FROM {stripes}") == [3262]
    assert client.numbers(f"RESTORE VERIFYONLY FROM URL = '{bucket}/a/1.bak'")[0] == 3132
    (header,) = client.rows(f"RESTORE HEADERONLY FROM URL = '{bucket}/a/d.bak'")
    assert header[6] == 9
    moves = "MOVE 'shop' TO '/var/opt/mssql/data/b.mdf', MOVE 'shop_log' TO '/var/opt/mssql/data/b.ldf'"
    for source in (
        f"DATABASE b FROM {stripes} WITH {moves}, NORECOVERY",
        f"DATABASE b FROM URL = '{bucket}/a/d.bak' WITH NORECOVERY",
        f"LOG b FROM URL = '{bucket}/a/1.trn'",
    ):
        assert client.numbers(f"RESTORE {source}")[-1] == 3014
    assert client.rows("SELECT COUNT(*), MAX(id) FROM b.dbo.t")[0][1] == 102
    assert client.run("DROP DATABASE b") == []


def test_an_object_is_replaced_only_with_format(client: Client, store: ObjectStore, bucket: str) -> None:
    backup = f"BACKUP DATABASE shop TO URL = '{bucket}/x.bak'"
    assert client.numbers(f"{backup} WITH NOINIT, NOFORMAT")[-1] == 3014
    (first,) = client.rows(f"RESTORE HEADERONLY FROM URL = '{bucket}/x.bak'")
    for options in ("", "WITH NOINIT", "WITH INIT"):
        assert client.numbers(f"{backup} {options}") == [3296, 3013]
    both = f"BACKUP DATABASE shop TO URL = '{bucket}/new.bak', URL = '{bucket}/x.bak'"
    assert client.numbers(both) == [3296, 3013]
    assert client.rows(f"RESTORE HEADERONLY FROM URL = '{bucket}/x.bak'") == [first]
    assert _keys(store, bucket) == ["x.bak"]
    assert client.numbers(f"{backup} WITH FORMAT")[-1] == 3014
    (second,) = client.rows(f"RESTORE HEADERONLY FROM URL = '{bucket}/x.bak'")
    assert second != first  # another backup set, by its GUID
    assert client.numbers(f"RESTORE VERIFYONLY FROM URL = '{bucket}/x.bak'") == [3262]


def test_who_is_not_let_in(client: Client, store: ObjectStore) -> None:
    denied = "Operating system error 5(Access is denied.)."
    for secret in (store.wrong, store.expired):
        url = store.server.bucket(f"test-{next(_number)}")
        assert client.run(_credential(url, store, secret)) == []
        for statement in (
            f"BACKUP DATABASE shop TO URL = '{url}/x.bak'",
            f"BACKUP DATABASE large TO URL = '{url}/x.bak' WITH {_PARTS}",
            f"RESTORE HEADERONLY FROM URL = '{url}/x.bak'",
        ):
            (number, text), _ = client.run(statement)
            assert (number, text.endswith(denied)) == (3201, True)
        assert _keys(store, url) == []
    nowhere = url.replace(url.rsplit("/", 1)[1], "no-such-bucket")
    assert client.run(_credential(nowhere, store)) == []
    (number, text), _ = client.run(f"BACKUP DATABASE shop TO URL = '{nowhere}/x.bak'")
    assert (number, text.endswith("error 50(The request is not supported.).")) == (3201, True)


def test_a_busy_store_is_asked_again(client: Client, store: ObjectStore, bucket: str) -> None:
    left, lock = [3], threading.Lock()

    def busy(environ: Environ) -> tuple[int, str] | None:
        with lock:
            if left[0] and environ["REQUEST_METHOD"] != "HEAD":
                left[0] -= 1
                return store.busy
        return None

    with store.server.fault(busy):
        assert client.numbers(f"BACKUP DATABASE shop TO URL = '{bucket}/x.bak'")[-1] == 3014
        assert left == [0]
        left[0] = 2
        assert client.numbers(f"RESTORE VERIFYONLY FROM URL = '{bucket}/x.bak'") == [3262]
    assert left == [0]


def test_a_slow_store_is_waited_for(client: Client, store: ObjectStore, bucket: str) -> None:
    with store.server.fault(lambda environ: Slow(0.02, 1 << 20)):
        assert client.numbers(f"BACKUP DATABASE large TO URL = '{bucket}/x.bak' WITH {_PARTS}")[-1] == 3014
        assert client.numbers(f"RESTORE VERIFYONLY FROM URL = '{bucket}/x.bak'") == [3262]


def test_of_a_cut_upload_only_the_part_is_sent_again(client: Client, store: ObjectStore, bucket: str) -> None:
    lock, sent, cuts = threading.Lock(), Counter[str](), [0, 65_536]

    def cut(environ: Environ) -> Cut | None:
        if not store.is_part(environ):
            return None
        query = parse_qs(environ["QUERY_STRING"])
        with lock:
            sent[query.get("partNumber", query.get("blockid", [""]))[0]] += 1
            return Cut(cuts.pop()) if cuts else None

    with store.server.fault(cut):
        assert client.numbers(f"BACKUP DATABASE large TO URL = '{bucket}/x.bak' WITH {_PARTS}")[-1] == 3014
    assert cuts == []
    # 14 MB are three parts. The same one may have been cut twice.
    assert len(sent) == 3
    assert sent.total() == 5
    assert client.numbers(f"RESTORE VERIFYONLY FROM URL = '{bucket}/x.bak'") == [3262]


def test_an_answer_that_is_lost_is_no_failure(client: Client, store: ObjectStore, bucket: str) -> None:
    """The last request of an upload is carried out, and the connection is cut before it is said."""
    lost: list[str] = []

    def lose(environ: Environ) -> Cut | None:
        if not store.is_last(environ):
            return None
        lost.append(environ["PATH_INFO"])
        return Cut(answer=True) if len(lost) == 1 else None

    for options in (_PARTS, f"{_PARTS}, FORMAT"):
        lost.clear()
        with store.server.fault(lose):
            backup = f"BACKUP DATABASE large TO URL = '{bucket}/x.bak' WITH {options}"
            assert client.numbers(backup)[-1] == 3014
        assert lost
        assert client.numbers(f"RESTORE VERIFYONLY FROM URL = '{bucket}/x.bak'") == [3262]


def test_a_cut_download_goes_on_where_it_was(client: Client, store: ObjectStore, bucket: str) -> None:
    assert client.numbers(f"BACKUP DATABASE large TO URL = '{bucket}/x.bak' WITH {_PARTS}")[-1] == 3014
    cuts, lock = [300_000, 100], threading.Lock()

    def cut(environ: Environ) -> Cut | None:
        with lock:
            if environ["REQUEST_METHOD"] == "GET" and cuts:
                return Cut(cuts.pop(), answer=True)
        return None

    with store.server.fault(cut):
        assert client.numbers(f"RESTORE VERIFYONLY FROM URL = '{bucket}/x.bak'") == [3262]
    assert cuts == []


def test_who_is_stopped_amid_an_upload_leaves_no_object(tmp_path: Path, store: ObjectStore) -> None:
    """First by KILL, then the whole keeper by SIGKILL."""
    server_ = store.server
    url = server_.bucket(name := f"test-{next(_number)}")
    lock = tmp_path / "store" / "keeper.lock"
    sent, killed = threading.Event(), threading.Event()

    def note(environ: Environ) -> None:
        if store.is_part(environ):
            sent.set()

    def kill(environ: Environ) -> None:
        if store.is_part(environ) and not killed.is_set():
            killed.set()
            os.kill(int(lock.read_text()), signal.SIGKILL)

    text = f"BACKUP DATABASE large TO URL = '{url}/x.bak' WITH {_PARTS}"
    go_on = tmp_path / "go on"
    with running(tmp_path / "store", env={"TDSPROXY_HOLD_AT": f"backup.synced={go_on}"}) as server:
        client, other = Client(server), Client(server)
        client.run(_credential(url, store))
        _fill(client)
        with server_.fault(note):
            worker = threading.Thread(target=other.run, args=(text,))
            worker.start()
            assert sent.wait(100)
            backups = "SELECT session_id FROM sys.dm_exec_requests WHERE command = 'BACKUP DATABASE'"
            ((spid,),) = client.rows(backups)
            client.run(f"KILL {spid}")
            # The keeper takes what it is asked for in turn: behind this it knows of the end.
            assert client.numbers(f"RESTORE HEADERONLY FROM URL = '{url}/none.bak'") == [3201, 3013]
            go_on.touch()
            worker.join(120)
            assert not worker.is_alive()
            wait_for(lambda: not client.rows(backups))
        assert server_.keys(name) == []
        if not store.forgets:
            wait_for(lambda: not server_.open_uploads(name))
        with server_.fault(kill):
            client.run(text)
        assert killed.is_set()
        assert server_.keys(name) == []
        client.close()
        other.close()
    assert store.forgets or server_.open_uploads(name) == 1
    # The next keeper removes the parts.
    with running(tmp_path / "store") as server:
        wait_for(lambda: not list((tmp_path / "store" / ".uploads").iterdir()))
        assert store.forgets or server_.open_uploads(name) == 0
        client = Client(server)
        assert client.numbers(text)[-1] == 3014
        assert server_.keys(name) == ["x.bak"]
        client.close()


@pytest.mark.parametrize("store", ["azure", "gcs"], indirect=True)
def test_a_store_that_is_kept_there_comes_back(tmp_path: Path, store: ObjectStore) -> None:
    """The tests of the synchronisation use S3."""
    url = f"{store.server.bucket(f'test-{next(_number)}')}/store"
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text(store.secret)
    words = ("--sync", url, "--sync-secret-file", str(secret))
    with running(tmp_path / "store", *words) as server:
        client = Client(server)
        for text in (
            "CREATE DATABASE shop",
            "ALTER DATABASE shop SET RECOVERY FULL",
            "CREATE TABLE shop.dbo.t (id int)",
        ):
            assert client.run(text) == []
        assert client.numbers("BACKUP DATABASE shop TO DISK = 'x.bak'")[-1] == 3014
        assert client.run("INSERT shop.dbo.t SELECT value FROM GENERATE_SERIES(1, 50)") == []
        committed = time.time_ns()

        def is_safe() -> bool:
            state = read_state(tmp_path / "store", ".sync")
            return (state.get("through_ns") or 0) > committed and not state.get("unprotected")

        wait_for(is_safe)
        client.close()
    again = tmp_path / "again"
    done = tdsproxy("restore", "--all", "--from", url, "--secret-file", str(secret), "--store", str(again))
    assert done.returncode == 0, done.stdout + done.stderr
    with running(again) as server:
        client = Client(server)
        assert client.rows("SELECT COUNT(*) FROM shop.dbo.t") == [(50,)]
        client.close()
