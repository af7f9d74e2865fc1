"""Run a command that cannot outlive its parent: `python die_with_parent.py PARENT_PID COMMAND...`.

The command replaces this process (same pid), so signals and exit codes are its own. It is a program and not a
`preexec_fn` because Python code between fork and exec can deadlock in a process that has threads.
Only Linux can promise this; elsewhere the command simply runs.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>; the setting survives exec
_COMMAND_NOT_RUN = 127


def main(arguments: list[str]) -> None:
    """Ask the kernel for SIGKILL on the parent's death, then become the command; exits 127 if it cannot be run."""
    parent, command = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the request: nobody would ever send the signal
        sys.exit(_COMMAND_NOT_RUN)
    try:
        os.execvp(command[0], command)  # noqa: S606 - running what the caller names is this program's purpose
    except OSError as error:
        sys.stderr.write(f"cannot run {command[0]}: {error}\n")
        sys.exit(_COMMAND_NOT_RUN)


if __name__ == "__main__":
    main(sys.argv[1:])
