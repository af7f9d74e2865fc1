"""When `resolve` stops instead of draining its topic into dead letters."""

from processors.tripwire import LIMIT, WINDOW, Tripwire


def first_stop(verdicts: list[bool]) -> int | None:
    wire = Tripwire()
    return next((place for place, good in enumerate(verdicts, 1) if wire.observe(good)), None)


def test_fifty_bad_ones_in_a_row_stop_it_and_forty_nine_do_not() -> None:
    assert first_stop([False] * 60) == LIMIT
    assert first_stop(([False] * 49 + [True] * 1_000) * 3) is None


def test_more_than_five_percent_of_the_last_thousand_stop_it() -> None:
    every_nineteenth = [number % 19 != 0 for number in range(5_000)]  # 5.3 %
    every_twentieth = [number % 20 != 0 for number in range(5_000)]  # 5.0 %: not more
    assert first_stop(every_nineteenth) is not None
    assert first_stop(every_twentieth) is None


def test_bad_ones_leave_the_window_after_a_thousand_verdicts() -> None:
    burst = [False, True] * 40 + [True] * WINDOW
    assert first_stop(burst * 5) is None
    assert first_stop([False, True] * 60) == 2 * LIMIT + 1


def test_good_ones_alone_never_stop_it() -> None:
    assert first_stop([True] * 3_000) is None
