"""The JSON documents of a medium: what HEADERONLY, FILELISTONLY and LABELONLY show, and what a restore needs.

Readers ignore members that they do not know, so later versions may add some. Moments carry their offset
from UTC; LSNs are the decimal numbers of SQL Server (numeric(25,0)).
"""

from __future__ import annotations

import datetime as dt
from uuid import UUID

import msgspec

FULL, LOG, FILE, DIFFERENTIAL, FILE_DIFFERENTIAL, PARTIAL, PARTIAL_DIFFERENTIAL = 1, 2, 4, 5, 6, 7, 8
# A database has one data file, so each of these holds all of it.
WHOLE = frozenset({FULL, FILE, PARTIAL})
CHANGES = frozenset({DIFFERENTIAL, FILE_DIFFERENTIAL, PARTIAL_DIFFERENTIAL})


class EncryptionEnvelope(msgspec.Struct, frozen=True, kw_only=True):
    """How the keys of a set are wrapped: the algorithm's name, and who can unwrap."""

    algorithm: str
    thumbprint: bytes
    encryptor_type: str = "CERTIFICATE"
    wrapped_key: bytes = b""


class MediaHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The label of a medium (LABELONLY), and what all its sets have in common.

    ``family_count`` stripes form the media set, this is number ``family_sequence`` of them;
    ``mirror_count`` copies of each exist, this is number ``mirror_sequence``, all from 1. ``compressed`` and
    ``encrypted`` hold for every set of the medium.
    """

    media_set_id: UUID
    media_family_id: UUID
    created: dt.datetime
    name: str | None = None
    description: str | None = None
    family_count: int = 1
    family_sequence: int = 1
    media_sequence: int = 1
    mirror_count: int = 1
    mirror_sequence: int = 1
    block_size: int = 512
    compressed: bool = False
    encrypted: bool = False
    software: str = "Microsoft SQL Server"
    software_vendor: int = 4608


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One row of FILELISTONLY. Sizes are bytes; ``type`` is ``D`` or ``L``."""

    logical_name: str
    physical_name: str
    type: str
    file_id: int
    unique_id: UUID
    filegroup: str | None = None
    filegroup_id: int = 0
    size: int = 0
    max_size: int = 0
    backup_size: int = 0
    source_block_size: int = 4096
    create_lsn: int = 0
    drop_lsn: int = 0
    read_only_lsn: int = 0
    read_write_lsn: int = 0
    differential_base_lsn: int = 0
    differential_base_guid: UUID | None = None
    log_group_guid: UUID | None = None
    is_read_only: bool = False
    is_present: bool = True
    tde_thumbprint: bytes | None = None


class SetDescription(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller of a backup knows about it: the columns of HEADERONLY but those that measuring gives.

    ``files`` lists the database's files; the sizes of the data file that is backed up are filled in by
    the backup. ``database_key`` holds the key of a database whose file is encrypted: key and salt.
    ``is_by_hashes`` says of a differential set that its pages were found by the hashes of the base's: a page
    that is as in the base again may be missing, unless an earlier differential set held it.
    """

    database_name: str
    set_guid: UUID
    family_guid: UUID
    database_guid: UUID
    recovery_fork_guid: UUID
    first_recovery_fork_guid: UUID
    backup_type: int = FULL
    name: str | None = None
    description: str | None = None
    expires: dt.datetime | None = None
    user_name: str = ""
    server_name: str = ""
    machine_name: str = ""
    device_type: int = 2
    database_version: int = 957
    database_created: dt.datetime | None = None
    compatibility_level: int = 160
    collation: str = "SQL_Latin1_General_CP1_CI_AS"
    sort_order: int = 52
    code_page: int = 0
    locale_id: int = 1033
    comparison_style: int = 196609
    vendor_id: int = 4608
    version_major: int = 16
    version_minor: int = 0
    version_build: int = 4236
    recovery_model: str = "SIMPLE"
    first_lsn: int = 0
    last_lsn: int = 0
    checkpoint_lsn: int = 0
    database_backup_lsn: int = 0
    fork_point_lsn: int | None = None
    differential_base_lsn: int | None = None
    differential_base_guid: UUID | None = None
    begins_log_chain: bool = False
    has_bulk_logged_data: bool = False
    has_incomplete_metadata: bool = False
    is_snapshot: bool = False
    is_read_only: bool = False
    is_single_user: bool = False
    is_copy_only: bool = False
    is_force_offline: bool = False
    is_by_hashes: bool = False
    has_checksums: bool = False
    containment: int = 0
    last_valid_restore_time: dt.datetime | None = None
    database_key: EncryptionEnvelope | None = None
    files: tuple[FileEntry, ...] = ()


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """The SQLite file that the pages come from. ``reserved`` is the header's byte 20.

    A log set names only the page size, and says of a database no page of which it holds that it has 0 pages.
    """

    page_size: int
    page_count: int
    wal: bool
    reserved: int = 0
    library_version: int = 0


class SetHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The document at the start of a set."""

    description: SetDescription
    image: Image
    started: dt.datetime
    compression: str | None = None
    compression_level: int | None = None
    encryption: EncryptionEnvelope | None = None
    family_count: int = 1
    family_sequence: int = 1


class FamilyContent(msgspec.Struct, frozen=True, kw_only=True):
    """What one family holds of a set that lies in several; as the members of ``SetTrailer``."""

    run_count: int
    page_count: int
    log_block_count: int
    transaction_count: int
    digest: bytes


class ContentFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of the content when the pages of a set were read, to be compared with a restored one.

    ``objects`` maps "type name" of everything in SQLite's schema to a digest of its definition, ``rows``
    tables to their numbers of rows; a table that took too long to count is not in it. ``hidden`` says that
    names are digests themselves, as they are in encrypted sets.
    """

    objects: dict[str, str] = {}
    rows: dict[str, int] = {}
    hidden: bool = False


class SetTrailer(msgspec.Struct, frozen=True, kw_only=True):
    """The document at the end of a set: what is known only then.

    ``run_count`` page runs with ``page_count`` pages in all; ``set_digest`` is the digest over the content
    digests of pages and log in order; sizes are bytes. All these are of the whole set; ``family`` tells the
    part that lies here, None when there is one family. ``index_offset`` and ``index_records`` tell where the
    indexes lie. ``sealed_digest`` is the set digest sealed, of a set that is encrypted.
    Members of the same name as in the description are its final values. ``page_count`` counts the pages that
    are stored, which in a differential set are only the changed ones.

    ``log_block_count`` blocks hold ``transaction_count`` transactions. Times in nanoseconds since 1970, UTC:
    what the set restores is the database's state from ``consistent_ns``, when it last committed before, to
    ``through_ns``, up to which no later commit happened. Both are None in sets of format 1.0. ``facts`` tell
    of the state of the pages, before the set's log.
    """

    finished: dt.datetime
    run_count: int
    page_count: int
    backup_size: int
    stored_size: int
    set_digest: bytes
    header_digest: bytes
    index_offset: int
    index_records: int
    is_damaged: bool = False
    last_lsn: int | None = None
    last_valid_restore_time: dt.datetime | None = None
    log_block_count: int = 0
    transaction_count: int = 0
    consistent_ns: int | None = None
    through_ns: int | None = None
    family: FamilyContent | None = None
    sealed_digest: bytes | None = None
    facts: ContentFacts | None = None


def encode(document: msgspec.Struct) -> bytes:
    """The document as JSON."""
    return msgspec.json.encode(document)
