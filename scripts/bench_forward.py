"""What the proxy adds, beside HAProxy in TCP mode, in one run.

The upstream is a canned responder in a process of its own: it answers every batch with ready bytes, so that
nothing hides the proxy's cost. Small queries are timed one by one on one connection each, the ways in turn,
in many short rounds; the added time is "through" minus "direct". A large result is read to its end and gives
megabytes a second. The ways with TLS have it on the client leg, outermost as in TDS 8.0, the only form that
HAProxy can end. What a query costs in processor time is shown, too: it hardly depends on what else runs.

``--sessions`` measures memory instead: many sessions, few of them at work, then logins without end.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import signal
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.bench_figures import note
from tdsproxy.tds.login7 import Login7, build_login7
from tdsproxy.tds.packets import PacketType, packetize
from tdsproxy.tds.prelogin import Encryption, Prelogin, build_prelogin
from tdsproxy.tds.tokens import TokenBuilder

PACKET_SIZE = 4096
HEADERS = struct.pack("<IIHQI", 22, 18, 2, 0, 1)


def batch(text: str) -> bytes:
    return packetize(PacketType.SQL_BATCH, HEADERS + text.encode("utf-16-le"), PACKET_SIZE)


SMALL = batch("SELECT id, name FROM dbo.customer WHERE id = 42")
STREAM = batch("SELECT * FROM dbo.everything")


def exactly(sock: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise EOFError("the peer closed the connection")
        data += piece
    return bytes(data)


def message(sock: socket.socket) -> tuple[int, bytes]:
    """One message: its type and its payload."""
    body = bytearray()
    while True:
        header = exactly(sock, 8)
        body += exactly(sock, struct.unpack_from(">H", header, 2)[0] - 8)
        if header[1] & 1:
            return header[0], bytes(body)


# --------------------------------------------------------------------------- the canned responder


def respond(listener: socket.socket, megabytes: int) -> None:
    tokens = TokenBuilder()
    result = PacketType.TABULAR_RESULT
    prelogin = packetize(
        result,
        build_prelogin(Prelogin((16, 0, 4236, 0), Encryption.NOT_SUPPORTED, instance="", mars=False)),
        PACKET_SIZE,
    )
    login = packetize(
        result,
        tokens.database("master", "master")
        + tokens.collation()
        + tokens.language("us_english", "")
        + tokens.login_ack((16, 0, 4236))
        + tokens.packet_size(PACKET_SIZE, PACKET_SIZE)
        + tokens.done(),
        PACKET_SIZE,
    )
    small = packetize(
        result,
        tokens.message(0, 0, 1, "one row, as it were", server="CANNED") * 2 + tokens.done(),
        PACKET_SIZE,
    )
    piece = bytearray(tokens.message(0, 0, 1, "x" * 1900, server="CANNED"))
    block = packetize(result, bytes(piece) * (4_000_000 // len(piece)), PACKET_SIZE)
    # the last packet of the block must not end the message
    last = len(block) - (len(block) % PACKET_SIZE or PACKET_SIZE)
    block = block[: last + 1] + b"\x00" + block[last + 2 :]
    end = packetize(result, tokens.done(), PACKET_SIZE)

    def serve(sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while True:
                kind, body = message(sock)
                if kind == PacketType.PRELOGIN:
                    sock.sendall(prelogin)
                elif kind == PacketType.LOGIN7:
                    sock.sendall(login)
                elif "everything".encode("utf-16-le") in body:
                    for _ in range(megabytes * 1_000_000 // len(block) + 1):
                        sock.sendall(block)
                    sock.sendall(end)
                else:
                    sock.sendall(small)
        except (EOFError, ConnectionError):
            sock.close()

    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve, args=(sock,), daemon=True).start()


# --------------------------------------------------------------------------- the client


class Client:
    """A connection, logged in; inside TLS when there is a ``context``."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            self.sock = context.wrap_socket(self.sock)
        hello = build_prelogin(Prelogin((9, 0, 0, 0), Encryption.NOT_SUPPORTED, instance="", mars=False))
        self.sock.sendall(packetize(PacketType.PRELOGIN, hello, PACKET_SIZE))
        message(self.sock)
        login = Login7(user="sa", password="canned", packet_size=PACKET_SIZE, features=None)
        self.sock.sendall(packetize(PacketType.LOGIN7, build_login7(login), PACKET_SIZE))
        message(self.sock)

    def small(self, count: int) -> list[int]:
        """Round-trip times in nanoseconds."""
        sock, clock, times = self.sock, time.perf_counter_ns, []
        for _ in range(count):
            began = clock()
            sock.sendall(SMALL)
            data = sock.recv(65536)
            while len(data) < struct.unpack_from(">H", data, 2)[0]:
                data += sock.recv(65536)
            times.append(clock() - began)
        return times

    def stream(self) -> float:
        """Megabytes a second of the large result."""
        sock, view = self.sock, memoryview(bytearray(1 << 20))
        began, total, tail = time.perf_counter(), 0, b""
        sock.sendall(STREAM)
        while True:
            got = sock.recv_into(view)
            if not got:
                raise EOFError("the peer closed the connection in mid-result")
            total += got
            # the result ends with a packet of 8 + 13 bytes, a DONE
            tail = (tail + bytes(view[max(0, got - 21) : got]))[-21:]
            if tail[:2] == b"\x04\x01" and tail[8] == 0xFD and struct.unpack_from(">H", tail, 2)[0] == 21:
                return total / 1e6 / (time.perf_counter() - began)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit(f"{process.args[0]!r} did not listen on port {port}")


