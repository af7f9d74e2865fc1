"""`python -m thumbstream.local.clickhouse`: bind, restrict, open the engine, serve until SIGTERM."""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path

from thumbstream.local.clickhouse.engine import Engine
from thumbstream.local.clickhouse.logins import Logins
from thumbstream.local.clickhouse.queries import Queries
from thumbstream.local.clickhouse.sandbox import readable_paths, restrict
from thumbstream.local.clickhouse.server import Server
from thumbstream.signals import set_soon

# Together below the 4.5 s that `up` leaves whoever stops in its last turn.
_LOOK_SECONDS, _DRAIN_SECONDS, _KILL_SECONDS, _CLOSE_SECONDS = 0.1, 2.0, 1.0, 1.0
_HARD_SECONDS = 4.2
_PR_SET_PDEATHSIG = 1


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m thumbstream.local.clickhouse",
        description="A ClickHouse server on loopback: chDB behind ClickHouse's HTTP interface.",
    )
    parser.add_argument("--data-dir", type=Path, required=True, help="owned by this process alone while it runs")
    parser.add_argument("--logins", type=Path, required=True,
                        help='JSON: {"admin": {"password_sha256": "...", "kind": "admin"}, ...}')  # fmt: skip
    parser.add_argument("--port", type=int, default=8123, help="0 takes a free one, see --ready-file (default: 8123)")
    parser.add_argument("--ready-file", type=Path, required=True,
                        help="written when the server answers; its folder is writable for the engine")  # fmt: skip
    parser.add_argument("--memory-bytes", type=int, default=3 << 30, help="for all queries together (default: 3 GiB)")
    parser.add_argument("--max-execution-seconds", type=int, default=300, help="for one query (default: 300)")
    parser.add_argument(
        "--die-with-parent", action="store_true", help="be killed when the thread that started this ends"
    )
    return parser.parse_args(arguments)


def main() -> None:
    """Serve; exits 0 after SIGTERM or SIGINT, within five seconds, and 1 with a sentence when it cannot start."""
    options = parse()
    if options.die_with_parent and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.umask(0o077)
    data, ready_file = options.data_dir.resolve(), options.ready_file.resolve()
    _check_places(options.logins.resolve(), data, ready_file.parent)
    logins = Logins(options.logins)
    for directory in (data, ready_file.parent):
        directory.mkdir(parents=True, exist_ok=True)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: set_soon(stop))
    try:
        server = Server(options.port)  # before Landlock, which forbids every later bind
    except OSError as error:
        raise SystemExit(f"cannot listen on 127.0.0.1:{options.port}: {error.strerror}") from error
    abi = restrict(readable_paths(), [str(data), str(ready_file.parent)])
    engine = Engine(data, memory_bytes=options.memory_bytes, max_execution_seconds=options.max_execution_seconds)
    server.attach(Queries(engine), logins)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    _announce(ready_file, {"url": url, "pid": os.getpid(), "version": engine.version, "landlock_abi": abi})
    try:
        while not stop.wait(_LOOK_SECONDS):  # a signal just before a wait without end would be noticed by nobody
            pass
        _shut_down(server, ready_file)
    except BaseException:  # noqa: BLE001 - whatever it is, an ordinary exit would wait for queries that still run
        traceback.print_exc()
        os._exit(1)


def _check_places(logins: Path, data: Path, ready_folder: Path) -> None:
    for folder in (data, ready_folder):
        if logins.is_relative_to(folder):
            raise SystemExit(f"{logins} must lie outside {folder}: SQL could read it there")


def _announce(ready_file: Path, report: dict[str, object]) -> None:
    line = json.dumps(report)
    temporary = ready_file.with_name(ready_file.name + ".new")
    temporary.write_text(line + "\n")
    temporary.replace(ready_file)
    print(line, flush=True)


def _shut_down(server: Server, ready_file: Path) -> None:
    """A hard exit loses nothing that was acknowledged, so it ends whatever does not end by itself."""
    faulthandler.dump_traceback_later(_HARD_SECONDS, exit=True)  # also where the engine lets no Python run
    ready_file.unlink(missing_ok=True)
    if server.drain(_DRAIN_SECONDS, _KILL_SECONDS):  # closing a handle under a running query would hang
        hard_exit = threading.Timer(_CLOSE_SECONDS, os._exit, (0,))
        hard_exit.daemon = True
        hard_exit.start()
        server.queries.sessions.close()
        server.queries.engine.close()
    os._exit(0)


if __name__ == "__main__":
    main()
