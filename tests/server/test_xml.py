"""FOR XML, and the methods of the xml type."""

from __future__ import annotations

import pytest

from tests.server.scratch import shared_world, sql
from tests.server.support import Client

__all__ = ["shared_world", "sql"]

_XML = (
    '<r xmlns:p="urn:x"><item id="1"><name>A&amp;B</name></item><item id="2">'
    "<name>C</name><q/><q>7</q></item>"
    "<p:other>z</p:other>text</r>"
)


@pytest.fixture
def db(sql: Client) -> Client:
    sql.run("CREATE TABLE t(id int, n varchar(10), [a b] int)")
    sql.run("INSERT t VALUES (1,'x<\"',5), (2,NULL,6)")
    return sql


@pytest.mark.parametrize(
    ("tail", "text"),
    [
        ("FOR XML RAW", '<row id="1" n="x&lt;&quot;" a_x0020_b="5"/><row id="2" a_x0020_b="6"/>'),
        ("FOR XML AUTO", '<t id="1" n="x&lt;&quot;" a_x0020_b="5"/><t id="2" a_x0020_b="6"/>'),
        (
            "FOR XML PATH('e'), ROOT('all')",
            '<all><e><id>1</id><n>x&lt;"</n><a_x0020_b>5</a_x0020_b></e>'
            "<e><id>2</id><a_x0020_b>6</a_x0020_b></e></all>",
        ),
        (
            "FOR XML RAW('e'), ELEMENTS XSINIL, ROOT",
            '<root xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><e><id>1</id><n>x&lt;"</n>'
            '<a_x0020_b>5</a_x0020_b></e><e><id>2</id><n xsi:nil="true"/><a_x0020_b>6</a_x0020_b></e></root>',
        ),
    ],
)
def test_for_xml(db: Client, tail: str, text: str) -> None:
    assert db.value(f"SELECT * FROM t {tail}") == text
    assert db.value(f"SELECT (SELECT * FROM t {tail})") == text


def test_names_of_for_xml_path(db: Client) -> None:
    assert (
        db.value(
            "SELECT id AS '@id', n AS 'a/@k', [a b] AS 'a/c', 'w' AS 'text()' FROM t WHERE id = 1"
            " FOR XML PATH('r')"
        )
        == '<r id="1"><a k="x&lt;&quot;"><c>5</c></a>w</r>'
    )
    assert db.error("SELECT n AS x, id AS '@id' FROM t FOR XML PATH") == 6852


def test_concatenation_idioms(db: Client) -> None:
    assert db.rows(
        "SELECT STUFF((SELECT ',' + CAST(id AS char(1)) FROM t ORDER BY id DESC FOR XML PATH('')), 1, 1, ''),"
        " STUFF((SELECT ', ' + n FROM t FOR XML PATH(''), TYPE).value('.', 'nvarchar(max)'), 1, 2, ''),"
        " (SELECT n + '' FROM t FOR XML PATH(''), TYPE).value('(./text())[1]', 'varchar(9)')"
    ) == [("2,1", 'x<"', 'x<"')]


@pytest.mark.parametrize(
    ("call", "value"),
    [
        ("value('(/r/item/@id)[2]', 'int')", 2),
        ("value('(/r/item[@id=\"2\"]/name/text())[1]', 'varchar(9)')", "C"),
        ("value('(//name)[1]', 'varchar(9)')", "A&B"),
        ("value('count(/r/item)', 'int')", 2),
        ("value('(/r/item[name=\"C\" and @id > 1]/@id)[1]', 'int')", 2),
        ("value('(/r/item[last()]/q)[2]', 'int')", 7),
        ("value('(/r/other)[1]', 'char(1)')", "z"),
        ("value('declare namespace p=\"urn:x\"; (/r/p:other)[1]', 'char(1)')", "z"),
        ("value('(/r/text())[1]', 'varchar(9)')", "text"),
        ("value('(/r/nope)[1]', 'int')", None),
        ("value('(/r/item[@id=sql:variable(\"@v\")]/name)[1]', 'varchar(9)')", "C"),
        ("value('(/r/item/name[contains(., \"&\")])[1]', 'varchar(9)')", "A&B"),
        ("value('sum(/r/item/@id)', 'int')", 3),
        ("exist('/r/item[q]')", 1),
        ("exist('/r/item[@id=\"9\"]')", 0),
        ("query('/r/item[1]/name')", "<name>A&amp;B</name>"),
        ("query('data(/r/item/@id)')", "12"),
    ],
)
def test_methods(sql: Client, call: str, value: object) -> None:
    assert sql.value(f"DECLARE @v int = 2, @x xml = N'{_XML}'; SELECT @x.{call}") == value


def test_nodes(sql: Client) -> None:
    declare = f"DECLARE @x xml = N'{_XML}';"
    assert sql.rows(
        f"{declare} SELECT n.c.value('@id', 'int'), n.c.value('(name)[1]', 'varchar(20)'), n.c.exist('q'),"
        " n.c.value('count(../item)', 'int'), n.c.query('name') FROM @x.nodes('/r/item') AS n(c)"
    ) == [(1, "A&B", 0, 2, "<name>A&amp;B</name>"), (2, "C", 1, 2, "<name>C</name>")]
    assert sql.rows(
        f"{declare} SELECT o.c.value('local-name(.)', 'varchar(9)'), o.c.value('.', 'varchar(9)')"
        " FROM (SELECT @x AS d) s CROSS APPLY s.d.nodes('/r/item[2]') AS i(c)"
        " CROSS APPLY i.c.nodes('*') AS o(c)"
    ) == [("name", "C"), ("q", ""), ("q", "7")]
    assert sql.rows(f"{declare} SELECT c.value('.', 'int') FROM @x.nodes('//@id') t(c)") == [(1,), (2,)]


def test_refusals(sql: Client) -> None:
    assert sql.error("DECLARE @x xml = '<a/>'; SELECT @x.value('/a[', 'int')") == 2209
    assert sql.error("DECLARE @x int = 1; SELECT @x.value('/a', 'int')") == 258
    assert sql.error("DECLARE @x int = 1; SELECT 1 FROM @x.nodes('/a') t(c)") == 258
