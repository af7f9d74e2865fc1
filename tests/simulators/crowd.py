"""Made-up votes with the rhythm of real ones: hours of the day, and people who vote several times in a row.

Taken from the real file: how votes spread over the hours, and its sittings (votes of one user with less than half an
hour between them) with their gaps. Not taken: when votes are negative. Each one is, by itself, with the chance asked
for; real people's votes hang together more than that.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from thumbstream.backtest.tallies import Tally

BEGIN = 29_000_160 // 1440 * 1440  # a midnight, in minutes
_APART = 30  # minutes that end a sitting
_NONE = ("(none)",) * 4


@dataclass(frozen=True, slots=True)
class Crowd:
    """`hours`: share of votes in each hour of the day. `sittings`: (user, minutes after its begin of each vote)."""

    hours: tuple[float, ...]
    sittings: tuple[tuple[str, tuple[int, ...]], ...]

    def votes(self, dice: Random, groups: int, days: int, per_day: float, rate: float) -> list[Tally]:
        """Votes of so many groups `g0`, `g1`, ... with `per_day` votes each, in the order of minutes."""
        size = sum(len(places) for _, places in self.sittings) / len(self.sittings)
        found = list[Tally]()
        for group in range(groups):
            for hour in range(24 * days):
                expected = per_day / size * self.hours[hour % 24]
                for _ in range(_poisson(dice, expected)):
                    user, places = dice.choice(self.sittings)
                    begin = BEGIN + 60 * hour + dice.randrange(60)
                    for place in places:
                        bad = dice.random() < rate
                        found.append(Tally(begin + place, "acme", (f"g{group}", *_NONE), user, int(bad), int(not bad)))
        return sorted(found)


def crowd_of(real: Sequence[Tally]) -> Crowd:
    """The rhythm of real votes."""
    hours = Counter(one.minute // 60 % 24 for one in real)
    by_user: dict[str, list[int]] = {}
    for one in real:
        by_user.setdefault(one.user, []).append(one.minute)
    sittings = [(user, part) for user, minutes in by_user.items() for part in _parts(sorted(minutes))]
    return Crowd(tuple(hours[hour] / len(real) for hour in range(24)), tuple(sittings))


def _parts(minutes: list[int]) -> list[tuple[int, ...]]:
    parts = [[minutes[0]]]
    for minute in minutes[1:]:
        if minute - parts[-1][-1] > _APART:
            parts.append([])
        parts[-1].append(minute)
    return [tuple(minute - part[0] for minute in part) for part in parts]


def _poisson(dice: Random, expected: float) -> int:
    """Knuth's way; `expected` is small here."""
    count, product, limit = 0, dice.random(), math.exp(-expected)
    while product > limit:
        count += 1
        product *= dice.random()
    return count
