"""From the rows of `latest` to parcels: one per negative vote, not one per change of its row. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from schemas.events import ResolvedFeedback
from sinks.batch import Source
from sinks.delivery.messages import vote_id
from sinks.delivery.queue import Parcel

REMEMBERED = 100_000  # votes; one that is forgotten and whose row changes is told again, under the same id


class Votes:
    """The negative votes one receiver wants."""

    def __init__(self, wanted: Callable[[ResolvedFeedback], bool], remembered: int = REMEMBERED) -> None:
        self._wanted, self._most = wanted, remembered
        self._told: OrderedDict[str, None] = OrderedDict()

    def take(self, source: Source, row: ResolvedFeedback) -> Parcel:
        """One record of the log; its parcel has nothing to tell when the vote was told of, or is not wanted."""
        news = row if self._wanted(row) and self._is_new(vote_id(row)) else None
        return Parcel(source, news, source.offset + 1)

    def untold(self, parcels: Iterable[Parcel]) -> None:
        """What these would have told was not told: it is news again when it is read again."""
        for parcel in parcels:
            if isinstance(parcel.record, ResolvedFeedback):
                self._told.pop(vote_id(parcel.record), None)

    def _is_new(self, vote: str) -> bool:
        new = vote not in self._told
        self._told[vote] = None
        self._told.move_to_end(vote)
        if len(self._told) > self._most:
            self._told.popitem(last=False)
        return new
