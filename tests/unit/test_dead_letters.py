"""Dead letters without a broker: which are open, what a replay publishes, what a person sees."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest

from processors.deduplicate import Arrival
from processors.merge import merge
from processors.pipeline import Lookup, Partition, fold
from schemas.codec import Codec
from schemas.events import DeadLetter, FeedbackEvent, ResolvedFeedback
from schemas.topics import partition_of, request_key, version_of
from thumbstream.commands.dead_letters import choice
from thumbstream.dead_letters import (
    Choice,
    UnreplayableError,
    details,
    event_to_replay,
    mark,
    newest,
    parse_since,
    time_text,
    visible,
)
from thumbstream.settings import Settings
from thumbstream.target import with_brokers, with_clickhouse

CODEC = Codec()
NOON = 1_767_268_800_000
EVENTS = "feedback.events"
VOTE = FeedbackEvent("acme", "r", "e", "vote", NOON - 5_000, rating=False)
# Of version 1 of the schema, which had no `handled`.
FIRST_VERSION = bytes.fromhex(
    "00000000064830313938633064652d303030302d373030302d383030302d3030303030303030303030660e64656c6976657208676f6e652a"
    "726563656976657220616e73776572656420343130020861636d6500000080d8ee96ef66000000"
)


def letter(number: int = 1, event: FeedbackEvent | bytes | None = VOTE, **fields: Any) -> DeadLetter:
    original = CODEC.encode(event) if isinstance(event, FeedbackEvent) else event
    made = DeadLetter(
        f"{EVENTS}-0-{number}",
        "resolve",
        "misrouted",
        "why",
        "acme",
        EVENTS,
        0,
        number,
        NOON,
        b"k",
        original,
        {"h": b"1"},
    )
    return replace(made, **fields)


def test_a_letter_of_the_first_schema_is_read_as_open() -> None:
    read = CODEC.decode_as(DeadLetter, FIRST_VERSION)
    assert (read.reason, read.headers, read.handled) == ("gone", {}, None)


def test_all_filters_hold_at_once_and_none_chooses_everything() -> None:
    letters = [
        letter(1),
        letter(2, stage="sink"),
        letter(3, reason="invalid"),
        letter(4, tenant_id=None),
        letter(5, failed_at=NOON - 1),
    ]
    assert newest(letters, Choice()) == letters
    assert newest(letters, Choice("resolve", "misrouted", "acme", NOON)) == [letters[0]]
    assert newest(letters, Choice(ids=frozenset({f"{EVENTS}-0-3"}))) == [letters[2]]


def test_a_mark_closes_its_letter_and_keeps_no_content_of_its_own() -> None:
    closing = mark(letter(), "replayed")
    assert (closing.letter_id, closing.handled, closing.original, closing.headers) == (
        letter().letter_id, "replayed", None, {},
    )  # fmt: skip
    assert newest([letter(), closing], Choice()) == [letter(handled="replayed")]


def test_a_stage_that_writes_its_letter_again_does_not_open_it() -> None:
    assert newest([letter(), mark(letter(), "dropped"), letter()], Choice()) == [letter(handled="dropped")]


def test_the_same_place_in_a_topic_that_was_made_anew_is_another_letter() -> None:
    later = letter(failed_at=NOON + 1)
    assert newest([letter(), mark(letter(), "dropped"), later], Choice()) == [later]


@pytest.mark.parametrize(
    ("refused", "why"),
    [
        (letter(event=b"no record"), "undecodable: not in Confluent framing"),
        (letter(event=CODEC.encode(letter())), "undecodable: a DeadLetter where a FeedbackEvent"),
        (letter(event=replace(VOTE, rating=None)), "still invalid: rating: missing"),
        (letter(event=None), "its original was not kept"),
        (letter(topic="feedback.latest"), "it comes from feedback.latest"),
        (letter(topic=None), "it comes from no topic"),
    ],
)
def test_what_cannot_be_replayed_says_why(refused: DeadLetter, why: str) -> None:
    with pytest.raises(UnreplayableError, match=why):
        event_to_replay(refused, CODEC, EVENTS)


def test_an_event_is_replayed_as_it_was() -> None:
    assert event_to_replay(letter(reason="invalid"), CODEC, EVENTS) == VOTE


def _folded(
    row: ResolvedFeedback | None, event: FeedbackEvent, offset: int, append_time: int
) -> ResolvedFeedback | None:
    key = request_key(event.tenant_id, event.request_id)
    where = Partition(partition_of(key, 4), 4, ())
    after = fold(where, [Arrival(offset, append_time, key, event)], Lookup(lambda _: row, lambda _: ()), {}).rows
    return after.get(key)


@pytest.mark.parametrize("event_time", [None, NOON - 5_000, NOON + 3_600_000])
def test_a_second_replay_changes_nothing_whatever_the_events_time(event_time: int | None) -> None:
    replayed = event_to_replay(letter(event=replace(VOTE, event_time=event_time)), CODEC, EVENTS)
    first = _folded(None, replayed, 10, NOON + 60_000)
    assert first is not None
    assert _folded(first, replayed, 11, NOON + 120_000) is None


@pytest.mark.parametrize("event_time", [None, NOON + 1, NOON + 86_400_000, 253_402_300_799_999])
def test_a_replayed_event_without_a_time_or_from_the_future_does_not_win_over_what_was_said_since(
    event_time: int | None,
) -> None:
    # NOON: refused | NOON + 1 s: a vote that counts | NOON + 1 min: the replay
    since = replace(VOTE, event_id="later", event_time=None, rating=True)
    row = merge(None, since, version_of(1, 9), NOON + 1_000)
    replayed = event_to_replay(letter(event=replace(VOTE, event_time=event_time)), CODEC, EVENTS)
    after = merge(row, replayed, version_of(1, 10), NOON + 60_000)
    assert after is not None
    assert after.vote is not None
    assert (after.vote.polarity, after.vote_time, after.first_seen) == (1, NOON + 1_000, NOON)


NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "before"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("3d", 259_200), ("2026-01-01T11:00:00Z", 3600),
     ("2026-01-01t13:00:00.000+02:00", 3600)],
)  # fmt: skip
def test_since_is_a_time_or_an_age(text: str, before: int) -> None:
    assert parse_since(text, NOW) == int(NOW.timestamp() - before) * 1000


@pytest.mark.parametrize("text", ["", "2", "h", "2 h", "2w", "-2h", "2026-01-01T11:00:00", "yesterday", "9999999d"])
def test_since_is_nothing_else(text: str) -> None:
    with pytest.raises((ValueError, OverflowError)):
        parse_since(text, NOW)
    with pytest.raises(click.UsageError, match="--since"):
        choice(None, None, None, text, ())


def test_a_time_that_is_no_date_is_shown_as_it_is() -> None:
    assert time_text(NOON) == "2026-01-01T12:00:00.000+00:00"
    assert time_text(1 << 62) == str(1 << 62)


def test_details_hold_everything_with_the_original_decoded() -> None:
    shown = details(letter(event=replace(VOTE, comment="größer", tags=("a",), original=b'{"x": "\xff"}')), CODEC)
    assert (shown["key"], shown["headers"], shown["failed_at"]) == ("k", {"h": "1"}, "2026-01-01T12:00:00.000+00:00")
    event = shown["original"]["FeedbackEvent"]
    assert (event["comment"], event["tags"], event["original"]) == ("größer", ["a"], '{"x": "\\xff"}')
    assert set(shown) == set(DeadLetter.__slots__)
    assert json.loads(json.dumps(shown)) == shown


def test_an_original_that_is_no_record_is_shown_escaped() -> None:
    assert details(letter(event=b"a\x00\xff"), CODEC)["original"] == {"bytes": 3, "escaped": "a\x00\\xff"}
    assert details(letter(event=None), CODEC)["original"] is None


def test_what_strangers_sent_cannot_act_on_a_terminal() -> None:
    shown = visible(json.dumps({"a": "\x1b[2J\x9b2J\u202e größer"}, ensure_ascii=False))
    assert shown == '{"a": "\\u001b[2J\\u009b2J\\u202e größer"}'
    assert json.loads(shown) == {"a": "\x1b[2J\x9b2J\u202e größer"}
    assert visible("\x1b[31m\r\n") == "\\u001b[31m\\r\n"


READY = {
    "kafka_bootstrap": "k:1",
    "topics": {"events": "mine.events"},
    "clickhouse_url": "http://c:1",
    "clickhouse_admin": {"user": "u", "password": "p", "database": "t"},
    "clickhouse_analyst": {"database": "v"},
}


def test_servers_are_those_of_the_ready_file_unless_settings_name_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    default, own = Settings(), Settings(kafka_bootstrap_servers="mine:9092", clickhouse_password="secret")
    assert (with_brokers(default, None), with_clickhouse(default, None)) == (default, default)
    file = tmp_path / ".thumbstream" / "ready.json"
    file.parent.mkdir()
    file.write_text(json.dumps(READY))
    for found in (with_brokers(default, None), with_brokers(own, file)):
        assert (found.kafka_bootstrap_servers, found.topic_prefix) == ("k:1", "mine.")
    for found in (with_clickhouse(default, None), with_clickhouse(own, file)):
        assert (found.clickhouse_url, found.clickhouse_user, found.clickhouse_password) == ("http://c:1", "u", "p")
        assert (found.clickhouse_database, found.clickhouse_views) == ("t", "v")
    assert (with_brokers(own, None), with_clickhouse(own, None)) == (own, own)
