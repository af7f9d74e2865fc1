"""Whatever crashes when: rows and counts end right. And every habit of the shell is needed for that."""

import pytest

from tests.simulators.crashes import Habits, is_wrong, only_changed, only_filled

RIGHT = Habits()
BROKEN = {
    "rows before cells": Habits(rows_first=True),
    "cells whose net change is zero are left out": Habits(publish=only_changed),
    "cells that became zero are left out": Habits(publish=only_filled),
    "cells are flushed apart from rows": Habits(flush_cells_apart=True),
    "the last record recovers, not the newest": Habits(last_record_recovers=True),
    "compaction before the owner read back": Habits(compact_unread=True),
    "tails are read but not written again": Habits(heal=False),
    "the index of feedback ids is not rebuilt": Habits(forget_ids=True),
    "feedback ids within a batch are not seen": Habits(ignore_batch=True),
}


def test_two_thousand_histories_with_crashes_and_zombies_end_right() -> None:
    assert [seed for seed in range(2_000) if is_wrong(seed, RIGHT)] == []


@pytest.mark.soak
def test_twenty_five_thousand_histories_more_end_right() -> None:
    assert [seed for seed in range(10_000, 35_000) if is_wrong(seed, RIGHT)] == []


@pytest.mark.parametrize("habits", BROKEN.values(), ids=BROKEN.keys())
def test_the_simulator_finds_each_broken_habit(habits: Habits) -> None:
    assert any(is_wrong(seed, habits) for seed in range(1_000))
