"""Prints the open alerts, one JSON object a line: python examples/open_alerts.py BOOTSTRAP [TOPIC [SCHEMAS]].

The topic is compacted by fingerprint: read from its beginning, it holds the newest transition of every alert.
"""

import io
import json
import sys
from pathlib import Path
from typing import Any

import confluent_kafka
import fastavro

# Every record names the schema it was written with: a zero byte, four bytes of id, then Avro. Ids never change.
folder = Path(sys.argv[3]) if len(sys.argv) > 3 else Path(__file__).parents[1] / "schemas" / "history"
listed = json.loads((folder / "ids.json").read_text("utf-8"))
schemas = {entry["id"]: json.loads((folder / entry["file"]).read_text("utf-8")) for entry in listed}

topic = sys.argv[2] if len(sys.argv) > 2 else "feedback.high-negative-rate"
settings = {"bootstrap.servers": sys.argv[1], "group.id": "open-alerts", "enable.partition.eof": True}
consumer = confluent_kafka.Consumer(settings)
partitions = consumer.list_topics(topic, timeout=15).topics[topic].partitions
consumer.assign([confluent_kafka.TopicPartition(topic, number, 0) for number in partitions])
newest: dict[str, dict[str, Any]] = {}
ended = 0
while ended < len(partitions):
    message = consumer.poll(15)
    if message is None:
        sys.exit("the broker does not answer")
    if (error := message.error()) is not None:
        if error.code() != confluent_kafka.KafkaError._PARTITION_EOF:
            sys.exit(str(error))
        ended += 1
        continue
    value = message.value() or b""
    alert: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), schemas[int.from_bytes(value[1:5], "big")], None)
    if alert["version"] >= newest.get(alert["fingerprint"], alert)["version"]:  # a worker's late repetition is older
        newest[alert["fingerprint"]] = alert
consumer.close()
for alert in newest.values():
    if alert["status"] == "firing":
        print(json.dumps(alert))
