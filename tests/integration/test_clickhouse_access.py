"""What an analyst, and a careless administrator, must not be able to do to the embedded ClickHouse."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.integration.clickhouse_client import Answer, Client
from tests.polling import wait_until
from thumbstream.local.clickhouse import process

pytestmark = pytest.mark.integration
_SETUP = (
    "CREATE DATABASE raw",
    "CREATE DATABASE analytics",
    "CREATE TABLE raw.t (a Int8) ENGINE = MergeTree ORDER BY a",
    "INSERT INTO raw.t VALUES (1)",
    "CREATE VIEW analytics.v DEFINER = CURRENT_USER SQL SECURITY DEFINER AS SELECT * FROM raw.t",
    "CREATE VIEW analytics.v_invoker SQL SECURITY INVOKER AS SELECT * FROM raw.t",
)


@dataclass(frozen=True)
class Attack:
    sql: str
    options: dict[str, str] = field(default_factory=dict)


def _attacks(kind: str) -> list[object]:
    text = Path(__file__).with_name("clickhouse_attacks.yaml").read_text()
    attacks = [Attack(**entry) for entry in yaml.safe_load(text)[kind]]
    return [pytest.param(attack, id=f"{number}-{attack.sql[:40]}") for number, attack in enumerate(attacks)]


@dataclass(frozen=True)
class Target:
    admin: Client
    analyst: Client
    words: dict[str, str]
    out: Path

    def try_it(self, client: Client, attack: Attack, method: str = "POST") -> Answer:
        sql, options = self._fill(attack.sql), {name: self._fill(text) for name, text in attack.options.items()}
        if method == "POST":
            return client.ask(body=sql.encode(), options=options)
        return client.ask(sql, method=method, options=options)

    def _fill(self, text: str) -> str:
        for word, value in self.words.items():
            text = text.replace(word, value)
        return text


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("attacked")
    server = process.start(folder / "data")
    admin = Client(server.url, server.admin)
    for sql in _SETUP:
        admin.value(sql)
    secret = folder / "data" / "secret" / "secret.txt"  # where the kernel lets the engine read
    secret.parent.mkdir()
    secret.write_text("TOPSECRET\n")
    (folder / "out").mkdir()
    logins = process.prepare_logins(folder / "data").logins_file
    words = {"$SECRET": str(secret), "$FOLDER": str(secret.parent), "$OUT": str(folder / "out"), "$LOGINS": str(logins)}
    yield Target(admin, Client(server.url, server.analyst), words, folder / "out")
    server.stop()


@pytest.mark.parametrize("attack", _attacks("analyst"))
def test_analysts_are_refused(target: Target, attack: Attack) -> None:
    answer = target.try_it(target.analyst, attack)
    assert answer.status >= 400
    assert answer.code is not None
    assert b"TOPSECRET" not in answer.body


@pytest.mark.parametrize("attack", _attacks("admin"))
def test_administrators_are_kept_from_files_peers_and_shutdown(target: Target, attack: Attack) -> None:
    assert target.try_it(target.admin, attack).status >= 400


@pytest.mark.parametrize("attack", _attacks("get"))
def test_get_changes_nothing(target: Target, attack: Attack) -> None:
    assert target.try_it(target.admin, attack, "GET").code == 164


@pytest.mark.parametrize("attack", _attacks("allowed"))
def test_analysts_can_work(target: Target, attack: Attack) -> None:
    answer = target.try_it(target.analyst, attack)
    assert answer.status == 200, answer.body


def test_analysts_work_within_limits(target: Target) -> None:
    limits = "SELECT getSetting('max_execution_time'), getSetting('max_threads'), getSetting('max_memory_usage')"
    assert target.analyst.value(limits) == "30\t2\t1500000000"


def test_no_attack_left_a_file_or_a_trace_behind(target: Target) -> None:
    """True whatever ran before: the tests come in any order."""
    assert list(target.out.iterdir()) == []
    assert target.admin.value("SELECT count() FROM raw.t") == "1"
    assert target.admin.value("SHOW TABLES FROM analytics") == "v\nv_invoker"


def test_analysts_do_not_see_the_queries_of_others(target: Target) -> None:
    slow = threading.Thread(target=lambda: target.admin.ask("SELECT sleep(1), 'of the administrator'"))
    slow.start()
    query = (
        "SELECT count() FROM system.processes WHERE query LIKE '%of the administrator%' AND query NOT LIKE '%count%'"
    )
    wait_until(lambda: target.admin.value(query) == "1", 60, "the administrator sees it")
    assert target.analyst.value(query) == "0"
    assert target.analyst.value("SHOW PROCESSLIST") == ""
    slow.join()
    target.admin.ask("SELECT 'in an error message' + 1")
    assert target.analyst.value("SELECT count() FROM system.errors") == "0"


def test_an_analysts_session_id_gives_no_ones_session(target: Target) -> None:
    target.admin.value("CREATE TEMPORARY TABLE mine (a Int8)", {"session_id": "s"})
    assert target.analyst.ask("SELECT * FROM mine", options={"session_id": "s"}).status >= 400
