"""Both stages: what is skipped without a confirmed gap ends the process, and a stage that others wait for gives up."""

from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from processors import sequence
from processors.sequence import Sequence
from processors.tables import Superseded
from thumbstream.telemetry import Metrics

TOPIC = TP("t.minutes", 3)


class Died(Exception):  # noqa: N818 - stands for the end of the process
    """The process would have ended."""


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Any:
    def die(message: str) -> None:
        raise Died(message)

    monkeypatch.setattr(sequence, "die", die)
    consumer = SimpleNamespace(started_at={TOPIC: 10}, gaps=set())
    return SimpleNamespace(rebalancing=False, should_stop=False, consumer=consumer)


def test_records_from_the_start_or_from_the_next_one_on_are_taken(app: Any) -> None:
    made = Sequence(app, Metrics())
    made.check(TOPIC, 10)
    made.next[3] = 20
    made.check(TOPIC, 20)
    made.check(TOPIC, 15)  # read again


@pytest.mark.parametrize("done", [None, 12])
def test_a_gap_that_nobody_confirmed_ends_the_process(app: Any, done: int | None) -> None:
    made = Sequence(app, Metrics())
    if done is not None:
        made.next[3] = done
    with pytest.raises(Died, match=rf"gap in t.minutes 3: wanted offset {done or 10}, got 14"):
        made.check(TOPIC, 14)


def test_a_confirmed_gap_is_counted(app: Any) -> None:
    metrics = Metrics()
    app.consumer.gaps.add((TOPIC, 14))
    Sequence(app, metrics).check(TOPIC, 14)
    assert metrics.value("offset_gaps", partition="3") == 1


@pytest.mark.parametrize("waiting", ["rebalancing", "should_stop"])
def test_a_batch_is_given_up_when_others_wait_and_what_follows_it_is_no_gap(app: Any, waiting: str) -> None:
    setattr(app, waiting, True)
    made = Sequence(app, Metrics())
    with pytest.raises(Superseded):
        made.go_on()
    with pytest.raises(Superseded):
        made.check(TOPIC, 14)
