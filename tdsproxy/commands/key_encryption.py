"""BACKUP WITH ENCRYPTION: the key of a set, and who may open it again.

A set has a key of its own, wrapped for the certificate's or asymmetric key's private key (RSA-OAEP with
SHA-256); the wrapped key and the thumbprint lie in the set's header.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa

from tdsproxy.catalog import certificates as x509
from tdsproxy.catalog.keys import Certificate, Protection
from tdsproxy.commands.context import Context
from tdsproxy.commands.failure import fail
from tdsproxy.commands.key_messages import key_fail, key_message, not_found
from tdsproxy.commands.key_ring import Holder, KeyRing, noun, ring_of
from tdsproxy.media.documents import EncryptionEnvelope
from tdsproxy.media.encryption import KEY_SIZES, AesGcm, new_set_key
from tdsproxy.media.sealing import ChunkCipher, KeyMissing, Keys, SetSealing
from tdsproxy.tsql import ast
from tdsproxy.tsql.replies import Message

CERTIFICATE: Final = "CERTIFICATE"
ASYMMETRIC_KEY: Final = "ASYMMETRIC_KEY"
_CERTIFICATE_WORD: Final = "SERVER CERTIFICATE"
_NOUNS: Final = {CERTIFICATE: "certificate", ASYMMETRIC_KEY: "asymmetric key"}


def find_encryptor(
    context: Context, ring: KeyRing, kind: str, name: str
) -> tuple[Holder, rsa.RSAPublicKey, tuple[Message, ...]]:
    """The certificate or asymmetric key that is to protect something, its public key, and what the user is to
    be warned of. Raises CommandError 15151, 3096, 33101, 15581."""
    holder = ring.keys.certificate(name) if kind == CERTIFICATE else ring.keys.asymmetric_key(name)
    if holder is None or not _may_see(context):
        raise not_found("find", _NOUNS[kind], name)
    public = _usable(ring, holder)
    warnings: tuple[Message, ...] = ()
    if isinstance(holder, Certificate) and holder.backed_up is None:
        warnings = (key_message(33091, line=context.request.line),)
    return holder, public, warnings


def sealing_of(context: Context, option: ast.Option) -> tuple[SetSealing, tuple[Message, ...]]:
    """What ENCRYPTION (...) asks for, and what the user is to be warned of.

    Raises CommandError 3217 (an algorithm that there is not), 15151, 3096, 33101, 15581.
    """
    words = {word: context.operands.text(operand) or "" for word, operand in option.arguments}
    algorithm = words.get("ALGORITHM", "").upper()
    if algorithm not in KEY_SIZES:
        raise fail(3217, "ALGORITHM")
    ring = ring_of(context)
    kind = CERTIFICATE if _CERTIFICATE_WORD in words else ASYMMETRIC_KEY
    name = next(text for word, text in words.items() if word != "ALGORITHM")
    holder, public, warnings = find_encryptor(context, ring, kind, name)
    key = new_set_key(algorithm)
    envelope = EncryptionEnvelope(
        algorithm=algorithm.lower(),
        thumbprint=holder.thumbprint,
        encryptor_type=kind,
        wrapped_key=x509.wrap_set_key(public, key),
    )
    return SetSealing(envelope, AesGcm(key)), warnings


def _may_see(context: Context) -> bool:
    """VIEW DEFINITION on what lies in master."""
    return context.is_admin or "db_owner" in context.session.database_roles.get("master", ())


def _usable(ring: KeyRing, holder: Holder) -> rsa.RSAPublicKey:
    """The public key of one whose private key the server can use by itself, so that what is backed up can be
    restored here. Raises CommandError."""
    if holder.protection is not Protection.MASTER_KEY:
        raise key_fail(33101, noun(holder), holder.name, noun(holder))
    ring.master_key()
    if not isinstance(holder, Certificate):
        return x509.load_public(holder.der)
    if x509.facts_of(holder.der).not_after < dt.datetime.now(dt.UTC):
        raise key_fail(3096)
    return x509.load_certificate(holder.der)[1]


Unwrap = Callable[[EncryptionEnvelope], bytes]
"""Gives the key that an envelope holds. Raises KeyMissing, CommandError."""


def keys_of(context: Context) -> Keys:
    """What opens the sets that this session reads."""
    return set_keys(unwrapping(ring_of(context)))


def set_keys(unwrap: Unwrap) -> Keys:
    """What opens sets, given what opens envelopes."""

    def cipher(envelope: EncryptionEnvelope) -> ChunkCipher:
        try:
            return AesGcm(unwrap(envelope))
        except ValueError as error:
            raise key_fail(15466) from error

    return cipher


def unwrapping(ring: KeyRing) -> Unwrap:
    """What opens envelopes with the keys of a ring. The function raises KeyMissing and CommandError 15581,
    15466, 33101."""

    def unwrap(envelope: EncryptionEnvelope) -> bytes:
        holder = ring.by_thumbprint(envelope.thumbprint)
        if holder is None:
            raise KeyMissing(envelope)
        if holder.protection is not Protection.MASTER_KEY:
            raise key_fail(33101, noun(holder), holder.name, noun(holder))
        try:
            return x509.unwrap_set_key(ring.private_key(holder), envelope.wrapped_key)
        except x509.KeyFileError as error:
            raise key_fail(15466) from error

    return unwrap


def missing_key(error: KeyMissing) -> Message:
    """33111, for a set whose certificate or key is not here."""
    envelope = error.envelope
    kind = _NOUNS.get(envelope.encryptor_type, "certificate")
    return key_message(33111, kind, f"0x{envelope.thumbprint.hex().upper()}")
