"""The server: sockets around `StripeApi`, and what tests use to look inside and to cause trouble."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.stripe_server.api import Key, Reply, Request, StripeApi
from tests.stripe_server.doors import WEBHOOK_SECRET, Doors

# In pieces: nothing in the project looks like a real key.
TEST_KEY = "sk_" + "test_" + "0" * 24
LIVE_KEY = "sk_" + "live_" + "0" * 24
RESTRICTED_KEY = "rk_" + "test_" + "0" * 24
PUBLISHABLE_KEY = "pk_" + "test_" + "0" * 24


class StripeServer(Doors):
    """What a test holds: the address, the keys, the requests that came, the objects, and the switches."""

    test_key = TEST_KEY
    live_key = LIVE_KEY
    restricted_key = RESTRICTED_KEY
    """May read the balance and products, nothing else."""
    publishable_key = PUBLISHABLE_KEY
    webhook_secret = WEBHOOK_SECRET
    """Signs what goes to endpoints that were not given a secret of their own."""

    def __init__(self) -> None:
        may = frozenset({"rak_balance_read", "rak_product_read"})
        self.api = StripeApi(
            {
                TEST_KEY: Key(livemode=False),
                LIVE_KEY: Key(livemode=True),
                RESTRICTED_KEY: Key(livemode=False, permissions=may),
            }
        )
        self.url = ""
        self.requests: list[Request] = []

    @property
    def writes(self) -> list[Request]:
        """The requests that ask for a change, in the order in which they came."""
        return [request for request in self.requests if request.method != "GET"]

    def forget_requests(self) -> None:
        """Start a new record of requests."""
        self.requests.clear()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "nginx"
    sys_version = ""
    # Headers and body in one piece: in two, each answer waits 40 ms for an acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True
    stripe: StripeServer

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        request = Request(
            self.command,
            parts.path,
            parts.query,
            {name.lower(): value for name, value in self.headers.items()},
            self.rfile.read(length).decode(),
        )
        self.stripe.requests.append(request)
        reply = self.stripe.api.answer(request)
        if reply.is_dropped:
            self.close_connection = True
            return
        self._send(reply)

    def _send(self, reply: Reply) -> None:
        content = json.dumps(reply.body).encode()
        self.send_response(reply.status)
        headers = {"Content-Type": "application/json", "Cache-Control": "no-cache, no-store", **reply.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        try:
            self.wfile.write(content)
            self.wfile.flush()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the caller did not wait

    do_GET = do_POST = do_DELETE = _serve

    def log_message(self, format: str, *args: Any) -> None:
        """Keep tests quiet."""


@contextmanager
def run_stripe_server() -> Iterator[StripeServer]:
    """Run a server on a free port of this machine for the block."""
    stripe = StripeServer()
    handler = type("Handler", (_Handler,), {"stripe": stripe})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        stripe.url = f"http://127.0.0.1:{server.server_address[1]}"
        for livemode in (False, True):
            stripe.store(livemode=livemode).base_url = stripe.url
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield stripe
        finally:
            server.shutdown()
            thread.join()
            stripe.deliveries.stop()
