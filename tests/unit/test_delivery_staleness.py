"""When evaluation is called stale: marks that stop, watch that stops, and neither when there is nothing to fear."""

from schemas.events import Progress
from sinks.delivery.staleness import MARKS, WATCH, Marks, Watchman, cause

NOW = 1_767_268_800_000
LIMIT = 300_000


def marks(*seen: tuple[int, int, int]) -> Marks:
    """(source partition, watermark, append time), of two partitions."""
    made = Marks()
    for source, watermark, appended in seen:
        made.take(Progress(source, 2, 0, watermark), appended)
    return made


def test_stream_time_is_the_least_of_all_partitions_and_unknown_while_one_is_missing() -> None:
    assert marks((1000, NOW, NOW)).stream_time() is None
    assert marks((1000, NOW, NOW), (1001, NOW - 5_000, NOW)).stream_time() == NOW - 5_000
    assert marks((1000, NOW, NOW), (1001, NOW + 99_000, NOW)).stream_time() == NOW, "a worker's clock runs ahead"
    assert marks((1000, NOW, NOW), (1001, NOW, NOW), (1001, NOW - 9_000, NOW)).stream_time() == NOW, "a zombie's mark"


def test_a_new_epoch_replaces_the_old_one() -> None:
    assert marks((1000, NOW, NOW), (1001, NOW, NOW), (2000, NOW, NOW)).stream_time() is None
    both = marks((2000, NOW, NOW), (1000, NOW - 9_000, NOW), (2001, NOW, NOW))
    assert both.stream_time() == NOW


def test_stale_is_a_mark_or_a_position_that_is_older_than_the_limit() -> None:
    assert cause(NOW, {}, NOW, LIMIT) is None
    assert cause(NOW - LIMIT, {0: NOW - LIMIT}, NOW, LIMIT) is None
    assert cause(NOW - LIMIT - 1, {}, NOW, LIMIT) == MARKS
    assert cause(None, {}, NOW, LIMIT) == MARKS
    assert cause(NOW, {0: NOW, 1: NOW - LIMIT - 1}, NOW, LIMIT) == WATCH


def test_it_is_said_once_when_it_begins_and_once_when_it_ends() -> None:
    watchman = Watchman()
    assert watchman.judged(None, NOW) is None
    began = watchman.judged(WATCH, NOW + 1)
    assert began is not None
    assert (began.status, began.since, began.details) == ("firing", NOW + 1, {"cause": "watch"})
    assert watchman.judged(MARKS, NOW + 2) is None
    ended = watchman.judged(None, NOW + 3)
    assert ended is not None
    assert (ended.status, ended.since, ended.at) == ("resolved", NOW + 1, NOW + 3)
    assert ended.notice_id != began.notice_id
