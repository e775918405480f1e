"""SMO itself, the library behind Management Studio's dialogs, called from Python: a process hosts the .NET
runtime of the SQL Tools Service (see ``sql_tools_service``) and pythonnet in it.

What the service's JSON has no word for is asked here: a restore to a point in time, a backup's events.
``ask`` starts the process, which reads one request as JSON and answers with one line of JSON.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.clients.sql_tools_service import BRIDGE, LIBRARIES, LIMIT, PROGRAM, icu_version

Json = dict[str, Any]

ASSEMBLIES = (
    "Microsoft.SqlServer.ConnectionInfo",
    "Microsoft.SqlServer.Management.Sdk.Sfc",
    "Microsoft.SqlServer.Smo",
    "Microsoft.SqlServer.SmoExtended",
)


class SmoError(Exception):
    """SMO threw; the text of the innermost exception."""


def ask(home: Path, server: str, password: str, what: str, **arguments: object) -> Any:
    """Run the function called ``what`` of this module in a process with SMO."""
    version = icu_version()
    assert version, "no ICU library"
    request = {"home": str(home), "server": server, "password": password, "do": what, "with": arguments}
    environment = {
        **os.environ,
        "CLR_ICU_VERSION_OVERRIDE": version,
        "LD_LIBRARY_PATH": str((home / LIBRARIES).resolve()),
    }
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env=environment,
    )
    if not done.stdout.strip():
        raise SmoError(f"the process ended with {done.returncode}: {done.stderr[-2000:]}")
    answer = json.loads(done.stdout.splitlines()[-1])
    if "error" in answer:
        raise SmoError(answer["error"])
    return answer["result"]


# --- in the process that hosts SMO


def _host(home: Path) -> None:
    """Start the .NET runtime in this process, with pythonnet's bridge, so that ``import clr`` works."""
    folder = (home / PROGRAM).resolve().parent
    bridge = (home / BRIDGE).resolve()
    properties = {
        "TRUSTED_PLATFORM_ASSEMBLIES": ":".join(str(path) for path in (*folder.glob("*.dll"), bridge)),
        "APP_PATHS": str(folder),
        "NATIVE_DLL_SEARCH_DIRECTORIES": str(folder),
        "APP_CONTEXT_BASE_DIRECTORY": f"{folder}/",
    }
    runtime = ctypes.CDLL(str(folder / "libcoreclr.so"), mode=ctypes.RTLD_GLOBAL)
    count = len(properties)
    keys = (ctypes.c_char_p * count)(*(key.encode() for key in properties))
    values = (ctypes.c_char_p * count)(*(value.encode() for value in properties.values()))
    host, domain, function = ctypes.c_void_p(), ctypes.c_uint(), ctypes.c_void_p()
    program = str(folder / PROGRAM.name).encode()
    started = runtime.coreclr_initialize(
        program, b"smo", count, keys, values, ctypes.byref(host), ctypes.byref(domain)
    )
    found = runtime.coreclr_create_delegate(
        host, domain, b"Python.Runtime", b"Python.Runtime.Loader", b"Initialize", ctypes.byref(function)
    )
    if started or found or not function.value:
        raise SmoError(f"the .NET runtime did not start: {started:#x}, {found:#x}")
    initialize = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)(function.value)
    if initialize(b"", 0):
        raise SmoError("pythonnet did not start")
    import clr

    for name in ASSEMBLIES:
        clr.AddReference(str(folder / f"{name}.dll"))


def backup(
    server: Any, *, database: str, path: str, kind: str = "Database", incremental: bool = False
) -> Json:
    """``Backup.SqlBackup``, its events, and ``Restore.SqlVerify`` of what it wrote."""
    from Microsoft.SqlServer.Management import Smo

    task = Smo.Backup()
    task.Action = getattr(Smo.BackupActionType, kind)
    task.Incremental = incremental
    task.Database = database
    task.Devices.AddDevice(path, Smo.DeviceType.File)
    percents: list[int] = []
    said: list[tuple[int, str]] = []
    task.PercentComplete += lambda sender, event: percents.append(event.Percent)
    task.Complete += lambda sender, event: said.append((event.Error.Number, event.Error.Message))
    task.SqlBackup(server)
    restore = Smo.Restore()
    restore.Devices.AddDevice(path, Smo.DeviceType.File)
    valid, why = restore.SqlVerify(server, "")
    return {"percents": percents, "complete": said, "verified": valid, "why": why}


