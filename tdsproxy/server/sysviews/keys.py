"""Keys, certificates and credentials as views. Secrets are in none of them."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from typing import Final

from tdsproxy.catalog.keys import Certificate, Keys, Protection
from tdsproxy.server.sysviews.model import Row, View, view
from tdsproxy.server.sysviews.scope import EPOCH, Scope
from tdsproxy.tsql.values import DateTime

DATABASE_MASTER_KEY_ID: Final = 101
SERVICE_MASTER_KEY_ID: Final = 102
_PROTECTION: Final = {
    Protection.MASTER_KEY: "ENCRYPTED_BY_MASTER_KEY",
    Protection.PASSWORD: "ENCRYPTED_BY_PASSWORD",
    Protection.NONE: "NO_PRIVATE_KEY",
}
_DBO: Final = 1


def _keys(scope: Scope) -> Keys | None:
    """Master's keys, for a query of master by one who may see them."""
    return scope.keys if scope.database.id == 1 else None


def _local(moment: dt.datetime | None) -> DateTime | None:
    return None if moment is None else DateTime.of(moment)


def _certificates(scope: Scope) -> Iterator[Row]:
    keys = _keys(scope)
    for certificate in keys.certificates() if keys is not None else ():
        yield _certificate(certificate)


def _certificate(certificate: Certificate) -> Row:
    # Loading X.509 takes its time: only who has certificates pays for it.
    from tdsproxy.catalog.certificates import facts_of

    facts = facts_of(certificate.der)
    return {
        "name": certificate.name,
        "certificate_id": certificate.id,
        "principal_id": certificate.owner_id,
        "pvt_key_encryption_type": certificate.protection.value,
        "pvt_key_encryption_type_desc": _PROTECTION[certificate.protection],
        "is_active_for_begin_dialog": int(certificate.begin_dialog),
        "issuer_name": facts.issuer,
        "cert_serial_number": facts.serial,
        "sid": facts.sid,
        "string_sid": facts.string_sid,
        "subject": facts.subject,
        "expiry_date": _local(facts.not_after.replace(tzinfo=None)),
        "start_date": _local(facts.not_before.replace(tzinfo=None)),
        "thumbprint": facts.thumbprint,
        "attested_by": None,
        "pvt_key_last_backup_date": _local(certificate.backed_up),
        "key_length": facts.key_bits,
    }


def _asymmetric_keys(scope: Scope) -> Iterator[Row]:
    keys = _keys(scope)
    for key in keys.asymmetric_keys() if keys is not None else ():
        sid = bytes.fromhex("010600000000000A01000000") + key.thumbprint
        parts = [str(int.from_bytes(key.thumbprint[i : i + 4], "little")) for i in range(0, 20, 4)]
        yield {
            "name": key.name,
            "principal_id": key.owner_id,
            "asymmetric_key_id": key.id,
            "pvt_key_encryption_type": key.protection.value,
            "pvt_key_encryption_type_desc": _PROTECTION[key.protection],
            "thumbprint": key.thumbprint,
            "algorithm": {2048: "3R", 3072: "4R", 4096: "5R"}.get(key.bits, "3R"),
            "algorithm_desc": f"RSA_{key.bits}",
            "key_length": key.bits,
            "sid": sid,
            "string_sid": "S-1-10-1-" + "-".join(parts),
            "public_key": key.der,
        }


def _symmetric_keys(scope: Scope) -> Iterator[Row]:
    keys = _keys(scope)
    if keys is None:
        return
    master = keys.master_key()
    if master is not None:
        yield _symmetric_key(
            "##MS_DatabaseMasterKey##",
            DATABASE_MASTER_KEY_ID,
            DateTime.of(master.created),
            DateTime.of(master.modified),
            master.guid,
        )
    yield _symmetric_key("##MS_ServiceMasterKey##", SERVICE_MASTER_KEY_ID, EPOCH, EPOCH, uuid.UUID(int=0))


def _symmetric_key(name: str, id_: int, created: DateTime, modified: DateTime, guid: uuid.UUID) -> Row:
    return {
        "name": name,
        "principal_id": _DBO,
        "symmetric_key_id": id_,
        "key_length": 256,
        "key_algorithm": "A3",
        "algorithm_desc": "AES_256",
        "create_date": created,
        "modify_date": modified,
        "key_guid": guid,
    }


