"""Votes of one group in buckets of time, with the rate and its band: what a picture shows. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from processors.minutes import Group
from processors.rules import wilson_low
from thumbstream.backtest.tallies import Tally, group_of

_WIDTHS = (5, 15, 60, 180, 360, 1440, 7 * 1440)  # minutes
_MOST = 460  # buckets of one picture
_Z = 1.96  # the band holds the true rate 95 times in 100


@dataclass(frozen=True, slots=True)
class Bucket:
    """Votes that began in [minute, minute + width)."""

    minute: int
    negative: int
    votes: int

    @property
    def rate(self) -> float:
        """Share of negatives."""
        return self.negative / self.votes

    @property
    def band(self) -> tuple[float, float]:
        """Wilson's interval at 95 %."""
        positive = self.votes - self.negative
        return wilson_low(self.negative, self.votes, _Z), 1 - wilson_low(positive, self.votes, _Z)


def width_for(first: int, last: int) -> int:
    """How many minutes a bucket has, so that a picture is not crowded."""
    return next((width for width in _WIDTHS if (last - first) / width <= _MOST), _WIDTHS[-1])


def series(tallies: Iterable[Tally], groups: Sequence[Group], width: int) -> dict[Group, list[Bucket]]:
    """The buckets with votes of each of `groups`, in order."""
    negative, votes = Counter[tuple[Group, int]](), Counter[tuple[Group, int]]()
    wanted, rollups = set(groups), {group.rollup for group in groups}
    for one in tallies:
        for rollup in rollups:
            group = group_of(one, rollup)
            if group in wanted:
                place = (group, one.minute // width * width)
                negative[place] += one.negative
                votes[place] += one.negative + one.positive
    found: dict[Group, list[Bucket]] = {group: [] for group in groups}
    for group, minute in sorted(votes, key=lambda place: place[1]):
        found[group].append(Bucket(minute, negative[group, minute], votes[group, minute]))
    return found
