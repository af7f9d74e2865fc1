"""A chat's server: the API key stays here, the page gets a token for its one answer.

    THUMBSTREAM_API_KEY=... python examples/widget_server.py http://127.0.0.1:8080 [PORT]

The key has the right `tokens`. Python's standard library is all it needs.
"""

import json
import os
import sys
import urllib.request
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

GATEWAY, PORT = sys.argv[1], int((*sys.argv[2:], 8000)[0])
PAGE = Path(__file__).with_name("widget.html").read_text("utf-8")
POLICY = f"default-src 'none'; script-src {GATEWAY}; connect-src {GATEWAY}"


def feedback_token(request_id: str, user_id: str) -> str:
    """A token with which pages of this server may vote on one answer, in one person's name."""
    wanted = {"request_id": request_id, "user_id": user_id, "origins": [f"http://127.0.0.1:{server.server_port}"]}
    headers = {"Authorization": f"Bearer {os.environ['THUMBSTREAM_API_KEY']}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{GATEWAY}/v1/feedback-tokens", json.dumps(wanted).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)["token"]


class Chat(BaseHTTPRequestHandler):
    """Every visit shows a new answer. A real server takes the user from its session."""

    def do_GET(self) -> None:
        token = feedback_token(request_id=f"chat-{uuid.uuid4()}", user_id="visitor-1")
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()
        self.wfile.write(PAGE.replace("{{gateway}}", GATEWAY).replace("{{token}}", token).encode())


server = ThreadingHTTPServer(("127.0.0.1", PORT), Chat)
print(f"open http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
