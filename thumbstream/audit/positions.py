"""How far the stages have come: their groups' committed offsets beside the topics' ends."""

from __future__ import annotations

import time
from collections.abc import Mapping

from schemas.topics import Topics
from thumbstream.audit.scope import NotJudgedError
from thumbstream.audit.topic_books import TopicBooks

RESOLVE, WATCH, SINK = "resolve", "watch", "sink"
_POLL_SECONDS = 0.25


def await_stages(books: TopicBooks, topics: Topics, cut: Mapping[int, int], seconds: float) -> None:
    """Return once `resolve` has passed the cut, and the sink has passed it and all that `resolve` made of it.

    Raises NotJudgedError when that takes longer than `seconds`.
    """
    deadline = time.monotonic() + seconds
    _await(books, RESOLVE, topics.events.name, cut, deadline)
    made = {topic.name: books.ends(topic.name) for topic in (topics.latest, topics.minutes, topics.dead_letters)}
    for name, ends in {topics.events.name: cut, **made}.items():
        _await(books, SINK, name, ends, deadline)


def await_sink(books: TopicBooks, topics: Topics, seconds: float) -> None:
    """Return once the sink has passed the present ends of rows and minutes. Raises NotJudgedError."""
    deadline = time.monotonic() + seconds
    for name in (topics.minutes.name, topics.latest.name):
        _await(books, SINK, name, books.ends(name), deadline)


def await_events(books: TopicBooks, topics: Topics, seconds: float) -> None:
    """Return once the sink has passed the last event that the topic holds now. Raises NotJudgedError."""
    _await(books, SINK, topics.events.name, books.record_ends(topics.events.name), time.monotonic() + seconds)


def lags(books: TopicBooks, topics: Topics) -> dict[str, int]:
    """How many offsets each stage has still to commit."""
    read = {RESOLVE: [topics.events], WATCH: [topics.minutes], SINK: list(topics)}
    ends = {topic.name: books.ends(topic.name) for topic in topics}
    left = {
        role: [_left(books, role, topic.name, ends[topic.name]) for topic in listed] for role, listed in read.items()
    }
    return {role: sum(sum(counts.values()) for counts in listed) for role, listed in left.items()}


def _await(books: TopicBooks, role: str, topic: str, ends: Mapping[int, int], deadline: float) -> None:
    while left := _left(books, role, topic, ends):
        if time.monotonic() >= deadline:
            behind = ", ".join(f"{count} on partition {partition}" for partition, count in sorted(left.items()))
            raise NotJudgedError(f"{role} is behind on {topic}, offsets to go: {behind}")
        time.sleep(_POLL_SECONDS)


def _left(books: TopicBooks, role: str, topic: str, ends: Mapping[int, int]) -> dict[int, int]:
    """Partition -> how many offsets before `ends` `role` has not committed. What retention took needs no reading."""
    done = books.committed(role, topic)
    left = {partition: end - done[partition] for partition, end in ends.items() if done[partition] < end}
    if left:
        bounds = books.bounds(topic)
        left = {partition: min(count, ends[partition] - bounds[partition][0]) for partition, count in left.items()}
    return {partition: count for partition, count in left.items() if count > 0}
