"""When an alert fires, stays and ends. Stream time moves by marks; one model, minutes counted from 1,000."""

from __future__ import annotations

from dataclasses import replace

import pytest

from processors.alerts import FIRING, RESOLVED, Engine, cloud_event
from processors.minutes import Group
from processors.monitors import PRESETS, Monitor, fewest_negatives
from processors.rules import wilson_low
from schemas.events import Alert, MinuteCount, Progress

MINUTE = 60_000
MODEL = Monitor("model-rate", ("model",))
START = 1_000


class Story:
    """Feeds an engine minute by minute, and keeps what it says."""

    def __init__(self, *monitors: Monitor, engine: Engine | None = None, tick: int = START) -> None:
        self.engine = engine or Engine(monitors or (MODEL,), grace=0)
        self.made: list[tuple[str, int]] = []
        self.alerts: list[Alert] = []
        self.offset, self.tick = 0, tick
        self.until(tick)

    def votes(
        self, minute: int, negative: int, positive: int = 0, model: str = "m", users: dict[str, int] | None = None
    ) -> Story:
        """Set the counts of a minute; without `users` nobody knows who voted."""
        self.offset += 1
        place, counts = (minute * MINUTE, 1000, self.offset), (negative, positive, 0)
        self._feed(MinuteCount("acme", "model", (model,), *place, *counts, users or {"": negative}))
        return self

    def until(self, tick: int) -> Story:
        """Move stream time to a minute."""
        self.tick = tick
        self._feed(Progress(1000, 1, self.offset, tick * MINUTE))
        return self

    def minutes(self, count: int, negative: int, positive: int) -> Story:
        """So many votes in each of the coming minutes."""
        for _ in range(count):
            self.votes(self.tick, negative, positive).until(self.tick + 1)
        return self

    def _feed(self, record: MinuteCount | Progress) -> None:
        made = self.engine.feed(self.offset, 10**15, record)
        self.alerts += made
        self.made += [(alert.status, alert.evaluated_at // MINUTE) for alert in made]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("votes", [10, 20, 100, 1_000])
def test_it_fires_at_the_fewest_negatives_and_not_at_one_fewer(preset: str, votes: int) -> None:
    monitor = replace(MODEL, z=PRESETS[preset])
    fewest = fewest_negatives(monitor, votes)
    assert Story(monitor).votes(START, fewest, votes - fewest).until(START + 1).made == [(FIRING, START + 1)]
    assert Story(monitor).votes(START, fewest - 1, votes - fewest + 1).until(START + 1).made == []


def test_among_known_people_it_takes_enough_negatives_without_the_first_of_them() -> None:
    # 6 of 10 are surely above 20 %, 5 of 9 are not; 7 of 10 are, and 6 of 9 too.
    six, seven = ({f"u{number}": 1 for number in range(count)} for count in (6, 7))
    assert Story().votes(START, 6, 4, users=six).until(START + 1).made == []
    assert Story().votes(START, 7, 3, users=seven).until(START + 1).made == [(FIRING, START + 1)]


def test_nine_votes_never_fire() -> None:
    assert Story().votes(START, 9).until(START + 1).made == []
    assert Story().votes(START, 10).until(START + 1).made == [(FIRING, START + 1)]


def test_one_persons_campaign_does_not_fire() -> None:
    assert Story().votes(START, 30, 20, users={"ann": 30}).until(START + 1).made == []
    assert Story().votes(START, 30, 20, users={"ann": 15, "bob": 15}).until(START + 1).made == [(FIRING, START + 1)]


def test_votes_without_a_user_count_as_many_people() -> None:
    assert Story().votes(START, 30, 20).until(START + 1).made == [(FIRING, START + 1)]


def test_a_users_votes_add_up_over_minutes_and_sources() -> None:
    story = Story().votes(START, 15, 5, users={"ann": 15})
    story._feed(MinuteCount("acme", "model", ("m",), START * MINUTE, 1001, 1, 15, 5, 0, {"ann": 15}))
    assert story.until(START + 1).made == []


def test_what_is_over_does_not_fire_any_more() -> None:
    # minute   1000            1010         tick 1016
    #          30 bad          10 votes     the hour is surely above, but its last ten minutes decide
    #          (told late)
    hour = replace(MODEL, windows=(60,))
    for bad, fires in ((2, []), (3, [(FIRING, START + 16)])):
        story = Story(hour).until(START + 15)
        story.votes(START + 10, bad, 10 - bad).votes(START, 30).until(START + 16)
        assert story.made == fires


def test_an_alert_fires_once_however_long_it_lasts() -> None:
    assert Story().minutes(120, 5, 5).made == [(FIRING, START + 2)]


def test_it_ends_thirty_minutes_after_the_last_tick_that_stayed() -> None:
    # minutes   1000..1009 bad   1010.. good: 2 bad of 20 a minute
    #           recovery shows in the last 5 (10, 60, 240) minutes of each window, one window after the other
    story = Story().minutes(10, 10, 10).minutes(100, 2, 18)
    stayed = last_stay(10, 10, 10, 2, 18)
    assert story.made == [(FIRING, START + 1), (RESOLVED, stayed + 30)]


def last_stay(bad_minutes: int, *rates: int) -> int:
    """Work out the last tick that stayed, from the rule's text."""
    bad, good = rates[:2], rates[2:]
    held = START
    for tick in range(START + 1, START + 90):
        series = [bad if minute < START + bad_minutes else good for minute in range(START, tick)]
        for window in MODEL.windows:
            whole, recent = series[-window:], series[-MODEL.recent(window) :]
            negative, total = sum(pair[0] for pair in whole), sum(map(sum, whole))
            recovered = sum(map(sum, recent)) >= 5 and sum(pair[0] for pair in recent) <= 0.2 * sum(map(sum, recent))
            if MODEL.surely_above(negative, total) and not recovered:
                held = tick
    return held


def test_silence_is_no_recovery() -> None:
    # Ten bad votes, then nobody votes: the longest window that holds them is a day.
    story = Story().votes(START, 10).until(START + 1 + 1440 + 40)
    assert story.made == [(FIRING, START + 1), (RESOLVED, START + 1440 + 30)]


def test_four_good_votes_are_no_recovery_but_five_are() -> None:
    four = Story().votes(START, 20).until(START + 300).votes(START + 299, 0, 4).until(START + 400)
    five = Story().votes(START, 20).until(START + 300).votes(START + 299, 0, 5).until(START + 400)
    assert four.made == [(FIRING, START + 1)]
    # They are known from tick 1301 on, in the last 60 minutes of six hours and the last 240 of the day.
    assert five.made == [(FIRING, START + 1), (RESOLVED, START + 330)]


def test_a_relapse_within_the_hold_is_the_same_alert() -> None:
    story = Story().minutes(10, 10, 10).minutes(35, 2, 18)
    assert story.made == [(FIRING, START + 1)]
    story.minutes(5, 18, 2).minutes(200, 1, 19)
    assert [status for status, _tick in story.made] == [FIRING, RESOLVED]


def test_a_second_incident_is_a_second_alert_with_the_next_numbers() -> None:
    story = Story().minutes(10, 10, 10).minutes(300, 1, 19).minutes(30, 15, 5)
    assert [alert.sequence for alert in story.alerts] == [1, 2, 3]
    assert [status for status, _tick in story.made] == [FIRING, RESOLVED, FIRING]
    first, end, second = story.alerts
    assert first.alert_id == f"{first.fingerprint}:{(START + 1) * MINUTE}:firing:1"
    assert end.alert_id == f"{first.fingerprint}:{first.started_at}:resolved:2"
    assert (end.started_at, end.ended_at, end.version) == (first.started_at, end.evaluated_at, end.evaluated_at)
    assert second.started_at == second.evaluated_at > end.evaluated_at
    assert second.ended_at is None


def test_an_alert_says_what_was_seen() -> None:
    (alert,) = Story().votes(START, 20, 20, users={"ann": 5}).until(START + 1).alerts
    assert (alert.window_minutes, alert.negative, alert.total, alert.rate, alert.threshold) == (15, 20, 40, 0.5, 0.2)
    assert (alert.top_user_share, alert.reason, alert.group) == (0.25, "rate above threshold", {"model": "m"})
    assert (alert.tenant_id, alert.monitor, alert.kind, alert.severity) == (
        "acme",
        "model-rate",
        "threshold",
        "warning",
    )
    assert alert.lower_bound == pytest.approx(0.2805, abs=1e-4)


def test_a_correction_that_takes_negatives_back_ends_the_alert_after_the_hold() -> None:
    story = Story().votes(START, 20).until(START + 10).votes(START, 0, 20).until(START + 60)
    assert story.made == [(FIRING, START + 1), (RESOLVED, START + 40)]


def test_groups_without_the_dimension_are_left_to_the_tenants_monitor() -> None:
    assert Story().votes(START, 50, model="(none)").until(START + 9).made == []


def test_monitors_of_one_rollup_decide_apart() -> None:
    strict = replace(MODEL, name="strict", z=PRESETS["strict"])
    story = Story(MODEL, strict).votes(START, 6, 4).until(START + 1)
    assert [alert.monitor for alert in story.alerts] == ["model-rate"]


def fired() -> dict[str, Alert]:
    (alert,) = Story().votes(START, 20).until(START + 1).alerts
    return {alert.fingerprint: alert}


def test_a_removed_monitor_ends_its_alerts_at_the_next_tick() -> None:
    story = Story(engine=Engine((), grace=0, alerts=fired()), tick=START + 1)
    assert story.made == []  # decided before
    (alert,) = story.until(START + 2).alerts
    assert (alert.status, alert.reason, alert.ended_at) == (RESOLVED, "monitor removed", (START + 2) * MINUTE)


def test_ticks_that_were_decided_before_a_restart_are_not_decided_again() -> None:
    story = Story(engine=Engine((MODEL,), grace=0, alerts=fired()), tick=START - 1)
    assert story.votes(START, 20).until(START + 1).made == []
    assert story.engine.firing == 1


def test_a_silent_engine_makes_no_transitions_but_keeps_the_last_tick_that_stayed() -> None:
    loud = Story().minutes(10, 10, 10).minutes(100, 2, 18)
    engine = Engine((MODEL,), grace=0, alerts={loud.alerts[0].fingerprint: loud.alerts[0]}, silent=True)
    again = Story(engine=engine).minutes(10, 10, 10).minutes(20, 2, 18)
    assert again.made == []
    engine.silent = False
    assert again.minutes(80, 2, 18).made == loud.made[1:]


def test_transitions_of_one_tick_come_in_the_order_of_their_fingerprints() -> None:
    story = Story()
    for model in "zyxwv":
        story.votes(START, 20, model=model)
    prints = [alert.fingerprint for alert in story.until(START + 1).alerts]
    assert len(prints) == 5
    assert prints == sorted(prints)


def test_a_jump_of_stream_time_evaluates_every_minute_in_between() -> None:
    slow, fast = Story(), Story()
    for story, step in ((slow, 1), (fast, 50)):
        story.votes(START, 20)
        for tick in range(START, START + 2_001, step):
            story.until(tick)
    assert slow.made == fast.made == [(FIRING, START + 1), (RESOLVED, START + 1470)]


def test_the_fingerprint_of_an_alert_is_that_of_its_group() -> None:
    assert list(fired()) == [MODEL.fingerprint(Group("acme", ("model",), ("m",)))]


def test_wilsons_lower_bound() -> None:
    assert wilson_low(0, 0, 1.96) == 0.0
    assert wilson_low(0, 10, 1.96) == pytest.approx(0.0, abs=1e-9)
    assert wilson_low(5, 10, 1.96) == pytest.approx(0.2366, abs=1e-4)
    assert wilson_low(10, 10, 1.96) == pytest.approx(0.7225, abs=1e-4)


def test_a_transition_is_a_cloud_event() -> None:
    alert = Story().votes(START, 10).until(START + 1).alerts[0]
    headers = cloud_event(replace(alert, tenant_id="a/b"))
    assert headers["ce_id"] == alert.alert_id
    assert headers["ce_type"] == "thumbstream.alert.firing"
    assert headers["ce_source"] == "/thumbstream/watch/a%2Fb"
    assert headers["ce_time"] == "1970-01-01T16:41:00Z"
