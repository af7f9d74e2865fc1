"""Ready-made health probes for child specs: each asks the server itself."""

import http.client
import urllib.request
from collections.abc import Callable

_TIMEOUT_SECONDS = 1.0


def http_answers(url: str) -> Callable[[], bool]:
    """Give a probe that is true while `url` (http, loopback) answers with a status below 400."""
    # no proxy: a proxy setting of the environment is not meant for our own loopback servers
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def probe() -> bool:
        try:
            with opener.open(url, timeout=_TIMEOUT_SECONDS):
                return True
        except (OSError, http.client.HTTPException):  # refused, too slow, an error status, not HTTP
            return False

    return probe
