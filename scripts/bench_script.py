"""How fast the embedded server runs scripts, read through a raw socket so that no driver hides the server.

* parsing a script of 5,000 lines;
* a WHILE loop of 10,000 iterations with an assignment and a comparison;
* a cached point SELECT, beside the same through the ``sqlite3`` module behind a local socket;
* a result of 1,000,000 rows of 5 columns: rows a second, and the server's memory before and after.

All but the first by ``tdsproxy server`` and by ``tdsproxy serve``, the proxy with the same server inside.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import socket
import sqlite3
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from bench_figures import note
from bench_forward import PACKET_SIZE, batch, exactly, message, processor_seconds, resident

from tdsproxy.tds.login7 import Login7, build_login7
from tdsproxy.tds.packets import PacketType, packetize
from tdsproxy.tds.prelogin import Encryption, Prelogin, build_prelogin

PASSWORD = "Bench-pass-1"
POINT = "SELECT id, name FROM dbo.customer WHERE id = 42"


def script_of(lines: int) -> str:
    """Statements of many kinds, in the manner of maintenance procedures."""
    block = """
DECLARE @n{0} int = {0},
        @s{0} nvarchar(max) = N'text {0}'

-- what is to be done
SET @s{0} = @s{0} + ' and ' + QUOTENAME(DB_NAME())
    + CAST(@n{0} AS nvarchar(10))

IF @n{0} % 2 = 0 AND @s{0} LIKE N'%text[_]%'
   OR EXISTS (SELECT * FROM sys.objects o WHERE o.name = N't{0}')
BEGIN
    INSERT INTO #work (id, name, at)
    VALUES (@n{0}, @s{0}, GETDATE()),
           (@n{0} + 1, NULL, '20240131')

    UPDATE w
    SET w.name = UPPER(w.name)
    FROM #work w
    INNER JOIN #other o ON o.id = w.id
    WHERE w.id > @n{0}

    /* the largest ones */
    SELECT TOP (10) w.id, COUNT(*) AS n, MAX(w.at)
    FROM #work w
    GROUP BY w.id
    HAVING COUNT(*) > 1
    ORDER BY n DESC
END
ELSE
    RAISERROR(N'value %d of %s', 10, 1, @n{0}, @s{0}) WITH NOWAIT
"""
    count = lines // block.count("\n")
    return "".join(block.format(number) for number in range(count))


def parse_milliseconds(lines: int, rounds: int) -> tuple[int, float]:
    """(lines, the best processor time)."""
    from tdsproxy.tsql.parser import parse

    text = script_of(lines)
    best = float("inf")
    for _ in range(rounds):
        begin = time.process_time()
        parse(text)
        best = min(best, (time.process_time() - begin) * 1000)
    return text.count("\n"), best


def login(port: int) -> socket.socket:
    """A connection of sa without TLS."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=300)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    hello = build_prelogin(Prelogin((9, 0, 0, 0), Encryption.NOT_SUPPORTED, instance="", mars=False))
    sock.sendall(packetize(PacketType.PRELOGIN, hello, PACKET_SIZE))
    message(sock)
    request = Login7(user="sa", password=PASSWORD, packet_size=PACKET_SIZE, features=None)
    sock.sendall(packetize(PacketType.LOGIN7, build_login7(request), PACKET_SIZE))
    message(sock)
    return sock


def answer(sock: socket.socket, text: str) -> int:
    """Sends a batch and reads its answer to the end; the number of bytes."""
    for start in range(0, len(data := batch(text)), 1 << 20):
        sock.sendall(data[start : start + (1 << 20)])
    total = 0
    while True:
        header = exactly(sock, 8)
        _, status, length = struct.unpack(">BBH4x", header)
        left = length - 8
        while left:
            piece = sock.recv(min(left, 1 << 20))
            if not piece:
                raise EOFError("the server closed the connection")
            left -= len(piece)
        total += length
        if status & 1:
            return total


