"""Prints alerts as they arrive, one JSON object a line: python examples/alert_consumer.py BOOTSTRAP [SCHEMA]."""

import io
import json
import sys
from pathlib import Path

import confluent_kafka
import fastavro

schema_file = sys.argv[2] if len(sys.argv) > 2 else Path(__file__).parents[1] / "schemas" / "avro" / "alert.avsc"
schema = fastavro.parse_schema(json.loads(Path(schema_file).read_text("utf-8")))
settings = {"bootstrap.servers": sys.argv[1], "group.id": "alert-printer", "auto.offset.reset": "earliest"}
consumer = confluent_kafka.Consumer(settings)
consumer.subscribe(["feedback.high-negative-rate"])
while True:
    message = consumer.poll(1.0)
    if message is not None and message.error() is None:
        alert = fastavro.schemaless_reader(io.BytesIO(message.value()[5:]), schema)  # 5 bytes of framing come first
        print(json.dumps(alert), flush=True)
