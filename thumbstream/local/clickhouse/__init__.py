"""A ClickHouse server in one process: chDB, the real engine, behind ClickHouse's HTTP interface on loopback."""
