"""The rule's numbers as operators know them, and what a monitor watches."""

from dataclasses import replace

import pytest

from processors.minutes import Group
from processors.monitors import BUILT_IN, PRESETS, Monitor, fewest_negatives, rollups

VOTES = (10, 15, 20, 30, 50, 100, 200, 500, 1_000, 5_000)
FEWEST = {
    "sensitive": (5, 7, 9, 12, 17, 30, 54, 121, 230, 1_066),
    "standard": (6, 8, 10, 13, 19, 33, 58, 128, 240, 1_088),
    "strict": (7, 9, 11, 15, 21, 35, 62, 134, 248, 1_106),
}
MODEL = Monitor("m", ("model",))


@pytest.mark.parametrize("preset", PRESETS)
def test_the_fewest_negatives_that_fire_are_those_of_the_table(preset: str) -> None:
    monitor = replace(MODEL, z=PRESETS[preset])
    assert tuple(fewest_negatives(monitor, votes) for votes in VOTES) == FEWEST[preset]


def test_the_table_covers_every_preset_in_order_of_strictness() -> None:
    assert FEWEST.keys() == PRESETS.keys()
    assert list(PRESETS.values()) == sorted(PRESETS.values())


def test_more_negatives_among_as_many_votes_stay_surely_above() -> None:
    for votes in (10, 77, 1_000):
        above = [MODEL.surely_above(negative, votes) for negative in range(votes + 1)]
        assert above == sorted(above)


def test_no_votes_are_not_above() -> None:
    assert not MODEL.surely_above(0, 0)


def test_the_recent_part_is_a_sixth_but_never_under_five_minutes() -> None:
    assert [MODEL.recent(window) for window in MODEL.windows] == [5, 10, 60, 240]
    assert MODEL.spans == (5, 10, 15, 60, 240, 360, 1440)


def test_a_monitor_watches_the_groups_of_its_rollup_that_have_all_dimensions() -> None:
    assert MODEL.watches(Group("acme", ("model",), ("m",)))
    assert not MODEL.watches(Group("acme", (), ()))
    assert not MODEL.watches(Group("acme", ("model",), ("(none)",)))
    assert Monitor("t", ()).watches(Group("acme", (), ()))


def test_a_fingerprint_tells_monitor_tenant_rollup_and_group_apart() -> None:
    groups = [
        Group("acme", ("model",), ("m",)), Group("acme", ("model",), ("m|",)), Group("b", ("model",), ("m",)),
        Group("acme", ("app",), ("m",)), Group("acme", ("app", "model"), ("m", "")), Group("acme", (), ()),
    ]  # fmt: skip
    prints = [monitor.fingerprint(group) for monitor in (MODEL, replace(MODEL, name="n")) for group in groups]
    assert len(set(prints)) == len(prints)
    assert all(len(text) == 16 for text in prints)
    assert MODEL.fingerprint(groups[0]) == "27e7c96d4a6bd57f"  # part of the topic's keys: it must never change


def test_the_built_in_monitors_count_each_rollup_once() -> None:
    assert rollups() == ((), ("model",), ("environment",), ("prompt_id",), ("prompt_id", "prompt_version"))
    assert rollups((*BUILT_IN, MODEL)) == rollups()
    assert len({monitor.name for monitor in BUILT_IN}) == len(BUILT_IN)
