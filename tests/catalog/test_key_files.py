"""PVK files, sealed secrets, and the service master key's file."""

from __future__ import annotations

import datetime as dt
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from tdsproxy.catalog import certificates as x509
from tdsproxy.catalog import pvk
from tdsproxy.store.key_wrapping import (
    CannotUnwrap,
    new_key,
    unwrap,
    unwrap_with_password,
    wrap,
    wrap_with_password,
)
from tdsproxy.store.service_key import ServiceKey


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return x509.new_private_key()


@given(password=st.text(max_size=40))
@settings(max_examples=8, deadline=None)
def test_a_pvk_file_gives_its_key_back_for_its_password_only(key: rsa.RSAPrivateKey, password: str) -> None:
    written = pvk.write_pvk(key, password)
    assert pvk.read_pvk(written, password).private_numbers() == key.private_numbers()
    with pytest.raises(pvk.PvkPassword):
        pvk.read_pvk(written, f"{password}x")


@given(position=st.integers(0, 1300), value=st.integers(0, 255))
@settings(max_examples=20, deadline=None)
def test_a_changed_pvk_file_gives_the_key_or_an_error(
    key: rsa.RSAPrivateKey, position: int, value: int
) -> None:
    data = bytearray(pvk.write_pvk(key, "Pass-word1"))
    data[position % len(data)] = value
    try:
        found = pvk.read_pvk(bytes(data), "Pass-word1")
    except pvk.PvkError:
        return
    assert found.key_size == 2048


def test_passwords_in_utf_16_and_keys_of_40_bits_are_read(key: rsa.RSAPrivateKey) -> None:
    data = pvk.write_pvk(key, "Pass-word1")
    salt, blob = data[24:40], data[40:]
    plain = pvk._rc4(pvk._derived(salt, b"Pass-word1"), blob[8:])
    wide = pvk._derived(salt, "Pass-word1".encode("utf-16-le"))
    weak = pvk._derived(salt, b"Pass-word1")[:5] + bytes(11)
    for stream in (wide, weak):
        other = data[:40] + blob[:8] + pvk._rc4(stream, plain)
        assert pvk.read_pvk(other, "Pass-word1").private_numbers() == key.private_numbers()


def test_openssl_reads_a_pvk_file(key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    file = tmp_path / "key.pvk"
    file.write_bytes(pvk.write_pvk(key, "Pass-word1"))
    words = [openssl, "rsa", "-inform", "PVK", "-in", str(file), "-passin", "pass:Pass-word1", "-pubout"]
    for provider in ([], ["-provider", "legacy", "-provider", "default"]):  # 1.1 and 3, which hides RC4
        done = subprocess.run([*words, *provider], capture_output=True, check=False, timeout=60)
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stderr
    found = serialization.load_pem_public_key(done.stdout)
    assert isinstance(found, rsa.RSAPublicKey)
    assert found.public_numbers() == key.public_key().public_numbers()


def test_a_certificate_says_what_it_was_made_with(key: rsa.RSAPrivateKey) -> None:
    begins = dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC)
    der = x509.self_signed(key, "Backups of the ledger", begins, begins + dt.timedelta(days=3))
    facts = x509.facts_of(der)
    assert (facts.subject, facts.issuer) == ("Backups of the ledger", "Backups of the ledger")
    assert (facts.not_before, facts.not_after) == (begins, begins + dt.timedelta(days=3))
    assert facts.sid == bytes.fromhex("010600000000000901000000") + facts.thumbprint
    assert facts.string_sid.startswith("S-1-9-1-")
    assert facts.key_bits == 2048
    pem = x509.load_certificate(der)[0].public_bytes(serialization.Encoding.PEM)
    assert x509.certificate_der(pem) == der


@given(data=st.binary(max_size=200))
@settings(max_examples=20, deadline=None)
def test_arbitrary_bytes_are_no_certificate_and_no_key(data: bytes) -> None:
    with pytest.raises(x509.KeyFileError):
        x509.certificate_der(data)
    with pytest.raises(x509.KeyFileError):
        x509.load_private(data, "x")
    with pytest.raises(x509.KeyFileError):
        x509.read_pfx(data, "x")


@given(secret=st.binary(max_size=100), position=st.integers(0, 200), bit=st.integers(0, 7))
def test_a_sealed_secret_opens_unchanged_and_in_its_place_only(
    secret: bytes, position: int, bit: int
) -> None:
    by = new_key()
    sealed = wrap(by, secret, "a")
    assert unwrap(by, sealed, "a") == secret
    changed = bytearray(sealed)
    changed[position % len(sealed)] ^= 1 << bit
    for key_, data, purpose in ((by, bytes(changed), "a"), (by, sealed, "b"), (new_key(), sealed, "a")):
        with pytest.raises(CannotUnwrap):
            unwrap(key_, data, purpose)


def test_a_password_opens_what_it_sealed() -> None:
    sealed = wrap_with_password("Pass-word1", b"secret", "a")
    assert unwrap_with_password("Pass-word1", sealed, "a") == b"secret"
    with pytest.raises(CannotUnwrap):
        unwrap_with_password("Pass-word2", sealed, "a")
    with pytest.raises(CannotUnwrap):
        unwrap_with_password("Pass-word1", bytes([2, 63]) + sealed[2:], "a")


def test_the_service_master_key_is_private_and_changes_without_losing_anything(tmp_path: Path) -> None:
    service = ServiceKey(tmp_path)
    assert not service.exists
    sealed = service.seal(b"secret", "a")
    file = tmp_path / "service_master_key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["service_master_key"]
    other = new_key()
    service.begin_replacement(other)
    assert service.current() == other
    assert service.open(sealed, "a") == b"secret"
    service.end_replacement()
    with pytest.raises(CannotUnwrap):
        service.open(sealed, "a")
    assert service.open(service.seal(b"more", "b"), "b") == b"more"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text("not a key\n")
    with pytest.raises(CannotUnwrap):
        service.current()
