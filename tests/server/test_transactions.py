"""Transactions: nesting, savepoints, two sessions, two databases."""

from __future__ import annotations

from pathlib import Path

from tdsproxy.tsql.replies import TransactionBegun, TransactionEnded
from tests.server.bench import Bench
from tests.server.bench_fixture import bench

__all__ = ["bench"]


def test_nesting_and_savepoints(bench: Bench) -> None:
    bench.ok("CREATE TABLE t(a int)")
    rows = bench.query(
        "BEGIN TRAN; INSERT t VALUES (1); BEGIN TRAN; INSERT t VALUES (2); COMMIT; SAVE TRAN s;"
        " INSERT t VALUES (3); ROLLBACK TRAN s; INSERT t VALUES (4); COMMIT; SELECT a FROM t ORDER BY a"
    )
    assert rows == [(1,), (2,), (4,)]
    assert bench.query("BEGIN TRAN; BEGIN TRAN; DELETE t; ROLLBACK; SELECT @@TRANCOUNT, COUNT(*) FROM t") == [
        (0, 3)
    ]


def test_counter_errors(bench: Bench) -> None:
    assert bench.error("COMMIT")[0] == 3902
    assert bench.error("ROLLBACK")[0] == 3903
    assert bench.error("SAVE TRAN x")[0] == 628
    assert bench.error("BEGIN TRAN; ROLLBACK TRAN nope")[0] == 6401


def test_environment_changes_carry_the_descriptor(bench: Bench) -> None:
    bench.ok("CREATE TABLE t(a int)")
    others = bench.ok("BEGIN TRAN; INSERT t VALUES (1); COMMIT; BEGIN TRAN; ROLLBACK").others
    begun = [reply.descriptor for reply in others if isinstance(reply, TransactionBegun)]
    ended = [(reply.descriptor, reply.committed) for reply in others if isinstance(reply, TransactionEnded)]
    assert len(set(begun)) == 2
    assert all(len(descriptor) == 8 for descriptor in begun)
    assert ended == [(begun[0], True), (begun[1], False)]


def test_what_one_session_commits_the_other_sees_at_its_next_statement(tmp_path: Path) -> None:
    first, second = Bench(tmp_path), Bench(tmp_path)
    first.ok("CREATE TABLE t(a int)")
    second.ok("BEGIN TRAN")
    assert second.query("SELECT COUNT(*) FROM t") == [(0,)]
    first.ok("INSERT t VALUES (1)")
    assert second.query("SELECT COUNT(*) FROM t") == [(1,)]
    # a write after an old read: no stale snapshot is in its way
    second.ok("INSERT t SELECT MAX(a) + 1 FROM t; COMMIT")
    assert first.query("SELECT a FROM t ORDER BY a") == [(1,), (2,)]
    first.close()
    second.close()


def test_a_lock_that_is_not_given_up_times_out(tmp_path: Path) -> None:
    first, second = Bench(tmp_path), Bench(tmp_path)
    first.ok("CREATE TABLE t(a int); BEGIN TRAN; INSERT t VALUES (1)")
    second.workspace.lock_timeout_ms = 20
    assert second.error("INSERT t VALUES (2)") == (1222, "Lock request time out period exceeded.")
    assert second.query("SELECT COUNT(*) FROM t") == [(0,)]
    first.ok("COMMIT")
    second.ok("INSERT t VALUES (2)")
    first.close()
    second.close()


def test_two_databases_in_one_transaction(bench: Bench) -> None:
    bench.add("other")
    bench.ok("CREATE TABLE t(a int); CREATE TABLE other.dbo.t(a int)")
    bench.ok("BEGIN TRAN; INSERT t VALUES (1); INSERT other..t VALUES (2); ROLLBACK")
    assert bench.query("SELECT (SELECT COUNT(*) FROM t), (SELECT COUNT(*) FROM other.dbo.t)") == [(0, 0)]
    bench.written.clear()
    bench.ok("BEGIN TRAN; INSERT t VALUES (1); INSERT other..t SELECT a FROM t; COMMIT")
    assert bench.query("SELECT x.a FROM t JOIN other.dbo.t x ON x.a = t.a") == [(1,)]
    assert bench.written == ["db", "other"]


def test_a_transaction_that_sqlite_has_given_up_is_not_committed(bench: Bench) -> None:
    bench.ok("CREATE TABLE t(a int); BEGIN TRAN; INSERT t VALUES (1)")
    bench.workspace.run("ROLLBACK")  # what SQLite does by itself when the disk is full
    answer = bench.run("INSERT t VALUES (2)")
    assert answer.errors
    assert bench.query("SELECT @@TRANCOUNT, COUNT(*) FROM t") == [(0, 0)]
    bench.ok("BEGIN TRAN; INSERT t VALUES (3)")
    bench.workspace.run("ROLLBACK")
    assert bench.error("COMMIT")[0] == 3998
    assert bench.query("SELECT @@TRANCOUNT, COUNT(*) FROM t") == [(0, 0)]