def _key_encryptions(scope: Scope) -> Iterator[Row]:
    keys = _keys(scope)
    master = keys.master_key() if keys is not None else None
    if master is None:
        return
    if master.by_service is not None:
        yield {
            "key_id": DATABASE_MASTER_KEY_ID,
            "crypt_type": "ESKM",
            "crypt_type_desc": "ENCRYPTION BY MASTER KEY",
            "crypt_property": master.by_service,
        }
    for sealed in master.passwords:
        yield {
            "key_id": DATABASE_MASTER_KEY_ID,
            "crypt_type": "ESP2",
            "crypt_type_desc": "ENCRYPTION BY PASSWORD V2",
            "crypt_property": sealed,
        }


def _credentials(scope: Scope) -> Iterator[Row]:
    credentials = scope.credentials
    for credential in credentials:
        yield {
            "credential_id": credential.id,
            "name": credential.name,
            "credential_identity": credential.identity,
            "create_date": DateTime.of(credential.created),
            "modify_date": DateTime.of(credential.modified),
        }


def _encryption_keys(scope: Scope) -> Iterator[Row]:
    ids = {facts.database_guid: facts.id for facts in scope.databases()}
    for database, key, document in scope.database_keys:
        if database not in ids:
            continue
        yield {
            "database_id": ids[database],
            "encryption_state": 3 if key.encrypted else 1,
            "create_date": DateTime.of(dt.datetime.fromisoformat(document.created)),
            "regenerate_date": DateTime.of(dt.datetime.fromisoformat(document.created)),
            "modify_date": DateTime.of(dt.datetime.fromisoformat(document.created)),
            "key_algorithm": "AES",
            "key_length": 256,
            "encryptor_thumbprint": document.thumbprint,
            "encryptor_type": document.encryptor_type.replace("_", " "),
            "percent_complete": 0.0,
            "encryption_state_desc": "ENCRYPTED" if key.encrypted else "UNENCRYPTED",
            "encryption_scan_state": 0,
            "encryption_scan_state_desc": "NONE",
        }


VIEWS: Final[tuple[View, ...]] = (
    view(
        "sys.dm_database_encryption_keys",
        "database_id int, encryption_state int, create_date datetime, regenerate_date datetime,"
        "modify_date datetime, set_date datetime, opened_date datetime, key_algorithm nvarchar(32),"
        "key_length int, encryptor_thumbprint varbinary(20), encryptor_type nvarchar(32),"
        "percent_complete real, encryption_state_desc nvarchar(32), encryption_scan_state int,"
        "encryption_scan_state_desc nvarchar(32), encryption_scan_modify_date datetime",
        _encryption_keys,
    ),
    view(
        "sys.certificates",
        "name sysname!, certificate_id int!, principal_id int, pvt_key_encryption_type char(2)!,"
        "pvt_key_encryption_type_desc nvarchar(60), is_active_for_begin_dialog bit,"
        " issuer_name nvarchar(442),"
        "cert_serial_number nvarchar(64), sid varbinary(85), string_sid nvarchar(128),"
        " subject nvarchar(4000),"
        "expiry_date datetime, start_date datetime, thumbprint varbinary(32)!, attested_by nvarchar(260),"
        "pvt_key_last_backup_date datetime, key_length int",
        _certificates,
    ),
    view(
        "sys.asymmetric_keys",
        "name sysname!, principal_id int, asymmetric_key_id int!, pvt_key_encryption_type char(2)!,"
        "pvt_key_encryption_type_desc nvarchar(60), thumbprint varbinary(32)!, algorithm char(2)!,"
        "algorithm_desc nvarchar(60), key_length int!, sid varbinary(85), string_sid nvarchar(128),"
        "public_key varbinary(max)!, attested_by nvarchar(260), provider_type nvarchar(120),"
        "cryptographic_provider_guid uniqueidentifier, cryptographic_provider_algid sql_variant",
        _asymmetric_keys,
    ),
    view(
        "sys.symmetric_keys",
        "name sysname!, principal_id int, symmetric_key_id int!, key_length int!, key_algorithm char(2)!,"
        "algorithm_desc nvarchar(60), create_date datetime!, modify_date datetime!,"
        "key_guid uniqueidentifier, key_thumbprint sql_variant, provider_type nvarchar(120),"
        "cryptographic_provider_guid uniqueidentifier, cryptographic_provider_algid sql_variant",
        _symmetric_keys,
    ),
    view(
        "sys.key_encryptions",
        "key_id int!, thumbprint varbinary(32), crypt_type char(4)!, crypt_type_desc nvarchar(60),"
        "crypt_property varbinary(max)",
        _key_encryptions,
    ),
    view(
        "sys.credentials",
        "credential_id int!, name sysname!, credential_identity nvarchar(4000), create_date datetime!,"
        "modify_date datetime!, target_type nvarchar(100), target_id int",
        _credentials,
    ),
)
