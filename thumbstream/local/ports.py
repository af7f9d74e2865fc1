"""Find TCP ports on loopback that nobody uses."""

import random
import socket
from collections.abc import Collection, Mapping

LOOPBACK = "127.0.0.1"
# Below the range the kernel takes client ports from (32768 up): a client that keeps trying to reach a server that
# is down could otherwise be given the server's own port, and even connect to itself.
_LOWEST, _HIGHEST = 15_000, 32_000
_ATTEMPTS = 1_000


class PortInUseError(RuntimeError):
    """A port we were told to use belongs to another process."""


def is_free(port: int) -> bool:
    """Tell whether a server could listen on `port` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: a port in TIME_WAIT is free
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_ports(count: int, but: Collection[int] = ()) -> list[int]:
    """Give `count` different free ports, chosen at random so that two processes asking at once rarely collide.

    `but`: ports that are spoken for, though nobody listens on them yet.
    """
    found: set[int] = set()
    for _ in range(_ATTEMPTS):
        if len(found) == count:
            return list(found)
        port = random.randint(_LOWEST, _HIGHEST)  # noqa: S311 - not a secret
        if port not in but and is_free(port):
            found.add(port)
    raise PortInUseError(f"no {count} free ports between {_LOWEST} and {_HIGHEST}")


def require_free(wanted: Mapping[str, int]) -> None:
    """Raise `PortInUseError` naming every taken port of `wanted` (what it is for -> port)."""
    taken = [f"{port} ({name})" for name, port in wanted.items() if not is_free(port)]
    if taken:
        raise PortInUseError(f"already in use on {LOOPBACK}: {', '.join(taken)}")


def is_listening(port: int, timeout: float = 0.3) -> bool:
    """Tell whether something accepts connections on `port`; `timeout` in seconds."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout):
            return True
    except OSError:
        return False
