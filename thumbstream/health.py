"""A worker's or sink's answers to `are you alive`, `are you ready` and `what did you count`, on loopback."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from thumbstream.telemetry import Metrics


class HealthServer(ThreadingHTTPServer):
    """Serves /healthz, /readyz and /metrics from its own daemon thread. `ready` is asked at every /readyz."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, metrics: Metrics, ready: Callable[[], bool]) -> None:
        super().__init__(("127.0.0.1", port), _Request)
        self.metrics, self.ready = metrics, ready

    def start(self) -> None:
        """Begin to answer."""
        threading.Thread(target=self.serve_forever, name="health", daemon=True).start()


class _Request(BaseHTTPRequestHandler):
    server: HealthServer

    def do_GET(self) -> None:
        match self.path:
            case "/healthz":
                self._answer(200, b"ok\n")
            case "/readyz":
                ready = self.server.ready()
                self._answer(200 if ready else 503, b"ready\n" if ready else b"not ready\n")
            case "/metrics":
                self._answer(200, self.server.metrics.render())
            case _:
                self._answer(404, b"not found\n")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class names it so
        """Silent: probes come every second."""
