"""A server that is operated: error log, metrics, notices, retention, trial restores, status and doctor."""

from __future__ import annotations

import datetime as dt
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import pytest
from typer.testing import CliRunner

from tdsproxy.agent.settings import write_settings
from tdsproxy.cli.app import app
from tests.agent.receiver import LIMIT, Receiver, receiver
from tests.running import Running, running

_CONFIG = """
[notices]
webhooks = ["{url}"]
interval_seconds = 0.2

[retention]
every_hours = 0

[retention.databases."kept"]
daily = 0
weekly = 0
monthly = 0
yearly = 0
count = 1
"""


@dataclass
class World:
    server: Running
    hook: Receiver
    metrics: str
    http: str

    def sql(self, *texts: str) -> list[Any]:
        rows: list[Any] = []
        with self.server.connect() as connection:
            cursor = connection.cursor()
            for text in texts:
                cursor.execute(text)
                rows = cursor.fetchall() if cursor.description else []
                while cursor.nextset():
                    pass
        return rows

    def refused(self, text: str) -> str:
        try:
            self.sql(text)
        except Exception as error:  # noqa: BLE001 - the driver has a class for each kind of error
            return str(error)
        raise AssertionError(f"{text} was not refused")

    def command(self, *words: str, status: int = 0) -> str:
        found = CliRunner().invoke(app, [*words, "--store", str(self.server.store)])
        assert found.exit_code == status, f"{found.output}{found.exception}"
        return found.stdout

    def promise(self, **objectives: float) -> None:
        """Changes the objectives while the server runs."""
        path = self.server.store / "operation.json"
        settings = json.loads(path.read_text())
        settings["notices"] |= objectives
        write_settings(self.server.store, settings)

    def log(self) -> list[tuple[str, str]]:
        return [(source, text) for _, source, text in self.sql("EXEC sp_readerrorlog")]

    def values(self) -> dict[str, float]:
        return samples(get(f"{self.metrics}/metrics")[1])