def processor_seconds(pid: int) -> float:
    """What a process has used so far, of all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> float:
    """Megabytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def client_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["tds/8.0"])
    return context


def start_haproxy(directory: Path, upstream: int, pem: Path) -> tuple[subprocess.Popen[bytes], int, int]:
    """In clear, and with TLS on a port of its own."""
    program = shutil.which("haproxy") or "/usr/sbin/haproxy"
    if not Path(program).exists():
        raise SystemExit(
            "haproxy is not here; it is the peer of this benchmark (Debian: apt-get install haproxy)"
        )
    port, secure = free_port(), free_port()
    configuration = directory / "haproxy.cfg"
    configuration.write_text(
        "global\n  nbthread 1\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1m\n"
        f"  timeout server 1m\nlisten tds\n  bind 127.0.0.1:{port}\n  server canned 127.0.0.1:{upstream}\n"
        f"listen tls\n  bind 127.0.0.1:{secure} ssl crt {pem} alpn tds/8.0\n"
        f"  server canned 127.0.0.1:{upstream}\n"
    )
    process = subprocess.Popen([program, "-f", str(configuration)], stderr=subprocess.DEVNULL)
    wait_for(port, process)
    return process, port, secure


def start_proxy(directory: Path, upstream: int, *options: str) -> tuple[subprocess.Popen[bytes], int]:
    ready = directory / f"ready-{free_port()}.json"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "tdsproxy", "serve", "--store", str(directory / "store")),
            *("--listen", "127.0.0.1:0", "--ready-file", str(ready)),
            *("--upstream", f"127.0.0.1:{upstream}", "--upstream-tls", "off", *options),
        ],
        env={**os.environ, "TDSPROXY_SA_PASSWORD": "Bench-pass-1"},
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("tdsproxy did not start")
        time.sleep(0.02)
    return process, int(json.loads(ready.read_text())["port"])


