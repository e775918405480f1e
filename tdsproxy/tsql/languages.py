"""The languages that SET LANGUAGE knows: names of months and days, and how dates are written
(sys.syslanguages)."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Language:
    """``days`` begin with Monday; ``date_first`` is SET DATEFIRST's number of the week's first day."""

    id: int
    name: str
    alias: str
    date_format: str
    date_first: int
    lcid: int
    months: tuple[str, ...]
    short_months: tuple[str, ...]
    days: tuple[str, ...]


def _language(head: str, months: str, short_months: str, days: str) -> Language:
    number, name, alias, date_format, date_first, lcid = head.split("|")
    return Language(
        int(number),
        name,
        alias,
        date_format,
        int(date_first),
        int(lcid),
        tuple(months.split()),
        tuple(short_months.split()),
        tuple(days.split()),
    )


_ENGLISH: Final = (
    "January February March April May June July August September October November December",
    "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
    "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
)
_PORTUGUESE: Final = (
    "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    "jan fev mar abr mai jun jul ago set out nov dez",
    "segunda-feira terça-feira quarta-feira quinta-feira sexta-feira sábado domingo",
)
US_ENGLISH: Final = _language("0|us_english|English|mdy|7|1033", *_ENGLISH)
LANGUAGES: Final = (
    US_ENGLISH,
    _language(
        "1|Deutsch|German|dmy|1|1031",
        "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
        "Jan Feb Mär Apr Mai Jun Jul Aug Sep Okt Nov Dez",
        "Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag",
    ),
    _language(
        "2|Français|French|dmy|1|1036",
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
        "janv févr mars avr mai juin juil août sept oct nov déc",
        "lundi mardi mercredi jeudi vendredi samedi dimanche",
    ),
    _language(
        "3|日本語|Japanese|ymd|7|1041",
        "01 02 03 04 05 06 07 08 09 10 11 12",
        "01 02 03 04 05 06 07 08 09 10 11 12",
        "月曜日 火曜日 水曜日 木曜日 金曜日 土曜日 日曜日",
    ),
    _language(
        "4|Dansk|Danish|dmy|1|1030",
        "januar februar marts april maj juni juli august september oktober november december",
        "jan feb mar apr maj jun jul aug sep okt nov dec",
        "mandag tirsdag onsdag torsdag fredag lørdag søndag",
    ),
    _language(
        "5|Español|Spanish|dmy|1|3082",
        "Enero Febrero Marzo Abril Mayo Junio Julio Agosto Septiembre Octubre Noviembre Diciembre",
        "Ene Feb Mar Abr May Jun Jul Ago Sep Oct Nov Dic",
        "Lunes Martes Miércoles Jueves Viernes Sábado Domingo",
    ),
    _language(
        "6|Italiano|Italian|dmy|1|1040",
        "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
        "gen feb mar apr mag giu lug ago set ott nov dic",
        "lunedì martedì mercoledì giovedì venerdì sabato domenica",
    ),
    _language(
        "7|Nederlands|Dutch|dmy|1|1043",
        "januari februari maart april mei juni juli augustus september oktober november december",
        "jan feb mrt apr mei jun jul aug sep okt nov dec",
        "maandag dinsdag woensdag donderdag vrijdag zaterdag zondag",
    ),
    _language(
        "8|Norsk|Norwegian|dmy|1|2068",
        "januar februar mars april mai juni juli august september oktober november desember",
        "jan feb mar apr mai jun jul aug sep okt nov des",
        "mandag tirsdag onsdag torsdag fredag lørdag søndag",
    ),
    _language("9|Português|Portuguese|dmy|7|2070", *_PORTUGUESE),
    _language(
        "10|Suomi|Finnish|dmy|1|1035",
        "tammikuuta helmikuuta maaliskuuta huhtikuuta toukokuuta kesäkuuta heinäkuuta elokuuta syyskuuta"
        " lokakuuta marraskuuta joulukuuta",
        "tammi helmi maalis huhti touko kesä heinä elo syys loka marras joulu",
        "maanantai tiistai keskiviikko torstai perjantai lauantai sunnuntai",
    ),
    _language(
        "11|Svenska|Swedish|ymd|1|1053",
        "januari februari mars april maj juni juli augusti september oktober november december",
        "jan feb mar apr maj jun jul aug sep okt nov dec",
        "måndag tisdag onsdag torsdag fredag lördag söndag",
    ),
    _language(
        "14|polski|Polish|dmy|1|1045",
        "styczeń luty marzec kwiecień maj czerwiec lipiec sierpień wrzesień październik listopad grudzień",
        "I II III IV V VI VII VIII IX X XI XII",
        "poniedziałek wtorek środa czwartek piątek sobota niedziela",
    ),
    _language("23|British|British English|dmy|1|2057", *_ENGLISH),
    _language("27|Português (Brasil)|Brazilian|dmy|7|1046", *_PORTUGUESE),
)
_BY_NAME: Final = {
    name.lower(): language for language in LANGUAGES for name in (language.name, language.alias)
}
LANGUAGE: Final[ContextVar[Language]] = ContextVar("LANGUAGE", default=US_ENGLISH)
"""That of the session whose statement runs."""


def find_language(name: str) -> Language | None:
    """By its name or its alias, without case."""
    return _BY_NAME.get(name.lower())
