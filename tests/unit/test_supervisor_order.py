"""Start order and restart delays, without a process."""

from graphlib import CycleError
from pathlib import Path

import pytest

from thumbstream.local.child_spec import ChildSpec, RestartPolicy, waves


def spec(name: str, *after: str) -> ChildSpec:
    return ChildSpec(name=name, argv=["true"], log=Path("/dev/null"), after=after)


def test_each_wave_needs_only_the_waves_before_it() -> None:
    groups = waves([spec("sink", "kafka", "clickhouse"), spec("kafka"), spec("console", "sink"), spec("clickhouse")])
    assert [[child.name for child in group] for group in groups] == [["kafka", "clickhouse"], ["sink"], ["console"]]


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ([spec("sink"), spec("sink")], "one name"),
        ([spec("sink", "kafka")], "unknown ones: \\['kafka'\\]"),
    ],
)
def test_specs_that_cannot_be_ordered_are_refused(specs: list[ChildSpec], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        waves(specs)


def test_a_circle_is_refused() -> None:
    with pytest.raises(CycleError):
        waves([spec("resolve", "watch"), spec("watch", "resolve")])


def test_restart_delays_double_from_half_a_second_to_ten() -> None:
    delays = [RestartPolicy().delay(crashes, jitter=0.0) for crashes in range(1, 8)]
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_jitter_stretches_a_delay_but_never_past_the_longest() -> None:
    policy = RestartPolicy()
    assert policy.delay(1, jitter=1.0) == pytest.approx(0.65)
    assert policy.delay(10_000, jitter=1.0) == 10.0