def restore_to(server: Any, *, database: str, target: str, moment: str, tail: str | None = None) -> Json:
    """The plan that SMO makes of msdb for ``moment`` (ISO 8601, server's time), run with the name ``target``.
    Answers the plan's steps and its script."""
    import System
    from Microsoft.SqlServer.Management import Smo

    planner = Smo.DatabaseRestorePlanner(server)
    planner.DatabaseName = database
    planner.RestoreToLastBackup = False
    planner.RestoreToPointInTime = System.DateTime.Parse(moment)
    planner.BackupTailLog = tail is not None
    if tail is not None:
        planner.TailLogBackupFile = tail
        planner.TailLogWithNoRecovery = False
    plan = planner.CreateRestorePlan()
    plan.DatabaseName = target
    plan.SetRestoreOptions(Smo.RestoreOptions())
    folder = str(server.DefaultFile or server.MasterDBPath).rstrip("/")
    for step in plan.RestoreOperations:
        step.Database = target
        for row in step.ReadFileList(server).Rows:
            ending = ".ldf" if str(row["Type"]) == "L" else ".mdf"
            step.RelocateFiles.Add(Smo.RelocateFile(str(row["LogicalName"]), f"{folder}/{target}{ending}"))
    script = [str(line) for line in plan.Script()]
    steps = [
        [str(step.Action), int(step.FileNumber), str(step.ToPointInTime or "")]
        for step in plan.RestoreOperations
    ]
    plan.Execute()
    return {"steps": steps, "script": script}


def copy_objects(server: Any, *, database: str, target: str) -> Json:
    """Script every table, view, procedure and function, run that in the new database ``target``, and script
    this one. Answers both scripts, one text a statement."""
    from Microsoft.SqlServer.Management import Smo

    source = _script(server, database)
    Smo.Database(server, target).Create()
    made = server.Databases[target]
    for text in source:
        made.ExecuteNonQuery(text)
    return {"source": source, "copy": _script(server, target)}


def _script(server: Any, database: str) -> list[str]:
    import clr
    from Microsoft.SqlServer.Management import Smo

    options = Smo.ScriptingOptions()
    options.DriAll = True
    options.Indexes = True
    options.Triggers = True
    options.ExtendedProperties = True
    for kind in (Smo.Table, Smo.View, Smo.StoredProcedure, Smo.UserDefinedFunction):
        # Otherwise it asks for each system object by itself.
        server.SetDefaultInitFields(clr.GetClrType(kind), "IsSystemObject")
    found = server.Databases[database]
    texts: list[str] = []
    for collection in (found.Tables, found.Views, found.StoredProcedures, found.UserDefinedFunctions):
        for item in collection:
            if not item.IsSystemObject:
                texts += [str(line) for line in item.Script(options)]
    return texts


def main() -> None:
    request = json.load(sys.stdin)
    try:
        _host(Path(request["home"]))
        from Microsoft.SqlServer.Management import Common, Smo

        connection = Common.ServerConnection(request["server"], "sa", request["password"])
        server = Smo.Server(connection)
        answer = {"result": globals()[request["do"]](server, **request["with"])}
        connection.Disconnect()
    except Exception as error:  # noqa: BLE001 a .NET exception is told to the caller, whatever it is
        inner = error
        while getattr(inner, "InnerException", None) is not None:
            inner = inner.InnerException
        answer = {"error": f"{type(error).__name__}: {error}; {inner}"[:4000]}
    print(json.dumps(answer), flush=True)
    # The runtime's own threads do not end by themselves.
    os._exit(0)


if __name__ == "__main__":
    main()
