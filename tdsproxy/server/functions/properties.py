"""SERVERPROPERTY and the property functions that hardly depend on anything here."""

from __future__ import annotations

from typing import Final

from tdsproxy.server import identity as server
from tdsproxy.server.functions.context import ServerContext
from tdsproxy.server.functions.define import asks, text, whole
from tdsproxy.tsql import types as t
from tdsproxy.tsql.functions.registry import FunctionDef
from tdsproxy.tsql.values import Value, Variant

_LCID: Final = 1033
_COMPARISON_STYLE: Final = 196609


def _server_property(context: ServerContext, name: str) -> Value:
    """SERVERPROPERTY; NULL for a name that it does not know."""
    here = context.identity
    answers: dict[str, Value] = {
        "servername": text(here.name),
        "machinename": text(here.name),
        "computernamephysicalnetbios": text(here.name),
        "instancename": None,
        "productversion": text(server.PRODUCT_VERSION),
        "productlevel": text(server.PRODUCT_LEVEL),
        "productmajorversion": text(str(server.VERSION[0])),
        "productminorversion": text(str(server.VERSION[1])),
        "productbuild": text(str(server.VERSION[2])),
        "productbuildtype": None,
        "productupdatelevel": None,
        "productupdatereference": None,
        "productupdatetype": None,
        "edition": text(server.EDITION),
        "editionid": Variant(t.BIGINT, server.EDITION_ID),
        "engineedition": whole(server.ENGINE_EDITION),
        "resourceversion": text("16.00.4236"),
        "resourcelastupdatedatetime": None,
        "collation": text(server.COLLATION),
        "collationid": whole(872468488),
        "comparisonstyle": whole(_COMPARISON_STYLE),
        "lcid": whole(_LCID),
        "sqlcharset": Variant(t.TINYINT, 1),
        "sqlcharsetname": text("iso_1"),
        "sqlsortorder": Variant(t.TINYINT, 52),
        "sqlsortordername": text("nocase_iso"),
        "buildclrversion": text("v4.0.30319"),
        "processid": None,
        "licensetype": text("DISABLED"),
        "numlicenses": None,
        "instancedefaultdatapath": text(here.data_path),
        "instancedefaultlogpath": text(here.data_path),
        "instancedefaultbackuppath": text(here.backup_path),
        "errorlogfilename": text(f"{here.data_path}errorlog"),
        "pathseparator": text("/"),
        "isclustered": whole(0),
        "ishadrenabled": whole(0),
        "hadrmanagerstatus": whole(2),
        "issingleuser": whole(0),
        "islocaldb": whole(0),
        "isfulltextinstalled": whole(0),
        "isintegratedsecurityonly": whole(0),
        "isadvancedanalyticsinstalled": whole(0),
        "ispolybaseinstalled": whole(0),
        "isbigdatacluster": whole(0),
        "isexternalauthenticationonly": whole(0),
        "isexternalgovernanceenabled": whole(0),
        "isserversuspendedforsnapshotbackup": whole(0),
        "istempdbmetadatamemoryoptimized": whole(0),
        "isxtpsupported": whole(0),
        "suspendeddatabasecount": whole(0),
        "filestreamsharename": None,
        "filestreamconfiguredlevel": whole(0),
        "filestreameffectivelevel": whole(0),
    }
    return answers.get(name.strip().lower())


def _collation_property(context: ServerContext, collation: str, name: str) -> Value:
    if not collation.strip():
        return None
    del context
    answers: dict[str, Value] = {
        "codepage": whole(1252),
        "lcid": whole(_LCID),
        "comparisonstyle": whole(_COMPARISON_STYLE if "_CI" in collation.upper() else 0),
        "version": Variant(t.TINYINT, 0),
    }
    return answers.get(name.strip().lower())


def _full_text(context: ServerContext, name: str) -> Value:
    del context
    return (
        0 if name.strip().lower() in ("isfulltextinstalled", "loadosresources", "verifysignature") else None
    )


def _login_property(context: ServerContext, login: str, name: str) -> Value:
    found = next((x for x in context.logins() if x.name.lower() == login.lower()), None)
    if found is None:
        return None
    answers: dict[str, Value] = {
        "defaultdatabase": text(found.default_database),
        "defaultlanguage": text(server.LANGUAGE),
        "isexpired": whole(0),
        "islocked": whole(0),
        "ismustchange": whole(0),
        "badpasswordcount": whole(0),
    }
    return answers.get(name.strip().lower())


FUNCTIONS: Final[tuple[FunctionDef, ...]] = (
    asks("SERVERPROPERTY", 1, 1, t.SQL_VARIANT, _server_property),
    asks("COLLATIONPROPERTY", 2, 2, t.SQL_VARIANT, _collation_property),
    asks("FULLTEXTSERVICEPROPERTY", 1, 1, t.INT, _full_text),
    asks("LOGINPROPERTY", 2, 2, t.SQL_VARIANT, _login_property),
    asks("FN_SYSPOLICY_IS_AUTOMATION_ENABLED", 0, 0, t.BIT, lambda c: 0),
    asks("FN_HADR_BACKUP_IS_PREFERRED_REPLICA", 1, 1, t.BIT, lambda c, name: 1),
    asks("FN_HADR_IS_PRIMARY_REPLICA", 1, 1, t.BIT, lambda c, name: None),
)
