"""Delivery on a real broker, as the process that operators start: outage, kill, parking, late starts, replays."""

import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Producer

from schemas.codec import Codec
from schemas.events import Alert, DeadLetter, ResolvedFeedback, Stamp, Vote
from schemas.topics import Topics, request_key
from sinks.delivery.run import run
from tests.fixtures.receiver import Receiving, receiving
from tests.polling import wait_until
from tests.simulators.delivery import NOON, alert
from thumbstream import letter_topic, topic_admin
from thumbstream.cli import main
from thumbstream.commands import deliver as commands
from thumbstream.settings import Settings
from thumbstream.telemetry import Metrics

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
SECRET = "whsec_" + "a2tr" * 8
SECONDS = 60.0
OUTAGE = 600.0
QUICK = {"session.timeout.ms": "6000", "heartbeat.interval.ms": "300"}  # who is gone is noticed sooner
_CODEC = Codec()


@dataclass
class Place:
    """Topics of one's own, and a directory with a receivers file."""

    bootstrap: str
    topics: Topics
    directory: Path
    producer: Producer

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("THUMBSTREAM_")}
        ours = {
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
            "TOPIC_PREFIX": self.topics.prefix,
            "GROUP": self.topics.prefix,
            "EVENT_PARTITIONS": "2",
            "MINUTE_PARTITIONS": "2",
            "RECEIVERS_FILE": str(self.directory / "receivers.toml"),
            "CONFIG": str(self.directory / "thumbstream.toml"),
        }
        (self.directory / "thumbstream.toml").touch()
        return {**kept, **{f"THUMBSTREAM_{name}": value for name, value in ours.items()}}

    @property
    def settings(self) -> Settings:
        file = self.directory / "receivers.toml"
        prefix = self.topics.prefix
        return Settings(self.bootstrap, prefix, 2, 2, group=prefix, receivers_file=file, kafka=QUICK)

    def webhook(self, name: str, url: str, **options: object) -> None:
        """Add a receiver to the file."""
        lines = {"name": name, "kind": "webhook", "url": url, "secret": SECRET, **options}
        text = "\n".join(f"{key} = {_toml(value)}" for key, value in lines.items())
        with (self.directory / "receivers.toml").open("a") as file:
            file.write(f"[[receiver]]\n{text}\nallow_private = true\n")

    def publish(self, *records: Alert | ResolvedFeedback, partition: int = 0) -> None:
        for record in records:
            topic, key = self.topics.latest.name, b""
            if isinstance(record, Alert):
                topic, key = self.topics.alerts.name, record.fingerprint.encode()
            else:
                key = request_key(record.tenant_id, record.request_id)
            self.producer.produce(topic, _CODEC.encode(record), key, partition)
        assert self.producer.flush(20) == 0

    @contextmanager
    def delivering(self) -> Iterator[None]:
        """Delivery on a thread, ready; stopped in order at the end."""
        stop, ready = threading.Event(), threading.Event()
        given = commands.options(self.settings), commands.load(self.settings), Metrics()
        thread = threading.Thread(target=run, args=(*given, lambda now: ready.set() if now else None, stop))
        thread.start()
        try:
            assert ready.wait(SECONDS)
            yield
        finally:
            stop.set()
            thread.join(20)
            assert not thread.is_alive()

    @contextmanager
    def process(self) -> Iterator["subprocess.Popen[bytes]"]:
        """`thumbstream deliver`, ready; stopped in order at the end unless the test killed it."""
        environment = {**self.environment, "THUMBSTREAM_HEALTH_PORT": str(_free_port())}
        with (self.directory / "deliver.log").open("ab") as log:
            command = [sys.executable, "-m", "thumbstream", "deliver"]
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        health = f"http://127.0.0.1:{environment['THUMBSTREAM_HEALTH_PORT']}"
        try:
            wait_until(lambda: self._is_ready(process, health), SECONDS, "deliver is ready")
            yield process
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                assert process.wait(10) == 0, self.log
        finally:
            process.kill()
            process.wait()

    @property
    def log(self) -> str:
        return (self.directory / "deliver.log").read_text()

    def _is_ready(self, process: "subprocess.Popen[bytes]", health: str) -> bool:
        assert process.poll() is None, self.log[-3_000:]
        try:
            return httpx.get(f"{health}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def run(self, *words: str) -> Result:
        """Another command of the same operator."""
        with self.as_operator():
            return CliRunner().invoke(main, words)

    @contextmanager
    def as_operator(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            yield

    def letters(self) -> list[DeadLetter]:
        return list(letter_topic.read(self.settings, _CODEC))


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _free_port() -> int:
    from thumbstream.local.ports import free_ports

    return free_ports(1)[0]


@pytest.fixture
def place(kafka_bootstrap: str, unique: Callable[[str], str], tmp_path: Path) -> Iterator[Place]:
    topics = Topics(f"{unique('deliver')}.", 2, 2)
    admin = topic_admin.client(kafka_bootstrap)
    topic_admin.create(admin, topics, 1)
    yield Place(kafka_bootstrap, topics, tmp_path, Producer({"bootstrap.servers": kafka_bootstrap, "acks": "all"}))
    for future in admin.delete_topics([topic.name for topic in topics]).values():
        future.result(20)


@pytest.fixture
def ops() -> Iterator[Receiving]:
    with receiving() as server:
        yield server


@pytest.fixture
def other() -> Iterator[Receiving]:
    with receiving() as server:
        yield server


def ids(*alerts: Alert) -> list[str]:
    return [one.alert_id for one in alerts]


def test_through_an_outage_and_a_kill_each_transition_arrives_in_order(
    place: Place, ops: Receiving, other: Receiving
) -> None:
    """The start tells what is open; the outage holds back nobody else; the kill repeats at most what was under way."""
    place.webhook("ops", f"{ops.url}/s3cr3t-path")
    place.webhook("other", other.url)
    place.publish(alert("old", 1), alert("old", 2), alert("open", 1))
    transitions = [alert(name, number) for number in range(1, 6) for name in ("a", "b")]
    lines = "".join(f'"{name}" = {value}\n' for name, value in QUICK.items())
    (place.directory / "thumbstream.toml").write_text(f"[kafka]\n{lines}")
    with place.process() as killed:
        wait_until(lambda: ops.ids == other.ids == ids(alert("open", 1)), SECONDS, "what is open is told")
        ops.answer = lambda _: 503
        place.publish(*transitions[:6])
        wait_until(lambda: other.ids[1:] == ids(*transitions[:6]), SECONDS, "the other receiver gets them")
        wait_until(lambda: ops.tries >= 3, SECONDS, "the failing one is tried again")
        held, released = threading.Event(), threading.Event()

        def hold(_: object) -> int:
            held.set()
            return 200 if released.wait(SECONDS) else 500

        ops.answer = hold
        assert held.wait(SECONDS), "a request is under way"
        killed.kill()
        killed.wait()
        released.set()
        wait_until(lambda: len(ops.ids) == 2, SECONDS, "the receiver has taken what nobody knows of any more")
    place.publish(*transitions[6:])
    ops.answer = lambda _: 200
    with place.process():
        wait_until(lambda: len(ops.ids) >= 12, SECONDS, "the receiver that was away gets everything")
        wait_until(lambda: len(other.ids) >= 11, SECONDS, "so does the other")
    assert "s3cr3t" not in place.log
    assert SECRET not in place.log
    assert other.ids == ids(alert("open", 1), *transitions)
    assert ops.ids == ids(alert("open", 1), transitions[0], *transitions), "one was under way, and comes again"


@pytest.mark.soak
def test_a_receiver_that_fails_for_ten_minutes_gets_each_transition_once_and_in_order(
    place: Place, ops: Receiving
) -> None:
    """As a process, with the pauses and limits that it has by itself."""
    place.webhook("ops", ops.url)
    answers = itertools.cycle((503, 500, 429, 502))
    transitions = [alert(name, number) for number in range(1, 21) for name in ("a", "b", "c")]
    with place.process():
        ops.answer = lambda _: next(answers)
        began = time.monotonic()
        for number, transition in enumerate(transitions):
            place.publish(transition, partition=number % 3 % 2)
            due = began + (number + 1) * OUTAGE / len(transitions)
            wait_until(lambda due=due: time.monotonic() > due, OUTAGE, "the outage goes on")  # type: ignore[misc]  # bound at once
        assert (ops.ids, ops.tries > 10) == ([], True)
        ops.answer = lambda _: 200
        wait_until(lambda: len(ops.ids) >= len(transitions), 180, "all that was held back arrives")
    for name in "abc":
        assert [one for one in ops.ids if one.startswith(f"{name}:")] == ids(*(alert(name, n) for n in range(1, 21)))
    assert len(ops.ids) == len(transitions)
    assert place.letters() == []


def test_what_a_receiver_refuses_is_parked_and_can_be_replayed(place: Place, ops: Receiving) -> None:
    place.webhook("ops", f"{ops.url}/hooks/s3cr3t-path")
    ops.answer = lambda got: 404 if b"alert.firing" in got[2] else 200
    with place.delivering():
        place.publish(alert("a", 1), alert("a", 2))
        wait_until(lambda: ops.ids == ids(alert("a", 2)), SECONDS, "the next one is told")
    (letter,) = place.letters()
    assert (letter.stage, letter.reason, letter.tenant_id) == ("deliver", "refused", "acme")
    assert letter.headers == {"receiver": b"ops"}
    assert "HTTP 404" in letter.message
    assert "s3cr3t" not in letter.message
    refused = place.run("dead-letters", "replay", letter.letter_id, "--yes")
    assert refused.exit_code == 1, refused.stdout
    ops.answer = lambda _: 200
    replayed = place.run("dead-letters", "replay", "--stage", "deliver", "--yes")
    assert replayed.exit_code == 0, replayed.output
    assert ops.ids == ids(alert("a", 2), alert("a", 1))
    assert [one.handled for one in place.letters()] == [None, "replayed"]


def test_a_second_process_takes_its_share_and_gives_it_back_without_a_loss(place: Place, ops: Receiving) -> None:
    place.webhook("ops", ops.url)

    def step(number: int) -> None:
        place.publish(alert("a", number), partition=0)
        place.publish(alert("b", number), partition=1)
        message = f"both transitions {number} arrive"
        wait_until(lambda: {alert(name, number).alert_id for name in "ab"} <= set(ops.ids), SECONDS, message)

    with place.delivering():
        step(1)
        with place.delivering():
            step(2)
            step(3)
        step(4)
    for name in "ab":
        mine = [one for one in ops.ids if one.startswith(f"{name}:")]
        assert mine == ids(*(alert(name, number) for number in range(1, 5))), "in order, and nothing was under way"


def vote(request: str, event: str, polarity: int, **changed: object) -> ResolvedFeedback:
    fields = {"updated_at": NOON + 500, "stamps": (Stamp(NOON, event, ("vote",)),), **changed}
    return ResolvedFeedback(1, False, NOON, "acme", request, Vote(polarity), **fields)  # type: ignore[arg-type]  # each test names its own


def test_a_subscriber_of_votes_gets_each_new_negative_one(place: Place, ops: Receiving) -> None:
    place.webhook("ops", ops.url, events=["negative_vote"])
    place.publish(vote("before", "e0", -1))
    first, touched = vote("r1", "e1", -1, comment="wrong"), vote("r1", "e1", -1, comment="so wrong")
    with place.delivering():
        place.publish(first, vote("r2", "e2", 1), touched, vote("r3", "e3", -1))
        wait_until(
            lambda: len(ops.got) == 2, SECONDS, "both negative votes arrive, and what lies between is dealt with"
        )
    with place.delivering():
        place.publish(vote("r4", "e4", -1))
        wait_until(lambda: len(ops.got) > 2, SECONDS, "after a restart the next one arrives")
    told = [(body["data"]["request_id"], body["data"]["comment"]) for body in ops.bodies]
    assert told == [("r1", "wrong"), ("r3", None), ("r4", None)]


def test_who_starts_late_finds_exactly_the_open_alerts(place: Place) -> None:
    """The example, on a topic where one is open, two have ended, one fires again, and a zombie repeats a record."""
    zombies = alert("c", 2)
    place.publish(alert("a", 1), alert("b", 1), alert("b", 2), partition=0)
    place.publish(alert("c", 1), zombies, alert("c", 3), alert("d", 1), alert("d", 2), zombies, partition=1)
    command = [sys.executable, str(ROOT / "examples" / "open_alerts.py"), place.bootstrap, place.topics.alerts.name]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    found = {found["fingerprint"]: found for found in map(json.loads, printed.splitlines())}
    assert {name: one["alert_id"] for name, one in found.items()} == {
        "a": alert("a", 1).alert_id,
        "c": alert("c", 3).alert_id,
    }
    assert found["a"] == json.loads(json.dumps(dataclasses.asdict(alert("a", 1))))


def test_a_test_of_a_receiver_judges_its_answer(place: Place, ops: Receiving) -> None:
    place.webhook("ops", f"{ops.url}/s3cr3t-path")
    good = place.run("deliver", "test", "ops")
    assert (good.exit_code, good.stdout) == (0, "ops (webhook at 127.0.0.1): delivered: HTTP 200\n")
    assert ops.bodies[0]["type"] == "thumbstream.test"
    ops.answer = lambda _: 403
    bad = place.run("deliver", "test", "ops")
    assert bad.exit_code == 1
    assert "refused: an alert would be parked as a dead letter: HTTP 403: the login has no right" in bad.stderr
    unknown = place.run("deliver", "test", "nobody")
    assert (unknown.exit_code, "no receiver nobody" in unknown.stderr) == (1, True)
    assert "s3cr3t" not in bad.stderr + good.stdout


def test_a_file_that_cannot_be_used_stops_delivery_for_a_person_to_look(place: Place) -> None:
    place.webhook("ops", "nowhere")
    command = [sys.executable, "-m", "thumbstream", "deliver"]
    stopped = subprocess.run(command, cwd=ROOT, env=place.environment, capture_output=True, text=True, check=False)
    assert stopped.returncode == 78
    assert "receiver ops: url must be given" in stopped.stderr
