"""Every option on every statement, accepted and refused, as the table of options declares it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tdsproxy.catalog.databases import DatabaseState
from tdsproxy.tsql.options import CONFLICTS, Effect, OptionDef, OptionKind, option_table
from tdsproxy.tsql.options_document import render
from tests.commands.support import Workshop, messages, numbers

FORMS = {
    "BACKUP DATABASE": "BACKUP DATABASE d TO DISK = 'm.bak'",
    "BACKUP LOG": "BACKUP LOG d TO DISK = 'm.trn'",
    "RESTORE DATABASE": "RESTORE DATABASE r FROM DISK = 'full.bak'",
    "RESTORE LOG": "RESTORE LOG r FROM DISK = 'log.trn'",
    "RESTORE VERIFYONLY": "RESTORE VERIFYONLY FROM DISK = 'full.bak'",
    "RESTORE HEADERONLY": "RESTORE HEADERONLY FROM DISK = 'full.bak'",
    "RESTORE FILELISTONLY": "RESTORE FILELISTONLY FROM DISK = 'full.bak'",
    "RESTORE LABELONLY": "RESTORE LABELONLY FROM DISK = 'full.bak'",
    "RESTORE REWINDONLY": "RESTORE REWINDONLY FROM DISK = 'full.bak'",
}
BESIDE = {"RESTORE DATABASE": ("REPLACE", "MOVE 'e' TO 'r.mdf'", "MOVE 'e_log' TO 'r.ldf'")}
"""What a form needs so as to run at all."""

ABOUT_OPTIONS = {102, 137, 155, 156, 3031, 3032, 3217, 3250, 3253}
"""The numbers that say that an option is wrong; anything else is about what the statement does."""

TEXTS = {
    "EXPIREDATE": "'2040-01-02'",
    "STANDBY": "'undo.tuf'",
    "STOPAT": "'2001-02-03T04:05:06'",
    "STOPATMARK": "'mark'",
    "STOPBEFOREMARK": "'mark' AFTER '2001-02-03'",
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    workshop = Workshop(tmp_path_factory.mktemp("matrix"), logged=True)
    assert numbers(workshop.run("CREATE DATABASE d")) == []
    assert 3014 in numbers(workshop.run("BACKUP DATABASE d TO DISK = 'd.bak'"))
    assert numbers(workshop.run("CREATE DATABASE e; ")) == []
    assert numbers(workshop.run("ALTER DATABASE e SET RECOVERY SIMPLE")) == []
    assert 3014 in numbers(workshop.run("BACKUP DATABASE e TO DISK = 'full.bak'"))
    assert 3014 in numbers(workshop.run("BACKUP LOG d TO DISK = 'log.trn'"))
    yield workshop
    workshop.close()


def options_of(form: str) -> list[tuple[OptionDef, bool]]:
    """The options of the statement, and whether the form has them."""
    statement, kind = form.split()
    return [
        (option, kind in option.forms) for option in option_table().values() if option.statement == statement
    ]


def good(option: OptionDef) -> list[str]:
    """Ways to write the option."""
    name = option.name
    if option.kind is OptionKind.FLAG:
        return [name]
    if option.kind is OptionKind.COMPRESSION:
        return [name, f"{name} (ALGORITHM = ZSTD)", f"{name} (ALGORITHM = ZSTD, LEVEL = HIGH)"]
    if option.kind is OptionKind.ENCRYPTION:
        return [f"{name} (ALGORITHM = AES_256, SERVER CERTIFICATE = none)"]
    if option.kind is OptionKind.PAIR:
        return [f"{name} 'e' TO 'r.mdf'"]
    if option.kind is OptionKind.DIRECTORY:
        return [f"{name} (DIRECTORY_NAME = 'x')"]
    if option.range is not None:
        written = [f"{name} = {number}" for number in (option.range.low, option.range.high, "@n")]
        return written if option.kind is not OptionKind.OPTIONAL else [name, *written]
    return [f"{name} = {TEXTS.get(name, repr('x'))}"]


def bad(option: OptionDef) -> list[tuple[str, int]]:
    """Ways to write it wrongly, and the number that says so."""
    name, numbers_ = option.name, option.range
    if numbers_ is None:
        return []
    wrong = [(f"{name} = {numbers_.high + 1}", 3250), (f"{name} = @none", 137)]
    if option.kind is not OptionKind.COUNT:
        wrong += [(f"{name} = {numbers_.low - 1}", 3250), (f"{name} = 'some'", 3217)]
    if numbers_.step > 1:
        wrong.append((f"{name} = {numbers_.low + 1}", 3250))
    if numbers_.power:
        wrong.append((f"{name} = {numbers_.low + 1}", 3253))
    return wrong


def written(form: str, words: str) -> str:
    beside = [item for item in BESIDE.get(form, ()) if item.split()[0] not in words.split()]
    return f"{FORMS[form]} WITH {', '.join([*beside, words])}"


def ask(shop: Workshop, form: str, words: str, number: int) -> list[int]:
    found = numbers(shop.run(written(form, words), variables={"@n": number}))
    tail = shop.catalog.databases.find("d")
    if tail is not None and (tail.state is DatabaseState.RESTORING or tail.standby is not None):
        assert 3014 in numbers(shop.run("RESTORE DATABASE d WITH RECOVERY"))
    return found


@pytest.mark.parametrize("form", FORMS)
def test_accepted(shop: Workshop, form: str) -> None:
    """Each option; every way to write it on one of the forms."""
    count = 0
    for option, has in options_of(form):
        if not has:
            continue
        low = option.range.low if option.range else 1
        ways = good(option) if form == "BACKUP DATABASE" else good(option)[:1]
        for words in ways:
            found = ask(shop, form, words, low)
            if option.effect is Effect.REFUSED:
                assert found[0] == 3015, words
            else:
                assert not ABOUT_OPTIONS.intersection(found), words
            count += 1
    assert count > 0


@pytest.mark.parametrize("form", FORMS)
def test_refused_where_the_form_has_it_not(shop: Workshop, form: str) -> None:
    for option, has in options_of(form):
        if not has:
            words = good(option)[0]
            replies = shop.run(f"{FORMS[form]} WITH {words}")
            assert numbers(replies) == [3032, 3013], words
            assert f"({option.name.lower()})" in messages(replies)[0].text


@pytest.mark.parametrize("form", FORMS)
def test_values_out_of_range(shop: Workshop, form: str) -> None:
    for option, has in options_of(form):
        for words, number in bad(option) if has else ():
            found = numbers(shop.run(written(form, words)))
            assert found == ([137] if number == 137 else [number, 3013]), words


@pytest.mark.parametrize("form", FORMS)
def test_options_that_exclude_each_other(shop: Workshop, form: str) -> None:
    known = {option.name: option for option, has in options_of(form) if has}
    for first, second in CONFLICTS[form.split()[0]]:
        if first in known and second in known:
            replies = shop.run(f"{FORMS[form]} WITH {good(known[second])[0]}, {good(known[first])[0]}")
            assert numbers(replies) == [3031, 3013], (first, second)
            assert f"'{first.lower()}'" in messages(replies)[0].text
            assert f"'{second.lower()}'" in messages(replies)[0].text


@pytest.mark.parametrize("form", FORMS)
def test_words_that_are_no_option(shop: Workshop, form: str) -> None:
    others = {"BACKUP": "REPLACE", "RESTORE": "DIFFERENTIAL"}
    for word in ("NONSENSE", others[form.split()[0]]):
        (message,) = messages(shop.run(f"{FORMS[form]} WITH\n {word}"))
        assert (message.number, message.line) == (155, 2)
        assert message.text == f"'{word}' is not a recognized {form.split()[0]} option."


@pytest.mark.parametrize(
    "words",
    ["NAME = x", "NAME", "NAME =", "INIT = 1", "STATS 5", "(INIT)", "INIT INIT", "BLOCKSIZE = 1 + 1", ""],
)
def test_options_that_are_no_syntax(shop: Workshop, words: str) -> None:
    (message,) = messages(shop.run(f"{FORMS['BACKUP DATABASE']} WITH {words}"))
    assert message.number in (102, 156)


def test_the_document_is_current(request: pytest.FixtureRequest) -> None:
    found = (Path(request.config.rootpath) / "docs" / "options.md").read_text()
    assert found == render(), "run scripts/options-document"
