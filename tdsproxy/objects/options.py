"""How object stores are reached, and how objects are written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Reaching:
    """``http_hosts`` (HOST:PORT, or HOST) are reached by plain HTTP; so is a loopback host, unless there is a
    ``ca_file``, the authorities (PEM) to trust besides the system's."""

    http_hosts: tuple[str, ...] = ()
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Secret:
    """A credential as CREATE CREDENTIAL has it."""

    identity: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Writing:
    """``storage_class`` is the store's own word. ``encryption`` is S3's: ``AES256``, ``aws:kms``, or
    ``aws:kms:dsse``, with ``kms_key``; ``customer_key`` (256 bits, Base64; S3 and Azure) is the caller's own,
    without which nobody reads the object."""

    region: str | None = None
    storage_class: str | None = None
    encryption: str | None = None
    kms_key: str | None = None
    customer_key: str | None = field(default=None, repr=False)
