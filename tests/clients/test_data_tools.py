"""pandas writes and reads tables; Alembic makes, compares and takes back a schema."""

from __future__ import annotations

import datetime as dt
import importlib
import shutil
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.clients.available import need
from tests.running import Running, running

pytestmark = pytest.mark.slow

DRIVER = "ODBC Driver 18 for SQL Server"
FIRST = """
from alembic import op
import sqlalchemy as sa

revision, down_revision, branch_labels, depends_on = "0001", None, None, None


def upgrade():
    op.create_table(
        "city",
        sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
        sa.Column("name", sa.Unicode(80), nullable=False),
        sa.Column("people", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("since", sa.DateTime, server_default=sa.func.getdate()),
    )
    op.create_index("ix_city_name", "city", ["name"], unique=True)


def downgrade():
    op.drop_table("city")
"""
SECOND = """
from alembic import op
import sqlalchemy as sa

revision, down_revision, branch_labels, depends_on = "0002", "0001", None, None


def upgrade():
    op.create_table(
        "street",
        sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
        sa.Column("city_id", sa.Integer, sa.ForeignKey("city.id", name="fk_city"), nullable=False),
        sa.Column("length", sa.Numeric(9, 2)),
        sa.CheckConstraint("length > 0", name="ck_length"),
    )
    op.add_column("city", sa.Column("code", sa.String(10)))
    op.alter_column("city", "name", existing_nullable=False, type_=sa.Unicode(120))
    op.execute("INSERT INTO city (name) VALUES ('Ulm')")
    op.alter_column("city", "people", existing_type=sa.BigInteger, new_column_name="inhabitants")


def downgrade():
    op.alter_column("city", "inhabitants", existing_type=sa.BigInteger, new_column_name="people")
    op.alter_column("city", "name", existing_nullable=False, type_=sa.Unicode(80))
    op.drop_column("city", "code")
    op.drop_table("street")
"""
ENVIRONMENT = """
from alembic import context

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=context.config.attributes["metadata"],
    compare_type=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    need("sqlalchemy")
    with running(tmp_path_factory.mktemp("data") / "store") as found:
        with found.connect() as connection, connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE Data")
        yield found


@pytest.fixture(params=["pymssql", "msodbcsql18"])
def engine(server: Running, request: pytest.FixtureRequest) -> Iterator[Any]:
    need(request.param)
    sqlalchemy = importlib.import_module("sqlalchemy")
    driver, query = "pymssql", {}
    if request.param == "msodbcsql18":
        driver, query = "pyodbc", {"driver": DRIVER, "Encrypt": "no"}
    url = sqlalchemy.URL.create(
        f"mssql+{driver}", "sa", server.password, server.host, server.port, "Data", query
    )
    made = sqlalchemy.create_engine(url)
    yield made
    made.dispose()


def test_pandas(engine: Any) -> None:
    need("pandas")
    pandas = importlib.import_module("pandas")
    sqlalchemy = importlib.import_module("sqlalchemy")
    frame = pandas.DataFrame(
        {
            "number": [1, 2, 3],
            "text": ["a", None, "Zoë"],
            "ratio": [0.5, float("nan"), -2.25],
            "day": pandas.to_datetime(["2026-01-02 00:00:00", "2026-01-03 04:05:06", None]),
            "flag": [True, False, True],
            "price": [Decimal("1.50"), Decimal("2.25"), None],
        }
    )
    types = {"price": sqlalchemy.Numeric(9, 2), "text": sqlalchemy.Unicode(20)}
    frame.to_sql("frames", engine, index=False, if_exists="replace", dtype=types)
    frame.to_sql("frames", engine, index=False, if_exists="append", dtype=types, method="multi", chunksize=2)
    back = pandas.read_sql("SELECT * FROM frames ORDER BY number", engine)
    assert list(back["number"]) == [1, 1, 2, 2, 3, 3]
    assert list(back["text"].fillna("-")) == ["a", "a", "-", "-", "Zoë", "Zoë"]
    assert list(back["ratio"].fillna(0)) == [0.5, 0.5, 0, 0, -2.25, -2.25]
    assert list(back["day"])[2] == pandas.Timestamp("2026-01-03 04:05:06")
    assert back["day"].isna().sum() == 2
    assert [bool(flag) for flag in back["flag"]] == [True, True, False, False, True, True]
    assert pandas.read_sql_table("frames", engine, columns=["price"])["price"].dropna().sum() == 7.5
    asked = sqlalchemy.text("SELECT text FROM frames WHERE day > :day")
    found = pandas.read_sql_query(asked, engine, params={"day": dt.datetime(2026, 1, 3)})
    assert len(found) == 2
    chunks = list(pandas.read_sql("SELECT number FROM frames", engine, chunksize=4))
    assert [len(chunk) for chunk in chunks] == [4, 2]


def metadata() -> Any:
    """The schema after both revisions."""
    sa = importlib.import_module("sqlalchemy")
    found = sa.MetaData()
    sa.Table(
        "city",
        found,
        sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
        sa.Column("name", sa.Unicode(120), nullable=False),
        sa.Column("inhabitants", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("since", sa.DateTime, server_default=sa.func.getdate()),
        sa.Column("code", sa.String(10)),
        sa.Index("ix_city_name", "name", unique=True),
    )
    sa.Table(
        "street",
        found,
        sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
        sa.Column("city_id", sa.Integer, sa.ForeignKey("city.id", name="fk_city"), nullable=False),
        sa.Column("length", sa.Numeric(9, 2)),
        sa.CheckConstraint("length > 0", name="ck_length"),
    )
    return found


def migrations(directory: Path) -> Path:
    home = directory / "migrations"
    (home / "versions").mkdir(parents=True)
    (home / "env.py").write_text(ENVIRONMENT)
    (home / "script.py.mako").write_text("")
    (home / "versions" / "0001_first.py").write_text(FIRST)
    (home / "versions" / "0002_second.py").write_text(SECOND)
    return home


def test_alembic(engine: Any, tmp_path: Path) -> None:
    need("alembic")
    command = importlib.import_module("alembic.command")
    config_module = importlib.import_module("alembic.config")
    autogenerate = importlib.import_module("alembic.autogenerate")
    migration = importlib.import_module("alembic.runtime.migration")
    sa = importlib.import_module("sqlalchemy")
    config = config_module.Config()
    config.set_main_option("script_location", str(migrations(tmp_path)))
    config.attributes["metadata"] = metadata()

    def differences(connection: Any) -> list[Any]:
        options = {"compare_type": True, "compare_server_default": True, "include_name": ours}
        context = migration.MigrationContext.configure(connection, opts=options)
        return list(autogenerate.compare_metadata(context, metadata()))

    def ours(name: str | None, kind: str, _: object) -> bool:
        return kind != "table" or name in ("city", "street")

    with engine.begin() as connection:
        config.attributes["connection"] = connection
        assert differences(connection)
        command.upgrade(config, "head")
    with engine.begin() as connection:
        assert differences(connection) == []
        assert connection.execute(sa.text("SELECT name, inhabitants FROM city")).all() == [("Ulm", 0)]
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    with engine.begin() as connection:
        inspector = sa.inspect(connection)
        assert "street" not in inspector.get_table_names()
        assert [column["name"] for column in inspector.get_columns("city")] == [
            "id",
            "name",
            "people",
            "since",
        ]
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalars().all() == [
            "0001"
        ]
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    with engine.begin() as connection:
        assert "city" not in sa.inspect(connection).get_table_names()
    shutil.rmtree(tmp_path / "migrations")
