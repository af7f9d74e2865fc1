"""Delivery as a process: a courier per receiver, and one look after the evaluation of alerts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog
from confluent_kafka import KafkaException

from schemas.codec import Codec
from sinks.delivery.courier import Courier
from sinks.delivery.evaluation import Evaluation
from sinks.delivery.messages import Notice
from sinks.delivery.post import Poster
from sinks.delivery.queue import Queue
from sinks.delivery.reader import Options, Reader
from sinks.delivery.receivers import STALE, Receiver, Receivers
from sinks.letters import KafkaLetters, Letters
from thumbstream.telemetry import EXIT_CRASH, Metrics, die

STOP_SECONDS = 4.5  # a request that is under way longer is given up; it is sent again after the next start
_LOOK_SECONDS = 0.2
_log = structlog.get_logger("deliver")


def run(
    options: Options,
    receivers: Receivers,
    metrics: Metrics,
    ready: Callable[[bool], None],
    stop: threading.Event,
) -> bool:
    """Deliver until `stop`. `ready` is told True once every receiver's topics are read.

    False if a request was still under way when time was up: what it is about will be sent again. Ends the process with
    EXIT_CRASH when the broker is of no use and a new start may help.
    """
    couriers = [courier(options, receiver, metrics) for receiver in receivers.receivers]
    evaluation = Evaluation(options, receivers.stale_after, metrics, Codec())

    def tell(notice: Notice) -> None:
        for each in couriers:
            if STALE in each.receiver.events:
                each.notify(notice)

    threads = [_thread(each.receiver.name, each.run, stop) for each in couriers]
    threads.append(_thread("evaluation", lambda event: evaluation.run(tell, event), stop))
    while not stop.wait(_LOOK_SECONDS):
        ready(all(each.ready for each in couriers))
    return _join(threads)


def courier(options: Options, receiver: Receiver, metrics: Metrics) -> Courier:
    """Everything that delivers to one receiver."""
    codec, queue = Codec(), Queue(receiver.give_up_after)

    def letters() -> Letters:
        return KafkaLetters(options.bootstrap_servers, options.topics.dead_letters.name, options.kafka, codec)

    return Courier(receiver, Reader(options, receiver, queue, codec), queue, Poster(receiver), letters, metrics)


def _thread(name: str, work: Callable[[threading.Event], None], stop: threading.Event) -> threading.Thread:
    def guarded() -> None:
        try:
            work(stop)
        except KafkaException as error:
            die(f"kafka: {error}", code=EXIT_CRASH)
        except Exception as error:  # noqa: BLE001 - a thread that ended must not go unnoticed, whatever ended it
            _log.exception("failed", part=name)
            die(f"{name}: {type(error).__name__}", code=EXIT_CRASH)

    thread = threading.Thread(target=guarded, name=name, daemon=True)
    thread.start()
    return thread


def _join(threads: list[threading.Thread]) -> bool:
    """Wait for the threads, but not for a receiver that takes its time."""
    deadline = time.monotonic() + STOP_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)
