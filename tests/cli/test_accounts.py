from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tdsproxy.catalog.catalog import initialise
from tdsproxy.cli.accounts import ensure_sa, given_password
from tdsproxy.cli.options import OptionError
from tdsproxy.server.passwords import verify_password


def test_a_password_is_made_once_and_written_privately(tmp_path: Path) -> None:
    with initialise(tmp_path) as catalog:
        path = ensure_sa(catalog, None)
        assert path == tmp_path / "sa_password"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        sa = catalog.logins.find("SA")
        assert sa is not None
        assert verify_password(path.read_text().strip(), sa.password_hash)
        assert "sysadmin" in sa.roles
        assert ensure_sa(catalog, None) is None


def test_a_given_password_is_the_password(tmp_path: Path) -> None:
    with initialise(tmp_path) as catalog:
        assert ensure_sa(catalog, "Eins-2") is None
        assert ensure_sa(catalog, "Zwei-3") is None
        sa = catalog.logins.find("sa")
        assert sa is not None
        assert verify_password("Zwei-3", sa.password_hash)
        assert not (tmp_path / "sa_password").exists()


def test_the_file_beats_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "pw"
    file.write_text("secret \n")
    assert given_password(file, {"TDSPROXY_SA_PASSWORD": "other"}) == "secret "
    assert given_password(None, {"TDSPROXY_SA_PASSWORD": "other"}) == "other"
    assert given_password(None, {}) is None


def test_a_password_file_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="No such file"):
        given_password(tmp_path / "none", {})
    with pytest.raises(OptionError, match="1 to 128"):
        given_password(None, {"TDSPROXY_SA_PASSWORD": ""})
