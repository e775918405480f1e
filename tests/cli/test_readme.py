"""README.md: its first steps as a newcomer takes them, and that what it links to is there."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.cli.pages import ROOT, Reader, sections
from tests.running import EXACT, Running, running

PAGE = ROOT / "README.md"
LINK = re.compile(r"\]\(([^)#:]+)(?:#([^)]+))?\)")


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("readme") / "data", env=EXACT) as made:
        yield made


@pytest.mark.slow
def test_the_first_steps(server: Running) -> None:
    start, *steps = sections(PAGE)["Start"]
    assert start == ("sh", "tdsproxy serve --store ./data\n")
    reader = Reader(server.store.parent, server)
    for language, text in steps:
        if language == "sh":
            reader.shell(text)
        else:
            reader.sql(text)
            reader.sql("SELECT SYSDATETIME() AS [before]")
        if "MOMENT" in text:
            assert reader.said.endswith("name\n-----\nbread\nmilk\n\n(2 rows affected)\n")
    assert "last full" in reader.said


@pytest.mark.parametrize("page", [PAGE, *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name)
def test_links_lead_somewhere(page: object) -> None:
    assert isinstance(page, type(PAGE))
    for target, anchor in LINK.findall(page.read_text()):
        there = page.parent / target
        assert there.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE)
            assert anchor in [
                re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-") for head in heads
            ]
