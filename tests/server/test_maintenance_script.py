"""A long script in the manner of maintenance procedures, which uses most of the language at once."""

from __future__ import annotations

from pathlib import Path

from tdsproxy.tsql.script import split_batches
from tests.server.scratch import shared_world, sql
from tests.server.support import Client, errors, infos, rows

__all__ = ["shared_world", "sql"]

_SCRIPT = Path(__file__).with_name("maintenance.sql")


def test_the_script_answers_batch_by_batch(sql: Client) -> None:
    database = str(sql.value("SELECT DB_NAME()"))
    text = _SCRIPT.read_text().replace("'xdb'", f"'{database}'").replace("%x%", f"%{database[:1]}%")
    answers = [sql.replies(batch.text) for batch in split_batches(text)]
    assert [[m.number for m in errors(answer)] for answer in answers] == [
        *([[]] * 5),
        [50000, 50000],
        [],
        [],
        [7202],
    ]
    runs, selection, values, catalog = answers[-4:]
    assert [m.text for m in infos(runs) if m.text.isdigit()] == ["0", "50000", "50000"]
    assert [m.text for m in infos(runs) if m.text.startswith("Outcome")] == [
        "Outcome: Succeeded",
        "Outcome: Failed",
    ]
    assert rows(runs)[-1] == (
        *("master", "<Info><Mode>2</Mode><Note>c</Note></Info>", "QUERY", 50000, "boom"),
        database,
    )
    chosen = [m.text for m in infos(selection)][-1].split(";")
    assert {"master", "model", "msdb", database} <= set(chosen)
    printed = [m.text for m in infos(values)]
    assert printed[1:] == [
        "BACKUP DATABASE x TO DISK = N'/b', DISK = N'/a' MIRROR TO DISK = N'/c'",
        "Thursday 9 123456",
        "964.500000",
        "1234567890123456789012345",
        "dir",
        "ok",
        "found version",
        "2026-01-02 03:04:05",
        "1",
        "2",
    ]
    assert rows(catalog)[0] == ("master",)
    assert rows(catalog)[-1] == (3,)
