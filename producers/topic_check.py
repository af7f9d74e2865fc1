"""Is the broker there, and is the events topic what every stage relies on?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from confluent_kafka import KafkaException

# public, yet its package does not list it as exported
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]

from schemas.topics import Topic
from thumbstream.telemetry import Metrics

_TIMEOUT = 2.0
_KEEP_SECONDS = 1.0
_TIMESTAMPS = "message.timestamp.type"


class TopicCheck:
    """Asks the broker, at most once a second however many ask; one thread, so that a dead broker blocks nobody."""

    def __init__(
        self,
        bootstrap: str,
        topic: Topic,
        metrics: Metrics,
        extra: Mapping[str, Any],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._topic, self._metrics, self._monotonic = topic, metrics, monotonic
        self._client = AdminClient({**_client_settings(extra), "bootstrap.servers": bootstrap, "log_level": 0})
        self._thread = ThreadPoolExecutor(1, "topic-check")
        self._asked: asyncio.Future[str | None] | None = None
        self._at = float("-inf")

    async def trouble(self) -> str | None:
        """What is wrong, as a sentence, or None. An answer is at most a second old."""
        fresh = self._monotonic() - self._at < _KEEP_SECONDS
        if self._asked is None or (self._asked.done() and not fresh):
            self._asked = asyncio.get_running_loop().run_in_executor(self._thread, self._ask)
        return await asyncio.shield(self._asked)

    def close(self) -> None:
        """Stop the thread; a question that is under way is not waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _ask(self) -> str | None:
        try:
            found = self._partitions() or self._timestamps()
            self._metrics.set("broker_up", 1)
        except KafkaException as problem:
            found = f"the broker does not answer: {problem.args[0].str()}"
            self._metrics.set("broker_up", 0)
        self._at = self._monotonic()
        return found

    def _partitions(self) -> str | None:
        # all topics: asking for one by name may create it, with the broker's own number of partitions
        topics = self._client.list_topics(timeout=_TIMEOUT).topics
        name, wanted = self._topic.name, self._topic.partitions
        if name not in topics:
            return f"there is no topic {name}"
        count = len(topics[name].partitions)
        return None if count == wanted else f"topic {name} has {count} partitions, not {wanted}"

    def _timestamps(self) -> str | None:
        resource = ConfigResource(ConfigResource.Type.TOPIC, self._topic.name)
        asked = self._client.describe_configs([resource], request_timeout=_TIMEOUT)[resource]
        found, wanted = asked.result(_TIMEOUT + 1)[_TIMESTAMPS].value, self._topic.config[_TIMESTAMPS]
        return None if found == wanted else f"topic {self._topic.name} has {_TIMESTAMPS} {found}, not {wanted}"


def _client_settings(extra: Mapping[str, Any]) -> dict[str, Any]:
    """Of the settings passed through, those about the connection; a producer's own would only be warned about."""
    return {name: value for name, value in extra.items() if name.split(".")[0] in _CONNECTION}


_CONNECTION = {"security", "sasl", "ssl", "enable", "client", "socket", "broker", "debug"}
