"""Devices of type URL: which credential a URL has, and how its object is written.

SQL Server looks for a credential named as the URL, then as each folder above it, up to the bucket or
container: the longest name wins. WITH CREDENTIAL names one by its own name.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from tdsproxy.commands.context import Context
from tdsproxy.commands.environment import CommandEnvironment
from tdsproxy.commands.failure import CommandError, fail
from tdsproxy.commands.key_credentials import opened
from tdsproxy.commands.paths import MAX_DEVICE_NAME
from tdsproxy.commands.remote_failures import remote_failure
from tdsproxy.media.errors import RemoteError
from tdsproxy.media.object_device import ObjectDevice, Share
from tdsproxy.objects.errors import ObjectError, Reason
from tdsproxy.objects.options import Secret, Writing
from tdsproxy.objects.store import SAS_IDENTITY, Bucket, open_bucket
from tdsproxy.objects.url import Kind, ObjectUrl, is_url, parse_url
from tdsproxy.store.key_wrapping import CannotUnwrap
from tdsproxy.store.upload_notes import UploadNote
from tdsproxy.tsql import ast

_MEMBERS: Final = {
    "s3": frozenset(
        {
            "region",
            "storage_class",
            "server_side_encryption",
            "kms_key_id",
            "customer_key_credential",
        }
    ),
    "azure": frozenset({"access_tier", "customer_key_credential"}),
    "gcs": frozenset({"storage_class"}),
}
_ENCRYPTIONS: Final = frozenset({"AES256", "aws:kms", "aws:kms:dsse"})
_KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class UrlOptions:
    """What the WITH clause says for devices of type URL: the name of a credential, and the members of
    BACKUP_OPTIONS or RESTORE_OPTIONS by the kind of store."""

    credential: str | None = None
    members: dict[str, dict[str, str]] | None = None

    def of(self, kind: Kind) -> dict[str, str]:
        return (self.members or {}).get(kind.value, {})


def read_url_options(
    context: Context, devices: Sequence[ast.Device], options: Sequence[ast.Option]
) -> UrlOptions:
    """What they say of a URL says nothing of other devices.

    Raises CommandError 3217 for a document that is none, or has members that no store has."""
    if not any(device.kind == "URL" for device in devices):
        return UrlOptions()
    credential: str | None = None
    members: dict[str, dict[str, str]] | None = None
    for option in options:
        if option.name == "CREDENTIAL" and option.values:
            credential = context.operands.text(option.values[0])
        elif option.name in ("BACKUP_OPTIONS", "RESTORE_OPTIONS") and option.values:
            members = _document(option.name, context.operands.text(option.values[0]) or "")
    return UrlOptions(credential, members)


def _document(name: str, text: str) -> dict[str, dict[str, str]]:
    try:
        found: Any = json.loads(text)
    except ValueError:
        raise fail(3217, name) from None
    if not isinstance(found, dict):
        raise fail(3217, name)
    for store, values in found.items():
        if not isinstance(values, dict) or not set(values) <= _MEMBERS.get(store, frozenset()):
            raise fail(3217, name)
        if not all(isinstance(value, str) for value in values.values()):
            raise fail(3217, name)
    if found.get("s3", {}).get("server_side_encryption", "AES256") not in _ENCRYPTIONS:
        raise fail(3217, name)
    return dict(found)


def url_device(
    context: Context,
    name: str,
    options: UrlOptions,
    *,
    writing: bool,
    overwrite: bool = False,
    share: Share | None = None,
) -> ObjectDevice:
    """Raises CommandError 3044, 3057, 3078, 3201, 3225, 3233, 3288, 3297."""
    if not name.strip():
        raise fail(3044)
    if len(name) > MAX_DEVICE_NAME:
        raise fail(3057, MAX_DEVICE_NAME)
    if not is_url(name):
        raise fail(3078, name)
    state = 1 if writing else 2
    try:
        url = parse_url(name)
        secret = secret_for(context.env, url, options.credential)
        how = _writing(context.env, url, options)
        bucket = open_bucket(url, secret, context.env.reaching, how)
    except ObjectError as error:
        raise _refusal(name, error, state) from error
    return ObjectDevice(
        url,
        bucket,
        locks=context.env.object_locks,
        overwrite=overwrite,
        share=share,
        note=UploadNote(context.env.catalog.store, name, options.credential, how.region),
    )


def open_url(env: CommandEnvironment, text: str) -> tuple[ObjectUrl, Bucket]:
    """A bucket, or a folder in one, with the credential that the store has for it. Raises ObjectError."""
    url = parse_url(text, object_needed=False)
    return url, open_bucket(url, find_secret(env, url), env.reaching)


def _refusal(name: str, error: ObjectError, state: int) -> CommandError:
    if error.reason is Reason.BAD_URL:
        return fail(3297)
    if error.reason is Reason.BAD_CREDENTIAL and name.lower().startswith("s3:"):
        return fail(3233)
    return remote_failure(RemoteError(name, "open", error), state)


def secret_for(env: CommandEnvironment, url: ObjectUrl, named: str | None) -> Secret | None:
    """The credential ``named``, or the one for the URL. Raises CommandError 3288, 3225, ObjectError."""
    if named is None:
        return find_secret(env, url)
    found = _named(env, named)
    if found is None:
        raise fail(3288, named)
    if found.identity.lower() == SAS_IDENTITY.lower():
        raise fail(3225)
    return found


def find_secret(env: CommandEnvironment, url: ObjectUrl) -> Secret | None:
    """The credential with the longest name that is the URL or a folder above it. Raises ObjectError."""
    text = url.text.rstrip("/")
    least = len(text) - len(url.key.rstrip("/"))
    while True:
        found = _named(env, text)
        if found is not None or len(text) < least or "/" not in text.partition("://")[2]:
            return found
        text = text.rpartition("/")[0]


def _named(env: CommandEnvironment, name: str) -> Secret | None:
    """Raises ObjectError when the secret cannot be opened."""
    record = env.catalog.keys.credential(name)
    if record is None:
        return None
    try:
        secret = opened(env.catalog.service_key, record)
    except (CannotUnwrap, OSError):
        raise ObjectError(Reason.BAD_CREDENTIAL) from None
    return Secret(record.identity, secret or "")


def _writing(env: CommandEnvironment, url: ObjectUrl, options: UrlOptions) -> Writing:
    members = options.of(url.kind)
    return Writing(
        region=members.get("region"),
        storage_class=members.get("access_tier" if url.kind is Kind.AZURE else "storage_class"),
        encryption=members.get("server_side_encryption"),
        kms_key=members.get("kms_key_id"),
        customer_key=_customer_key(env, members.get("customer_key_credential")),
    )


def _customer_key(env: CommandEnvironment, name: str | None) -> str | None:
    """The caller's own key for objects: the secret of a credential, 32 bytes in Base64. No statement shows
    it."""
    if name is None:
        return None
    found = _named(env, name)
    if found is None:
        raise fail(3288, name)
    try:
        key = base64.b64decode(found.value, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != _KEY_BYTES:
        raise ObjectError(Reason.BAD_CREDENTIAL)
    return base64.b64encode(key).decode()
