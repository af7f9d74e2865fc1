"""The embedded ClickHouse on the wire: what curl, clickhouse-connect, JDBC and Grafana rely on."""

import gzip
import itertools
import json
import socket
import sys
import threading
import zlib
from collections.abc import Iterator
from urllib.parse import urlsplit

import clickhouse_connect
import lz4.frame
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client as Driver

from tests.integration.clickhouse_client import Answer, Client
from tests.polling import wait_until
from thumbstream.local.clickhouse import native_blocks, process

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = pytest.mark.integration
_numbers = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[process.Server]:
    started = process.start(tmp_path_factory.mktemp("wire") / "data")
    Client(started.url, started.admin).value("CREATE DATABASE wire")
    yield started
    assert started.stop() == 0


@pytest.fixture
def admin(server: process.Server) -> Client:
    return Client(server.url, server.admin)


@pytest.fixture
def table(admin: Client) -> str:
    name = f"wire.t{next(_numbers)}"
    admin.value(f"CREATE TABLE {name} (a UInt64, s String) ENGINE = MergeTree ORDER BY a")
    return name


def connect(server: process.Server, login: tuple[str, str], database: str = "", sessions: bool = True) -> Driver:
    place = urlsplit(server.url)
    return clickhouse_connect.get_client(
        host=place.hostname,
        port=place.port or 0,
        username=login[0],
        password=login[1],
        database=database,
        autogenerate_session_id=sessions,
    )


def count(admin: Client, table: str) -> int:
    return int(admin.value(f"SELECT count() FROM {table}"))


def running(admin: Client, comment: str) -> bool:
    """Whether a query that was sent with this `log_comment` is in the engine."""
    return admin.value(f"SELECT count() FROM system.processes WHERE Settings['log_comment'] = '{comment}'") != "0"


# Queries


def test_a_result_carries_clickhouses_headers(admin: Client) -> None:
    answer = admin.ask("SELECT 1", options={"query_id": "mine"})
    assert (answer.status, answer.body) == (200, b"1\n")
    assert answer.headers["x-clickhouse-query-id"] == "mine"
    assert answer.headers["x-clickhouse-timezone"] == "UTC"
    assert answer.headers["x-clickhouse-format"] == "TabSeparated"
    assert json.loads(answer.headers["x-clickhouse-summary"]).keys() >= {"read_rows", "written_rows", "elapsed_ns"}


def test_a_statement_without_a_result_names_no_format(admin: Client) -> None:
    assert "x-clickhouse-format" not in admin.ask("CREATE DATABASE IF NOT EXISTS wire").headers


@pytest.mark.parametrize(
    "form",
    [
        "JSON",
        "JSONEachRow",
        "CSVWithNames",
        "TSV",
        "Native",
        "RowBinaryWithNamesAndTypes",
        "Parquet",
        "ArrowStream",
        "Pretty",
    ],
)
def test_every_format_is_named_and_filled(admin: Client, form: str) -> None:
    answer = admin.ask(f"SELECT number, toString(number) FROM numbers(100000) FORMAT {form}")
    assert (answer.status, answer.headers["x-clickhouse-format"]) == (200, form)
    assert len(answer.body) > 1_000


def test_the_format_comes_from_statement_header_or_option(admin: Client) -> None:
    assert admin.ask("SELECT 1 AS a", headers={"X-ClickHouse-Format": "CSVWithNames"}).body == b'"a"\n1\n'
    assert admin.value("SELECT 1 AS a", options={"default_format": "JSONEachRow"}) == '{"a":1}'
    assert admin.value("SELECT 1 AS a FORMAT TSV", options={"default_format": "JSONEachRow"}) == "1"


def test_parameters_are_bound_by_the_server(admin: Client) -> None:
    row = admin.value(
        "SELECT {a:String} AS a, {b:Array(Int32)} AS b FORMAT JSONEachRow", {"param_a": "x\\ty'", "param_b": "[1,2]"}
    )
    assert json.loads(row) == {"a": "x\ty'", "b": [1, 2]}


