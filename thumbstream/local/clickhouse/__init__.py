"""A ClickHouse server in one process: chDB, the real engine, behind ClickHouse's HTTP interface on loopback.

For one machine and one team. A killed process loses no acknowledged batch; a lost power supply may, for nothing is
synced to the disk before it is acknowledged. External tables are refused with status 501, and analysts have no
sessions. Production uses a ClickHouse server: only the URL changes.
"""
