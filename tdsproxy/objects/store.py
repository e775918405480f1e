"""A bucket that is open: objects are read by range, written whole, listed and removed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from tdsproxy.objects.errors import ObjectError, Reason, from_library
from tdsproxy.objects.options import Reaching, Secret, Writing
from tdsproxy.objects.url import Kind, ObjectUrl, is_loopback

if TYPE_CHECKING:
    from obstore.store import ObjectStore

S3_IDENTITY: Final = "S3 Access Key"
SAS_IDENTITY: Final = "SHARED ACCESS SIGNATURE"
AMBIENT: Final = "Managed Identity"
DEFAULT_REGION: Final = "us-east-1"
_CONNECT_SECONDS: Final = 10
# Of one request, and of one request with all its repetitions.
_REQUEST_SECONDS: Final = 300
_PATIENCE_SECONDS: Final = 600
_REPETITIONS: Final = 8
_DELETIONS: Final = 8


@dataclass(frozen=True, slots=True)
class Found:
    """An object that is there: its size in bytes and the tag that changes with its content, which is an ETag
    or, on Google's, the object's generation. ``modified`` is when it was written, by the store's clock, in
    seconds since 1970."""

    key: str
    size: int
    tag: str | None
    modified: float | None = None


class Bucket:
    """The objects of one bucket or container. For any thread. Everything raises ObjectError.

    Requests that fail by a cut connection, a timeout or a busy store are repeated, with growing pauses; of an
    upload only the part that failed.
    """

    has_own_key: bool = False
    """Whether objects are under a key that the store does not keep."""

    def __init__(
        self,
        store: ObjectStore,
        writing: Writing,
        kind: Kind,
        remover: Callable[[str], None] | None = None,
    ) -> None:
        self._store = store
        self._kind = kind
        self._remover = remover
        self.has_own_key = writing.customer_key is not None
        self._attributes = {"Storage-Class": writing.storage_class} if writing.storage_class else None

    def find(self, key: str) -> Found | None:
        """None when there is no such object, or no such bucket."""
        import obstore

        try:
            with _failures():
                found = obstore.head(self._store, key)
        except ObjectError as error:
            if error.reason in (Reason.MISSING, Reason.NO_BUCKET):
                return None
            raise
        return self._found(key, found)

    def read(self, key: str, offset: int, length: int) -> bytes:
        """Exactly these bytes."""
        import obstore

        with _failures():
            return bytes(obstore.get_range(self._store, key, start=offset, length=length))

    def read_all(self, key: str) -> tuple[bytes, str | None]:
        """A small object, and its tag."""
        import obstore

        with _failures():
            found = obstore.get(self._store, key)
            return bytes(found.bytes()), self._tag(found.meta)

    def pieces(self, key: str, size: int = 4 << 20, offset: int = 0) -> Iterator[bytes]:
        """An object from ``offset`` on, in pieces of at least ``size`` bytes."""
        import obstore

        options: Any = {"range": {"offset": offset}} if offset else None
        with _failures():
            for piece in obstore.get(self._store, key, options=options).stream(min_chunk_size=size):
                yield bytes(piece)

    def write(self, key: str, data: bytes, *, only: str | None = None, new: bool = False) -> str | None:
        """A small object, whole; returns its tag. ``new``: only if there is none (else EXISTS); ``only``:
        only in place of the one with this tag (else CHANGED)."""
        import obstore

        mode: Any = "create" if new else "overwrite"
        if only is not None:
            mode = {"version" if self._kind is Kind.GCS else "e_tag": only}
        with _failures():
            put = obstore.put(
                self._store, key, data, mode=mode, attributes=self._attributes, use_multipart=False
            )
        return self._tag(put)

    def _found(self, key: str, found: Any) -> Found:
        return Found(key, found["size"], self._tag(found), found["last_modified"].timestamp())

    def _tag(self, found: Any) -> str | None:
        # Google's conditions are about generations.
        tag: str | None = found["version" if self._kind is Kind.GCS else "e_tag"]
        return tag

    def upload(self, key: str, pieces: Iterable[bytes], part_size: int, concurrency: int) -> None:
        """A large object in parts. It is visible when this returns; when the iteration raises, which is
        raised again, nothing is left."""
        import obstore

        with _failures():
            obstore.put(
                self._store,
                key,
                iter(pieces),
                attributes=self._attributes,
                use_multipart=True,
                chunk_size=part_size,
                max_concurrency=concurrency,
            )

    def list(self, prefix: str) -> Iterator[Found]:
        """Everything below a folder, in the order of the keys."""
        import obstore

        with _failures():
            for group in obstore.list(self._store, prefix=prefix.rstrip("/") + "/" if prefix else None):
                for item in group:
                    yield self._found(item["path"], item)

    def children(self, prefix: str) -> Sequence[Found]:
        """What lies in a folder itself, not in those below it, in the order of the keys."""
        import obstore

        with _failures():
            found = obstore.list_with_delimiter(self._store, prefix.rstrip("/") + "/" if prefix else None)
        items = (self._found(item["path"], item) for item in found["objects"])
        return sorted(items, key=lambda item: item.key)

    def tidy(self, prefix: str) -> None:
        """Remove what is left below a folder of writers that were killed, and that ``list`` does not show, as
        far as the store does not do so itself (see also ``unfinished``)."""

    def remove(self, keys: Sequence[str]) -> None:
        """What is not there is no error."""
        import obstore

        if not keys:
            return
        if self._remover is not None:
            with ThreadPoolExecutor(min(_DELETIONS, len(keys)), "delete") as threads:
                for _ in threads.map(self._remover, keys):
                    pass
            return
        try:
            with _failures():
                obstore.delete(self._store, list(keys))
        except ObjectError as error:
            if error.reason is not Reason.MISSING:
                raise


class Abandoned(Exception):
    """An upload that is to leave nothing."""


@contextmanager
def _failures() -> Iterator[None]:
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError) or not isinstance(error, Abandoned):
            raise from_library(error) from None


def open_bucket(
    url: ObjectUrl, secret: Secret | None, reaching: Reaching, writing: Writing | None = None
) -> Bucket:
    """The bucket of a URL; nothing is asked of it yet. Raises ObjectError NO_CREDENTIAL, BAD_CREDENTIAL,
    UNAVAILABLE, BAD_URL."""
    writing = writing or Writing()
    try:
        import obstore.store  # 20 ms that only who needs it should wait
    except ImportError:
        raise ObjectError(Reason.UNAVAILABLE) from None
    common: dict[str, Any] = {
        "client_options": _client(url, secret, reaching),
        "retry_config": {
            "max_retries": _REPETITIONS,
            "retry_timeout": timedelta(seconds=_PATIENCE_SECONDS),
            "backoff": {
                "init_backoff": timedelta(milliseconds=100),
                "max_backoff": timedelta(seconds=5),
                "base": 2,
            },
        },
    }
    try:
        match url.kind:
            case Kind.S3:
                options = _s3(url, secret, reaching, writing)
                return Bucket(obstore.store.S3Store(url.bucket, **options, **common), writing, url.kind)
            case Kind.AZURE:
                options = _azure(url, secret, writing)
                from tdsproxy.objects.azure_delete import blob_remover

                remover = None if secret is None else blob_remover(url, secret, reaching)
                azure = obstore.store.AzureStore(url.bucket, **options, **common)
                return Bucket(azure, writing, url.kind, remover)
            case Kind.GCS:
                options = _gcs(secret)
                return Bucket(obstore.store.GCSStore(url.bucket, **options, **common), writing, url.kind)
            case Kind.FOLDER:
                from tdsproxy.objects.folder import FolderBucket

                return FolderBucket(Path(url.bucket))
    except (obstore.exceptions.BaseError, ValueError, TypeError):
        # The library's words could show the secret.
        raise ObjectError(Reason.BAD_CREDENTIAL) from None


def uses_http(url: ObjectUrl, reaching: Reaching, secret: Secret | None = None) -> bool:
    """Whether the store is reached in clear."""
    if url.kind is Kind.AZURE:
        return not url.secure
    if url.kind is Kind.GCS:
        # The key of an emulator's service account says where that is.
        base = urlsplit(str(service_account(secret).get("gcs_base_url", "")))
        return base.scheme == "http" and is_loopback(base.netloc)
    names = {name.lower() for name in reaching.http_hosts}
    host = url.host.lower()
    if host in names or host.rpartition(":")[0] in names:
        return True
    return url.is_loopback and reaching.ca_file is None


def _client(url: ObjectUrl, secret: Secret | None, reaching: Reaching) -> dict[str, Any]:
    found: dict[str, Any] = {
        "allow_http": uses_http(url, reaching, secret),
        "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
        "timeout": timedelta(seconds=_REQUEST_SECONDS),
        "user_agent": "tdsproxy",
    }
    if reaching.ca_file is not None:
        try:
            found["root_certificate"] = reaching.ca_file.read_bytes()
        except OSError:
            raise ObjectError(Reason.UNTRUSTED) from None
    return found


def _s3(url: ObjectUrl, secret: Secret | None, reaching: Reaching, writing: Writing) -> dict[str, Any]:
    if secret is None:
        raise ObjectError(Reason.NO_CREDENTIAL)
    scheme = "http" if uses_http(url, reaching) else "https"
    host = f"{url.bucket}.{url.host}" if url.hosted else url.host
    options: dict[str, Any] = {
        "endpoint": f"{scheme}://{host}",
        "virtual_hosted_style_request": url.hosted,
        "region": writing.region or url.region or DEFAULT_REGION,
    }
    if secret.identity.lower() == S3_IDENTITY.lower():
        # SQL Server's form is ID:KEY; a third part is the session token of temporary keys.
        key, colon, rest = secret.value.partition(":")
        value, _, token = rest.partition(":")
        if not (key and colon and value):
            raise ObjectError(Reason.BAD_CREDENTIAL)
        options |= {"access_key_id": key, "secret_access_key": value}
        if token:
            options["session_token"] = token
    elif secret.identity.lower() != AMBIENT.lower():
        raise ObjectError(Reason.BAD_CREDENTIAL)
    if writing.customer_key is not None:
        options |= {"server_side_encryption": "sse-c", "sse_customer_key_base64": writing.customer_key}
    elif writing.encryption is not None:
        options["server_side_encryption"] = writing.encryption
        if writing.kms_key is not None:
            options["sse_kms_key_id"] = writing.kms_key
    return options


def _azure(url: ObjectUrl, secret: Secret | None, writing: Writing) -> dict[str, Any]:
    if secret is None:
        raise ObjectError(Reason.NO_CREDENTIAL)
    options: dict[str, Any] = {"account_name": url.account}
    if url.is_loopback:
        scheme = "https" if url.secure else "http"
        options["endpoint"] = f"{scheme}://{url.host}/{url.account}"
    else:
        options["endpoint"] = f"https://{url.host}"
    if writing.customer_key is not None:
        options["encryption_key"] = writing.customer_key
    identity = secret.identity.lower()
    if identity == SAS_IDENTITY.lower():
        options["sas_key"] = secret.value.removeprefix("?")
    elif identity == url.account.lower():
        options["account_key"] = secret.value
    elif identity != AMBIENT.lower():
        raise ObjectError(Reason.BAD_CREDENTIAL)
    return options


def _gcs(secret: Secret | None) -> dict[str, Any]:
    """The secret is a service account's key (JSON); without one, the machine's own identity."""
    if secret is None or secret.identity.lower() == AMBIENT.lower():
        return {}
    if not service_account(secret):
        raise ObjectError(Reason.BAD_CREDENTIAL)
    return {"service_account_key": secret.value}


def service_account(secret: Secret | None) -> dict[str, Any]:
    """What a Google credential's secret says; empty when it is no such document."""
    try:
        found = json.loads(secret.value) if secret is not None else {}
    except ValueError:
        found = {}
    return found if isinstance(found, dict) else {}
