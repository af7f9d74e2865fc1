"""What one receiver is still to be told, in order, and when to try again. Pure: clock (seconds) and dice are arguments.

The head holds back all that is behind it: what is delivered is a prefix of the log, so what is not is a suffix, and
that is what a restart reads again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from schemas.events import Alert, ResolvedFeedback
from sinks.batch import Source
from sinks.delivery.replies import Answer, Verdict, pause


@dataclass(frozen=True, slots=True)
class Parcel:
    """One record and what to do with it. `record` None: nothing to tell, only an offset to move on.

    `commit` is the offset to go on from once this is done; None while the same offset stands for more to come.
    """

    source: Source
    record: Alert | ResolvedFeedback | None
    commit: int | None


class Queue:
    """The parcels of one receiver. `give_up_after`: seconds without any success after which failures are parked."""

    def __init__(self, give_up_after: float) -> None:
        self._give_up_after = give_up_after
        self._parcels: deque[Parcel] = deque()
        self._retry_at = 0.0
        self.failures = 0
        self.failing_since: float | None = None

    def __len__(self) -> int:
        return len(self._parcels)

    def add(self, parcels: Iterable[Parcel]) -> None:
        """Take over parcels, in the order of their log."""
        self._parcels.extend(parcels)

    def head(self, now: float) -> Parcel | None:
        """The parcel to deal with now; None when there is none or it has to wait."""
        return self._parcels[0] if self._parcels and self.may_try(now) else None

    def may_try(self, now: float) -> bool:
        """False until the pause after a failure is over."""
        return now >= self._retry_at

    def done(self) -> Parcel:
        """The head is delivered, parked, or needs nothing: on to the next one."""
        return self._parcels.popleft()

    def heard(self, answer: Answer, now: float, draw: float) -> Verdict:
        """What an answer means for the head: DELIVERED or REFUSED as it says, RETRY later, or REFUSED as given up.

        A refusal is a success in so far as the receiver answers. `done` is the caller's, once a letter is durable.
        """
        if answer.verdict is not Verdict.RETRY:
            self.failures, self.failing_since, self._retry_at = 0, None, 0.0
            return answer.verdict
        self.failures += 1
        self.failing_since = now if self.failing_since is None else self.failing_since
        self._retry_at = now + pause(self.failures, draw, answer.retry_after)
        return Verdict.REFUSED if now - self.failing_since >= self._give_up_after else Verdict.RETRY

    def drop(self, topic: str, partitions: Collection[int]) -> list[Parcel]:
        """Forget, and give back, what came from partitions that another process reads now."""
        dropped = [one for one in self._parcels if one.source.topic == topic and one.source.partition in partitions]
        self._parcels = deque(
            one for one in self._parcels if one.source.topic != topic or one.source.partition not in partitions
        )
        return dropped
