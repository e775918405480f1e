"""The profiles and accounts of Database Mail: the one that the configuration names, and those that are added.

What ``[notices.mail]`` names is profile 1 with account 1: everybody's, and not to be changed from here.
Others stand in a setting of master; the password of an account is a credential, sealed as all others are.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import threading
import uuid
from collections.abc import Callable, Mapping
from email.utils import formataddr
from pathlib import Path
from typing import Any, Final

from tdsproxy.agent.notifier import Mail
from tdsproxy.agent.settings import SETTINGS, Settings
from tdsproxy.catalog.catalog import Catalog
from tdsproxy.catalog.keys import Credential
from tdsproxy.commands.key_credentials import opened
from tdsproxy.tsql.errors import SqlError

CONFIGURED: Final = 1
"""The number of the profile and account of the configuration."""
_SETTING: Final = "database mail"
_EMPTY: Final[dict[str, Any]] = {
    "stopped": False,
    "next": CONFIGURED + 1,
    "account": [],
    "profile": [],
    "profileaccount": [],
    "principalprofile": [],
}
Entry = dict[str, Any]


class MailBook:
    """Usable from any thread. Raises SqlError 14606, 14607 for what is not there, 2627 for a second of a
    name, 50000 for what can't be changed."""

    def __init__(self, store: Path, catalog: Catalog, settings: Callable[[], Settings]) -> None:
        self._store = store
        self._catalog = catalog
        self._settings = settings
        self._guard = threading.Lock()

    # ------------------------------------------------------------------ reading

    @property
    def stopped(self) -> bool:
        """Whether sysmail_stop_sp holds mails back."""
        return bool(self._added()["stopped"])

    def entries(self, kind: str) -> list[Entry]:
        """All of account, profile, profileaccount or principalprofile, the configured first."""
        return [*self._configured(kind), *self._added()[kind]]

    def profile_for(self, name: str | None, *, admin: bool) -> int | None:
        """The profile of a name, or the default one, that the caller may use."""
        public = {each["profile_id"]: each["is_default"] for each in self.entries("principalprofile")}
        if name is None:
            return next((number for number, default in public.items() if default), None)
        found = _named(self.entries("profile"), name)
        if found is None or not (admin or found["profile_id"] in public):
            return None
        return int(found["profile_id"])

    def accounts_of(self, profile: int) -> list[tuple[int, Mail, str | None]]:
        """The accounts of a profile, in the order in which they are tried: number, server, and where answers
        go. Not of the configured one."""
        members = sorted(
            (each for each in self._added()["profileaccount"] if each["profile_id"] == profile),
            key=lambda each: int(each["sequence_number"]),
        )
        accounts = {each["account_id"]: each for each in self._added()["account"]}
        return [
            (
                each["account_id"],
                self._mail(accounts[each["account_id"]]),
                accounts[each["account_id"]]["replyto_address"],
            )
            for each in members
            if each["account_id"] in accounts
        ]

    def _mail(self, account: Entry) -> Mail:
        credential = account.get("credential")
        record = None if credential is None else self._catalog.keys.credential(credential)
        password = None if record is None else opened(self._catalog.service_key, record)
        return Mail(
            account["servername"],
            (),
            formataddr((account["display_name"] or "", account["email_address"])),
            account["port"],
            account["username"],
            None,
            bool(account["enable_ssl"]),
            password,
        )

    def credential_id(self, account: Entry) -> int | None:
        name = account.get("credential")
        record = None if name is None else self._catalog.keys.credential(name)
        return None if record is None else record.id

    def _configured(self, kind: str) -> list[Entry]:
        mail = self._settings().notices.mail
        if mail is None:
            return []
        changed = dt.datetime.fromtimestamp((self._store / SETTINGS).stat().st_mtime).isoformat()
        entry: Entry = {"last_mod_datetime": changed, "last_mod_user": "sa"}
        match kind:
            case "account":
                entry |= {"account_id": CONFIGURED, "name": mail.profile, "email_address": mail.sender}
                entry |= {"servername": mail.host, "port": mail.port, "username": mail.user}
                entry |= {"enable_ssl": int(mail.starttls)}
            case "profile":
                entry |= {"profile_id": CONFIGURED, "name": mail.profile}
            case "profileaccount":
                entry |= {"profile_id": CONFIGURED, "account_id": CONFIGURED, "sequence_number": 1}
            case _:
                other = any(each["is_default"] for each in self._added()["principalprofile"])
                entry |= {"profile_id": CONFIGURED, "is_default": int(not other)}
        return [entry]

    def _added(self) -> dict[str, Any]:
        text = self._catalog.setting(_SETTING)
        return json.loads(json.dumps(_EMPTY)) if text is None else {**_EMPTY, **json.loads(text)}

    # ------------------------------------------------------------------ changing

    def change(self, what: str, given: Mapping[str, Any], login: str) -> int | None:
        """``what`` is a verb and a kind (``add account``), or ``start`` or ``stop``: the number of what was
        added."""
        with self._guard:
            book = self._added()
            stamp = {"last_mod_datetime": _now(), "last_mod_user": login}
            verb, _, kind = what.partition(" ")
            made = None
            if kind in ("account", "profile"):
                made = self._change_named(book, verb, kind, given, stamp)
            elif kind:
                self._change_pair(book, verb, kind, given, stamp)
            else:
                book["stopped"] = verb == "stop"
            self._catalog.set_setting(_SETTING, json.dumps(book))
            return made

    def _change_named(
        self, book: dict[str, Any], verb: str, kind: str, given: Mapping[str, Any], stamp: Entry
    ) -> int | None:
        key, entries = f"{kind}_id", book[kind]
        if verb == "add":
            self._require_free(kind, given["name"])
            entry = {**given, key: book["next"], **stamp}
            book["next"] += 1
            self._keep_password(entry)
            entries.append(entry)
            return int(entry[key])
        number = self._number(kind, given)
        _require_changeable(kind, number)
        entry = next(each for each in entries if each[key] == number)
        if verb == "delete":
            entries.remove(entry)
            for pair in ("profileaccount", "principalprofile"):
                book[pair] = [each for each in book[pair] if each.get(key) != number]
            self._forget_password(entry)
            return None
        name = given.get("name")
        if name is not None and name.lower() != entry["name"].lower():
            self._require_free(kind, name)
        entry |= {
            column: value
            for column, value in given.items()
            if value is not None and column not in (key, f"{kind}_name", "password")
        }
        entry |= stamp
        if given.get("password") is not None:
            entry["password"] = given["password"]
            self._forget_password(entry)
        self._keep_password(entry)
        return None

    def _change_pair(
        self, book: dict[str, Any], verb: str, kind: str, given: Mapping[str, Any], stamp: Entry
    ) -> None:
        pair = {"profile_id": self._number("profile", given)}
        one = verb != "delete" or given.get("account_id") or given.get("account_name")
        if kind == "profileaccount" and one:
            pair["account_id"] = self._number("account", given)
        _require_changeable("profile", pair["profile_id"])
        if pair.get("account_id") == CONFIGURED:
            _require_changeable("account", CONFIGURED)
        others = [each for each in book[kind] if any(each[name] != pair[name] for name in pair)]
        there = len(others) < len(book[kind])
        if verb == "add" and there:
            raise _second(kind, str(pair["profile_id"]))
        if verb != "add" and not there:
            raise SqlError.of(14606, 16, 1, f"{kind} id is not valid")
        if verb != "delete":
            if kind == "principalprofile" and given["is_default"]:
                others = [{**each, "is_default": 0} for each in others]
            rest = ("sequence_number",) if kind == "profileaccount" else ("is_default",)
            others.append({**pair, **{name: given[name] for name in rest}, **stamp})
        book[kind] = others

    def _number(self, kind: str, given: Mapping[str, Any]) -> int:
        """Of what is meant by its number or its name."""
        number, name = given.get(f"{kind}_id"), given.get(f"{kind}_name")
        entries = self.entries(kind)
        if number is not None:
            if all(each[f"{kind}_id"] != number for each in entries):
                raise SqlError.of(14606, 16, 1, f"{kind} id is not valid")
            return int(number)
        found = None if name is None else _named(entries, name)
        if found is None:
            raise SqlError.of(14607, 16, 1, f"{kind} name is not valid")
        return int(found[f"{kind}_id"])

    def _require_free(self, kind: str, name: str) -> None:
        if _named(self.entries(kind), name) is not None:
            raise _second(kind, name)

    # ------------------------------------------------------------------ passwords

    def _keep_password(self, entry: Entry) -> None:
        """What is in ``entry`` of a password becomes a credential."""
        password = entry.pop("password", None)
        if password is None:
            return
        keys, now = self._catalog.keys, dt.datetime.now().replace(microsecond=0)
        with keys.write():
            record = Credential(
                keys.next_id(Credential),
                str(uuid.uuid4()).upper(),
                str(entry["username"] or ""),
                None,
                now,
                now,
            )
            sealed = self._catalog.service_key.seal(password.encode("utf-8", "surrogatepass"), record.purpose)
            keys.store(dataclasses.replace(record, secret=sealed))
        entry["credential"] = record.name

    def _forget_password(self, entry: Entry) -> None:
        name = entry.pop("credential", None)
        record = None if name is None else self._catalog.keys.credential(name)
        if record is not None:
            self._catalog.keys.drop(record)


def _named(entries: list[Entry], name: str) -> Entry | None:
    return next((each for each in entries if each["name"].lower() == name.strip().lower()), None)


def _second(kind: str, name: str) -> SqlError:
    return SqlError.of(
        2627,
        14,
        1,
        f"Violation of UNIQUE KEY constraint 'SYSMAIL_{kind.upper()}_NameMustBeUnique'. Cannot insert"
        f" duplicate key in object 'dbo.sysmail_{kind}'. The duplicate key value is ({name}).",
    )


def _require_changeable(kind: str, number: int) -> None:
    if number == CONFIGURED:
        raise SqlError.of(
            50000,
            16,
            1,
            f"The {kind} with the id {CONFIGURED} is the mail server of [notices.mail]: it is changed in the"
            " configuration file.",
        )


def _now() -> str:
    return dt.datetime.now().replace(microsecond=0).isoformat()
