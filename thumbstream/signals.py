"""Setting events from signal handlers."""

from __future__ import annotations

import threading


def set_soon(event: threading.Event) -> None:
    """Set `event` from another thread: its lock may be held by the very thread that a signal handler interrupts."""
    threading.Thread(target=event.set, name="signal", daemon=True).start()
