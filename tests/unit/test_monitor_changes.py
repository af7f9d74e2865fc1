"""The simple kind, and what happens to alerts when the log says that other monitors hold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from processors.alerts import FIRING, RESOLVED, Engine
from processors.monitor_file import monitor_set
from processors.monitors import Monitor
from schemas.events import MonitorSet
from tests.unit.test_alerts import MINUTE, MODEL, START, Story

HOURLY = Monitor("hourly", ("model",), kind="simple", windows=(60,), min_votes=5, hold=0)


def put_in_force(story: Story, *monitors: Monitor) -> Story:
    """Write a set of monitors into the story's log."""
    assert story.engine.feed(story.offset, 10**15, monitor_set(monitors)) == []
    return story


@pytest.mark.parametrize(("negative", "positive", "fires"), [(2, 4, True), (1, 4, False), (4, 0, False)])
def test_simple_fires_above_the_threshold_with_enough_votes(negative: int, positive: int, fires: bool) -> None:
    made = Story(HOURLY).votes(START, negative, positive).until(START + 1).made
    assert made == ([(FIRING, START + 1)] if fires else [])


def test_simple_does_not_ask_who_voted() -> None:
    assert Story(HOURLY).votes(START, 5, users={"ann": 5}).until(START + 1).made == [(FIRING, START + 1)]


def test_simple_waits_until_the_rate_was_above_for_long_enough() -> None:
    # minute 1000 bad, then nobody votes: above at every tick from 1001 on
    story = Story(replace(HOURLY, wait=10)).votes(START, 6).until(START + 30)
    assert story.made == [(FIRING, START + 11)]


def test_a_dip_begins_the_wait_anew() -> None:
    story = Story(replace(HOURLY, wait=10)).votes(START, 6).until(START + 5)
    story.votes(START + 5, 0, 60).until(START + 7)  # 6 of 66
    story.votes(START + 7, 20).until(START + 30)  # 26 of 86, known from tick 1008 on
    assert story.made == [(FIRING, START + 18)]


def test_simple_stays_while_the_rate_is_above_clear_below() -> None:
    for bound, ends in ((None, START + 2), (0.1, START + 3)):
        story = Story(replace(HOURLY, clear_below=bound)).votes(START, 6).until(START + 1)
        story.votes(START + 1, 0, 34).until(START + 2)  # 6 of 40: 15 %
        story.votes(START + 2, 0, 60).until(START + 3)  # 6 of 100
        assert story.made == [(FIRING, START + 1), (RESOLVED, ends)]


def test_simple_ends_when_votes_run_out() -> None:
    assert Story(HOURLY).votes(START, 6).until(START + 90).made == [(FIRING, START + 1), (RESOLVED, START + 61)]


def test_hold_lets_a_simple_alert_outlast_a_dip() -> None:
    story = Story(replace(HOURLY, hold=5)).votes(START, 6).until(START + 1)
    story.votes(START + 1, 0, 60).until(START + 4).votes(START + 4, 60).until(START + 20)
    assert story.made == [(FIRING, START + 1)]


def reasons(story: Story) -> list[tuple[str, int, str]]:
    return [(alert.status, alert.evaluated_at // MINUTE, alert.reason) for alert in story.alerts[1:]]


@pytest.mark.parametrize(
    ("monitors", "reason"),
    [
        ((replace(HOURLY, min_votes=99),), "monitor removed"),
        ((replace(MODEL, enabled=False),), "monitor disabled"),
        ((replace(MODEL, rollup=()),), "monitor removed"),  # groups of another kind are other alerts
        ((replace(MODEL, threshold=0.9),), "monitor changed"),
        ((replace(MODEL, where=(("model", ("other",)),)),), "monitor changed"),
    ],
)
def test_an_open_alert_ends_at_the_next_tick_when_its_monitor_is_not_what_fired(
    monitors: tuple[Monitor, ...], reason: str
) -> None:
    story = Story(MODEL).votes(START, 20).until(START + 1)
    assert put_in_force(story, *monitors).made == [(FIRING, START + 1)]
    story.until(START + 2)
    assert reasons(story)[0] == (RESOLVED, START + 2, reason)
    assert story.alerts[1].negative == 20  # the evidence stays what it was


@pytest.mark.parametrize(
    "monitors",
    [
        (MODEL,),
        (replace(MODEL, severity="critical", receivers=("chat",)),),
        (HOURLY, MODEL),
    ],
)
def test_an_open_alert_outlives_a_change_that_does_not_concern_its_rule(monitors: tuple[Monitor, ...]) -> None:
    story = Story(MODEL).votes(START, 20).until(START + 1)
    put_in_force(story, *monitors).until(START + 9)
    assert [alert.status for alert in story.alerts if alert.monitor == MODEL.name] == [FIRING]


def test_the_changed_rule_may_fire_a_tick_later_without_a_new_vote() -> None:
    story = Story(MODEL).votes(START, 20).until(START + 1)
    put_in_force(story, replace(MODEL, threshold=0.3)).until(START + 9)
    assert story.made == [(FIRING, START + 1), (RESOLVED, START + 2), (FIRING, START + 3)]
    assert [alert.sequence for alert in story.alerts] == [1, 2, 3]


def test_a_new_monitor_sees_the_votes_that_are_there() -> None:
    story = Story(replace(MODEL, threshold=0.9)).votes(START, 6, 4).until(START + 1)
    assert put_in_force(story, replace(MODEL, threshold=0.9), HOURLY).until(START + 2).made == [(FIRING, START + 2)]


def test_switching_off_and_on_between_two_ticks_changes_nothing() -> None:
    story = Story(MODEL).votes(START, 20).until(START + 1)
    put_in_force(put_in_force(story, replace(MODEL, enabled=False)), MODEL).until(START + 9)
    assert story.made == [(FIRING, START + 1)]


def test_a_record_that_nobody_can_read_changes_nothing() -> None:
    story = Story(MODEL).votes(START, 20).until(START + 1)
    story.engine.feed(story.offset, 10**15, MonitorSet("x", "?"))
    assert story.until(START + 9).made == [(FIRING, START + 1)]
    assert story.engine.in_force is None


def test_an_alert_of_before_definitions_were_written_goes_on() -> None:
    (alert,) = Story(MODEL).votes(START, 20).until(START + 1).alerts
    for definition, ends in (("", False), (MODEL.definition, False), ("0" * 16, True)):
        known = {alert.fingerprint: replace(alert, definition=definition)}
        story = Story(engine=Engine((MODEL,), grace=0, alerts=known), tick=START + 1)
        story.votes(START, 20).until(START + 3)
        assert bool(story.made) == ends


def test_the_wait_of_a_rule_that_did_not_change_goes_on_and_of_another_begins_anew() -> None:
    waiting = replace(HOURLY, wait=10)
    for changed, fires in (
        (replace(waiting, severity="info"), START + 11),
        (replace(waiting, threshold=0.3), START + 16),
    ):
        story = Story(waiting).votes(START, 6).until(START + 5)
        assert put_in_force(story, changed).until(START + 30).made == [(FIRING, fires)]
