"""The verdict: the oracle of the workers' chaos on real minutes, then ClickHouse, then every promise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import Any
from unittest.mock import patch

import clickhouse_connect

from schemas.events import FeedbackEvent, Progress
from tests.chaos import oracle, recount, replay
from tests.chaos.oracle import Verdict
from tests.chaos.plan import Plan
from tests.chaos.stack import topics
from tests.chaos.stack.ledger import Ledger
from tests.chaos.stack.plan import GRACE, GROUP, MINUTE, PARTITIONS, PREFIX, RULES, StackPlan
from tests.chaos.stack.store import Newest, compare

_AHEAD = "marks ahead of replication"
_REPLICA_LAG = 30_000  # ms, Kafka's replica.lag.time.max.ms
_SKEW = 3_600_000  # ms; the gateway under a wrong clock is off by more


class Findings(Verdict):
    """A verdict that keeps everything it finds wrong, and knows what replication does to marks.

    A broker shows a record once it is replicated, some time after its append time. A mark whose watermark is the time
    of a fetch may be ahead of such a record. Up to the grace of 5 s that changes no tick; beyond, a minute may be
    evaluated without its last votes, and the next tick puts that right. Kafka bounds it: after 30 s a replica that
    lags counts no more.
    """

    def __init__(self) -> None:
        super().__init__()
        self.all: list[str] = []

    def refute(self, kind: str, *shown: object) -> None:
        """Note one thing that is wrong."""
        self.all.append(" | ".join(map(str, (kind, *shown))))
        super().refute(kind, *shown)

    def hurried(self, mark: Progress, uncovered: Any, ahead: int) -> None:
        """As above: within the grace, beyond it, or too far for replication to explain it."""
        self.counted[f"{_AHEAD}, longest ms"] = max(ahead, self.counted[f"{_AHEAD}, longest ms"])
        self.counted[f"{_AHEAD}, {'within' if ahead <= GRACE else 'beyond'} the grace"] += 1
        if ahead > _REPLICA_LAG:
            self.refute("lying mark", mark, uncovered)


def judge(plan: StackPlan, ready: Mapping[str, Any], ledger: Ledger) -> Verdict:
    """Everything that a run which has come to rest has published, stored and promised."""
    bootstrap = str(ready["kafka_bootstrap"])
    verdict = _topics(plan, bootstrap)
    newest = Newest(lambda topic: topics.read(bootstrap, topic), PREFIX)
    compare(
        verdict,
        newest,
        lambda query: _ask(ready, "clickhouse_analyst", query),
        lambda query: _ask(ready, "clickhouse_admin", query),
    )
    _promises(verdict, ledger, newest)
    return verdict


def _topics(plan: StackPlan, bootstrap: str) -> Verdict:
    """The workers' oracle is written for short minutes; here it is told the real ones and the built-in rules."""
    told = Plan(bootstrap, PREFIX, plan.directory, plan.seed, PARTITIONS, PARTITIONS)
    assert told.topics.prefix == PREFIX
    with (
        patch.multiple(recount, MINUTE=MINUTE, RULES=RULES),
        patch.multiple(replay, MINUTE=MINUTE, GRACE=GRACE, RULES=RULES),
        patch.multiple(oracle, read=topics.read, Verdict=Findings),  # transactions end in markers
    ):
        return oracle.judge(told)


def _ask(ready: Mapping[str, Any], who: str, query: str) -> Iterable[tuple[Any, ...]]:
    login = ready[who]
    with closing(
        clickhouse_connect.get_client(
            dsn=ready["clickhouse_url"],
            username=login["user"],
            password=login["password"],
            database=login["database"],
            autogenerate_session_id=False,
        )
    ) as client:
        return [tuple(row) for row in client.query(query).result_rows]


def _promises(verdict: Verdict, ledger: Ledger, newest: Newest) -> None:
    """Each acknowledged event is on the topic; ClickHouse was shown to hold the topic. Nothing rolled back is there."""
    there = {(event.tenant_id, event.request_id, event.event_id) for event in newest.events}
    calls = Counter(
        (event.tenant_id, event.request_id or event.feedback_id, _rating(event))
        for event in newest.events
        if event.source.startswith(("helicone", "portkey"))
    )
    promised = Counter((p.tenant, p.request, p.rating) for p in ledger.acknowledged if p.event_id is None)
    named = {(p.tenant, p.request, p.event_id) for p in ledger.acknowledged if p.event_id is not None}
    verdict.counted["acknowledged"] = len(ledger.acknowledged)
    verdict.counted["acknowledged ids"] = len(named)
    for lost in named - there:
        verdict.refute("acknowledged, not on the topic", lost)
    for call, number in (promised - calls).items():
        verdict.refute("acknowledged vendor call, not on the topic", call, number)
    ids = {event.event_id for event in newest.events}
    verdict.counted["rolled back ids"] = len(ledger.aborted)
    for seen in ids & ledger.aborted:
        verdict.refute("rolled back, yet there", seen)
    verdict.counted["events from a gateway under a wrong clock"] = sum(
        event.received_at is not None and event.event_time is not None and _off(event.received_at, event.event_time)
        for event in newest.events
    )


def _rating(event: FeedbackEvent) -> bool | str | None:
    return event.rating if event.value is None else f"value {event.value:.0f}"


def _off(received_at: int, event_time: int) -> bool:
    return abs(received_at - event_time) > _SKEW


def rest(ready: Mapping[str, Any], *stages: tuple[str, str]) -> int:
    """How many records the given (stage, topic) pairs have not yet committed."""
    bootstrap = str(ready["kafka_bootstrap"])
    return sum(topics.lag(bootstrap, f"{GROUP}-{stage}", PREFIX + topic) for stage, topic in stages)
