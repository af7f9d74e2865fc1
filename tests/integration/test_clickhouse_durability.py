"""What outlives the embedded ClickHouse: acknowledged batches, data and passwords, and one owner at a time."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.integration.clickhouse_client import Client
from tests.polling import wait_until
from thumbstream.local.clickhouse import process

pytestmark = pytest.mark.integration
ROUNDS, ROWS = 3, 2_000
STUCK = """
import ctypes, runpy, sys
from thumbstream.local.clickhouse.server import Server
Server.drain = lambda *_: ctypes.PyDLL(None).sleep(60)  # a library that lets no other Python run
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__")
"""


class Writer(threading.Thread):
    """Inserts numbered batches of ROWS rows as fast as it can and remembers which were acknowledged."""

    def __init__(self, client: Client, numbers: Callable[[], int]) -> None:
        super().__init__()
        self.client, self.numbers = client, numbers
        self.acknowledged: set[int] = set()

    def run(self) -> None:
        while True:
            batch = self.numbers()
            rows = b"".join(b"%d\t%d\n" % (batch, row) for row in range(ROWS))
            try:
                answer = self.client.ask("INSERT INTO durable.k FORMAT TabSeparated", rows)
            except OSError:  # the server was killed: this batch may be stored or not, but never in part
                return
            if answer.status == 200:
                self.acknowledged.add(batch)


def _write_until_killed(server: process.Server, numbers: Iterator[int], batches: int) -> set[int]:
    """Kill the server once each of two writers has `batches` acknowledged; gives all that were."""
    writers = [Writer(Client(server.url, server.admin), lambda: next(numbers)) for _ in range(2)]
    for writer in writers:
        writer.start()
    wait_until(lambda: all(len(writer.acknowledged) >= batches for writer in writers), 60, "batches are stored")
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    for writer in writers:
        writer.join()
    return writers[0].acknowledged | writers[1].acknowledged


def test_kill_9_loses_no_acknowledged_batch_and_leaves_none_in_part(tmp_path: Path) -> None:
    numbers, acknowledged = iter(range(1_000_000)), set[int]()
    server = process.start(tmp_path / "data")
    admin = Client(server.url, server.admin)
    admin.value("CREATE DATABASE durable")
    admin.value("CREATE TABLE durable.k (batch UInt32, row UInt32) ENGINE = ReplacingMergeTree ORDER BY (batch, row)")
    for number in range(1, ROUNDS + 1):
        acknowledged |= _write_until_killed(server, numbers, batches=7 * number)
        server = process.start(tmp_path / "data")
        counts = Client(server.url, server.admin).value("SELECT batch, count() FROM durable.k FINAL GROUP BY batch")
        stored = {int(batch): int(rows) for batch, rows in (line.split("\t") for line in counts.splitlines())}
        assert acknowledged <= stored.keys()
        assert set(stored.values()) == {ROWS}
    assert server.stop() == 0


def test_what_a_table_refuses_at_the_last_moment_is_not_acknowledged(tmp_path: Path) -> None:
    server = process.start(tmp_path / "data")
    client = Client(server.url, server.admin)
    client.value("CREATE DATABASE picky")
    client.value("CREATE TABLE picky.settings (a UInt8, s String, CONSTRAINT small CHECK a < 5) ENGINE = Memory")
    sql = "INSERT INTO picky.settings (a, s) SETTINGS max_threads = 1 FORMAT TabSeparated"
    answer = client.ask(sql, b"9\tx\n")
    assert (answer.status, answer.code) == (500, 469), answer
    assert client.ask(sql, b"1\tx\n").status == 200
    assert client.value("SELECT count() FROM picky.settings") == "1"
    assert server.stop() == 0


def test_rows_may_hold_any_bytes(tmp_path: Path) -> None:
    server = process.start(tmp_path / "data")
    client, texts = Client(server.url, server.admin), [b"a\n\nb", b"\n\n", b";\n--", b"\x00';", bytes(range(100))]
    client.value("CREATE DATABASE bytes")
    client.value("CREATE TABLE bytes.t (s String) ENGINE = MergeTree ORDER BY s")
    rows = b"".join(bytes([len(text)]) + text for text in texts)
    assert client.ask("INSERT INTO bytes.t FORMAT RowBinary", rows).status == 200
    stored = client.value("SELECT hex(s) FROM bytes.t ORDER BY s").splitlines()
    assert stored == [text.hex().upper() for text in sorted(texts)]
    assert server.stop() == 0


def test_inserts_are_refused_well_before_the_disk_is_full(tmp_path: Path) -> None:
    server = process.start(tmp_path / "data")
    query = "SELECT value FROM system.merge_tree_settings WHERE name = 'min_free_disk_bytes_to_perform_insert'"
    assert int(Client(server.url, server.admin).value(query)) == 256 << 20
    assert server.stop() == 0


@pytest.mark.parametrize("sql", ["INSERT INTO full.t FORMAT TabSeparated", "INSERT INTO full.t VALUES"])
def test_an_insert_that_a_full_disk_refuses_is_not_acknowledged(tmp_path: Path, sql: str) -> None:
    server = process.start(tmp_path / "data")
    client, row = Client(server.url, server.admin), b"(1)" if sql.endswith("VALUES") else b"1\n"
    client.value("CREATE DATABASE full")
    client.value("CREATE TABLE full.t (a UInt32) ENGINE = ReplacingMergeTree ORDER BY a")
    client.value("ALTER TABLE full.t MODIFY SETTING min_free_disk_bytes_to_perform_insert = 1000000000000000")
    answer = client.ask(sql, row)
    assert (answer.status, answer.code) == (500, 243), answer
    client.value("ALTER TABLE full.t RESET SETTING min_free_disk_bytes_to_perform_insert")
    assert client.ask(sql, row).status == 200
    assert client.value("SELECT count() FROM full.t") == "1"
    assert server.stop() == 0


def test_a_restart_keeps_data_and_passwords(tmp_path: Path) -> None:
    first = process.start(tmp_path / "data")
    client = Client(first.url, first.admin)
    client.value("CREATE DATABASE kept")
    client.value("CREATE TABLE kept.t (a UInt8) ENGINE = MergeTree ORDER BY a")
    client.value("INSERT INTO kept.t VALUES (7)")
    assert first.stop() == 0
    assert not process.ready_file(tmp_path / "data").exists()
    second = process.start(tmp_path / "data")
    try:
        assert (second.admin, second.analyst) == (first.admin, first.analyst)
        assert Client(second.url, first.admin).value("SELECT a FROM kept.t") == "7"
    finally:
        second.stop()


def test_a_second_server_on_the_same_directory_is_refused_with_the_owners_number(tmp_path: Path) -> None:
    first = process.start(tmp_path / "data")
    try:
        with pytest.raises(process.ServerDidNotStartError, match=f"in use by process {first.pid}"):
            process.start(tmp_path / "data")
        assert Client(first.url, first.admin).value("SELECT 1") == "1"
    finally:
        assert first.stop() == 0


def test_a_stop_ends_a_query_that_would_run_for_minutes(tmp_path: Path) -> None:
    server = process.start(tmp_path / "data")
    client = Client(server.url, server.admin)
    codes: list[int | None] = []
    endless = "SELECT count() FROM numbers(1e13) WHERE NOT ignore(sipHash64(number))"
    thread = threading.Thread(target=lambda: codes.append(client.ask(endless).code))
    thread.start()
    running = "SELECT count() FROM system.processes WHERE query LIKE '%ignore(sip%' AND query NOT LIKE '%LIKE%'"
    wait_until(lambda: client.value(running) == "1", 60, "the query runs")
    server.process.terminate()
    assert server.process.wait(4.5) == 0, "what `up` leaves it in the worst case"
    thread.join()
    assert codes == [394], "the client is told that its query was cancelled"


def test_a_crash_inside_the_engine_ends_the_process_at_once(tmp_path: Path) -> None:
    server = process.start(tmp_path / "data")
    assert Client(server.url, server.admin).value("SELECT 1") == "1"
    try:
        os.kill(server.pid, signal.SIGABRT)
        assert server.process.wait(10) == -signal.SIGABRT, "a supervisor sees that it is gone and starts it again"
    finally:
        server.process.kill()
        server.process.wait()


def test_a_stop_that_gets_stuck_in_the_engine_ends_all_the_same_and_says_where(tmp_path: Path) -> None:
    process.prepare_logins(tmp_path / "data")
    _, _, module, *options = process.command(tmp_path / "data")
    log = tmp_path / "log"
    with log.open("wb") as output:
        stuck = subprocess.Popen([sys.executable, "-c", STUCK, module, *options], stdout=output, stderr=output)
    try:
        wait_until(process.ready_file(tmp_path / "data").exists, 60, "the server answers")
        stuck.terminate()
        assert stuck.wait(10) == 1
    finally:
        stuck.kill()
        stuck.wait()
    assert "in _shut_down" in log.read_text()


def test_a_server_may_be_tied_to_the_process_that_started_it(tmp_path: Path) -> None:
    process.prepare_logins(tmp_path / "data")
    line = [*process.command(tmp_path / "data"), "--die-with-parent"]
    starter = f"import subprocess; subprocess.Popen({line!r}).wait()"
    root, ready = Path(__file__).parents[2], process.ready_file(tmp_path / "data")
    parent = subprocess.Popen([sys.executable, "-c", starter], cwd=root)
    try:
        wait_until(ready.exists, 60, "the server answers")
        pid = json.loads(ready.read_text())["pid"]
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: _is_gone(pid), 60, "the server is gone")


def _is_gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_logins_inside_the_data_directory_are_refused(tmp_path: Path) -> None:
    line = process.command(tmp_path / "data")
    line[line.index("--logins") + 1] = str(tmp_path / "data" / "logins.json")
    root = Path(__file__).parents[2]
    ended = subprocess.run(line, cwd=root, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "must lie outside" in ended.stderr
