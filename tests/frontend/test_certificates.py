from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from tdsproxy.frontend.certificates import (
    CertificateError,
    CertificatePair,
    ensure_self_signed,
    server_contexts,
)


def test_a_pair_is_made_once(tmp_path: Path) -> None:
    pair = ensure_self_signed(tmp_path / "tls", ("db.example",))
    first = pair.certificate.read_bytes()
    assert stat.S_IMODE(pair.key.stat().st_mode) == 0o600
    assert ensure_self_signed(tmp_path / "tls") == pair
    assert pair.certificate.read_bytes() == first
    certificate = x509.load_pem_x509_certificate(first)
    (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == socket.gethostname()[:64]
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"localhost", "db.example"} <= set(names.get_values_for_type(x509.DNSName))
    assert "127.0.0.1" in {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    assert not list((tmp_path / "tls").glob("*.pem.*"))


def test_a_key_that_does_not_belong_is_refused(tmp_path: Path) -> None:
    one, other = ensure_self_signed(tmp_path / "a"), ensure_self_signed(tmp_path / "b")
    with pytest.raises(CertificateError, match="can't be used"):
        server_contexts(CertificatePair(one.certificate, other.key))
    with pytest.raises(CertificateError, match="can't be used"):
        server_contexts(CertificatePair(tmp_path / "none.pem", other.key))