def percentile(times: list[int], share: float) -> float:
    """In microseconds."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] / 1000


def certificate(directory: Path) -> tuple[Path, Path, Path]:
    """Certificate, key, and both in one file as HAProxy wants them."""
    from tdsproxy.frontend.certificates import ensure_self_signed

    pair = ensure_self_signed(directory / "tls")
    both = directory / "tls" / "both.pem"
    both.write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
    return pair.certificate, pair.key, both


def ratios(name: str, peer: str, base: str, table: dict[str, float]) -> float:
    return (table[name] - table[base]) / (table[peer] - table[base])


def small_queries(ways: dict[str, Client], pids: dict[str, int], rounds: int, queries: int) -> None:
    times: dict[str, list[int]] = {name: [] for name in ways}
    used = dict.fromkeys(pids, 0.0)
    for client in ways.values():
        client.small(queries)
    for _ in range(rounds):
        for name, client in ways.items():
            before = processor_seconds(pids[name]) if name in pids else 0.0
            times[name] += client.small(queries)
            if name in pids:
                used[name] += processor_seconds(pids[name]) - before
    count = rounds * queries
    print(f"small query, {count} round trips each way, microseconds")
    print(f"{'':14}{'p50':>9}{'p99':>9}{'added p50':>12}{'added p99':>12}{'processor':>12}")
    p50 = {name: percentile(values, 0.5) for name, values in times.items()}
    p99 = {name: percentile(values, 0.99) for name, values in times.items()}
    for name in ways:
        cost = f"{used[name] / count * 1e6:12.1f}" if name in used else f"{'':12}"
        print(
            f"{name:14}{p50[name]:9.1f}{p99[name]:9.1f}"
            f"{p50[name] - p50['direct']:12.1f}{p99[name] - p99['direct']:12.1f}{cost}"
        )
    for suffix in ("", " tls"):
        own, peer = f"tdsproxy{suffix}", f"haproxy{suffix}"
        print(
            f"{own} / {peer}: added p50 {ratios(own, peer, 'direct', p50):.2f},"
            f" added p99 {ratios(own, peer, 'direct', p99):.2f},"
            f" processor {used[own] / max(used[peer], 1e-9):.2f}"
        )
        kind = "small query" + suffix
        limits = (1.3, 2.0) if not suffix else (1.5, None)
        detail = f"processor {used[own] / max(used[peer], 1e-9):.2f} x"
        note(
            "forward",
            f"{kind}, added p50",
            ratios(own, peer, "direct", p50),
            "x HAProxy",
            limits[0],
            detail=detail,
        )
        note("forward", f"{kind}, added p99", ratios(own, peer, "direct", p99), "x HAProxy", limits[1])


def large_results(ways: dict[str, Client], streams: int, megabytes: int) -> None:
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(streams):
        for name, client in ways.items():
            rates[name].append(client.stream())
    print(f"\nlarge result of {megabytes} MB, MB/s, median of {streams}")
    for name, values in rates.items():
        print(f"{name:14}{statistics.median(values):9.0f}   (from {min(values):.0f} to {max(values):.0f})")
    for suffix in ("", " tls"):
        own, peer = rates[f"tdsproxy{suffix}"], rates[f"haproxy{suffix}"]
        ratio = statistics.median(own) / statistics.median(peer)
        print(f"tdsproxy{suffix} / haproxy{suffix}: {ratio:.2f}")
        detail = f"{statistics.median(own):.0f} MB/s"
        note("forward", f"large result{suffix}", ratio, "x HAProxy", 0.9, at_most=False, detail=detail)


def sessions(pid: int, port: int, logins: int) -> None:
    """1,000 idle sessions, 200 more at work, then ``logins`` of them one after the other."""
    print(f"after the start: {resident(pid):.0f} MB")
    idle = [Client(port) for _ in range(1000)]
    print(f"1,000 idle sessions: {resident(pid):.0f} MB")
    active = [Client(port) for _ in range(200)]
    for _ in range(10):
        for client in active:
            client.sock.sendall(SMALL)
        for client in active:
            message(client.sock)
    print(f"and 200 at work: {resident(pid):.0f} MB")
    for client in (*idle, *active):
        client.sock.close()
    for number in range(logins + 1):
        if number % (logins // 5) == 0:
            print(f"{number} logins and logouts: {resident(pid):.1f} MB, {descriptors(pid)} descriptors")
        Client(port).sock.close()


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench forward", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="rounds of small queries (default 40)")
    parser.add_argument("--queries", type=int, default=200, help="queries a round and way (default 200)")
    parser.add_argument("--megabytes", type=int, default=200, help="size of the large result (default 200)")
    parser.add_argument("--streams", type=int, default=5, help="large results a way (default 5)")
    parser.add_argument("--sessions", action="store_true", help="measure memory instead")
    parser.add_argument("--logins", type=int, default=10_000, help="with --sessions (default 10,000)")
    given = parser.parse_args()

    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    upstream = listener.getsockname()[1]
    responder = multiprocessing.get_context("fork").Process(target=respond, args=(listener, given.megabytes))
    responder.start()
    listener.close()
    processes: list[subprocess.Popen[bytes]] = []
    directory = Path(tempfile.mkdtemp(prefix="tdsproxy-bench-"))
    try:
        if given.sessions:
            proxy, port = start_proxy(directory, upstream, "--no-tls", "--max-connections", "2000")
            processes.append(proxy)
            sessions(proxy.pid, port, given.logins)
            return
        cert, key, both = certificate(directory)
        haproxy, haproxy_port, haproxy_tls = start_haproxy(directory, upstream, both)
        processes.append(haproxy)
        proxy, proxy_port = start_proxy(directory, upstream, "--tls-cert", str(cert), "--tls-key", str(key))
        processes.append(proxy)
        context = client_context()
        ways = {
            "direct": Client(upstream),
            "haproxy": Client(haproxy_port),
            "tdsproxy": Client(proxy_port),
            "haproxy tls": Client(haproxy_tls, context),
            "tdsproxy tls": Client(proxy_port, context),
        }
        pids = {name: (haproxy if "haproxy" in name else proxy).pid for name in ways if name != "direct"}
        small_queries(ways, pids, given.rounds, given.queries)
        large_results(ways, given.streams, given.megabytes)
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
        responder.terminate()
        responder.join(5)
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
