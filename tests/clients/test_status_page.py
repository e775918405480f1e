"""The status page in a real browser: no errors on its console, usable without a mouse."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.running import Running, running

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PICTURES = os.environ.get("TDSPROXY_SCREENSHOTS")
"""A directory that gets screenshots, when it is named."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, str]]:
    place = tmp_path_factory.mktemp("page")
    with running(place / "data", "--http", "127.0.0.1:0") as server:
        (ready,) = place.glob("*.ready")
        with server.connect() as connection:
            cursor = connection.cursor()
            for text in (
                "CREATE DATABASE shop",
                "CREATE TABLE shop.dbo.t (n int); INSERT shop.dbo.t VALUES (1)",
                "BACKUP DATABASE shop TO DISK = 'shop.bak'",
                "INSERT shop.dbo.t VALUES (2)",
                "BACKUP DATABASE shop TO DISK = 'shop.diff' WITH DIFFERENTIAL",
                "INSERT shop.dbo.t VALUES (3)",
                "BACKUP LOG shop TO DISK = 'shop.trn'",
                "CREATE DATABASE [<b>bare</b>]",
            ):
                cursor.execute(text)
        yield server, f"http://{json.loads(ready.read_text())['http']}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


def picture(page: Any, name: str) -> None:
    if PICTURES is not None:
        page.screenshot(path=Path(PICTURES) / name, full_page=True)


def test_the_page_by_keyboard(server: tuple[Running, str], browser: Any) -> None:
    _, url = server
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    page.set_default_timeout(60_000)
    said: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(url)
    slider = page.locator("[data-database='shop']")
    slider.wait_for()
    # Names are text, whatever they hold.
    assert page.locator("h3").all_inner_texts() == ["shop", "<b>bare</b>"]
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.database") == "shop":
            break
    else:
        raise AssertionError("the timeline can't be reached by Tab")
    assert slider.get_attribute("role") == "slider"
    before = slider.get_attribute("aria-valuetext")
    page.keyboard.press("End")
    page.keyboard.press("Shift+ArrowLeft")
    assert slider.get_attribute("aria-valuetext") != before
    page.keyboard.press("Enter")
    script = page.locator("pre")
    script.wait_for()
    assert "RESTORE DATABASE [shop] FROM DISK = N'" in script.inner_text()
    assert "STOPAT = N'" in script.inner_text()
    picture(page, "status-page.png")
    page.keyboard.press("Home")
    page.keyboard.press("Shift+ArrowLeft")
    assert said == []
    page.close()


def test_the_page_by_mouse_in_the_dark_on_a_phone(server: tuple[Running, str], browser: Any) -> None:
    running_server, url = server
    page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme="dark")
    page.set_default_timeout(60_000)
    page.goto(url)
    slider = page.locator("[data-database='shop']")
    slider.wait_for()
    box = slider.bounding_box()
    slider.click(position={"x": box["width"] - 2, "y": 30})
    page.locator("pre").wait_for()
    script = page.locator("pre").inner_text()
    picture(page, "status-page-phone.png")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.close()
    with running_server.connect() as connection:
        cursor = connection.cursor()
        cursor.execute(script)
        while cursor.nextset():
            pass
        cursor.execute("SELECT COUNT(*) FROM shop.dbo.t")
        assert cursor.fetchall() == [(3,)]
