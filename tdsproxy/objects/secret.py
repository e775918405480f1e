"""Credentials that are not in a store's catalog: from a file, or the environment."""

from __future__ import annotations

from pathlib import Path

from tdsproxy.objects.errors import ObjectError, Reason
from tdsproxy.objects.options import Secret
from tdsproxy.objects.store import AMBIENT, S3_IDENTITY, SAS_IDENTITY
from tdsproxy.objects.url import Kind, ObjectUrl


def secret_of(url: ObjectUrl, text: str) -> Secret:
    """``text`` as SECRET has it: ``ID:KEY`` for S3, a SAS token or an account's key for Azure, a service
    account's JSON for Google; empty means the machine's own identity."""
    value = text.strip()
    if not value:
        return Secret(AMBIENT, "")
    match url.kind:
        case Kind.S3:
            return Secret(S3_IDENTITY, value)
        case Kind.AZURE:
            return Secret(SAS_IDENTITY if "sig=" in value else url.account, value)
        case Kind.GCS | Kind.FOLDER:
            return Secret("service account", value)


def read_secret(url: ObjectUrl, path: Path) -> Secret:
    """Raises ObjectError BAD_CREDENTIAL."""
    try:
        return secret_of(url, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        raise ObjectError(Reason.BAD_CREDENTIAL) from None
