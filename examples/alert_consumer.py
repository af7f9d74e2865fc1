"""Prints alerts as they arrive, one JSON object a line: python examples/alert_consumer.py BOOTSTRAP [SCHEMAS]."""

import io
import json
import sys
from pathlib import Path

import confluent_kafka
import fastavro

# Every record names the schema it was written with: a zero byte, four bytes of id, then Avro. Ids never change.
folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parents[1] / "schemas" / "history"
listed = json.loads((folder / "ids.json").read_text("utf-8"))
schemas = {entry["id"]: json.loads((folder / entry["file"]).read_text("utf-8")) for entry in listed}

settings = {"bootstrap.servers": sys.argv[1], "group.id": "alert-printer", "auto.offset.reset": "earliest"}
consumer = confluent_kafka.Consumer(settings)
consumer.subscribe(["feedback.high-negative-rate"])
while True:
    message = consumer.poll(1.0)
    if message is not None and message.error() is None:
        schema_id, body = int.from_bytes(message.value()[1:5], "big"), io.BytesIO(message.value()[5:])
        print(json.dumps(fastavro.schemaless_reader(body, schemas[schema_id])), flush=True)
