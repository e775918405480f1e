"""Profiles and accounts of Database Mail: what is added and changed, who may use it, what is tried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tdsproxy.agent.notifier import Letter, Mail, Notifier
from tdsproxy.agent.settings import SETTINGS, MailSettings, NoticeSettings, Settings, write_settings
from tdsproxy.catalog.catalog import Catalog, initialise
from tdsproxy.keeper import mailing
from tdsproxy.keeper.mail_book import MailBook
from tdsproxy.tsql.errors import SqlError

_NONE = Settings()
_SERVER = Settings(NoticeSettings(mail=MailSettings("relay.x", ["dba@x"], "db@x", profile="Notices")))


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    found = initialise(tmp_path)
    yield found
    found.close()


@pytest.fixture
def book(catalog: Catalog) -> MailBook:
    return MailBook(catalog.store, catalog, lambda: _NONE)


def account(name: str, **more: object) -> Mapping[str, Any]:
    columns = ("display_name", "replyto_address", "description", "username", "password")
    given: dict[str, Any] = {"name": name, "email_address": f"{name}@x", "servername": f"{name}.x"}
    return {**dict.fromkeys(columns), **given, "port": 25, "enable_ssl": 0, **more}


def add(book: MailBook, profile: str, *accounts: str) -> int:
    number = book.change("add profile", {"name": profile, "description": None}, "sa")
    assert number is not None
    for place, name in enumerate(accounts, 1):
        book.change("add account", account(name), "sa")
        pair = {"profile_name": profile, "account_name": name, "sequence_number": place}
        book.change("add profileaccount", pair, "sa")
    return number


def refused(book: MailBook, what: str, **given: object) -> int:
    with pytest.raises(SqlError) as caught:
        book.change(what, given, "sa")
    return caught.value.number


def test_a_profile_tries_its_accounts_in_their_order(book: MailBook) -> None:
    number = add(book, "ops", "one", "two")
    assert [mail.host for _, mail, _ in book.accounts_of(number)] == ["one.x", "two.x"]
    pair = {"profile_name": "ops", "account_name": "one"}
    book.change("update profileaccount", {**pair, "sequence_number": 9}, "sa")
    assert [mail.host for _, mail, _ in book.accounts_of(number)] == ["two.x", "one.x"]
    book.change("delete profileaccount", pair, "sa")
    assert [mail.host for _, mail, _ in book.accounts_of(number)] == ["two.x"]
    book.change("delete account", {"account_name": "TWO"}, "sa")
    assert book.accounts_of(number) == []
    assert [each["name"] for each in book.entries("account")] == ["one"]


def test_names_and_numbers_that_are_not_there(book: MailBook) -> None:
    add(book, "ops", "one")
    assert refused(book, "delete profile", profile_id=99) == 14606
    assert refused(book, "delete profile", profile_name="nothing") == 14607
    assert refused(book, "delete account", account_id=None, account_name=None) == 14607
    assert refused(book, "add profile", name="OPS") == 2627
    assert refused(book, "add account", **account("One")) == 2627
    pair = {"profile_name": "ops", "account_name": "one", "sequence_number": 2}
    assert refused(book, "add profileaccount", **pair) == 2627
    assert refused(book, "delete principalprofile", profile_name="ops") == 14606


def test_an_account_is_renamed_and_keeps_what_is_not_given(book: MailBook) -> None:
    number = book.change("add account", account("one", description="first"), "sa")
    book.change("update account", {"account_id": number, "name": "uno", "port": 587}, "clerk")
    (entry,) = book.entries("account")
    assert (entry["name"], entry["port"], entry["description"]) == ("uno", 587, "first")
    assert entry["last_mod_user"] == "clerk"


def test_who_may_use_a_profile(book: MailBook) -> None:
    number = add(book, "ops", "one")
    assert book.profile_for(None, admin=True) is None
    assert book.profile_for("OPS", admin=True) == number
    assert book.profile_for("ops", admin=False) is None
    book.change("add principalprofile", {"profile_id": number, "is_default": 0}, "sa")
    assert book.profile_for("ops", admin=False) == number
    assert book.profile_for(None, admin=False) is None
    book.change("update principalprofile", {"profile_id": number, "is_default": 1}, "sa")
    assert book.profile_for(None, admin=False) == number
    book.change("delete profile", {"profile_id": number}, "sa")
    assert book.profile_for(None, admin=True) is None
    assert book.entries("principalprofile") == book.entries("profileaccount") == []


def test_the_configured_server_stays_as_it_is(catalog: Catalog) -> None:
    mail = {"host": "relay.x", "to": ["dba@x"], "sender": "db@x", "profile": "Notices"}
    write_settings(catalog.store, {"notices": {"mail": mail}})
    assert (catalog.store / SETTINGS).exists()
    book = MailBook(catalog.store, catalog, lambda: _SERVER)
    assert book.profile_for(None, admin=False) == book.profile_for("notices", admin=False) == 1
    assert refused(book, "delete profile", profile_id=1) == 50000
    assert refused(book, "update account", account_name="Notices", port=1) == 50000
    assert refused(book, "add profile", name="notices") == 2627
    number = add(book, "ops", "one")
    book.change("add principalprofile", {"profile_id": number, "is_default": 1}, "sa")
    assert book.profile_for(None, admin=False) == number
    assert [each["is_default"] for each in book.entries("principalprofile")] == [0, 1]


def test_a_password_is_a_credential(catalog: Catalog, book: MailBook) -> None:
    number = add(book, "ops")
    book.change("add account", account("one", username="u", password="Geheim-77"), "sa")
    pair = {"profile_name": "ops", "account_name": "one", "sequence_number": 1}
    book.change("add profileaccount", pair, "sa")
    ((_, mail, _),) = book.accounts_of(number)
    assert (mail.user, mail.secret()) == ("u", "Geheim-77")
    assert "Geheim" not in repr(mail)
    assert all(b"Geheim-77" not in file.read_bytes() for file in catalog.store.rglob("*") if file.is_file())
    book.change("update account", {"account_name": "one", "password": "Neu-78"}, "sa")
    assert book.accounts_of(number)[0][1].secret() == "Neu-78"
    assert len(catalog.keys.credentials()) == 1
    book.change("delete account", {"account_name": "one"}, "sa")
    assert catalog.keys.credentials() == []


class _Sender:
    """A notifier that delivers at once, but for ``one.x``, which nobody answers at."""

    tried: list[str]

    def __init__(self, webhooks: tuple[str, ...], mail: Mail, server: str) -> None:
        self.goes_to = (webhooks, mail)
        self._mail = mail

    def post(self, letter: Letter) -> bool:
        self.tried.append(f"{self._mail.host} {self._mail.sender} {letter.reply_to}")
        assert letter.ended is not None
        letter.ended("ConnectionRefusedError" if self._mail.host == "one.x" else None)
        return True

    def close(self) -> None:
        return


def test_what_fails_goes_through_the_next_account(
    catalog: Catalog, book: MailBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Sender, "tried", [], raising=False)
    monkeypatch.setattr(mailing, "Notifier", _Sender)
    number = add(book, "ops", "one", "two")
    more = {"account_name": "two", "display_name": "The DB", "replyto_address": "r@x"}
    book.change("update account", more, "sa")

    def nobody() -> Notifier:
        raise AssertionError

    sender = mailing.Mailing(catalog.store, nobody, book, "SERVER")
    item = {"profile_id": number, "recipients": "a@x", "sent_status": 0}
    ended: list[tuple[int, int, str | None]] = []
    monkeypatch.setattr(sender, "_ended", lambda *told: ended.append(told))
    sender._queue(7, item)
    assert _Sender.tried == ["one.x one@x None", "two.x The DB <two@x> r@x"]
    assert ended == [(7, book.accounts_of(number)[1][0], None)]
    book.change("delete account", {"account_name": "two"}, "sa")
    sender._queue(8, item)
    assert ended[1][2] == "ConnectionRefusedError"
    book.change("delete account", {"account_name": "one"}, "sa")
    sender._queue(9, item)
    assert ended[2][2] == "the profile has no account"
    book.change("stop", {}, "sa")
    sender._queue(10, item)
    assert len(ended) == 3
    sender.close()
