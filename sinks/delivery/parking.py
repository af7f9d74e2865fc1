"""The dead letter about a delivery that was given up: all that a replay needs but the receiver's secrets. Pure."""

from __future__ import annotations

from schemas.events import Alert, DeadLetter
from sinks.delivery.queue import Parcel
from sinks.delivery.receivers import Receiver
from sinks.delivery.replies import Answer, Verdict

STAGE = "deliver"
RECEIVER_HEADER = "receiver"
REFUSED, PRIVATE, GAVE_UP = "refused", "private_address", "gave_up"


def letter(receiver: Receiver, parcel: Parcel, answer: Answer) -> DeadLetter:
    """The letter; its id is receiver and place, so parking the same record twice makes one letter."""
    source, record = parcel.source, parcel.record
    assert record is not None
    what = record.alert_id if isinstance(record, Alert) else f"request {record.request_id}"
    return DeadLetter(
        letter_id=f"{STAGE}.{receiver.name}-{source.topic}-{source.partition}-{source.offset}",
        stage=STAGE,
        reason=GAVE_UP if answer.verdict is Verdict.RETRY else answer.reason,
        message=f"{receiver.name} at {receiver.host}: {what}: {answer.text}"[:2_000],
        tenant_id=record.tenant_id,
        topic=source.topic,
        partition=source.partition,
        offset=source.offset,
        failed_at=source.append_time,
        key=source.key,
        original=source.value,
        headers={RECEIVER_HEADER: receiver.name.encode()},
    )


def receiver_of(parked: DeadLetter) -> str:
    """The name of the receiver that a letter of this stage was for."""
    return parked.headers.get(RECEIVER_HEADER, b"").decode("utf-8", "replace")
