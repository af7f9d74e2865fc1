"""The embedded Kafka and ClickHouse, and the supervisor that runs the whole product on one machine."""