def test_get_reads_and_head_has_no_body(admin: Client) -> None:
    assert admin.ask("SELECT 1", method="GET").body == b"1\n"
    assert admin.ask("SELECT 1", method="HEAD").body == b""
    assert admin.ask("CREATE DATABASE nope", method="GET").code == 164


@pytest.mark.parametrize("path", ["/ping", "/replicas_status"])
def test_health_needs_no_login(server: process.Server, path: str) -> None:
    assert Client(server.url, None).ask(method="GET", path=path).body == b"Ok.\n"


def test_an_unknown_path_is_404(admin: Client) -> None:
    assert admin.ask(path="/nope").status == 404


# Errors


@pytest.mark.parametrize(
    ("sql", "code", "status"),
    [
        ("SELEC 1", 62, 400),
        ("", 62, 400),
        ("SELECT 1; SELECT 2", 62, 400),
        ("SELECT nope", 47, 404),
        ("SELECT * FROM nope", 60, 404),
        ("SELECT 1 FORMAT Nope", 73, 404),
        ("SELECT toUInt8('x')", 6, 400),
        ("SELECT throwIf(1)", 395, 500),
        ("SELECT 1 SETTINGS nope=1", 115, 404),
        ("SELECT 1 SETTINGS max_execution_time=0", 452, 500),
        (
            "SELECT count() FROM numbers(1e12) WHERE NOT ignore(sipHash64(number)) SETTINGS max_execution_time=1",
            159,
            408,
        ),
    ],
)
def test_errors_have_clickhouses_number_status_and_form(admin: Client, sql: str, code: int, status: int) -> None:
    answer = admin.ask(body=sql.encode())
    assert (answer.code, answer.status) == (code, status), answer.body
    assert answer.body.startswith(f"Code: {code}. DB::Exception: ".encode())


def test_an_error_behind_the_first_bytes_ends_the_stream_with_a_tagged_block(admin: Client) -> None:
    sql = "SELECT number, throwIf(number = 250000) FROM numbers(300000)"
    answer = admin.ask(sql, options={"max_block_size": "10000"})
    tag = answer.headers["x-clickhouse-exception-tag"].encode()
    assert answer.status == 200
    assert b"__exception__\r\n" + tag in answer.body
    assert b"Code: 395" in answer.body[-700:]
    assert admin.ask(sql, options={"max_block_size": "10000", "wait_end_of_query": "1"}).status == 500


@pytest.mark.parametrize(
    ("login", "options", "status"),
    [
        (("admin", "wrong"), {}, 403),
        (("nobody", "x"), {}, 403),
        (None, {}, 401),
        (None, {"user": "admin", "password": "x"}, 401),
    ],
)
def test_strangers_stay_outside(
    server: process.Server, login: tuple[str, str] | None, options: dict[str, str], status: int
) -> None:
    answer = Client(server.url, login).ask("SELECT 1", options=options)
    assert (answer.status, answer.code) == (status, 516)


