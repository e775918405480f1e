"""docs/limits.md: its numbers against the code, its statements against a server."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator

import pytest

from tests.cli.pages import ROOT
from tests.running import Running, running

PAGE = (ROOT / "docs" / "limits.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading."""
    body = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in body.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("row", rows("Numbers"), ids=lambda row: row[0])
def test_a_number_is_that_of_the_code(row: list[str]) -> None:
    _, limit, constants = row
    said = {float(number) for number in re.findall(r"\d+", limit)}
    found = []
    for place in re.findall(r"`([^`]+)`", constants):
        module, _, names = place.partition(":")
        value: object = importlib.import_module(module)
        for name in names.split("."):
            value = (
                value.__dataclass_fields__[name].default if isinstance(value, type) else getattr(value, name)
            )
        assert isinstance(value, int | float), place
        found.append(float(value))
    assert set(found) == said


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("limits") / "data") as made:
        yield made


@pytest.mark.slow
def test_what_is_refused_and_what_is_accepted(server: Running) -> None:
    import pytds

    expected = {row[0].strip("`"): int(row[1]) for row in rows("Refused")}
    expected |= dict.fromkeys((row[0].strip("`") for row in rows("Accepted, without their meaning")), 0)
    found = {}
    with server.connect() as connection:
        for statement in expected:
            cursor = connection.cursor()
            try:
                cursor.execute(statement)
                while cursor.nextset():
                    pass
                found[statement] = 0
            except pytds.Error:
                (first, *_) = [said["msgno"] for said in cursor._session.messages if said["severity"] > 10]
                found[statement] = first
    assert found == expected
