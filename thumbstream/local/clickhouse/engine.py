"""The chDB engine: one data directory, one lock, and the configuration that carries roles, limits and defaults.

The process must never fork after the first connect, and every query has a time limit.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from thumbstream.local.clickhouse.errors import ClickHouseError
from thumbstream.local.clickhouse.handle import SPOOLED, Handle

# chDB tells nobody when a write fails: a part that met a full disk is empty, and its insert reports success. So inserts
# are refused (243, which the sink waits out) while there is still more room than anybody fills during one of them.
_SPARE_BYTES = 256 << 20
# `max_execution_time` has a floor, so that nobody can ask for "no limit".
_CONFIG = """<clickhouse>
  <logger><level>none</level></logger>
  <timezone>UTC</timezone>
  <max_server_memory_usage>{memory}</max_server_memory_usage>
  <tmp_path>{temporary}/</tmp_path>
  <merge_tree><min_free_disk_bytes_to_perform_insert>{spare}</min_free_disk_bytes_to_perform_insert></merge_tree>
  <user_directories><users_xml><path>{users}</path></users_xml></user_directories>
</clickhouse>
"""
_USERS = """<clickhouse>
  <profiles><default>
    <implicit_select>0</implicit_select>
    <allow_introspection_functions>0</allow_introspection_functions>
    <async_insert>0</async_insert>
    <http_max_tries>1</http_max_tries>
    <max_execution_time>{seconds}</max_execution_time>
    <constraints><max_execution_time><min>1</min></max_execution_time></constraints>
  </default></profiles>
  <quotas><default/></quotas>
  <roles>
    <r_admin><grants><query>GRANT ALL ON *.* WITH GRANT OPTION</query></grants></r_admin>
    <r_analyst><grants><query>GRANT SELECT, SHOW ON analytics.*</query></grants></r_analyst>
  </roles>
  <users><default>
    <no_password/><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
    <grants><query>GRANT r_admin</query><query>GRANT r_analyst</query></grants>
    <databases><system>{policies}</system></databases>
  </default></users>
</clickhouse>
"""
# All logins are one user to the engine, so only a row policy keeps the texts of others' queries from analysts.
_OTHERS_QUERIES = ("processes", "errors", "query_cache", "mutations")
_POLICY = "<{table}><filter>has(currentRoles(), 'r_admin')</filter></{table}>"


class Engine:
    """Owns a data directory for as long as the process lives."""

    def __init__(self, data: Path, *, memory_bytes: int, max_execution_seconds: int) -> None:
        """Raises `SystemExit` with a sentence when the directory belongs to another process or cannot be opened.

        Landlock, if wanted, comes before this: importing chDB opens a scratch engine and starts threads.
        """
        control, store, temporary = data / "control", data / "store", data / "tmp"
        for directory in (control, temporary):
            directory.mkdir(parents=True, exist_ok=True)
        self._lock = _take_lock(data, control / "lock")
        for left in temporary.glob(f"{SPOOLED}*"):  # a killed predecessor's
            left.unlink()
        users, config = control / "users.xml", control / "config.xml"
        policies = "".join(_POLICY.format(table=table) for table in _OTHERS_QUERIES)
        users.write_text(_USERS.format(seconds=max_execution_seconds, policies=policies))
        config.write_text(_CONFIG.format(memory=memory_bytes, temporary=temporary, users=users, spare=_SPARE_BYTES))
        os.environ["TZ"], os.environ["TMPDIR"] = "UTC", str(temporary)
        time.tzset()
        import chdb  # only now, see above

        # Its handlers of a crash wait five minutes for a thread that only the stand-alone server has.
        chdb._chdb.set_signal_handlers_enabled(0)  # type: ignore[attr-defined]  # the stubs leave it out
        self._connect, self._url = chdb.connect, f"{store}?config-file={config}"
        try:
            self._anchor = self.open()  # keeps the engine running between requests
        except RuntimeError as error:  # the reason is only in the engine's own lines on standard error
            raise SystemExit(f"cannot open {data}: {error} (the engine's own lines above give the reason)") from error
        self.version = self._anchor.run("SELECT version()").decode().strip()
        _check_parser(self._anchor)

    def open(self) -> Handle:
        """Give a new handle with the defaults of the profile; costs 0.3 ms."""
        return Handle(self._connect(self._url))

    def close(self) -> None:
        """Shut the engine down; every other handle must be closed."""
        self._anchor.close()
        os.close(self._lock)


def _take_lock(data: Path, path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(descriptor, 32).decode().strip()
        raise SystemExit(f"{data} is in use by process {owner}: one process owns a data directory") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _check_parser(handle: Handle) -> None:
    """The gate rests on a private call of the pinned version: refuse to start if it means something else."""
    try:
        reading = handle.classify(b"SELECT 1", "default") == ("READ_ONLY", 1)
        writing = handle.classify(b"SELECT 1 INTO OUTFILE 'x'", "default")[0] != "READ_ONLY"
    except ClickHouseError:
        reading = writing = False
    if not (reading and writing):
        raise SystemExit("this chDB classifies statements differently: the access gate would not hold")
