"""Publishes one vote straight to Kafka, for services that need no gateway: python examples/emit.py BOOTSTRAP TENANT."""

import sys

from producers.emitter import Emitter

with Emitter(bootstrap_servers=sys.argv[1], tenant_id=sys.argv[2], source="emit-example") as emitter:
    event_id = emitter.send(
        {"request_id": "emitted-1", "rating": False, "comment": "wrong year", "metadata": {"model": "atlas-1"}}
    )
print(event_id, "is durable")  # the end of the block waited for the broker, or raised UndeliveredError