def test_external_tables_are_not_implemented(admin: Client) -> None:
    form = b'--x\r\nContent-Disposition: form-data; name="t"; filename="t"\r\n\r\n1\r\n--x--\r\n'
    answer = admin.ask("SELECT 1", form, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert (answer.status, answer.code) == (501, 48)


# Inserts


@pytest.mark.parametrize(
    ("sql", "body", "rows"),
    [
        ("INSERT INTO {} FORMAT CSV", "1,a\n2,b\n", 2),
        (None, 'INSERT INTO {} FORMAT JSONEachRow\n{{"a":3,"s":"x"}}', 1),
        (None, "INSERT INTO {} (a, s) FORMAT TSV 4\tq\n", 1),
        (None, "INSERT INTO {} VALUES (5, 'a'), (6, concat('b', 'c')), (7, 'FORMAT')", 3),
        ("INSERT INTO {} VALUES", "(9,'z')", 1),
        (None, "INSERT INTO {} VALUES ({{x:UInt64}}, 'a')", 1),
        (None, "INSERT INTO {} SELECT number, 'FORMAT CSV' FROM numbers(5)", 5),
        ("INSERT INTO {} SETTINGS async_insert=0 FORMAT CSV", "1,a\n", 1),
    ],
)
def test_an_insert_stores_and_counts_its_rows(admin: Client, table: str, sql: str | None, body: str, rows: int) -> None:
    parameters = {"param_x": "8"} if "{{x" in body else {}
    answer = admin.ask(sql and sql.format(table), body.format(table).encode(), options=parameters)
    assert answer.status == 200, answer.body
    assert (count(admin, table), answer.written_rows) == (rows, rows)


PACK = {"gzip": gzip.compress, "deflate": zlib.compress, "lz4": lz4.frame.compress, "zstd": zstd.compress}
UNPACK = {"gzip": gzip.decompress, "deflate": zlib.decompress, "lz4": lz4.frame.decompress, "zstd": zstd.decompress}


@pytest.mark.parametrize("encoding", PACK)
def test_bodies_and_answers_may_be_compressed(admin: Client, table: str, encoding: str) -> None:
    rows = b"".join(b"%d,x\n" % number for number in range(50_000))
    sent = admin.ask(f"INSERT INTO {table} FORMAT CSV", PACK[encoding](rows), headers={"Content-Encoding": encoding})
    assert sent.status == 200, sent.body
    accept = {"Accept-Encoding": encoding}
    answer = admin.ask(f"SELECT * FROM {table} FORMAT CSV", headers=accept, options={"enable_http_compression": "1"})
    assert answer.headers["content-encoding"] == encoding
    assert UNPACK[encoding](answer.body).count(b"\n") == 50_000


def test_native_blocks_work_both_ways(admin: Client, table: str) -> None:
    sent = admin.ask(
        f"INSERT INTO {table} FORMAT CSV", native_blocks.pack(b"1,a\n" * 400_000), options={"decompress": "1"}
    )
    assert sent.written_rows == 400_000
    answer = admin.ask(f"SELECT a FROM {table} FORMAT TSV", options={"compress": "1"})
    assert b"".join(native_blocks.unpack([answer.body])) == b"1\n" * 400_000


def _cut_gzip() -> bytes:
    return gzip.compress(b"".join(b"%d,%d\n" % (number, number * 7919) for number in range(200_000)))[:-2_000]


@pytest.mark.parametrize(
    ("body", "headers", "options"),
    [
        (b"1,a\nbroken,b\n", {}, {}),
        (b"junk", {"Content-Encoding": "gzip"}, {}),
        (_cut_gzip(), {"Content-Encoding": "gzip"}, {}),
        (native_blocks.pack(b"1,a\n")[:-1], {}, {"decompress": "1"}),
    ],
    ids=["bad-row", "no-gzip", "cut-gzip", "cut-block"],
)
def test_a_bad_body_stores_nothing(
    admin: Client, table: str, body: bytes, headers: dict[str, str], options: dict[str, str]
) -> None:
    answer = admin.ask(f"INSERT INTO {table} FORMAT CSV", body, headers=headers, options=options)
    assert answer.status >= 400
    assert count(admin, table) == 0


def test_a_body_cut_by_a_lost_connection_stores_nothing(server: process.Server, admin: Client, table: str) -> None:
    place, (user, password) = urlsplit(server.url), server.admin
    target = f"/?user={user}&password={password}&query=INSERT+INTO+{table}+FORMAT+CSV&log_comment=cut-{table}"
    with socket.create_connection((place.hostname, place.port)) as connection:
        connection.sendall(f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n1,a\n".encode())
    wait_until(lambda: not running(admin, f"cut-{table}"), 60, "the insert has ended")
    assert count(admin, table) == 0


def test_a_chunked_body_of_many_pieces_is_one_insert(admin: Client, table: str) -> None:
    assert admin.ask(f"INSERT INTO {table} FORMAT CSV", (b"%d,c\n" % n for n in range(100))).written_rows == 100


# Sessions


def test_a_session_keeps_tables_settings_and_database(admin: Client) -> None:
    session = {"session_id": "keeps"}
    for sql in ("CREATE TEMPORARY TABLE tt (a Int32)", "INSERT INTO tt VALUES (1)", "SET max_threads = 3", "USE wire"):
        admin.value(sql, session)
    assert admin.value("SELECT a, getSetting('max_threads'), currentDatabase() FROM tt", session) == "1\t3\twire"


def test_url_settings_and_database_hold_for_one_request(admin: Client) -> None:
    session, query = {"session_id": "once"}, "SELECT getSetting('max_threads'), currentDatabase()"
    admin.value("SET max_threads = 3", session)
    admin.value("USE wire", session)
    assert admin.value(query, {**session, "max_threads": "5", "database": "system"}) == "5\tsystem"
    assert admin.value(query, session) == "3\twire"


def test_a_session_takes_one_request_at_a_time(admin: Client) -> None:
    session, comment = {"session_id": "busy"}, {"log_comment": "slow"}
    slow = threading.Thread(target=lambda: admin.ask("SELECT sleep(1)", options={**session, **comment}))
    slow.start()
    wait_until(lambda: running(admin, "slow"), 60, "the slow query runs")
    assert admin.ask("SELECT 1", options=session).code == 373
    slow.join()
    assert admin.value("SELECT 1", session) == "1"


def test_an_unknown_session_is_refused_on_request(admin: Client) -> None:
    assert admin.ask("SELECT 1", options={"session_id": "none", "session_check": "1"}).code == 372


# Clients


def test_impatient_clients_do_no_harm(server: process.Server, admin: Client) -> None:
    place, (user, password) = urlsplit(server.url), server.admin
    target = f"/?user={user}&password={password}&query=SELECT+number+FROM+numbers(100000000)&log_comment=impatient"
    for _ in range(10):
        with socket.create_connection((place.hostname, place.port)) as connection:
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            connection.recv(1_000)
    wait_until(lambda: not running(admin, "impatient"), 60, "the queries nobody reads have ended")
    assert admin.ask(method="GET", path="/ping").body == b"Ok.\n"


@pytest.mark.parametrize("sessions", [True, False])
def test_clickhouse_connect_reads_and_writes(server: process.Server, table: str, sessions: bool) -> None:
    driver = connect(server, server.admin, database="wire", sessions=sessions)
    name = table.removeprefix("wire.")
    assert driver.insert(name, [[1, "a"]] * 10).written_rows == 10
    driver.insert_arrow(name, pa.table({"a": pa.array([2, 3], pa.uint64()), "s": ["b", "c'\n"]}))
    found = driver.query(f"SELECT a, s FROM {name} WHERE a >= {{least:UInt64}} ORDER BY a", parameters={"least": 2})
    assert found.result_rows == [(2, "b"), (3, "c'\n")]
    assert driver.query("SELECT %(s)s", parameters={"s": "it's"}).result_rows == [("it's",)]
    many = [f"id-{number}" for number in range(5_000)]  # too long for a URL: the client sends a form
    assert driver.query("SELECT length({ids:Array(String)})", parameters={"ids": many}).result_rows == [(5_000,)]
    assert driver.command(f"SELECT count() FROM {name}", settings={"max_threads": 1}) == 12
    assert driver.query_arrow(f"SELECT a FROM {name}").num_rows == 12
    with driver.query_row_block_stream("SELECT number FROM numbers(500000)") as blocks:
        assert sum(len(block) for block in blocks) == 500_000
    driver.close()


def test_clickhouse_connect_sees_errors_as_its_own(server: process.Server) -> None:
    driver = connect(server, server.analyst)
    assert driver.query("SELECT 1").result_rows == [(1,)]
    with pytest.raises(clickhouse_connect.driver.exceptions.DatabaseError, match=r"UNKNOWN_TABLE|ACCESS_DENIED"):
        driver.query("SELECT * FROM wire.nope")
    driver.close()


def test_many_clients_at_once_all_get_their_own_answers(admin: Client) -> None:
    answers: list[Answer] = []
    threads = [
        threading.Thread(target=lambda n=n: answers.append(admin.ask(f"SELECT {n} + sum(number) FROM numbers(100000)")))
        for n in range(40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(answer.body) for answer in answers) == [4_999_950_000 + n for n in range(40)]
