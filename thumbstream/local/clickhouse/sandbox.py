"""Landlock: from here on this process can touch its data, its libraries and no network peer (Linux 5.13 or newer).

SQL can name files and addresses in many ways; the kernel refuses all of them, whoever asks.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same system calls on every architecture
_PR_SET_NO_NEW_PRIVS = 38
_READ = 1 << 0 | 1 << 2 | 1 << 3  # execute, read file, read directory
_FILE_RIGHTS = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15  # execute, write, read, truncate, device ioctl
_BIND_AND_CONNECT = 3  # handled without a rule: no TCP bind, no TCP connect; the listener is bound already
_SOCKETS_AND_SIGNALS = 3  # no abstract sockets, no signals to processes outside

_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/dev/null", "/dev/urandom", "/dev/random", "/etc/localtime",
           "/etc/ld.so.cache", "/sys/devices/system", "/sys/fs/cgroup", "/sys/block")  # fmt: skip
# Not /proc/self/environ, which may hold secrets. Without self/auxv chDB crashes at random.
_PROC = ("meminfo", "stat", "cpuinfo", "loadavg", "uptime", "vmstat", "diskstats", "mounts", "net/dev", "sys",
         "self/auxv", "self/stat", "self/statm", "self/status", "self/io", "self/schedstat", "self/maps",
         "self/mounts", "self/mountinfo", "self/cgroup", "self/task", "self/fd", "self/exe")  # fmt: skip


def readable_paths() -> list[str]:
    """Interpreter, libraries and this package: no /etc, no home, no working directory."""
    chdb = importlib.util.find_spec("chdb")
    libraries = [str(Path(chdb.origin).parents[1])] if chdb and chdb.origin else []
    package = str(Path(__file__).parents[2])
    paths = [sys.prefix, sys.base_prefix, *libraries, package, *_SYSTEM, *(f"/proc/{name}" for name in _PROC)]
    return [path for path in dict.fromkeys(paths) if Path(path).exists()]


def restrict(readable: Iterable[str], writable: Iterable[str]) -> int:
    """Restrict this thread and all it will start; returns Landlock's ABI, 0 when there is none.

    Call it after binding the port and before `import chdb`, which starts threads. Raises `OSError` if the kernel
    has Landlock and refuses.
    """
    if sys.platform != "linux":  # the numbers below mean something else there
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    abi = int(libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1))
    if abi < 1:
        return 0
    rights = (1 << min(13 + (abi >= 2) + (abi >= 3), 15)) - 1
    handled = [rights, *([_BIND_AND_CONNECT] if abi >= 4 else []), *([_SOCKETS_AND_SIGNALS] if abi >= 6 else [])]
    attributes = struct.pack(f"<{len(handled)}Q", *handled)
    rules = _checked(libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0))
    for paths, allowed in ((readable, _READ & rights), (writable, rights)):
        for path in paths:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            wanted = allowed if Path(path).is_dir() else allowed & _FILE_RIGHTS
            _checked(libc.syscall(_ADD_RULE, rules, 1, struct.pack("<Qi", wanted, descriptor), 0))
            os.close(descriptor)
    _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _checked(libc.syscall(_RESTRICT_SELF, rules, 0))
    os.close(rules)
    return abi


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), "Landlock: " + os.strerror(ctypes.get_errno()))
    return result