def get(url: str, **headers: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def samples(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def wait_until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    place = tmp_path_factory.mktemp("operated")
    with receiver() as hook:
        config = place / "tdsproxy.toml"
        config.write_text(_CONFIG.format(url=hook.url))
        free = ("--metrics", "127.0.0.1:0", "--http", "127.0.0.1:0")
        with running(place / "data", "--config", str(config), "--log-json", *free) as server:
            (ready,) = place.glob("*.ready")
            found = json.loads(ready.read_text())
            world = World(server, hook, f"http://{found['metrics']}", f"http://{found['http']}")
            world.sql(
                "CREATE DATABASE shop",
                "CREATE TABLE shop.dbo.t (n int); INSERT shop.dbo.t VALUES (1)",
                "BACKUP DATABASE shop TO DISK = 'shop.bak'",
                "INSERT shop.dbo.t VALUES (2)",
                "BACKUP LOG shop TO DISK = 'shop.trn'",
                "BACKUP DATABASE shop TO DISK = 'shop.diff' WITH DIFFERENTIAL",
            )
            yield world


def test_error_log(world: World) -> None:
    world.refused("BACKUP DATABASE shop TO DISK = '/nowhere/x.bak'")
    world.sql("RESTORE DATABASE shop FROM DISK = 'shop.bak' WITH REPLACE")
    lines = world.log()
    texts = [text for source, text in lines if source == "Backup"]
    full, log, differential = texts[:3]
    assert full.startswith("Database backed up. Database: shop, creation date(time): ")
    assert "number of dump devices: 1, device information: (FILE=1, TYPE=DISK: {'" in full
    assert full.endswith("This is an informational message only. No user action is required.")
    assert log.startswith("Log was backed up. Database: shop, ")
    assert differential.startswith("Database differential changes were backed up. Database: shop, ")
    place = texts.index("Error: 3041, Severity: 16, State: 1.")
    assert texts[place + 1] == (
        "BACKUP failed to complete the command BACKUP DATABASE shop. Check the backup application log for"
        " detailed messages."
    )
    assert texts[-1].startswith("Database was restored: Database: shop, ")
    assert (world.server.store / "errorlog").stat().st_mode & 0o777 == 0o600
    written = (world.server.store / "keeper.log").read_text()
    # More may be being written.
    structured = [json.loads(line) for line in written[: written.rindex("\n")].splitlines()]
    assert {"number": 3041, "severity": 16, "database": "shop", "level": "error"}.items() <= {
        key: value for entry in structured if entry.get("number") == 3041 for key, value in entry.items()
    }.items()
    world.sql("EXEC sp_cycle_errorlog")
    assert all("backed up" not in text for _, text in world.log())
    older = [tuple(row)[1:] for row in world.sql("EXEC sp_readerrorlog 1, 1, 'Database backed up'")]
    assert [text for _, text in older] == [full]
    assert [row[0] for row in world.sql("EXEC xp_enumerrorlogs")] == [0, 1]
    assert "xp_readerrorlog() returned error 2" in world.refused("EXEC xp_readerrorlog 6")


def test_metrics(world: World) -> None:
    lag = 'tdsproxy_capture_lag_seconds{database="shop"}'
    wait_until(lambda: lag in world.values(), "the log of a restored database is not captured")
    status, text = get(f"{world.metrics}/metrics")
    found = samples(text)
    assert status == 200
    assert found['tdsproxy_native_statements_total{kind="backup_log",result="done"}'] >= 1
    assert found['tdsproxy_native_statement_seconds_count{kind="backup_database"}'] >= 1
    assert found['tdsproxy_chain_ok{database="shop"}'] == 1
    assert found['tdsproxy_last_good_backup_seconds{database="shop",type="full"}'] >= 0
    assert found["tdsproxy_received_bytes_total"] > 0
    assert found["tdsproxy_keeper_up"] == 1
    assert lag in found
    with world.server.connect():
        assert world.values()["tdsproxy_sessions"] >= 1
    assert get(f"{world.metrics}/healthz") == (200, "ok\n")
    assert get(f"{world.metrics}/other")[0] == 404
    assert get(f"{world.metrics}/metrics", Host="elsewhere.example")[0] == 403
    # Each metric of the example alerts is one that there is.
    alerts = (Path(__file__).parents[2] / "docs" / "alerts.yml").read_text()
    families = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    named = {word for word in _words(alerts) if word.startswith("tdsproxy_")}
    assert named <= families


def _words(text: str) -> set[str]:
    return set("".join(letter if letter.isalnum() or letter == "_" else " " for letter in text).split())


def test_notice_of_a_failed_backup(world: World) -> None:
    world.refused("BACKUP DATABASE shop TO DISK = '/nowhere/y.bak'")
    notice = world.hook.wait_for("failed backup", "event")
    assert notice["subject"] == "shop"
    assert "Operating system error 5(Access is denied.)" in notice["text"]


def test_notice_of_a_failed_verify(world: World) -> None:
    world.sql("BACKUP DATABASE shop TO DISK = 'hurt.bak'")
    hurt = world.server.backup_directory / "hurt.bak"
    content = bytearray(hurt.read_bytes())
    content[len(content) // 2] ^= 0xFF
    hurt.write_bytes(content)
    world.refused("RESTORE VERIFYONLY FROM DISK = 'hurt.bak'")
    assert world.hook.wait_for("failed verify", "event")["text"].startswith("[")
    hurt.unlink()


def test_notice_of_a_late_backup_and_its_end(world: World) -> None:
    world.promise(full_hours=0.0)
    raised = world.hook.wait_for("late backup", "raised")
    assert "There is no good full backup of database" in raised["text"]
    wait_until(lambda: any("no good full backup" in text for _, text in world.log()), "no line in the log")
    wait_until(
        lambda: any(name.startswith('tdsproxy_conditions{kind="late backup"') for name in world.values()),
        "no metric",
    )
    world.promise(full_hours=24.0)
    world.hook.wait_for("late backup", "resolved")


def test_notice_of_a_broken_chain(world: World) -> None:
    world.sql(
        "CREATE DATABASE broken",
        "CREATE TABLE broken.dbo.t (n int)",
        "BACKUP DATABASE broken TO DISK = 'broken.bak'",
        "ALTER DATABASE broken SET OFFLINE",
    )
    # Somebody writes while nobody looks, and leaves no log behind.
    connection = apsw.Connection(str(world.server.store / "broken.db"))
    connection.set_busy_timeout(60_000)

    def leave_the_log() -> bool:
        """It can't as long as somebody who had begun to look at the file does so."""
        try:
            return list(connection.execute("PRAGMA journal_mode = DELETE")) == [("delete",)]
        except apsw.BusyError:
            return False

    wait_until(leave_the_log, "an offline database is in use")
    connection.execute("INSERT INTO t VALUES (1)").fetchall()
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.close()
    world.sql("ALTER DATABASE broken SET ONLINE")
    world.hook.wait_for("broken chain", "raised", "broken")
    assert world.values()['tdsproxy_chain_ok{database="broken"}'] == 0
    assert "log chain is broken" in world.command("doctor", status=1)
    world.sql("BACKUP DATABASE broken TO DISK = 'broken.bak'")
    world.hook.wait_for("broken chain", "resolved", "broken")


def test_retention(world: World) -> None:
    world.sql("CREATE DATABASE kept", "CREATE TABLE kept.dbo.t (n int)")
    for name in ("one.bak", "two.bak"):
        world.sql(f"BACKUP DATABASE kept TO DISK = '{name}'", f"BACKUP LOG kept TO DISK = '{name}.trn'")
    stray = world.server.backup_directory / "stray.txt"
    stray.write_text("left here")
    orphan = world.server.backup_directory / "orphan.bak"
    orphan.write_bytes((world.server.backup_directory / "one.bak").read_bytes())
    told = json.loads(world.command("agent", "retention", "kept", "--dry-run", "--json"))["sets"]
    by_name = {Path(device).name: entry for entry in told for device in entry["devices"]}
    assert {name: by_name[name]["what"] for name in ("one.bak", "one.bak.trn", "two.bak")} == {
        "one.bak": "deleted",
        "one.bak.trn": "deleted",
        "two.bak": "kept",
    }, by_name
    assert "the newest full backup" in by_name["two.bak"]["reason"]
    assert (by_name["stray.txt"]["what"], by_name["orphan.bak"]["what"]) == ("unknown", "orphaned")
    assert by_name["shop.bak"]["reason"] == "no policy covers its database"
    assert (world.server.backup_directory / "one.bak").exists()
    shown = world.command("agent", "retention", "kept")
    assert "2 backup sets were deleted" in shown
    left = {path.name for path in world.server.backup_directory.iterdir()}
    assert {"two.bak", "two.bak.trn", "stray.txt", "orphan.bak"} <= left
    assert not {"one.bak", "one.bak.trn"} & left
    assert world.sql("SELECT COUNT(*) FROM msdb.dbo.backupset WHERE database_name = 'kept'") == [(2,)]
    assert world.sql(
        "SELECT type, is_complete FROM msdb.dbo.tdsproxy_deleted_backups WHERE database_name = 'kept'"
        " ORDER BY type"
    ) == [("D", True), ("L", True)]
    world.sql("RESTORE DATABASE kept FROM DISK = 'two.bak' WITH REPLACE")
    orphan.unlink()


def test_trial_restores(world: World) -> None:
    found = world.command("agent", "trial", "shop")
    assert "'shop'" in found
    assert "sound" in found
    ((name, succeeded, sets),) = world.sql(
        "SELECT TOP (1) database_name, succeeded, backup_sets FROM msdb.dbo.tdsproxy_trial_restores"
    )
    assert (name, succeeded) == ("shop", True)
    assert sets >= 1
    assert world.values()['tdsproxy_last_proven_restore_seconds{database="shop"}'] >= 0
    report = world.command("report")
    assert "| shop |" in report
    page = world.command("report", "--html")
    assert page.startswith("<!DOCTYPE html>")
    assert "<svg" in page


def test_status(world: World) -> None:
    shown = world.command("status")
    assert "shop  ONLINE  FULL" in shown
    assert "last full" in shown
    assert "restorable" in shown
    found = json.loads(world.command("status", "--json"))
    (shop,) = [item for item in found["databases"] if item["name"] == "shop"]
    assert set(shop["last"]) == {"full", "differential", "log"}
    begin, end = (dt.datetime.fromisoformat(shop["ranges"][0][edge][:26]) for edge in ("from", "to"))
    assert begin <= end


def test_doctor(world: World) -> None:
    found = json.loads(world.command("doctor", "--json"))["findings"]
    assert "error" not in {item["level"] for item in found}
    secret = world.server.store / "errorlog"
    secret.chmod(0o644)
    told = world.command("doctor", "--quick", status=1)
    assert f"chmod 600 '{secret}'" in told
    secret.chmod(0o600)
    moved = world.server.backup_directory / "shop.trn"
    moved.rename(moved.with_suffix(".away"))
    assert "shop.trn is not there" in world.command("doctor")
    moved.with_suffix(".away").rename(moved)


def test_page_and_its_script(world: World) -> None:
    assert get(f"{world.http}/")[0] == 200
    assert get(f"{world.http}/page.js")[0] == 200
    request = urllib.request.Request(f"{world.http}/", method="POST", data=b"x")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)
    assert refused.value.code == 405
    found = json.loads(get(f"{world.http}/status.json")[1])
    (shop,) = [item for item in found["databases"] if item["name"] == "shop"]
    moment = shop["ranges"][-1]["to"][:23]
    status, script = get(f"{world.http}/script?database=shop&moment={moment}")
    assert status == 200
    assert "RESTORE DATABASE [shop] FROM DISK" in script
    world.sql(script)
    assert world.sql("SELECT COUNT(*) FROM shop.dbo.t")
    assert get(f"{world.http}/script?database=nix&moment={moment}")[0] == 400


def test_who_watches_leaves_no_trace_in_the_audit_log(world: World) -> None:
    get(f"{world.metrics}/metrics")
    get(f"{world.http}/doctor.json")
    world.command("status")
    text = (world.server.store / "audit.log").read_text()
    assert "BACKUP" in text
    assert not any(name in text for name in ("sp_metrics", "sp_status", "sp_doctor"))
