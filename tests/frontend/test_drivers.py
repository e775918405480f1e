"""Microsoft's and FreeTDS's drivers against the frontend: TLS in PRELOGIN packets, strict, and in clear."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tdsproxy.tds.prelogin import EncryptionPolicy
from tests.frontend.fakes import FakeServer
from tests.frontend.running import serving, settings

ROWS = [(1, "one"), (2, None)]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def wanted(server: FakeServer, tls: Path) -> Iterator[int]:
    with serving(server, settings(EncryptionPolicy.WANTED, tls)) as port:
        yield port


@pytest.fixture
def clear(server: FakeServer) -> Iterator[int]:
    with serving(server) as port:
        yield port


def rows(connection: Any) -> list[tuple[object, ...]]:
    cursor = connection.cursor()
    cursor.execute("SELECT 1")
    return [tuple(row) for row in cursor.fetchall()]


def test_pymssql_is_encrypted(server: FakeServer, wanted: int) -> None:
    pymssql = pytest.importorskip("pymssql")
    connection = pymssql.connect(server="127.0.0.1", port=str(wanted), user="sa", password="secret")
    assert rows(connection) == ROWS
    connection.close()
    assert server.sessions[0].request.encrypted


def test_pymssql_in_clear(server: FakeServer, clear: int) -> None:
    pymssql = pytest.importorskip("pymssql")
    connection = pymssql.connect(server="127.0.0.1", port=str(clear), user="sa", password="secret")
    assert rows(connection) == ROWS
    connection.close()
    assert not server.sessions[0].request.encrypted


def test_pymssql_hears_of_a_wrong_password(wanted: int) -> None:
    pymssql = pytest.importorskip("pymssql")
    with pytest.raises(pymssql.OperationalError, match="18456"):
        pymssql.connect(server="127.0.0.1", port=str(wanted), user="sa", password="wrong")


@pytest.mark.parametrize("encrypt", ["yes", "no", "strict"])
def test_mssql_python(server: FakeServer, wanted: int, tls: Path, encrypt: str) -> None:
    mssql_python = pytest.importorskip("mssql_python")
    trust = "" if encrypt == "strict" else "TrustServerCertificate=yes;"
    if encrypt == "strict":
        trust = f"ServerCertificate={tls / 'cert.pem'};"
    connection = mssql_python.connect(
        f"SERVER=127.0.0.1,{wanted};UID=sa;PWD=secret;Encrypt={encrypt};{trust}", autocommit=True
    )
    assert rows(connection) == ROWS
    connection.close()
    # With "no" only the login is encrypted: made to do more, the driver would verify the certificate.
    assert server.sessions[0].request.encrypted is (encrypt != "no")


def test_mssql_python_in_clear(server: FakeServer, clear: int) -> None:
    mssql_python = pytest.importorskip("mssql_python")
    connection = mssql_python.connect(
        f"SERVER=127.0.0.1,{clear};UID=sa;PWD=secret;Encrypt=no", autocommit=True
    )
    assert rows(connection) == ROWS
    connection.close()


def microsoft_driver() -> str:
    """The path of Microsoft's ODBC driver, which mssql-python brings along."""
    package = pytest.importorskip("mssql_python_odbc")
    places = [Path(place) for place in package.__path__]
    found = [file for place in places for file in place.glob("libs/linux/debian*/x86_64/lib/libmsodbcsql*")]
    if not found:
        pytest.skip("Microsoft's ODBC driver is not here for this platform")
    return str(found[0])


@pytest.mark.parametrize("mars", ["yes", "no"])
def test_pyodbc_with_microsofts_driver(wanted: int, mars: str) -> None:
    pyodbc = pytest.importorskip("pyodbc")
    connection = pyodbc.connect(
        f"DRIVER={microsoft_driver()};SERVER=127.0.0.1,{wanted};UID=sa;PWD=secret;Encrypt=yes;"
        f"TrustServerCertificate=yes;MARS_Connection={mars}",
        autocommit=True,
    )
    assert rows(connection) == ROWS
    connection.close()


def test_pyodbc_with_freetds(server: FakeServer, wanted: int) -> None:
    pyodbc = pytest.importorskip("pyodbc")
    if "FreeTDS" not in pyodbc.drivers():
        pytest.skip("FreeTDS's ODBC driver is not installed")
    connection = pyodbc.connect(
        f"DRIVER={{FreeTDS}};SERVER=127.0.0.1;PORT={wanted};UID=sa;PWD=secret;TDS_Version=7.4;Encryption=require",
        autocommit=True,
    )
    assert rows(connection) == ROWS
    connection.close()
    assert server.sessions[0].request.encrypted


@pytest.mark.parametrize("version", ["7.1", "7.2", "7.3", "7.4"])
def test_tsql(server: FakeServer, wanted: int, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = shutil.which("tsql")
    if tool is None:
        pytest.skip("FreeTDS's tsql is not installed")
    monkeypatch.setenv("TDSVER", version)
    done = subprocess.run(
        [tool, "-H", "127.0.0.1", "-p", str(wanted), "-U", "sa", "-P", "secret", "-o", "q"],
        input="SELECT 1\ngo\nexit\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "one" in done.stdout, done.stderr
    assert "NULL" in done.stdout
