"""SET LANGUAGE: names of months and days, the order of dates, and what shows them."""

from __future__ import annotations

import pytest

from tdsproxy.tsql.languages import LANGUAGES
from tests.server.support import Client

SHOWN = "SELECT @@LANGUAGE, DATENAME(month, '20200301'), DATENAME(weekday, '20200301'), @@DATEFIRST, @@LANGID"


@pytest.mark.parametrize(
    ("name", "shown", "march"),
    [
        ("Deutsch", ("Deutsch", "März", "Sonntag", 1, 1), "Mär  5 2020"),
        ("[French]", ("Français", "mars", "dimanche", 1, 2), "mars  5 2020"),
        ("'español'", ("Español", "Marzo", "Domingo", 1, 5), "Mar  5 2020"),
        ("Swedish", ("Svenska", "mars", "söndag", 1, 11), "mar  5 2020"),
        ("N'Brazilian'", ("Português (Brasil)", "março", "domingo", 7, 27), "mar  5 2020"),
        ("British", ("British", "March", "Sunday", 1, 23), "Mar  5 2020"),
        ("us_english", ("us_english", "March", "Sunday", 7, 0), "Mar  5 2020"),
    ],
)
def test_names(sa: Client, name: str, shown: tuple[object, ...], march: str) -> None:
    sa.run(f"SET LANGUAGE {name}")
    assert sa.rows(SHOWN) == [shown]
    assert sa.value("SELECT CONVERT(nvarchar(20), CAST('20200305' AS date), 100)") == march


def test_the_order_of_dates(sa: Client) -> None:
    text = "SELECT CONVERT(varchar(10), CAST('04.05.2020' AS datetime), 23)"
    assert sa.value(text) == "2020-04-05"
    sa.run("SET LANGUAGE German")
    assert sa.value(text) == "2020-05-04"
    assert sa.value("SELECT MONTH('5 Dezember 2020'), 1") == 12
    sa.run("SET LANGUAGE English")
    assert sa.value(text) == "2020-04-05"
    assert sa.error("SET LANGUAGE Klingon") == 2742


def test_the_language_is_the_sessions(sa: Client) -> None:
    sa.run("SET LANGUAGE Italiano; EXEC('SET LANGUAGE Danish')")
    assert sa.value("SELECT DATENAME(dw, '20200301')") == "domenica"
    assert sa.value("SELECT language FROM sys.dm_exec_sessions WHERE session_id = @@SPID") == "Italiano"


def test_they_are_listed(sa: Client) -> None:
    rows = sa.rows("SELECT name, days FROM sys.syslanguages WHERE langid IN (0, 7) ORDER BY langid")
    assert rows[0] == ("us_english", "Monday,Tuesday,Wednesday,Thursday,Friday,Saturday,Sunday")
    assert str(rows[1][1]).startswith("maandag,dinsdag")
    assert all((len(x.months), len(x.short_months), len(x.days)) == (12, 12, 7) for x in LANGUAGES)