def timed(run: Callable[[], object], rounds: int) -> float:
    """The median of the seconds that ``run`` takes."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def serve_sqlite(listener: socket.socket, path: str) -> None:
    """A server with nothing between a socket and the sqlite3 module: length and text in, rows as text out."""
    connection = sqlite3.connect(path)
    peer, _ = listener.accept()
    while True:
        head = peer.recv(4)
        if not head:
            return
        text = exactly(peer, struct.unpack("<I", head)[0]).decode("utf-16-le")
        body = repr(connection.execute(text).fetchall()).encode()
        peer.sendall(struct.pack("<I", len(body)) + body)


def beside_sqlite(directory: Path, rounds: int) -> float:
    """Seconds for the point SELECT through ``serve_sqlite``."""
    path = directory / "peer.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT)")
    connection.executemany("INSERT INTO customer VALUES (?, ?)", ((n, f"name {n}") for n in range(1000)))
    connection.commit()
    connection.close()
    listener = socket.create_server(("127.0.0.1", 0))
    process = multiprocessing.Process(target=serve_sqlite, args=(listener, str(path)), daemon=True)
    process.start()
    peer = socket.create_connection(listener.getsockname())
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    text = POINT.replace("dbo.", "").encode("utf-16-le")

    def ask() -> None:
        peer.sendall(struct.pack("<I", len(text)) + text)
        exactly(peer, struct.unpack("<I", exactly(peer, 4))[0])

    try:
        return timed(ask, rounds)
    finally:
        peer.close()
        process.join(10)


def start_server(directory: Path, verb: str = "server") -> tuple[subprocess.Popen[bytes], int]:
    ready = directory / f"ready-{verb}"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "tdsproxy", verb, "--no-tls", "--listen", "127.0.0.1:0"),
            *(
                "--store",
                str(directory / f"store-{verb}"),
                "--ready-file",
                str(ready),
                "--log-level",
                "error",
            ),
        ],
        env={**os.environ, "TDSPROXY_SA_PASSWORD": PASSWORD},
    )
    while not ready.exists():
        if process.poll() is not None:
            raise SystemExit("the server did not start")
        time.sleep(0.01)
    import json

    return process, int(json.loads(ready.read_text())["port"])


def loop(client: socket.socket, pid: int, verb: str) -> None:
    """WHILE with an assignment and a comparison."""
    text = "DECLARE @i int = 0; SET NOCOUNT ON; WHILE @i < 10000 SET @i = @i + 1"
    used = processor_seconds(pid)
    seconds = timed(lambda: answer(client, text), 3)
    used = (processor_seconds(pid) - used) / 3
    print(f"WHILE of 10,000 iterations: {seconds:.2f} s (at most 1), {used:.2f} s of processor time")
    note("script", f"WHILE of 10,000, {verb}", seconds, "s", 1.0, detail=f"{used:.2f} s of processor time")


def point(client: socket.socket, pid: int, verb: str, directory: Path, points: int) -> None:
    """The point SELECT, in turns with its peer: both see the same machine."""
    answer(client, "CREATE TABLE customer(id int PRIMARY KEY, name varchar(50))")
    answer(
        client,
        "WITH n AS (SELECT 0 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 999)"
        " INSERT customer SELECT i, CONCAT('name ', i) FROM n OPTION (MAXRECURSION 0)",
    )
    for _ in range(50):
        answer(client, POINT)
    turns = 5
    own, peer, used = [], [], 0.0
    for turn in range(turns):
        begin = processor_seconds(pid)
        own.append(timed(lambda: answer(client, POINT), points // turns))
        used += processor_seconds(pid) - begin
        place = directory / f"peer-{verb}-{turn}"
        place.mkdir()
        peer.append(beside_sqlite(place, points // turns))
    one, two = statistics.median(own), statistics.median(peer)
    cost = used / (points // turns * turns)
    print(
        f"point SELECT: {one * 1e6:.0f} us, sqlite3 behind a socket {two * 1e6:.0f} us:"
        f" {one / two:.1f} x (at most 2); {cost * 1e6:.0f} us of processor time"
    )
    detail = f"{one * 1e6:.0f} us beside {two * 1e6:.0f} us; {cost * 1e6:.0f} us of processor time"
    note("script", f"point SELECT, {verb}", one / two, "x sqlite3", 2.0, detail=detail)


def many_rows(client: socket.socket, pid: int, verb: str, rows: int) -> None:
    """A large result."""
    answer(client, "CREATE TABLE big(a int, b bigint, c varchar(20), d datetime2(3), e decimal(9,2))")
    answer(
        client,
        f"WITH n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < {rows})"
        " INSERT big SELECT i, i * 10, CONCAT('row ', i), '2024-01-31T10:00:00', i / 100.0 FROM n"
        " OPTION (MAXRECURSION 0)",
    )
    answer(client, "SELECT TOP 100000 * FROM big")
    before, used = resident(pid), processor_seconds(pid)
    begin = time.perf_counter()
    size = answer(client, "SELECT * FROM big")
    seconds = time.perf_counter() - begin
    used = processor_seconds(pid) - used
    after = resident(pid)
    print(
        f"{rows:,} rows of 5 columns: {rows / seconds:,.0f} rows/s"
        f" (at least 200,000; {rows / used:,.0f} a second of processor time),"
        f" {size / seconds / 1e6:.0f} MB/s; memory {before:.0f} -> {after:.0f} MB"
    )
    detail = f"{rows / used:,.0f} a second of processor time"
    note("script", f"rows, {verb}", rows / seconds, "/s", 200_000, at_most=False, detail=detail)
    note("script", f"memory that {rows:,} rows add, {verb}", after - before, "MB", detail=f"{after:.0f} MB")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--points", type=int, default=2000)
    options.add_argument("--verbs", nargs="+", choices=("server", "serve"), default=("server", "serve"))
    arguments = options.parse_args()
    lines, milliseconds = parse_milliseconds(5000, 5)
    print(f"parse {lines:,} lines: {milliseconds:.0f} ms (at most 150)")
    note("script", f"parse {lines:,} lines", milliseconds, "ms", 150)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for verb in arguments.verbs:
            print(f"tdsproxy {verb}:", flush=True)
            process, port = start_server(directory, verb)
            try:
                client = login(port)
                loop(client, process.pid, verb)
                answer(client, "CREATE DATABASE bench")
                answer(client, "USE bench")
                point(client, process.pid, verb, directory, arguments.points)
                many_rows(client, process.pid, verb, arguments.rows)
                client.close()
            finally:
                process.terminate()
                process.wait(20)


if __name__ == "__main__":
    main()
