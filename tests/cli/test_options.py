from __future__ import annotations

from pathlib import Path

import pytest

from tdsproxy.cli.options import Address, OptionError, parse_address, parse_path_map, resolve
from tdsproxy.cli.upstream_trust import upstream_trust


def test_command_line_beats_environment_beats_file(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('listen = "0.0.0.0:1"\nlog-level = "debug"\ntls = "off"\n')
    options = resolve(
        {"listen": "127.0.0.1:3"},
        {"TDSPROXY_LISTEN": "127.0.0.1:2", "TDSPROXY_TLS": "required"},
        config,
    )
    assert options.listen == Address("127.0.0.1", 3)
    assert options.tls == "required"
    assert options.log_level == "debug"


def test_the_configuration_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('[path_map]\n"C:\\\\Backup" = "/srv/b"\n')
    options = resolve({}, {"TDSPROXY_CONFIG": str(config)}, None)
    assert options.path_map == (("C:\\Backup", Path("/srv/b")),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("liste = 1", "unknown key 'liste'"),
        ("listen = 5", "takes a text"),
        ("tls = 'sometimes'", "one of strict, required, wanted, login, off"),
        ("listen = [", "is not TOML"),
        ("listen = " + "[" * 5000, "nests its values too deeply"),
        ("listen = " + "{a=" * 5000, "nests its values too deeply"),
        ("max-connections = nan", "takes a number"),
        ("login-timeout = inf", "takes a number"),
        ("store = '~nobody-of-this-name/x'", "names a home directory that can't be found"),
    ],
)
def test_a_wrong_file_is_refused_in_a_sentence(tmp_path: Path, text: str, words: str) -> None:
    config = tmp_path / "c.toml"
    config.write_text(text)
    with pytest.raises(OptionError, match=words):
        resolve({}, {}, config)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="No such file"):
        resolve({}, {}, tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("h:1", Address("h", 1)),
        ("h", Address("h", 1433)),
        (":0", Address("127.0.0.1", 0)),
        ("[::1]:7", Address("::1", 7)),
        ("::1", Address("::1", 1433)),
    ],
)
def test_addresses(text: str, expected: Address) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize("text", ["h:x", "h:70000", "[::1", "[::1]7", "1433"])
def test_wrong_addresses(text: str) -> None:
    with pytest.raises(OptionError):
        parse_address(text)


def test_path_map_keeps_backslashes() -> None:
    assert parse_path_map("C:\\Backup=/srv/b") == ("C:\\Backup", Path("/srv/b"))
    with pytest.raises(OptionError):
        parse_path_map("nothing")


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(OptionError, match="go together"):
        resolve({"tls_cert": "c.pem"}, {}, None)


def test_lists_of_the_environment() -> None:
    assert resolve({}, {"TDSPROXY_ALLOW_DIR": "/a;/b"}, None).allow_dir == (Path("/a"), Path("/b"))


def test_the_upstreams_tls_and_the_limits() -> None:
    options = resolve({"upstream": "db:1", "upstream_ca": "system", "max_connections": "20"}, {}, None)
    assert (options.upstream_tls, options.upstream_ca, options.max_connections) == (None, "system", 20)
    options = resolve(
        {"upstream_ca": "ca.pem", "login_timeout": 2.5}, {"TDSPROXY_UPSTREAM_TLS": "strict"}, None
    )
    assert (options.upstream_tls, options.upstream_ca) == ("strict", str(Path("ca.pem").absolute()))
    assert (options.login_timeout, options.upstream_wait) == (2.5, 5.0)
    for wrong in (
        {"upstream_tls": "off", "upstream_ca": "system"},
        {"upstream": "localhost", "upstream_cert_name": "db"},
        {"upstream": "db", "upstream_tls": "wanted", "upstream_cert_name": "db"},
        {"max_connections": 0},
        {"max_connections": 40_000},
        {"max_connections_per_login": 1.5},
        {"login_timeout": "soon"},
        {"upstream_wait": -1},
    ):
        with pytest.raises(OptionError):
            resolve(wrong, {}, None)


def test_how_much_of_the_log_is_kept_and_when_a_commit_is_acknowledged() -> None:
    options = resolve({}, {}, None)
    assert (options.capture, options.log_keep_size, options.log_keep_time) == ("async", 1 << 30, None)
    options = resolve({"capture": "Sync", "log_keep_size": "1.5G"}, {"TDSPROXY_LOG_KEEP_TIME": "7d"}, None)
    assert (options.capture, options.log_keep_size, options.log_keep_time) == ("sync", 3 << 29, 604_800.0)
    options = resolve({"log_keep_size": 4096, "log_keep_time": "90"}, {}, None)
    assert (options.log_keep_size, options.log_keep_time) == (4096, 90.0)
    for wrong in (
        {"capture": "always"},
        {"log_keep_size": "1 week"},
        {"log_keep_size": "-1"},
        {"log_keep_size": True},
        {"log_keep_time": "inf"},
        {"log_keep_time": "d"},
    ):
        with pytest.raises(OptionError):
            resolve(wrong, {}, None)


@pytest.mark.parametrize(
    ("host", "mode", "authorities", "expected"),
    [
        ("db.example", None, None, ("required", "system")),
        ("10.1.2.3", None, None, ("required", "system")),
        ("127.0.0.1", None, None, ("wanted", None)),
        ("::1", None, None, ("wanted", None)),
        ("localhost", "required", None, ("required", None)),
        ("127.0.0.1", None, "system", ("required", "system")),
        ("db.example", "strict", None, ("strict", "system")),
        ("db.example", "wanted", None, ("wanted", None)),
        ("db.example", "off", None, ("off", None)),
        ("db.example", None, "any", ("wanted", None)),
        ("db.example", "required", "any", ("required", None)),
        ("db.example", None, "/ca.pem", ("required", "/ca.pem")),
        ("db.example", "wanted", "/ca.pem", ("wanted", "/ca.pem")),
        ("localhost.example", None, None, ("required", "system")),
    ],
)
def test_how_far_an_upstream_is_trusted(
    host: str, mode: str | None, authorities: str | None, expected: tuple[str, str | None]
) -> None:
    assert upstream_trust(host, mode, authorities) == expected


def test_databases_in_files_of_their_own(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('[databases]\nshop = "/srv/shop.db"\n"Shop Archive" = "/srv/shop.db"\n')
    mapped = (("shop", Path("/srv/shop.db")), ("Shop Archive", Path("/srv/shop.db")))
    assert resolve({}, {}, config).databases == mapped
    assert resolve({"databases": ["a=/x.db"]}, {}, config).databases == (("a", Path("/x.db")),)
    assert resolve({}, {"TDSPROXY_DATABASES": "a=/x.db;b=/y.db"}, None).databases == (
        ("a", Path("/x.db")),
        ("b", Path("/y.db")),
    )
