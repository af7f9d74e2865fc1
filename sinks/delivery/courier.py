"""One receiver's loop: read, tell, commit; try again, park, repost. A receiver that fails holds back only itself."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable

import structlog

from schemas.events import Alert
from sinks.delivery.messages import Notice, message
from sinks.delivery.parking import letter
from sinks.delivery.post import Poster
from sinks.delivery.queue import Parcel, Queue
from sinks.delivery.reader import Reader
from sinks.delivery.receivers import Receiver
from sinks.delivery.replies import Answer, Verdict
from sinks.delivery.requests import Request, reposting, request
from sinks.letters import Letters
from thumbstream.telemetry import Metrics

_POLL_SECONDS = 0.1
_ROUND_SECONDS = 5.0  # a receiver may take its time for each of many
_MOST_IN_A_POST = 500  # alerts
_MOST_NOTICES = 100
_log = structlog.get_logger("deliver")


class Courier:
    """Delivers to one receiver on one thread. `letters` makes the way to the dead letters when it is first needed."""

    def __init__(
        self,
        receiver: Receiver,
        reader: Reader,
        queue: Queue,
        poster: Poster,
        letters: Callable[[], Letters],
        metrics: Metrics,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.receiver, self._reader, self._queue, self._poster = receiver, reader, queue, poster
        self._make_letters, self._metrics, self._draw = letters, metrics, draw
        self._letters: Letters | None = None
        self._notices: deque[Notice] = deque(maxlen=_MOST_NOTICES)
        self._standing: dict[str, Notice] = {}
        self._repost_at = 0.0

    @property
    def ready(self) -> bool:
        """True once the topics are read; whether the receiver takes anything is not our readiness."""
        return self._reader.assigned

    def notify(self, notice: Notice) -> None:
        """Tell the receiver as soon as it takes anything. From any thread."""
        self._notices.append(notice)

    def run(self, stop: threading.Event) -> None:
        """Deliver until `stop`. Raises KafkaException when the broker is of no use."""
        self._reader.open()
        try:
            while not stop.is_set():
                self._reader.poll(0.0 if self._queue.head(time.monotonic()) else _POLL_SECONDS)
                self._work(stop)
                self._repost()
                self._show()
        finally:
            self._reader.close()
            self._poster.close()
            self._metrics.set("delivery_failing_seconds", 0, receiver=self.receiver.name)  # a reload may leave it out

    def _work(self, stop: threading.Event) -> None:
        """Deal with what the queue holds until it is empty, has to wait, or the group must hear from us again."""
        until = time.monotonic() + _ROUND_SECONDS
        while self._notices and self._queue.may_try(time.monotonic()) and not stop.is_set():
            self._tell_notice(self._notices[0])
        while (parcel := self._queue.head(time.monotonic())) is not None and not stop.is_set():
            self._deal_with(parcel)
            if time.monotonic() > until:
                return

    def _deal_with(self, parcel: Parcel) -> None:
        if parcel.record is not None:
            answer = self._post(request(self.receiver, parcel.record, _wall()), message(parcel.record).message_id)
            match self._queue.heard(answer, time.monotonic(), self._draw()):
                case Verdict.RETRY:
                    return
                case Verdict.REFUSED:
                    self._park(parcel, answer)
        self._reader.done(self._queue.done())

    def _tell_notice(self, notice: Notice) -> None:
        """A notice is not in the log: what a receiver refuses of it is not kept."""
        answer = self._post(request(self.receiver, notice, _wall()), notice.notice_id)
        if self._queue.heard(answer, time.monotonic(), self._draw()) is not Verdict.RETRY:
            self._notices.popleft()
            self._standing[notice.event] = notice

    def _post(self, made: Request, what: str) -> Answer:
        began = time.monotonic()
        answer = self._poster.post(made)
        name, log = self.receiver.name, _log.info if answer.verdict is Verdict.DELIVERED else _log.warning
        log("delivery", receiver=name, id=what, outcome=answer.verdict.value, answer=answer.text)
        self._metrics.count("deliveries", receiver=name, outcome=answer.verdict.value)
        self._metrics.observe("delivery_seconds", time.monotonic() - began, receiver=name)
        return answer

    def _park(self, parcel: Parcel, answer: Answer) -> None:
        parked = letter(self.receiver, parcel, answer)
        if self._letters is None:
            self._letters = self._make_letters()
        self._letters.send([parked])
        self._metrics.count("dead_letters", stage=parked.stage, reason=parked.reason)
        _log.error("parked", receiver=self.receiver.name, letter_id=parked.letter_id, error=parked.message)

    def _repost(self) -> None:
        """Tell an Alertmanager of all that is open, before it takes our silence for the end."""
        now = time.monotonic()
        if self.receiver.kind != "alertmanager" or now < self._repost_at or not self._queue.may_try(now):
            return
        self._repost_at = now + self.receiver.repost
        said: list[Alert | Notice] = [*self._reader.intake.open(), *self._firing()]
        for start in range(0, len(said), _MOST_IN_A_POST):
            part = said[start : start + _MOST_IN_A_POST]
            answer = self._post(reposting(self.receiver, part, _wall()), f"{len(part)} open alerts")
            if answer.verdict is not Verdict.DELIVERED:
                return  # the next round says it again

    def _firing(self) -> list[Notice]:
        return [notice for notice in self._standing.values() if notice.status == "firing"]

    def _show(self) -> None:
        name, since = self.receiver.name, self._queue.failing_since
        self._metrics.set("delivery_failing_seconds", 0 if since is None else time.monotonic() - since, receiver=name)
        self._metrics.set("delivery_behind", self._reader.behind(), receiver=name)


def _wall() -> int:
    """Epoch ms, for signatures and for the ends that an Alertmanager is told."""
    return time.time_ns() // 1_000_000
