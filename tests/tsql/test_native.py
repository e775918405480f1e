"""BACKUP, RESTORE and key statements: options, ends, errors."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.tsql import ast, nativegrammar, options
from tdsproxy.tsql.errors import SyntaxError_
from tdsproxy.tsql.native import parse_native
from tdsproxy.tsql.parser import parse


def var(name: str) -> ast.Operand:
    return ast.Operand(None, name)


def lit(value: str | int) -> ast.Operand:
    return ast.Operand(value)


def word(value: str) -> ast.Operand:
    return ast.Operand(value, identifier=True)


def disk(name: str) -> ast.Device:
    return ast.Device("DISK", lit(name))


def logical(name: ast.Operand) -> ast.Device:
    return ast.Device("LOGICAL", name)


def options_of(text: str) -> dict[str, tuple[ast.Operand, ...]]:
    statement = parse_native(text)
    assert isinstance(statement, ast.Backup | ast.Restore)
    return {option.name: option.values for option in statement.options}


def same(found: ast.Statement, expected: ast.Statement) -> bool:
    """Equal but for the span."""
    fields = [name for name in ast.field_names(expected) if name not in ("pos", "end", "line")]
    return type(found) is type(expected) and all(getattr(found, n) == getattr(expected, n) for n in fields)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("BACKUP DATABASE x TO DISK = 'a'", ast.Backup("DATABASE", word("x"), (disk("a"),))),
        ("backup log [a b] to disk=N'a', disk = 'b';",
         ast.Backup("LOG", word("a b"), (disk("a"), disk("b")))),
        ("BACKUP DATABASE @db TO @dev MIRROR TO dev2 MIRROR TO URL = @u",
         ast.Backup("DATABASE", var("@db"), (logical(var("@dev")),),
                    ((logical(word("dev2")),), (ast.Device("URL", var("@u")),)))),
        ("BACKUP DATABASE log TO disk", ast.Backup("DATABASE", word("log"), (logical(word("disk")),))),
        ("BACKUP DATABASE x FILE = ('a', @b), FILEGROUP = 'c', READ_WRITE_FILEGROUPS TO DISK = 'a'",
         ast.Backup("DATABASE", word("x"), (disk("a"),), files=(
             ("FILE", lit("a")), ("FILE", var("@b")), ("FILEGROUP", lit("c")),
             ("READ_WRITE_FILEGROUPS", None)))),
        ("BACKUP GROUP a, b TO DISK = 'x'",
         ast.Backup("GROUP", word("a"), (disk("x"),), group=(word("a"), word("b")))),
        ("BACKUP SERVER TO DISK = 'x'", ast.Backup("SERVER", ast.Operand(), (disk("x"),))),
        ("RESTORE DATABASE x FROM DISK = 'a'", ast.Restore("DATABASE", word("x"), (disk("a"),))),
        ("RESTORE DATABASE x FROM DATABASE_SNAPSHOT = 's'",
         ast.Restore("DATABASE", word("x"), (ast.Device("DATABASE_SNAPSHOT", lit("s")),))),
        ("RESTORE DATABASE x PAGE = '1:57' FROM dev",
         ast.Restore("DATABASE", word("x"), (logical(word("dev")),), files=(("PAGE", lit("1:57")),))),
        ("RESTORE LOG @d FROM VIRTUAL_DEVICE = 'v'",
         ast.Restore("LOG", var("@d"), (ast.Device("VIRTUAL_DEVICE", lit("v")),))),
        *((f"RESTORE {kind} FROM DISK = 'a'", ast.Restore(kind, None, (disk("a"),)))
          for kind in ("HEADERONLY", "FILELISTONLY", "LABELONLY", "VERIFYONLY", "REWINDONLY",
          "BACKUPSETONLY")),
    ],
)  # fmt: skip
def test_forms(text: str, expected: ast.Statement) -> None:
    assert same(parse_native(text), expected)


def test_what_ssms_writes() -> None:
    found = options_of(
        "BACKUP DATABASE [x] TO  DISK = N'a' WITH  DIFFERENTIAL , NOFORMAT, NOINIT,  NAME = N'x-Full', "
        "SKIP, "
        "NOREWIND, NOUNLOAD,  STATS = 10, CHECKSUM"
    )
    assert list(found) == [
        "DIFFERENTIAL", "NOFORMAT", "NOINIT", "NAME", "SKIP", "NOREWIND", "NOUNLOAD", "STATS", "CHECKSUM",
    ]  # fmt: skip
    assert found["NAME"] == (lit("x-Full"),)
    assert found["STATS"] == (lit(10),)


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("STATS", ()),
        ("STATS = @s", (var("@s"),)),
        ("RETAINDAYS = '7'", (lit("7"),)),
        ("DESCRIPTION = 5", (lit(5),)),
        ("BUFFERCOUNT = -1", (lit(-1),)),
        ("BUFFERCOUNT = +1", (lit(1),)),
        ("EXPIREDATE = @d", (var("@d"),)),
        ("COMPRESSION", ()),
    ],
)
def test_backup_values(option: str, values: tuple[ast.Operand, ...]) -> None:
    found = options_of(f"BACKUP DATABASE x TO DISK = 'a' WITH INIT, {option}, FORMAT")
    assert list(found.values()) == [(), values, ()]


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("FILE = 2", (lit(2),)),
        ("FILE = @n", (var("@n"),)),
        ("MOVE 'a' TO @b", (lit("a"), var("@b"))),
        ("STOPAT = N'2024-01-01'", (lit("2024-01-01"),)),
        ("STOPATMARK = 'm' AFTER @t", (lit("m"), var("@t"))),
        ("STOPBEFOREMARK = 'lsn:39000000172000001'", (lit("lsn:39000000172000001"),)),
        ("STANDBY = @u", (var("@u"),)),
    ],
)
def test_restore_values(option: str, values: tuple[ast.Operand, ...]) -> None:
    found = options_of(f"RESTORE LOG x FROM DISK = 'a' WITH {option}, NORECOVERY")
    assert list(found.values()) == [values, ()]


@pytest.mark.parametrize(
    ("option", "arguments"),
    [
        ("COMPRESSION (ALGORITHM = ZSTD)", (("ALGORITHM", word("ZSTD")),)),
        ("COMPRESSION (ALGORITHM = zstd, LEVEL = high)",
         (("ALGORITHM", word("zstd")), ("LEVEL", word("high")))),
        ("ENCRYPTION(ALGORITHM = AES_256, SERVER CERTIFICATE = [c 1])",
         (("ALGORITHM", word("AES_256")), ("SERVER CERTIFICATE", word("c 1")))),
        ("ENCRYPTION (ALGORITHM = AES_128, SERVER ASYMMETRIC KEY = k)",
         (("ALGORITHM", word("AES_128")), ("SERVER ASYMMETRIC KEY", word("k")))),
    ],
)  # fmt: skip
def test_arguments(option: str, arguments: tuple[tuple[str, ast.Operand], ...]) -> None:
    statement = parse_native(f"BACKUP DATABASE x TO DISK = 'a' WITH {option}")
    assert isinstance(statement, ast.Backup)
    assert statement.options[0].arguments == arguments


_SAMPLE: dict[options.OptionKind, str] = {
    options.OptionKind.FLAG: "",
    options.OptionKind.ANY: "= 1",
    options.OptionKind.TEXT: "= 'x'",
    options.OptionKind.COUNT: "= 1",
    options.OptionKind.OPTIONAL: "= 1",
    options.OptionKind.PAIR: "'a' TO 'b'",
    options.OptionKind.MARK: "= 'm'",
    options.OptionKind.COMPRESSION: "",
    options.OptionKind.ENCRYPTION: "(ALGORITHM = AES_256, SERVER CERTIFICATE = c)",
    options.OptionKind.DIRECTORY: "(DIRECTORY_NAME = 'd')",
}


@pytest.mark.parametrize(
    "known", options.option_table().values(), ids=lambda known: f"{known.statement}-{known.name}"
)
def test_every_option_of_the_table_parses(known: options.OptionDef) -> None:
    head = "BACKUP DATABASE x TO DISK = 'a'" if known.statement == "BACKUP" else "RESTORE DATABASE x FROM d"
    assert list(options_of(f"{head} WITH {known.name.lower()} {_SAMPLE[known.kind]}")) == [known.name]


@pytest.mark.parametrize(
    ("text", "number", "message"),
    [
        ("BACKUP DATABASE x TO DISK = 'a' WITH BOGUS", 155, "'BOGUS' is not a recognized BACKUP option."),
        (
            "BACKUP DATABASE x TO DISK = 'a' WITH INIT, bogus = 1",
            155,
            "'bogus' is not a recognized BACKUP option.",
        ),
        ("BACKUP DATABASE x TO DISK = 'a' WITH REPLACE", 155, "'REPLACE' is not a recognized BACKUP option."),
        (
            "BACKUP DATABASE x TO DISK = 'a' WITH PASSWORD = 'p'",
            155,
            "'PASSWORD' is not a recognized BACKUP option.",
        ),
        ("RESTORE DATABASE x FROM d WITH INIT", 155, "'INIT' is not a recognized RESTORE option."),
        ("BACKUP DATABASE 'x' TO DISK = 'a'", 102, "Incorrect syntax near 'x'."),
        ("BACKUP DATABASE a.b TO DISK = 'a'", 102, "Incorrect syntax near '.'."),
        ("BACKUP DATABASE x TO DISK = @a + 'x'", 102, "Incorrect syntax near '+'."),
        ("BACKUP DATABASE x TO DISK = 'a', 'b'", 102, "Incorrect syntax near 'b'."),
        ("BACKUP DATABASE x TO DISK = a", 102, "Incorrect syntax near 'a'."),
        ("BACKUP DATABASE x TO", 102, "Incorrect syntax near 'TO'."),
        ("BACKUP DATABASE x", 102, "Incorrect syntax near 'x'."),
        ("BACKUP DATABASE x SELECT 1", 156, "Incorrect syntax near the keyword 'SELECT'."),
        ("BACKUP DATABASE x TO DISK = 'a' WITH", 102, "Incorrect syntax near 'WITH'."),
        (
            "BACKUP DATABASE x TO DISK = 'a' WITH INIT, SELECT 1",
            156,
            "Incorrect syntax near the keyword 'SELECT'.",
        ),
        ("BACKUP DATABASE x TO DISK = 'a' WITH NAME = y", 102, "Incorrect syntax near 'y'."),
        ("BACKUP DATABASE x TO DISK = 'a' WITH NAME", 102, "Incorrect syntax near 'NAME'."),
        ("BACKUP DATABASE x TO DISK = 'a' WITH INIT = 1", 102, "Incorrect syntax near '='."),
        ("BACKUP DATABASE x TO DISK = 'a' WITH (INIT)", 102, "Incorrect syntax near '('."),
        (
            "BACKUP DATABASE x TO DISK = 'a' WITH COMPRESSION (LEVEL = LOW)",
            102,
            "Incorrect syntax near 'LEVEL'.",
        ),
        ("BACKUP TRANSACTION x TO DISK = 'a'", 156, "Incorrect syntax near the keyword 'TRANSACTION'."),
        ("RESTORE HEADERONLY", 102, "Incorrect syntax near 'HEADERONLY'."),
        ("RESTORE DATABASE x FROM d WITH FILE = '1'", 102, "Incorrect syntax near '1'."),
        ("DUMP DATABASE x TO DISK = 'a'", 156, "Incorrect syntax near the keyword 'DUMP'."),
        ("SELECT 1", 156, "Incorrect syntax near the keyword 'SELECT'."),
        ("BACKUP LOG x TO d SELECT 1", 156, "Incorrect syntax near the keyword 'SELECT'."),
    ],
)
def test_errors(text: str, number: int, message: str) -> None:
    with pytest.raises(SyntaxError_) as caught:
        parse_native("\n" + text, line=5)
    (found,) = caught.value.messages
    assert (found.number, found.severity, found.state, found.text, found.line) == (number, 15, 1, message, 6)


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("BACKUP DATABASE x TO DISK = 'a' BACKUP LOG x TO d", ["Backup", "Backup"]),
        ("BACKUP DATABASE x TO DISK = 'a' WITH INIT\nSELECT 1", ["Backup", "QueryStatement"]),
        ("BACKUP DATABASE x TO d WITH STATS IF 1 = 1 RETURN", ["Backup", "If"]),
        ("BACKUP DATABASE x TO d done: RETURN", ["Backup", "Label", "Return"]),
        ("RESTORE DATABASE x WITH RECOVERY SET NOCOUNT ON", ["Restore", "SetOption"]),
        ("IF 1 = 1 BACKUP LOG x TO d; ELSE PRINT 'x'", ["If"]),
        ("BACKUP CERTIFICATE c TO FILE = 'f' WITH PRIVATE KEY (FILE = 'k', ENCRYPTION BY PASSWORD = 'p') "
         "PRINT 'x'", ["KeyStatement", "Print"]),
        ("RESTORE MASTER KEY FROM FILE = 'f' DECRYPTION BY PASSWORD = 'p' ENCRYPTION BY PASSWORD = 'q' "
         "FORCE "
         "SELECT 1", ["KeyStatement", "QueryStatement"]),
    ],
)  # fmt: skip
def test_where_it_ends(text: str, kinds: list[str]) -> None:
    assert [type(statement).__name__ for statement in parse(text).statements] == kinds


def test_with_binds_to_the_statement_once() -> None:
    with pytest.raises(SyntaxError_) as caught:
        parse("BACKUP DATABASE x TO d WITH INIT WITH FORMAT")
    assert caught.value.number == 319


@pytest.mark.parametrize(
    ("text", "action", "name", "clauses"),
    [
        ("CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'p'", "CREATE MASTER KEY", None,
         [("ENCRYPTION BY PASSWORD", lit("p"))]),
        ("ALTER MASTER KEY ADD ENCRYPTION BY SERVICE MASTER KEY", "ALTER MASTER KEY", None,
         [("ADD ENCRYPTION BY SERVICE MASTER KEY", ast.Operand())]),
        ("CREATE CERTIFICATE c WITH SUBJECT = N's', EXPIRY_DATE = '20991231'", "CREATE CERTIFICATE", "c",
         [("SUBJECT", lit("s")), ("EXPIRY_DATE", lit("20991231"))]),
        ("CREATE CERTIFICATE c FROM FILE = 'c' WITH PRIVATE KEY (FILE = 'k', DECRYPTION BY PASSWORD = 'p')",
         "CREATE CERTIFICATE", "c", [("FROM FILE", lit("c")), ("PRIVATE KEY FILE", lit("k")),
                                     ("PRIVATE KEY DECRYPTION BY PASSWORD", lit("p"))]),
        ("CREATE CREDENTIAL [s3://h/b] WITH IDENTITY = 'S3 Access Key', SECRET = 'a:b'",
         "CREATE CREDENTIAL",
         "s3://h/b", [("IDENTITY", lit("S3 Access Key")), ("SECRET", lit("a:b"))]),
        ("DROP CERTIFICATE c", "DROP CERTIFICATE", "c", []),
        ("BACKUP SERVICE MASTER KEY TO FILE = 'f' ENCRYPTION BY PASSWORD = 'p'",
         "BACKUP SERVICE MASTER KEY", None,
         [("TO FILE", lit("f")), ("ENCRYPTION BY PASSWORD", lit("p"))]),
        ("OPEN MASTER KEY DECRYPTION BY PASSWORD = 'p'", "OPEN MASTER KEY", None,
         [("DECRYPTION BY PASSWORD", lit("p"))]),
        ("CLOSE MASTER KEY", "CLOSE MASTER KEY", None, []),
    ],
)  # fmt: skip
def test_key_statements(text: str, action: str, name: str | None, clauses: list[tuple[str, Any]]) -> None:
    statement = parse_native(text)
    assert isinstance(statement, ast.KeyStatement)
    assert (statement.action, statement.name, list(statement.clauses)) == (action, name, clauses)
    assert "'p'" not in repr(statement)


def test_options_that_the_form_does_not_support() -> None:
    statement = parse_native("RESTORE HEADERONLY FROM d WITH RECOVERY, MOVE 'a' TO 'b', FILE = 1")
    assert isinstance(statement, ast.Restore)
    assert options.unsupported(statement) == ("recovery", "move")
    statement = parse_native("BACKUP DATABASE x TO d WITH NORECOVERY, INIT")
    assert isinstance(statement, ast.Backup)
    assert options.unsupported(statement) == ("norecovery",)


def test_create_database_is_a_native_request_too() -> None:
    assert isinstance(parse_native("CREATE DATABASE x;"), ast.CreateDatabase)


def test_the_grammar_has_no_conflict() -> None:
    assert nativegrammar._grammar().options.strict


def test_lark_is_loaded_only_when_needed() -> None:
    code = (
        "import sys; from tdsproxy.tsql.parser import parse; parse('SELECT 1'); assert 'lark' not in "
        "sys.modules;"
        "parse('BACKUP LOG x TO d'); assert 'lark' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


_SOUP = st.sampled_from(
    """
    BACKUP RESTORE DATABASE LOG x @v 'a' TO FROM DISK = ,
    WITH INIT STATS 10 MOVE FILE ( ) - MIRROR ; MASTER KEY
    CERTIFICATE ENCRYPTION BY PASSWORD SERVER HEADERONLY BOGUS COMPRESSION ALGORITHM . [q] SELECT
    """.split()  # noqa: SIM905
)


@given(st.lists(_SOUP, max_size=14), st.sampled_from(["BACKUP DATABASE x TO DISK = 'a'", "RESTORE", ""]))
def test_only_syntax_errors_come_out(words: list[str], head: str) -> None:
    text = " ".join([head, *words])
    with suppress(SyntaxError_):
        statement = parse_native(text)
        assert text[statement.pos : statement.end].split()[0] == text.replace(";", " ").split()[0]
